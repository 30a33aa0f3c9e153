/**
 * Serving with `node:http` or `node:https`, for Node, and for Deno when it is exposed
 * or serves over TLS.
 *
 * Its timeouts are on the request alone: headers and body must arrive in time,
 * the answer may take as long as it likes. So a held request has nothing to
 * lift; it is only marked, because it is the one that may be answered by a
 * stream, and streams are sent by `node_stream.ts`.
 *
 * What the parser refuses (malformed, headers too large, too slow) is answered
 * by `node:http` itself, with a bare status, and the connection closed.
 *
 * @module
 */

import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { getRequestListener, RequestError } from "@hono/node-server";
import { isEventStream, sendStream } from "./node_stream.ts";
import { type Handle, type Host, type HttpServer, PATIENCE, type ServeOptions } from "./runtime.ts";

const HEADER_BYTES_MAX = 16 * 1024;

/** Longer than proxies keep a connection: the one who closes it should not be the one who gets requests. */
const KEEP_ALIVE_MS = 75_000;

/** How late a timeout may come. */
const CHECK_MS = 1000;

/** How late a stopping server notices that a connection has become idle. */
const STOP_CHECK_MS = 50;

/**
 * The package's own `Request` and `Response` are faster on Node. On Deno they
 * would be refused by a `Deno.serve` beside this server.
 */
const OWN_GLOBALS = !("Deno" in globalThis);

interface Connection {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
}

export async function serveNodeHttp(options: ServeOptions, handle: Handle): Promise<HttpServer> {
  const { hostname, port, tls, patience = PATIENCE } = options;
  const limits = {
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: patience.headersMs,
    requestTimeout: patience.requestMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: Math.min(CHECK_MS, patience.headersMs),
  };
  const listener = listenerOf(handle);
  const listen: RequestListener = (incoming, outgoing) => void listener(incoming, outgoing);
  const secure =
    tls && createTlsServer({ ...limits, ...tls, handshakeTimeout: patience.headersMs }, listen);
  const server = secure ?? createServer(limits, listen);
  await listening(server, { hostname, port });
  return {
    port: (server.address() as AddressInfo).port,
    adapter: secure ? "node:https" : "node:http",
    setCertificate: (certificate) => secure?.setSecureContext(certificate),
    stop: () => stopped(server),
    abort: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

function listenerOf(handle: Handle): ReturnType<typeof getRequestListener> {
  const held = new WeakSet<Request>();
  const host: Host = { holdOpen: (request) => void held.add(request) };
  const send = (request: Request, response: Response, connection: Connection) =>
    held.has(request) && isEventStream(response)
      ? sendStream(response, connection.outgoing)
      : response;
  return getRequestListener(
    (request, bindings) => {
      const connection = bindings as Connection;
      lendBytes(request);
      const answer = handle(request, host);
      if (!(answer instanceof Promise)) return send(request, answer, connection);
      return answer.then((response) => send(request, response, connection));
    },
    { overrideGlobalObjects: OWN_GLOBALS, errorHandler: answerFailure },
  );
}

/** The package's requests inherit `bytes()` from a class whose objects they are not: it throws on them. */
function lendBytes(request: Request): void {
  const prototype = Object.getPrototypeOf(request) as Request;
  if (Object.hasOwn(prototype, "bytes")) return;
  prototype.bytes = async function (this: Request) {
    return new Uint8Array(await this.arrayBuffer());
  };
}

/** The gateway answers its own errors; whatever comes here is told to nobody. */
function answerFailure(error: unknown): Response {
  return new Response(null, { status: error instanceof RequestError ? 400 : 500 });
}

async function listening(
  server: Server,
  address: { readonly hostname: string; readonly port: number },
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(address.port, address.hostname, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** A connection that turns idle after `close` was called stays open, so somebody has to look. */
async function stopped(server: Server): Promise<void> {
  const idle = setInterval(() => server.closeIdleConnections(), STOP_CHECK_MS);
  try {
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeIdleConnections();
    });
  } finally {
    clearInterval(idle);
  }
}
