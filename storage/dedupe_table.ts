/**
 * The idempotency keys of one young segment: hash of the key → where its message
 * lies. Filled at append, so that the next decision sees it.
 *
 *   256 shards by the first byte of the hash, each an open-addressed table:
 *     keys    16 bytes each
 *     places  u32, logOffset − base of the segment + 1; 0 is an empty slot
 *     times   ms, leader time of the message
 *
 * Shards, because a table doubles in one go: of all keys of a segment that would
 * hold the event loop for tens of milliseconds, of a shard it is microseconds.
 *
 * A key that is put again is where it was put last. Nothing is removed: the
 * segment's run takes over, and the table goes as a whole.
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import { viewOf } from "./base/bytes.ts";

export const KEY_HASH_SIZE = 16;

export interface DedupePlace {
  /** logOffset − base of the segment. */
  readonly place: number;
  readonly storedAt: number;
}

const SHARDS = 256;
const CAPACITY_MIN = 4;
/** 16 bytes of key, 4 of place, 8 of time. */
const SLOT_SIZE = 28;

export class DedupeTable {
  readonly #shards: (Shard | undefined)[] = Array.from({ length: SHARDS });
  #capacity = 0;
  count = 0;

  put(keyHash: Uint8Array, at: DedupePlace): void {
    assert(keyHash.length === KEY_HASH_SIZE, "a key hash has 16 bytes");
    const index = keyHash[0] as number;
    let shard = this.#shards[index];
    if (!shard) {
      shard = new Shard();
      this.#shards[index] = shard;
      this.#capacity += shard.capacity;
    }
    const before = shard.capacity;
    if (shard.put(wordsOf(keyHash), at)) this.count++;
    this.#capacity += shard.capacity - before;
  }

  find(keyHash: Uint8Array): DedupePlace | undefined {
    return this.#shards[keyHash[0] as number]?.find(wordsOf(keyHash));
  }

  /** Memory it takes. */
  get byteSize(): number {
    return this.#capacity * SLOT_SIZE;
  }
}

type Words = readonly [number, number, number, number];

function wordsOf(keyHash: Uint8Array): Words {
  const view = viewOf(keyHash);
  return [view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12)];
}

class Shard {
  capacity = CAPACITY_MIN;
  #keys = new Uint32Array(4 * CAPACITY_MIN);
  #places = new Uint32Array(CAPACITY_MIN);
  #times = new Float64Array(CAPACITY_MIN);
  #count = 0;

  /** Returns whether the key is new here. */
  put(words: Words, { place, storedAt }: DedupePlace): boolean {
    if (4 * (this.#count + 1) > 3 * this.capacity) this.#grow();
    const slot = this.#slotOf(words);
    const fresh = this.#places[slot] === 0;
    if (fresh) this.#count++;
    this.#keys.set(words, 4 * slot);
    this.#places[slot] = place + 1;
    this.#times[slot] = storedAt;
    return fresh;
  }

  find(words: Words): DedupePlace | undefined {
    const slot = this.#slotOf(words);
    const place = this.#places[slot] as number;
    return place === 0 ? undefined : { place: place - 1, storedAt: this.#times[slot] as number };
  }

  /** Where the key is, or would go. */
  #slotOf(words: Words): number {
    const mask = this.capacity - 1;
    let slot = words[1] & mask; // the first word chose the shard
    while (this.#places[slot] !== 0 && !this.#holds(slot, words)) slot = (slot + 1) & mask;
    return slot;
  }

  #holds(slot: number, words: Words): boolean {
    const at = 4 * slot;
    const keys = this.#keys;
    return (
      keys[at] === words[0] &&
      keys[at + 1] === words[1] &&
      keys[at + 2] === words[2] &&
      keys[at + 3] === words[3]
    );
  }

  #grow(): void {
    const [keys, places, times] = [this.#keys, this.#places, this.#times];
    this.capacity *= 2;
    this.#keys = new Uint32Array(4 * this.capacity);
    this.#places = new Uint32Array(this.capacity);
    this.#times = new Float64Array(this.capacity);
    for (let from = 0; from < places.length; from++) {
      if (places[from] === 0) continue;
      const at = 4 * from;
      const words = [keys[at], keys[at + 1], keys[at + 2], keys[at + 3]] as unknown as Words;
      const slot = this.#slotOf(words);
      this.#keys.set(words, 4 * slot);
      this.#places[slot] = places[from] as number;
      this.#times[slot] = times[from] as number;
    }
  }
}
