/**
 * A rate that several share: whoever has bytes to send waits for its turn, and says
 * afterwards how many they were.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";

/** What may pass at once: nobody else waits longer than that for it. */
const BURST_MS = 100;
const BYTES_MAX = 1024 * 1024;
const BYTES_MIN = 64 * 1024;

export class Pace {
  readonly #clock: Clock;
  readonly #bytesPerSecond: number;
  readonly #timers = new Set<() => void>();
  /** From when on there is room again. */
  #freeAt = 0;
  #stopped = false;

  constructor(clock: Clock, bytesPerSecond: number) {
    this.#clock = clock;
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Bytes at once, at most. */
  get share(): number {
    const bytes = Math.floor((this.#bytesPerSecond * BURST_MS) / 1000);
    return Math.min(BYTES_MAX, Math.max(BYTES_MIN, bytes));
  }

  spend(bytes: number): void {
    const now = this.#clock.elapsed();
    this.#freeAt = Math.max(this.#freeAt, now) + (bytes * 1000) / this.#bytesPerSecond;
  }

  /** Resolves when there is room, or no use in waiting. */
  async turn(): Promise<void> {
    for (;;) {
      const waitMs = this.#freeAt - this.#clock.elapsed();
      if (waitMs <= 0 || this.#stopped) return;
      await new Promise<void>((resolve) => {
        const cancel = this.#clock.after(Math.ceil(waitMs), () => {
          this.#timers.delete(stop);
          resolve();
        });
        const stop = () => {
          cancel();
          resolve();
        };
        this.#timers.add(stop);
      });
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const stop of this.#timers) stop();
    this.#timers.clear();
  }
}
