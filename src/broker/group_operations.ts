/**
 * What people do with a consumer group beside consuming: look at what comes next
 * and at who is there, move it, stop it.
 *
 * @module
 */

import type { ConnectedConsumer, GroupsApi, Peeked, Start } from "./api.ts";
import { messagesAt } from "./bodies.ts";
import { type Core, commit } from "./core.ts";
import { groupNamed, subscriptionTo, topicNamed } from "./define.ts";
import { endLeases } from "./grant.ts";
import { type GroupState, popQueue } from "./groups.ts";
import { LogReader } from "./reading.ts";
import { hasUnseen, isScouted, refresh } from "./readiness.ts";
import type { PopQueue } from "./pop_queue.ts";
import type { Shell } from "./shell.ts";
import type { TopicState } from "./topics.ts";

/** Messages that a peek looks through at most, where they must be looked at. */
const LOOK_MAX = 20_000;

export async function seek(
  shell: Shell,
  wish: { readonly name: string; readonly topic: string; readonly to: Start },
): Promise<{ queueId: number; position: number }[]> {
  const topic = await shell.decide(() => {
    subscriptionTo(groupNamed(shell.core, wish.name), wish.topic);
    return topicNamed(shell.core, wish.topic);
  });
  const positions = await positionsOf(shell, { topic, to: wish.to });
  return shell.decide((now) => {
    const group = groupNamed(shell.core, wish.name);
    if (topicNamed(shell.core, wish.topic) !== topic) return []; // made anew: read from its beginning
    const subscription = subscriptionTo(group, wish.topic);
    for (const { queueId, position } of positions) {
      moveTo(shell.core, { queue: popQueue(subscription, queueId), to: position, now });
    }
    shell.receivers.pump(group);
    return positions;
  });
}

/** Where each queue stands; a cursor of one queue is about that queue alone. */
async function positionsOf(
  shell: Shell,
  { topic, to }: { topic: TopicState; to: Start },
): Promise<{ queueId: number; position: number }[]> {
  const reader = new LogReader(shell.store, {
    brokerGroup: shell.core.brokerGroup,
    pause: () => shell.pause(),
  });
  const read = { topic: topic.name, start: to, limit: 1, maxBytes: 1, waitMs: 0 };
  const first = await reader.start(topic, read);
  if (first.kind === "queue") return [{ queueId: first.queueId, position: first.queueOffset }];
  const positions: { queueId: number; position: number }[] = [];
  for (let queueId = 0; queueId < topic.config.queues; queueId++) {
    const at = await reader.start(topic, { ...read, queueId });
    if (at.kind === "queue") positions.push({ queueId, position: at.queueOffset });
  }
  return positions;
}

function moveTo(
  core: Core,
  { queue, to, now }: { readonly queue: PopQueue; readonly to: number; readonly now: number },
): void {
  const { topicGen, queueId, subscription } = queue;
  const groupGen = subscription.group.generation;
  const first = core.fold.topics.of(topicGen)?.first[queueId] ?? 0; // it may have moved meanwhile
  const record = { groupGen, topicGen, queueId, to: Math.max(to, first) };
  commit(core, { kind: "seek", record, now });
  refresh(core, queue);
}

/** Looks, and passes nothing over: what is found is kept for the receive that comes there (scout.ts). */
export async function peek(
  shell: Shell,
  { name, limit, maxBytes, topic }: Parameters<GroupsApi["peek"]>[1] & { readonly name: string },
): Promise<Peeked[]> {
  const group = await shell.decide((now) => {
    const found = groupNamed(shell.core, name);
    if (topic !== undefined) subscriptionTo(found, topic);
    endLeases(shell.core, { group: found, now });
    return found;
  });
  for (let left = LOOK_MAX; left > 0 && hasUnseen(group, topic); ) {
    left -= await shell.scout.step(group, { topic, peeks: true });
  }
  const peeked: Peeked[] = [];
  let bytes = 0;
  // As they stand now: they rotate meanwhile.
  for (const subscription of [...group.ready]) {
    if (topic !== undefined && subscription.topic !== topic) continue;
    for (const queue of [...subscription.ready]) {
      if (peeked.length >= limit || bytes >= maxBytes) return peeked;
      for (const one of await peekQueue(shell, { queue, limit: limit - peeked.length })) {
        bytes += one.payload.length;
        if (bytes > maxBytes && peeked.length > 0) return peeked;
        peeked.push(one);
      }
    }
  }
  return peeked;
}

async function peekQueue(
  shell: Shell,
  { queue, limit }: { readonly queue: PopQueue; readonly limit: number },
): Promise<Peeked[]> {
  const topic = shell.core.fold.topics.of(queue.topicGen);
  if (!topic) return [];
  const next = nextOf(shell.core, { queue, limit });
  const offsets = [...next.keys()].sort((a, b) => a - b);
  const messages = await messagesAt(shell, { topic, queue, offsets });
  return messages.map((message) => ({
    ...message,
    attempt: next.get(message.queueOffset) ?? 1,
  }));
}

/** The queueOffsets to be granted next, with the attempt that would be. */
function nextOf(
  core: Core,
  { queue, limit }: { readonly queue: PopQueue; readonly limit: number },
): Map<number, number> {
  const next = new Map<number, number>();
  for (const { queueOffset, attempt } of queue.due) {
    if (next.size < limit) next.set(queueOffset, attempt + 1);
  }
  if (isScouted(queue)) {
    for (const { queueOffset } of queue.lookahead?.peek(limit - next.size) ?? []) {
      next.set(queueOffset, 1);
    }
    return next;
  }
  const end = core.visibleEnd(queue);
  for (let offset = queue.head; offset < end && next.size < limit; offset++) next.set(offset, 1);
  return next;
}

export function consumers(shell: Shell, group: GroupState): ConnectedConsumer[] {
  const { tally } = group;
  const waiting = shell.receivers.waiting(group);
  let nameless = tally.leased;
  const found: ConnectedConsumer[] = [];
  const named = new Set([...waiting.keys(), ...tally.consumers.keys()]);
  named.delete(undefined);
  for (const consumerId of ([...named] as string[]).sort((a, b) => (a < b ? -1 : 1))) {
    const inFlight = tally.consumers.get(consumerId)?.size ?? 0;
    nameless -= inFlight;
    found.push({ consumerId, waiting: waiting.get(consumerId) ?? 0, inFlight });
  }
  const others = { waiting: waiting.get(undefined) ?? 0, inFlight: nameless };
  return others.waiting + others.inFlight > 0 ? [...found, others] : found;
}
