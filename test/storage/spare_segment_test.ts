/**
 * The segment that is prepared while the present one fills.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { inlineJobs, type Job, type Jobs } from "../../storage/jobs.ts";
import { SEGMENT_HEADER_SIZE, SPARE_PATH, segmentBases } from "../../storage/segment.ts";
import { draft, KiB, OpenStore, until } from "./fixture.ts";

const SEGMENT_BYTES = 64 * KiB;
const FILE_SIZE = SEGMENT_HEADER_SIZE + SEGMENT_BYTES;

/** Jobs that are remembered, and fail where a test says so. */
function watched(disk: MemoryDisk, fails: (job: Job) => boolean = () => false) {
  const jobs = inlineJobs({ disk, crc32 });
  const prepared: [from: number, to: number][] = [];
  const watch: Jobs = {
    ...jobs,
    run(job) {
      if (job.kind === "prepare") prepared.push([job.from, job.to]);
      return fails(job) ? Promise.reject(new Error("no room")) : jobs.run(job);
    },
  };
  return { prepared, jobs: watch };
}

class Producer {
  #next = 0;
  readonly #open: OpenStore;

  constructor(open: OpenStore) {
    this.#open = open;
  }

  /** Appends until a segment is to begin. */
  putRoll(): void {
    const { tail } = this.#open.store.log;
    while (tail.rolls.length === 0) this.#open.putUnit([draft({ queueOffset: this.#next++ })]);
  }

  /** Puts messages of 200 bytes, one a sync, until `condition`. */
  async putUntil(condition: () => boolean | Promise<boolean>): Promise<void> {
    for (let count = 0; !(await condition()); count++) {
      assert(count < 2000, `put in vain for ${String(condition)}`);
      await this.#open.putAll([draft({ queueOffset: this.#next++ })]);
    }
  }

