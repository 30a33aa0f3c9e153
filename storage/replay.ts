/**
 * What a start does with each frame it walks: fold it, remember its idempotency
 * key. A segment holds some hundred thousand, so a message is decoded only as far
 * as somebody will ask.
 *
 * @module
 */

import { decodeFolded, type FoldedMessage, messageDedupe } from "./base/message.ts";
import type { DedupeStore } from "./dedupe_store.ts";
import { laterBuild } from "./format.ts";
import { FLAG_CONTINUED, FLAG_DEFERRED, type Frame } from "./frame.ts";
import { KINDS, type KindName, kindName, type RecordOf } from "./records/mod.ts";
import { segmentPath } from "./segment.ts";
import type { Change } from "./snapshot.ts";

/** The state that is folded from the log and kept in snapshots. */
export interface Fold {
  /**
   * Called before all else. Not `whole`: the log begins later than what it is about,
   * and no snapshot tells of that; what is still there was described again.
   */
  begin(start: { readonly whole: boolean }): void;
  /** One entry of the snapshot, in order of key. */
  restore(key: Uint8Array, value: Uint8Array): void;
  /** One record behind the snapshot, in log order. */
  apply<K extends KindName>(kind: K, record: FoldedRecord<K>, at: RecordPlace): void;
  /**
   * What changed since the last call, as it stands now, whenever it is read: once, in parts,
   * while more is folded.
   */
  takeChanges(): Iterable<Change>;
}

export type FoldedRecord<K extends KindName> =
  | RecordOf<K>
  | (K extends "message" ? FoldedMessage : never);

export interface RecordPlace {
  readonly logOffset: number;
  readonly storedAt: number;
  readonly deferred: boolean;
  /** More records of its unit follow. */
  readonly continued?: boolean;
  /** Of its frame; known of what was appended or replayed by itself. */
  readonly size?: number;
}

/** @throws `not-implemented` when the record is not one that this build knows. */
export function replay(fold: Fold, frame: Frame, base: number): void {
  const { logOffset, kind } = frame;
  const name = kindName(kind);
  const record =
    name === "message"
      ? decodeFolded(frame, payloadRange(frame))
      : name && KINDS[name].decode(frame.payload);
  if (!name || !record) {
    const what = `a record of kind ${kind} at ${logOffset} that this build does not know`;
    throw laterBuild(segmentPath(base), what);
  }
  fold.apply(name, record, {
    logOffset,
    storedAt: frame.storedAt,
    deferred: (frame.flags & FLAG_DEFERRED) !== 0,
    continued: (frame.flags & FLAG_CONTINUED) !== 0,
    size: frame.size,
  });
}

/** A message with an idempotency key is remembered again. */
export function recallKey(frame: Frame, dedupe: DedupeStore, base: number): void {
  if (frame.kind !== KINDS.message.id) return;
  const found = messageDedupe(frame, payloadRange(frame));
  if (!found) return;
  const { logOffset, storedAt } = frame;
  dedupe.remember(base, { keyHash: found.keyHash, logOffset, storedAt });
}

function payloadRange({ payloadAt, at, size }: Frame) {
  return { at: payloadAt, end: at + size };
}
