/**
 * A dedupe run: the idempotency keys of some neighbouring sealed segments, each
 * with what it takes to give the first answer again, sorted by key hash. It
 * refers to nothing: retention may remove the segments before the window ends.
 *
 *   file `dedupe/<from, 20 digits>-<to, 20 digits>.run`; its content in sealed
 *   blocks (blocks.ts), of 4092 bytes each:
 *
 *   block 0        header
 *     0     8  magic        "TIDEDUP1"
 *     8     8  from         logOffset where its first segment begins
 *    16     8  to           logOffset where its last segment ends
 *    24     8  newest       the greatest publishedAt, ms; 0 when it is empty
 *    32     8  entryCount
 *    40     4  blockCount   of entries
 *    44     4  bloomSize    bytes (bloom.ts)
 *   block 1…       entries in ascending order of keyHash; none crosses blocks
 *     0     2  count
 *     2     …  entries (below), then zero
 *   then           the filter, to the end
 *
 *   entry
 *     0    16  keyHash      distinct
 *    16     8  fingerprint  of body and attributes
 *    24     8  publishedAt  ms, leader time
 *    32     8  queueOffset  all ones: deferred, not visible when it was answered
 *    40     8  deliverAt    ms; 0 for none
 *    48     2  queueId
 *    50     1  idSize
 *    51     …  id, UTF-8
 *
 * Key hashes are uniform, so a key's block is found by its value, without an
 * index: see dedupe_run_file.ts. A run is immutable and written aside; a damaged
 * or missing one is built again from its segments while they are there. One that is
 * damaged when some of them are gone has a file `.left` beside it (dedupe_runs.ts).
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import { decodeUtf8, encodeUtf8, getI64, getU64, setI64, setU64, viewOf } from "./base/bytes.ts";
import { KEY_HASH_SIZE } from "./dedupe_table.ts";

export const DEDUPE_DIR = "dedupe";
const MAGIC = "TIDEDUP1";
export const RUN_FORMAT = MAGIC;
export const FINGERPRINT_SIZE = 8;
export const RUN_HEADER_SIZE = 48;
export const COUNT_SIZE = 2;
const ENTRY_FIXED_SIZE = 51;

/** The log offsets between which its segments lie. */
/** A segment that is complete. */
export interface SealedSegment {
  readonly base: number;
  readonly end: number;
}

export interface RunRange {
  readonly from: number;
  readonly to: number;
}

export function runPath({ from, to }: RunRange): string {
  const digits = (offset: number) => String(offset).padStart(20, "0");
  return `${DEDUPE_DIR}/${digits(from)}-${digits(to)}.run`;
}

/** Of an empty file: the run is damaged, and is left alone. */
export function leftPath(range: RunRange): string {
  return runPath(range).replace(/run$/, "left");
}

/** The runs among `names`, oldest first, of those that begin alike the longest first. */
export function runRanges(names: readonly string[]): RunRange[] {
  return names
    .filter((name) => /^\d{20}-\d{20}\.run$/.test(name))
    .map((name) => ({ from: Number(name.slice(0, 20)), to: Number(name.slice(21, 41)) }))
    .sort((a, b) => a.from - b.from || b.to - a.to);
}

/** What a run covers that is made of these. */
export function mergedRange(ranges: readonly RunRange[]): RunRange {
  return {
    from: Math.min(...ranges.map(({ from }) => from)),
    to: Math.max(...ranges.map(({ to }) => to)),
  };
}

export interface RunHeader extends RunRange {
  readonly newest: number;
  readonly entryCount: number;
  readonly blockCount: number;
  readonly bloomSize: number;
}

export function encodeRunHeader(header: RunHeader): Uint8Array {
  const bytes = new Uint8Array(RUN_HEADER_SIZE);
  const view = viewOf(bytes);
  bytes.set(encodeUtf8(MAGIC));
  setU64(view, 8, header.from);
  setU64(view, 16, header.to);
  setU64(view, 24, header.newest);
  setU64(view, 32, header.entryCount);
  view.setUint32(40, header.blockCount);
  view.setUint32(44, header.bloomSize);
  return bytes;
}

/** Undefined when the bytes are no header. */
export function decodeRunHeader(bytes: Uint8Array): RunHeader | undefined {
  if (bytes.length < RUN_HEADER_SIZE || decodeUtf8(bytes.subarray(0, 8)) !== MAGIC)
    return undefined;
  const view = viewOf(bytes);
  return {
    from: getU64(view, 8),
    to: getU64(view, 16),
    newest: getU64(view, 24),
    entryCount: getU64(view, 32),
    blockCount: view.getUint32(40),
    bloomSize: view.getUint32(44),
  };
}

/** What is remembered of a message that was published with a key. */
export interface DedupeEntry {
  readonly keyHash: Uint8Array;
  readonly fingerprint: Uint8Array;
  readonly id: string;
  readonly queueId: number;
  /** −1: deferred. */
  readonly queueOffset: number;
  readonly publishedAt: number;
  readonly deliverAt?: number | undefined;
}

export function encodeDedupeEntry(entry: DedupeEntry): Uint8Array {
  const id = encodeUtf8(entry.id);
  assert(id.length <= 0xff, "an id fits 255 bytes");
  assert(entry.keyHash.length === KEY_HASH_SIZE, "a key hash has 16 bytes");
  assert(entry.fingerprint.length === FINGERPRINT_SIZE, "a fingerprint has 8 bytes");
  const bytes = new Uint8Array(ENTRY_FIXED_SIZE + id.length);
  const view = viewOf(bytes);
  bytes.set(entry.keyHash);
  bytes.set(entry.fingerprint, 16);
  setU64(view, 24, entry.publishedAt);
  setI64(view, 32, entry.queueOffset);
  setU64(view, 40, entry.deliverAt ?? 0);
  view.setUint16(48, entry.queueId);
  bytes[50] = id.length;
  bytes.set(id, ENTRY_FIXED_SIZE);
  return bytes;
}

/** Entries side by side, as they lie in a block or a segment's buffer: read in place. */
export const EntryFields = {
  size: (bytes: Uint8Array, at: number) => ENTRY_FIXED_SIZE + (bytes[at + 50] as number),
  publishedAt: (view: DataView, at: number) => getU64(view, at + 24),
} as const;

/** The entry at `at`; its bytes are copies. */
export function decodeDedupeEntry(bytes: Uint8Array, at: number): DedupeEntry {
  const view = viewOf(bytes);
  const deliverAt = getU64(view, at + 40);
  const idAt = at + ENTRY_FIXED_SIZE;
  return {
    keyHash: bytes.slice(at, at + 16),
    fingerprint: bytes.slice(at + 16, at + 24),
    id: decodeUtf8(bytes.subarray(idAt, idAt + (bytes[at + 50] as number))),
    queueId: view.getUint16(at + 48),
    queueOffset: getI64(view, at + 32),
    publishedAt: getU64(view, at + 24),
    ...(deliverAt !== 0 && { deliverAt }),
  };
}

/** Orders key hashes, at places in bytes. */
export function compareKeys(
  a: { readonly bytes: Uint8Array; readonly at: number },
  b: { readonly bytes: Uint8Array; readonly at: number },
): number {
  for (let i = 0; i < KEY_HASH_SIZE; i++) {
    const order = (a.bytes[a.at + i] as number) - (b.bytes[b.at + i] as number);
    if (order !== 0) return order;
  }
  return 0;
}
