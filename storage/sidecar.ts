/**
 * The sidecar of a sealed segment: its consume queue units by queue, its message ids, index keys and
 * ops. Derived from the segment (the links of its queues, and the keys of bodies that it reveals), so
 * a missing or damaged one is built again; immutable, so it is never locked.
 *
 * The file is this content in sealed blocks (blocks.ts); positions are in it:
 *
 *   at  size  field
 *    0     8  magic       "TIDEIDX2"; one of another build is built again, never misread
 *    8     8  base        logOffset of the segment
 *   16     8  end         logOffset behind its last frame
 *   24     8  directoryAt position
 *   32     4  queueCount
 *   36     4  keyedCount  messages published with an idempotency key
 *   40     8  timersUntil greatest dueAt of a timer or recall in the segment, 0 without:
 *                         until then there has to be a timer file (timer_layout.ts)
 *   48     4  heldCount   deferred messages with index keys: who reveals them has to read them
 *   52     4  zero
 *   56    24  three sections, each (count u32, slotCount u32): ids, keys, ops
 *   80     8  bodiesFrom  least logOffset of a body that a unit points at, base when all
 *                         lie in the segment; 0: not known, of an earlier build
 *   88     8  zero
 *   96     …  units, queue by queue (units.ts)
 *    …     …  ids (id_index.ts), keys (keys.ts), ops (ops.ts), each a section of hash_section.ts
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
import {
  type HashSection,
  type SectionMark,
  type SectionName,
  sectionSize,
  WORDS,
} from "./hash_section.ts";
import { UNIT_SIZE, type UnitBuffer } from "./units.ts";

export const SIDECAR_HEADER_SIZE = 96;
export const DIRECTORY_ENTRY_SIZE = 88;
const MAGIC = "TIDEIDX2";
export const SIDECAR_FORMAT = MAGIC;

export interface SidecarRun {
  readonly topicGen: number;
  readonly queueId: number;
  readonly first: number;
  readonly links: Links;
  readonly units: UnitBuffer;
}

const SECTION_NAMES = Object.keys(WORDS) as SectionName[];
const SECTIONS_AT = 56;

export interface SidecarContent {
  readonly base: number;
  readonly end: number;
  /** In order of (topicGen, queueId). */
  readonly runs: readonly SidecarRun[];
  readonly sections: { readonly [S in SectionName]: HashSection };
  readonly keyedCount: number;
  readonly heldCount: number;
  readonly timersUntil: number;
  readonly bodiesFrom: number;
}

/** The content of the file, in parts that follow each other. */
export function sidecarParts(content: SidecarContent): Uint8Array[] {
  const { runs, sections } = content;
  const directory = new Uint8Array(runs.length * DIRECTORY_ENTRY_SIZE);
  const units: Uint8Array[] = [];
  let position = SIDECAR_HEADER_SIZE;
  for (const [i, run] of runs.entries()) {
    const { count } = run.units;
    writeEntry(viewOf(directory), i * DIRECTORY_ENTRY_SIZE, { ...run, unitsAt: position, count });
    units.push(run.units.slice());
    position += count * UNIT_SIZE;
  }
  const hashed = SECTION_NAMES.map((name) => sections[name].bytes);
  for (const { length } of hashed) position += length;
  return [encodeHeader(content, position), ...units, ...hashed, directory];
}

/** The file. */
export function encodeSidecar(content: SidecarContent, crc32: Crc32): Uint8Array {
  return sealBlocks(concatBytes(sidecarParts(content)), crc32);
}

function encodeHeader(content: SidecarContent, directoryAt: number): Uint8Array {
  const bytes = new Uint8Array(SIDECAR_HEADER_SIZE);
  const header = viewOf(bytes);
  bytes.set(encodeUtf8(MAGIC));
  setU64(header, 8, content.base);
  setU64(header, 16, content.end);
  setU64(header, 24, directoryAt);
  header.setUint32(32, content.runs.length);
  header.setUint32(36, content.keyedCount);
  setU64(header, 40, content.timersUntil);
  header.setUint32(48, content.heldCount);
  for (const [i, name] of SECTION_NAMES.entries()) {
    header.setUint32(SECTIONS_AT + 8 * i, content.sections[name].count);
    header.setUint32(SECTIONS_AT + 8 * i + 4, content.sections[name].slotCount);
  }
  setU64(header, 80, content.bodiesFrom);
  return bytes;
}

export interface SidecarHeader {
  readonly base: number;
  readonly end: number;
  readonly directoryAt: number;
  readonly queueCount: number;
  readonly keyedCount: number;
  readonly heldCount: number;
  readonly timersUntil: number;
  readonly bodiesFrom: number;
  readonly sections: { readonly [S in SectionName]: SectionPlace };
}

/** Where a section lies, and how. */
export interface SectionPlace extends SectionMark {
  readonly position: number;
  readonly words: number;
}

/** Undefined when the bytes are no header, or one of another build. */
export function decodeSidecarHeader(bytes: Uint8Array): SidecarHeader | undefined {
  if (bytes.length < SIDECAR_HEADER_SIZE) return undefined;
  if (decodeUtf8(bytes.subarray(0, 8)) !== MAGIC) return undefined;
  const view = viewOf(bytes);
  const directoryAt = getU64(view, 24);
  let position = directoryAt;
  const place = (name: SectionName): SectionPlace => {
    const at = SECTIONS_AT + 8 * SECTION_NAMES.indexOf(name);
    const mark = { count: view.getUint32(at), slotCount: view.getUint32(at + 4) };
    position -= sectionSize(mark, WORDS[name]);
    return { ...mark, position, words: WORDS[name] };
  };
  const [ops, keys, ids] = [place("ops"), place("keys"), place("ids")]; // from the directory back
  return {
    base: getU64(view, 8),
    end: getU64(view, 16),
    directoryAt,
    queueCount: view.getUint32(32),
    keyedCount: view.getUint32(36),
    timersUntil: getU64(view, 40),
    heldCount: view.getUint32(48),
    bodiesFrom: getU64(view, 80),
    sections: { ids, keys, ops },
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
