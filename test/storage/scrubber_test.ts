/**
 * The scrubber over a store that runs: it meets damage that nobody reads, tells
 * its range, and has derived files built again.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { DamageMap, DerivedDamage, RANGES_MAX } from "../../storage/damage.ts";
import { ScrubPlan, SLICE_SIZE } from "../../storage/scrub_plan.ts";
import { segmentPath, sidecarPath } from "../../storage/segment.ts";
import { draft, KiB, OpenStore, type UnitRow, until } from "./fixture.ts";
import { positionOf } from "./written_log.ts";

const SEGMENT_BYTES = 2 * KiB;
const INTERVAL_MS = 1000;

interface Filled {
  readonly open: OpenStore;
  readonly disk: MemoryDisk;
  readonly rows: readonly UnitRow[];
}

/** Three segments and more, sealed, of messages with idempotency keys, every fourth of them delayed. */
async function filled(scrubIntervalMs = INTERVAL_MS): Promise<Filled> {
  const first = new MemoryDisk();
  const writer = await OpenStore.on({ disk: first, segmentBytes: SEGMENT_BYTES });
  for (let i = 0; i < 40; i++) {
    const keyHash = new Uint8Array(16).fill(i + 1);
    const dedupe = { keyHash, fingerprint: new Uint8Array(8) };
    writer.putUnit([draft({ queueOffset: i, dedupe })]);
    if (i % 4 === 0) writer.putDeferred(delayed(i));
    await writer.settle();
  }
  await until(() => sealed(writer).every((base) => first.has(sidecarPath(base))));
  const disk = first.clone(); // another process: nothing is in memory any more
  const open = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES, scrubIntervalMs });
  await until(() => sealed(open).every((base) => disk.has(sidecarPath(base))));
  return { open, disk, rows: await open.unitsOf(1, 0) };
}

function delayed(i: number) {
  const { envelope, attributes, body } = draft({ queueOffset: -1, id: `later-${i}` });
  return { envelope: { ...envelope, deliverAt: 1_800_000_000_000 + i }, attributes, body };
}

const sealed = ({ store }: OpenStore) => store.log.segments.slice(0, -1).map(({ base }) => base);

/** Lets the scrubber go over everything once more, from the beginning. */
async function pass({ open }: Filled): Promise<void> {
  const { scrubber } = open.store;
  const over = scrubber.passes + 2;
  while (scrubber.passes < over) {
    open.clock.advance(INTERVAL_MS);
    for (let turns = 0; turns < 20; turns++) await Promise.resolve();
  }
}

async function pathsIn(disk: MemoryDisk, dir: string): Promise<string[]> {
  return (await disk.list(dir)).map((name) => `${dir}/${name}`);
}

describe("the scrubber", () => {
  it("finds nothing where nothing is damaged, and reads all there is", async () => {
    const log = await filled();
    await pass(log);
    assert.deepEqual(log.open.store.damage.ranges, []);
    assert.deepEqual(log.open.reports, []);
    assert(log.open.store.scrubber.bytes > 4 * SEGMENT_BYTES);
    await log.open.store.close();
  });

  it("finds a flipped bit in any sealed segment, and tells the range of its frame", async () => {
    const { rows } = await filled();
    for (const [, from, size] of rows.filter((_, i) => i % 6 === 0)) {
      const log = await filled();
      const base = log.open.store.log.segmentAt(from)?.base ?? 0;
      if (log.open.store.log.segmentAt(from)?.end === undefined) break;
      log.disk.damage(segmentPath(base), (bytes) => {
        const at = positionOf(from + 60, base);
        bytes[at] = (bytes[at] ?? 0) ^ 4;
      });
      await pass(log);
      const { damage } = log.open.store;
      assert.deepEqual(damage.ranges, [{ from, to: from + size }]);
      assert.deepEqual(damage.found, { start: 0, scrub: 1, read: 0 });
      assert.deepEqual(await log.open.unitsOf(1, 0), log.rows, "numbered anew");
      await log.open.store.close();
    }
  });

  it("finds a sector that cannot be read, and the frames around it are served", async () => {
    const log = await filled();
    log.disk.spoil(segmentPath(0), 1);
    await pass(log);
    const [range] = log.open.store.damage.ranges;
    assert(range && range.from < 512 && range.to > 512, "the sector is told");
    for (const [, logOffset, size] of log.rows) {
      const apart: boolean = logOffset >= range.to || logOffset + size <= range.from;
      const frame = await log.open.store.log.read({ logOffset, size });
      assert.equal(frame !== undefined, apart, `at ${logOffset}`);
    }
    await log.open.store.close();
  });

  it("finds a segment that was cut", async () => {
    const log = await filled();
    const [, from] = log.rows[3] as UnitRow;
    const file = await log.disk.open(segmentPath(0), { create: false });
    await file.truncate(positionOf(from));
    await pass(log);
    const to = log.open.store.log.segments[1]?.base;
    assert.deepEqual(log.open.store.damage.ranges, [{ from, to }]);
    await log.open.store.close();
  });

  for (const dir of ["log", "timers", "dedupe", "snapshots"]) {
    for (const how of ["flipped", "cut", "unreadable"] as const) {
      it(`has a file in ${dir} that is ${how} built again, and reports it`, async () => {
        const { disk, ...log } = await filled();
        const extension = dir === "log" ? ".idx" : "";
        const [path] = (await pathsIn(disk, dir)).filter((one) => one.endsWith(extension));
        assert(path, `there is a file in ${dir}`);
        const whole = disk.bytes(path).slice();
        if (how === "flipped") disk.damage(path, (bytes) => flipMiddle(bytes));
        else if (how === "unreadable") disk.spoil(path, 0);
        else await (await disk.open(path, { create: false })).truncate(whole.length >> 1);
        await pass({ disk, ...log });
        const { reports } = log.open;
        assert.deepEqual(
          reports.filter((error) => !(error instanceof DerivedDamage)),
          [],
        );
        assert(reports.length > 0, "it was reported");
        await until(() => dir === "snapshots" || disk.has(path));
        const mended = disk.has(path) ? disk.bytes(path) : undefined;
        assert.deepEqual(mended, dir === "snapshots" ? undefined : whole);
        const known = reports.length;
        await pass({ disk, ...log });
        assert.equal(reports.length, known, "once");
        await log.open.store.close();
      });
    }
  }

  it("lets others work: a slice is read and checked at a time", async () => {
    const { open } = await filled();
    const before = open.store.scrubber.bytes;
    for (let turns = 0; turns < 500; turns++) await Promise.resolve();
    assert(open.store.scrubber.bytes - before <= SLICE_SIZE, "it rests while no time passes");
    await open.store.close();
  });
});

