/**
 * Segments: the files the CommitLog is made of.
 *
 * A segment is named by the logOffset of its first frame, 20 digits, and ends
 * where the next one begins; the last one is active. The file is pre-sized and
 * zero behind the last frame while active, cut to its frames when sealed.
 *
 *   at  size  field
 *    0     8  magic          "TIDELOG1"
 *    8     8  baseLogOffset  also the name
 *   16     8  firstStoredAt  ms, of the first frame: finds a segment by time
 *   24     4  prevCrc        crc32 of the last frame of the segment before
 *   28     4  crc32          of bytes [0, 28)
 *   32    32  zero
 *   64     …  frames; a logOffset lies at 64 + logOffset − base
 *
 * The header is synced before the first frame is written, the directory after
 * it. No unit crosses from one segment into the next.
 *
 * @module
 */

import { decodeUtf8, encodeUtf8, getU64, setU64, viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";

export const SEGMENT_HEADER_SIZE = 64;
const MAGIC = "TIDELOG1";
export const SEGMENT_FORMAT = MAGIC;

export interface SegmentHeader {
  readonly base: number;
  readonly firstStoredAt: number;
  readonly prevCrc: number;
}

export function encodeSegmentHeader(header: SegmentHeader, crc32: Crc32): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_HEADER_SIZE);
  const view = viewOf(bytes);
  bytes.set(encodeUtf8(MAGIC));
  setU64(view, 8, header.base);
  setU64(view, 16, header.firstStoredAt);
  view.setUint32(24, header.prevCrc);
  view.setUint32(28, crc32(bytes.subarray(0, 28)));
  return bytes;
}

/** Undefined when the bytes are no header, or a damaged one. */
export function decodeSegmentHeader(bytes: Uint8Array, crc32: Crc32): SegmentHeader | undefined {
  if (bytes.length < SEGMENT_HEADER_SIZE) return undefined;
  const view = viewOf(bytes);
  if (decodeUtf8(bytes.subarray(0, 8)) !== MAGIC) return undefined;
  if (view.getUint32(28) !== crc32(bytes.subarray(0, 28))) return undefined;
  return { base: getU64(view, 8), firstStoredAt: getU64(view, 16), prevCrc: view.getUint32(24) };
}

export const LOG_DIR = "log";

export function segmentPath(base: number): string {
  return `${LOG_DIR}/${String(base).padStart(20, "0")}.log`;
}

/** Of the segment to come, until it has a base. It ends as all that lies aside: a start removes it. */
export const SPARE_PATH = `${LOG_DIR}/next.tmp`;

/** A file of zeros that takes room until something needs it: see headroom.ts. */
export const BALLAST_PATH = "ballast";

export function sidecarPath(base: number): string {
  return `${LOG_DIR}/${String(base).padStart(20, "0")}.idx`;
}

/** The bases of the segments among `names`, ascending. */
export function segmentBases(names: readonly string[]): number[] {
  return basesOf(names, /^\d{20}\.log$/);
}

/** The bases of the segments whose sidecars are among `names`, ascending. */
export function sidecarBases(names: readonly string[]): number[] {
  return basesOf(names, /^\d{20}\.idx$/);
}

function basesOf(names: readonly string[], named: RegExp): number[] {
  return names
    .filter((name) => named.test(name))
    .map((name) => Number(name.slice(0, 20)))
    .sort((a, b) => a - b);
}
