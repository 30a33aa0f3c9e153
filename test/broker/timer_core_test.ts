/**
 * The clock timer behind the broker, and the time it goes by.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { LeaderTime } from "../../src/broker/leader_time.ts";
import { TimerCore, type TimerSource } from "../../src/broker/timer_core.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";

/** Times to do something at, a part of them in one run. */
class Agenda implements TimerSource {
  times: number[] = [];
  readonly ran: [now: number, done: number[]][] = [];
  readonly #part: number;

  constructor(part = 100) {
    this.#part = part;
  }

  get wakeAt(): number {
    return Math.min(...this.times);
  }

  run(now: number): void {
    this.times.sort((a, b) => a - b);
    const due = this.times.filter((time) => time <= now).slice(0, this.#part);
    this.times.splice(0, due.length);
    this.ran.push([now, due]);
  }
}

/** A clock that counts the timers it is asked for. */
class CountingClock extends ManualClock {
  timers = 0;
  deferred = 0;

  override after(delayMs: number, run: () => void): () => void {
    this.timers++;
    return super.after(delayMs, run);
  }

  override defer(run: () => void): void {
    this.deferred++;
    super.defer(run);
  }
}

async function turns(): Promise<void> {
  for (let left = 50; left > 0; left--) await Promise.resolve();
}

describe("TimerCore", () => {
  const opened = (part?: number) => {
    const clock = new CountingClock(1000);
    const core = new TimerCore(clock, () => clock.now());
    const agenda = new Agenda(part);
    core.add(agenda);
    return { clock, core, agenda };
  };

  it("runs a source when it is due, and not before", async () => {
    const { clock, core, agenda } = opened();
    agenda.times = [1010, 1030];
    core.arm();
    clock.advance(9);
    assert.deepEqual(agenda.ran, []);
    clock.advance(1);
    clock.advance(100);
    await turns();
    assert.deepEqual(agenda.ran, [
      [1010, [1010]],
      [1030, [1030]],
    ]);
  });

  it("follows a source that is due earlier or later than it was", () => {
    const { clock, core, agenda } = opened();
    agenda.times = [1100];
    core.arm();
    agenda.times = [1020];
    core.arm();
    clock.advance(20);
    assert.deepEqual(agenda.ran, [[1020, [1020]]]);
    agenda.times = [1100];
    core.arm();
    agenda.times = [1200];
    core.arm();
    clock.advance(100);
    assert.equal(agenda.ran.length, 1);
    clock.advance(80);
    assert.equal(agenda.ran.length, 2);
  });

  it("does what is late in parts, a turn between them", async () => {
    const { clock, core, agenda } = opened(2);
    agenda.times = [1, 2, 3, 4, 5];
    core.arm();
    assert.equal(agenda.ran.length, 0, "not in the turn of who asks");
    const seen: number[] = [];
    for (let left = 10; left > 0; left--) {
      seen.push(agenda.ran.length);
      await Promise.resolve();
    }
    assert.deepEqual([...new Set(seen)], [0, 1, 2, 3]);
    assert.deepEqual(
      agenda.ran.map(([, done]) => done),
      [[1, 2], [3, 4], [5]],
    );
    assert.equal(clock.timers, 0);
  });

  it("keeps one timer, and none when there is nothing to come", async () => {
    const { clock, core, agenda } = opened();
    core.arm();
    assert.deepEqual([clock.timers, clock.deferred], [0, 0]);
    agenda.times = [1500];
    for (let left = 5; left > 0; left--) core.arm();
    assert.equal(clock.timers, 1);
    clock.advance(10_000);
    await turns();
    core.arm();
    assert.deepEqual([clock.timers, clock.deferred], [1, 0]);
  });

  it("waits for what is far in steps that any runtime can", () => {
    const { clock, core, agenda } = opened();
    agenda.times = [1000 + 40 * 86_400_000];
    core.arm();
    clock.advance(40 * 86_400_000 - 1);
    assert.deepEqual(agenda.ran, []);
    assert(clock.timers <= 40 * 24 + 1, `${clock.timers} timers`);
    clock.advance(1);
    assert.equal(agenda.ran.length, 1);
  });

  it("serves every source at its time", () => {
    const { clock, core, agenda } = opened();
    const other = new Agenda();
    core.add(other);
    agenda.times = [1010, 1020];
    other.times = [1015, 1020];
    core.arm();
    clock.advance(30);
    assert.deepEqual(
      agenda.ran.map(([now]) => now),
      [1010, 1020],
    );
    assert.deepEqual(
      other.ran.map(([now]) => now),
      [1015, 1020],
    );
  });

  it("is silent once stopped", async () => {
    const { clock, core, agenda } = opened();
    agenda.times = [1010];
    core.arm();
    core.stop();
    clock.advance(100);
    core.arm();
    await turns();
    assert.deepEqual(agenda.ran, []);
    const late = opened();
    late.agenda.times = [1];
    late.core.arm();
    late.core.stop();
    await turns();
    assert.deepEqual(late.agenda.ran, []);
  });
});

describe("LeaderTime", () => {
  it("moves by what elapses, whatever is done to the clock", () => {
    const anyStep = fc.tuple(
      fc.constantFrom("advance", "step"),
      fc.integer({ min: -1e7, max: 1e7 }),
    );
    fc.assert(
      fc.property(fc.array(anyStep), (steps) => {
        const clock = new ManualClock();
        const time = new LeaderTime(clock, 0);
        let expected = clock.now();
        for (const [what, ms] of steps) {
          if (what === "step") clock.step(ms);
          else {
            clock.advance(Math.abs(ms));
            expected += Math.abs(ms);
          }
          assert.equal(time.now(), expected);
        }
      }),
    );
  });

  it("begins where the log left off when the clock is behind", () => {
    const clock = new ManualClock(5000);
    assert.equal(new LeaderTime(clock, 4000).now(), 5000);
    const ahead = new LeaderTime(clock, 9000);
    assert.equal(ahead.now(), 9000);
    clock.advance(1);
    assert.equal(ahead.now(), 9001);
  });

  it("is in whole milliseconds, rounded down", () => {
    const clock = { now: () => 100, elapsed: () => elapsed, after: () => () => {}, defer() {} };
    let elapsed = 7.25;
    const time = new LeaderTime(clock, 0);
    assert.equal(time.now(), 100);
    elapsed = 8.24;
    assert.equal(time.now(), 100);
    elapsed = 8.26;
    assert.equal(time.now(), 101);
  });

  it("tells when a delay is over by what elapsed, parts of milliseconds included", () => {
    const anyPart = fc.double({ min: 0, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(anyPart, anyPart, anyPart, (before, delayMs, after) => {
        let elapsed = before;
        const clock = {
          now: () => 5000,
          elapsed: () => elapsed,
          after: () => () => {},
          defer() {},
        };
        const time = new LeaderTime(clock, 0);
        const dueAt = time.in(delayMs);
        elapsed += after;
        if (time.now() >= dueAt) assert(after > delayMs - 1e-6, "not early");
        else assert(after < delayMs + 2, "not late");
      }),
    );
  });
});
