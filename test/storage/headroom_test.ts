/**
 * How full the disk is, what may still be stored, and what is set aside for when
 * nothing else may.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import type { DiskSpace } from "../../storage/base/disk.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { Headroom, type HeadroomOptions, type Level } from "../../storage/headroom.ts";
import { inlineJobs } from "../../storage/jobs.ts";
import { BALLAST_PATH } from "../../storage/segment.ts";
import { draft, KiB, MiB, OpenStore, until } from "./fixture.ts";

const OPTIONS = { highPercent: 85, fullPercent: 95, ballastBytes: 0 };
const SIZE = 100 * MiB;

/** Whose figures are what the test says. */
class ToldDisk extends MemoryDisk {
  told: DiskSpace | undefined = { size: SIZE, free: SIZE };

  override space(): Promise<DiskSpace | undefined> {
    return Promise.resolve(this.told);
  }

  usePercent(percent: number): void {
    this.told = { size: SIZE, free: (SIZE * (100 - percent)) / 100 };
  }
}

async function watching(options: HeadroomOptions = OPTIONS) {
  const disk = new ToldDisk();
  const clock = new ManualClock();
  const reports: Error[] = [];
  const report = (error: Error) => void reports.push(error);
  const ports = { disk, clock, jobs: inlineJobs({ disk, crc32 }), report };
  const headroom = await Headroom.open(ports, options);
  const log = { start: 0, end: 0 };
  const levels: Level[] = [];
  headroom.onLevel = (level) => void levels.push(level);
  headroom.watch(log);
  const look = async () => {
    clock.advance(1000);
    for (let turns = 0; turns < 200; turns++) await Promise.resolve();
  };
  return { disk, clock, headroom, log, levels, look, reports };
}

describe("the level of a disk", () => {
  it("rises at its watermarks, and falls a percent below them", async () => {
    const { disk, headroom, look } = await watching();
    const steps: [percent: number, level: Level, admits: boolean][] = [
      [10, "ample", true],
      [84.9, "ample", true],
      [85, "high", true],
      [84.1, "high", true],
      [83.9, "ample", true],
      [94.9, "high", true],
      [95, "full", false],
      [99.9, "full", false],
      [94.1, "full", false],
      [93.9, "high", true],
      [95, "full", false],
      [10, "ample", true],
    ];
    for (const [percent, level, admits] of steps) {
      disk.usePercent(percent);
      await look();
      assert.deepEqual([headroom.level, headroom.admits], [level, admits], `at ${percent} %`);
    }
  });

  it("is told when it changes, and not otherwise", async () => {
    const { disk, levels, look } = await watching();
    for (const percent of [90, 91, 96, 97, 96, 20, 21]) {
      disk.usePercent(percent);
      await look();
    }
    assert.deepEqual(levels, ["high", "full", "ample"]);
  });

  it("does not let the log grow beyond the watermark between two looks", async () => {
    const { disk, headroom, log, clock } = await watching();
    disk.usePercent(90); // 5 MiB left
    await headroom.look();
    const grown = (bytes: number) => {
      log.end += bytes;
      disk.told = { size: SIZE, free: (disk.told?.free ?? 0) - bytes };
      return headroom.admits;
    };
    assert.equal(grown(5 * MiB - 1), true);
    assert.equal(grown(1), false, "it would be full by now");
    // Nobody moved the clock: it looked by itself.
    await until(() => !headroom.admits && headroom.level === "full");
    assert.equal(clock.elapsed(), 0);
  });

  it("looks again before it refuses: what the log grew by may take no room", async () => {
    const { disk, headroom, log } = await watching();
    disk.usePercent(90);
    await headroom.look();
    log.end += 3 * MiB; // into blocks it has
    assert.equal(headroom.admits, true);
    await headroom.look();
    log.end += 3 * MiB;
    assert.equal(headroom.admits, true);
    assert.equal(headroom.level, "high");
  });

  it("is ample where the system does not tell, until a write finds no room", async () => {
    const { disk, headroom, log, look } = await watching();
    disk.told = undefined;
    log.end = 100 * SIZE;
    await look();
    assert.equal(headroom.admits, true);
    void headroom.noRoom();
    assert.deepEqual([headroom.level, headroom.admits], ["stuck", false]);
    await look();
    assert.equal(headroom.level, "stuck", "a write says so, nobody else");
    headroom.room();
    assert.equal(headroom.level, "full");
    await look();
    assert.equal(headroom.level, "ample");
  });
});

