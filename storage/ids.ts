/**
 * Finding a message by its id: pairs of (hash of the id, place in the segment).
 *
 * The active segment appends pairs and looks through them all (0.2 ms at worst,
 * for it is asked seldom and appended to always); a sealed one keeps them sorted
 * by hash in its sidecar. A hash only nominates: whoever asks compares the id
 * and the topic in the message itself.
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import { viewOf } from "./base/bytes.ts";

/** hash u32, logOffset − base of the segment u32 */
export const ID_PAIR_SIZE = 8;

export class IdTable {
  #pairs = new Uint32Array(64);
  #count = 0;

  push(hash: number, place: number): void {
    if (2 * this.#count === this.#pairs.length) {
      const larger = new Uint32Array(2 * this.#pairs.length);
      larger.set(this.#pairs);
      this.#pairs = larger;
    }
    this.#pairs[2 * this.#count] = hash;
    this.#pairs[2 * this.#count + 1] = place;
    this.#count++;
  }

  /** Places of messages whose id has this hash, newest first. */
  find(hash: number): number[] {
    const places: number[] = [];
    for (let i = this.#count - 1; i >= 0; i--) {
      if (this.#pairs[2 * i] === hash) places.push(this.#pairs[2 * i + 1] as number);
    }
    return places;
  }

  /** The pairs sorted by hash, then place, big-endian: a section of the sidecar. */
  encode(): Uint8Array {
    assert(this.#count <= RANKS, "a segment holds fewer messages than there are ranks");
    const order = new Float64Array(this.#count); // hash · 2^21 ⊕ rank sorts natively, without a comparator
    for (let i = 0; i < this.#count; i++) order[i] = (this.#pairs[2 * i] as number) * RANKS + i;
    order.sort();
    const bytes = new Uint8Array(this.#count * ID_PAIR_SIZE);
    const view = viewOf(bytes);
    for (let i = 0; i < this.#count; i++) {
      const from = (order[i] as number) % RANKS;
      view.setUint32(i * ID_PAIR_SIZE, this.#pairs[2 * from] as number);
      view.setUint32(i * ID_PAIR_SIZE + 4, this.#pairs[2 * from + 1] as number);
    }
    return bytes;
  }
}

/** More messages than fit a segment of 128 MiB; hash · RANKS stays below 2^53. */
const RANKS = 2 ** 21;
