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
 * @module
 */

import { BODY_BYTES_MAX, type Host, PATIENCE, type Runtime } from "./runtime.ts";

export const runtime: Runtime = {
  name: "bun",
  async serve({ hostname, port, patience = PATIENCE }, handle) {
    const idleTimeout = Math.ceil(patience.silentMs / 1000);
    const streamTimeout = Math.ceil(patience.streamSilentMs / 1000);
    const held = new WeakSet<Request>();
    const server = Bun.serve({
      hostname,
      port,
      idleTimeout,
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
    return {
      port: server.port ?? port,
      adapter: "Bun.serve",
      stop: () => server.stop(false),
      abort: () => void server.stop(true),
    };
  },
};
