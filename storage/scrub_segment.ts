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

/** A frame's checksum is of what lies behind it. */
const CRC_FROM = 8;

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
 *
 * @param ports.pause lets others have their turn: a frame may be longer than `size`.
 */
export async function scrubSegment(
  segment: { readonly file: DiskFile; readonly base: number; readonly end: number },
  place: SegmentPlace,
  ports: { readonly size: number; readonly crc32: Crc32; pause(): Promise<void> },
): Promise<SegmentSlice> {
  const { file, base, end } = segment;
  const { size } = ports;
  let { crc32 } = ports;
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
      const crc = await crcOfLong(longer.bytes, ports);
      crc32 = () => crc; // it is the only frame of this slice
      source = longer;
    } else break;
  }
  if (at >= end) return { next: { at: end, prevCrc } };
  const range = { base, from: at, to: end, crc32: ports.crc32, windowSize: size };
  const behind = await findFrameBehind(file, range);
  const to = behind?.logOffset ?? end;
  return { next: { at: to, prevCrc: undefined }, damaged: { from: at, to } };
}

/** Of the frame that `bytes` are, a slice at a time. */
async function crcOfLong(
  bytes: Uint8Array,
  { size, crc32, pause }: Parameters<typeof scrubSegment>[2],
): Promise<number> {
  let crc: number | undefined;
  for (let at = CRC_FROM; at < bytes.length; at += size) {
    await pause();
    crc = crc32(bytes.subarray(at, at + size), crc);
  }
  return crc ?? 0;
}
