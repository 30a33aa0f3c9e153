/**
 * The heartbeat of all streams: one timer for however many there are.
 *
 * Subscribers are dealt out over eight slots and each second one slot beats,
 * so that ten thousand streams do not all write in the same moment. The timer
 * runs only while there is somebody to beat for: an idle node sleeps.
 *
 * @module
 */

import type { After } from "./feed.ts";
import type { Subscriber } from "./feed_subscriber.ts";

export const BEAT_MS = 8000;
const SLOTS = 8;

export class Heart {
  readonly #after: After;
  readonly #slots = Array.from({ length: SLOTS }, () => new Set<Subscriber>());
  #size = 0;
  #nextSlot = 0;
  #stop: (() => void) | undefined;

  constructor(after: After) {
    this.#after = after;
  }

  get size(): number {
    return this.#size;
  }

  *[Symbol.iterator](): Iterator<Subscriber> {
    for (const slot of this.#slots) yield* slot;
  }

  add(subscriber: Subscriber): void {
    // The slot that has just beaten: its first beat comes after a full interval.
    subscriber.slot = (this.#nextSlot + this.#size++) % SLOTS;
    this.#slots[subscriber.slot]?.add(subscriber);
    if (this.#size === 1) this.#arm();
  }

  delete(subscriber: Subscriber): void {
    if (!this.#slots[subscriber.slot]?.delete(subscriber) || --this.#size > 0) return;
    this.#stop?.();
  }

  #arm(): void {
    this.#stop = this.#after(BEAT_MS / SLOTS, () => {
      const slot = this.#slots[this.#nextSlot];
      this.#nextSlot = (this.#nextSlot + 1) % SLOTS;
      for (const subscriber of slot ?? []) subscriber.beat();
      if (this.#size > 0) this.#arm();
    });
  }
}
