/**
 * The door of the storage room.
 *
 * @module
 */

export type { Beginning } from "./beginning.ts";
export {
  HeldBeginning,
  type KeysFile,
  type KeysPiece,
  type LentBeginning,
} from "./held_beginning.ts";
export { endReplacement, isReplacing, ReplacedLog } from "./replaced_log.ts";
export type { DamagedRange } from "./recovery.ts";
export type { Recovery, Replication, Segment } from "./log_ports.ts";
export type { ConsumeQueue } from "./consume_queues.ts";
export { type DamageMap, DerivedDamage, type FoundBy } from "./damage.ts";
export type { DedupeEntry } from "./dedupe_run.ts";
export type { DedupeOptions } from "./dedupe_store.ts";
export type { EpochStart } from "./epochs.ts";
export { type Frame, FRAME_HEADER_SIZE, UNIT_SIZE_MAX } from "./frame.ts";
export { type HeadroomOptions, type Level, LEVELS } from "./headroom.ts";
export { Identity, type Promised } from "./identity.ts";
export { inlineJobs, type Jobs } from "./jobs.ts";
export { MessageStore } from "./message_store.ts";
export { storeMetrics } from "./metrics.ts";
export {
  type About,
  aboutBody,
  aboutOffset,
  aboutQueue,
  aboutTransaction,
} from "./ops.ts";
export { messageFrameSizeMax, recordFrameSize } from "./record_sizes.ts";
export type { Fold, FoldedRecord, RecordPlace } from "./replay.ts";
export { dueAtIn, messageIn } from "./stored_message.ts";
export { readFrames } from "./read_frames.ts";
export type { QueueReader } from "./queue_reader.ts";
export { Reader, Writer } from "./records/fields.ts";
export * as fields from "./records/fields.ts";
export { KINDS, type KindName, type RecordOf } from "./records/mod.ts";
export type { Change, Entry } from "./snapshot.ts";
export type { AnnouncedUnits, UnitBytes, UnitsWish } from "./unit_bytes.ts";
export { type Timer, type TimerKey, timerOf } from "./timer_entry.ts";
export type { Timers, TimerState } from "./timers.ts";
export type { StoreListener, StoreOptions, StorePorts } from "./store_ports.ts";
export { lostUnit, type Unit } from "./units.ts";
