/**
 * After a disk has failed: what the next process finds in the page cache may not be on
 * the disk, nor get there where it lies (ADR 3). What it serves must outlast the cache.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { NoRoom } from "../../storage/base/disk.ts";
import { CHECKPOINT_PATH, decodeCheckpoints } from "../../storage/checkpoint.ts";
import { OpenStore, until } from "./fixture.ts";
import { messages, SEGMENT_BYTES, write } from "./written_log.ts";

const segmentBytes = SEGMENT_BYTES;
const YOUNG = 10;
const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
const checkpointOn = (disk: MemoryDisk) => decodeCheckpoints(disk.bytes(CHECKPOINT_PATH), crc32);

/** A store whose disk failed at the sync of its last message, as the next process finds it. */
async function failed({ checkpoint = false } = {}): Promise<MemoryDisk> {
  const { disk } = await write([[1], [1]], { segmentBytes, checkpoint });
  const open = await OpenStore.on({ disk, segmentBytes });
  for (const message of messages(YOUNG, 2)) open.putUnit([message]); // over some new sectors
  disk.failSync = 0;
  await open.settle();
  assert.equal(open.fatal.length, 1);
  return disk.clone();
}

async function offsetsOn(disk: MemoryDisk): Promise<readonly number[]> {
  const open = await OpenStore.on({ disk, segmentBytes });
  assert.deepEqual(open.store.log.recovery.damaged, []);
  const rows = await open.unitsOf(1, 0);
  for (const [, logOffset, size] of rows) assert(await open.store.log.read({ logOffset, size }));
  return rows.map(([queueOffset]) => queueOffset);
}

describe("a start after the disk has failed", () => {
  for (const checkpoint of [false, true]) {
    it(`puts what it serves on the disk${checkpoint ? ", with a checkpoint" : ""}`, async () => {
      const disk = await failed({ checkpoint });
      const open = await OpenStore.on({ disk, segmentBytes });
      await open.putAll(messages(1, 2 + YOUNG));
      assert.deepEqual((await open.unitsOf(1, 0)).length, 3 + YOUNG);
      assert.deepEqual(await offsetsOn(disk.crash()), numbers(3 + YOUNG));
    });
  }

  it("puts the checkpoint on the disk, whose first one never got there", async () => {
    const disk = new MemoryDisk();
    const open = await OpenStore.on({ disk, segmentBytes });
    await open.putAll(messages(1));
    disk.failSync = 0;
    open.clock.advance(1000);
    await until(() => open.fatal.length > 0);
    const next = disk.clone();
    const { store } = await OpenStore.on({ disk: next, segmentBytes });
    assert.equal(checkpointOn(next.crash()).durableEnd, store.log.end);
  });

  it("is told by the page cache, once", async () => {
    const disk = await failed();
    assert.equal(checkpointOn(disk).failed, true);
    await OpenStore.on({ disk, segmentBytes });
    assert.equal(checkpointOn(disk).failed, undefined);
    assert.equal(checkpointOn(disk.crash()).failed, undefined);
  });

  it("is no start while there is no room for it, and is one when there is", async () => {
    const disk = await failed();
    disk.capacity = disk.used;
    await assert.rejects(OpenStore.on({ disk, segmentBytes }), NoRoom);
    assert.equal(checkpointOn(disk).failed, true);
    disk.capacity = undefined;
    assert.deepEqual(await offsetsOn(disk), numbers(2 + YOUNG));
  });

  it("that is refused for what the log holds changes nothing", async () => {
    const { disk } = await write([[1], [1]], { segmentBytes, checkpoint: true });
    for (const path of disk.names("log")) disk.lose(`log/${path}`);
    const before = disk.bytes(CHECKPOINT_PATH).slice();
    await assert.rejects(OpenStore.on({ disk, segmentBytes }), { code: "data-damaged" });
    assert.deepEqual(disk.bytes(CHECKPOINT_PATH), before);
  });

  it("that failed itself is told to the next one", async () => {
    for (let syncs = 0; syncs < 100; syncs++) {
      const disk = await killed();
      disk.failSync = syncs;
      const opened = await OpenStore.on({ disk, segmentBytes }).catch(() => undefined);
      if (opened) return;
      const next = disk.clone();
      const open = await OpenStore.on({ disk: next, segmentBytes });
      await open.putAll(messages(1, 2 + YOUNG));
      const found = await offsetsOn(next.crash());
      assert.deepEqual(found, numbers(3 + YOUNG), `the ${syncs}th sync failed`);
    }
    assert.fail("no start was without a sync that failed");
  });
});

/** As `failed`, of a process that was killed before it came to its last sync. */
async function killed(): Promise<MemoryDisk> {
  const { disk } = await write([[1], [1]], { segmentBytes });
  const open = await OpenStore.on({ disk, segmentBytes });
  for (const message of messages(YOUNG, 2)) open.putUnit([message]);
  open.store.log.flush();
  await until(() => open.store.log.writtenEnd === open.store.log.end);
  return disk.clone();
}
