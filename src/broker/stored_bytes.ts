/**
 * How many bytes a topic stores, and where it would have to be cut to store fewer.
 *
 *   queue 0   │ chunk │ chunk │ chunk │··· not counted yet
 *   queue 1      │ chunk  │ chunk │···
 *                ▲ a cut lies where a chunk begins
 *
 * Only for topics with a bound in bytes. Units are counted as they are found, each
 * once, into chunks of a small part of the bound; after a start they are counted
 * anew. What a cut leaves of a chunk is not counted any more, so a topic keeps its
 * bound at least, and a little more.
 *
 * Deterministic: whoever reads the units hands them over.
 *
 * @module
 */

import type { Unit } from "../../storage/mod.ts";

/** Chunks of a topic, about: what is kept too much is one per queue at most. */
const CHUNKS = 256;

interface Chunk {
  /** The log offset that made its first message visible. */
  readonly logOffset: number;
  bytes: number;
}

export class StoredBytes {
  readonly #chunkBytes: number;
  readonly #queues: Chunk[][];
  readonly #counted: number[];
  #total = 0;

  constructor(about: { readonly limit: number; readonly firsts: readonly number[] }) {
    this.#chunkBytes = about.limit / CHUNKS;
    this.#counted = [...about.firsts];
    this.#queues = about.firsts.map(() => []);
  }

  /** At least so many bytes are stored. */
  get total(): number {
    return this.#total;
  }

  /** The first queueOffset of a queue that was not counted. */
  counted(queueId: number): number {
    return this.#counted[queueId] ?? 0;
  }

  count(queueId: number, slice: { readonly firstOffset: number; readonly units: readonly Unit[] }) {
    const chunks = (this.#queues[queueId] ??= []);
    for (const { size, visibleLogOffset } of slice.units) {
      const last = chunks.at(-1);
      if (last && last.bytes < this.#chunkBytes) last.bytes += size;
      else chunks.push({ logOffset: visibleLogOffset, bytes: size });
      this.#total += size;
    }
    this.#counted[queueId] = slice.firstOffset + slice.units.length;
  }

  /** The log offset below which all can go so that `limit` bytes are left at least; undefined: nothing can. */
  cutFor(limit: number): number | undefined {
    let cut: number | undefined;
    for (let oldest = this.#oldest(); oldest; oldest = this.#oldest()) {
      const [chunk] = oldest as [Chunk];
      if (this.#total - chunk.bytes < limit) break;
      this.#total -= chunk.bytes;
      oldest.shift();
      cut = this.#oldest()?.[0]?.logOffset ?? chunk.logOffset;
    }
    return cut;
  }

  /** The queue whose first chunk begins first. */
  #oldest(): Chunk[] | undefined {
    let found: Chunk[] | undefined;
    for (const chunks of this.#queues) {
      const [first] = chunks;
      if (first && first.logOffset < (found?.[0]?.logOffset ?? Infinity)) found = chunks;
    }
    return found;
  }
}
