/**
 * What a start does with each frame it walks: fold it, remember its idempotency
 * key. A segment holds some hundred thousand, so a message is decoded only as far
 * as somebody will ask.
 *
 * @module
 */

import { decodeFolded, messageDedupe } from "./base/message.ts";
import type { DedupeStore } from "./dedupe_store.ts";
import { laterBuild } from "./format.ts";
import { FLAG_CONTINUED, FLAG_DEFERRED, type Frame } from "./frame.ts";
import type { Fold } from "./message_store.ts";
import { KINDS, kindName } from "./records/mod.ts";
import { segmentPath } from "./segment.ts";

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
