/**
 * What definitions of topics, consumer groups and producer groups are, and how they
 * may change: the rules, without the log that keeps them. A node alone decides by
 * them over its fold; in a cluster they are decided over what the coordinator has.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { compileFilter } from "../filter/mod.ts";
import type {
  Filter,
  GroupConfig,
  GroupPatch,
  ProducerGroupConfig,
  ProducerGroupPatch,
  TopicConfig,
  TopicPatch,
} from "./api.ts";

/** Which queues of a topic a broker group has: every `of`th, from `index` on. */
export interface QueueShare {
  readonly of: number;
  readonly index: number;
}

/** As the log has it. */
export interface StoredTopicConfig extends TopicConfig {
  /** Absent: it has all of them. */
  readonly share?: QueueShare | undefined;
}

/** As the log has it. */
export interface StoredGroupConfig extends GroupConfig {
  readonly paused: boolean;
}

export type StoredGroupPatch = GroupPatch & { readonly paused?: boolean | undefined };

export const DEFAULT_TOPIC: TopicConfig = {
  queues: 4,
  messageType: "mixed",
  acks: "durable",
  retention: { timeMs: 259_200_000, bytes: null },
  description: "",
};

/** Of canonical ones. */
export function sameConfig(
  a: TopicConfig | GroupConfig | ProducerGroupConfig,
  b: TopicConfig | GroupConfig | ProducerGroupConfig,
): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

// Members in one order, so that equal configurations are equal texts.

export function canonicalTopic(config: StoredTopicConfig): StoredTopicConfig {
  const { queues, messageType, acks, retention, description, share } = config;
  const { timeMs, bytes } = retention;
  const topic = { queues, messageType, acks, retention: { timeMs, bytes }, description };
  return share ? { ...topic, share: { of: share.of, index: share.index } } : topic;
}

export function canonicalGroup(config: StoredGroupConfig): StoredGroupConfig {
  const { mode, leaseMs, maxAttempts, backoff, startFrom, maxInFlight, paused } = config;
  const subscriptions = config.subscriptions
    .map(({ topic, filter }) => (filter ? { topic, filter: canonicalFilter(filter) } : { topic }))
    .sort((a, b) => (a.topic < b.topic ? -1 : 1));
  const rests =
    "scheduleMs" in backoff
      ? { scheduleMs: backoff.scheduleMs }
      : { initialMs: backoff.initialMs, multiplier: backoff.multiplier, maxMs: backoff.maxMs };
  const rules = { leaseMs, maxAttempts, backoff: rests, startFrom, maxInFlight };
  return { subscriptions, mode, ...rules, paused };
}

function canonicalFilter(filter: Filter): Filter {
  return "tag" in filter ? { tag: filter.tag } : { sql: filter.sql };
}

export function canonicalProducerGroup(config: ProducerGroupConfig): ProducerGroupConfig {
  const { checkUrl, checkSecret, firstCheckMs, checkIntervalMs, maxChecks } = config;
  return {
    ...(checkUrl !== undefined && { checkUrl }),
    ...(checkSecret !== undefined && { checkSecret }),
    firstCheckMs,
    checkIntervalMs,
    maxChecks,
  };
}

/** What is told of it: that there is a secret, not the secret. */
export function shownProducerGroup({
  checkSecret,
  ...config
}: ProducerGroupConfig): Omit<ProducerGroupConfig, "checkSecret"> & { checkSecretSet: boolean } {
  return { ...config, checkSecretSet: checkSecret !== undefined };
}

/** @throws `immutable-field` (messageType), `key-order` (queues) */
export function changedTopic(
  name: string,
  { before, change }: { readonly before: StoredTopicConfig; readonly change: TopicPatch },
): StoredTopicConfig {
  const config = canonicalTopic({
    queues: change.queues ?? before.queues,
    messageType: change.messageType ?? before.messageType,
    acks: change.acks ?? before.acks,
    retention: { ...before.retention, ...change.retention },
    description: change.description ?? before.description,
    share: before.share,
  });
  if (config.messageType !== before.messageType) {
    const detail = `Cannot change topic "${name}": its message type is fixed when it is created`;
    throw new TidegateError("immutable-field", detail, { field: "messageType" });
  }
  const grows = config.queues > before.queues;
  if (config.queues < before.queues || (grows && before.messageType === "fifo")) {
    const detail = `Cannot change topic "${name}": it has ${before.queues} queues and keys keep their queue`;
    throw new TidegateError("key-order", detail, { queues: before.queues });
  }
  return config;
}

