/**
 * What becomes of idempotency keys when a run rots and the log lets go of segments: the
 * run is read before they go, and built again while that is possible. No key that is in
 * the window is ever called new.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { Prng } from "../../storage/base/prng.ts";
import { runPath, type RunRange } from "../../storage/dedupe_run.ts";
import { inlineJobs, type Job, type Jobs } from "../../storage/jobs.ts";
import { seeds } from "../effort.ts";
import { filled, type Found, Keyed, keysOf, WINDOW_MS } from "./keyed_store.ts";

const COUNT = 60;
const HOUR_MS = 3_600_000;

/** Where the sealed segments begin, the first one not. */
const startsOf = ({ open }: Keyed) => open.store.log.closedSegments.map(({ end = 0 }) => end);

function rot({ disk }: Keyed, range: RunRange, at = 5000): void {
  disk.damage(runPath(range), (bytes) => void (bytes[at] = (bytes[at] as number) ^ 1));
}

async function onlyRun(keyed: Keyed): Promise<RunRange> {
  const [range, ...more] = await keyed.runs();
  assert(range && more.length === 0, "there is one run");
  return range;
}

/** As another process finds it: nothing is in memory. */
async function killed(keyed: Keyed): Promise<Keyed> {
  await keyed.open.settle();
  return keyed.reopen(keyed.disk.crash());
}

/** What a lookup says of each key; `data-damaged` where it is refused. Never may one be called new. */
async function told(keyed: Keyed, keys: readonly string[]): Promise<Map<string, Found | string>> {
  const answers = new Map<string, Found | string>();
  for (const key of keys) {
    const found = await keyed.lookup(key).catch((error: unknown) => {
      assert(error instanceof TidegateError, String(error));
      return error.code;
    });
    if (found !== "data-damaged") assert.deepEqual(found, keyed.expected(key), key);
    if (found) answers.set(key, found);
  }
  return answers;
}

const refusedIn = (answers: Map<string, Found | string>) =>
  [...answers].filter(([, found]) => found === "data-damaged").map(([key]) => key);

/** Keys whose messages lie before `start`. */
async function before(keyed: Keyed, start: number): Promise<Set<string>> {
  const keys = new Set<string>();
  for (const [key, { queueOffset }] of keyed.model) {
    const { units } = await keyed.open.store.reader.read(
      { topicGen: 1, queueId: 0 },
      { from: queueOffset, max: 1 },
    );
    if ((units[0]?.bodyLogOffset ?? 0) < start) keys.add(key);
  }
  return keys;
}

interface Watched {
  readonly jobs: Jobs;
  readonly disk: MemoryDisk;
  readonly kinds: Job["kind"][];
  /** These fail. */
  readonly failing: Set<Job["kind"]>;
  after: (job: Job) => void;
}

function watched(): Watched {
  const disk = new MemoryDisk();
  const inner = inlineJobs({ disk, crc32 });
  const kinds: Job["kind"][] = [];
  const failing = new Set<Job["kind"]>();
  const world: Watched = {
    disk,
    kinds,
    failing,
    after() {},
    jobs: {
      async run(job) {
        kinds.push(job.kind);
        if (failing.has(job.kind)) throw new Error("EIO");
        await inner.run(job);
        world.after(job);
      },
      close: () => inner.close(),
    },
  };
  return world;
}

/** The first `count` of its messages have keys. */
async function filledOn({ disk, jobs }: Watched, count = COUNT): Promise<Keyed> {
  const keyed = await Keyed.on({ disk, options: { jobs } });
  for (const [i, key] of keysOf(COUNT).entries()) {
    if (i < count) keyed.put(key);
    else keyed.putPlain();
    keyed.clock.advance(10);
  }
  await keyed.quiet();
  return keyed;
}

