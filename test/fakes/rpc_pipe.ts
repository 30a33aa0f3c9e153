/**
 * Two ends of a connection in memory, with all that a socket can do to one: hold
 * bytes back, cut them anywhere, lose its peer without a word.
 *
 * Bytes arrive in a microtask of their own, so nothing is called back from within
 * a call, and everything that needs no time happens before the next turn.
 *
 * @module
 */

import type { Carrier, CarrierEvents } from "../../src/rpc/mod.ts";

export interface PipeOptions {
  /** The most bytes that arrive at once; as they were written when absent. */
  readonly chunkBytes?: number;
  /** From so many bytes in line on an end wants no more; 1 MiB when absent. */
  readonly roomBytes?: number;
}

export class Pipe {
  readonly client: PipeEnd;
  readonly server: PipeEnd;

  constructor(options: PipeOptions = {}) {
    this.client = new PipeEnd(options);
    this.server = new PipeEnd(options);
    this.client.other = this.server;
    this.server.other = this.client;
  }

  /** As when a cable is pulled: nothing arrives any more and nobody is told. */
  cut(): void {
    this.client.cut = true;
    this.server.cut = true;
  }

  /** As when a process is killed: both ends are told. */
  break(): void {
    this.client.lose("connection reset");
    this.server.lose("connection reset");
  }
}

export class PipeEnd implements Carrier {
  /** Who is told what arrives here. */
  events: CarrierEvents | undefined;
  other!: PipeEnd;
  cut = false;
  isClosed = false;
  /** Bytes that may still leave this end. */
  rationBytes = Infinity;
  /** Bytes that left this end, ever. */
  sentBytes = 0;
  readonly #options: PipeOptions;
  #line: Uint8Array[] = [];
  #queued = 0;
  #paused = false;
  #ending = false;
  #full = false;
  #moving = false;

  constructor(options: PipeOptions) {
    this.#options = options;
  }

  get queuedBytes(): number {
    return this.#queued;
  }

  get isPaused(): boolean {
    return this.#paused;
  }

  write(bytes: Uint8Array): boolean {
    if (this.isClosed || this.#ending) return true;
    const most = this.#options.chunkBytes ?? Math.max(1, bytes.length);
    for (let at = 0; at < bytes.length; at += most) this.#line.push(bytes.slice(at, at + most));
    this.#queued += bytes.length;
    this.#move();
    this.#full = this.#queued >= (this.#options.roomBytes ?? 1 << 20);
    return !this.#full;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.other.#move();
  }

  /** So many bytes more may leave this end. */
  feed(bytes: number): void {
    this.rationBytes += bytes;
    this.#move();
  }

  end(): void {
    this.#ending = true;
    this.#move();
  }

  destroy(): void {
    this.lose("destroyed");
    if (!this.cut) this.other.lose("the other end closed");
  }

  lose(reason: string): void {
    if (this.isClosed) return;
    this.isClosed = true;
    queueMicrotask(() => this.events?.onClosed(reason));
  }

  #move(): void {
    if (this.#moving) return;
    this.#moving = true;
    queueMicrotask(() => {
      this.#moving = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    const { other } = this;
    while (!this.cut && !this.isClosed && !other.isClosed && !other.#paused) {
      const [chunk] = this.#line;
      if (!chunk || chunk.length > this.rationBytes) break;
      this.#line.shift();
      this.rationBytes -= chunk.length;
      this.#queued -= chunk.length;
      this.sentBytes += chunk.length;
      other.events?.onBytes(chunk);
    }
    if (this.#line.length > 0) return;
    if (this.#full && !this.isClosed) {
      this.#full = false;
      this.events?.onDrained();
    }
    if (this.#ending) this.destroy();
  }
}
