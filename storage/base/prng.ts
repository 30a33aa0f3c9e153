/**
 * A seeded pseudo-random generator (mulberry32): the only source of chance in
 * simulations and property tests.
 *
 * @module
 */

export class Prng {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Returns an integer in `[0, limit)`. */
  below(limit: number): number {
    return this.word() % limit;
  }

  /** Returns 32 random bits as an unsigned integer. */
  word(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let word = this.#state;
    word = Math.imul(word ^ (word >>> 15), word | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return (word ^ (word >>> 14)) >>> 0;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  /** Returns one element of a non-empty list. */
  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }
}
