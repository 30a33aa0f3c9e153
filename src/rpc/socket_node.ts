/**
 * A socket as a carrier, on `node:net` and `node:tls`, which run on Bun, Deno and
 * Node alike: plain, or with both ends proven by certificates (TLS 1.3).
 *
 * @module
 */

import type { Socket } from "node:net";
import type { Carrier, CarrierEvents } from "./carrier.ts";

export interface TlsFiles {
  /** The authority that signed the certificates of the cluster, in PEM. */
  readonly authority: string;
  /** The own certificate and its key, in PEM. */
  readonly certificate: string;
  readonly key: string;
}

/** Named in the TLS handshake: whoever speaks something else is turned away there. */
export const ALPN = "tidegate-rpc";

export class SocketCarrier implements Carrier {
  readonly #socket: Socket;
  #failure: string | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
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
      events.onBytes(new Uint8Array(buffer, byteOffset, byteLength));
    });
    socket.on("drain", () => events.onDrained());
    socket.on("close", () => events.onClosed(this.#failure ?? "the connection was closed"));
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
