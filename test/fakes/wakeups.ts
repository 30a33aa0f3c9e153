/**
 * Waiting until something has happened, the time is up or the signal aborts.
 *
 * @module
 */

import type { StopSignal } from "../../src/broker/api.ts";

export class Wakeups {
  readonly #waiting = new Set<() => void>();

  get size(): number {
    return this.#waiting.size;
  }

  wake(): void {
    for (const wake of this.#waiting) wake();
  }

  /** What `look` sees once it is `done`, or when the wait ends; an abort ends it like time does. */
  async until<T>(
    look: () => T,
    wait: { done: (seen: T) => boolean; waitMs: number; signal?: StopSignal | undefined },
  ): Promise<T> {
    const { done, waitMs, signal } = wait;
    let over = waitMs === 0;
    for (;;) {
      const seen = look();
      if (over || signal?.aborted || done(seen)) return seen;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(() => {
          over = true;
          wake();
        }, waitMs);
        const wake = () => {
          clearTimeout(timer);
          this.#waiting.delete(wake);
          signal?.removeEventListener("abort", wake);
          resolve();
        };
        this.#waiting.add(wake);
        signal?.addEventListener("abort", wake);
      });
    }
  }
}
