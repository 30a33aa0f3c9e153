/**
 * What rots is told to the byte, for the oracle excuses all that it is told of: a
 * sector that also holds a segment's header is no excuse for the segment before.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readRange } from "../../storage/base/disk.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { Prng } from "../../storage/base/prng.ts";
import { salvaging } from "../../storage/base/salvage.ts";
import { LOG_DIR, SEGMENT_HEADER_SIZE, segmentBases, segmentPath } from "../../storage/segment.ts";
import { draft, KiB, OpenStore } from "../storage/fixture.ts";
import { rot, type Rot } from "./rot.ts";

const TIMES = 400;

/** Several sealed segments and a last one with some; some bodies are zeros, as overwritten blocks are. */
async function filled(): Promise<{ disk: MemoryDisk; end: number }> {
  const disk = new MemoryDisk();
  const open = await OpenStore.on({ disk, segmentBytes: 2 * KiB });
  for (let i = 0; i < 60; i++) {
    const body = new Uint8Array(100 + i).fill(i % 3 === 0 ? 0 : i);
    open.putUnit([draft({ queueOffset: i, body })]);
    await open.settle();
  }
  const { end } = open.store.log;
  await open.store.close();
  return { disk: disk.clone({ paced: false }), end };
}

/** What a reader of the log gets at each logOffset below `end`; undefined where no file is. */
async function readsOf(disk: MemoryDisk, end: number): Promise<readonly (number | undefined)[]> {
  const reads = Array.from<number | undefined>({ length: end });
  const bases = segmentBases(disk.names(LOG_DIR));
  for (const [i, base] of bases.entries()) {
    const file = salvaging(await disk.open(segmentPath(base), { create: false }));
    const size = Math.min(bases[i + 1] ?? end, base + 2 * KiB, end) - base;
    const bytes = await readRange(file, SEGMENT_HEADER_SIZE, size);
    for (const [at, byte] of bytes.entries()) reads[base + at] = byte;
  }
  return reads;
}

describe("what rots", () => {
  it("reads otherwise from its first byte to its last, and nothing else does", async () => {
    const { disk, end } = await filled();
    const whole = await readsOf(disk, end);
    const bases = segmentBases(disk.names(LOG_DIR));
    const seen = new Set<Rot["what"] | "header" | "nothing">();
    for (let seed = 0; seed < TIMES; seed++) {
      const one = disk.clone({ paced: false });
      const told = rot(one, { prng: new Prng(seed), files: true, settled: true });
      const reads = await readsOf(one, end);
      const from = reads.findIndex((byte, at) => byte !== whole[at]);
      const to = reads.findLastIndex((byte, at) => byte !== whole[at]) + 1;
      assert.deepEqual(told && [told.from, told.to], to > 0 ? [from, to] : undefined, `${seed}`);
      seen.add(told?.what ?? "nothing");
      // Of a frame's size, which comes first, some bytes are zero as they were.
      const begins = (base: number) => told && base > 0 && told.from > base && told.from < base + 4;
      if (told?.what === "sector unreadable" && bases.some(begins)) seen.add("header");
    }
    assert.deepEqual([...seen].toSorted(), [
      "bit flipped",
      "block misdirected",
      "block zeroed",
      "header",
      "nothing",
      "sector unreadable",
      "segment lost",
    ]);
  });
});
