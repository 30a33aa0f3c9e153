/**
 * The one queue of a simulated cluster: everything that happens is an event with
 * a time, and equal times go in order of asking. Nothing is asynchronous, so the
 * order depends on the seed alone, on every runtime.
 *
 * @module
 */

import { Heap } from "../../storage/base/heap.ts";

const ORDER_SPAN = 2 ** 20;
export const MS = 1000;

export class Kernel {
  /** Microseconds. */
  now = 0;
  readonly #queue = new Heap<() => void>();
  #order = 0;
  #trace = 0;
  events = 0;

  after(delayUs: number, run: () => void): void {
    this.at(this.now + Math.max(0, Math.floor(delayUs)), run);
  }

  at(timeUs: number, run: () => void): void {
    this.#order = (this.#order + 1) % ORDER_SPAN;
    this.#queue.push(Math.max(this.now, timeUs) * ORDER_SPAN + this.#order, run);
  }

  /** Runs what is due before `timeUs`. */
  runUntil(timeUs: number): void {
    while (this.#queue.minKey < timeUs * ORDER_SPAN) {
      this.now = Math.floor(this.#queue.minKey / ORDER_SPAN);
      const run = this.#queue.pop();
      this.events++;
      run?.();
    }
    this.now = timeUs;
  }

  /** Makes histories that differ here have different traces. */
  note(a: number, b: number): void {
    const mixed = Math.imul(this.#trace ^ a, 0x9e3779b1) ^ Math.imul(b + this.now, 0x85ebca6b);
    this.#trace = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
  }

  get trace(): number {
    return this.#trace >>> 0;
  }
}
