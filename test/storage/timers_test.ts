/**
 * The timers of a store beside a plain array: random inserts, recalls, time,
 * seals, merges and stops; and what becomes of their files when they are missing,
 * damaged, or no longer needed.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Prng } from "../../storage/base/prng.ts";
import { segmentPath, sidecarPath, SEGMENT_HEADER_SIZE } from "../../storage/segment.ts";
import { SNAPSHOT_DIR } from "../../storage/snapshot.ts";
import { TimerDamage } from "../../storage/timer_file.ts";
import { mergeable } from "../../storage/timer_files.ts";
import { TIMER_DIR } from "../../storage/timer_layout.ts";
import { seedGroups } from "../effort.ts";
import { pathsIn, type Stop, TimerWorld } from "./timer_world.ts";

const HOUR = 3_600_000;
const PATIENCE = { timeout: 60_000 };

/** What a history went through, to be sure that all of it occurs. */
const SIGHTS = ["fired", "recalled", "kill", "power", "close", "files", "merged"] as const;

async function history(seed: number): Promise<ReadonlySet<string>> {
  const prng = new Prng(seed);
  const seen = new Set<string>();
  const world = await TimerWorld.on(prng.pick([1024, 2048, 8192]));
  const delay = () => 1 + prng.below(prng.pick([10, 1000, HOUR]));
  for (let step = 0; step < 120; step++) {
    const roll = prng.below(100);
    if (roll < 45) for (let left = 1 + prng.below(8); left > 0; left--) world.schedule(delay());
    else if (roll < 50) world.publish();
    else if (roll < 62) {
      const pending = world.pending().filter(({ dueAt }) => dueAt > world.now);
      if (pending.length === 0) continue;
      world.recall(prng.pick(pending));
      seen.add("recalled");
    } else if (roll < 75) {
      world.clock.advance(prng.below(prng.pick([20, 2000, HOUR])));
      if ((await world.fire(1 + prng.below(10))) > 0) seen.add("fired");
    } else if (roll < 90) await world.open.settle();
    else if (roll < 93) await world.quiet();
    else if (roll < 95) await world.checkStates();
    else {
      const stop: Stop = prng.pick(["kill", "power", "close"]);
      seen.add(stop);
      await world.restart(stop);
      await world.checkStates();
    }
    const files = await pathsIn(world.disk, TIMER_DIR);
    if (files.length > 0) seen.add("files");
    const segments = world.open.store.log.segments;
    const merged = files.some((path) => {
      const from = segments.findIndex(({ base }) => path.includes(`/${pad(base)}`));
      return from >= 0 && !path.includes(`-${pad(segments[from]?.end ?? 0)}`);
    });
    if (merged) seen.add("merged");
  }
  world.clock.advance(2 * HOUR);
  await world.fire(7);
  assert.deepEqual(world.pending(), []);
  return seen;
}

function pad(offset: number): string {
  return String(offset).padStart(20, "0");
}

describe("Timers", () => {
  const seen = new Set<string>();
  for (const { title, seeds } of seedGroups(60, 10)) {
    it(`fire what a plain array would, ${title}`, PATIENCE, async () => {
      for (const seed of seeds) {
        for (const sight of await history(seed)) seen.add(sight);
      }
    });
  }

  it("went through all of it", () => {
    assert.deepEqual(
      SIGHTS.filter((sight) => !seen.has(sight)),
      [],
    );
  });

  it("go by dueAt, then by log", async () => {
    const world = await TimerWorld.on();
    const [late, soon] = [world.schedule(50), world.schedule(20)];
    const same = world.schedule(20);
    world.clock.advance(60);
    const taken = world.timers.take(world.now, 10);
    assert.deepEqual(
      taken.map(({ bodyLogOffset }) => bodyLogOffset),
      [soon, same, late].map(({ bodyLogOffset }) => bodyLogOffset),
    );
  });

  it("are not due a millisecond before", async () => {
    const world = await TimerWorld.on();
    world.schedule(20);
    world.clock.advance(19);
    assert.deepEqual(world.timers.take(world.now, 10), []);
    assert.equal(world.timers.wakeAt, world.now + 1);
    world.clock.advance(1);
    assert.equal(world.timers.take(world.now, 10).length, 1);
    assert.equal(world.timers.wakeAt, Infinity);
  });

  it("look at no more than they are told to", async () => {
    const world = await TimerWorld.on();
    const all = Array.from({ length: 9 }, () => world.schedule(5));
    for (const one of all.slice(0, 4)) world.recall(one);
    world.clock.advance(5);
    assert.deepEqual(
      [3, 3, 3].map((max) => world.timers.take(world.now, max).length),
      [0, 2, 3],
    );
  });

  it("keep a timer whose reveal was lost with the power, and only that", async () => {
    const world = await TimerWorld.on();
    for (let i = 0; i < 6; i++) world.schedule(10 + i);
    await world.open.settle();
    world.clock.advance(12);
    assert.equal(await world.fire(10), 3);
    await world.open.settle();
    world.clock.advance(3);
    assert.equal(await world.fire(10), 3); // and this is never written
    await world.restart("kill");
    assert.equal(await world.fire(10), 3);
  });

  it("pass what is recalled without a record, and do not come back to it", async () => {
    const world = await TimerWorld.on();
    for (let i = 0; i < 40; i++) world.recall(world.schedule(10));
    await world.quiet();
    world.clock.advance(10);
    assert.equal(await world.fire(100), 0);
    const { passed } = world.timers;
    assert.equal(passed.dueAt, world.now);
    await world.restart("close");
    assert.deepEqual(world.timers.passed, passed);
    assert.equal(await world.fire(100), 0);
  });
});

