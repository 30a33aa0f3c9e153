/**
 * Dialling a node over TCP, plain or in TLS.
 *
 * In TLS the server must show a certificate of the cluster's authority for the
 * name or address that was dialled; anything else ends the connection before a
 * byte of ours is sent. One of none of the cluster's names ends it before a byte
 * of it is looked at.
 *
 * @module
 */

import { connect, isIP } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Dial } from "./carrier.ts";
import { ALPN, notNamed, SocketCarrier, type TlsFiles } from "./socket_node.ts";

export interface DialOptions {
  readonly host: string;
  readonly port: number;
  readonly tls?: TlsFiles | undefined;
}

export function dialer({ host, port, tls }: DialOptions): Dial {
  return (events) => {
    const carrier = tls
      ? new SocketCarrier(secure({ host, port, tls }), { unheard: UNHEARD })
      : new SocketCarrier(connect({ host, port }));
    carrier.tell(events);
    return carrier;
  };
}

/** In TLS 1.3 the server judges a certificate after the client thinks all is well. */
const UNHEARD = "closed without a word: does it accept the certificate of this node?";

function secure({ host, port, tls }: DialOptions & { readonly tls: TlsFiles }) {
  const socket = connectTls({
    host,
    port,
    ca: tls.authority,
    cert: tls.certificate,
    key: tls.key,
    minVersion: "TLSv1.3",
    ALPNProtocols: [ALPN],
    ...(isIP(host) ? {} : { servername: host }), // an address is no server name (RFC 6066)
  });
  socket.once("secureConnect", () => {
    const why = notNamed(socket, tls);
    if (why !== undefined) socket.destroy(new Error(why));
  });
  return socket;
}
