/**
 * Entries found by a 32-bit hash: the index of a young segment, in memory, as it grows.
 *
 *   heads    u32 × 4096              the newest entry of each slot, + 1; 0 is none
 *   blocks   1024 entries each, of   hash · place · the other words · previous of its slot, + 1
 *
 * A slot's entries are a chain from the newest back. Nothing is ever moved, so that a push costs
 * the same however many there are. A sealed segment has the same entries in its sidecar
 * (hash_section.ts); {@linkcode HashTable.encode} is the way there.
 *
 * Words are u32; the first is the hash, the second the place in the segment.
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import { encodeSection, type HashSection } from "./hash_section.ts";

const SLOTS = 4096;
const BLOCK_ENTRIES = 1024;

export class HashTable {
  /** Words of an entry. */
  readonly words: number;
  readonly #blocks: Uint32Array[] = [];
  #heads: Uint32Array | undefined;
  count = 0;

  /** @param words of an entry, 2 to 5. */
  constructor(words: number) {
    assert(words >= 2 && words <= 5, "an entry has 2 to 5 words");
    this.words = words;
  }

  push(hash: number, place: number, third = 0, fourth = 0, fifth = 0): void {
    const { words } = this;
    const index = this.count % BLOCK_ENTRIES;
    if (index === 0) this.#blocks.push(new Uint32Array(BLOCK_ENTRIES * (words + 1)));
    const heads = (this.#heads ??= new Uint32Array(SLOTS));
    const block = this.#blocks.at(-1) as Uint32Array;
    const at = index * (words + 1);
    const slot = hash & (SLOTS - 1);
    block[at] = hash;
    block[at + 1] = place;
    if (words > 2) block[at + 2] = third;
    if (words > 3) block[at + 3] = fourth;
    if (words > 4) block[at + 4] = fifth;
    block[at + words] = heads[slot] as number;
    heads[slot] = ++this.count;
  }

  word(entry: number, index: number): number {
    const block = this.#blocks[Math.floor(entry / BLOCK_ENTRIES)] as Uint32Array;
    return block[(entry % BLOCK_ENTRIES) * (this.words + 1) + index] as number;
  }

  /** The entries with this hash, newest first. */
  *find(hash: number): Generator<number, void, void> {
    let next = this.#heads?.[hash & (SLOTS - 1)] ?? 0;
    while (next !== 0) {
      const entry = next - 1;
      if (this.word(entry, 0) === hash) yield entry;
      next = this.word(entry, this.words);
    }
  }

  /** A section of the sidecar. */
  encode(): HashSection {
    return encodeSection(this);
  }
}
