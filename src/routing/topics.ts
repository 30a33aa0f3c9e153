/**
 * {@linkcode TopicsApi} of a cluster: decided at the coordinator, served by the broker
 * groups that have the queues.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { BrokerGroupApi, Topic, TopicEnds, TopicPatch, TopicsApi } from "../broker/api.ts";
import {
  canonicalTopic,
  changedTopic,
  noTopic,
  sameConfig,
  topicBusy,
  topicExists,
} from "../broker/definitions.ts";
import type { Cluster } from "./cluster.ts";
import { changeEach } from "./consumer_group.ts";
import { ownerOf, type TopicDefinition } from "./definition.ts";

export function topicsApi(cluster: Cluster): TopicsApi {
  const { definitions } = cluster;
  return {
    async put(name, wish) {
      const config = canonicalTopic(wish);
      const { created, topic } = await cluster.makeTopic(name, config);
      if (created) return { created, topic: show(topic, new Map()) };
      if (!sameConfig(topic.config, config)) throw topicExists(name);
      const whole = topic.version > 1 ? await cluster.copies.spread(topic) : topic;
      return { created, topic: await shown(cluster, whole) };
    },
    async get(name) {
      const topic = await definitions.readOrRecall("topic", name);
      if (!topic) throw noTopic(name);
      return await shown(cluster, topic);
    },
    patch: (name, change) => patch(cluster, { name, change }),
    delete: (name, { force = false } = {}) => remove(cluster, { name, force }),
    async purge(name) {
      const topic = await cluster.topic(name);
      const ask = ({ topics }: BrokerGroupApi) => topics.purge(name);
      const counts = await changeEach(topic.groups, (group) => cluster.ask(topic, { group, ask }));
      return counts.reduce((sum, count) => sum + count, 0);
    },
    async list(page) {
      const { all, next } = await definitions.page("topic", page);
      const ends = await endsOf(cluster, all);
      const topics = all.map((topic) => show(topic, ends));
      return next === undefined ? { topics } : { topics, next };
    },
  };
}

async function patch(
  cluster: Cluster,
  { name, change }: { readonly name: string; readonly change: TopicPatch },
): Promise<Topic> {
  for (;;) {
    const before = await cluster.definitions.read("topic", name);
    if (!before) throw noTopic(name);
    const config = changedTopic(name, { before: before.config, change });
    checkGrowth(before, config.queues);
    const same = sameConfig(before.config, config);
    const { version } = before;
    const topic = same
      ? before
      : await cluster.definitions.write({ ...before, config, version: version + 1 });
    if (!topic) continue;
    return await shown(cluster, topic.version > 1 ? await cluster.copies.spread(topic) : topic);
  }
}

/**
 * What makes a repeat of a message known lies in the broker group of its key, so keys may
 * get another queue, but never one of another broker group.
 *
 * @throws `not-implemented`
 */
function checkGrowth({ name, config, groups }: TopicDefinition, queues: number): void {
  const { length } = groups;
  if (queues === config.queues || (queues % length === 0 && config.queues % length === 0)) return;
  const detail = `Cannot change topic "${name}": its queues are spread over ${length} broker groups, and grow only from a multiple of ${length} to another`;
  throw new TidegateError("not-implemented", detail, {
    feature: "growing a topic unevenly over broker groups",
  });
}

async function remove(
  cluster: Cluster,
  { name, force }: { readonly name: string; readonly force: boolean },
): Promise<void> {
  for (;;) {
    const topic = await cluster.definitions.read("topic", name);
    if (!topic) throw noTopic(name);
    if (!force) await checkIdle(cluster, topic);
    if (!(await cluster.definitions.remove(topic))) continue;
    return await cluster.copies.withdraw(topic, topic.groups);
  }
}

/** @throws `topic-busy` */
async function checkIdle(cluster: Cluster, topic: TopicDefinition): Promise<void> {
  const { name } = topic;
  const open = await cluster.askAll(topic, ({ share }) => share.undecidedIn(name));
  const transactions = open.reduce((sum, count) => sum + count, 0);
  if (transactions > 0) throw topicBusy(name, transactions);
}

/** By topic and broker group. */
type Ends = ReadonlyMap<string, ReadonlyMap<number, TopicEnds>>;

async function shown(cluster: Cluster, topic: TopicDefinition): Promise<Topic> {
  return show(topic, await endsOf(cluster, [topic]));
}

function show(topic: TopicDefinition, ends: Ends): Topic {
  const { name, generation, createdAt, config } = topic;
  const endOffsets = Array.from({ length: config.queues }, (_, queueId) => {
    const told = ends.get(name)?.get(ownerOf(topic, queueId));
    return told?.generation === generation ? (told.endOffsets[queueId] ?? 0) : 0;
  });
  return { ...config, name, generation, createdAt, endOffsets };
}

/** One question to each broker group, however many topics. */
async function endsOf(cluster: Cluster, topics: readonly TopicDefinition[]): Promise<Ends> {
  const asked = new Map<number, string[]>();
  for (const { name, groups } of topics) {
    for (const group of groups) {
      const names = asked.get(group);
      if (names) names.push(name);
      else asked.set(group, [name]);
    }
  }
  const ends = new Map<string, Map<number, TopicEnds>>(topics.map(({ name }) => [name, new Map()]));
  await Promise.all(
    [...asked].map(async ([group, names]) => {
      const told = await cluster.members.call({ group, ask: ({ share }) => share.endsOf(names) });
      for (const one of told) ends.get(one.name)?.set(group, one);
    }),
  );
  return ends;
}