describe("the ballast", () => {
  const WITH = { ...OPTIONS, ballastBytes: 512 * KiB };
  const sizeOf = (disk: MemoryDisk) =>
    disk.has(BALLAST_PATH) ? disk.bytes(BALLAST_PATH).length : undefined;

  it("is at least half as large as the log, up to its size", async () => {
    const { disk, log, look } = await watching(WITH);
    const steps: [end: number, least: number][] = [
      [32 * KiB, 0],
      [100 * KiB, 50 * KiB],
      [400 * KiB, 200 * KiB],
      [600 * KiB, 512 * KiB],
      [MiB, 512 * KiB],
    ];
    for (const [end, least] of steps) {
      log.end = end;
      await look();
      const size = sizeOf(disk) ?? 0;
      assert(size >= least && size <= Math.min(end, 512 * KiB), `${size} for a log of ${end}`);
    }
    assert(disk.bytes(BALLAST_PATH).length === 512 * KiB && disk.used >= 512 * KiB);
  });

  it("is a hundredth of a small disk", async () => {
    const { disk, log, look } = await watching({ ...WITH, ballastBytes: 64 * MiB });
    log.end = 50 * MiB;
    await look();
    assert.equal(sizeOf(disk), SIZE / 100);
  });

  it("goes when a write finds no room, and is made again before anybody publishes", async () => {
    const { disk, headroom, log, look, levels } = await watching(WITH);
    log.end = MiB;
    await look();
    await headroom.noRoom();
    assert.equal(disk.has(BALLAST_PATH), false);
    assert.deepEqual([headroom.level, headroom.admits], ["full", false]);
    disk.usePercent(93.6); // with the ballast it would be more than 94
    await look();
    assert.deepEqual([headroom.level, sizeOf(disk)], ["full", undefined]);
    disk.usePercent(50);
    await look();
    assert.equal(sizeOf(disk), 512 * KiB);
    assert.equal(headroom.level, "ample");
    assert.deepEqual(levels, ["full", "ample"]);
  });

  it("goes before everything is taken, for it is not only the log that needs room", async () => {
    const { disk, headroom, log, look } = await watching(WITH);
    log.end = MiB;
    await look();
    let told = 0;
    headroom.onRoom = () => void told++;
    disk.told = { size: SIZE, free: 512 * KiB - 1 };
    await look();
    assert.equal(disk.has(BALLAST_PATH), false);
    assert.equal(headroom.level, "full");
    assert(told > 0, "who could not be served was not told");
  });

  it("that was left by an earlier life is used, and given up by a start that finds no room", async () => {
    const disk = new ToldDisk();
    const jobs = inlineJobs({ disk, crc32 });
    const ports = { disk, clock: new ManualClock(), jobs, report: assert.fail };
    await jobs.run({ kind: "prepare", path: BALLAST_PATH, from: 0, to: 512 * KiB });
    assert.equal((await Headroom.open(ports, WITH)).ballastBytes, 512 * KiB);
    disk.told = { size: SIZE, free: 1000 };
    const late = await Headroom.open(ports, WITH);
    assert.deepEqual([late.ballastBytes, disk.has(BALLAST_PATH), late.level], [0, false, "full"]);
  });

  it("that cannot be made is reported once, and tried again later", async () => {
    const { disk, headroom, log, look, reports } = await watching(WITH);
    disk.capacity = 100 * KiB;
    log.end = MiB;
    for (let looks = 0; looks < 5; looks++) await look();
    assert.equal(reports.length, 1);
    assert.equal(headroom.ballastBytes, 0);
    assert.equal(disk.used, 0, "it takes room and is not whole");
    disk.capacity = undefined;
    for (let looks = 0; looks < 8; looks++) await look();
    assert.equal(headroom.ballastBytes, 512 * KiB);
  });

  it("that is removed while it is made is not there afterwards", async () => {
    const { disk, headroom, log, clock, look } = await watching(WITH);
    log.end = 200 * KiB;
    await look();
    log.end = MiB;
    clock.advance(1000);
    await until(() => (sizeOf(disk) ?? 0) > 200 * KiB); // on its way
    await headroom.noRoom();
    for (let turns = 0; turns < 500; turns++) await Promise.resolve();
    const size = sizeOf(disk);
    assert(size === undefined || size === headroom.ballastBytes, `${size} bytes nobody knows of`);
    const hole = size !== undefined && disk.used < size;
    assert(!hole, "it takes no room");
  });
});

describe("a store on a disk that fills up", () => {
  it("goes on with what it appended once the ballast has made room", async () => {
    const disk = new MemoryDisk();
    const headroom = { ...OPTIONS, ballastBytes: 64 * KiB };
    const segmentBytes = 512 * KiB;
    const open = await OpenStore.on({ disk, segmentBytes, headroom });
    let next = 0;
    const put = () => open.putUnit([draft({ queueOffset: next++ })]);
    while (open.store.log.end < 100 * KiB) put();
    await open.settle();
    disk.capacity = 64 * MiB;
    open.clock.advance(1000);
    await until(() => open.store.headroom.ballastBytes > 0);
    disk.capacity = disk.used; // somebody else took the rest
    for (let i = 0; i < 20; i++) put();
    await open.settle();
    assert.equal(open.store.log.confirmOffset, open.store.log.end);
    assert.equal(open.store.headroom.admits, false);
    assert.equal(disk.has(BALLAST_PATH), false);
    assert.deepEqual(open.fatal, []);
    disk.capacity = 64 * MiB;
    open.clock.advance(1000);
    await until(() => open.store.headroom.admits);
    assert.equal(open.levels.at(-1), "ample");
    assert.equal((await open.unitsOf(1, 0)).length, next);
  });
});
