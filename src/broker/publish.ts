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
import { messageFrameSizeMax } from "../../storage/mod.ts";
import type { MessageType, NewMessage, Published } from "./api.ts";
import type { Core } from "./core.ts";
import { encodeQueueCursor } from "./cursor.ts";
import { dueAtOf } from "./delay.ts";
import { putTopic, topicNamed } from "./define.ts";
import { DEFAULT_TOPIC } from "./definitions.ts";
import type { Dedupe } from "./idempotency.ts";
import {
  delayFault,
  fixedQueue,
  hasQueue,
  isDelayed,
  queueAfter,
  sizeFault,
  unitFault,
} from "./placing.ts";
import { idInUse } from "./scheduled_ids.ts";
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

/** As {@linkcode sizeFault}, of any kind. */
export function messageFault(
  core: Core,
  at: { readonly message: NewMessage; readonly now: number },
): TidegateError | undefined {
  return sizeFault(at.message) ?? delayFault(core, at);
}

/** @throws `message-too-large`, `delay-too-long` */
export function checkMessage(
  core: Core,
  at: { readonly message: NewMessage; readonly now: number },
): void {
  const fault = messageFault(core, at);
  if (fault) throw fault;
}

/** @throws `message-too-large`, `delay-too-long`, `body-too-large`; asked before a topic is created for them. */
export function checkUnit(
  core: Core,
  { messages, now }: { readonly messages: readonly NewMessage[]; readonly now: number },
): void {
  for (const message of messages) checkMessage(core, { message, now });
  const fault = unitFault("publish the batch atomically", messages);
  if (fault) throw fault;
}

/** @param ids.taken of scheduled messages. @throws `id-in-use` */
export function checkIds(
  messages: readonly NewMessage[],
  ids: { readonly taken: ReadonlySet<string>; readonly now: number },
): void {
  const taken = new Set(ids.taken);
  for (const message of messages) {
    if (taken.has(message.id)) throw idInUse(message.id);
    if (dueAtOf(message, ids.now) !== undefined) taken.add(message.id);
  }
}

/** What a topic of the type does not do; RocketMQ keeps the types as strictly apart. */
const MISMATCHES: {
  readonly [T in MessageType]?: (message: NewMessage) => string | false;
} = {
  fifo: (message) =>
    (message.key === undefined && "takes only messages with a key") ||
    (isDelayed(message) && "takes no delayed messages"),
  normal: (message) =>
    (message.key !== undefined && "takes only messages without a key") ||
    (isDelayed(message) && "takes no delayed messages"),
  delay: (message) => !isDelayed(message) && "takes only delayed messages",
  transaction: () => "takes only messages of transactions",
};

/** @throws `message-type-mismatch`; `unavailable` when its queue is not here. */
export function checkType(topic: TopicState, message: NewMessage): void {
  checkPlace(topic, message);
  const { messageType } = topic.config;
  const mismatch = MISMATCHES[messageType]?.(message);
  if (!mismatch) return;
  const detail = `Cannot publish to "${topic.name}": a ${messageType} topic ${mismatch}`;
  throw new TidegateError("message-type-mismatch", detail, { messageType });
}

/**
 * In a cluster a broker group has some of a topic's queues. Whoever sent the message here
 * knows an older placement: it looks again.
 *
 * @throws `unavailable`
 */
export function checkPlace({ name, config }: TopicState, message: NewMessage): void {
  if (!config.share) return;
  const queueId = fixedQueue(message, config.queues) ?? config.share.index;
  if (queueId < config.queues && hasQueue(config, queueId)) return;
  const detail = `Cannot publish to "${name}": queue ${queueId} is not of this broker group`;
  throw new TidegateError("unavailable", detail, { topic: name, queueId, misplaced: true });
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
  const queueId = fixedQueue(message, topic.config.queues) ?? nextQueue(topic);
  const deliverAt = dueAtOf(message, wish.now);
  const deferred = deliverAt !== undefined;
  const queueOffset = deferred ? -1 : (topic.next[queueId] ?? 0);
  const bornAt = wish.now;
  const envelope = {
    topicGen,
    queueId,
    queueOffset,
    keyHash,
    tagHash,
    bornAt,
    deliverAt,
    dedupe,
    producer,
  };
  const parts = { envelope, attributes: message, body: message.body };
  const logOffset = core.sink.putMessage(parts, { continued, deferred });
  if (!deferred) core.fold.appended(topic, envelope);
  if (producer) {
    const record = { topicGen, key: message.key, producer };
    core.fold.producers.applied(record, { logOffset, storedAt, continued });
  }
  const { id } = message;
  return publishedAs({ topicGen, id, queueId, queueOffset, deliverAt, publishedAt: storedAt });
}

/** The answer to a publish, from what the record of the message holds. */
export function publishedAs(stored: {
  readonly topicGen: number;
  readonly id: string;
  readonly queueId: number;
  /** −1: deferred. */
  readonly queueOffset: number;
  readonly deliverAt?: number | undefined;
  readonly publishedAt: number;
}): Published {
  const { topicGen, id, queueId, queueOffset, deliverAt, publishedAt } = stored;
  if (queueOffset < 0 && deliverAt !== undefined) {
    return { state: "scheduled", id, queueId, deliverAt, publishedAt };
  }
  const cursor = encodeQueueCursor({ topicGen, queueId, queueOffset: queueOffset + 1 });
  return { id, queueId, queueOffset, cursor, publishedAt };
}

export function nextQueue(topic: TopicState): number {
  topic.lastQueue = queueAfter(topic.config, topic.lastQueue);
  return topic.lastQueue;
}
