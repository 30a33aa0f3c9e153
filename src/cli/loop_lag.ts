/**
 * How late the event loop comes to what is due, measured by ourselves: what the
 * runtimes offer for it is not there on all three, or always says nothing.
 *
 * A timer is due every {@linkcode INTERVAL_MS}; how much later it comes is how
 * long the loop was busy with something else when it was due. A stall shorter than
 * the interval is seen as often as a timer falls into it.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import { type Family, gauge, Histogram, histogram } from "../../storage/base/metrics.ts";

const INTERVAL_MS = 50;

const LAG_SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];

export class LoopLag {
  readonly #clock: Pick<Clock, "elapsed" | "after">;
  readonly #lag = new Histogram(LAG_SECONDS);
  #worst = 0;
  #cancel: () => void = () => {};

  constructor(clock: Pick<Clock, "elapsed" | "after">) {
    this.#clock = clock;
  }

  start(): void {
    const dueAt = this.#clock.elapsed() + INTERVAL_MS;
    this.#cancel = this.#clock.after(INTERVAL_MS, () => {
      // Some runtimes' timers come a fraction of a millisecond early.
      this.#observe(Math.max(0, this.#clock.elapsed() - dueAt) / 1000);
      this.start();
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
        help: "How much later than due a timer came that is due every 50 ms",
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
