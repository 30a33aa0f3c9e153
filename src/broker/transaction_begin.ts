/**
 * The decision to begin a transaction: its half messages and its `prepare` are
 * one unit of the log.
 *
 *   message, deferred · message, deferred · … · prepare
 *
 * A half message has its queue from the start and gets its queueOffset when the
 * transaction is committed.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { stableHash } from "../../storage/base/hash.ts";
import {
  FRAME_HEADER_SIZE,
  messageFrameSizeMax,
  recordFrameSize,
  type RecordOf,
  UNIT_SIZE_MAX,
} from "../../storage/mod.ts";
import type { CheckRules, HalfMessage, NewTransaction } from "./api.ts";
import type { Core } from "./core.ts";
import { topicNamed } from "./define.ts";
import { checkTakesHalves, isDelayed, sizeFault } from "./placing.ts";
import { checkPlace, nextQueue, topicForPublish } from "./publish.ts";
import type { TopicState } from "./topics.ts";

export const CHECK_DEFAULTS: CheckRules = {
  firstCheckMs: 6000,
  checkIntervalMs: 30_000,
  maxChecks: 15,
};

interface Begin {
  readonly id: string;
  readonly wish: NewTransaction;
  readonly now: number;
}

/** @throws `overloaded`, `message-too-large`, `body-too-large`, `message-type-mismatch`, `topic-not-found` */
export function beginTransaction(core: Core, { id, wish, now }: Begin): void {
  const { messages } = wish;
  checkRoom(core, messages.length);
  for (const { message } of messages) checkHalf(message);
  checkUnitSize(messages);
  for (const half of messages) checkTopic(core, half);
  const topics = messages.map(({ topic: name }) => topicForPublish(core, { name, now }));
  const prepare = { ...rulesOf(core, wish), txnId: id, producerGroup: wish.producerGroup };
  const frames = messages.map(({ message }) => messageFrameSizeMax(message, message.body.length));
  const blank = { ...prepare, bodies: messages.map(() => 0) };
  core.sink.begin(now, sum(frames) + recordFrameSize("prepare", blank));
  const halves = messages.map(({ message }, i) =>
    putHalf(core, { txnId: id, topic: topics[i] as TopicState, message, now }),
  );
  const record = { ...prepare, bodies: halves.map(({ logOffset }) => logOffset) };
  const place = core.sink.put("prepare", record, { continued: false });
  const ends = [...record.bodies.slice(1), place.logOffset];
  halves.forEach(({ half, logOffset }, i) => {
    core.fold.transactions.appended(half, { logOffset, size: (ends[i] as number) - logOffset });
  });
  core.fold.apply("prepare", record, place);
}

function putHalf(
  core: Core,
  wish: {
    readonly txnId: string;
    readonly topic: TopicState;
    readonly message: HalfMessage["message"];
    readonly now: number;
  },
) {
  const { txnId, topic, message, now: bornAt } = wish;
  const { id, key, tag, body } = message;
  const keyHash = key === undefined ? 0 : stableHash(key);
  const tagHash = tag === undefined ? 0 : stableHash(tag);
  const queueId = key === undefined ? nextQueue(topic) : keyHash % topic.config.queues;
  const { generation: topicGen } = topic;
  const envelope = { topicGen, queueId, queueOffset: -1, keyHash, tagHash, bornAt, txnId };
  const parts = { envelope, attributes: message, body };
  const logOffset = core.sink.putMessage(parts, { continued: true, deferred: true });
  return { half: { ...envelope, id, key }, logOffset };
}

/** What the caller leaves open is the producer group's to say, then the default. */
function rulesOf(
  core: Core,
  wish: NewTransaction,
): CheckRules & Pick<RecordOf<"prepare">, "checkUrl"> {
  const group = core.fold.producerGroups.named(wish.producerGroup)?.config;
  const defaults = group ?? CHECK_DEFAULTS;
  return {
    checkUrl: wish.checkUrl ?? group?.checkUrl,
    firstCheckMs: wish.firstCheckMs ?? defaults.firstCheckMs,
    checkIntervalMs: wish.checkIntervalMs ?? defaults.checkIntervalMs,
    maxChecks: wish.maxChecks ?? defaults.maxChecks,
  };
}

function checkRoom({ fold, halvesMax }: Core, count: number): void {
  if (fold.transactions.halfCount + count <= halvesMax) return;
  const detail = `Cannot begin the transaction: ${halvesMax} messages wait for a decision`;
  throw new TidegateError("overloaded", detail, { limit: halvesMax });
}

function checkHalf(message: HalfMessage["message"]): void {
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

function checkUnitSize(messages: readonly HalfMessage[]): void {
  const sizes = messages.map(({ message }) => FRAME_HEADER_SIZE + message.body.length);
  if (sum(sizes) <= UNIT_SIZE_MAX) return;
  const detail = `Cannot begin the transaction: its messages exceed ${UNIT_SIZE_MAX} bytes`;
  throw new TidegateError("body-too-large", detail, { limit: UNIT_SIZE_MAX });
}

/** A topic that will be created takes any message. */
function checkTopic(core: Core, { topic: name, message }: HalfMessage): void {
  const topic = core.fold.topics.named(name);
  if (!topic && !core.autoCreate) topicNamed(core, name);
  checkTakesHalves(name, topic?.config.messageType ?? "mixed");
  if (topic) checkPlace(topic, message);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
