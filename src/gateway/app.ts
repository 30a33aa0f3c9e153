/**
 * The gateway: from a `Request` to a `Response`, on web standards alone.
 *
 *   fetch ─▶ Call (head, request id, CORS) ─▶ admitted? ─▶ Hono ─▶ route ─▶ broker
 *                                                │ no
 *                                                └─▶ problem
 *
 * What concerns every request (identity, drain, origin, headers of the answer)
 * is one thin function around the router rather than a chain of middleware: a
 * publish passes through it in about a microsecond.
 *
 * `drain()` makes `/readyz` say no, refuses new work, ends waits with what they
 * have and streams with `reconnect`, and resolves when the last request in
 * flight is answered and the last stream has given back what it could not send.
 *
 * @module
 */

import { Call, type Connection } from "../../routes/call.ts";
import { createRoutes, type Routes } from "../../routes/mod.ts";
import type { Assets } from "../../routes/ports.ts";
import { asTidegateError, malformed, noSuchPath, problemResponse } from "../../routes/problem.ts";
import { asksForStream } from "../../routes/read_request.ts";
import { readHead } from "../../routes/request_head.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { Family } from "../../storage/base/metrics.ts";
import type { BrokerApi } from "../broker/api.ts";
import { ApiKeys } from "./api_keys.ts";
import { BoundedBodies } from "./bodies.ts";
import { CorsPolicy } from "./cors.ts";
import { type After, Deadlines } from "./deadlines.ts";
import { SharedFeeds } from "./feeds.ts";
import { WaitingRequests } from "./holds.ts";
import { ConsumerStreams } from "./lease_streams.ts";
import { gatewayMetrics } from "./metrics.ts";
import { RequestFigures, routeOf } from "./request_figures.ts";
import { RequestIds } from "./request_ids.ts";
import { Streams } from "./streams.ts";

export interface GatewayOptions {
  readonly broker: BrokerApi;
  /** Bearer keys that are let in; none: everybody is. */
  readonly apiKeys: readonly string[];
  readonly corsOrigins: readonly string[];
  readonly version: string;
  /** An error nobody foresaw; its message has not gone to the client. */
  readonly report: (error: Error, about: RequestFacts) => void;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
  /** Milliseconds since some moment, for what takes time. */
  readonly elapsed?: (() => number) | undefined;
  readonly after?: After | undefined;
  /** All figures of the node as text, for `/metrics`. */
  readonly metrics?: (() => Promise<string>) | undefined;
  /** Told of every request that was answered; costs nothing when absent. */
  readonly answered?: ((about: AnsweredRequest) => void) | undefined;
  /** The files of the documentation page; without them there is no page. */
  readonly assets?: Assets | undefined;
  readonly limits?: Partial<GatewayLimits> | undefined;
}

export interface GatewayLimits {
  /** From the end of the headers to the end of the body. */
  readonly bodyDeadlineMs: number;
  /** Long-polls and receives one key may have waiting. */
  readonly waitersPerKey: number;
  readonly streamsMax: number;
}

export interface RequestFacts {
  readonly traceId: string;
  readonly method: string;
  readonly path: string;
}

export interface AnsweredRequest extends RequestFacts {
  readonly requestId: string;
  readonly route: string;
  readonly status: number;
  /** To the head of the answer, a wait included. */
  readonly durationMs: number;
}

export interface Gateway {
  /** The gateway's own figures. */
  metrics(): readonly Family[];
  fetch(request: Request, connection: Connection): Response | Promise<Response>;
  drain(): Promise<void>;
}

const LIMITS: GatewayLimits = {
  bodyDeadlineMs: 30_000,
  waitersPerKey: 5_000,
  streamsMax: 10_000,
};

/** Open to everybody: what a load balancer and a person with a browser look at first. */
const OPEN =
  /^\/(?:healthz|readyz|openapi\.json|openapi\.yaml|docs|docs\/[\w.-]+|problems\/[\w-]+)$/;

export function createGateway(options: GatewayOptions): Gateway {
  return new HttpGateway(options);
}

class HttpGateway implements Gateway {
  readonly #options: GatewayOptions;
  readonly #routes: Routes;
  readonly #holds: WaitingRequests;
  readonly #streams: Streams;
  readonly #leases: ConsumerStreams;
  readonly #cors: CorsPolicy;
  readonly #keys: ApiKeys | undefined;
  readonly #ids = new RequestIds();
  readonly #feeds: SharedFeeds;
  readonly #requests = new RequestFigures();
  readonly #elapsed: () => number;
  #inFlight = 0;
  #draining = false;
  #idle: (() => void) | undefined;

