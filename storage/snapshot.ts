/**
 * The snapshot: the state derived from the log up to one logOffset, as a sorted
 * table of keys and values. It bounds how much of the log a start must walk; a
 * missing or damaged one costs time, never data. Two generations are kept.
 *
 *   file `snapshots/<logOffset, 20 digits>.snap`
 *   at  size  field
 *    0     8  magic       "TIDESNP3"
 *    8     8  logOffset   everything below it is in the table
 *   16     8  walkFrom    base of a segment: its consume queues are in the table
 *                         as they stood where that segment begins
 *   24     4  entryCount
 *   28     4  tableCrc    crc32 of bytes [64, end of file)
 *   32     4  headerCrc   crc32 of bytes [0, 32)
 *   36    28  zero
 *   64     …  entries in ascending order of key:
 *             keySize u16 · valueSize u32 · key · value
 *
 * A new generation is the one before, merged with the entries that changed since.
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import { concatBytes, decodeUtf8, encodeUtf8, getU64, setU64, viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import { DerivedDamage } from "./damage.ts";

export const SNAPSHOT_DIR = "snapshots";
const HEADER_SIZE = 64;
const MAGIC = "TIDESNP3";
export const SNAPSHOT_FORMAT = MAGIC;

export type Entry = readonly [key: Uint8Array, value: Uint8Array];
/** A value of undefined removes the key. */
export type Change = readonly [key: Uint8Array, value: Uint8Array | undefined];

export function snapshotPath(logOffset: number): string {
  return `${SNAPSHOT_DIR}/${String(logOffset).padStart(20, "0")}.snap`;
}

/** The logOffsets of the snapshots among `names`, newest first. */
export function snapshotOffsets(names: readonly string[]): number[] {
  return names
    .filter((name) => /^\d{20}\.snap$/.test(name))
    .map((name) => Number(name.slice(0, 20)))
    .sort((a, b) => b - a);
}

export interface Snapshot {
  /** Everything below it is in the table. */
  readonly logOffset: number;
  /** At most `logOffset`: from there on the consume queues are built again. */
  readonly walkFrom: number;
  /** In ascending order of key. */
  readonly entries: readonly Entry[];
}

export function encodeSnapshot(
  { logOffset, walkFrom, entries }: Snapshot,
  crc32: Crc32,
): Uint8Array {
  const parts: Uint8Array[] = [new Uint8Array(HEADER_SIZE)];
  for (const [key, value] of entries) {
    assert(key.length <= 0xffff, "a key fits 65 535 bytes");
    const sizes = new Uint8Array(6);
    viewOf(sizes).setUint16(0, key.length);
    viewOf(sizes).setUint32(2, value.length);
    parts.push(sizes, key, value);
  }
  const file = concatBytes(parts);
  const view = viewOf(file);
  file.set(encodeUtf8(MAGIC));
  setU64(view, 8, logOffset);
  setU64(view, 16, walkFrom);
  view.setUint32(24, entries.length);
  view.setUint32(28, crc32(file.subarray(HEADER_SIZE)));
  view.setUint32(32, crc32(file.subarray(0, 32)));
  return file;
}

/** Undefined when the file is not whole; keys and values are views. */
export function decodeSnapshot(file: Uint8Array, crc32: Crc32): Snapshot | undefined {
  if (file.length < HEADER_SIZE || decodeUtf8(file.subarray(0, 8)) !== MAGIC) return undefined;
  const view = viewOf(file);
  if (view.getUint32(32) !== crc32(file.subarray(0, 32))) return undefined;
  if (view.getUint32(28) !== crc32(file.subarray(HEADER_SIZE))) return undefined;
  const entries: Entry[] = [];
  for (let at = HEADER_SIZE, left = view.getUint32(24); left > 0; left--) {
    const keyAt = at + 6;
    const valueAt = keyAt + view.getUint16(at);
    const end = valueAt + view.getUint32(at + 2);
    entries.push([file.subarray(keyAt, valueAt), file.subarray(valueAt, end)]);
    at = end;
  }
  return { logOffset: getU64(view, 8), walkFrom: getU64(view, 16), entries };
}

/** A snapshot does not hold what was written: the one before it, and what changed since, does as well. */
export class SnapshotDamage extends DerivedDamage {
  override readonly name = "SnapshotDamage";
  readonly logOffset: number;

  constructor(logOffset: number) {
    super(`Cannot read ${snapshotPath(logOffset)}: it is damaged or gone`);
    this.logOffset = logOffset;
  }
}

/** Whether a snapshot is whole, told from its bytes as they come, in order. */
export class SnapshotCheck {
  readonly #crc32: Crc32;
  #header: Uint8Array | undefined;
  #tableCrc: number | undefined;

  constructor(crc32: Crc32) {
    this.#crc32 = crc32;
  }

  /** The first time the header at least. */
  take(bytes: Uint8Array): void {
    const table = this.#header ? bytes : bytes.subarray(HEADER_SIZE);
    this.#header ??= bytes.slice(0, HEADER_SIZE);
    this.#tableCrc = this.#crc32(table, this.#tableCrc);
  }

  get whole(): boolean {
    const header = this.#header;
    if (!header || header.length < HEADER_SIZE) return false;
    if (decodeUtf8(header.subarray(0, 8)) !== MAGIC) return false;
    const view = viewOf(header);
    const headerCrc = this.#crc32(header.subarray(0, 32));
    return view.getUint32(32) === headerCrc && view.getUint32(28) === this.#tableCrc;
  }
}

/** The key as a text that can be looked up. */
export function nameOf([key]: Change): string {
  return String.fromCharCode(...key);
}

/** The table after the changes. @param before in ascending order of key; @param changes in any order; of a key, the last one counts. */
export function mergeEntries(before: readonly Entry[], changes: Iterable<Change>): Entry[] {
  const latest = new Map<string, Change>();
  for (const change of changes) latest.set(nameOf(change), change);
  const sorted = [...latest.values()].sort(([a], [b]) => compareBytes(a, b));
  const merged: Entry[] = [];
  let next = 0;
  for (const [key, value] of sorted) {
    for (; next < before.length; next++) {
      const entry = before[next] as Entry;
      const order = compareBytes(entry[0], key);
      if (order > 0) break;
      if (order < 0) merged.push(entry);
    }
    if (value !== undefined) merged.push([key, value]);
  }
  for (; next < before.length; next++) merged.push(before[next] as Entry);
  return merged;
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const order = (a[i] as number) - (b[i] as number);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}
