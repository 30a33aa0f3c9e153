/**
 * One request on its way through the gateway: what the edge learnt about it
 * before any route saw it, handed to the routes as Hono's `env`.
 *
 * @module
 */

import type { Context } from "hono";
import type { RequestHead } from "./request_head.ts";

/** Headers a browser on another origin may read. */
const EXPOSED =
  "Location, ETag, Retry-After, Next-Cursor, Up-To-Date, Preference-Applied, Idempotency-Replayed, X-Request-Id, WWW-Authenticate, Allow";

/** What a handler may ask of the connection its request came on. */
export interface Connection {
  /** This request is meant to stay silent for long: lift the idle timeout. */
  holdOpen(request: Request): void;
}

/** What an answer says to browsers on other origins. */
export interface Cors {
  /** The origin that may read it. */
  readonly allow: string | undefined;
  /** Another origin may get another answer: caches must know. */
  readonly varies: boolean;
}

export class Call {
  readonly method: string;
  /** As the request has it; read once, since some runtimes make the text anew each time. */
  readonly url: string;
  readonly path: string;
  readonly head: RequestHead;
  /** Names the request in answers and logs: the client's own id, or one we made. */
  readonly requestId: string;
  readonly connection: Connection;
  readonly cors: Cors;
  /** The pattern of its path, once a route has it: for figures and logs. */
  route: string | undefined = undefined;
  /** It asked to wait for something, so it may be answered much later. */
  held = false;
  /** When it came, by the gateway's elapsed time in milliseconds. */
  readonly since: number;
  /** Which credential it came with, for quotas; absent where none is needed. */
  credential: string | undefined = undefined;
  /** The answer's headers came from {@linkcode Call.headers}: the edge has nothing to add. */
  dressed = false;

  constructor(
    url: string,
    about: {
      method: string;
      since: number;
      head: RequestHead;
      requestId: string;
      connection: Connection;
      cors: Cors;
    },
  ) {
    this.method = about.method;
    this.since = about.since;
    this.url = url;
    this.path = pathOf(url);
    this.head = about.head;
    this.requestId = about.requestId;
    this.connection = about.connection;
    this.cors = about.cors;
  }

  /** Where to look in logs and traces: the trace the request is part of, else its own id. */
  get traceId(): string {
    return traceparentOf(this.head)?.slice(3, 35) ?? this.requestId;
  }

  /** Adds what every answer carries to `own`, which it returns. */
  headers(own: Record<string, string>): Record<string, string> {
    own["x-content-type-options"] = "nosniff";
    own["x-request-id"] = this.requestId;
    const { allow, varies } = this.cors;
    if (allow !== undefined) {
      own["access-control-allow-origin"] = allow;
      own["access-control-expose-headers"] = EXPOSED;
    }
    if (varies) own["vary"] = own["vary"] === undefined ? "Origin" : `${own["vary"]}, Origin`;
    this.dressed = true;
    return own;
  }

  /** The same for an answer somebody else made. */
  dress(response: Response): Response {
    const vary = response.headers.get("vary");
    const own = this.headers(vary === null ? {} : { vary });
    for (const [name, value] of Object.entries(own)) response.headers.set(name, value);
    return response;
  }
}

const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The W3C `traceparent`, if it is one: an invalid one is as good as none (Trace Context §2.2). */
export function traceparentOf(head: RequestHead): string | undefined {
  const { traceparent } = head;
  return traceparent !== undefined && TRACEPARENT.test(traceparent) ? traceparent : undefined;
}

let lastUrl = "";
let lastPath = "/";

/** As {@linkcode findPath}; remembers the last one: under load most requests ask for what the one before did. */
function pathOf(url: string): string {
  if (url === lastUrl) return lastPath;
  lastUrl = url;
  lastPath = findPath(url);
  return lastPath;
}

/** From the slash behind the authority to the query; `%` stays as it is. */
function findPath(url: string): string {
  const from = url.indexOf("/", url.indexOf("://") + 3);
  if (from < 0) return "/";
  for (let at = from; at < url.length; at++) {
    const unit = url.charCodeAt(at);
    if (unit === 0x3f || unit === 0x23) return url.slice(from, at);
  }
  return url.slice(from);
}

/** Hono's types for our handlers. */
export interface GatewayEnv {
  Bindings: Call;
}

export type GatewayContext = Context<GatewayEnv>;
