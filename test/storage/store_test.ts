/**
 * The store across stops: whatever derived file is missing or damaged, the
 * queues, ids and the fold come back as they were.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { stableHash } from "../../storage/base/hash.ts";
import { inlineJobs, type Jobs } from "../../storage/jobs.ts";
import { draft, KiB, MiB, OpenStore, type UnitRow } from "./fixture.ts";

const SEGMENT_BYTES = 4 * KiB;

/** All a reader can learn from a store. */
interface View {
  readonly end: number;
  readonly queues: Record<string, readonly UnitRow[]>;
  readonly fold: Record<string, string>;
  readonly ids: readonly (readonly [string, readonly number[]])[];
}

const QUEUES = [
  [1, 0],
  [1, 1],
  [2, 0],
] as const;

async function look(open: OpenStore): Promise<View> {
  const { log, indexes } = open.store;
  const queues: Record<string, UnitRow[]> = {};
  const found: [string, number[]][] = [];
  for (const [topicGen, queueId] of QUEUES) {
    const rows = await open.unitsOf(topicGen, queueId);
    queues[`${topicGen}/${queueId}`] = rows;
    for (const [queueOffset, logOffset] of rows) {
      const id = `${topicGen}-${queueId}-${queueOffset}`;
      const base = log.segmentAt(logOffset)?.base ?? -1;
      found.push([id, await indexes.ids.find(stableHash(id), base)]);
    }
  }
  return { end: log.end, queues, fold: open.fold.dump(), ids: found };
}

/** Puts `count` messages over three queues, some in units, with other records between. */
async function fill(open: OpenStore, count: number): Promise<void> {
  const next = (topicGen: number, queueId: number) =>
    open.store.queues.find(topicGen, queueId)?.end ?? 0;
  const ends = new Map(QUEUES.map(([t, q]) => [`${t}/${q}`, next(t, q)]));
  for (let i = 0; i < count; i++) {
    const [topicGen, queueId] = QUEUES[i % 3] as (typeof QUEUES)[number];
    const key = `${topicGen}/${queueId}`;
    const unit = Array.from({ length: i % 7 === 0 ? 3 : 1 }, () => {
      const queueOffset = ends.get(key) ?? 0;
      ends.set(key, queueOffset + 1);
      return draft({ topicGen, queueId, queueOffset });
    });
    open.putUnit(unit);
    if (i % 5 === 0) open.append("seek", { groupGen: 1, topicGen, queueId, to: i });
    if (i % 4 === 0) await open.settle();
  }
  await open.settle();
}

/** Jobs end after the log confirms; waits for those under way. */
async function quiet(open: OpenStore): Promise<void> {
  await open.settle();
  for (let turns = 0; turns < 3000; turns++) await Promise.resolve();
}

async function filled(): Promise<{ disk: MemoryDisk; view: View }> {
  const disk = new MemoryDisk();
  const open = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES });
  await fill(open, 60);
  await quiet(open);
  assert(open.store.log.segments.length > 4);
  return { disk, view: await look(open) };
}

const names = async (disk: MemoryDisk, ending: string) =>
  [
    ...(await disk.list("log")).map((name) => `log/${name}`),
    ...(await disk.list("snapshots")).map((name) => `snapshots/${name}`),
  ].filter((name) => name.endsWith(ending));

async function removeAll(disk: MemoryDisk, ending: string): Promise<void> {
  for (const name of await names(disk, ending)) await disk.remove(name);
}

async function damageAll(disk: MemoryDisk, ending: string, at: (size: number) => number) {
  for (const name of await names(disk, ending)) {
    const position = at(disk.bytes(name).length);
    disk.damage(name, (bytes) => {
      bytes[position] = (bytes[position] ?? 0) ^ 1;
    });
  }
}

async function damageOne(disk: MemoryDisk, path: string | undefined): Promise<void> {
  assert(path);
  disk.damage(path, (bytes) => bytes.fill(0xee, 70, 90));
}

