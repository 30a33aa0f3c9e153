/**
 * Mending damage with another node's bytes.
 *
 *   frame ┃ damage ─────────────┃ frame       the chain of checksums must hold at both
 *         └ its crc32 = prevCrc └ its prevCrc = crc32 of the last      ends before the
 *           of the first                                  bytes are believed
 *
 * A large range is mended in parts, from its beginning: what is left of it is damage
 * as before. Nothing derived changes: what was derived from these frames was so while
 * they were whole, or waits for them (replicated_log.ts).
 *
 * @module
 */

import type { Crc32 } from "./base/checksum.ts";
import type { CommitLog } from "./commit_log.ts";
import { FRAME_SIZE_MAX, type Frame } from "./frame.ts";
import type { DamagedRange } from "./recovery.ts";
import { scanFrames } from "./scan.ts";
import { SEGMENT_HEADER_SIZE } from "./segment.ts";
import { walkFrames } from "./unit_bytes.ts";

/** Given at once, at most: some frames of any size. */
const PART_SIZE = 2 * FRAME_SIZE_MAX;

/** Whole frames from the beginning of the range, verified; undefined: not to be had here. */
export async function goodBytes(
  log: CommitLog,
  { from, to }: DamagedRange,
  crc32: Crc32,
): Promise<Uint8Array | undefined> {
  const segment = log.segmentAt(from);
  const there = Math.min(to, segment?.end ?? log.writtenEnd) - from;
  const bytes = there > 0 ? await log.readBytes(from, Math.min(there, PART_SIZE)) : undefined;
  if (!bytes) return undefined;
  let size = 0;
  walkFrames(bytes, { from, prevCrc: undefined, crc32 }, (frame) => void (size += frame.size));
  return size > 0 ? bytes.subarray(0, size) : undefined;
}

/** Whether bytes from elsewhere are what lay there, as far as can be told: whole frames that fit. */
export async function fits(
  log: CommitLog,
  { range, bytes }: { readonly range: DamagedRange; readonly bytes: Uint8Array },
  crc32: Crc32,
): Promise<boolean> {
  const { from, to } = range;
  const end = from + bytes.length;
  if (bytes.length === 0 || end > to) return false;
  const prevCrc = await crcBefore(log, from, crc32);
  let last: Frame | undefined;
  const stop = walkFrames(bytes, { from, prevCrc, crc32 }, (frame) => void (last = frame));
  if (stop !== "end" || !last) return false;
  if (end < to) return true;
  const expected = end === log.end ? log.tail.lastCrc : (await log.readAt(end))?.prevCrc;
  return !expected || expected === last.crc; // 0: that frame was the first behind damage itself
}

/** crc32 of the frame that ends at `logOffset`; undefined where it is damaged as well. */
async function crcBefore(
  log: CommitLog,
  logOffset: number,
  crc32: Crc32,
): Promise<number | undefined> {
  const segment = log.segmentAt(logOffset);
  if (!segment) return undefined;
  const { base, file, prevCrc } = segment;
  if (base === logOffset) return prevCrc;
  const range = { base, from: base, to: logOffset, crc32, prevCrc: undefined };
  const stop = await scanFrames(file, range, () => {});
  return stop.at === logOffset ? stop.lastCrc : undefined;
}

/** Writes the bytes where they belong and syncs them. @throws what the disk says. */
export async function putBytes(log: CommitLog, from: number, bytes: Uint8Array): Promise<void> {
  const end = from + bytes.length;
  for (let at = from; at < end; ) {
    const segment = log.segmentAt(at);
    if (!segment) return;
    const to = Math.min(end, segment.end ?? end);
    const part = bytes.subarray(at - from, to - from);
    segment.file.write(part, SEGMENT_HEADER_SIZE + at - segment.base);
    await segment.file.sync();
    at = to;
  }
}
