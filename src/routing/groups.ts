/**
 * {@linkcode GroupsApi} of a cluster: definitions at the coordinator, and each broker
 * group's part of a consumer group put together.
 *
 * @module
 */

import type {
  BrokerGroupApi,
  ConnectedConsumer,
  Group,
  GroupConfig,
  GroupsApi,
  Peeked,
  QueueLag,
} from "../broker/api.ts";
import {
  canonicalGroup,
  changedGroup,
  checkFilters,
  groupBusy,
  groupExists,
  noGroup,
  noTopic,
  sameConfig,
  type StoredGroupPatch,
} from "../broker/definitions.ts";
import type { Cluster } from "./cluster.ts";
import { askEach, concernedBy, type Concerned } from "./consumer_group.ts";
import { deadLettersApi } from "./dead_letters.ts";
import { type GroupDefinition, ownerOf } from "./definition.ts";
import { Receiver } from "./receive.ts";
import { seek } from "./seek.ts";
import { settle } from "./settle.ts";

const REPEATABLE = { repeatable: true };

export function groupsApi(cluster: Cluster): GroupsApi {
  const { definitions } = cluster;
  const receiver = new Receiver(cluster);
  return {
    put: (name, config) => put(cluster, { name, config }),
    async get(name) {
      const group = await definitions.readOrRecall("group", name);
      if (!group) throw noGroup(name);
      return show(group);
    },
    patch: (name, change) => patch(cluster, { name, change }),
    pause: (name) => patch(cluster, { name, change: { paused: true } }),
    resume: (name) => patch(cluster, { name, change: { paused: false } }),
    delete: (name) => remove(cluster, name),
    async list(page) {
      const { all, next } = await definitions.page("group", page);
      const groups = all.map(show);
      return next === undefined ? { groups } : { groups, next };
    },
    receive: (request, options) => receiver.receive({ request, options }),
    settle: (group, request) => settle(cluster, { group, request }),
    lag: (name) => lag(cluster, name),
    peek: (name, wish) => peek(cluster, { name, ...wish }),
    consumers: (name) => consumers(cluster, name),
    seek: (name, wish) => seek(cluster, { name, ...wish }),
    ...deadLettersApi(cluster),
  };
}

function show({ name, generation, createdAt, config }: GroupDefinition): Group {
  return { ...config, name, generation, createdAt };
}

async function put(
  cluster: Cluster,
  { name, config: wish }: { readonly name: string; readonly config: GroupConfig },
): Promise<{ created: boolean; group: Group }> {
  const { definitions, copies } = cluster;
  for (;;) {
    const known = await definitions.read("group", name);
    const config = canonicalGroup({ ...wish, paused: known?.config.paused ?? false });
    if (known) {
      if (!sameConfig(known.config, config)) throw groupExists(name);
      return { created: false, group: show(await copies.spread(known)) };
    }
    await checkSubscriptions(cluster, config);
    const generation = await definitions.nextGeneration();
    const about = { kind: "group", name, generation, version: 1, groups: [], spread: 0 } as const;
    const createdAt = cluster.clock.now();
    const group = await definitions.write({ ...about, config, createdAt, revision: 0 });
    if (group) return { created: true, group: show(await copies.spread(group)) };
  }
}

/** @throws `filter-invalid`, `topic-not-found` */
async function checkSubscriptions(cluster: Cluster, config: GroupConfig): Promise<void> {
  checkFilters(config);
  if (cluster.autoCreate) return;
  for (const { topic } of config.subscriptions) {
    if (!(await cluster.definitions.find("topic", topic))) throw noTopic(topic);
  }
}

async function patch(
  cluster: Cluster,
  { name, change }: { readonly name: string; readonly change: StoredGroupPatch },
): Promise<Group> {
  const { definitions, copies } = cluster;
  for (;;) {
    const before = await definitions.read("group", name);
    if (!before) throw noGroup(name);
    const config = changedGroup(before.config, change);
    if (change.subscriptions) await checkSubscriptions(cluster, config);
    if (config.mode !== before.config.mode) await checkIdle(cluster, before);
    const { version } = before;
    const same = sameConfig(canonicalGroup(before.config), config);
    const group = same
      ? before
      : await definitions.write({ ...before, config, version: version + 1 });
    if (group) return show(await copies.spread(group));
  }
}