describe("before segments go, the run of their keys", () => {
  const harms: [does: string, harm: (keyed: Keyed, range: RunRange) => void | Promise<void>][] = [
    ["rotted in an entry", (keyed, range) => rot(keyed, range)],
    ["rotted in its header", (keyed, range) => rot(keyed, range, 3)],
    [
      "rotted in its filter",
      ({ disk }, range) =>
        disk.damage(runPath(range), (bytes) => void (bytes[bytes.length - 9]! ^= 1)),
    ],
    ["is gone", ({ disk }, range) => disk.remove(runPath(range))],
  ];
  for (const [does, harm] of harms) {
    it(`is built again when it ${does}, and no key is lost`, async () => {
      const keyed = await filled(COUNT);
      await harm(keyed, await onlyRun(keyed));
      const start = startsOf(keyed).at(-1) ?? 0;
      await keyed.open.store.dropBefore(start);
      assert.equal(keyed.open.store.log.start, start, "they went");
      await keyed.check();
      const next = await killed(keyed);
      assert.equal(next.open.store.log.start, start);
      await next.check();
      assert.deepEqual(next.open.reports, []);
    });
  }

  it("is read once in an hour, however many of them go", async () => {
    const world = watched();
    const keyed = await filledOn(world);
    const checks = () => world.kinds.filter((kind) => kind === "check").length;
    const [first = 0, second = 0, third = 0, fourth = 0] = startsOf(keyed);
    const { store } = keyed.open;
    for (const start of [first, second, third]) await store.dropBefore(start);
    assert.equal(store.log.start, third);
    assert.equal(checks(), 1);
    keyed.clock.advance(HOUR_MS + 1); // the log's own time stands still: its keys are in the window
    await store.dropBefore(fourth);
    assert.equal(checks(), 2);
  });

  it("is not read when the scrubber did so in that hour", async () => {
    const world = watched();
    const scrubbing = { jobs: world.jobs, scrubIntervalMs: 1000 };
    const keyed = await (await filledOn(world)).reopen(world.disk, scrubbing);
    const { scrubber } = keyed.open.store;
    const over = scrubber.passes + 2;
    while (scrubber.passes < over) {
      keyed.clock.advance(1000);
      for (let turns = 0; turns < 20; turns++) await Promise.resolve();
    }
    const [start = 0] = startsOf(keyed);
    await keyed.open.store.dropBefore(start);
    assert.equal(keyed.open.store.log.start, start);
    assert(!world.kinds.includes("check"));
    await keyed.open.store.close();
  });

  it("is not read when its keys are out of the window", async () => {
    const world = watched();
    const keyed = await filledOn(world);
    rot(keyed, await onlyRun(keyed));
    const [start = 0] = startsOf(keyed);
    keyed.clock.advance(WINDOW_MS + 1);
    keyed.putPlain();
    await keyed.open.settle();
    assert.equal((await keyed.runs()).length, 1, "it is still there");
    await keyed.open.store.dropBefore(start);
    assert.equal(keyed.open.store.log.start, start);
    assert(!world.kinds.includes("check"));
  });

  it("keeps them while it cannot be built, as long as its keys are in the window", async () => {
    const world = watched();
    const keyed = await filledOn(world);
    const { store } = keyed.open;
    rot(keyed, await onlyRun(keyed));
    const start = startsOf(keyed).at(-1) ?? 0;
    world.failing.add("dedupe");
    await store.dropBefore(start);
    assert.equal(store.log.start, 0, "nothing went");
    await assert.rejects(keyed.lookup("k0"), { code: "overloaded" });
    await assert.rejects(keyed.lookup("never seen"), { code: "overloaded" });

    keyed.clock.advance(WINDOW_MS + 1);
    for (let i = 0; i < 30; i++) keyed.putPlain();
    await keyed.open.settle();
    await store.dropBefore(start);
    assert.equal(store.log.start, start, "they need not stay any longer");
    world.failing.clear();
    assert.equal(await keyed.lookup("never seen"), undefined);
  });

  const spots: [where: string, about: { at: number; count: number }][] = [
    ["its header", { at: 3, count: COUNT }],
    ["an entry, among others to be merged with", { at: 5000, count: COUNT }],
    ["an entry, alone", { at: 5000, count: 3 }],
  ];
  for (const [where, { at, count }] of spots) {
    it(`keeps them, and comes to an end, when what is built rots at once, in ${where}`, async () => {
      const world = watched();
      const keyed = await filledOn(world, count);
      const [start = 0] = startsOf(keyed);
      rot(keyed, await onlyRun(keyed));
      let left = 50;
      world.after = (job) => {
        if (job.kind !== "dedupe" || job.base !== 0 || left-- <= 0) return;
        rot(keyed, { from: 0, to: job.end }, at);
      };
      await keyed.open.store.dropBefore(start);
      assert.equal(keyed.open.store.log.start, 0);
      assert(left > 0, "it is not tried without end");
      left = 0;
      for (let tries = 0; keyed.open.store.log.start === 0; tries++) {
        assert(tries < 5, "they go in the end");
        await keyed.quiet();
        await keyed.open.store.dropBefore(start);
      }
      await (await killed(keyed)).check();
    });
  }

  it("is let be when it cannot be read just now, and nothing goes", async () => {
    const world = watched();
    const keyed = await filledOn(world);
    world.failing.add("check");
    await assert.rejects(keyed.open.store.dropBefore(startsOf(keyed)[0] ?? 0), /EIO/);
    assert.equal(keyed.open.store.log.start, 0);
    await keyed.check();
  });
});

