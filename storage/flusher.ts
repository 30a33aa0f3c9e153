/**
 * Group commit: moves appended bytes to disk, one write and one sync per batch.
 *
 *            kick()                 written            synced
 *   idle ─────────────▶ collecting ─────────▶ syncing ─────────▶ idle, or again
 *                       (end of the turn)        │
 *                                                └─ appends go on meanwhile and
 *                                                   make up the next batch
 *
 * The next batch is on its way to the disk before anyone is told of the last.
 * A batch is what the turns of the event loop appended since the last one, whole
 * units, up to 4 MiB: writing it and telling of it must not hold the event loop.
 * The write is positional and synchronous, the sync runs beside the event loop.
 * Batches never cross into another segment: at a roll the old segment is synced
 * and cut to size first, then the new one is made durable with its name.
 *
 * Promise: `onDurable(end)` is called in order of `end`, after an fdatasync that
 * covers every byte below it. A write that finds no room is done again when there
 * is some (headroom.ts): the same bytes in the same place, so what it wrote of them
 * is no harm, and nothing was said of them. Any other error of a write, and any of
 * a sync, is final: `fatal` is called once and nothing more is written or said to
 * be durable; a failed fdatasync must not be retried, for the kernel may have
 * dropped the pages and say yes the second time.
 *
 * @module
 */

import type { Crc32 } from "./base/checksum.ts";
import type { Clock } from "./base/clock.ts";
import { type Disk, type DiskFile, NoRoom } from "./base/disk.ts";
import { SharedFile } from "./base/shared_file.ts";
import { FlushFigures } from "./flush_figures.ts";
import type { Headroom } from "./headroom.ts";
import type { LogTail, Roll } from "./log_tail.ts";
import type { SpareSegment } from "./spare_segment.ts";
import { encodeSegmentHeader, LOG_DIR, SEGMENT_HEADER_SIZE, segmentPath } from "./segment.ts";

/** Some 4 ms of writing, and as much of telling for messages of 256 bytes. */
const BATCH_SIZE_MAX = 4 * 1024 * 1024;
/** So much of a sparse segment is filled where a prepared one waits to follow. */
const SPARSE_FILL = 1 / 16;

export interface ActiveSegment {
  readonly base: number;
  readonly file: DiskFile;
  readonly firstStoredAt: number;
  /** Of written zeros when it began: see spare_segment.ts. */
  readonly prepared: boolean;
}

/** Bytes on their way to the disk. */
interface Batch {
  readonly from: number;
  readonly end: number;
  readonly synced: Promise<void>;
  /** By the clock's elapsed time: when its oldest record was appended, when its sync began. */
  readonly since: number;
  readonly syncedFrom: number;
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
  readonly figures = new FlushFigures();
  readonly #tail: LogTail;
  readonly #ports: { readonly disk: Disk; readonly clock: Clock; readonly crc32: Crc32 };
  readonly #events: FlusherEvents;
  readonly #spare: SpareSegment;
  readonly #headroom: Headroom;
  readonly #segmentBytes: number;
  #active: ActiveSegment | undefined;
  #written: number;
  /** When the oldest record was appended that is not written; undefined when all are. */
  #since: number | undefined;
  #running: Promise<void> | undefined;
  #failed = false;

  constructor(
    tail: LogTail,
    options: {
      readonly ports: { readonly disk: Disk; readonly clock: Clock; readonly crc32: Crc32 };
      readonly events: FlusherEvents;
      /** Undefined for an empty log: its first segment is the first roll. */
      readonly active: ActiveSegment | undefined;
      readonly spare: SpareSegment;
      readonly headroom: Headroom;
      readonly segmentBytes: number;
    },
  ) {
    this.#tail = tail;
    this.#ports = options.ports;
    this.#events = options.events;
    this.#active = options.active;
    this.#spare = options.spare;
    this.#headroom = options.headroom;
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
    if (this.#failed || this.#tail.end === this.#written) return;
    this.#since ??= this.#ports.clock.elapsed();
    if (this.#running) return;
    this.#running = new Promise((resolve) => {
      this.#ports.clock.defer(() => void this.#run().then(resolve));
    });
  }

