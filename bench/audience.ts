/**
 * Many open event streams that count what they get.
 *
 * Each event holds one {@linkcode MARK} and nothing else does, so a subscriber
 * counts events by looking for a byte; parsing some hundred thousand events a
 * second would measure the parser.
 *
 * @module
 */

import { connect, type Socket } from "node:net";
import { encodeRequest } from "../test/e2e/http.ts";

export const MARK = "~";
const MARK_BYTE = MARK.charCodeAt(0);

export class Audience {
  readonly #sockets: Socket[] = [];
  #counts: number[] = [];
  #sentAt: readonly number[] | undefined;
  #goal = Infinity;
  #reached: () => void = () => {};
  #failure: Error | undefined;
  #fail: (error: Error) => void = () => {};
  seen = 0;
  latenciesMs: number[] = [];

  /** Resolves when every stream has its first bytes. */
  static async open(port: number, wish: { path: string; size: number }): Promise<Audience> {
    const audience = new Audience();
    const headers = { Accept: "text/event-stream" };
    const bytes = encodeRequest({ path: wish.path, headers });
    for (let index = 0; index < wish.size; index++) await audience.#join(port, { bytes, index });
    audience.restart();
    return audience;
  }

  restart(sentAt?: readonly number[]): void {
    this.#counts = this.#sockets.map(() => 0);
    this.#sentAt = sentAt;
    this.seen = 0;
    this.latenciesMs = [];
  }

  /** Resolves when all together have seen that many events since the restart. */
  hasSeen(count: number): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.seen >= count) return Promise.resolve();
    return new Promise((resolve, reject) => {
      [this.#goal, this.#reached, this.#fail] = [count, resolve, reject];
    });
  }

  close(): void {
    this.#fail = () => {};
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(port: number, { bytes, index }: { bytes: Uint8Array; index: number }): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port });
      socket.on("connect", () => socket.write(bytes));
      socket.once("data", (head) => {
        if (String(head).startsWith("HTTP/1.1 200")) resolve();
        else reject(new Error(`Cannot subscribe: ${String(head).slice(0, 300)}`));
      });
      socket.on("data", (chunk) => this.#hear(index, chunk as Buffer));
      socket.on("error", reject);
      socket.on("close", () => {
        this.#failure = new Error(`subscriber ${index} was closed after ${this.#counts[index]}`);
        this.#fail(this.#failure);
      });
      this.#sockets.push(socket);
    });
  }

  #hear(index: number, chunk: Buffer): void {
    const now = performance.now();
    for (let at = chunk.indexOf(MARK_BYTE); at >= 0; at = chunk.indexOf(MARK_BYTE, at + 1)) {
      const event = this.#counts[index] ?? 0;
      this.#counts[index] = event + 1;
      this.seen++;
      if (this.#sentAt) this.latenciesMs.push(now - (this.#sentAt[event] ?? now));
    }
    if (this.seen >= this.#goal) {
      this.#goal = Infinity;
      this.#reached();
    }
  }
}
