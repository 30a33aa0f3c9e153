/**
 * Requests to etcd's JSON gateway over `node:http` and `node:https`, which are the
 * same on Bun, Deno and Node, certificates included; `fetch` takes no authority of
 * its own on all of them.
 *
 * Endpoints are tried in turn: a request moves on to the next only while nothing
 * can have been made of it, that is when no connection came about. Every request
 * has a time limit and every answer a bound.
 *
 * @module
 */

import {
  Agent as AgentHttp,
  type ClientRequest,
  type IncomingMessage,
  request as requestHttp,
} from "node:http";
import { Agent as AgentHttps, request as requestHttps, type RequestOptions } from "node:https";
import { clearTimeout, setTimeout } from "node:timers";
import { decodeUtf8 } from "../../storage/base/bytes.ts";
import { concatBytes } from "../../storage/base/bytes.ts";
import {
  type EtcdCallOptions,
  EtcdFailure,
  type EtcdStreamEvents,
  type EtcdTransport,
} from "./etcd_transport.ts";

const CALL_MS = 2000;
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
const LINE_CHARS_MAX = 4 * 1024 * 1024;
const KEEP_ALIVE_MS = 5000;
/** Of an answer that is no JSON, for people to read. */
const WORDS_MAX = 200;

export interface EtcdTransportOptions {
  /** `http://host:port` or `https://host:port`, at least one. */
  readonly urls: readonly string[];
  /** In PEM: whom to trust instead of the system's authorities, and who we are. */
  readonly authorities?: string | undefined;
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
  /** How long a call may take. */
  readonly callMs?: number | undefined;
}

export function openEtcdTransport(options: EtcdTransportOptions): EtcdTransport {
  return new HttpTransport(options);
}

interface Outgoing {
  readonly path: string;
  readonly body: string;
  readonly token: string | undefined;
}

class HttpTransport implements EtcdTransport {
  readonly #options: EtcdTransportOptions;
  readonly #urls: readonly URL[];
  readonly #plain = new AgentHttp({ keepAlive: true, maxSockets: 16 });
  readonly #secure: AgentHttps;
  readonly #streams = new Set<ClientRequest>();
  #turn = 0;

  constructor(options: EtcdTransportOptions) {
    this.#options = options;
    this.#urls = options.urls.map((url) => new URL(url));
    const { authorities: ca, certificate: cert, key } = options;
    const secrets = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
    this.#secure = new AgentHttps({ keepAlive: true, maxSockets: 16, ...secrets });
  }

