/**
 * Snapshots in two generations: a damaged one costs nothing but time, whenever
 * it is found, and none is built on what is not there.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { Prng } from "../../storage/base/prng.ts";
import { sidecarPath } from "../../storage/segment.ts";
import {
  encodeSnapshot,
  SNAPSHOT_DIR,
  SnapshotCheck,
  SnapshotDamage,
  snapshotOffsets,
  snapshotPath,
} from "../../storage/snapshot.ts";
import { draft, KiB, OpenStore, until } from "./fixture.ts";

const SEGMENT_BYTES = 1 * KiB;

class World {
  readonly disk = new MemoryDisk();
  open!: OpenStore;
  #next = 0;

  async start(): Promise<this> {
    this.open = await OpenStore.on({ disk: this.disk, segmentBytes: SEGMENT_BYTES });
    return this;
  }

  /** Goes on until another snapshot is written, with changes of its own before it. */
  async snapshot(): Promise<number> {
    const newest = async () => snapshotOffsets(await this.disk.list(SNAPSHOT_DIR))[0] ?? 0;
    const before = await newest();
    // Each snapshot has an entry that no later one changes.
    const record = { groupGen: 9, topicGen: 1000 + this.#next, queueId: 1, to: 0 };
    this.open.append("seek", record);
    while ((await newest()) === before) {
      this.open.putUnit([draft({ queueOffset: this.#next++ })]);
      await this.open.settle();
      for (let turns = 0; turns < 100; turns++) await Promise.resolve();
    }
    return newest();
  }

  flip(offset: number): void {
    this.disk.damage(snapshotPath(offset), (bytes) => {
      bytes[70] = (bytes[70] ?? 0) ^ 1;
    });
  }

  /** What a start makes of the snapshots, without the log's first part to help it. */
  async restored(): Promise<Record<string, string>> {
    const again = await OpenStore.on({ disk: this.disk.clone(), segmentBytes: SEGMENT_BYTES });
    const { recovery, end } = again.store.log;
    assert(recovery.frames < 20 || end < 20 * KiB, "it began at a snapshot");
    return again.fold.dump();
  }
}

describe("a snapshot that is damaged while the node runs", () => {
  for (const [what, spoil] of [
    ["the newest", ([, newest]: number[]) => [newest]],
    ["the older", ([older]: number[]) => [older]],
  ] as const) {
    it(`costs no state when it is ${what}`, async () => {
      const world = await new World().start();
      for (let left = 2; left > 0; left--) await world.snapshot();
      const kept = [await world.snapshot(), await world.snapshot()];
      for (const offset of spoil(kept)) world.flip(offset as number);
      const [last, before] = [await world.snapshot(), await world.snapshot()].toReversed();
      assert.deepEqual(await world.restored(), world.open.fold.dump());
      assert.deepEqual(snapshotOffsets(await world.disk.list(SNAPSHOT_DIR)), [last, before]);
      const told = world.open.reports.filter((error) => error instanceof SnapshotDamage);
      assert.equal(told.length, what === "the newest" ? 1 : 0);
    });
  }

  it("costs snapshots until the next start, when both are, and no state", async () => {
    const world = await new World().start();
    for (let left = 2; left > 0; left--) await world.snapshot();
    for (const offset of [await world.snapshot(), await world.snapshot()]) world.flip(offset);
    for (let i = 0; i < 20; i++) {
      world.open.putUnit([draft({ queueOffset: 1000 + i, topicGen: 2 })]);
      await world.open.settle();
    }
    await until(() => world.open.reports.length > 0);
    const again = await OpenStore.on({ disk: world.disk.clone(), segmentBytes: SEGMENT_BYTES });
    assert.deepEqual(again.fold.dump(), world.open.fold.dump());
  });
});

describe("a snapshot that a start finds damaged", () => {
  it("is reported and gone, and the one before is used", async () => {
    const world = await new World().start();
    for (let left = 3; left > 0; left--) await world.snapshot();
    const newest = await world.snapshot();
    await until(() => world.disk.has(sidecarPath(0)));
    world.flip(newest);
    const disk = world.disk.clone();
    const again = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES });
    assert.deepEqual(again.fold.dump(), world.open.fold.dump());
    assert.deepEqual(
      again.reports.map((error) => error.name),
      ["SnapshotDamage"],
    );
    assert(!disk.has(snapshotPath(newest)));
    assert.equal(snapshotOffsets(await disk.list(SNAPSHOT_DIR)).length, 1);
  });
});

describe("SnapshotCheck", () => {
  const entries = Array.from(
    { length: 50 },
    (_, i) => [new Uint8Array([i]), new Uint8Array(i * 3).fill(i)] as const,
  );
  const file = encodeSnapshot({ logOffset: 7, walkFrom: 3, entries }, crc32);
  const check = (bytes: Uint8Array, prng: Prng): boolean => {
    const told = new SnapshotCheck(crc32);
    for (let at = 0; at < bytes.length; ) {
      const size = at === 0 ? 64 + prng.below(100) : 1 + prng.below(500);
      told.take(bytes.subarray(at, at + size));
      at += size;
    }
    return told.whole;
  };

  it("tells whole from damaged, however the bytes come", () => {
    const prng = new Prng(1);
    for (let round = 0; round < 50; round++) assert(check(file, prng));
    for (let at = 0; at < file.length; at += 1) {
      if (at >= 36 && at < 64) continue; // of no meaning yet
      const flipped = file.slice();
      flipped[at] = (flipped[at] ?? 0) ^ 8;
      assert(!check(flipped, prng), `flipped at ${at}`);
      assert(!check(file.subarray(0, at), prng), `cut to ${at}`);
    }
  });
});