/** @throws `group-busy` */
async function checkIdle(cluster: Cluster, { name }: GroupDefinition): Promise<void> {
  const groups = await cluster.members.groups();
  const open = await askEach(cluster, groups, ({ share }) => share.openIn(name), REPEATABLE);
  const sum = open.reduce((total, one) => total + one, 0);
  if (sum > 0) throw groupBusy(name, sum);
}

async function remove(cluster: Cluster, name: string): Promise<void> {
  for (;;) {
    const group = await cluster.definitions.read("group", name);
    if (!group) throw noGroup(name);
    if (!(await cluster.definitions.remove(group))) continue;
    return await cluster.copies.withdraw(group, cluster.members.known());
  }
}

/** Asks the broker groups that have something for it. */
async function eachPart<T>(
  cluster: Cluster,
  name: string,
  ask: (broker: BrokerGroupApi, group: number) => Promise<T>,
): Promise<{
  readonly answers: readonly T[];
  readonly concerned: Concerned;
  group: GroupDefinition;
}> {
  const group = await cluster.group(name);
  const concerned = await concernedBy(cluster, { group });
  const answers = await askEach(cluster, concerned.groups, ask, REPEATABLE);
  return { answers, concerned, group };
}

async function lag(cluster: Cluster, name: string): ReturnType<GroupsApi["lag"]> {
  const { answers, concerned, group } = await eachPart(cluster, name, ({ groups }) =>
    groups.lag(name),
  );
  const topics = group.config.subscriptions.map(({ topic: topicName }) => {
    const topic = concerned.topics.get(topicName);
    const queues: QueueLag[] = [];
    let total = 0;
    for (const [i, answer] of answers.entries()) {
      const part = answer.topics.find((one) => one.topic === topicName);
      const isOwn = (queueId: number) => topic && ownerOf(topic, queueId) === concerned.groups[i];
      queues.push(...(part?.queues.filter(({ queueId }) => isOwn(queueId)) ?? []));
      total += part?.total ?? 0;
    }
    return { topic: topicName, queues: queues.sort((a, b) => a.queueId - b.queueId), total };
  });
  return { topics };
}

async function peek(
  cluster: Cluster,
  wish: Parameters<GroupsApi["peek"]>[1] & { readonly name: string },
): Promise<readonly Peeked[]> {
  const { name, limit, maxBytes, topic } = wish;
  const group = await cluster.group(name);
  const { groups } = await concernedBy(cluster, { group, only: topic });
  const peeked: Peeked[] = [];
  let bytes = 0;
  for (const one of groups) {
    if (peeked.length >= limit || bytes >= maxBytes) break;
    const rest = { limit: limit - peeked.length, maxBytes: maxBytes - bytes, topic };
    const found = await cluster.members.call({
      group: one,
      repeatable: true,
      ask: (broker) => broker.groups.peek(name, rest),
    });
    for (const message of found) {
      bytes += message.payload.length;
      if (bytes > maxBytes && peeked.length > 0) return peeked;
      peeked.push(message);
    }
  }
  return peeked;
}

async function consumers(cluster: Cluster, name: string): Promise<readonly ConnectedConsumer[]> {
  const { answers } = await eachPart(cluster, name, ({ groups }) => groups.consumers(name));
  const found = new Map<string | undefined, { waiting: number; inFlight: number }>();
  for (const { consumerId, waiting, inFlight } of answers.flat()) {
    const sum = found.get(consumerId) ?? { waiting: 0, inFlight: 0 };
    // One receive waits at every broker group at once.
    sum.waiting = Math.max(sum.waiting, waiting);
    sum.inFlight += inFlight;
    found.set(consumerId, sum);
  }
  const nameless = found.get(undefined);
  const named = [...found].flatMap(([consumerId, sum]) =>
    consumerId === undefined ? [] : { consumerId, ...sum },
  );
  named.sort((a, b) => (a.consumerId < b.consumerId ? -1 : 1));
  return nameless ? [...named, nameless] : named;
}
