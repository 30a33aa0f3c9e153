/**
 * Where the records lie that say what happened to a message: a table per young segment in memory
 * (ops.ts), the sidecars of the sealed ones.
 *
 * @module
 */

import type { Frame } from "./frame.ts";
import { type SectionReader, WORDS } from "./hash_section.ts";
import { HashTable } from "./hash_table.ts";
import { type About, indexOps, mayName } from "./ops.ts";
import { NO_SIDECARS, type Sidecars, withSidecar } from "./sidecars.ts";

export class OpIndex {
  readonly #young = new Map<number, HashTable>();
  #sidecars: Sidecars = NO_SIDECARS;

  open(sidecars: Sidecars): void {
    this.#sidecars = sidecars;
  }

  /** Takes in one confirmed frame of the segment at `base`. */
  apply(frame: Frame, base: number): void {
    let table = this.#young.get(base);
    if (!table) {
      table = new HashTable(WORDS.ops);
      this.#young.set(base, table);
    }
    indexOps(frame, { table, base });
  }

  /**
   * The first `max` records of the segment at `base` that may be about it, from logOffset `from` on:
   * their logOffsets, ascending.
   */
  async find(
    about: About,
    range: { readonly base: number; readonly from: number; readonly max: number },
  ): Promise<number[]> {
    const { base, from, max } = range;
    const wanted = { about, place: Math.max(0, from - base), max };
    const young = this.#young.get(base);
    const places = young
      ? findYoung(young, wanted)
      : await withSidecar(this.#sidecars, base, (sidecar) => findSealed(sidecar.ops, wanted));
    return (places ?? []).map((place) => base + place);
  }

  /** The sidecar answers for this segment from now on. */
  release(base: number): void {
    this.#young.delete(base);
  }
}

interface Wanted {
  readonly about: About;
  /** The least. */
  readonly place: number;
  readonly max: number;
}

function findYoung(table: HashTable, { about, place: least, max }: Wanted): number[] {
  const places: number[] = [];
  for (const entry of table.find(about.hash)) {
    const place = table.word(entry, 1);
    if (place < least) break; // a chain goes back in the log
    if (mayName(table.word(entry, 2), about) && places.at(-1) !== place) places.push(place);
  }
  return places.reverse().slice(0, max);
}

/** Entries read at once. */
const CHUNK = 512;

async function findSealed(section: SectionReader, wanted: Wanted): Promise<number[]> {
  const { about, max } = wanted;
  const places: number[] = [];
  const range = await section.find(about.hash, { from: wanted.place });
  for (let from = range.from; from < range.to && places.length < max; from += CHUNK) {
    const entries = await section.entries({ from, to: Math.min(range.to, from + CHUNK) });
    for (let i = 0; i < entries.count && places.length < max; i++) {
      const place = entries.word(i, 1);
      if (mayName(entries.word(i, 2), about) && places.at(-1) !== place) places.push(place);
    }
  }
  return places;
}