  /** All for one sync. */
  async putAtOnce(count: number): Promise<void> {
    await this.#open.putAll(
      Array.from({ length: count }, () => draft({ queueOffset: this.#next++ })),
    );
  }
}

async function opened(fails?: (job: Job) => boolean, segmentBytes = SEGMENT_BYTES) {
  const disk = new MemoryDisk();
  const { jobs, prepared } = watched(disk, fails);
  const open = await OpenStore.on({ disk, jobs, segmentBytes });
  const names = () => disk.list("log");
  const spareSize = () => (disk.has(SPARE_PATH) ? disk.bytes(SPARE_PATH).length : 0);
  const bases = async () => segmentBases(await names());
  const producer = new Producer(open);
  return { disk, open, prepared, producer, spareSize, bases };
}

describe("the spare segment", () => {
  it("grows with the log, in steps that follow on each other, to the size of a segment", async () => {
    const { disk, producer, open, prepared, spareSize } = await opened();
    await producer.putUntil(() => spareSize() === FILE_SIZE);
    assert(open.store.log.end > SEGMENT_BYTES / 5, "it was in a hurry");
    assert(open.store.log.end < SEGMENT_BYTES / 3, "it came too late");
    assert.equal(prepared[0]?.[0], 0);
    for (const [i, [from]] of prepared.entries()) {
      if (i > 0) assert.equal(from, prepared[i - 1]?.[1]);
    }
    assert.equal(prepared.at(-1)?.[1], FILE_SIZE);
    assert(disk.bytes(SPARE_PATH).every((byte) => byte === 0));
  });

  it("becomes the next segment, which holds nothing but its frames", async () => {
    const { disk, open, producer, spareSize, bases } = await opened();
    await producer.putUntil(() => spareSize() === FILE_SIZE);
    await producer.putUntil(async () => (await bases()).length === 2);
    assert.equal(disk.has(SPARE_PATH), false);
    const [first, base] = await bases();
    assert(first === 0 && base !== undefined);
    assert(base < SEGMENT_BYTES / 2, "a sparse segment is ended early");
    const bytes = disk.bytes(`log/${String(base).padStart(20, "0")}.log`);
    assert.equal(bytes.length, FILE_SIZE);
    const behind = bytes.subarray(SEGMENT_HEADER_SIZE + open.store.log.end - base);
    assert(behind.every((byte) => byte === 0));
    await producer.putUntil(async () => (await bases()).length === 3);
    const third = (await bases())[2] as number;
    assert(third - base > SEGMENT_BYTES - KiB, "a prepared segment is filled");
    const again = await OpenStore.on({ disk: disk.crash(), segmentBytes: SEGMENT_BYTES });
    assert.deepEqual(again.store.log.recovery.damaged, []);
    assert.deepEqual(again.store.log.recovery.damagedHeaders, []);
    assert.deepEqual(await again.unitsOf(1, 0), await open.unitsOf(1, 0));
  });

  it("is not made where syncs are large, until they become small", async () => {
    const { producer, prepared, bases } = await opened(undefined, 1024 * KiB);
    while ((await bases()).length < 3) await producer.putAtOnce(250); // some 50 KiB
    assert.deepEqual(prepared, []);
    await producer.putUntil(() => prepared.length > 0);
  });

  it("that cannot be made is told of once a segment, and costs nothing else", async () => {
    const { disk, open, producer, prepared, bases } = await opened(
      ({ kind }) => kind === "prepare",
    );
    await producer.putUntil(async () => (await bases()).length === 3);
    const [, second, third] = await bases();
    assert((third as number) - (second as number) > SEGMENT_BYTES - KiB);
    assert.deepEqual(
      open.reports.map(({ message }) => message),
      ["no room", "no room"],
    );
    assert.equal(prepared.length, 2);
    assert.equal(disk.has(SPARE_PATH), false);
    assert.deepEqual(open.fatal, []);
  });

  it("leaves no bytes behind when the disk fails under it", async () => {
    for (const which of ["failWrite", "failSync"] as const) {
      const disk = new MemoryDisk();
      const { jobs } = watched(disk);
      disk[which] = 0;
      await assert.rejects(jobs.run({ kind: "prepare", path: SPARE_PATH, from: 0, to: 10 * KiB }));
      assert.equal(disk.bytes(SPARE_PATH).length, 0);
    }
  });

  it("may be taken away by somebody: that costs time", async () => {
    const { disk, open, producer, spareSize, bases } = await opened();
    await producer.putUntil(() => spareSize() === FILE_SIZE);
    await disk.remove(SPARE_PATH);
    await producer.putUntil(async () => (await bases()).length === 2);
    assert.equal(open.reports.length, 1);
    assert.deepEqual(open.fatal, []);
    await producer.putUntil(() => spareSize() > 0);
  });

  it("is made anew by a start, whatever it finds", async () => {
    const { disk, producer, spareSize } = await opened();
    await producer.putUntil(() => spareSize() > FILE_SIZE / 2);
    disk.damage(SPARE_PATH, (bytes) => bytes.fill(0xff));
    const left = disk.clone();
    await OpenStore.on({ disk: left, segmentBytes: SEGMENT_BYTES });
    assert.equal(left.has(SPARE_PATH), false);
  });

  it("has no name of a segment before its header is safe", async () => {
    for (let turns = 0; turns < 60; turns++) {
      const { disk, open, producer, spareSize, bases } = await opened();
      await producer.putUntil(() => spareSize() === FILE_SIZE);
      producer.putRoll();
      open.store.log.flush();
      for (let left = turns; left > 0; left--) await Promise.resolve();
      for (let tries = 0; tries < 5; tries++) {
        const left = disk.crash();
        for (const base of segmentBases(await left.list("log")).slice(1)) {
          const path = `log/${String(base).padStart(20, "0")}.log`;
          assert.equal(new TextDecoder().decode(left.bytes(path).subarray(0, 8)), "TIDELOG1");
        }
      }
      await until(() => open.store.log.confirmOffset === open.store.log.end);
      assert.equal((await bases()).length, 2);
    }
  });
});