  constructor(options: GatewayOptions) {
    const { broker, apiKeys, corsOrigins, now, assets, version } = options;
    const limits = { ...LIMITS, ...options.limits };
    const after = options.after ?? afterTimeout;
    this.#options = options;
    this.#elapsed = options.elapsed ?? (() => performance.now());
    this.#keys = apiKeys.length > 0 ? new ApiKeys(apiKeys) : undefined;
    this.#cors = new CorsPolicy(corsOrigins);
    this.#holds = new WaitingRequests(limits.waitersPerKey);
    this.#streams = new Streams({ after, random: Math.random, streamsMax: limits.streamsMax });
    const report = (error: unknown) =>
      this.#report(error, { traceId: "", method: "GET", path: "(stream)" });
    const { messages, groups } = broker;
    this.#leases = new ConsumerStreams({ groups, streams: this.#streams, after, report });
    this.#feeds = new SharedFeeds({ messages, streams: this.#streams, after, report });
    this.#routes = createRoutes({
      broker,
      feeds: this.#feeds,
      leases: this.#leases,
      holds: this.#holds,
      bodies: new BoundedBodies(new Deadlines(limits.bodyDeadlineMs, { now, after })),
      assets: assets ?? (() => Promise.resolve(undefined)),
      version,
      metrics: options.metrics,
      now,
      draining: () => this.#draining,
      authenticated: this.#keys !== undefined,
      failed: (error, request, call) => this.#fail(error, request, call),
    });
  }

  fetch(request: Request, connection: Connection): Response | Promise<Response> {
    this.#inFlight++;
    let call: Call;
    try {
      call = this.#take(request, connection);
    } catch (error) {
      this.#inFlight--;
      this.#report(error, { traceId: "", method: request.method, path: request.url });
      return new Response(null, { status: 500 }); // without its head there is nothing to tell by
    }
    let answer: Response | Promise<Response>;
    try {
      answer = this.#answer(request, call);
    } catch (error) {
      answer = this.#fail(error, request, call);
    }
    if (answer instanceof Response) return this.#done(answer, call);
    return answer.then(
      (response) => this.#done(response, call),
      (error: unknown) => this.#done(this.#fail(error, request, call), call),
    );
  }

  #take(request: Request, connection: Connection): Call {
    const head = readHead(request.headers);
    return new Call(request.url, {
      method: request.method,
      since: this.#elapsed(),
      head,
      requestId: this.#ids.idOf(head.requestId),
      connection,
      cors: this.#cors.answerTo(head.origin),
    });
  }

  metrics(): readonly Family[] {
    const [requests, holds, streams, feeds] = [
      this.#requests,
      this.#holds,
      this.#streams,
      this.#feeds,
    ];
    return gatewayMetrics({ requests, inFlight: this.#inFlight, holds, streams, feeds });
  }

  async drain(): Promise<void> {
    this.#draining = true;
    this.#holds.drain();
    this.#streams.drain();
    await this.#leases.finished();
    if (this.#inFlight === 0) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
  }

  #answer(request: Request, call: Call): Response | Promise<Response> {
    const { head } = call;
    // Two Host headers arrive as one with a comma, and proxies disagree on which of them counts.
    if (head.host?.includes(",")) throw malformed("/header/Host", "there must be one Host");
    if (call.method === "OPTIONS") return this.#describe(request, call);
    if (this.#keys === undefined && !this.#draining) return this.#route(request, call);
    if (OPEN.test(call.path)) return this.#route(request, call);

    const credential = this.#keys?.credentialOf(head.authorization);
    if (!(credential instanceof Promise)) return this.#admit(request, call, credential);
    return credential.then((known) => this.#admit(request, call, known));
  }

  #admit(request: Request, call: Call, credential?: string): Response | Promise<Response> {
    call.credential = credential;
    // A stream is refused by the feeds, in words an EventSource understands.
    if (this.#draining && !asksForStream(call) && call.path !== METRICS) {
      throw new TidegateError("draining", "Cannot take the request: the node is shutting down");
    }
    return this.#route(request, call);
  }

  #route(request: Request, call: Call): Response | Promise<Response> {
    this.#cors.refuseForgery(request, call.head);
    return this.#routes.fetch(request, call);
  }

  /** `OPTIONS`: what the path takes, and for a browser what its page may send. */
  #describe(request: Request, call: Call): Response {
    const allow = this.#routes.allowed(call.path);
    if (allow.length === 0) throw noSuchPath();
    const own: Record<string, string> = { allow: allow.join(", ") };
    const preflight = request.headers.has("access-control-request-method");
    if (preflight && call.cors.allow !== undefined) {
      Object.assign(own, this.#cors.preflight(request, allow));
    }
    return new Response(null, { status: 204, headers: call.headers(own) });
  }

  #fail(error: unknown, request: Request, call: Call): Response {
    const known = asTidegateError(error);
    const { path } = call;
    if (known.code === "internal") {
      this.#report(known.cause ?? known, { traceId: call.traceId, method: request.method, path });
    }
    this.#requests.refused(known.code);
    return problemResponse(known, { call, instance: path });
  }

  #report(error: unknown, facts: RequestFacts): void {
    this.#options.report(error instanceof Error ? error : new Error(String(error)), facts);
  }

  #tellAnswered(call: Call, outcome: { status: number; durationMs: number }): void {
    const { requestId, traceId, method, path } = call;
    const route = routeOf(call);
    this.#options.answered?.({ requestId, traceId, method, path, route, ...outcome });
  }

  #done(response: Response, call: Call): Response {
    if (--this.#inFlight === 0) this.#idle?.();
    const durationMs = this.#elapsed() - call.since;
    this.#requests.answered(call, { status: response.status, seconds: durationMs / 1000 });
    if (this.#options.answered) this.#tellAnswered(call, { status: response.status, durationMs });
    return call.dressed ? response : call.dress(response);
  }
}

/** Whoever watches a node sees how its shutdown goes. */
const METRICS = "/metrics";

function afterTimeout(ms: number, run: () => void): () => void {
  const timer: unknown = setTimeout(run, ms);
  // Where timers keep a process alive, these must not.
  if (timer instanceof Object && "unref" in timer) (timer as { unref(): void }).unref();
  return () => clearTimeout(timer as number);
}
