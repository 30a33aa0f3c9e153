/**
 * What a start makes of a frame of the log beside indexing it.
 *
 * @module
 */

import { TidegateError } from "./base/errors.ts";
import { messageDedupe } from "./base/message.ts";
import type { DedupeStore } from "./dedupe_store.ts";
import { FLAG_CONTINUED, FLAG_DEFERRED, type Frame } from "./frame.ts";
import type { Fold } from "./message_store.ts";
import { KINDS, kindName } from "./records/mod.ts";

/** A message with an idempotency key is remembered again. */
export function recallKey(frame: Frame, dedupe: DedupeStore, base: number): void {
  if (frame.kind !== KINDS.message.id) return;
  const { logOffset, storedAt } = frame;
  const found = messageDedupe(frame, { at: frame.payloadAt, end: frame.at + frame.size });
  if (found) dedupe.remember(base, { keyHash: found.keyHash, logOffset, storedAt });
}

/** The frame's record is folded. @throws `not-implemented` for a kind of a later build. */
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
