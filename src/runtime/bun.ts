/**
 * Serving on Bun, with `Bun.serve`.
 *
 * Bun has one timeout, on silence: ten seconds close a client that dawdles over
 * its headers or body, at the price that a long-poll is as silent as an attack.
 * So the timeout stays, and is lifted request by request.
 *
 * @module
 */

import { BODY_BYTES_MAX, type Host, PATIENCE, type Runtime } from "./runtime.ts";

export const runtime: Runtime = {
  name: "bun",
  async serve({ hostname, port, patience = PATIENCE }, handle) {
    const server = Bun.serve({
      hostname,
      port,
      idleTimeout: Math.ceil(patience.silentMs / 1000),
      maxRequestBodySize: BODY_BYTES_MAX,
      development: false, // else an error answers with its stack
      fetch: (request) => handle(request, host),
      error: () => new Response(null, { status: 500 }),
    });
    const host: Host = { holdOpen: (request) => server.timeout(request, 0) };
    return {
      port: server.port ?? port,
      adapter: "Bun.serve",
      stop: () => server.stop(false),
      abort: () => void server.stop(true),
    };
  },
};
