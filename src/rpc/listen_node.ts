/**
 * Listening for other nodes on a TCP port, plain or in TLS.
 *
 * In TLS a client must show a certificate of the cluster's authority, for one of the
 * cluster's names where there are such, before the first byte of the protocol is
 * looked at; who does not is told of. How many connections there may be at
 * once, those still in their TLS handshake included, is bounded by the socket
 * that listens.
 *
 * @module
 */

import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import type { RpcServer } from "./server.ts";
import { ALPN, notNamed, SocketCarrier, type TlsFiles } from "./socket_node.ts";

export interface ListenOptions {
  readonly host: string;
  /** 0: one that is free. */
  readonly port: number;
  readonly tls?: TlsFiles | undefined;
  /** 1,100 when absent. */
  readonly socketsMax?: number | undefined;
}

export interface Listener {
  readonly port: number;
  /** No new connection comes in; those that are there stay. */
  close(): void;
}

export type Accepts = Pick<RpcServer, "accept" | "turnedAway">;

const TLS_HANDSHAKE_MS = 5000;

/** @throws what the operating system says, when it cannot listen there. */
export async function listen(server: Accepts, options: ListenOptions): Promise<Listener> {
  const { host, port, tls, socketsMax = 1100 } = options;
  const listening = tls ? secure(server, tls) : plain(server);
  listening.maxConnections = socketsMax;
  await new Promise<void>((resolve, reject) => {
    listening.once("error", reject);
    listening.listen(port, host, () => {
      listening.off("error", reject);
      resolve();
    });
  });
  listening.on("error", () => {}); // one connection that could not be accepted is not ours to mend
  return {
    port: (listening.address() as AddressInfo).port,
    close: () => void listening.close(),
  };
}

function plain(server: Accepts): Server {
  return createServer({ allowHalfOpen: false }, (socket) => {
    take(server, { socket, authenticated: false });
  });
}

function secure(server: Accepts, tls: TlsFiles): Server {
  const listening = createTlsServer(
    {
      ca: tls.authority,
      cert: tls.certificate,
      key: tls.key,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: "TLSv1.3",
      ALPNProtocols: [ALPN],
      handshakeTimeout: TLS_HANDSHAKE_MS,
    },
    (socket: TLSSocket) => {
      // Refused already when it was not; a runtime that let it through does not get further.
      const why = socket.authorized ? notNamed(socket, tls) : "its certificate is not accepted";
      if (why === undefined) return take(server, { socket, authenticated: true });
      server.turnedAway(from(socket), why);
      socket.destroy();
    },
  );
  listening.on("tlsClientError", (error: Error & { readonly code?: string }, socket) => {
    server.turnedAway(from(socket), reasonOf(error)); // its socket is closed by then
  });
  return listening;
}

/** Some runtimes close on a certificate of another authority, and say only that. */
function reasonOf({ code = "", message }: Error & { readonly code?: string }): string {
  if (code === "ECONNRESET") return "TLS: it left, or its certificate is of another authority";
  return `TLS: ${code || message}`;
}

function from({ remoteAddress = "?", remotePort = 0 }: Socket): string {
  return `${remoteAddress}:${remotePort}`;
}

function take(
  server: Accepts,
  { socket, authenticated }: { readonly socket: Socket; readonly authenticated: boolean },
): void {
  const carrier = new SocketCarrier(socket);
  carrier.tell(server.accept(carrier, { authenticated, from: from(socket) }));
}
