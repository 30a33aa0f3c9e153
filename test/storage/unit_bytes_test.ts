import assert from "node:assert/strict";
import { it } from "node:test";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { areSound, readUnits } from "../../storage/unit_bytes.ts";
import { draft, KiB, MiB, OpenStore } from "./fixture.ts";

it("units on their way to another node stay what they are while the log goes on", async () => {
  const open = await OpenStore.on({ disk: new MemoryDisk(), segmentBytes: 64 * MiB });
  const { log } = open.store;
  const put = async (queueOffset: number) => {
    const body = new Uint8Array(300 * KiB).fill(queueOffset);
    await open.putAll([draft({ queueOffset, id: `m${queueOffset}`, body })]);
  };
  await put(0);
  const until = log.end;
  const units = await readUnits(log, { from: 0, until, maxBytes: MiB }, crc32);
  assert(units);
  for (let queueOffset = 1; queueOffset < 40; queueOffset++) await put(queueOffset);
  assert(log.tail.base > 3 * until, "what they lay in was let go of");
  const { prevCrc, lastCrc, bytes } = units;
  const announced = { from: 0, to: until, frameEpoch: log.tail.epoch, prevCrc, lastCrc, bytes };
  assert(areSound(announced, crc32));
  await open.store.close();
});
