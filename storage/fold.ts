/**
 * The state that whoever appends folds from the log, as the store sees it: given back from a
 * snapshot, then record by record.
 *
 * @module
 */

import { TidegateError } from "./base/errors.ts";
import { FLAG_CONTINUED, FLAG_DEFERRED, type Frame } from "./frame.ts";
import { KINDS, kindName, type KindName, type RecordOf } from "./records/mod.ts";
import type { Change } from "./snapshot.ts";

/** The state that is folded from the log and kept in snapshots. */
export interface Fold {
  /** One entry of the snapshot, in order of key. */
  restore(key: Uint8Array, value: Uint8Array): void;
  /** One record behind the snapshot, in log order. */
  apply<K extends KindName>(kind: K, record: RecordOf<K>, at: RecordPlace): void;
  /** What changed since the last call. */
  takeChanges(): Change[];
}

export interface RecordPlace {
  readonly logOffset: number;
  readonly storedAt: number;
  readonly deferred: boolean;
  /** More records of its unit follow. */
  readonly continued?: boolean;
  /** Of its frame; known of messages. */
  readonly size?: number;
}

/** A record of the log is applied once more. @throws `not-implemented`: it is of a later build. */
export function replay(fold: Fold, frame: Frame): void {
  const name = kindName(frame.kind);
  const place = {
    logOffset: frame.logOffset,
    storedAt: frame.storedAt,
    deferred: (frame.flags & FLAG_DEFERRED) !== 0,
    continued: (frame.flags & FLAG_CONTINUED) !== 0,
    size: frame.size,
  };
  const record = name && KINDS[name].decode(frame.payload);
  if (!name || !record) {
    const detail = `Cannot open the log: the record at ${frame.logOffset} is of kind ${frame.kind}, which this build does not know`;
    throw new TidegateError("not-implemented", detail, { at: frame.logOffset, kind: frame.kind });
  }
  fold.apply(name, record, place);
}
