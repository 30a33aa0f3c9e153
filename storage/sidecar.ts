/**
 * The sidecar of a sealed segment: its consume queue units by queue, and its
 * message ids. Derived from the segment alone (and the links of its queues), so
 * a missing or damaged one is built again; immutable, so it is never locked.
 *
 * The file is this content in sealed blocks (blocks.ts); positions are in it:
 *
 *   at  size  field
 *    0     8  magic       "TIDEIDX1"
 *    8     8  base        logOffset of the segment
 *   16     8  end         logOffset behind its last frame
 *   24     8  directoryAt position
 *   32     4  queueCount
 *   36     4  idCount
 *   40     4  keyedCount  messages published with an idempotency key
 *   44     4  zero
 *   48     8  timersUntil greatest dueAt of a timer or recall in the segment, 0 without:
 *                         until then there has to be a timer file (timer_layout.ts)
 *   56     8  bodiesFrom  least logOffset of a body that a unit points at, base when all
 *                         lie in the segment; 0: not known, of an earlier build
 *   64     …  units, queue by queue (units.ts)
 *    …     …  ids: (hash u32, place u32)*, sorted (ids.ts)
 *    …     …  directory: one entry of 88 bytes per queue, by (topicGen, queueId):
 *               topicGen u64 · queueId u32 · count u32 · first u64 · unitsAt u64 ·
 *               ordinal u32 · zero u32 · three links of (base i64, first u64):
 *               previous, skip16, skip256; base −1 for none
 *
 * @module
 */

import {
  concatBytes,
  decodeUtf8,
  encodeUtf8,
  getI64,
  getU64,
  setI64,
  setU64,
  viewOf,
} from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import { sealBlocks } from "./blocks.ts";
import type { Link, Links, QueueMark } from "./consume_queues.ts";
import { ID_PAIR_SIZE } from "./ids.ts";
import { UNIT_SIZE, type UnitBuffer } from "./units.ts";

export const SIDECAR_HEADER_SIZE = 64;
export const DIRECTORY_ENTRY_SIZE = 88;
const MAGIC = "TIDEIDX1";

export interface SidecarRun {
  readonly topicGen: number;
  readonly queueId: number;
  readonly first: number;
  readonly links: Links;
  readonly units: UnitBuffer;
}

/** @param content.runs in order of (topicGen, queueId). */
export function encodeSidecar(
  content: {
    readonly base: number;
    readonly end: number;
    readonly runs: readonly SidecarRun[];
    readonly ids: Uint8Array;
    readonly keyedCount?: number;
    readonly timersUntil: number;
    readonly bodiesFrom?: number;
  },
  crc32: Crc32,
): Uint8Array {
  const directory = new Uint8Array(content.runs.length * DIRECTORY_ENTRY_SIZE);
  const view = viewOf(directory);
  const sections: Uint8Array[] = [];
  let position = SIDECAR_HEADER_SIZE;
  content.runs.forEach((run, i) => {
    writeEntry(view, i * DIRECTORY_ENTRY_SIZE, {
      ...run,
      unitsAt: position,
      count: run.units.count,
    });
    sections.push(run.units.slice());
    position += run.units.count * UNIT_SIZE;
  });
  sections.push(content.ids, directory);

  const bytes = concatBytes([new Uint8Array(SIDECAR_HEADER_SIZE), ...sections]);
  const header = viewOf(bytes);
  bytes.set(encodeUtf8(MAGIC));
  setU64(header, 8, content.base);
  setU64(header, 16, content.end);
  setU64(header, 24, position + content.ids.length);
  header.setUint32(32, content.runs.length);
  header.setUint32(36, content.ids.length / ID_PAIR_SIZE);
  header.setUint32(40, content.keyedCount ?? 0);
  setU64(header, 48, content.timersUntil);
  setU64(header, 56, content.bodiesFrom ?? 0);
  return sealBlocks(bytes, crc32);
}

export interface SidecarHeader {
  readonly base: number;
  readonly end: number;
  readonly directoryAt: number;
  readonly queueCount: number;
  readonly idCount: number;
  readonly keyedCount: number;
  readonly timersUntil: number;
  readonly bodiesFrom: number;
}

