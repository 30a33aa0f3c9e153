import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { Prng } from "../../storage/base/prng.ts";
import { decodeIdentity, encodeIdentity, Identity } from "../../storage/identity.ts";

const chance = new Prng(5);
const entropy = (size: number) => Uint8Array.from({ length: size }, () => chance.below(256));
const open = (disk: MemoryDisk) => Identity.open({ disk, crc32, entropy });

describe("encodeIdentity()", () => {
  const slot = {
    sequence: 3,
    diskId: Uint8Array.from({ length: 16 }, (_, i) => i),
    promised: { epoch: 7, revision: 2 ** 33 },
    failed: false,
  };

  it("keeps its bytes", () => {
    const bytes = encodeIdentity(slot, crc32);
    assert.equal(
      Buffer.from(bytes.subarray(0, 48)).toString("hex"),
      "5449444549444e310000000000000003000102030405060708090a0b0c0d0e0f00000002000000000000000700000000",
    );
    assert.deepEqual(decodeIdentity(bytes, crc32), slot);
  });

  it("is not taken for whole with any bit flipped", () => {
    for (let bit = 0; bit < 52 * 8; bit++) {
      const bytes = encodeIdentity(slot, crc32);
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
      assert.equal(decodeIdentity(bytes, crc32), undefined, `bit ${bit}`);
    }
  });
});

describe("Identity", () => {
  it("keeps its name and its promise, however the power goes", async () => {
    let disk = new MemoryDisk(3);
    const { diskId } = await open(disk);
    let kept = 0;
    for (let epoch = 1; epoch < 100; epoch++) {
      const identity = await open(disk);
      assert.equal(identity.diskId, diskId);
      const found = identity.promised?.epoch ?? 0;
      assert(found === kept || found === kept + 1, `${found} after ${kept}`);
      kept = found;
      const promise = identity.promise({ epoch: found + 1, revision: 5 });
      if (epoch % 2 === 0) {
        await promise;
        kept++;
      } else promise.catch(() => {});
      disk = disk.crash();
    }
  });

  it("has another name after a failed sync, and the promise it made", async () => {
    const disk = new MemoryDisk();
    const before = await open(disk);
    await before.promise({ epoch: 2, revision: 9 });
    before.markFailed();
    const after = await open(disk.clone());
    assert.notEqual(after.diskId, before.diskId);
    assert.deepEqual(after.promised, { epoch: 2, revision: 9 });
    assert.equal((await open(disk.crash())).promised?.epoch, 2);
  });

  it("has another name where nothing is left of it, as after a restore", async () => {
    const disk = new MemoryDisk();
    const { diskId } = await open(disk);
    disk.lose("identity");
    assert.notEqual((await open(disk)).diskId, diskId);
  });
});
