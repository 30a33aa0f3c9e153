/**
 * Serving on Deno: `Deno.serve` where nobody is slow on purpose, `node:http`
 * where strangers connect. The first is twice as fast and has no timeout at
 * all: it waits for ever for a header that comes byte by byte; nor can it be given
 * another certificate, so TLS is `node:https`.
 *
 * @module
 */

import { serveNodeHttp } from "./node_http.ts";
import type { Host, HttpServer, Runtime, ServeOptions, Handle } from "./runtime.ts";

export const runtime: Runtime = {
  name: "deno",
  serve: (options, handle) =>
    options.exposed || options.tls ? serveNodeHttp(options, handle) : serveDeno(options, handle),
};

/** Without an idle timeout there is none to lift. */
const HOST: Host = { holdOpen: () => {} };

async function serveDeno({ hostname, port }: ServeOptions, handle: Handle): Promise<HttpServer> {
  const abort = new AbortController();
  const aborted = Promise.withResolvers<void>();
  const server = Deno.serve(
    {
      hostname,
      port,
      signal: abort.signal,
      onListen: () => {},
      onError: answerFailure,
    },
    (request) => handle(request, HOST),
  );
  let stopping: Promise<void> | undefined;
  return {
    port: server.addr.port,
    adapter: "Deno.serve",
    setCertificate: () => {},
    stop: () => (stopping ??= Promise.race([server.shutdown(), aborted.promise])),
    abort: () => {
      // A server that is shutting down throws here: its connections end with the process.
      if (stopping === undefined) abort.abort();
      aborted.resolve();
    },
  };
}

/** The gateway answers its own errors; whatever comes here is told to nobody. */
function answerFailure(): Response {
  return new Response(null, { status: 500 });
}
