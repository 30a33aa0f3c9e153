/**
 * What the flusher counts: batches, what was in them, and how long they took. One
 * observation of each kind per batch, so that a record costs nothing.
 *
 * @module
 */

import { COUNTS, Histogram, LATENCY_SECONDS } from "./base/metrics.ts";

export class FlushFigures {
  /** By batch. Where one was cut because it was too large, its records count with the first part. */
  readonly recordsPerBatch = new Histogram(COUNTS);
  bytes = 0;
  /** From the call of fdatasync until the event loop has heard of its end. */
  readonly syncSeconds = new Histogram(LATENCY_SECONDS);
  /** From the append of a batch's oldest record until it is confirmed: the longest wait in it. */
  readonly confirmSeconds = new Histogram(LATENCY_SECONDS);
  #records = 0;

  /** A batch is in the page cache. @param records appended so far, in it or before. */
  written(records: number, bytes: number): void {
    this.recordsPerBatch.observe(records - this.#records);
    this.#records = records;
    this.bytes += bytes;
  }

  /** A batch is on the disk. Times are by the clock's elapsed time. */
  synced(
    { since, syncedFrom }: { readonly since: number; readonly syncedFrom: number },
    now: number,
  ): void {
    this.syncSeconds.observe((now - syncedFrom) / 1000);
    this.confirmSeconds.observe((now - since) / 1000);
  }
}
