/**
 * {@linkcode GroupsApi} on this node.
 *
 * @module
 */

import type { Group, GroupsApi, QueueLag } from "./api.ts";
import { deadLettersApi } from "./dead_letters_api.ts";
import { dropGroup, groupNamed, patchGroup, putGroup } from "./define.ts";
import { endLeases } from "./grant.ts";
import { consumers, peek, seek } from "./group_operations.ts";
import type { GroupState, Subscription } from "./groups.ts";
import { receive } from "./receiving.ts";
import { settle } from "./settle.ts";
import type { Shell } from "./shell.ts";
import { pageOf } from "./topics_api.ts";

export function groupsApi(shell: Shell): GroupsApi {
  const { core } = shell;
  return {
    put: (name, config) =>
      shell.decide((now) => {
        const { created, group } = putGroup(core, { name, config, now });
        markAllReady(shell, group);
        return { created, group: show(group) };
      }),
    get: (name) => shell.decide(() => show(groupNamed(core, name))),
    patch: (name, change) => patch(shell, { name, change }),
    async delete(name) {
      const group = await shell.decide((now) => {
        const found = groupNamed(core, name);
        dropGroup(core, { name, now });
        return found;
      });
      shell.receivers.release(group);
    },
    list: (page) =>
      shell.decide(() => {
        const { names, next } = pageOf(core.fold.groups.names(), page);
        const groups = names.map((name) => show(groupNamed(core, name)));
        return next === undefined ? { groups } : { groups, next };
      }),
    receive: (request, options) => receive(shell, { request, options }),
    settle: (name, request) =>
      shell.decide((now) => {
        const group = groupNamed(core, name);
        const results = settle(core, { group, request, now });
        shell.receivers.pump(group);
        shell.traffic.settle(results);
        return results;
      }),
    async lag(name) {
      const group = await shell.decide(() => {
        const found = groupNamed(core, name);
        shell.scout.settleSkips(found);
        return found;
      });
      const topics = [...group.subscriptions.values()].map((one) => topicLag(shell, one));
      return { topics: await Promise.all(topics) };
    },
    pause: (name) => patch(shell, { name, change: { paused: true } }),
    resume: (name) => patch(shell, { name, change: { paused: false } }),
    peek: (name, wish) => peek(shell, { name, ...wish }),
    consumers: (name) =>
      shell.decide((now) => {
        const group = groupNamed(core, name);
        endLeases(core, { group, now });
        return consumers(shell, group);
      }),
    seek: (name, wish) => seek(shell, { name, ...wish }),
    ...deadLettersApi(shell),
  };
}

function patch(
  shell: Shell,
  { name, change }: { name: string; change: Parameters<typeof patchGroup>[1]["change"] },
): Promise<Group> {
  return shell.decide((now) => {
    const group = patchGroup(shell.core, { name, change, now });
    markAllReady(shell, group);
    shell.receivers.pump(group);
    return show(group);
  });
}

function show(group: GroupState): Group {
  const { name, generation, createdAt } = group;
  return { ...group.config, name, generation, createdAt };
}

/** Every queue of the group may have something: after a start, or a change of subscriptions. */
export function markAllReady(shell: Shell, group: GroupState): void {
  for (const subscription of group.subscriptions.values()) {
    const topic = shell.core.fold.topics.named(subscription.topic);
    for (let queueId = 0; topic && queueId < topic.config.queues; queueId++) {
      shell.refresh(subscription, queueId);
    }
  }
}

async function topicLag(shell: Shell, subscription: Subscription) {
  const topic = shell.core.fold.topics.named(subscription.topic);
  const queues: QueueLag[] = [];
  let total = 0;
  for (let queueId = 0; topic && queueId < topic.config.queues; queueId++) {
    const { open, ...lag } = queueLag(shell, { subscription, queueId });
    const oldestAgeMs =
      lag.committedOffset < lag.endOffset
        ? await ageMs(shell, { topicGen: topic.generation, queueId, from: lag.committedOffset })
        : 0;
    queues.push({ ...lag, oldestAgeMs });
    total += open;
  }
  return { topic: subscription.topic, queues, total };
}

function queueLag(
  shell: Shell,
  { subscription, queueId }: { subscription: Subscription; queueId: number },
) {
  const { topicGen = 0 } = subscription;
  const queue = subscription.queues[queueId];
  const endOffset = shell.core.visibleEnd({ topicGen, queueId });
  const { head = 0, expiredUnread = 0 } = queue ?? {};
  const now = shell.now();
  let [leased, due] = [0, 0];
  for (const message of queue?.open.values() ?? []) {
    if (message.at <= now) due++;
    else if (!message.released) leased++;
  }
  const fresh = Math.max(0, endOffset - head - (queue?.taken.size ?? 0));
  const committedOffset = queue?.committedOffset ?? head;
  const open = fresh + (queue?.open.size ?? 0);
  return { queueId, committedOffset, endOffset, ready: fresh + due, leased, expiredUnread, open };
}

/** Of the message at a queueOffset. */
async function ageMs(
  shell: Shell,
  { topicGen, queueId, from }: { topicGen: number; queueId: number; from: number },
): Promise<number> {
  const slice = await shell.store.reader.read(
    { topicGen, queueId },
    { from, max: 1, removed: true },
  );
  const visibleAt = slice.units[0]?.visibleAt;
  return visibleAt === undefined ? 0 : Math.max(0, shell.now() - visibleAt);
}
