/**
 * The decision to store messages: which queue, which offset.
 *
 * A message with a key goes to the queue of the key's stable hash, one without
 * goes round robin, or to the queue of what makes a repeat of it known. Offsets
 * are given at append, in order of call.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { stableHash } from "../../storage/base/hash.ts";
import { LIMITS } from "../../storage/base/message.ts";
import { FRAME_HEADER_SIZE, messageFrameSizeMax, UNIT_SIZE_MAX } from "../../storage/mod.ts";
import type { NewMessage, Published } from "./api.ts";
import type { Core } from "./core.ts";
import { encodeQueueCursor } from "./cursor.ts";
import { DEFAULT_TOPIC, putTopic, topicNamed } from "./define.ts";
import type { Dedupe } from "./idempotency.ts";
import type { TopicState } from "./topics.ts";

/** The topic to publish to, created when unknown and allowed. */
export function topicForPublish(
  core: Core,
  { name, now }: { name: string; now: number },
): TopicState {
  const known = core.fold.topics.named(name);
  if (known) return known;
  if (!core.autoCreate) return topicNamed(core, name);
  return putTopic(core, { name, config: DEFAULT_TOPIC, now }).topic;
}

/** Why a message cannot be stored in any topic; asked before a topic is created for it. */
export function sizeFault({ body }: NewMessage): TidegateError | undefined {
  if (body.length <= LIMITS.bodyBytes) return undefined;
  const detail = `Cannot publish ${body.length} bytes: a message holds at most ${LIMITS.bodyBytes}`;
  return new TidegateError("message-too-large", detail, { limit: LIMITS.bodyBytes });
}

/** @throws `message-too-large` */
export function checkSize(message: NewMessage): void {
  const fault = sizeFault(message);
  if (fault) throw fault;
}

/** @throws `message-too-large`, `body-too-large`; asked before a topic is created for them. */
export function checkUnitSize(messages: readonly NewMessage[]): void {
  for (const message of messages) checkSize(message);
  const sizeMin = messages.reduce((sum, { body }) => sum + FRAME_HEADER_SIZE + body.length, 0);
  if (sizeMin <= UNIT_SIZE_MAX) return;
  const detail = `Cannot publish the batch atomically: it exceeds ${UNIT_SIZE_MAX} bytes`;
  throw new TidegateError("body-too-large", detail, { limit: UNIT_SIZE_MAX });
}

/** @throws `message-type-mismatch` */
export function checkType(topic: TopicState, message: NewMessage): void {
  const { messageType } = topic.config;
  const mismatch =
    messageType === "fifo"
      ? message.key === undefined && "takes only messages with a key"
      : messageType === "normal" &&
        message.key !== undefined &&
        "takes only messages without a key";
  if (!mismatch) return;
  const detail = `Cannot publish to "${topic.name}": a ${messageType} topic ${mismatch}`;
  throw new TidegateError("message-type-mismatch", detail, { messageType });
}

/** Stores one message as a unit of its own. The caller has checked it. */
export function storeMessage(
  core: Core,
  wish: {
    readonly topic: TopicState;
    readonly message: NewMessage;
    readonly now: number;
    readonly dedupe?: Dedupe | undefined;
  },
): Published {
  const { topic, message, now, dedupe } = wish;
  const storedAt = core.sink.begin(now, messageFrameSizeMax(message, message.body.length));
  return put(core, { topic, message, now, storedAt, dedupe, continued: false });
}

/** Stores all as one unit. The caller has checked them. */
export function storeAtomically(
  core: Core,
  wish: {
    readonly topic: TopicState;
    readonly messages: readonly NewMessage[];
    readonly now: number;
    /** Of each message. */
    readonly dedupes?: readonly (Dedupe | undefined)[];
  },
): Published[] {
  const { topic, messages, now, dedupes } = wish;
  const sizeMax = messages.reduce(
    (sum, message) => sum + messageFrameSizeMax(message, message.body.length),
    0,
  );
  const storedAt = core.sink.begin(now, sizeMax);
  return messages.map((message, i) => {
    const continued = i < messages.length - 1;
    return put(core, { topic, message, now, storedAt, dedupe: dedupes?.[i], continued });
  });
}

function put(
  core: Core,
  wish: {
    readonly topic: TopicState;
    readonly message: NewMessage;
    readonly now: number;
    readonly storedAt: number;
    readonly dedupe: Dedupe | undefined;
    readonly continued: boolean;
  },
): Published {
  const { topic, message, storedAt, dedupe, continued } = wish;
  const { producer } = message;
  const { generation: topicGen } = topic;
  const keyHash = message.key === undefined ? 0 : stableHash(message.key);
  const tagHash = message.tag === undefined ? 0 : stableHash(message.tag);
  const queueId =
    message.key === undefined ? queueWithoutKey(topic, message) : keyHash % topic.config.queues;
  const queueOffset = topic.next[queueId] ?? 0;
  const bornAt = wish.now;
  const envelope = { topicGen, queueId, queueOffset, keyHash, tagHash, bornAt, dedupe, producer };
  const parts = { envelope, attributes: message, body: message.body };
  const logOffset = core.sink.putMessage(parts, wish);
  core.fold.appended(topic, envelope);
  if (producer) {
    const record = { topicGen, key: message.key, producer };
    core.fold.producers.applied(record, { logOffset, storedAt, continued });
  }
  const cursor = encodeQueueCursor({ topicGen, queueId, queueOffset: queueOffset + 1 });
  return { id: message.id, queueId, queueOffset, cursor, publishedAt: storedAt };
}

/** A repeat, should it be stored after all, goes where the first one went. */
function queueWithoutKey(topic: TopicState, message: NewMessage): number {
  const repeatable = message.idempotencyKey ?? message.producer?.id;
  if (repeatable === undefined) return nextQueue(topic);
  return stableHash(repeatable) % topic.config.queues;
}

function nextQueue(topic: TopicState): number {
  topic.lastQueue = (topic.lastQueue + 1) % topic.config.queues;
  return topic.lastQueue;
}
