/**
 * One frame of the log that is walked at a start, and where it goes: its record
 * to the fold, its idempotency key to memory.
 *
 * @module
 */

import { messageDedupe } from "./base/message.ts";
import type { DedupeStore } from "./dedupe_store.ts";
import { laterBuild } from "./format.ts";
import { FLAG_CONTINUED, FLAG_DEFERRED, type Frame } from "./frame.ts";
import type { Fold } from "./message_store.ts";
import { KINDS, kindName } from "./records/mod.ts";
import { segmentPath } from "./segment.ts";

/** A message with an idempotency key is remembered again. */
export function recallKey(frame: Frame, dedupe: DedupeStore, base: number): void {
  if (frame.kind !== KINDS.message.id) return;
  const { logOffset, storedAt } = frame;
  const found = messageDedupe(frame, { at: frame.payloadAt, end: frame.at + frame.size });
  if (found) dedupe.remember(base, { keyHash: found.keyHash, logOffset, storedAt });
}

/** @throws `not-implemented` when the record is not one that this build knows. */
export function replay(fold: Fold, frame: Frame, base: number): void {
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
    const what = `a record of kind ${frame.kind} at ${frame.logOffset} that this build does not know`;
    throw laterBuild(segmentPath(base), what);
  }
  fold.apply(name, record, place);
}
