/**
 * A socket as a carrier, on `node:net` and `node:tls`, which run on Bun, Deno and
 * Node alike: plain, or with both ends proven by certificates (TLS 1.3).
 *
 * An authority may sign for more than one cluster. With `names` given a certificate
 * must be for one of them as well, whichever end shows it.
 *
 * @module
 */

import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Carrier, CarrierEvents } from "./carrier.ts";

export interface TlsFiles {
  /** The authority that signed the certificates of the cluster, in PEM. */
  readonly authority: string;
  /** The own certificate and its key, in PEM. */
  readonly certificate: string;
  readonly key: string;
  /** DNS names, of which a node's certificate has one; any will do when empty or absent. */
  readonly names?: readonly string[] | undefined;
}

/** Named in the TLS handshake: whoever speaks something else is turned away there. */
export const ALPN = "tidegate-rpc";

/** Why the other end is not of the cluster, though of its authority; undefined when it is. */
export function notNamed(socket: TLSSocket, { names = [] }: TlsFiles): string | undefined {
  if (names.length === 0) return undefined;
  const { subjectaltname = "" } = socket.getPeerCertificate();
  const shown = subjectaltname.split(", ").filter((entry) => entry.startsWith("DNS:"));
  const wanted = new Set(names.map((name) => `dns:${name.toLowerCase()}`));
  if (shown.some((entry) => wanted.has(entry.toLowerCase()))) return undefined;
  return `its certificate has none of the names of this cluster: it has ${subjectaltname || "none"}`;
}

const CLOSED = "the connection was closed";

export class SocketCarrier implements Carrier {
  readonly #socket: Socket;
  readonly #unheard: string;
  #failure: string | undefined;
  #heard = false;

  /** @param options.unheard what it means when it is closed before a byte came. */
  constructor(socket: Socket, { unheard = CLOSED }: { readonly unheard?: string } = {}) {
    this.#socket = socket;
    this.#unheard = unheard;
    socket.setNoDelay(true);
    socket.on("error", (error: Error & { readonly code?: string }) => {
      this.#failure = error.code ?? error.message;
    });
  }

  /** Whom to tell, from the next event on. */
  tell(events: CarrierEvents): void {
    const socket = this.#socket;
    // A Buffer's slice is a view where everybody expects a copy: nobody here gets one.
    socket.on("data", ({ buffer, byteOffset, byteLength }: Uint8Array) => {
      this.#heard = true;
      events.onBytes(new Uint8Array(buffer, byteOffset, byteLength));
    });
    socket.on("drain", () => events.onDrained());
    socket.on("close", () => events.onClosed(this.#failure ?? this.#silence));
  }

  get #silence(): string {
    return this.#heard ? CLOSED : this.#unheard;
  }

  get queuedBytes(): number {
    return this.#socket.writableLength;
  }

  write(bytes: Uint8Array): boolean {
    return this.#socket.destroyed || this.#socket.write(bytes);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
