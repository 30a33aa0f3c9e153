/**
 * A clock that moves when told to: for tests and simulation.
 *
 * @module
 */

import type { Clock } from "./clock.ts";

interface Entry {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

export class ManualClock implements Clock {
  #now: number;
  #order = 0;
  readonly #timers = new Set<Entry>();

  constructor(now = 1_700_000_000_000) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  after(delayMs: number, run: () => void): () => void {
    const entry = { at: this.#now + delayMs, order: this.#order++, run };
    this.#timers.add(entry);
    return () => void this.#timers.delete(entry);
  }

  defer(run: () => void): void {
    queueMicrotask(run);
  }

  /** Moves time forward, running what falls due in order. */
  advance(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const next = this.#earliest();
      if (!next || next.at > until) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
    }
    this.#now = until;
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
