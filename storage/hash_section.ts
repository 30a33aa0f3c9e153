/**
 * Entries found by a 32-bit hash, as they lie in a sidecar: slots, and the chain of each in one piece.
 *
 *   slots    u32 × (slotCount + 1)   where the entries of each slot begin, and the end of the last;
 *                                    slotCount is a power of two, or 0 when there is no entry
 *   entries  sorted by hash, then place, then as they were pushed:
 *            hash u32 · place u32 · other words, u32 each
 *
 * A hash belongs to the slot of its first bits, so the slots follow each other as the entries do. To
 * find a hash takes one read of two numbers and one of its slot, which has four entries on average;
 * where one hash has many, its bounds are found by halving, and who reads on reads nothing else.
 *
 * There may be as many entries as a u32 counts: sorting compares nothing and has no other limit.
 *
 * @module
 */

import { viewOf } from "./base/bytes.ts";

/** The sections of a sidecar, in order, and the words of their entries: id_index.ts, keys.ts, ops.ts. */
export const WORDS = { ids: 2, keys: 5, ops: 3 } as const;
export type SectionName = keyof typeof WORDS;

/** What a sidecar's header says of a section. */
export interface SectionMark {
  readonly count: number;
  readonly slotCount: number;
}

export interface HashSection extends SectionMark {
  readonly bytes: Uint8Array;
}

export const NO_SECTION: HashSection = { bytes: new Uint8Array(0), count: 0, slotCount: 0 };

/** Where entries come from. */
interface Source {
  readonly words: number;
  readonly count: number;
  word(entry: number, index: number): number;
}

const ENTRIES_PER_SLOT = 4;

export function sectionSize({ count, slotCount }: SectionMark, words: number): number {
  return count === 0 ? 0 : 4 * (slotCount + 1) + 4 * words * count;
}

function slotOf(hash: number, slotCount: number): number {
  return Math.floor(hash / (TWO_32 / slotCount));
}

const TWO_32 = 2 ** 32;

export function encodeSection(source: Source): HashSection {
  const { count, words } = source;
  if (count === 0) return NO_SECTION;
  let slotCount = 1;
  while (slotCount * ENTRIES_PER_SLOT < count) slotCount *= 2;
  const bytes = new Uint8Array(sectionSize({ count, slotCount }, words));
  const view = viewOf(bytes);
  const order = orderOf(source);
  let at = 4 * (slotCount + 1);
  let slotsBegun = 0;
  for (let i = 0; i < count; i++) {
    const entry = order[i] as number;
    const slot = slotOf(source.word(entry, 0), slotCount);
    while (slotsBegun <= slot) view.setUint32(4 * slotsBegun++, i);
    for (let index = 0; index < words; index++, at += 4) {
      view.setUint32(at, source.word(entry, index));
    }
  }
  while (slotsBegun <= slotCount) view.setUint32(4 * slotsBegun++, count);
  return { bytes, count, slotCount };
}

/** The entries by hash, then place, then as they were pushed. */
function orderOf(source: Source): Uint32Array {
  const { count } = source;
  let order = Uint32Array.from({ length: count }, (_, i) => i);
  const hash = new Uint32Array(count);
  const place = new Uint32Array(count);
  let ascending = true;
  for (let i = 0; i < count; i++) {
    hash[i] = source.word(i, 0);
    place[i] = source.word(i, 1);
    ascending &&= i === 0 || (place[i - 1] as number) <= (place[i] as number);
  }
  if (!ascending) order = sortedBy(place, order);
  return sortedBy(hash, order);
}

const DIGIT_BITS = 11;
const DIGITS = 2 ** DIGIT_BITS;

/** Sorts `order` by the keys of its members, digit by digit; equal ones stay as they are. */
function sortedBy(keys: Uint32Array, order: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  let from = order;
  let to = new Uint32Array(order.length);
  for (let shift = 0; shift < 32; shift += DIGIT_BITS) {
    const starts = new Uint32Array(DIGITS + 1);
    const digit = (one: number) => ((keys[one] as number) >>> shift) & (DIGITS - 1);
    for (const one of from) starts[digit(one) + 1] = (starts[digit(one) + 1] as number) + 1;
    for (let i = 1; i <= DIGITS; i++) starts[i] = (starts[i] as number) + (starts[i - 1] as number);
    for (const one of from) {
      const at = starts[digit(one)] as number;
      starts[digit(one)] = at + 1;
      to[at] = one;
    }
    [from, to] = [to, from];
  }
  return from;
}

/** Consecutive entries. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** Entries that were read. */
export class Entries {
  readonly #view: DataView;
  readonly #words: number;

  constructor(bytes: Uint8Array, words: number) {
    this.#view = viewOf(bytes);
    this.#words = words;
  }

  get count(): number {
    return this.#view.byteLength / (4 * this.#words);
  }

  word(entry: number, index: number): number {
    return this.#view.getUint32(4 * (entry * this.#words + index));
  }
}

/** Entries read at once at the end of a search. */
const SEARCH_BLOCK = 256;

/** A section where it lies. */
export class SectionReader {
  readonly #about: SectionMark & { readonly position: number; readonly words: number };
  readonly #read: (position: number, size: number) => Promise<Uint8Array>;

  /** @param about.position of the section, which `read` understands. */
  constructor(
    about: SectionMark & { readonly position: number; readonly words: number },
    read: (position: number, size: number) => Promise<Uint8Array>,
  ) {
    this.#about = about;
    this.#read = read;
  }

  /** The entries with this hash, at places in `[from, to)`. */
  async find(
    hash: number,
    { from = 0, to = TWO_32 }: { readonly from?: number; readonly to?: number } = {},
  ): Promise<Range> {
    const { count, slotCount, position } = this.#about;
    if (count === 0) return { from: 0, to: 0 };
    const slot = slotOf(hash, slotCount);
    const bounds = viewOf(await this.#read(position + 4 * slot, 8));
    const within = { from: bounds.getUint32(0), to: bounds.getUint32(4) };
    const start = await this.#firstAt(within, { hash, place: from });
    return {
      from: start,
      to: await this.#firstAt({ ...within, from: start }, { hash, place: to }),
    };
  }

  /** The first entry of the range that is not before `target`. */
  async #firstAt(
    range: Range,
    target: { readonly hash: number; readonly place: number },
  ): Promise<number> {
    let { from, to } = range;
    const before = (entries: Entries, i: number) => {
      const hash = entries.word(i, 0);
      return hash < target.hash || (hash === target.hash && entries.word(i, 1) < target.place);
    };
    while (to - from > SEARCH_BLOCK) {
      const middle = Math.floor((from + to) / 2);
      const one = await this.entries({ from: middle, to: middle + 1 });
      if (before(one, 0)) from = middle + 1;
      else to = middle;
    }
    const rest = await this.entries({ from, to });
    let index = 0;
    while (index < rest.count && before(rest, index)) index++;
    return from + index;
  }

  async entries({ from, to }: Range): Promise<Entries> {
    const { slotCount, position, words } = this.#about;
    const at = position + 4 * (slotCount + 1) + 4 * words * from;
    const bytes = from < to ? await this.#read(at, 4 * words * (to - from)) : new Uint8Array(0);
    return new Entries(bytes, words);
  }
}
