/**
 * How far the log was known to be synced: what tells damage from a torn tail.
 *
 * One file of two slots, written in turn, so that a torn write spoils the older
 * one at most. The valid slot with the greater sequence holds.
 *
 *   slot i at 512 × i:
 *   at  size  field
 *    0     8  magic       "TIDECKP1"
 *    8     8  sequence    rises with every write
 *   16     8  durableEnd  every frame below it was synced
 *   24     4  epoch
 *   28     4  crc32       of bytes [0, 28)
 *   32     8  confirmOffset  every frame below it was confirmed; of a log on several
 *                         nodes it may lie below durableEnd
 *   40     4  crc32       of bytes [0, 40); where it does not hold, nothing is known
 *                         of confirmOffset: an earlier build wrote the slot
 *   44     1  failed      1: a write or a sync of the log failed
 *   48     4  crc32       of bytes [0, 48), where one failed; else zero
 *
 * It is written once a second while the log moves, at every new segment and at
 * the end, so it lags: frames beyond durableEnd may be synced, none below is not.
 *
 * That something failed is written into the page cache and no further: it lasts as long
 * as what the page cache has and the disk has not (ADR 3).
 *
 * @module
 */

import { decodeUtf8, encodeUtf8, getU64, setU64, viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import { type Disk, type DiskFile, openAnew, readRange } from "./base/disk.ts";

export const CHECKPOINT_PATH = "checkpoint";
export const CHECKPOINT_SLOT_SIZE = 512;
const USED_SIZE = 44;
const MAGIC = "TIDECKP1";
export const CHECKPOINT_FORMAT = MAGIC;

export interface Checkpoint {
  readonly sequence: number;
  readonly durableEnd: number;
  /** At most durableEnd; 0 where it is not known. */
  readonly confirmOffset: number;
  readonly epoch: number;
  /** In the life before: what the page cache shows above durableEnd may never reach the disk. */
  readonly failed?: boolean;
}

const NOTHING: Checkpoint = { sequence: 0, durableEnd: 0, confirmOffset: 0, epoch: 0 };
const FAILED_AT = 44;

export function encodeCheckpoint(checkpoint: Checkpoint, crc32: Crc32): Uint8Array {
  const bytes = new Uint8Array(CHECKPOINT_SLOT_SIZE);
  const view = viewOf(bytes);
  bytes.set(encodeUtf8(MAGIC));
  setU64(view, 8, checkpoint.sequence);
  setU64(view, 16, checkpoint.durableEnd);
  view.setUint32(24, checkpoint.epoch);
  view.setUint32(28, crc32(bytes.subarray(0, 28)));
  setU64(view, 32, checkpoint.confirmOffset);
  view.setUint32(40, crc32(bytes.subarray(0, 40)));
  if (checkpoint.failed) {
    view.setUint8(FAILED_AT, 1);
    view.setUint32(48, crc32(bytes.subarray(0, 48)));
  }
  return bytes;
}

function decodeSlot(bytes: Uint8Array, crc32: Crc32): Checkpoint | undefined {
  if (bytes.length < USED_SIZE || decodeUtf8(bytes.subarray(0, 8)) !== MAGIC) return undefined;
  const view = viewOf(bytes);
  if (view.getUint32(28) !== crc32(bytes.subarray(0, 28))) return undefined;
  const told = view.getUint32(40) === crc32(bytes.subarray(0, 40));
  const failed = bytes[FAILED_AT] === 1 && view.getUint32(48) === crc32(bytes.subarray(0, 48));
  return {
    sequence: getU64(view, 8),
    durableEnd: getU64(view, 16),
    confirmOffset: told ? getU64(view, 32) : 0,
    epoch: view.getUint32(24),
    ...(failed && { failed }),
  };
}

/** The newest valid slot of both; all zero where there is none. */
export function decodeCheckpoints(bytes: Uint8Array, crc32: Crc32): Checkpoint {
  let newest = NOTHING;
  for (let i = 0; i < 2; i++) {
    const slot = decodeSlot(
      bytes.subarray(i * CHECKPOINT_SLOT_SIZE, (i + 1) * CHECKPOINT_SLOT_SIZE),
      crc32,
    );
    if (slot && slot.sequence > newest.sequence) newest = slot;
  }
  return newest;
}

/** The file of both slots. One write at a time. */
export class CheckpointFile {
  readonly #file: DiskFile;
  readonly #crc32: Crc32;
  #latest: Checkpoint;
  /** On its way to the disk, or perhaps there when that failed. */
  #begun: Checkpoint | undefined;

  private constructor(file: DiskFile, crc32: Crc32, latest: Checkpoint) {
    this.#file = file;
    this.#crc32 = crc32;
    this.#latest = latest;
  }

  static async open(disk: Disk, crc32: Crc32): Promise<CheckpointFile> {
    const file = await disk.open(CHECKPOINT_PATH, { create: true });
    const size = await file.size();
    // Room for both from the beginning: there may be none when one is to be written.
    if (size < 2 * CHECKPOINT_SLOT_SIZE) {
      file.write(new Uint8Array(2 * CHECKPOINT_SLOT_SIZE - size), size);
    }
    const found = decodeCheckpoints(await readRange(file, 0, 2 * CHECKPOINT_SLOT_SIZE), crc32);
    await disk.syncDir("");
    if (!found.failed) return new CheckpointFile(file, crc32, found);
    await file.close();
    const anew = await openAnew(disk, CHECKPOINT_PATH, 2 * CHECKPOINT_SLOT_SIZE);
    return new CheckpointFile(anew, crc32, found);
  }

  get latest(): Checkpoint {
    return this.#latest;
  }

  /** @throws what the disk says; the caller treats it as a failed log sync. */
  async write(next: Omit<Checkpoint, "sequence" | "failed">): Promise<void> {
    const checkpoint = { ...next, sequence: this.#latest.sequence + 1 };
    this.#begun = checkpoint;
    this.#put(checkpoint);
    await this.#file.sync();
    this.#latest = checkpoint;
    this.#begun = undefined;
  }

  #put(checkpoint: Checkpoint): void {
    const at = (checkpoint.sequence % 2) * CHECKPOINT_SLOT_SIZE;
    this.#file.write(encodeCheckpoint(checkpoint, this.#crc32), at);
  }

  /** The disk failed, and the process is about to end: as well as it can be told. */
  markFailed(): void {
    const { sequence } = this.#latest;
    // One that was begun says what is so, and may be durable already: less must not take its place.
    const last = this.#begun ?? { ...this.#latest, sequence: sequence + 1 };
    try {
      this.#put({ ...last, failed: true });
    } catch {
      // a file system that takes nothing shows nothing either, once it is mounted anew
    }
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
