/**
 * What replication asks of a node's log: the bytes, how far they would survive,
 * and whose turn it is to decide. The storage and the broker on it fulfil it; types
 * only, so that the two sides are built and tested apart.
 *
 *   follows   bytes of the leader go in as they are; what is confirmed is folded
 *   leads     the broker decides and appends; what it answers waits for `confirm`
 *
 * A log that led never follows again: it is closed, and the node begins a new life
 * on the same disk, with a new boot.
 *
 * @module
 */

import type { LogRange, Promised, Restored } from "./effects.ts";
import type { Entries } from "./messages.ts";

/** What the log tells by itself; in the order in which it happened. */
export interface ReplicaLogEvents {
  /** The leading broker appended whole units: once a batch, before they are written. */
  appended(tail: { readonly end: number; readonly lastCrc: number }): void;
  /** The bytes below `end` survive power loss. */
  synced(end: number): void;
  /** The log begins later: nothing before `start` is needed any more. */
  trimmed(start: number): void;
  damaged(range: LogRange): void;
}

/** Whole units of one epoch, as they lie in the log. */
export interface TransferredUnits {
  readonly bytes: Uint8Array;
  readonly to: number;
  /** Of the frame before the first, as the first says. */
  readonly prevCrc: number;
  readonly lastCrc: number;
}

export interface ReplicaLog {
  readonly restored: Restored;

  listen(events: ReplicaLogEvents): void;

  /** crc32 of the frame that ends at a logOffset; undefined where that is not at hand. */
  crcAt(logOffset: number): number | undefined;

  /**
   * Whole units of `epoch` from `from` on, one at least, none beyond `until`, about
   * `maxBytes` of them. Undefined: they are damaged, or gone.
   */
  transfer(wish: {
    readonly from: number;
    readonly until: number;
    readonly epoch: number;
    readonly maxBytes: number;
  }): Promise<TransferredUnits | undefined>;

  /** Whether the frames are what the head says: places, checksums, chain, epoch, whole units. */
  sound(entries: Entries): boolean;

  /** Appends what was found sound, and syncs it without being asked: `synced` tells. */
  append(entries: Entries): void;

  /** Drops what lies behind `to`, a unit's end; resolves once that would survive power loss. */
  truncate(to: number): Promise<{ readonly end: number; readonly lastCrc: number }>;

  /** Below `confirmOffset` all may be seen: it is folded, answered, and given to readers. */
  confirm(confirmOffset: number): void;

  /** Written, not yet synced, on every member: answers of topics with `acks: replicated`. */
  replicated(end: number): void;

  /** Resolves once it would survive power loss. */
  promise(promised: Promised): Promise<void>;

  /** The bytes of a range another member cannot read; undefined: not whole here either. */
  mend(range: LogRange): Promise<Uint8Array | undefined>;

  /**
   * Puts bytes where damage was; false: they do not fit the frames around them, or
   * the range is no longer there. Resolves once it would survive power loss.
   */
  rewrite(range: LogRange, bytes: Uint8Array): Promise<boolean>;
}