  /** Resolves when everything appended so far is durable, or the disk has failed. */
  async idle(): Promise<void> {
    for (this.kick(); this.#running; this.kick()) await this.#running;
  }

  /** The log ends at `end` now, in this segment. Nothing is on its way to the disk. */
  cut(active: ActiveSegment, end: number): void {
    this.#active = active;
    this.#written = end;
  }

  async #run(): Promise<void> {
    try {
      while (!this.#failed && this.#tail.end > this.#written) {
        let batch = await this.#begin();
        while (batch) {
          await batch.synced;
          batch = this.#failed ? undefined : this.#goOn(batch);
        }
      }
    } catch (error) {
      this.fail(error);
    }
    this.#running = undefined;
  }

  /** Writes what there is, as soon as there is room for it. */
  async #begin(): Promise<Batch | undefined> {
    while (!this.#failed) {
      try {
        const batch = await this.#beginNow();
        this.#headroom.room();
        return batch;
      } catch (error) {
        if (!(error instanceof NoRoom)) throw error;
      }
      await this.#spare.giveUp();
      await this.#headroom.noRoom();
    }
    return undefined;
  }

  /** In a new segment where one begins. */
  async #beginNow(): Promise<Batch | undefined> {
    const roll = this.#tail.rolls[0];
    if (roll?.base === this.#written) {
      this.#active = await this.#startSegment(roll);
      this.#tail.rolls.shift();
      await this.#events.onSegment(this.#active);
    }
    return this.#failed ? undefined : this.#write();
  }

  /** Tells of a batch that is durable; the disk goes on meanwhile with the next of this segment. */
  #goOn(batch: Batch): Batch | undefined {
    const { from, end } = batch;
    this.figures.synced(batch, this.#ports.clock.elapsed());
    try {
      return this.#write();
    } catch (error) {
      if (error instanceof NoRoom) return undefined; // the next batch begins with the same bytes
      throw error;
    } finally {
      this.#events.onDurable(end);
      this.#tail.trim(end); // after: who is told reads these bytes from memory
      if (this.#headroom.level !== "full") this.#spare.synced(end - from);
      this.#endSparseSegment();
    }
  }

  /** A prepared segment is worth more than a full one. */
  #endSparseSegment(): void {
    if (!this.#spare.ready || this.#active?.prepared || this.#tail.rolls.length > 0) return;
    this.#tail.endSegmentAt(this.#segmentBytes * SPARSE_FILL);
  }

  #write(): Batch | undefined {
    const from = this.#written;
    const active = this.#active;
    const end = this.#batchEnd(this.#tail.rolls[0]?.base ?? this.#tail.end);
    if (end === from) return undefined;
    if (!active) throw new Error("Cannot flush: the log has no segment");
    for (const { chunk, from: start, to } of this.#tail.slices(from, end)) {
      const position = SEGMENT_HEADER_SIZE + chunk.base + start - active.base;
      active.file.write(chunk.bytes.subarray(start, to), position);
    }
    this.#written = end;
    this.figures.written(this.#tail.appended.records, end - from);
    this.#events.onWritten(end);
    const syncedFrom = this.#ports.clock.elapsed();
    const since = this.#since ?? syncedFrom;
    if (end === this.#tail.end) this.#since = undefined;
    return { from, end, since, syncedFrom, synced: active.file.sync() };
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
    const path = segmentPath(roll.base);
    const header = encodeSegmentHeader(roll, crc32);
    const spare = await this.#spare.take({ header, path });
    const file = spare ?? (await this.#createSegment({ header, path }));
    await disk.syncDir(LOG_DIR);
    const shared = new SharedFile(file);
    return { base: roll.base, firstStoredAt: roll.firstStoredAt, file: shared, prepared: !!spare };
  }

  async #createSegment({ header, path }: { header: Uint8Array; path: string }): Promise<DiskFile> {
    const file = await this.#ports.disk.open(path, { create: true });
    try {
      await file.truncate(0); // left by a crash before its header was durable, or for want of room
      await file.truncate(SEGMENT_HEADER_SIZE + this.#segmentBytes);
      file.write(header, 0);
      await file.sync();
    } catch (error) {
      await file.close();
      throw error;
    }
    return file;
  }
}
