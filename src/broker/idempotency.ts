/**
 * What an idempotency key is remembered as, and what a repeat gets.
 *
 *   key hash      16 bytes of SHA-256 over [topic generation, Message-Key or null, key]
 *   fingerprint   8 bytes of SHA-256 over [id or null, Message-Key or null, tag or
 *                 null, index keys, [name, value] of properties by name, content
 *                 type or null] and the body: what makes a repeat the same request
 *
 * The lists as JSON in UTF-8; an id is null that was made for the request. An
 * attribute of a later build goes behind the others, and only where it is given.
 *
 * A topic generation is of one namespace and one life of the topic, so the scope
 * needs neither. Both hashes are in records for good: changing what goes into
 * them would make every key of the window new.
 *
 *   first known, same fingerprint     its answer again, `replayed`
 *   first known, other fingerprint    `idempotency-mismatch`
 *   first not yet answered            `idempotency-in-progress`, retryable
 *
 * @module
 */

import { encodeUtf8, equalBytes } from "../../storage/base/bytes.ts";
import type { Digest } from "../../storage/base/digest.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { MessageEnvelope } from "../../storage/base/message.ts";
import type { DedupeEntry } from "../../storage/mod.ts";
import type { NewMessage, Published } from "./api.ts";
import { publishedAs } from "./publish.ts";

export type Dedupe = NonNullable<MessageEnvelope["dedupe"]>;

/** What the record of a message with an idempotency key says about it; undefined for one without. */
export function dedupeOf(
  digest: Digest,
  { topicGen, message }: { readonly topicGen: number; readonly message: NewMessage },
): Dedupe | undefined {
  const { idempotencyKey, key = null } = message;
  if (idempotencyKey === undefined) return undefined;
  return {
    keyHash: digest([encoded([topicGen, key, idempotencyKey])]).subarray(0, 16),
    fingerprint: digest([encoded(givenOf(message)), message.body]).subarray(0, 8),
  };
}

function givenOf(message: NewMessage): readonly unknown[] {
  const { id, idGenerated, key, tag, index = [], properties = [], contentType } = message;
  const byName = properties.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const given = idGenerated ? null : id;
  const when = whenGiven(message);
  return [given, key ?? null, tag ?? null, index, byName, contentType ?? null, ...when];
}

/** Where there is a delay: as it was asked for, not what time that makes. */
function whenGiven({ deliverAt, delayMs }: NewMessage): readonly unknown[] {
  if (delayMs !== undefined) return ["delayMs", delayMs];
  return deliverAt === undefined ? [] : ["deliverAt", deliverAt];
}

/** As JSON: no two lists make the same, and none is the beginning of another. */
function encoded(values: readonly unknown[]): Uint8Array {
  return encodeUtf8(JSON.stringify(values));
}

/** The first answer, given again. @throws `idempotency-mismatch` when it was to another request. */
export function firstAnswer(
  entry: Omit<DedupeEntry, "keyHash">,
  repeat: { readonly topicGen: number; readonly fingerprint: Uint8Array },
): Published {
  if (!equalBytes(entry.fingerprint, repeat.fingerprint)) throw mismatch({ id: entry.id });
  return { ...publishedAs({ ...entry, topicGen: repeat.topicGen }), replayed: true };
}

function mismatch(details: { readonly id: string }): TidegateError {
  const detail = `Cannot publish: the idempotency key was used for message "${details.id}", with another body or other attributes`;
  return new TidegateError("idempotency-mismatch", detail, details);
}

/** Some messages of an atomic batch were published under their keys, others were not. */
export function partialRepeat(): TidegateError {
  const detail =
    "Cannot publish the batch atomically: some of its messages were published with the idempotency key, others were not";
  return new TidegateError("idempotency-mismatch", detail);
}

export function inProgress(): TidegateError {
  const detail = "Cannot answer yet: the first request with the idempotency key is not yet stored";
  return new TidegateError("idempotency-in-progress", detail);
}
