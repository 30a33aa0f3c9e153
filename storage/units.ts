/**
 * The ConsumeQueue unit: one visible message of one queue. A unit's position in
 * its queue is its queueOffset, so it does not hold it.
 *
 *   at  size  field
 *    0     8  bodyLogOffset     the message record
 *    8     4  size              of its frame
 *   12     4  tagHash
 *   16     4  keyHash
 *   20     8  visibleLogOffset  the record that made it visible: the message
 *                               itself, or a reveal
 *   28     8  visibleAt         ms, leader time of that record
 *
 * Units of a queue are in ascending visibleLogOffset and visibleAt. A unit of
 * size 0 stands for a message lost to damage: its place is kept, nothing is
 * renumbered.
 *
 * @module
 */

import { getU64, setU64, viewOf } from "./base/bytes.ts";

export const UNIT_SIZE = 36;

export interface Unit {
  readonly bodyLogOffset: number;
  readonly size: number;
  readonly tagHash: number;
  readonly keyHash: number;
  readonly visibleLogOffset: number;
  readonly visibleAt: number;
}

/** Stands for messages lost to damage together with all that told of them. @param at of the one behind. */
export function lostUnit(at: Pick<Unit, "visibleLogOffset" | "visibleAt">): Unit {
  const { visibleLogOffset, visibleAt } = at;
  return { bodyLogOffset: 0, size: 0, tagHash: 0, keyHash: 0, visibleLogOffset, visibleAt };
}

/** Units side by side, in memory or read from a sidecar. */
export class Units {
  readonly #view: DataView;
  readonly count: number;

  constructor(bytes: Uint8Array) {
    this.#view = viewOf(bytes);
    this.count = Math.floor(bytes.length / UNIT_SIZE);
  }

  unit(index: number): Unit {
    const at = index * UNIT_SIZE;
    return {
      bodyLogOffset: getU64(this.#view, at),
      size: this.#view.getUint32(at + 8),
      tagHash: this.#view.getUint32(at + 12),
      keyHash: this.#view.getUint32(at + 16),
      visibleLogOffset: getU64(this.#view, at + 20),
      visibleAt: getU64(this.#view, at + 28),
    };
  }

  keyHash(index: number): number {
    return this.#view.getUint32(index * UNIT_SIZE + 16);
  }

  visibleLogOffset(index: number): number {
    return getU64(this.#view, index * UNIT_SIZE + 20);
  }

  visibleAt(index: number): number {
    return getU64(this.#view, index * UNIT_SIZE + 28);
  }

  /** The first index for which `reached` holds; `count` when for none. `reached` never turns false again. */
  firstWhere(reached: (index: number) => boolean): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (reached(middle)) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** A growing run of units. */
export class UnitBuffer {
  #bytes = new Uint8Array(4 * UNIT_SIZE);
  #view = viewOf(this.#bytes);
  count = 0;

  push(unit: Unit): void {
    const at = this.count * UNIT_SIZE;
    if (at === this.#bytes.length) this.#grow();
    setU64(this.#view, at, unit.bodyLogOffset);
    this.#view.setUint32(at + 8, unit.size);
    this.#view.setUint32(at + 12, unit.tagHash);
    this.#view.setUint32(at + 16, unit.keyHash);
    setU64(this.#view, at + 20, unit.visibleLogOffset);
    setU64(this.#view, at + 28, unit.visibleAt);
    this.count++;
  }

  #grow(): void {
    const larger = new Uint8Array(2 * this.#bytes.length);
    larger.set(this.#bytes);
    this.#bytes = larger;
    this.#view = viewOf(larger);
  }

  /** A view of all units, or of `count` from `from`. */
  slice(from = 0, count = this.count - from): Uint8Array {
    return this.#bytes.subarray(from * UNIT_SIZE, (from + count) * UNIT_SIZE);
  }
}