describe("a store that is opened again", () => {
  const troubles: [name: string, trouble: (disk: MemoryDisk) => Promise<void>][] = [
    ["as it was left", async () => {}],
    ["without snapshots", (disk) => removeAll(disk, ".snap")],
    [
      "without the newest snapshot",
      async (disk) => disk.remove((await names(disk, ".snap")).at(-1) ?? ""),
    ],
    ["with damaged snapshots", (disk) => damageAll(disk, ".snap", (size) => size - 1)],
    [
      "with the newest snapshot damaged",
      async (disk) => damageOne(disk, (await names(disk, ".snap")).at(-1)),
    ],
    ["without sidecars", (disk) => removeAll(disk, ".idx")],
    [
      "without the oldest sidecar",
      async (disk) => disk.remove((await names(disk, ".idx"))[0] ?? ""),
    ],
    [
      "without the newest sidecar",
      async (disk) => disk.remove((await names(disk, ".idx")).at(-1) ?? ""),
    ],
    ["with damaged sidecar headers", (disk) => damageAll(disk, ".idx", () => 9)],
    ["with damaged sidecar units", (disk) => damageAll(disk, ".idx", () => 70)],
    ["with damaged sidecar directories", (disk) => damageAll(disk, ".idx", (size) => size - 20)],
    [
      "without anything derived",
      async (disk) => {
        await removeAll(disk, ".idx");
        await removeAll(disk, ".snap");
      },
    ],
    ["without a checkpoint", (disk) => disk.remove("checkpoint")],
    [
      "with what a crash left of a job",
      async (disk) => {
        for (const path of ["log/00000000000000000000.idx.tmp", "snapshots/9.snap.tmp"]) {
          (await disk.open(path, { create: true })).write(new Uint8Array(100), 0);
        }
      },
    ],
  ];

  for (const [name, trouble] of troubles) {
    for (const how of ["killed", "closed"] as const) {
      it(`${name}, ${how} before, is the same`, async () => {
        const { disk, view } = await filled();
        const source = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES });
        if (how === "closed") await source.store.close();
        const left = disk.clone();
        await trouble(left);
        const open = await OpenStore.on({ disk: left, segmentBytes: SEGMENT_BYTES });
        assert.deepEqual(open.store.log.recovery.damaged, []);
        assert.deepEqual(await look(open), view);
        assert.deepEqual(await names(left, ".tmp"), []);

        // And it goes on as it would have, stop after stop.
        await fill(open, 40);
        await quiet(open);
        const later = await look(open);
        if (how === "closed") await open.store.close();
        const again = await OpenStore.on({ disk: left.crash(), segmentBytes: SEGMENT_BYTES });
        assert.deepEqual(await look(again), later);
      });
    }
  }

  it("walks only what the snapshot does not cover", async () => {
    const { disk } = await filled();
    const open = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES });
    const { recovery, segments } = open.store.log;
    assert(recovery.frames > 0);
    assert(recovery.frames < 20, `${recovery.frames} frames of ${segments.length} segments`);
  });

  it("makes up for snapshots that a kill kept from being written", async () => {
    const { disk, view } = await filled();
    await removeAll(disk, ".snap");
    const open = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES });
    await quiet(open);
    assert(open.store.log.recovery.frames > 50);
    const left = disk.clone(); // nothing was appended in this life
    const again = await OpenStore.on({ disk: left, segmentBytes: SEGMENT_BYTES });
    await quiet(again);
    const { frames } = again.store.log.recovery;
    assert(frames < 20, `${frames} frames`);
    assert.deepEqual(await look(again), view);
  });

  it("writes no snapshot at a start that had the newest one", async () => {
    const { disk } = await filled();
    const before = await names(disk, ".snap");
    await quiet(await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES }));
    assert.deepEqual(await names(disk, ".snap"), before);
  });

  it("keeps two snapshots, and no more", async () => {
    const { disk } = await filled();
    assert.equal((await names(disk, ".snap")).length, 2);
  });

  it("does not remember the queues of a topic that was dropped", async () => {
    const { disk } = await filled();
    const open = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES });
    open.append("drop", { entity: "topic", generation: 1, name: "one" });
    await open.settle();
    await open.store.close();
    for (const spoil of [async () => {}, (left: MemoryDisk) => removeAll(left, ".snap")]) {
      const left = disk.clone();
      await spoil(left);
      const again = await OpenStore.on({ disk: left, segmentBytes: SEGMENT_BYTES });
      assert.equal(again.store.queues.find(1, 0), undefined);
      assert.equal(again.store.queues.find(2, 0)?.end, open.store.queues.find(2, 0)?.end);
    }
  });
});

describe("a store whose jobs fail", () => {
  /** Jobs that fail while told to. */
  function flakyJobs(disk: MemoryDisk): Jobs & { failing: boolean } {
    const jobs = inlineJobs({ disk, crc32 });
    const flaky = {
      failing: true,
      run: (job: Parameters<Jobs["run"]>[0]) =>
        flaky.failing ? Promise.reject(new Error("Cannot run the job")) : jobs.run(job),
      close: () => jobs.close(),
    };
    return flaky;
  }

  it("reports it, answers from memory, and catches up", async () => {
    const disk = new MemoryDisk();
    const jobs = flakyJobs(disk);
    const open = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES, jobs });
    await fill(open, 30);
    await quiet(open);
    assert(open.reports.length > 0);
    assert.deepEqual(await names(disk, ".idx"), []);
    jobs.failing = false;
    await fill(open, 30); // newer segments get sidecars, older ones have none
    await quiet(open);
    const view = await look(open);
    assert((await names(disk, ".idx")).length > 0);
    const again = await OpenStore.on({ disk: disk.crash(), segmentBytes: SEGMENT_BYTES });
    assert.deepEqual(await look(again), view);
    assert.equal((await names(disk, ".snap")).length > 0, true);
  });

  it("writes into its last snapshot what the failed ones should have held", async () => {
    const disk = new MemoryDisk();
    const jobs = flakyJobs(disk);
    const open = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES, jobs });
    await fill(open, 60);
    jobs.failing = false;
    await open.store.close();
    const [path, ...others] = await names(disk, ".snap");
    assert(path && others.length === 0);
    const again = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES });
    assert.deepEqual(again.fold.dump(), open.fold.dump());
  });
});

