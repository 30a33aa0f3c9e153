/**
 * Logs to recover: written in units and batches, left as a killed or a stopped
 * process leaves them, damaged as a test likes.
 *
 * @module
 */

import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { SEGMENT_HEADER_SIZE } from "../../storage/segment.ts";
import { draft, KiB, type NewMessage, OpenStore, type UnitRow, until } from "./fixture.ts";

/** Every byte of a log is tried, one start each. */
export const PATIENCE = { timeout: 60_000 };
/** Small, for every start writes a segment of its full size. */
export const SEGMENT_BYTES = 4 * KiB;
/** No zeros, so that none of it is there when it was never written. */
export const BODY: Uint8Array = new Uint8Array(20).fill(0xa5);

export function messages(count: number, from = 0): NewMessage[] {
  return Array.from({ length: count }, (_, i) => draft({ queueOffset: from + i, body: BODY }));
}

/** That many units of one message each. */
export function one(count: number): number[] {
  return Array.from({ length: count }, () => 1);
}

/** A log with what is known of it. */
export interface Written {
  readonly disk: MemoryDisk;
  readonly rows: readonly UnitRow[];
  readonly end: number;
  readonly bases: readonly number[];
}

/** Each inner number is a unit of that many; each inner list a batch, confirmed before the next. */
export async function write(
  batches: readonly (readonly number[])[],
  { segmentBytes = SEGMENT_BYTES, checkpoint = false, closed = false } = {},
): Promise<Written> {
  const disk = new MemoryDisk();
  const open = await OpenStore.on({ disk, segmentBytes });
  let next = 0;
  for (const units of batches) {
    for (const count of units) {
      open.putUnit(messages(count, next));
      next += count;
    }
    await open.settle();
  }
  if (checkpoint) {
    open.clock.advance(1000);
    const written = disk.syncs;
    await until(() => disk.syncs > written);
  }
  if (closed) await open.store.close();
  const bases = open.store.log.segments.map(({ base }) => base);
  return { disk: disk.clone(), rows: await open.unitsOf(1, 0), end: open.store.log.end, bases };
}

export function reopen(disk: MemoryDisk, segmentBytes = SEGMENT_BYTES): Promise<OpenStore> {
  return OpenStore.on({ disk, segmentBytes });
}

/** Where a log offset lies in its segment's file. */
export function positionOf(logOffset: number, base = 0): number {
  return SEGMENT_HEADER_SIZE + logOffset - base;
}

/** A copy of the disk with one bit of a file flipped. */
export function flip(disk: MemoryDisk, path: string, at: number): MemoryDisk {
  const copy = disk.clone();
  copy.damage(path, (bytes) => {
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
  });
  return copy;
}
