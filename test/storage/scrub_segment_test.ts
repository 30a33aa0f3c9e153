/**
 * Checking a segment slice by slice: how much is looked at in one go, and what is
 * found.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { viewOf } from "../../storage/base/bytes.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import type { DamagedRange } from "../../storage/recovery.ts";
import { sealFrame } from "../../storage/frame.ts";
import { scrubSegment } from "../../storage/scrub_segment.ts";
import { SEGMENT_HEADER_SIZE } from "../../storage/segment.ts";

const SLICE = 200;
const SIZES = [100, 60, 1500, 50, 900, 199, 200, 201];
const END = SIZES.reduce((sum, size) => sum + size, 0);

/** A segment of such frames, one of its bytes another where the test says so. */
async function segmentWith(flipped?: number) {
  const bytes = new Uint8Array(SEGMENT_HEADER_SIZE + END).fill(0xa5);
  let [at, prevCrc] = [0, 0];
  for (const size of SIZES) {
    const target = { bytes, view: viewOf(bytes), at: SEGMENT_HEADER_SIZE + at };
    const frame = { kind: 1, flags: 0, epoch: 1, storedAt: 1, confirmOffset: 0 };
    prevCrc = sealFrame(target, { ...frame, prevCrc, logOffset: at, size, crc32 });
    at += size;
  }
  if (flipped !== undefined) {
    const position = SEGMENT_HEADER_SIZE + flipped;
    bytes[position] = (bytes[position] ?? 0) ^ 1;
  }
  const file = await new MemoryDisk().open("f", { create: true });
  file.write(bytes, 0);
  return { file, base: 0, end: END };
}

async function scrubbed(segment: Awaited<ReturnType<typeof segmentWith>>) {
  const damaged: DamagedRange[] = [];
  let longest = 0;
  let inTurn = 0;
  const ports = {
    size: SLICE,
    crc32(bytes: Uint8Array, before?: number) {
      inTurn += bytes.length;
      longest = Math.max(longest, inTurn);
      return crc32(bytes, before);
    },
    pause() {
      inTurn = 0;
      return Promise.resolve();
    },
  };
  let place = { at: 0, prevCrc: undefined as number | undefined };
  for (let slices = 0; place.at < END; slices++) {
    assert(slices < 100, `it does not get on, at ${place.at}`);
    inTurn = 0; // each slice begins with a read
    const slice = await scrubSegment(segment, place, ports);
    if (slice.damaged) damaged.push(slice.damaged);
    place = slice.next;
  }
  return { damaged, longest };
}

describe("scrubSegment()", () => {
  it("takes no more than a slice into its checksums in one go, however long a frame is", async () => {
    const { damaged, longest } = await scrubbed(await segmentWith());
    assert.deepEqual(damaged, []);
    assert(longest > 0 && longest <= SLICE, `${longest} bytes in one go`);
  });

  it("tells the range of the frame in which a bit changed, wherever it is", async () => {
    let from = 0;
    for (const size of SIZES) {
      for (const at of [4, 9, 20, 44, size - 1]) {
        const { damaged } = await scrubbed(await segmentWith(from + Math.min(at, size - 1)));
        assert.deepEqual(
          damaged,
          [{ from, to: from + size }],
          `byte ${at} of the frame at ${from}`,
        );
      }
      from += size;
    }
  });
});