describe("a reader", () => {
  it("that meets damage has it listed", async () => {
    const { open, disk, rows } = await filled(0);
    const [, logOffset, size] = rows[2] as UnitRow;
    disk.damage(
      segmentPath(0),
      (bytes) => void bytes.fill(0, positionOf(logOffset + 50), positionOf(logOffset + 60)),
    );
    const frame = await open.store.log.read({ logOffset, size });
    assert.equal(frame?.crc, undefined);
    assert.deepEqual(open.store.damage.ranges, [{ from: logOffset, to: logOffset + size }]);
    assert.deepEqual(open.store.damage.found, { start: 0, scrub: 0, read: 1 });
    assert.deepEqual(open.damaged, open.store.damage.ranges);
  });

  it("of a place that is no frame lists nothing: a stranger may have named it", async () => {
    const { open } = await filled(0);
    assert.equal((await open.store.log.readAt(7))?.crc, undefined);
    assert.deepEqual(open.store.damage.ranges, []);
  });
});

describe("a plan to scrub", () => {
  const files = ["b", "a", "c"].map((path) => ({ path, size: 100 }));

  it("takes every file once, in order, then begins again", () => {
    const plan = new ScrubPlan(1000);
    const taken = Array.from({ length: 7 }, () => plan.next(files)?.path).join("");
    assert.equal(taken, "abcabca");
    assert.equal(plan.passes, 2);
  });

  it("goes on behind a file that is gone, and takes one that came", () => {
    const plan = new ScrubPlan(1000);
    assert.equal(plan.next(files)?.path, "a");
    assert.equal(
      plan.next([
        { path: "aa", size: 1 },
        { path: "d", size: 1 },
      ])?.path,
      "aa",
    );
    assert.equal(plan.next([]), undefined);
    assert.equal(plan.next(files)?.path, "a");
  });

  it("keeps to its interval, spares the disk and never falls asleep", () => {
    const day = 86_400_000;
    const total = 1024 * SLICE_SIZE;
    const rest = (intervalMs: number, of = total) =>
      new ScrubPlan(intervalMs).restMs({ size: SLICE_SIZE, total: of });
    assert.equal(rest(1024 * 500), 500);
    assert.equal(rest(1), (SLICE_SIZE / (32 * 1024 * 1024)) * 1000);
    assert.equal(rest(7 * day, SLICE_SIZE), 60_000);
    assert.equal(rest(0, 0), rest(1));
  });
});

describe("what is known of damage", () => {
  it("is told once, joined where it touches, and ordered", () => {
    const told: unknown[] = [];
    const map = new DamageMap((range, by) => void told.push([range.from, range.to, by]));
    map.add({ from: 50, to: 60 }, "start");
    map.add({ from: 10, to: 20 }, "scrub");
    map.add({ from: 52, to: 60 }, "read");
    map.add({ from: 20, to: 30 }, "read");
    assert.deepEqual(map.ranges, [
      { from: 10, to: 30 },
      { from: 50, to: 60 },
    ]);
    assert.deepEqual(told, [
      [50, 60, "start"],
      [10, 20, "scrub"],
      [20, 30, "read"],
    ]);
    map.forgetBelow(25);
    assert.deepEqual(map.ranges, [
      { from: 25, to: 30 },
      { from: 50, to: 60 },
    ]);
  });

  it("is bounded in memory, and counted beyond", () => {
    const map = new DamageMap();
    for (let i = 0; i < RANGES_MAX + 5; i++) map.add({ from: 10 * i, to: 10 * i + 5 }, "scrub");
    assert.equal(map.ranges.length, RANGES_MAX);
    assert.equal(map.found.scrub, RANGES_MAX + 5);
  });
});

function flipMiddle(bytes: Uint8Array): void {
  const at = bytes.length >> 1;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
}
