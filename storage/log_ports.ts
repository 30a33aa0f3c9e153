/**
 * What the log is given, what it tells, and what it is made of. Types only.
 *
 * @module
 */

import type { Crc32 } from "./base/checksum.ts";
import type { Clock } from "./base/clock.ts";
import type { Disk, DiskFile } from "./base/disk.ts";
import type { FoundBy } from "./damage.ts";
import type { Chunk } from "./log_tail.ts";
import type { DamagedRange } from "./recovery.ts";

export interface LogPorts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly crc32: Crc32;
  /** Called once, when durability can no longer be promised: the process must end. */
  fatal(error: Error): void;
  /** A range of the log was found damaged that nobody knew of. */
  damaged?(range: DamagedRange, by: FoundBy): void;
}

export interface LogEvents {
  /** Of a log on several nodes, once a turn: something was, and is not written yet. */
  onAppended(): void;
  onWritten(end: number): void;
  /** Bytes below `end` survive power loss. */
  onDurable(end: number): void;
  /**
   * Frames below `end` are confirmed: they may be seen. Those since the last call are
   * `frames`, of one segment; undefined: they are in the tail.
   */
  onConfirm(end: number, frames: Chunk | undefined): void;
  /** All of the segment is confirmed, and a start would know. */
  onSealed(segment: { readonly base: number; readonly end: number }): void;
}

/** Of a log on several nodes. */
export interface Replication {
  /** Synced bytes at the log's end are damaged and will be cut: this disk is another from now on. */
  lost(): Promise<void>;
}

export interface Segment {
  readonly base: number;
  /** Undefined while active. */
  readonly end: number | undefined;
  readonly firstStoredAt: number;
  /** crc32 of the frame before it; undefined where its header is damaged. */
  readonly prevCrc?: number | undefined;
  readonly file: DiskFile;
}

export interface Recovery {
  readonly damaged: readonly DamagedRange[];
  /** The unsynced tail that was cut, if it held anything. */
  readonly torn: { readonly at: number; readonly reason: string } | undefined;
  /** Bases of segments whose header is damaged; the frames do not need it. */
  readonly damagedHeaders: readonly number[];
  /** Frames walked. */
  readonly frames: number;
}
