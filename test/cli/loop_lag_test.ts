/**
 * The lag of the event loop, on a loop that is late when told to.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LoopLag } from "../../src/cli/loop_lag.ts";
import { prometheusText } from "../../src/cli/prometheus.ts";
import { Metrics } from "../fakes/metrics_reader.ts";

/** A clock whose timers come as late as a test says. */
class LateClock {
  time = 0;
  /** Processor time, of a process that always works unless told otherwise. */
  usedMs = 0;
  works = true;
  /** Of the timer set last. */
  delayMs = 0;
  #due: { at: number; run: () => void } | undefined;

  elapsed(): number {
    return this.time;
  }

  after(delayMs: number, run: () => void): () => void {
    this.delayMs = delayMs;
    this.#due = { at: this.time + delayMs, run };
    return () => (this.#due = undefined);
  }

  get armed(): boolean {
    return this.#due !== undefined;
  }

  comeLate(ms: number): void {
    const due = this.#due;
    assert(due, "a timer runs");
    this.time = due.at + ms;
    if (this.works) this.usedMs += this.delayMs;
    due.run();
  }
}

const read = (lag: LoopLag) => new Metrics(lag.metrics().map(prometheusText).join(""));

describe("LoopLag", () => {
  it("tells how late its timer came, and the worst since it was asked", () => {
    const clock = new LateClock();
    const lag = new LoopLag(clock, () => clock.usedMs);
    lag.start();
    for (const late of [0, 0, 70, 3]) clock.comeLate(late);
    const first = read(lag);
    assert.equal(first.value("tidegate_event_loop_lag_seconds_count"), 4);
    assert.equal(first.value('tidegate_event_loop_lag_seconds_bucket{le="0.05"}'), 3);
    assert.equal(first.value("tidegate_event_loop_lag_max_seconds"), 0.07);
    clock.comeLate(4);
    const second = read(lag);
    assert.equal(second.value("tidegate_event_loop_lag_max_seconds"), 0.004);
    const sum = second.value("tidegate_event_loop_lag_seconds_sum") ?? 0;
    assert(Math.abs(sum - 0.077) < 1e-9, `they were ${sum} s late together`);
  });

  it("takes a timer that comes early for one in time", () => {
    const clock = new LateClock();
    const lag = new LoopLag(clock, () => clock.usedMs);
    lag.start();
    clock.comeLate(-1);
    assert.equal(read(lag).value("tidegate_event_loop_lag_seconds_sum"), 0);
  });

  it("looks less and less often at a process that rests, and often again at one that works", () => {
    const clock = new LateClock();
    new LoopLag(clock, () => clock.usedMs).start();
    const delays = (works: boolean, count: number) => {
      clock.works = works;
      return Array.from({ length: count }, () => {
        clock.comeLate(0);
        return clock.delayMs;
      });
    };
    assert.deepEqual(delays(false, 6), [100, 200, 400, 800, 1000, 1000]);
    assert.deepEqual(delays(true, 2), [50, 50]);
    clock.works = false;
    clock.usedMs += 1.4; // 2.8 % of the 50 ms
    clock.comeLate(0);
    assert.equal(clock.delayMs, 100);
    clock.usedMs += 3.2; // 3.2 % of the 100 ms
    clock.comeLate(0);
    assert.equal(clock.delayMs, 50);
  });

  it("leaves no timer when it stops", () => {
    const clock = new LateClock();
    const lag = new LoopLag(clock, () => clock.usedMs);
    lag.start();
    lag.stop();
    assert(!clock.armed);
  });
});
