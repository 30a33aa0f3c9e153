/**
 * Decisions about topics and groups: create or match, change, drop.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { compileFilter } from "../filter/mod.ts";
import type { Filter, GroupConfig, GroupPatch, TopicConfig, TopicPatch } from "./api.ts";
import { type Core, commit } from "./core.ts";
import { encodeConfig } from "./entities.ts";
import type { GroupState, StoredGroupConfig, Subscription } from "./groups.ts";
import type { TopicState } from "./topics.ts";

export const DEFAULT_TOPIC: TopicConfig = {
  queues: 4,
  messageType: "mixed",
  acks: "durable",
  retention: { timeMs: 259_200_000, bytes: null },
  description: "",
};

export function topicNamed(core: Core, name: string): TopicState {
  const topic = core.fold.topics.named(name);
  if (topic) return topic;
  throw new TidegateError(
    "topic-not-found",
    `Cannot find topic "${name}": no topic has this name`,
    {
      topic: name,
    },
  );
}

export function groupNamed(core: Core, name: string): GroupState {
  const group = core.fold.groups.named(name);
  if (group) return group;
  throw new TidegateError(
    "group-not-found",
    `Cannot find group "${name}": no group has this name`,
    {
      group: name,
    },
  );
}

/** @throws `topic-not-found` */
export function subscriptionTo(group: GroupState, topic: string): Subscription {
  const subscription = group.subscriptions.get(topic);
  if (subscription) return subscription;
  const detail = `Cannot find "${topic}" in group "${group.name}": it has no subscription to it`;
  throw new TidegateError("topic-not-found", detail, { topic });
}

export function putTopic(
  core: Core,
  wish: { readonly name: string; readonly config: TopicConfig; readonly now: number },
): { created: boolean; topic: TopicState } {
  const { name, now } = wish;
  const config = canonicalTopic(wish.config);
  const known = core.fold.topics.named(name);
  if (known && same(known.config, config)) return { created: false, topic: known };
  if (known) {
    const detail = `Cannot create topic "${name}": it exists with another configuration`;
    throw new TidegateError("topic-exists", detail, { topic: name });
  }
  const generation = core.fold.nextGeneration(now);
  defineTopic(core, { name, generation, version: 1, createdAt: now, config, now });
  return { created: true, topic: topicNamed(core, name) };
}

export function patchTopic(
  core: Core,
  wish: { readonly name: string; readonly change: TopicPatch; readonly now: number },
): TopicState {
  const { name, change, now } = wish;
  const topic = topicNamed(core, name);
  const before = topic.config;
  const config = canonicalTopic({
    queues: change.queues ?? before.queues,
    messageType: change.messageType ?? before.messageType,
    acks: change.acks ?? before.acks,
    retention: { ...before.retention, ...change.retention },
    description: change.description ?? before.description,
  });
  if (config.messageType !== before.messageType) {
    const detail = `Cannot change topic "${name}": its message type is fixed when it is created`;
    throw new TidegateError("immutable-field", detail, { field: "messageType" });
  }
  if (
    config.queues < before.queues ||
    (config.queues > before.queues && before.messageType === "fifo")
  ) {
    const detail = `Cannot change topic "${name}": it has ${before.queues} queues and keys keep their queue`;
    throw new TidegateError("key-order", detail, { queues: before.queues });
  }
  if (!same(before, config)) {
    const { generation, createdAt, version } = topic;
    defineTopic(core, { name, generation, version: version + 1, createdAt, config, now });
  }
  return topic;
}

interface Definition<Config> {
  readonly name: string;
  readonly generation: number;
  readonly version: number;
  readonly createdAt: number;
  readonly config: Config;
  readonly now: number;
}

function defineTopic(core: Core, { now, config, ...rest }: Definition<TopicConfig>): void {
  const record = { ...rest, entity: "topic", config: encodeConfig(config) } as const;
  commit(core, { kind: "define", record, now });
}

export function dropTopic(core: Core, { name, now }: { name: string; now: number }): void {
  const { generation } = topicNamed(core, name);
  commit(core, { kind: "drop", record: { entity: "topic", generation, name }, now });
}

export function putGroup(
  core: Core,
  wish: { readonly name: string; readonly config: GroupConfig; readonly now: number },
): { created: boolean; group: GroupState } {
  const { name, now } = wish;
  const known = core.fold.groups.named(name);
  const paused = known?.config.paused ?? false;
  const config = canonicalGroup({ ...wish.config, paused });
  if (known && same(canonicalGroup(known.config), config)) return { created: false, group: known };
  if (known) {
    const detail = `Cannot create group "${name}": it exists with another configuration`;
    throw new TidegateError("group-exists", detail, { group: name });
  }
  checkSubscriptions(core, config);
  const generation = core.fold.nextGeneration(now);
  defineGroup(core, { name, generation, version: 1, createdAt: now, config, now });
  return { created: true, group: groupNamed(core, name) };
}

export function patchGroup(
  core: Core,
  wish: {
    readonly name: string;
    readonly change: GroupPatch & { readonly paused?: boolean };
    readonly now: number;
  },
): GroupState {
  const { name, change, now } = wish;
  const group = groupNamed(core, name);
  const before = group.config;
  const config = canonicalGroup({
    subscriptions: change.subscriptions ?? before.subscriptions,
    mode: change.mode ?? before.mode,
    leaseMs: change.leaseMs ?? before.leaseMs,
    maxAttempts: change.maxAttempts ?? before.maxAttempts,
    backoff: change.backoff ?? before.backoff,
    startFrom: change.startFrom ?? before.startFrom,
    maxInFlight: change.maxInFlight ?? before.maxInFlight,
    paused: change.paused ?? before.paused,
  });
  if (change.subscriptions) checkSubscriptions(core, config);
  if (config.mode !== before.mode && group.tally.open > 0) {
    const detail = `Cannot change the mode of group "${name}": ${group.tally.open} of its messages are leased or wait for a retry`;
    throw new TidegateError("group-busy", detail, { group: name, open: group.tally.open });
  }
  if (!same(canonicalGroup(before), config)) {
    const { generation, createdAt, version } = group;
    defineGroup(core, { name, generation, version: version + 1, createdAt, config, now });
  }
  return group;
}

/** Filters must compile. Where topics come into being by publishing, a group may wait for one; elsewhere it is a slip of the pen. */
function checkSubscriptions(core: Core, config: GroupConfig): void {
  for (const { topic, filter } of config.subscriptions) {
    if (filter) checkFilter(topic, filter);
    if (!core.autoCreate) topicNamed(core, topic);
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

function defineGroup(core: Core, { now, config, ...rest }: Definition<StoredGroupConfig>): void {
  const record = { ...rest, entity: "group", config: encodeConfig(config) } as const;
  commit(core, { kind: "define", record, now });
}

export function dropGroup(core: Core, { name, now }: { name: string; now: number }): void {
  const { generation } = groupNamed(core, name);
  commit(core, { kind: "drop", record: { entity: "group", generation, name }, now });
}

/** Members in one order, so that equal configurations are equal texts. */
function canonicalTopic(config: TopicConfig): TopicConfig {
  const { queues, messageType, acks, retention, description } = config;
  const { timeMs, bytes } = retention;
  return { queues, messageType, acks, retention: { timeMs, bytes }, description };
}

function canonicalGroup(config: StoredGroupConfig): StoredGroupConfig {
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

function same(a: TopicConfig | GroupConfig, b: TopicConfig | GroupConfig): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
