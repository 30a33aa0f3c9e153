/**
 * The KeyIndex: messages by their index keys, as they became visible. A table per young segment in
 * memory (keys.ts), the sidecars of the sealed ones.
 *
 * @module
 */

import type { Frame } from "./frame.ts";
import type { SectionReader } from "./hash_section.ts";
import {
  compareKeyPlaces,
  hashesOf,
  type KeyEntry,
  type KeyPlace,
  KeyTable,
  readKeyEntry,
} from "./keys.ts";
import { KINDS } from "./records/mod.ts";
import type { SidecarFile } from "./sidecar_file.ts";
import { NO_SIDECARS, type Sidecars, withSidecar } from "./sidecars.ts";

const NONE: readonly number[] = [];

export class KeyIndex {
  readonly #young = new Map<number, KeyTable>();
  /** Sealed segments with deferred messages that have index keys, in order. */
  #holding: { readonly base: number; readonly end: number }[] = [];
  #sidecars: Sidecars = NO_SIDECARS;

  open(sidecars: Sidecars): void {
    this.#sidecars = sidecars;
  }

  /** There is a sidecar of a sealed segment. */
  know({ base, end, heldCount }: SidecarFile): void {
    this.#holding = this.#holding.filter((one) => one.base !== base);
    if (heldCount === 0) return;
    this.#holding.push({ base, end });
    this.#holding.sort((a, b) => a.base - b.base);
  }

  /** The log starts at `start`, a segment's base. */
  forgetBefore(start: number): void {
    this.#holding = this.#holding.filter(({ base }) => base >= start);
  }

  /** The bases of segments with deferred messages that have index keys. */
  get holding(): readonly number[] {
    const young = [...this.#young.values()].filter(({ heldCount }) => heldCount > 0);
    return [...this.#holding, ...young].map(({ base }) => base);
  }

  /** Takes in one confirmed frame of the segment at `base`. */
  apply(frame: Frame, base: number): void {
    if (frame.kind === KINDS.message.id || frame.kind === KINDS.carry.id)
      this.#table(base).applyMessage(frame);
    else if (frame.kind === KINDS.reveal.id && this.#holdsAny()) {
      const { items = [] } = KINDS.reveal.decode(frame.payload) ?? {};
      this.#table(base).applyReveal(items, frame.logOffset, (body) => this.#keysOf(body));
    }
  }

  #table(base: number): KeyTable {
    let table = this.#young.get(base);
    if (!table) {
      table = new KeyTable(base);
      this.#young.set(base, table);
    }
    return table;
  }

  #holdsAny(): boolean {
    if (this.#holding.length > 0) return true;
    for (const { heldCount } of this.#young.values()) if (heldCount > 0) return true;
    return false;
  }

  #keysOf(bodyLogOffset: number): readonly number[] | undefined {
    for (const table of this.#young.values()) {
      const held = table.heldBy(bodyLogOffset);
      if (held) return held;
    }
    return this.#mayHold(bodyLogOffset) ? undefined : NONE;
  }

  #mayHold(logOffset: number): boolean {
    let low = 0;
    let high = this.#holding.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#holding[middle] as { end: number }).end <= logOffset) low = middle + 1;
      else high = middle;
    }
    const found = this.#holding[low];
    return found !== undefined && found.base <= logOffset;
  }

  /**
   * Up to `max` entries of the segment at `base` that may have the key, the last to become visible
   * first; with `before`, only such as became visible before that.
   *
   * @param key.hash `stableHash` of it.
   */
  async find(
    key: { readonly topicGen: number; readonly hash: number },
    range: { readonly base: number; readonly before: KeyPlace | undefined; readonly max: number },
  ): Promise<KeyEntry[]> {
    const hashes = hashesOf(key.topicGen, key.hash);
    const young = this.#young.get(range.base);
    if (young) return findYoung(young, { ...range, hashes });
    const read = (sidecar: SidecarFile) => findSealed(sidecar.keys, { ...range, hash: hashes[0] });
    return (await withSidecar(this.#sidecars, range.base, read)) ?? [];
  }

  /** The sidecar answers for this segment from now on. */
  release(base: number): void {
    this.#young.delete(base);
  }
}

interface Wanted {
  readonly before: KeyPlace | undefined;
  readonly max: number;
}

function isBefore(entry: KeyEntry, { before }: Wanted): boolean {
  return before === undefined || compareKeyPlaces(entry, before) < 0;
}

function findYoung(
  { entries }: KeyTable,
  wanted: Wanted & { readonly hashes: readonly number[] },
): KeyEntry[] {
  const found: KeyEntry[] = [];
  for (const hash of wanted.hashes) {
    let left = wanted.max;
    for (const index of entries.find(hash)) {
      if (left === 0) break;
      const entry = readKeyEntry(entries, index);
      if (!isBefore(entry, wanted)) continue;
      found.push(entry);
      left--;
    }
  }
  return found.sort((a, b) => compareKeyPlaces(b, a)).slice(0, wanted.max);
}

async function findSealed(
  section: SectionReader,
  wanted: Wanted & { readonly hash: number },
): Promise<KeyEntry[]> {
  const { before, max, hash } = wanted;
  const range = await section.find(hash, before && { to: before.place + 1 });
  const found: KeyEntry[] = [];
  for (let to = range.to; to > range.from && found.length < max; ) {
    const from = Math.max(range.from, to - max);
    const entries = await section.entries({ from, to });
    for (let i = entries.count - 1; i >= 0 && found.length < max; i--) {
      const entry = readKeyEntry(entries, i);
      if (isBefore(entry, wanted)) found.push(entry);
    }
    to = from;
  }
  return found;
}
