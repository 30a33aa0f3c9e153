/**
 * What an idempotency key is remembered as, and what a repeat gets.
 *
 *   key hash      16 bytes of SHA-256 over the scope (topic generation,
 *                 Message-Key or none) and the key
 *   fingerprint   8 bytes of SHA-256 over the attributes the producer gave and
 *                 the body: what makes a repeat the same request
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

import { equalBytes } from "../../storage/base/bytes.ts";
import type { Digest } from "../../storage/base/digest.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { MessageEnvelope } from "../../storage/base/message.ts";
import { type DedupeEntry, fields, Writer } from "../../storage/mod.ts";
import type { NewMessage, Published } from "./api.ts";
import { publishedAs } from "./publish.ts";

export type Dedupe = NonNullable<MessageEnvelope["dedupe"]>;

const { list, optional, struct, text16, u64 } = fields;

const Scope = struct({ topicGen: u64, messageKey: optional(text16), idempotencyKey: text16 });

const Given = struct({
  id: optional(text16),
  key: optional(text16),
  tag: optional(text16),
  index: list(text16),
  properties: list(struct({ name: text16, value: text16 })),
  contentType: optional(text16),
  deliverAt: optional(u64),
  delayMicroseconds: optional(u64),
});

/** What the record of a message with an idempotency key says about it; undefined for one without. */
export function dedupeOf(
  digest: Digest,
  { topicGen, message }: { readonly topicGen: number; readonly message: NewMessage },
): Dedupe | undefined {
  const { idempotencyKey, key: messageKey } = message;
  if (idempotencyKey === undefined) return undefined;
  const scope = encoded(Scope, { topicGen, messageKey, idempotencyKey });
  return {
    keyHash: digest([scope]).subarray(0, 16),
    fingerprint: digest([encoded(Given, givenOf(message)), message.body]).subarray(0, 8),
  };
}

function givenOf(message: NewMessage): fields.Value<typeof Given> {
  const { id, key, tag, index = [], properties = [], contentType, idGenerated } = message;
  const { deliverAt, delayMs } = message;
  return {
    id: idGenerated ? undefined : id,
    key,
    tag,
    index,
    properties: properties
      .map(([name, value]) => ({ name, value }))
      .toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)),
    contentType,
    deliverAt: delayMs === undefined ? deliverAt : undefined, // else it follows from the delay
    delayMicroseconds: delayMs === undefined ? undefined : Math.round(delayMs * 1000),
  };
}

function encoded<T>(field: fields.Field<T>, value: T): Uint8Array {
  const writer = new Writer();
  field.write(writer, value);
  return writer.bytes;
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