describe("a run that rots when some of its segments are gone", () => {
  async function halfGone(): Promise<{ keyed: Keyed; range: RunRange; gone: Set<string> }> {
    const keyed = await filled(COUNT);
    const starts = startsOf(keyed);
    const half = starts[starts.length >> 1] ?? 0;
    const gone = await before(keyed, half);
    await keyed.open.store.dropBefore(half);
    const range = await onlyRun(keyed);
    rot(keyed, range);
    return { keyed: await killed(keyed), range, gone }; // or it was read within the hour
  }

  const finders: [does: string, find: (keyed: Keyed, range: RunRange) => Promise<unknown>][] = [
    [
      "a segment is to go",
      ({ open }) => open.store.dropBefore(open.store.log.closedSegments[0]?.end ?? 0),
    ],
    ["a key is looked up", (keyed) => told(keyed, keysOf(COUNT))],
    ["the scrubber reads it", ({ open }, range) => open.store.dedupe.mend(range)],
  ];
  for (const [does, find] of finders) {
    it(`leaves what is left in runs of its own, found when ${does}`, async () => {
      const { keyed, range, gone } = await halfGone();
      await find(keyed, range);
      await keyed.quiet();
      const refused = refusedIn(await told(keyed, keysOf(COUNT)));
      assert(refused.length > 0, "some that are gone lie in the damage");
      for (const key of refused) assert(gone.has(key), `${key} was still there`);

      const next = await killed(keyed);
      assert.deepEqual(refusedIn(await told(next, keysOf(COUNT))), refused, "as after a kill");
      const start = startsOf(next).at(-1) ?? 0;
      await next.open.store.dropBefore(start);
      assert.equal(next.open.store.log.start, start, "retention goes on");
      const last = await killed(next);
      assert.deepEqual(refusedIn(await told(last, keysOf(COUNT))), refused);

      last.clock.advance(WINDOW_MS + 1);
      for (let i = 0; i < 30; i++) last.putPlain();
      await last.quiet();
      assert.deepEqual(last.disk.names("dedupe"), [], "it goes when its keys do");
      assert.equal(await last.lookup("k0"), undefined);
    });
  }

  it("does not keep a lookup from what others build meanwhile", async () => {
    const { keyed, gone } = await halfGone();
    const keys = keysOf(COUNT);
    const answers = await Promise.all(keys.map((key) => told(keyed, [key])));
    for (const key of answers.flatMap(refusedIn)) assert(gone.has(key), key);
  });
});

/** @returns what was seen. */
async function history(seed: number): Promise<ReadonlySet<string>> {
  const prng = new Prng(seed);
  const seen = new Set<string>();
  let keyed = await Keyed.on();
  const pool = keysOf(prng.pick([30, 200]));
  for (let step = 0; step < 200; step++) {
    const roll = prng.below(100);
    const { store } = keyed.open;
    if (roll < 50) keyed.put(prng.pick(pool));
    else if (roll < 60) keyed.clock.advance(prng.below(prng.chance(5) ? WINDOW_MS : 200));
    else if (roll < 70) await keyed.quiet();
    else if (roll < 80) {
      const [range] = (await keyed.runs()).toSorted(() => prng.below(3) - 1);
      if (range) rot(keyed, range, prng.below(keyed.disk.bytes(runPath(range)).length));
      if (range) seen.add("rot");
    } else if (roll < 90) {
      const start = store.log.start;
      const to = startsOf(keyed).filter((end) => end > start)[prng.below(3)] ?? start;
      if (to > start) await store.dropBefore(to);
      if (store.log.start > start) seen.add("gone");
    } else if (roll < 93) {
      seen.add("kill");
      keyed = await killed(keyed);
    } else if (refusedIn(await told(keyed, [prng.pick(pool)])).length > 0) seen.add("refused");
  }
  await keyed.quiet();
  const refused = refusedIn(await told(keyed, pool));
  const { lost } = keyed.open.store.dedupe;
  const left = keyed.disk.names("dedupe").some((name) => name.endsWith(".left"));
  if (refused.length > 0) assert(left || lost.length > 0, "refused for damage alone");
  assert.deepEqual(keyed.open.fatal, []);
  await keyed.open.store.close();
  return seen;
}

describe("keys under rot and retention", () => {
  it("are told or refused, and never called new", { timeout: 90_000 }, async () => {
    const seen = new Set<string>();
    for (const seed of seeds(60)) {
      const sights = await history(seed).catch((error: unknown) => {
        throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
      });
      for (const sight of sights) seen.add(sight);
    }
    assert.deepEqual([...seen].toSorted(), ["gone", "kill", "refused", "rot"]);
  });
});
