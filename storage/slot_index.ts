/**
 * Finding slots by a 32-bit hash: a table of slot numbers with open addressing,
 * four to eight bytes per slot. Hashes may repeat; slots are only ever added.
 *
 * @module
 */

export class SlotIndex {
  /** Slot + 1; 0 is free. */
  #table = new Uint32Array(64);
  #count = 0;
  readonly #hashOf: (slot: number) => number;

  /** @param hashOf of a slot that was added. */
  constructor(hashOf: (slot: number) => number) {
    this.#hashOf = hashOf;
  }

  add(slot: number): void {
    this.#count++;
    if (4 * this.#count > 3 * this.#table.length) this.#grow();
    this.#put(slot);
  }

  #put(slot: number): void {
    const mask = this.#table.length - 1;
    let at = this.#hashOf(slot) & mask;
    while (this.#table[at] !== 0) at = (at + 1) & mask;
    this.#table[at] = slot + 1;
  }

  #grow(): void {
    const before = this.#table;
    this.#table = new Uint32Array(2 * before.length);
    for (const entry of before) if (entry !== 0) this.#put(entry - 1);
  }

  /** The slots with this very hash, in no particular order. */
  find(hash: number): number[] {
    const found: number[] = [];
    const mask = this.#table.length - 1;
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const entry = this.#table[at] as number;
      if (entry === 0) return found;
      if (this.#hashOf(entry - 1) === hash) found.push(entry - 1);
    }
  }
}
