/**
 * What the store is given, and whom it tells. Types only.
 *
 * @module
 */

import type { ConsumeQueue } from "./consume_queues.ts";
import type { DedupeOptions } from "./dedupe_store.ts";
import type { HeadroomOptions } from "./headroom.ts";
import type { Jobs } from "./jobs.ts";
import type { LogPorts, Replication } from "./log_ports.ts";
import type { Fold } from "./replay.ts";

export interface StorePorts extends LogPorts {
  readonly jobs: Jobs;
  /** A job failed: derived data is behind, nothing is lost. */
  report(error: Error): void;
}

export interface StoreListener {
  /** Bytes below `end` are in the page cache. */
  onWritten(end: number): void;
  /** All below `end` is confirmed; `queues` got visible messages. */
  onConfirm(end: number, queues: readonly ConsumeQueue[]): void;
}

export interface StoreOptions {
  readonly segmentBytes: number;
  readonly fold: Fold;
  readonly dedupe?: DedupeOptions | undefined;
  /** In so long all that is stored is read once, to find damage; undefined: it is not. */
  readonly scrubIntervalMs?: number | undefined;
  readonly headroom?: HeadroomOptions | undefined;
  /** Of a member of a group. */
  readonly replication?: Replication | undefined;
}
