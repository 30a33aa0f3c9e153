/**
 * What a start does with each frame it walks: fold it, remember its idempotency
 * key. A segment holds some hundred thousand, so a message is decoded only as far
 * as somebody will ask.
 *
 * @module
 */

import { TidegateError } from "./base/errors.ts";
import { decodeFolded, messageDedupe } from "./base/message.ts";
import type { DedupeStore } from "./dedupe_store.ts";
import { FLAG_CONTINUED, FLAG_DEFERRED, type Frame } from "./frame.ts";
import type { Fold } from "./message_store.ts";
import { KINDS, kindName } from "./records/mod.ts";

/** @throws `not-implemented` for a record of a later build. */
export function replay(fold: Fold, frame: Frame): void {
  const { logOffset, kind } = frame;
  const name = kindName(kind);
  const record =
    name === "message"
      ? decodeFolded(frame, payloadRange(frame))
      : name && KINDS[name].decode(frame.payload);
  if (!name || !record) {
    const detail = `Cannot open the log: the record at ${logOffset} is of kind ${kind}, which this build does not know`;
    throw new TidegateError("not-implemented", detail, { at: logOffset, kind });
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