/** Timers over many segments, a third of them recalled from later ones, then closed. */
async function filled(count = 200): Promise<TimerWorld> {
  const world = await TimerWorld.on();
  const prng = new Prng(count);
  for (let i = 0; i < count; i++) {
    world.schedule(1000 + prng.below(HOUR));
    if (i % 3 === 0) world.recall(prng.pick(world.pending()));
    if (i % 10 === 0) await world.open.settle();
  }
  await world.quiet();
  await world.restart("close");
  assert((await pathsIn(world.disk, TIMER_DIR)).length > 2);
  return world;
}

async function fireAll(world: TimerWorld): Promise<void> {
  await world.checkStates();
  world.clock.advance(HOUR / 2);
  await world.fire(20);
  await world.checkStates();
  world.clock.advance(HOUR);
  await world.fire(20);
  assert.deepEqual(world.pending(), []);
}

describe("the timer files", () => {
  it("are merged eight at a time, recalls with their timers", PATIENCE, async () => {
    const world = await filled(900);
    const segments = world.open.store.log.segments.length;
    const tidied = async () => (await pathsIn(world.disk, TIMER_DIR)).length < segments / 4;
    for (let turns = 0; !(await tidied()); turns++) assert(turns < 200_000, "they are few at last");
    await fireAll(world);
  });

  for (const [what, remove] of [
    ["missing", (disk: TimerWorld["disk"], path: string) => disk.remove(path)],
    [
      "cut",
      async (disk: TimerWorld["disk"], path: string) =>
        (await disk.open(path, { create: false })).truncate(100),
    ],
  ] as const) {
    it(`that are ${what} are built again, whichever they are`, PATIENCE, async () => {
      const world = await filled();
      await world.restart("close");
      const whole = world.disk.clone(); // the other goes on merging
      const paths = await pathsIn(whole, TIMER_DIR);
      for (const chosen of [...paths.map((path) => [path]), paths]) {
        world.disk = whole.clone();
        for (const path of chosen) await remove(world.disk, path);
        await world.reopen();
        await world.checkStates();
      }
      await fireAll(world);
    });
  }

  it("are built again when sidecars and snapshots are gone as well", PATIENCE, async () => {
    const world = await filled();
    await world.restart("kill");
    const gone = [...(await pathsIn(world.disk, TIMER_DIR)).slice(1)];
    gone.push(...(await pathsIn(world.disk, SNAPSHOT_DIR)));
    gone.push(...world.open.store.log.segments.slice(0, -1).map(({ base }) => sidecarPath(base)));
    for (const path of gone) await world.disk.remove(path);
    await world.reopen();
    await fireAll(world);
  });

  it(
    "found damaged while they are used are mended, and nothing fires out of turn",
    PATIENCE,
    async () => {
      const world = await filled();
      for (const path of await pathsIn(world.disk, TIMER_DIR)) {
        world.disk.damage(path, (bytes) => void bytes.fill(0xee, 4096 + 100, 4096 + 110));
      }
      await fireAll(world);
      const { reports } = world.open;
      assert.deepEqual([...new Set(reports.map((error) => error.constructor))], [TimerDamage]);
      await world.restart("close");
    },
  );

  it("are dropped when a snapshot has passed them", PATIENCE, async () => {
    const world = await filled();
    await fireAll(world);
    world.schedule(1); // later than whatever was recalled
    world.clock.advance(1);
    assert.equal(await world.fire(10), 1);
    await world.restart("close");
    assert.deepEqual(await pathsIn(world.disk, TIMER_DIR), []);
    assert.deepEqual(world.open.store.log.recovery.frames < 40, true, "and not missed");
  });

  it("do not bring back what was revealed when its record can no longer be read", async () => {
    const world = await TimerWorld.on(64 * 1024);
    for (let i = 0; i < 20; i++) world.schedule(10 + i);
    await world.open.settle();
    world.clock.advance(20);
    assert.equal(await world.fire(4), 11);
    await world.open.settle();
    const revealed = world.expected.filter((one) => one.revealedBefore !== Infinity);
    const disk = world.disk.clone();
    for (const { bodyLogOffset } of revealed.slice(-3)) {
      disk.damage(segmentPath(0), (bytes) => {
        const at = SEGMENT_HEADER_SIZE + bodyLogOffset + 60;
        bytes[at] = (bytes[at] ?? 0) ^ 1;
      });
    }
    world.disk = disk;
    await world.reopen();
    assert.equal(await world.fire(4), 0);
    world.clock.advance(20);
    assert.equal(await world.fire(4), 9);
  });
});

describe("mergeable()", () => {
  const of = (...counts: number[]) =>
    counts.map((entryCount, i) => ({ entryCount, from: 10 * i, to: 10 * i + 5 }));
  const cases: [name: string, counts: number[], expected: number[]][] = [
    ["takes nothing of seven", Array.from({ length: 7 }, () => 1), []],
    ["takes the oldest eight", [5, 1, 1, 1, 1, 1, 1, 1, 9], [5, 1, 1, 1, 1, 1, 1, 1]],
    ["takes neighbours only", [1, 1, 1, 1, 2 ** 20, 1, 1, 1, 1], []],
    [
      "takes larger ones when there are eight of them",
      Array.from({ length: 8 }, () => 10_000),
      Array.from({ length: 8 }, () => 10_000),
    ],
    ["leaves the largest alone", Array.from({ length: 20 }, () => 2 ** 17 + 1), []],
  ];
  for (const [name, counts, expected] of cases) {
    it(name, () => assert.deepEqual(mergeable(of(...counts)), of(...expected)));
  }

  it("does not reach over a segment whose timers are still in memory", () => {
    const files = of(1, 1, 1, 1, 1, 1, 1, 1);
    assert.deepEqual(mergeable(files, [36]), []);
    assert.deepEqual(mergeable(files, [32, 80]), files);
  });
});
