/**
 * How late the event loop comes to what is due, measured by ourselves: what the
 * runtimes offer for it is not there on all three, or always says nothing.
 *
 * A timer is due every {@linkcode INTERVAL_MS}; how much later it comes is how
 * long the loop was busy with something else when it was due. A stall shorter than
 * the interval is seen as often as a timer falls into it.
 *
 *   working ──hardly any processor time used──▶ resting: twice as long each time, to 1 s
 *      ▲                                           │
 *      └────────────some was used──────────────────┘
 *
 * A process that rests has nothing to be late with, and waking it twenty times a
 * second for that was a third of what an idle node took of a core.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import { type Family, gauge, Histogram, histogram } from "../../storage/base/metrics.ts";

const INTERVAL_MS = 50;
const RESTING_INTERVAL_MS = 1000;
/** Of one core: a process that uses less rests. Thousands of waiting clients are half of it. */
const RESTING_SHARE = 0.03;

const LAG_SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];

export class LoopLag {
  readonly #clock: Pick<Clock, "elapsed" | "after">;
  readonly #processorMs: () => number;
  readonly #lag = new Histogram(LAG_SECONDS);
  #worst = 0;
  #cancel: () => void = () => {};

  /** @param processorMs that the process has used so far. */
  constructor(clock: Pick<Clock, "elapsed" | "after">, processorMs: () => number) {
    this.#clock = clock;
    this.#processorMs = processorMs;
  }

  start(): void {
    this.#watch(INTERVAL_MS);
  }

  #watch(intervalMs: number): void {
    const dueAt = this.#clock.elapsed() + intervalMs;
    const usedMs = this.#processorMs();
    this.#cancel = this.#clock.after(intervalMs, () => {
      const lateMs = this.#clock.elapsed() - dueAt;
      this.#observe(Math.max(0, lateMs) / 1000); // some runtimes' timers come a fraction early
      const rests = this.#processorMs() - usedMs < RESTING_SHARE * (intervalMs + lateMs);
      this.#watch(rests ? Math.min(2 * intervalMs, RESTING_INTERVAL_MS) : INTERVAL_MS);
    });
  }

  stop(): void {
    this.#cancel();
  }

  #observe(seconds: number): void {
    this.#lag.observe(seconds);
    this.#worst = Math.max(this.#worst, seconds);
  }

  /** The worst lag is that since it was last asked for. */
  metrics(): Family[] {
    const worst = this.#worst;
    this.#worst = 0;
    return [
      histogram({
        name: "tidegate_event_loop_lag_seconds",
        help: "How much later than due a timer came that is due every 50 ms, less often while the process rests",
        series: [{ histogram: this.#lag }],
      }),
      gauge({
        name: "tidegate_event_loop_lag_max_seconds",
        help: "The greatest lag since the scrape before",
        value: worst,
      }),
    ];
  }
}
