/**
 * Where the log starts: what lay before was given up.
 *
 *   file `log/start`
 *   at  size  field
 *    0     8  magic   "TIDESTA1"
 *    8     8  start   base of the first segment
 *   16     4  crc32   of bytes [0, 16)
 *
 *   0 ──"nothing before X is needed"──▶ X in the file, synced ──▶ files below X unlinked
 *                                            │ a crash in between
 *                                            └──▶ a start unlinks what is left below X
 *
 * Whatever subset of the unlinks a crash leaves, what lies below `start` is no part
 * of the log. No file, or a damaged one, means 0: then what is missing before the
 * first segment is reported as lost, which is an error on the loud side.
 *
 * @module
 */

import { decodeUtf8, encodeUtf8, getU64, setU64, viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import { type Disk, readRange, replaceFile } from "./base/disk.ts";
import { LOG_DIR, segmentBases, segmentPath, sidecarBases, sidecarPath } from "./segment.ts";
import { SNAPSHOT_DIR, snapshotOffsets, snapshotPath } from "./snapshot.ts";
import { TIMER_DIR, timerPath, timerRanges } from "./timer_layout.ts";

const NAME = "start";
const MAGIC = "TIDESTA1";
export const LOG_START_FORMAT = MAGIC;
const SIZE = 20;

export function encodeLogStart(start: number, crc32: Crc32): Uint8Array {
  const bytes = new Uint8Array(SIZE);
  bytes.set(encodeUtf8(MAGIC));
  setU64(viewOf(bytes), 8, start);
  viewOf(bytes).setUint32(16, crc32(bytes.subarray(0, 16)));
  return bytes;
}

/** Undefined when the bytes are not what was written. */
export function decodeLogStart(bytes: Uint8Array, crc32: Crc32): number | undefined {
  if (bytes.length !== SIZE || decodeUtf8(bytes.subarray(0, 8)) !== MAGIC) return undefined;
  if (viewOf(bytes).getUint32(16) !== crc32(bytes.subarray(0, 16))) return undefined;
  return getU64(viewOf(bytes), 8);
}

export async function readLogStart(disk: Disk, crc32: Crc32): Promise<number> {
  if (!(await disk.list(LOG_DIR)).includes(NAME)) return 0;
  const file = await disk.open(`${LOG_DIR}/${NAME}`, { create: false });
  try {
    return decodeLogStart(await readRange(file, 0, SIZE + 1), crc32) ?? 0;
  } finally {
    await file.close();
  }
}

/** @param about.dir where the segments lie. */
export function writeLogStart(
  disk: Disk,
  { start, dir = LOG_DIR }: { readonly start: number; readonly dir?: string },
  crc32: Crc32,
): Promise<void> {
  return replaceFile(disk, `${dir}/${NAME}`, [encodeLogStart(start, crc32)]);
}

/** Unlinks what lies below `start`: segments, sidecars, the timer files of these alone. */
export async function removeBefore(disk: Disk, start: number): Promise<void> {
  const names = await disk.list(LOG_DIR);
  const gone: string[] = [];
  for (const base of sidecarBases(names)) if (base < start) gone.push(sidecarPath(base));
  for (const base of segmentBases(names)) if (base < start) gone.push(segmentPath(base));
  for (const range of timerRanges(await disk.list(TIMER_DIR))) {
    if (range.to <= start) gone.push(timerPath(range));
  }
  if (gone.length === 0) return;
  await disk.syncDir(LOG_DIR); // who wrote the start may have been killed before it did
  for (const path of gone) await disk.remove(path);
  await disk.syncDir(LOG_DIR);
}

/**
 * At a start: a snapshot that ends before the log starts has nothing to be replayed
 * onto it, and must not become the base of the next one.
 */
export async function removeSnapshotsBefore(disk: Disk, start: number): Promise<void> {
  for (const offset of snapshotOffsets(await disk.list(SNAPSHOT_DIR))) {
    if (offset < start) await disk.remove(snapshotPath(offset));
  }
}
