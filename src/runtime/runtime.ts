/**
 * The few things Bun, Deno and Node do differently about serving HTTP.
 * Everything else uses web standards or `node:` modules, which all three share.
 *
 * @module
 */

export interface Runtime {
  readonly name: "bun" | "deno" | "node";
  serve(options: ServeOptions, handle: Handle): Promise<HttpServer>;
}

export interface ServeOptions {
  readonly hostname: string;
  /** 0 takes a free one; see {@linkcode HttpServer.port}. */
  readonly port: number;
  /** Reachable by strangers with no proxy in front: slow clients must be cut off by us. */
  readonly exposed: boolean;
}

/** What a handler may ask of the connection its request came on; the same object for every request. */
export interface Host {
  /** This request is meant to stay silent for long (long-poll, SSE): lift the idle timeout. */
  holdOpen(request: Request): void;
}

export type Handle = (request: Request, host: Host) => Response | Promise<Response>;

export interface HttpServer {
  readonly port: number;
  /** Which adapter serves, for the start line: "Bun.serve", "Deno.serve", "node:http". */
  readonly adapter: string;
  /** Stops accepting and resolves when the last request in flight is answered. */
  stop(): Promise<void>;
  /** Closes what is still open, at once. */
  abort(): void;
}