export function changedGroup(
  before: StoredGroupConfig,
  change: StoredGroupPatch,
): StoredGroupConfig {
  return canonicalGroup({
    subscriptions: change.subscriptions ?? before.subscriptions,
    mode: change.mode ?? before.mode,
    leaseMs: change.leaseMs ?? before.leaseMs,
    maxAttempts: change.maxAttempts ?? before.maxAttempts,
    backoff: change.backoff ?? before.backoff,
    startFrom: change.startFrom ?? before.startFrom,
    maxInFlight: change.maxInFlight ?? before.maxInFlight,
    paused: change.paused ?? before.paused,
  });
}

export function changedProducerGroup(
  before: ProducerGroupConfig,
  change: ProducerGroupPatch,
): ProducerGroupConfig {
  const given = Object.entries(change).filter(([, value]) => value !== undefined);
  const changed = Object.fromEntries(given.map(([key, value]) => [key, value ?? undefined]));
  return canonicalProducerGroup({ ...before, ...changed });
}

/** Filters must compile. @throws `filter-invalid` with the topic */
export function checkFilters({ subscriptions }: GroupConfig): void {
  for (const { topic, filter } of subscriptions) {
    if (filter) checkFilter(topic, filter);
  }
}

function checkFilter(topic: string, filter: Filter): void {
  try {
    compileFilter(filter);
  } catch (error) {
    if (!(error instanceof TidegateError)) throw error;
    throw new TidegateError(error.code, error.message, { ...error.details, topic }, error);
  }
}

/** @param rules absent: nothing is refused here. @throws `check-url-refused` */
export function checkUrlOf(
  checkUrl: string | undefined,
  rules: { urlFault(url: string): string | undefined } | undefined,
): void {
  const fault = checkUrl === undefined ? undefined : rules?.urlFault(checkUrl);
  if (fault === undefined) return;
  throw new TidegateError("check-url-refused", `Cannot use the checkUrl: ${fault}`);
}

// What is said when there is none, one already, or one that cannot be changed now.

export function noTopic(name: string): TidegateError {
  const detail = `Cannot find topic "${name}": no topic has this name`;
  return new TidegateError("topic-not-found", detail, { topic: name });
}

export function noGroup(name: string): TidegateError {
  const detail = `Cannot find group "${name}": no group has this name`;
  return new TidegateError("group-not-found", detail, { group: name });
}

export function noProducerGroup(name: string): TidegateError {
  const detail = `Cannot find producer group "${name}": no producer group has this name`;
  return new TidegateError("producer-group-not-found", detail, { producerGroup: name });
}

export function notSubscribed(group: string, topic: string): TidegateError {
  const detail = `Cannot find "${topic}" in group "${group}": it has no subscription to it`;
  return new TidegateError("topic-not-found", detail, { topic });
}

export function topicExists(name: string): TidegateError {
  const detail = `Cannot create topic "${name}": it exists with another configuration`;
  return new TidegateError("topic-exists", detail, { topic: name });
}

export function groupExists(name: string): TidegateError {
  const detail = `Cannot create group "${name}": it exists with another configuration`;
  return new TidegateError("group-exists", detail, { group: name });
}

export function producerGroupExists(name: string): TidegateError {
  const detail = `Cannot create producer group "${name}": it exists with another configuration`;
  return new TidegateError("producer-group-exists", detail, { producerGroup: name });
}

export function groupBusy(name: string, open: number): TidegateError {
  const detail = `Cannot change the mode of group "${name}": ${open} of its messages are leased or wait for a retry`;
  return new TidegateError("group-busy", detail, { group: name, open });
}

export function topicBusy(name: string, transactions: number): TidegateError {
  const detail = `Cannot delete topic "${name}": ${transactions} transactions with messages of it are not decided`;
  return new TidegateError("topic-busy", detail, { topic: name, transactions });
}
