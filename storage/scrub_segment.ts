/**
 * Checking a sealed segment a slice at a time: every frame by its checksum, its
 * place and the chain, as a start would.
 *
 * @module
 */

import { viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import { type DiskFile, readRange } from "./base/disk.ts";
import { readFrame } from "./frame.ts";
import type { DamagedRange } from "./recovery.ts";
import { findFrameBehind } from "./scan.ts";
import { SEGMENT_HEADER_SIZE } from "./segment.ts";

/** Where the check goes on. */
export interface SegmentPlace {
  readonly at: number;
  /** Of the frame before; undefined where it is not known. */
  readonly prevCrc: number | undefined;
}

export interface SegmentSlice {
  readonly next: SegmentPlace;
  readonly damaged?: DamagedRange;
}

/**
 * Looks at the whole frames in `size` bytes from `place` on, at least one; ends
 * behind damage.
 */
export async function scrubSegment(
  segment: { readonly file: DiskFile; readonly base: number; readonly end: number },
  place: SegmentPlace,
  { size, crc32 }: { readonly size: number; readonly crc32: Crc32 },
): Promise<SegmentSlice> {
  const { file, base, end } = segment;
  const read = async (wanted: number) => {
    const position = SEGMENT_HEADER_SIZE + place.at - base;
    const bytes = await readRange(file, position, Math.min(wanted, end - place.at));
    return { bytes, view: viewOf(bytes) };
  };
  let source = await read(size);
  let { at, prevCrc } = place;
  while (at < end) {
    const from = at - place.at;
    const found = readFrame({ ...source, at: from }, { logOffset: at, prevCrc, crc32 });
    if (found.kind === "frame") {
      prevCrc = found.frame.crc;
      at += found.frame.size;
    } else if (found.kind === "short" && from > 0) {
      return { next: { at, prevCrc } };
    } else if (
      found.kind === "short" &&
      at + found.need <= end &&
      found.need > source.bytes.length
    ) {
      const longer = await read(found.need);
      if (longer.bytes.length === source.bytes.length) break; // the file ends here
      source = longer;
    } else break;
  }
  if (at >= end) return { next: { at: end, prevCrc } };
  const behind = await findFrameBehind(file, { base, from: at, to: end, crc32, windowSize: size });
  const to = behind?.logOffset ?? end;
  return { next: { at: to, prevCrc: undefined }, damaged: { from: at, to } };
}