describe("a store that is closed", () => {
  it("right after a roll that nothing followed, loses nothing of the fold", async () => {
    const disk = new MemoryDisk();
    const open = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES });
    await fill(open, 10);
    open.store.begin(open.clock.now(), SEGMENT_BYTES); // rolls, then nothing is put
    await open.store.close();
    const again = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES });
    assert.deepEqual(again.fold.dump(), open.fold.dump());
    assert.deepEqual(await again.unitsOf(1, 0), await open.unitsOf(1, 0));
  });

  it("exactly where a segment ends, opens with all its queues", async () => {
    const disk = new MemoryDisk();
    let open = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES });
    await fill(open, 20);
    for (let round = 0; round < 3; round++) {
      await open.store.close();
      const left = disk.clone();
      open = await OpenStore.on({ disk: left, segmentBytes: SEGMENT_BYTES });
      open.store.begin(open.clock.now(), SEGMENT_BYTES); // the next record opens a segment
      await fill(open, 1);
      const view = await look(open);
      const again = await OpenStore.on({ disk: left.crash(), segmentBytes: SEGMENT_BYTES });
      assert.deepEqual(await look(again), view);
    }
  });
});

describe("a damaged sidecar in use", () => {
  it("is built again while it is read, and reported", async () => {
    const { disk, view } = await filled();
    const open = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES });
    const sidecars = await names(disk, ".idx");
    await damageAll(disk, ".idx", () => 70);
    const reads = await Promise.all([look(open), look(open), look(open)]);
    for (const found of reads) assert.deepEqual(found, view);
    assert.equal(open.reports.length, sidecars.length, "each is mended once");
    await open.store.close();
    const again = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES });
    assert.deepEqual(await look(again), view);
    assert.deepEqual(again.reports, [], "they lie mended on disk");
  });
});

describe("CommitLog.read()", () => {
  it("finds frames in memory and on disk, and refuses others", async () => {
    const disk = new MemoryDisk();
    const segmentBytes = 4 * MiB;
    const open = await OpenStore.on({ disk, segmentBytes });
    const body = new Uint8Array(200 * KiB).fill(7);
    const places: { logOffset: number; size: number }[] = [];
    for (let queueOffset = 0; queueOffset < 100; queueOffset++) {
      const [place] = open.putUnit([draft({ queueOffset, body })]);
      const logOffset = place?.logOffset ?? -1;
      places.push({ logOffset, size: open.store.log.end - logOffset });
      if (queueOffset % 10 === 0) await open.settle();
    }
    await open.settle();
    const { log } = open.store;
    const first = places[0] as (typeof places)[number];
    assert.equal(log.tail.find(first.logOffset, first.size), undefined, "it is on disk only");
    for (const [i, place] of places.entries()) {
      const frame = await log.read(place);
      assert.equal(frame?.logOffset, place.logOffset, `message ${i}`);
    }
    const wrong = { logOffset: first.logOffset + 1, size: first.size };
    assert.equal(await log.read(wrong), undefined);
    assert.equal(await log.read({ logOffset: log.end, size: 50 }), undefined);
    assert.equal(await log.readBytes(log.end - 10, 20), undefined, "past the end");
  });

  it("gives no bytes that are not written yet for bytes of the log", async () => {
    const open = await OpenStore.on({ disk: new MemoryDisk(), segmentBytes: 8 * MiB });
    await open.putAll([draft({ queueOffset: 0 })]);
    const from = open.store.log.end;
    const body = new Uint8Array(700 * KiB).fill(7);
    open.putUnit([draft({ queueOffset: 1, body })]); // a chunk each
    open.putUnit([draft({ queueOffset: 2, body })]);
    const across = open.store.log.end - from;
    assert.equal(await open.store.log.readBytes(from, across), undefined);
    await open.settle();
    assert.equal((await open.store.log.readBytes(from, across))?.length, across);
  });
});
