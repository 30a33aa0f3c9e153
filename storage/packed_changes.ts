/**
 * The changes of a snapshot on their way to the worker: a few stretches of bytes, which
 * are copied at once, where thousands of keys and values would be one by one.
 *
 *   keySize u16 · valueSize u32, all ones: the key is removed · key · value
 *
 * However many there are, they are packed in parts, and other work runs between.
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import { viewOf } from "./base/bytes.ts";
import { type Change, nameOf } from "./snapshot.ts";

const HEAD_SIZE = 6;
const REMOVED = 0xffff_ffff;
const STRETCH_SIZE = 64 * 1024;
/** What takes some tenths of a millisecond to encode. */
const PART_SIZE = 32 * 1024;
/** What a change costs beside its bytes, in bytes. */
const CHANGE_COST = 128;

/** In order; a change lies in one stretch. */
export type PackedChanges = readonly Uint8Array[];

/** What lets others work. */
export type Pause = () => Promise<void>;

export async function packChanges(changes: Iterable<Change>, pause: Pause): Promise<PackedChanges> {
  const stretches: Uint8Array[] = [];
  let stretch = new Uint8Array(0);
  let filled = 0;
  await inParts(changes, pause, (change) => {
    const size = packedSize(change);
    if (filled + size > stretch.length) {
      if (filled > 0) stretches.push(stretch.subarray(0, filled));
      stretch = new Uint8Array(Math.max(size, STRETCH_SIZE));
      filled = 0;
    }
    packChange(change, stretch.subarray(filled));
    filled += size;
  });
  return filled > 0 ? [...stretches, stretch.slice(0, filled)] : stretches;
}

/** One change per key, the last one. */
export async function compactChanges(changes: PackedChanges, pause: Pause): Promise<PackedChanges> {
  const latest = new Map<string, Change>();
  await inParts(unpackChanges(changes), pause, (change) => latest.set(nameOf(change), change));
  return packChanges(latest.values(), pause);
}

async function inParts(
  changes: Iterable<Change>,
  pause: Pause,
  take: (change: Change) => void,
): Promise<void> {
  let part = 0;
  for (const change of changes) {
    if (part >= PART_SIZE) {
      part = 0;
      await pause();
    }
    take(change);
    part += CHANGE_COST + packedSize(change);
  }
}

function packedSize([key, value]: Change): number {
  return HEAD_SIZE + key.length + (value?.length ?? 0);
}

function packChange([key, value]: Change, target: Uint8Array): void {
  assert(key.length <= 0xffff, "a key fits 65 535 bytes");
  viewOf(target).setUint16(0, key.length);
  viewOf(target).setUint32(2, value?.length ?? REMOVED);
  target.set(key, HEAD_SIZE);
  if (value) target.set(value, HEAD_SIZE + key.length);
}

/** Keys and values are views. */
export function* unpackChanges(packed: PackedChanges): Generator<Change> {
  for (const stretch of packed) {
    const view = viewOf(stretch);
    for (let at = 0; at < stretch.length; ) {
      const keyAt = at + HEAD_SIZE;
      const valueAt = keyAt + view.getUint16(at);
      const valueSize = view.getUint32(at + 2);
      const isRemoved = valueSize === REMOVED;
      at = isRemoved ? valueAt : valueAt + valueSize;
      const key = stretch.subarray(keyAt, valueAt);
      yield [key, isRemoved ? undefined : stretch.subarray(valueAt, at)];
    }
  }
}
