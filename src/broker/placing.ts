/**
 * Where messages go, and which can go nowhere: what whoever routes a message and
 * whoever stores it must agree on.
 *
 * A message with a key goes to the queue of the key's stable hash; without one, to
 * the queue of what makes a repeat of it known; else to any, in rotation.
 *
 * @module
 */

import { stableHash } from "../../storage/base/hash.ts";
import { LIMITS } from "../../storage/base/message.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { MessageType, NewMessage } from "./api.ts";
import type { StoredTopicConfig } from "./definitions.ts";

type Keyed = Pick<NewMessage, "key" | "idempotencyKey" | "producer">;

/** The queue the message has to go to; undefined: any will do. */
export function fixedQueue(message: Keyed, queues: number): number | undefined {
  const fixed = message.key ?? message.idempotencyKey ?? message.producer?.id;
  return fixed === undefined ? undefined : stableHash(fixed) % queues;
}

/** Whether a broker group with this share of a topic has the queue. */
export function hasQueue({ share }: Pick<StoredTopicConfig, "share">, queueId: number): boolean {
  return share === undefined || queueId % share.of === share.index;
}

/** The queue after `last`, of those there are here; −1: there was none before. */
export function queueAfter(
  { queues, share }: Pick<StoredTopicConfig, "queues" | "share">,
  last: number,
): number {
  const { of, index } = share ?? { of: 1, index: 0 };
  const next = last + of;
  return last < 0 || next >= queues ? index : next;
}

/** Why a message cannot be stored in any topic; asked before a topic is created for it. */
export function sizeFault({ body }: Pick<NewMessage, "body">): TidegateError | undefined {
  if (body.length <= LIMITS.bodyBytes) return undefined;
  const detail = `Cannot publish ${body.length} bytes: a message holds at most ${LIMITS.bodyBytes}`;
  return new TidegateError("message-too-large", detail, { limit: LIMITS.bodyBytes });
}

/** @throws `message-type-mismatch` unless the topic takes messages of transactions. */
export function checkTakesHalves(name: string, messageType: MessageType): void {
  if (messageType === "mixed" || messageType === "transaction") return;
  const detail = `Cannot publish to "${name}": a ${messageType} topic takes no messages of transactions`;
  throw new TidegateError("message-type-mismatch", detail, { messageType, topic: name });
}

/** Whether it was published with a delay, be that over or not. */
export function isDelayed({ deliverAt, delayMs }: NewMessage): boolean {
  return deliverAt !== undefined || delayMs !== undefined;
}

/** What is wrong with the message's delay. */
export function delayFault(
  { delayMaxMs }: { readonly delayMaxMs: number },
  { message, now }: { readonly message: NewMessage; readonly now: number },
): TidegateError | undefined {
  const { deliverAt = 0, delayMs = deliverAt - now } = message;
  if (delayMs <= delayMaxMs) return undefined;
  const detail = `Cannot delay the message so long: ${delayMaxMs} ms is the most`;
  return new TidegateError("delay-too-long", detail, { limitMs: delayMaxMs });
}

/** What an atomic batch, or a transaction, may hold at most: one unit of the log. */
export const UNIT_BYTES_MAX = 16 * 1024 * 1024;

/** Besides its body, a message in the log has a header of so many bytes at least. */
const HEADER_BYTES = 44;

/** Why the messages cannot be one unit of the log. */
export function unitFault(
  what: string,
  messages: readonly Pick<NewMessage, "body">[],
): TidegateError | undefined {
  const sizeMin = messages.reduce((sum, { body }) => sum + HEADER_BYTES + body.length, 0);
  if (sizeMin <= UNIT_BYTES_MAX) return undefined;
  const detail = `Cannot ${what}: it exceeds ${UNIT_BYTES_MAX} bytes`;
  return new TidegateError("body-too-large", detail, { limit: UNIT_BYTES_MAX });
}

/** @throws `message-too-large`, `message-type-mismatch`, `not-implemented`: it can be part of no transaction. */
export function checkHalf(message: NewMessage): void {
  const fault = sizeFault(message);
  if (fault) throw fault;
  if (isDelayed(message)) {
    const detail = "Cannot begin the transaction: its messages have no delay";
    throw new TidegateError("message-type-mismatch", detail, { id: message.id });
  }
  const { idempotencyKey, producer } = message;
  if (idempotencyKey === undefined && producer === undefined) return;
  const detail = "Cannot begin the transaction: repeats of it are not recognised in this build";
  throw new TidegateError("not-implemented", detail, { feature: "idempotent transactions" });
}
