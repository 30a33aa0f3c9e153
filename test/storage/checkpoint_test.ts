import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import {
  CHECKPOINT_PATH,
  CheckpointFile,
  decodeCheckpoints,
  encodeCheckpoint,
} from "../../storage/checkpoint.ts";

const SLOT = 512;
const slot = (sequence: number, durableEnd: number) =>
  encodeCheckpoint({ sequence, durableEnd, confirmOffset: durableEnd, epoch: 1 }, crc32);

function file(even: Uint8Array, odd: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(2 * SLOT);
  bytes.set(even.subarray(0, SLOT));
  bytes.set(odd.subarray(0, SLOT), SLOT);
  return bytes;
}

describe("decodeCheckpoints()", () => {
  const older = slot(4, 100);
  const newer = slot(5, 200);
  const nothing = new Uint8Array(SLOT);
  const cases: [name: string, bytes: Uint8Array, durableEnd: number][] = [
    ["finds nothing in an empty file", new Uint8Array(0), 0],
    ["finds nothing in zeros", file(nothing, nothing), 0],
    ["takes the newer slot", file(older, newer), 200],
    ["takes the newer slot, wherever it lies", file(slot(6, 300), newer), 300],
    ["takes the only slot", file(nothing, newer), 200],
    ["takes the first slot of a file cut behind it", older, 100],
    [
      "takes the first slot of a file cut within the second",
      file(older, newer).subarray(0, 530),
      100,
    ],
  ];
  for (const [name, bytes, durableEnd] of cases) {
    it(name, () => assert.equal(decodeCheckpoints(bytes, crc32).durableEnd, durableEnd));
  }

  it("falls back to the older slot wherever the newer one is torn or flipped", () => {
    for (let at = 0; at < 32; at++) {
      const torn = newer.slice();
      torn.fill(0xff, at, 32);
      assert.equal(decodeCheckpoints(file(older, torn), crc32).durableEnd, 100, `torn at ${at}`);
      for (let bit = 0; bit < 8; bit++) {
        const flipped = newer.slice();
        flipped[at] = (flipped[at] as number) ^ (1 << bit);
        assert.equal(decodeCheckpoints(file(older, flipped), crc32).durableEnd, 100);
        assert.equal(decodeCheckpoints(file(flipped, nothing), crc32).durableEnd, 0);
      }
    }
  });
});

describe("CheckpointFile", () => {
  it("writes what was changed of the latest into the other slot", async () => {
    const checkpoint = await CheckpointFile.open(new MemoryDisk(), crc32);
    await checkpoint.write({ durableEnd: 9, confirmOffset: 9, epoch: 1 });
    await checkpoint.write({ ...checkpoint.latest, durableEnd: 5 });
    assert.equal(checkpoint.latest.sequence, 2);
    await checkpoint.close();
  });

  it("never falls back further than to the write before, however the power goes", async () => {
    let disk = new MemoryDisk(3);
    let written = 0;
    for (let round = 0; round < 200; round++) {
      const checkpoint = await CheckpointFile.open(disk, crc32);
      const found = checkpoint.latest.durableEnd;
      assert(found === written || found === written - 1, `${found} after ${written}`);
      await checkpoint.write({ durableEnd: found + 1, confirmOffset: found, epoch: 1 });
      assert.equal((await CheckpointFile.open(disk.crash(), crc32)).latest.durableEnd, found + 1);
      void checkpoint.write({ durableEnd: found + 2, confirmOffset: found, epoch: 1 }); // the power goes before it is synced
      written = found + 2;
      disk = disk.crash();
    }
  });

  it("says no less of a failed disk than the write says that was under way", async () => {
    const disk = new MemoryDisk();
    const checkpoint = await CheckpointFile.open(disk, crc32);
    await checkpoint.write({ durableEnd: 3, confirmOffset: 3, epoch: 1 });
    void checkpoint.write({ durableEnd: 7, confirmOffset: 7, epoch: 1 });
    checkpoint.markFailed();
    const { durableEnd, failed } = decodeCheckpoints(disk.bytes(CHECKPOINT_PATH), crc32);
    assert.deepEqual([durableEnd, failed], [7, true]);
  });

  it("says what is known of a failed disk when nothing was under way", async () => {
    const disk = new MemoryDisk();
    const checkpoint = await CheckpointFile.open(disk, crc32);
    await checkpoint.write({ durableEnd: 3, confirmOffset: 3, epoch: 1 });
    checkpoint.markFailed();
    const { durableEnd, failed } = decodeCheckpoints(disk.bytes(CHECKPOINT_PATH), crc32);
    assert.deepEqual([durableEnd, failed], [3, true]);
  });
});
