/**
 * Leader time: what the log's records are stamped with and timers go by.
 *
 * It begins at the wall clock, or where the log left off if that is later, and
 * from then on moves with elapsed time only, so that nobody who sets the clock
 * makes a delayed message come early, or sends a record into the past. A clock
 * set forward is followed at the next start.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";

export class LeaderTime {
  readonly #clock: Clock;
  /** What it would be had nothing elapsed. */
  readonly #origin: number;

  /** @param notBefore what an earlier life has seen already. */
  constructor(clock: Clock, notBefore: number) {
    this.#clock = clock;
    this.#origin = Math.max(clock.now(), notBefore) - clock.elapsed();
  }

  /** Whole milliseconds, never falling. */
  now(): number {
    return Math.floor(this.#origin + this.#clock.elapsed());
  }

  /** The first whole millisecond at which so much will have elapsed: `now` is rounded down, this is not. */
  in(delayMs: number): number {
    return Math.ceil(this.#origin + this.#clock.elapsed() + delayMs);
  }
}
