/**
 * Whether a hash may be among many: a Bloom filter of two bytes per hash, which
 * says yes for one in a thousand that are not there, and never no for one that is.
 *
 * The eight bits of a hash lie at (hash + i · step) mod size, i from 0 to 7, where
 * step is the hash mixed once more, and odd. Bit n is bit n mod 8 of byte ⌊n/8⌋.
 *
 * @module
 */

const BYTES_PER_HASH = 2;
const PROBES = 8;

/** How many bytes the filter of so many hashes has. */
export function filterSize(count: number): number {
  return count * BYTES_PER_HASH;
}

export function addToFilter(filter: Uint8Array, hash: number): void {
  const bits = filter.length * 8;
  const step = stepOf(hash);
  for (let i = 0; i < PROBES; i++) {
    const bit = (hash + i * step) % bits;
    const at = Math.floor(bit / 8);
    filter[at] = (filter[at] as number) | (1 << (bit % 8));
  }
}

export function filterMayHold(filter: Uint8Array, hash: number): boolean {
  if (filter.length === 0) return false;
  const bits = filter.length * 8;
  const step = stepOf(hash);
  for (let i = 0; i < PROBES; i++) {
    const bit = (hash + i * step) % bits;
    if (((filter[Math.floor(bit / 8)] as number) & (1 << (bit % 8))) === 0) return false;
  }
  return true;
}

function stepOf(hash: number): number {
  const mixed = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return ((mixed ^ (mixed >>> 12)) | 1) >>> 0;
}
