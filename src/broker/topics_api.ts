/**
 * {@linkcode TopicsApi} on this node.
 *
 * @module
 */

import type { Page, Topic, TopicConfig, TopicsApi } from "./api.ts";
import { purgeTopic } from "./cut.ts";
import { dropTopic, patchTopic, putTopic, topicNamed } from "./define.ts";
import type { StoredTopicConfig } from "./definitions.ts";
import type { Shell } from "./shell.ts";
import type { TopicState } from "./topics.ts";
import { clearTopic } from "./transaction_decide.ts";

export function topicsApi(shell: Shell): TopicsApi {
  const { core } = shell;
  const show = (topic: TopicState): Topic => ({
    ...shownConfig(topic.config),
    name: topic.name,
    generation: topic.generation,
    createdAt: topic.createdAt,
    endOffsets: Array.from({ length: topic.config.queues }, (_, queueId) =>
      core.visibleEnd({ topicGen: topic.generation, queueId }),
    ),
  });
  return {
    put: (name, config) =>
      shell.decide((now) => {
        const { created, topic } = putTopic(core, { name, config, now });
        return { created, topic: show(topic) };
      }),
    get: (name) => shell.decide(() => show(topicNamed(core, name))),
    patch: (name, change) =>
      shell.decide((now) => {
        const topic = patchTopic(core, { name, change, now });
        shell.expiry.redefined(topic);
        shell.timers.arm();
        return show(topic);
      }),
    async delete(name, { force = false } = {}) {
      const generation = await shell.decide((now) => {
        const topic = topicNamed(core, name);
        clearTopic(core, { topic, force, now });
        dropTopic(core, { name, now });
        // Its leases are void: their groups may take others.
        for (const { group } of core.fold.groups.subscribers(name)) shell.receivers.pump(group);
        shell.forwarding.wake();
        shell.timers.arm();
        return topic.generation;
      });
      shell.readers.wake(generation); // they find it gone
    },
    purge: (name) =>
      shell.decide((now) => {
        const topic = topicNamed(core, name);
        const count = purgeTopic(core, { topic, now });
        for (const { group } of core.fold.groups.subscribers(name)) shell.receivers.pump(group);
        shell.forwarding.wake();
        shell.timers.arm();
        return count;
      }),
    list: (page) =>
      shell.decide(() => {
        const { names, next } = pageOf(core.fold.topics.names(), page);
        const topics = names.map((name) => show(topicNamed(core, name)));
        return next === undefined ? { topics } : { topics, next };
      }),
  };
}

function shownConfig(config: StoredTopicConfig): TopicConfig {
  const { queues, messageType, acks, retention, description } = config;
  return { queues, messageType, acks, retention, description };
}

/** A page of sorted names. */
export function pageOf(
  all: readonly string[],
  { limit, after }: Page,
): { names: readonly string[]; next: string | undefined } {
  let from = 0;
  if (after !== undefined) {
    for (let high = all.length; from < high; ) {
      const middle = (from + high) >>> 1;
      if ((all[middle] as string) <= after) from = middle + 1;
      else high = middle;
    }
  }
  const names = all.slice(from, from + limit);
  return { names, next: from + limit < all.length ? names.at(-1) : undefined };
}
