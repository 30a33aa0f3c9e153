/**
 * A client that says exactly what it is told to, byte for byte, and nothing
 * when it is told nothing: for requests no honest client would send.
 *
 * @module
 */

import { connect, type Socket } from "node:net";

export class RawClient {
  /** All that arrived, byte for character. */
  received = "";
  /** When the server closed or broke the connection. */
  closedAt: number | undefined;
  readonly closed: Promise<void>;
  readonly #socket: Socket;

  constructor(port: number) {
    this.#socket = connect({ port, host: "127.0.0.1" });
    this.#socket.setNoDelay(true);
    this.#socket.on("data", (bytes) => (this.received += bytes.toString("latin1")));
    this.#socket.on("error", () => {}); // a reset is one way to be closed
    this.closed = new Promise((resolve) => {
      const ended = () => {
        this.closedAt ??= performance.now();
        this.#socket.destroy();
        resolve();
      };
      this.#socket.on("end", ended);
      this.#socket.on("close", ended);
    });
  }

  send(bytes: string): this {
    this.#socket.write(bytes, "latin1");
    return this;
  }

  /** Stops reading: what the server sends stays in the kernel's buffers. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Goes away without a word. */
  leave(): void {
    this.#socket.destroy();
  }

  /** Status codes of the answers so far. */
  get statuses(): number[] {
    return [...this.received.matchAll(/HTTP\/1\.[01] (\d+)/g)].map((match) => Number(match[1]));
  }
}

/** Sends one byte now and then until the connection closes; a request that never ends. */
export function drip(client: RawClient, byte: string): RawClient {
  const timer = setInterval(() => client.send(byte), 200);
  void client.closed.then(() => clearInterval(timer));
  return client;
}

export function request(line: string, headers: readonly string[] = [], body = ""): string {
  return [`${line} HTTP/1.1`, "Host: gateway", ...headers, "", body].join("\r\n");
}
