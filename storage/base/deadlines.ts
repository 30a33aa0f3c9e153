/**
 * What must be over by when, with one timer for all of it.
 *
 * An entry that is over early is not looked for: it is passed over when its time
 * comes, and swept out when such entries are the most. So an entry costs the same
 * whether there are ten or a million.
 *
 * @module
 */

import type { Clock } from "./clock.ts";
import { Heap } from "./heap.ts";

export interface Due {
  /** Its time counts no more. */
  readonly isOver: boolean;
  onDeadline(): void;
}

const SWEEP_MIN = 1024;

export class Deadlines {
  readonly #clock: Clock;
  readonly #heap = new Heap<Due>();
  #cancel: () => void = () => {};
  #armedFor = Infinity;
  #sweepAt = SWEEP_MIN;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param at on the axis of `elapsed`; nothing happens at Infinity. */
  add(at: number, due: Due): void {
    if (at === Infinity) return;
    if (this.#heap.size >= this.#sweepAt) this.#sweep();
    this.#heap.push(at, due);
    if (at < this.#armedFor) this.#arm();
  }

  stop(): void {
    this.#cancel();
    this.#armedFor = Infinity;
    this.#heap.retain(() => false);
  }

  #sweep(): void {
    this.#heap.retain((due) => !due.isOver);
    this.#sweepAt = Math.max(SWEEP_MIN, 2 * this.#heap.size);
  }

  #arm(): void {
    this.#cancel();
    this.#armedFor = this.#heap.minKey;
    if (this.#armedFor === Infinity) return;
    const delayMs = Math.max(0, this.#armedFor - this.#clock.elapsed());
    this.#cancel = this.#clock.after(delayMs, () => this.#run());
  }

  #run(): void {
    this.#armedFor = Infinity;
    const now = this.#clock.elapsed();
    while (this.#heap.minKey <= now) {
      const due = this.#heap.pop();
      if (due && !due.isOver) due.onDeadline();
    }
    if (this.#heap.minKey < this.#armedFor) this.#arm();
  }
}
