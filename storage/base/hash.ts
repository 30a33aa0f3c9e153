/**
 * The stable hash that places keys on queues and marks tags and ids.
 *
 * FNV-1a over the UTF-8 bytes, finished with the MurmurHash3 mixer so that the
 * low bits, which choose the queue, depend on every byte. It is stored in
 * records: changing it would move keys to other queues.
 *
 * @module
 */

import { encodeUtf8 } from "./bytes.ts";

/** Returns 1..2^32−1; 0 is kept free to mean "no key", "no tag". */
export function stableHash(value: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < value.length; i++) {
    const unit = value.charCodeAt(i);
    if (unit > 0x7f) return stableHashBytes(encodeUtf8(value));
    hash = Math.imul(hash ^ unit, 0x01000193);
  }
  return mix(hash);
}

/** Of all the bytes, or of a part. */
export function stableHashBytes(
  bytes: Uint8Array,
  { from = 0, to = bytes.length }: { readonly from?: number; readonly to?: number } = {},
): number {
  let hash = 0x811c9dc5;
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  return mix(hash);
}

/**
 * `hash` as it is in a scope, say of a topic's generation: alike ones come apart, in either.
 *
 * @returns 1..2^32−1.
 */
export function scopedHash(scope: number, hash: number): number {
  const high = Math.floor(scope / 2 ** 32) + 1;
  return mix(mix(scope ^ Math.imul(high, 0x9e3779b1)) ^ Math.imul(hash ^ 0x85ebca6b, 0xc2b2ae35));
}

function mix(hash: number): number {
  let mixed = hash ^ (hash >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  mixed ^= mixed >>> 16;
  return mixed >>> 0 || 1;
}
