/**
 * A clock that moves when told to: for tests and simulation.
 *
 * @module
 */

import type { Clock } from "./clock.ts";

interface Entry {
  /** On the axis of `elapsed`. */
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

export class ManualClock implements Clock {
  #elapsed = 0;
  /** What the wall shows when nothing has elapsed. */
  #wall: number;
  #order = 0;
  readonly #timers = new Set<Entry>();

  constructor(now = 1_700_000_000_000) {
    this.#wall = now;
  }

  now(): number {
    return this.#wall + this.#elapsed;
  }

  elapsed(): number {
    return this.#elapsed;
  }

  after(delayMs: number, run: () => void): () => void {
    const entry = { at: this.#elapsed + delayMs, order: this.#order++, run };
    this.#timers.add(entry);
    return () => void this.#timers.delete(entry);
  }

  defer(run: () => void): void {
    queueMicrotask(run);
  }

  /** Moves time forward, running what falls due in order. */
  advance(ms: number): void {
    const until = this.#elapsed + ms;
    for (;;) {
      const next = this.#earliest();
      if (!next || next.at > until) break;
      this.#timers.delete(next);
      this.#elapsed = Math.max(this.#elapsed, next.at);
      next.run();
    }
    this.#elapsed = until;
  }

  /** Somebody sets the wall clock, forward or back; no time passes. */
  step(ms: number): void {
    this.#wall += ms;
  }

  #earliest(): Entry | undefined {
    let found: Entry | undefined;
    for (const entry of this.#timers) {
      const before =
        !found || entry.at < found.at || (entry.at === found.at && entry.order < found.order);
      if (before) found = entry;
    }
    return found;
  }
}
