/**
 * Group commit: moves appended bytes to disk, one write and one sync per batch.
 *
 *            kick()                 written            synced
 *   idle ─────────────▶ collecting ─────────▶ syncing ─────────▶ idle, or again
 *                       (end of the turn)        │
 *                                                └─ appends go on meanwhile and
 *                                                   make up the next batch
 *
 * A batch is what the turns of the event loop appended since the last one, whole
 * units, up to 4 MiB: writing it and telling of it must not hold the event loop.
 * The write is positional and synchronous, the sync runs beside the event loop.
 * Batches never cross into another segment: at a roll the old segment is synced
 * and cut to size first, then the new one is made durable with its name.
 *
 * Promise: `onDurable(end)` is called in order of `end`, after an fdatasync that
 * covers every byte below it. Any error of a write or a sync is final: `fatal`
 * is called once and nothing more is written or said to be durable; a failed
 * fdatasync must not be retried, for the kernel may have dropped the pages and
 * say yes the second time.
 *
 * @module
 */

import type { Crc32 } from "./base/checksum.ts";
import type { Clock } from "./base/clock.ts";
import type { Disk, DiskFile } from "./base/disk.ts";
import type { LogTail, Roll } from "./log_tail.ts";
import { encodeSegmentHeader, LOG_DIR, SEGMENT_HEADER_SIZE, segmentPath } from "./segment.ts";

/** Some 4 ms of writing, and as much of telling for messages of 256 bytes. */
const BATCH_SIZE_MAX = 4 * 1024 * 1024;

export interface ActiveSegment {
  readonly base: number;
  readonly file: DiskFile;
  readonly firstStoredAt: number;
}

export interface FlusherEvents {
  /** The bytes below `end` are in the page cache. */
  onWritten(end: number): void;
  /** The bytes below `end` survive power loss. */
  onDurable(end: number): void;
  /** `next` is active from now on; the one before ends at its base and is cut to size. */
  onSegment(next: ActiveSegment): Promise<void>;
  fatal(error: Error): void;
}

export class Flusher {
  readonly #tail: LogTail;
  readonly #ports: { readonly disk: Disk; readonly clock: Clock; readonly crc32: Crc32 };
  readonly #events: FlusherEvents;
  readonly #segmentBytes: number;
  #active: ActiveSegment | undefined;
  #written: number;
  #running: Promise<void> | undefined;
  #failed = false;

  constructor(
    tail: LogTail,
    options: {
      readonly ports: { readonly disk: Disk; readonly clock: Clock; readonly crc32: Crc32 };
      readonly events: FlusherEvents;
      /** Undefined for an empty log: its first segment is the first roll. */
      readonly active: ActiveSegment | undefined;
      readonly segmentBytes: number;
    },
  ) {
    this.#tail = tail;
    this.#ports = options.ports;
    this.#events = options.events;
    this.#active = options.active;
    this.#segmentBytes = options.segmentBytes;
    this.#written = tail.end;
  }

  get failed(): boolean {
    return this.#failed;
  }

  /** Durability can no longer be promised, here or elsewhere in the log. */
  fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#events.fatal(error instanceof Error ? error : new Error(String(error)));
  }

  /** There may be something to flush. Cheap; call it after every append. */
  kick(): void {
    if (this.#running || this.#failed || this.#tail.end === this.#written) return;
    this.#running = new Promise((resolve) => {
      this.#ports.clock.defer(() => void this.#run().then(resolve));
    });
  }

  /** Resolves when everything appended so far is durable, or the disk has failed. */
  async idle(): Promise<void> {
    for (this.kick(); this.#running; this.kick()) await this.#running;
  }

  async #run(): Promise<void> {
    try {
      while (!this.#failed && this.#tail.end > this.#written) await this.#flush();
    } catch (error) {
      this.fail(error);
    }
    this.#running = undefined;
  }

  async #flush(): Promise<void> {
    const roll = this.#tail.rolls[0];
    if (roll?.base === this.#written) {
      this.#tail.rolls.shift();
      this.#active = await this.#startSegment(roll);
      await this.#events.onSegment(this.#active);
      if (this.#failed) return;
    }
    const active = this.#active;
    if (!active) throw new Error("Cannot flush: the log has no segment");
    const end = this.#batchEnd(this.#tail.rolls[0]?.base ?? this.#tail.end);
    for (const { chunk, from, to } of this.#tail.slices(this.#written, end)) {
      const position = SEGMENT_HEADER_SIZE + chunk.base + from - active.base;
      active.file.write(chunk.bytes.subarray(from, to), position);
    }
    this.#written = end;
    this.#events.onWritten(end);
    await active.file.sync();
    if (this.#failed) return;
    this.#events.onDurable(end);
    this.#tail.trim(end); // after: who is told reads these bytes from memory
  }

  #batchEnd(limit: number): number {
    if (limit - this.#written <= BATCH_SIZE_MAX) return limit;
    return this.#tail.unitEndWithin(this.#written, BATCH_SIZE_MAX);
  }

  async #startSegment(roll: Roll): Promise<ActiveSegment> {
    const { disk, crc32 } = this.#ports;
    if (this.#active) {
      await this.#active.file.truncate(SEGMENT_HEADER_SIZE + roll.base - this.#active.base);
      await this.#active.file.sync();
    }
    const file = await createSegment(disk, { ...roll, segmentBytes: this.#segmentBytes }, crc32);
    return { base: roll.base, file, firstStoredAt: roll.firstStoredAt };
  }
}

/** A new, pre-sized segment whose header and name are durable. */
async function createSegment(
  disk: Disk,
  segment: Roll & { readonly segmentBytes: number },
  crc32: Crc32,
): Promise<DiskFile> {
  const file = await disk.open(segmentPath(segment.base), { create: true });
  await file.truncate(0); // left by a crash before its header was durable
  await file.truncate(SEGMENT_HEADER_SIZE + segment.segmentBytes);
  file.write(encodeSegmentHeader(segment, crc32), 0);
  await file.sync();
  await disk.syncDir(LOG_DIR);
  return file;
}
