/**
 * A Bloom filter over key hashes: says "surely not" or "maybe", in memory, so
 * that a key never seen costs no read.
 *
 * A power of two of bits, four of them per key, at h1 + i·h2 with h1 and h2 from
 * the hash itself, which is uniform already. Eight to sixteen bits per key when
 * made: 2.4 % to 0.2 % maybes that are none. A filter folds: one half laid over
 * the other is the filter of half the bits, with more maybes and never a wrong
 * "surely not"; that is how many of them fit one budget.
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import { viewOf } from "./base/bytes.ts";

const PROBES = 4;
const BYTES_PER_KEY = 1;
const SIZE_MIN = 64;

/** No filter is made larger: folding it takes some milliseconds in one go. */
export const BLOOM_SIZE_MAX = 32 * 1024 * 1024;

export class Bloom {
  #bits: Uint8Array;

  /** @param bits its bytes, a power of two of them; owned by the filter from here on. */
  constructor(bits: Uint8Array) {
    assert(isBloomSize(bits.length), "a filter has a power of two of bytes");
    this.#bits = bits;
  }

  static for(keyCount: number): Bloom {
    let size = SIZE_MIN;
    while (size < keyCount * BYTES_PER_KEY && size < BLOOM_SIZE_MAX) size *= 2;
    return new Bloom(new Uint8Array(size));
  }

  /** A view. */
  get bytes(): Uint8Array {
    return this.#bits;
  }

  add(keyHash: Uint8Array): void {
    const [first, step] = probesOf(keyHash);
    for (let i = 0, bit = first; i < PROBES; i++, bit = (bit + step) >>> 0) {
      const at = this.#byteOf(bit);
      this.#bits[at] = (this.#bits[at] as number) | (1 << (bit & 7));
    }
  }

  /** False: the key was never added. */
  maybe(keyHash: Uint8Array): boolean {
    const [first, step] = probesOf(keyHash);
    for (let i = 0, bit = first; i < PROBES; i++, bit = (bit + step) >>> 0) {
      if (((this.#bits[this.#byteOf(bit)] as number) & (1 << (bit & 7))) === 0) return false;
    }
    return true;
  }

  /** The byte of a bit; the low bits choose it, so that a fold keeps them. */
  #byteOf(bit: number): number {
    return (bit >>> 3) & (this.#bits.length - 1);
  }

  /** Halves it; returns whether there was anything to halve. */
  fold(): boolean {
    const half = this.#bits.length / 2;
    if (half < SIZE_MIN) return false;
    const folded = this.#bits.slice(0, half);
    const [words, other] = [wordsOf(folded), wordsOf(this.#bits.slice(half))];
    for (let i = 0; i < words.length; i++) words[i] = (words[i] as number) | (other[i] as number);
    this.#bits = folded;
    return true;
  }
}

/** Of a buffer of its own. */
function wordsOf(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.buffer, 0, bytes.length / 4);
}

export function isBloomSize(size: number): boolean {
  return size >= SIZE_MIN && size <= BLOOM_SIZE_MAX && (size & (size - 1)) === 0;
}

/** From the end of the hash: its beginning is what the keys are sorted by. */
function probesOf(keyHash: Uint8Array): [first: number, step: number] {
  const view = viewOf(keyHash);
  return [view.getUint32(8), view.getUint32(12) | 1];
}
