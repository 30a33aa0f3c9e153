/**
 * Serving on Bun, with `Bun.serve`.
 *
 * Bun has one timeout, on silence: it closes a client that dawdles over its
 * headers or body, at the price that a long-poll is as silent as an attack. So
 * the timeout stays and is lifted for one request at a time. It is a property
 * of the connection, not of the request: with the answer it comes back, or
 * whoever asked for one long-poll could dawdle for ever afterwards. A stream
 * keeps one that its heartbeat never reaches: Bun asks a stream for more only
 * when the reader has taken something, so nothing else would tell it that the
 * gateway gave up a reader who takes nothing.
 *
 * A server keeps its certificate for life. For another one the next server listens
 * where the last has just stopped to, in the same turn; what the last one has under
 * way is answered, its idle connections are closed.
 *
 * @module
 */

import {
  BODY_BYTES_MAX,
  type Certificate,
  type Handle,
  type Host,
  type HttpServer,
  PATIENCE,
  type Runtime,
  type ServeOptions,
} from "./runtime.ts";

export const runtime: Runtime = {
  name: "bun",
  async serve(options, handle) {
    return new BunServer(options, handle);
  },
};

class BunServer implements HttpServer {
  readonly adapter = "Bun.serve";
  readonly port: number;
  readonly #options: ServeOptions;
  readonly #handle: Handle;
  #server: Bun.Server<undefined>;
  /** Those before it, that still have requests under way. */
  readonly #retired = new Map<Bun.Server<undefined>, Promise<void>>();

  constructor(options: ServeOptions, handle: Handle) {
    this.#options = options;
    this.#handle = handle;
    this.#server = serveBun(options, handle);
    this.port = this.#server.port ?? options.port;
  }

  setCertificate(tls: Certificate): void {
    const last = this.#server;
    const ended = last.stop(false).then(() => void this.#retired.delete(last));
    this.#retired.set(last, ended);
    this.#server = serveBun({ ...this.#options, port: this.port, tls }, this.#handle);
  }

  async stop(): Promise<void> {
    await Promise.all([this.#server.stop(false), ...this.#retired.values()]);
  }

  abort(): void {
    for (const server of [this.#server, ...this.#retired.keys()]) void server.stop(true);
  }
}

function serveBun(options: ServeOptions, handle: Handle): Bun.Server<undefined> {
  const { hostname, port, tls, patience = PATIENCE } = options;
  const idleTimeout = Math.ceil(patience.silentMs / 1000);
  const streamTimeout = Math.ceil(patience.streamSilentMs / 1000);
  const held = new WeakSet<Request>();
  const server = Bun.serve({
    hostname,
    port,
    idleTimeout,
    ...(tls && { tls: { cert: tls.cert, key: tls.key } }),
    maxRequestBodySize: BODY_BYTES_MAX,
    development: false, // else an error answers with its stack
    reusePort: false, // with development off, a second server would share the port
    fetch: (request) => {
      const answer = handle(request, host);
      if (!(answer instanceof Promise)) return release(request, answer);
      return answer.then((response) => release(request, response));
    },
    error: () => new Response(null, { status: 500 }),
  });
  const host: Host = {
    holdOpen: (request) => {
      held.add(request);
      server.timeout(request, 0);
    },
  };
  const release = (request: Request, response: Response) => {
    if (!held.has(request)) return response;
    const stream = response.headers.get("content-type") === "text/event-stream";
    server.timeout(request, stream ? streamTimeout : idleTimeout);
    // Nobody tells when a stream ends, so its connection ends with it.
    if (stream) response.headers.set("connection", "close");
    return response;
  };
  return server;
}
