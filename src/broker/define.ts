/**
 * Decisions about topics and groups: create or match, change, drop.
 *
 * @module
 */

import type { GroupConfig, TopicConfig, TopicPatch } from "./api.ts";
import { type Core, commit } from "./core.ts";
import {
  canonicalGroup,
  canonicalTopic,
  changedGroup,
  changedTopic,
  checkFilters,
  groupBusy,
  groupExists,
  noGroup,
  notSubscribed,
  noTopic,
  sameConfig,
  type StoredGroupConfig,
  type StoredGroupPatch,
  type StoredTopicConfig,
  topicExists,
} from "./definitions.ts";
import { encodeConfig } from "./entities.ts";
import type { GroupState, Subscription } from "./groups.ts";
import type { TopicState } from "./topics.ts";

export function topicNamed(core: Core, name: string): TopicState {
  const topic = core.fold.topics.named(name);
  if (topic) return topic;
  throw noTopic(name);
}

export function groupNamed(core: Core, name: string): GroupState {
  const group = core.fold.groups.named(name);
  if (group) return group;
  throw noGroup(name);
}

/** @throws `topic-not-found` */
export function subscriptionTo(group: GroupState, topic: string): Subscription {
  const subscription = group.subscriptions.get(topic);
  if (subscription) return subscription;
  throw notSubscribed(group.name, topic);
}

export function putTopic(
  core: Core,
  wish: { readonly name: string; readonly config: TopicConfig; readonly now: number },
): { created: boolean; topic: TopicState } {
  const { name, now } = wish;
  const config = canonicalTopic(wish.config);
  const known = core.fold.topics.named(name);
  if (known && sameConfig(known.config, config)) return { created: false, topic: known };
  if (known) throw topicExists(name);
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
  const config = changedTopic(name, { before, change });
  if (!sameConfig(before, config)) {
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

function defineTopic(core: Core, { now, config, ...rest }: Definition<StoredTopicConfig>): void {
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
  if (known && sameConfig(canonicalGroup(known.config), config))
    return { created: false, group: known };
  if (known) throw groupExists(name);
  checkSubscriptions(core, config);
  const generation = core.fold.nextGeneration(now);
  defineGroup(core, { name, generation, version: 1, createdAt: now, config, now });
  return { created: true, group: groupNamed(core, name) };
}

export function patchGroup(
  core: Core,
  wish: {
    readonly name: string;
    readonly change: StoredGroupPatch;
    readonly now: number;
  },
): GroupState {
  const { name, change, now } = wish;
  const group = groupNamed(core, name);
  const before = group.config;
  const config = changedGroup(before, change);
  if (change.subscriptions) checkSubscriptions(core, config);
  if (config.mode !== before.mode && group.tally.open > 0) {
    throw groupBusy(name, group.tally.open);
  }
  if (!sameConfig(canonicalGroup(before), config)) {
    const { generation, createdAt, version } = group;
    defineGroup(core, { name, generation, version: version + 1, createdAt, config, now });
  }
  return group;
}

/** Filters must compile. Where topics come into being by publishing, a group may wait for one; elsewhere it is a slip of the pen. */
function checkSubscriptions(core: Core, config: GroupConfig): void {
  checkFilters(config);
  if (core.autoCreate) return;
  for (const { topic } of config.subscriptions) topicNamed(core, topic);
}

function defineGroup(core: Core, { now, config, ...rest }: Definition<StoredGroupConfig>): void {
  const record = { ...rest, entity: "group", config: encodeConfig(config) } as const;
  commit(core, { kind: "define", record, now });
}

export function dropGroup(core: Core, { name, now }: { name: string; now: number }): void {
  const { generation } = groupNamed(core, name);
  commit(core, { kind: "drop", record: { entity: "group", generation, name }, now });
}