  async call(path: string, body: unknown, options: EtcdCallOptions = {}): Promise<unknown> {
    const outgoing = { path, body: JSON.stringify(body), token: options.token };
    const deadline = AbortSignal.timeout(this.#options.callMs ?? CALL_MS);
    for (let tried = 1; ; tried++) {
      const attempt = new Attempt(this.#open(outgoing), deadline);
      try {
        return await attempt.answer();
      } catch (error) {
        const next = !attempt.connected && tried < this.#urls.length && !deadline.aborted;
        if (!attempt.connected) this.#turn++;
        if (!next) throw error;
      }
    }
  }

  #open({ path, body, token }: Outgoing): ClientRequest {
    const url = this.#urls[this.#turn % this.#urls.length] as URL;
    const secure = url.protocol === "https:";
    const options: RequestOptions = {
      method: "POST",
      host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
      port: url.port || (secure ? 443 : 80),
      path,
      headers: {
        "content-type": "application/json",
        "content-length": new TextEncoder().encode(body).length,
        ...(token && { authorization: token }),
      },
    };
    const request = secure
      ? requestHttps({ ...options, agent: this.#secure })
      : requestHttp({ ...options, agent: this.#plain });
    request.end(body);
    return request;
  }

  stream(path: string, body: unknown, events: EtcdStreamEvents): () => void {
    const outgoing = { path, body: JSON.stringify(body), token: events.token };
    const request = this.#open(outgoing);
    let ended = false;
    const end = (): void => {
      if (ended) return;
      ended = true;
      clearTimeout(patience);
      this.#streams.delete(request);
      request.destroy();
      events.onEnd();
    };
    const patience = setTimeout(end, this.#options.callMs ?? CALL_MS);
    this.#streams.add(request);
    request.on("error", () => {
      this.#turn++;
      end();
    });
    request.on("close", end);
    request.on("response", (response) => {
      clearTimeout(patience);
      response.socket.setKeepAlive(true, KEEP_ALIVE_MS);
      if (response.statusCode !== 200) return end();
      response.on("error", end);
      response.on("end", end);
      readLines(response, { onLine: (line) => events.onValue(JSON.parse(line)), end });
    });
    return end;
  }

  close(): void {
    for (const request of this.#streams) request.destroy();
    this.#plain.destroy();
    this.#secure.destroy();
  }
}

/** One request to one endpoint. */
class Attempt {
  readonly #request: ClientRequest;
  readonly #deadline: AbortSignal;
  /** The request may have reached etcd. */
  connected = false;

  constructor(request: ClientRequest, deadline: AbortSignal) {
    this.#request = request;
    this.#deadline = deadline;
    request.on("socket", (socket) => {
      if (!socket.connecting) {
        this.connected = true; // kept from a request before, and not to be listened to once more
        return;
      }
      socket.once("connect", () => {
        this.connected = true;
      });
    });
  }

  answer(): Promise<unknown> {
    const request = this.#request;
    return new Promise((resolve, reject) => {
      const fail = (message: string) => {
        request.destroy();
        reject(new EtcdFailure(message, { refused: !this.connected }));
      };
      const onDeadline = () => fail("etcd took too long");
      this.#deadline.addEventListener("abort", onDeadline, { once: true });
      const done = () => this.#deadline.removeEventListener("abort", onDeadline);
      request.on("error", (error: Error & { code?: string }) => {
        done();
        fail(`cannot talk to etcd: ${error.code ?? error.name}`);
      });
      request.on("response", (response) => {
        this.connected = true;
        const chunks: Uint8Array[] = [];
        let size = 0;
        response.on("data", (chunk: Uint8Array) => {
          size += chunk.length;
          if (size <= ANSWER_BYTES_MAX) chunks.push(chunk);
          else fail("etcd's answer is too large");
        });
        response.on("error", () => fail("etcd's answer broke off"));
        response.on("end", () => {
          done();
          try {
            resolve(readAnswer(response.statusCode ?? 0, decodeUtf8(concatBytes(chunks))));
          } catch (error) {
            reject(error);
          }
        });
      });
      if (this.#deadline.aborted) onDeadline();
    });
  }
}

/** gRPC codes with which etcd says that it did nothing. */
const REFUSALS: ReadonlySet<number> = new Set([3, 5, 7, 8, 9, 11, 12, 16]);
const UNAUTHENTICATED = 16;

function readAnswer(status: number, text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const said = text.trim().slice(0, WORDS_MAX);
    throw new EtcdFailure(`etcd answered ${status}, not in JSON: ${said}`, { refused: false });
  }
  if (status === 200) return value;
  const { code, message } = value as { code?: number; message?: string };
  const invalidToken = message?.includes("invalid auth token") ?? false;
  throw new EtcdFailure(`etcd answered ${status}: ${message ?? "no reason"}`, {
    refused: code !== undefined && REFUSALS.has(code),
    unauthenticated: code === UNAUTHENTICATED || invalidToken,
  });
}

function readLines(
  response: IncomingMessage,
  to: { onLine(line: string): void; end(): void },
): void {
  const decoder = new TextDecoder();
  let rest = "";
  response.on("data", (chunk: Uint8Array) => {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > LINE_CHARS_MAX) return to.end();
    try {
      for (const line of lines) if (line !== "") to.onLine(line);
    } catch {
      to.end(); // no JSON: whoever watches begins anew
    }
  });
}