/** Undefined when the bytes are no header. */
export function decodeSidecarHeader(bytes: Uint8Array): SidecarHeader | undefined {
  if (bytes.length < SIDECAR_HEADER_SIZE) return undefined;
  if (decodeUtf8(bytes.subarray(0, 8)) !== MAGIC) return undefined;
  const view = viewOf(bytes);
  return {
    base: getU64(view, 8),
    end: getU64(view, 16),
    directoryAt: getU64(view, 24),
    queueCount: view.getUint32(32),
    idCount: view.getUint32(36),
    keyedCount: view.getUint32(40),
    timersUntil: getU64(view, 48),
    bodiesFrom: getU64(view, 56),
  };
}

export interface DirectoryEntry {
  readonly first: number;
  readonly count: number;
  /** Position of its units. */
  readonly unitsAt: number;
  readonly links: Links;
}

function writeEntry(
  view: DataView,
  at: number,
  entry: DirectoryEntry & { readonly topicGen: number; readonly queueId: number },
): void {
  setU64(view, at, entry.topicGen);
  view.setUint32(at + 8, entry.queueId);
  view.setUint32(at + 12, entry.count);
  setU64(view, at + 16, entry.first);
  setU64(view, at + 24, entry.unitsAt);
  writeLinks(view, at + 32, entry.links);
}

export const LINKS_SIZE = 56;

export function writeLinks(view: DataView, at: number, links: Links): void {
  view.setUint32(at, links.ordinal);
  [links.previous, links.skip16, links.skip256].forEach((link, i) => {
    setI64(view, at + 8 + i * 16, link?.base ?? -1);
    setU64(view, at + 16 + i * 16, link?.first ?? 0);
  });
}

export function readLinks(view: DataView, at: number): Links {
  const link = (i: number): Link | undefined => {
    const base = getI64(view, at + 8 + i * 16);
    return base === -1 ? undefined : { base, first: getU64(view, at + 16 + i * 16) };
  };
  return { ordinal: view.getUint32(at), previous: link(0), skip16: link(1), skip256: link(2) };
}

function readEntry(view: DataView, at: number): DirectoryEntry {
  return {
    count: view.getUint32(at + 12),
    first: getU64(view, at + 16),
    unitsAt: getU64(view, at + 24),
    links: readLinks(view, at + 32),
  };
}

/** The queues of a directory, as they stood where the segment begins. */
export function marksOf(directory: Uint8Array): QueueMark[] {
  const view = viewOf(directory);
  return Array.from({ length: directory.length / DIRECTORY_ENTRY_SIZE }, (_, i) => {
    const at = i * DIRECTORY_ENTRY_SIZE;
    const { first, links } = readEntry(view, at);
    const queue = { topicGen: getU64(view, at), queueId: view.getUint32(at + 8) };
    return { ...queue, start: first, end: first, links };
  });
}

/** The queues of a directory, from the `first`th on, with the end of their units there. */
export function* endsIn(
  directory: Uint8Array,
  first = 0,
): Generator<{ readonly topicGen: number; readonly queueId: number; readonly end: number }> {
  const view = viewOf(directory);
  for (let at = first * DIRECTORY_ENTRY_SIZE; at < directory.length; at += DIRECTORY_ENTRY_SIZE) {
    const end = getU64(view, at + 16) + view.getUint32(at + 12);
    yield { topicGen: getU64(view, at), queueId: view.getUint32(at + 8), end };
  }
}

/** Finds a queue in a directory by binary search; undefined when it is not there. */
export function findEntry(
  directory: Uint8Array,
  queue: { readonly topicGen: number; readonly queueId: number },
): DirectoryEntry | undefined {
  const view = viewOf(directory);
  let low = 0;
  let high = directory.length / DIRECTORY_ENTRY_SIZE;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const at = middle * DIRECTORY_ENTRY_SIZE;
    const order = getU64(view, at) - queue.topicGen || view.getUint32(at + 8) - queue.queueId;
    if (order === 0) return readEntry(view, at);
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return undefined;
}
