/**
 * Dialling a node over TCP, plain or in TLS.
 *
 * In TLS the server must show a certificate of the cluster's authority for the
 * name or address that was dialled; anything else ends the connection before a
 * byte of ours is sent.
 *
 * @module
 */

import { connect, isIP } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Dial } from "./carrier.ts";
import { ALPN, SocketCarrier, type TlsFiles } from "./socket_node.ts";

export interface DialOptions {
  readonly host: string;
  readonly port: number;
  readonly tls?: TlsFiles | undefined;
}

export function dialer({ host, port, tls }: DialOptions): Dial {
  return (events) => {
    const socket = tls ? secure({ host, port, tls }) : connect({ host, port });
    const carrier = new SocketCarrier(socket);
    carrier.tell(events);
    return carrier;
  };
}

function secure({ host, port, tls }: DialOptions & { readonly tls: TlsFiles }) {
  return connectTls({
    host,
    port,
    ca: tls.authority,
    cert: tls.certificate,
    key: tls.key,
    minVersion: "TLSv1.3",
    ALPNProtocols: [ALPN],
    ...(isIP(host) ? {} : { servername: host }), // an address is no server name (RFC 6066)
  });
}
