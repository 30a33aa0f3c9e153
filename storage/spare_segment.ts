/**
 * The file of the segment to come, made ready while the present one fills: all
 * zeros, written and synced.
 *
 * In a sparse file every sync must also journal where the blocks lie that it
 * found for the data. In one whose blocks were written before it writes the data
 * and nothing else, which takes half as long. The zeros are written twice for
 * that, so they pay where syncs are many and small, and only there they are made.
 *
 *   absent ──synced()──▶ growing ──▶ … ──▶ ready ──open()──▶ absent
 *              the log grew, a job writes a few times as much    │
 *                         and where that fails, no more of it ───┘
 *
 * The log's own pace bounds the traffic: an idle node prepares nothing. The file
 * lies aside under a name of no segment until its header is durable; what a crash
 * leaves of it is removed at the start, as all that lies aside.
 *
 * Invariant: nothing but the flusher ever writes to a file that has frames.
 *
 * @module
 */

import type { Disk, DiskFile } from "./base/disk.ts";
import type { Jobs } from "./jobs.ts";
import { SEGMENT_HEADER_SIZE, SPARE_PATH } from "./segment.ts";

/** Bytes of a sync, on average, from which on its journal entry is the lesser part. */
const SMALL_SYNC_SIZE = 32 * 1024;
/** Syncs over which the average forgets. */
const MEMORY = 64;
/** Bytes prepared for one appended: ready when a quarter of a segment is full. */
const PACE = 4;
/** A segment is prepared in so many steps, or fewer. */
const STEPS = 32;

export interface SparePorts {
  readonly disk: Disk;
  readonly jobs: Jobs;
  /** There will be none: the next segment is a sparse file. */
  report(error: Error): void;
}

export class SpareSegment {
  readonly #ports: SparePorts;
  readonly #size: number;
  #written = 0;
  #averageSync = SMALL_SYNC_SIZE;
  #credit = 0;
  #growing: Promise<void> | undefined;
  #failed = false;

  constructor(ports: SparePorts, segmentBytes: number) {
    this.#ports = ports;
    this.#size = SEGMENT_HEADER_SIZE + segmentBytes;
  }

  get ready(): boolean {
    return this.#written === this.#size && !this.#failed;
  }

  /** The log grew by `size` bytes in one sync. */
  synced(size: number): void {
    this.#averageSync += (size - this.#averageSync) / MEMORY;
    if (this.#growing || this.#failed || this.ready) return;
    if (this.#averageSync >= SMALL_SYNC_SIZE) return;
    this.#credit += size * PACE;
    if (this.#credit < this.#size / STEPS) return;
    this.#growing = this.#grow(Math.min(this.#size, this.#written + this.#credit));
    this.#credit = 0;
  }

  async #grow(to: number): Promise<void> {
    try {
      await this.#ports.jobs.run({ kind: "prepare", path: SPARE_PATH, from: this.#written, to });
      this.#written = to;
    } catch (error) {
      this.#fail(error);
    }
    this.#growing = undefined;
  }

  /** The file, with its header and its name; undefined where there is none to take. */
  async take(segment: { header: Uint8Array; path: string }): Promise<DiskFile | undefined> {
    const { ready } = this;
    if (!ready && !this.#failed) return undefined; // it goes on growing for the segment after
    this.#written = 0;
    this.#failed = false;
    if (!ready) return undefined;
    const { disk } = this.#ports;
    const file = await this.#orGone(disk.open(SPARE_PATH, { create: false }));
    if (!file) return undefined;
    try {
      file.write(segment.header, 0);
      await file.sync();
    } catch (error) {
      await file.close();
      throw error;
    }
    const named = await this.#orGone(disk.rename(SPARE_PATH, segment.path).then(() => file));
    if (!named) await file.close();
    return named;
  }

  /** A disk without room needs it for better things. */
  async giveUp(): Promise<void> {
    if (this.#growing || this.#written === 0) return;
    this.#written = 0;
    this.#credit = 0;
    await this.#orGone(this.#ports.disk.remove(SPARE_PATH));
  }

  /** Somebody may have tidied up: the log goes on without. */
  async #orGone<T>(call: Promise<T>): Promise<T | undefined> {
    try {
      return await call;
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  #fail(error: unknown): void {
    this.#failed = true;
    this.#ports.report(error instanceof Error ? error : new Error(String(error)));
  }

  /** Waits for the step under way. Nothing may be synced after. */
  async close(): Promise<void> {
    await this.#growing;
  }
}
