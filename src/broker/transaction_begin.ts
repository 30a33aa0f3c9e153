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
import { messageFrameSizeMax, recordFrameSize, type RecordOf } from "../../storage/mod.ts";
import type { CheckRules, HalfMessage, NewTransaction } from "./api.ts";
import type { Core } from "./core.ts";
import { topicNamed } from "./define.ts";
import { checkHalf, checkTakesHalves, unitFault } from "./placing.ts";
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
  const bodies = messages.map(({ message }) => message);
  const fault = unitFault("begin the transaction", bodies);
  if (fault) throw fault;
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
