/**
 * The few things Bun, Deno and Node do differently about serving HTTP.
 * Everything else uses web standards or `node:` modules, which all three share.
 *
 * What every adapter promises: a client that is slow to send its request is cut
 * off when the server is `exposed`; one that waits for its answer is not, once
 * the handler called `holdOpen`; a client that goes away aborts
 * `request.signal`; what a handler throws never reaches the client. One suite
 * checks it (`test/suites/http_adapter.ts`).
 *
 * @module
 */

export interface Runtime {
  readonly name: "bun" | "deno" | "node";
  serve(options: ServeOptions, handle: Handle): Promise<HttpServer>;
}

/** What a server shows to prove who it is, both as PEM. */
export interface Certificate {
  /** With those of the authorities in between behind it. */
  readonly cert: string;
  readonly key: string;
}

export interface ServeOptions {
  readonly hostname: string;
  /** 0 takes a free one; see {@linkcode HttpServer.port}. */
  readonly port: number;
  /** Reachable by strangers with no proxy in front: slow clients must be cut off by us. */
  readonly exposed: boolean;
  /** Serve over TLS, as https. */
  readonly tls?: Certificate | undefined;
  /** {@linkcode PATIENCE} unless a test has less of it. */
  readonly patience?: Patience | undefined;
}

/** How long a client may take; an adapter may be late by two seconds. */
export interface Patience {
  /** From the connection, or the answer before, to the end of the request's headers. */
  readonly headersMs: number;
  /** From the first byte of a request to the last one of its body. */
  readonly requestMs: number;
  /** Of silence, while a request is under way that is not held open. */
  readonly silentMs: number;
  /** Of silence in an event stream, which has a heartbeat as long as its reader takes something. */
  readonly streamSilentMs: number;
}

export const PATIENCE: Patience = {
  headersMs: 10_000,
  requestMs: 30_000,
  silentMs: 10_000,
  streamSilentMs: 30_000,
};

/** Above the gateway's own limit, so that its answer, which names the limit, is the one given. */
export const BODY_BYTES_MAX = 64 * 1024 * 1024;

/** What a handler may ask of the connection its request came on; the same object for every request. */
export interface Host {
  /** This request is meant to stay silent for long (long-poll, SSE): lift the idle timeout. */
  holdOpen(request: Request): void;
}

export type Handle = (request: Request, host: Host) => Response | Promise<Response>;

export interface HttpServer {
  readonly port: number;
  /** Which adapter serves, for the start line: "Bun.serve", "Deno.serve", "node:http", "node:https". */
  readonly adapter: string;
  /** Connections from now on see it; requests under way go on. Of a server without TLS it changes nothing. */
  setCertificate(certificate: Certificate): void;
  /** Stops accepting and resolves when the last request in flight is answered. */
  stop(): Promise<void>;
  /**
   * Stops accepting, closes what is still open at once, and ends a `stop` under
   * way. After a `stop`, `Deno.serve` leaves the connections to the end of the
   * process.
   */
  abort(): void;
}
