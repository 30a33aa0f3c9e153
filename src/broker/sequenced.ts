/**
 * The decision about a message, or an atomic batch, with a place in its
 * producer's sequence:
 *
 *   the next one                      stored
 *   before it, in the same epoch      a repeat: the first answer, of the last units;
 *                                     `producer-sequence-old` when longer ago
 *   behind it                         `producer-sequence-gap` with `expectedSeq`
 *   an older epoch                    `producer-fenced`
 *   a newer epoch, or nobody known    begins at 0
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { Core } from "./core.ts";
import type { Producer, ProducerScope } from "./producers.ts";

/** Sequences known at once; beyond, new ones are refused until idle ones are forgotten. */
export const PRODUCERS_MAX = 200_000;

export interface SequencePlace {
  readonly scope: ProducerScope;
  readonly epoch: number;
  readonly seq: number;
  /** Messages from there on. */
  readonly count: number;
}

/** A repeat: where its messages lie, in order. */
export interface Repeat {
  readonly parts: readonly RepeatedPart[];
  readonly expectedSeq: number;
}

/** `count` messages from the `skip`th on of those of the unit at `logOffset`. */
export interface RepeatedPart {
  readonly logOffset: number;
  readonly skip: number;
  readonly count: number;
}

/**
 * Undefined: they are the next ones, and can be stored.
 *
 * @throws `producer-sequence-gap`, `producer-sequence-old`, `producer-fenced`;
 * retryable: `overloaded` when too many producers are known.
 */
export function judgeSequence(
  core: Core,
  { place, now }: { readonly place: SequencePlace; readonly now: number },
): Repeat | undefined {
  const { producers } = core.fold;
  const { epoch, seq, scope } = place;
  const known = producers.find(scope, now);
  if (!known && !producers.hasRoom(PRODUCERS_MAX, now)) throw tooMany();
  if (known && epoch < known.epoch) throw fenced(known, epoch);
  const expectedSeq = known?.epoch === epoch ? known.nextSeq : 0;
  if (seq === expectedSeq) return undefined;
  if (!known || seq > expectedSeq) throw gap(place, expectedSeq);
  // Partly there already: nothing a producer that repeats what it sent would send.
  if (seq + place.count > expectedSeq) throw gap(place, expectedSeq);
  const parts = partsOf(known, place);
  if (!parts) throw tooOld(place, expectedSeq);
  return { parts, expectedSeq };
}

/** Undefined when some of them are no longer remembered. */
function partsOf(known: Producer, { seq, count }: SequencePlace): RepeatedPart[] | undefined {
  const parts: RepeatedPart[] = [];
  const end = seq + count;
  let next = seq;
  for (const { firstSeq, count: size, logOffset } of known.units) {
    if (firstSeq > next) return undefined;
    if (firstSeq + size <= next) continue;
    const skip = next - firstSeq;
    const taken = Math.min(size - skip, end - next);
    parts.push({ logOffset, skip, count: taken });
    next += taken;
    if (next === end) return parts;
  }
  return undefined;
}

function gap({ seq, epoch }: SequencePlace, expectedSeq: number): TidegateError {
  const detail = `Cannot publish sequence ${seq} of epoch ${epoch}: ${expectedSeq} is expected`;
  return new TidegateError("producer-sequence-gap", detail, { expectedSeq });
}

/** The message was stored; what its answer was is not known any more. */
export function tooOld(
  { seq, epoch }: Pick<SequencePlace, "seq" | "epoch">,
  expectedSeq: number,
): TidegateError {
  const detail = `Cannot answer sequence ${seq} of epoch ${epoch} again: it was stored, its answer is no longer remembered, and ${expectedSeq} is expected`;
  return new TidegateError("producer-sequence-old", detail, { expectedSeq });
}

function fenced({ id, epoch: current }: Producer, epoch: number): TidegateError {
  const detail = `Cannot publish for producer "${id}" in epoch ${epoch}: epoch ${current} has begun`;
  return new TidegateError("producer-fenced", detail, { epoch: current });
}

function tooMany(): TidegateError {
  const detail = `Cannot begin another producer's sequence: ${PRODUCERS_MAX} are remembered`;
  return new TidegateError("overloaded", detail, { limit: PRODUCERS_MAX });
}
