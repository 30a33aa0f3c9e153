/**
 * What waits to be queued to one reader, in order of arrival.
 *
 * An entry is turned into bytes only when there is room for them, a step at a
 * time, so what waits here is what was handed in, shared with whoever else was
 * given it. Whoever may wait asks for room first, and stands in the same line.
 *
 * @module
 */

import type { Subscriber } from "./feed_subscriber.ts";

export interface LineEntry {
  /** What it keeps in memory until it is done. */
  readonly heldBytes: number;
  /** What is to be queued next. */
  step(): Step;
}

export interface Step {
  readonly chunks: readonly Uint8Array[];
  /** The bytes to wait for room for: those of the chunks, when absent. */
  readonly roomBytes?: number;
  /** There is room, and the chunks are about to be queued. @returns whether the entry is done */
  taken(): boolean;
}

export class TopicsLine {
  readonly #subscriber: Subscriber;
  readonly #position: () => string;
  readonly #entries: LineEntry[] = [];
  #heldBytes = 0;
  #state: "new" | "idle" | "running" = "new";

  /** `position`: where the reader stands once everything up to now is queued. */
  constructor(subscriber: Subscriber, position: () => string) {
    this.#subscriber = subscriber;
    this.#position = position;
  }

  get empty(): boolean {
    return this.#entries.length === 0;
  }

  /** Held here, and waiting in the subscriber. */
  get backlogBytes(): number {
    return this.#heldBytes + this.#subscriber.waitingBytes;
  }

  /** Before this, nothing leaves the line. */
  start(): void {
    this.#state = "idle";
    void this.#run();
  }

  push(entry: LineEntry): void {
    if (!this.#subscriber.open) return;
    this.#heldBytes += entry.heldBytes;
    this.#entries.push(entry);
    void this.#run();
  }

  /** Resolves when it is this one's turn and `size` bytes fit; to false when the stream ended. */
  room(size: number): Promise<boolean> {
    return new Promise((resolve) => {
      if (this.#subscriber.open) this.push(new RoomWanted(size, resolve));
      else resolve(false);
    });
  }

  /** The stream ended: what waits is dropped. */
  clear(): void {
    for (const entry of this.#entries.splice(0)) {
      if (entry instanceof RoomWanted) entry.resolve(false);
    }
    this.#heldBytes = 0;
  }

  async #run(): Promise<void> {
    if (this.#state !== "idle") return;
    this.#state = "running";
    for (let entry = this.#entries[0]; entry; entry = this.#entries[0]) {
      const step = entry.step();
      await this.#subscriber.room(step.roomBytes ?? sizeOf(step.chunks));
      if (!this.#subscriber.open) break; // the line was cleared
      this.#take(entry, step);
    }
    this.#state = "idle";
  }

  #take(entry: LineEntry, { chunks, taken }: Step): void {
    const { heldBytes } = entry;
    const done = taken();
    if (done) this.#entries.shift();
    this.#heldBytes -= done ? heldBytes : heldBytes - entry.heldBytes;
    if (chunks.length > 0) this.#subscriber.send(chunks, this.#position());
  }
}

class RoomWanted implements LineEntry {
  readonly heldBytes = 0;
  readonly resolve: (open: boolean) => void;
  readonly #size: number;

  constructor(size: number, resolve: (open: boolean) => void) {
    this.#size = size;
    this.resolve = resolve;
  }

  step(): Step {
    const taken = () => {
      this.resolve(true);
      return true;
    };
    return { chunks: [], roomBytes: this.#size, taken };
  }
}

function sizeOf(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((sum, { length }) => sum + length, 0);
}
