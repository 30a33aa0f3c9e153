/**
 * The decision whom a message is leased to: redeliveries first, then new ones,
 * ready queues in rotation.
 *
 * @module
 */

import type { RecordOf } from "../../storage/mod.ts";
import { type Core, commit } from "./core.ts";
import { type GroupState, isCurrent, markReady, type Subscription } from "./groups.ts";
import { type Grant, type OpenMessage, type PopQueue, toRanges } from "./pop_queue.ts";

/** A message and the grant it was leased by; another grant may follow. */
export interface Leased {
  readonly message: OpenMessage;
  readonly grant: Grant;
}

/** Whether the message is still out by this very grant, be its time over or not. */
export function isHeld({ message, grant: mine }: Leased): boolean {
  return message.grant === mine && !message.released && message.at !== Infinity;
}

export interface GrantWish {
  readonly max: number;
  readonly leaseMs: number;
  readonly topic: string | undefined;
  readonly attemptId: string | undefined;
  /** 8 random bytes, the secret of the receipts. */
  readonly nonce: Uint8Array;
  readonly now: number;
}

/** Leases what it can; empty when nothing is ready. */
export function grant(core: Core, { group, ...wish }: GrantWish & { group: GroupState }): Leased[] {
  endLeases(core, { group, now: wish.now });
  const again = wish.attemptId === undefined ? [] : repeat(group, wish.attemptId);
  if (again.length > 0) return again;
  const leased: Leased[] = [];
  let room = Math.min(wish.max, group.config.maxInFlight - group.tally.leased);
  for (const queue of readyQueues(group, wish.topic)) {
    if (room <= 0) break;
    const taken = leaseFrom(core, { ...wish, queue, max: room });
    room -= taken.length;
    for (const message of taken) leased.push({ message, grant: message.grant });
    rotate(core, queue);
  }
  return leased;
}

/** Whether a grant now would find something. */
export function hasReady(group: GroupState, topic: string | undefined): boolean {
  if (group.tally.leased >= group.config.maxInFlight) return false;
  return topic === undefined
    ? group.ready.size > 0
    : (group.subscriptions.get(topic)?.ready.size ?? 0) > 0;
}

/** Leases and waits that have ended make their queues ready; used-up ones become dead letters. */
export function endLeases(core: Core, { group, now }: { group: GroupState; now: number }): void {
  const { timers } = group;
  const used: OpenMessage[] = [];
  while (timers.minKey <= now) {
    const at = timers.minKey;
    const message = timers.pop();
    if (!message || !isCurrent(message, at)) continue; // settled or extended since
    if (message.attempt < group.config.maxAttempts) {
      message.queue.markDue(message);
      markReady(message.queue);
    } else {
      used.push(message);
    }
  }
  if (used.length === 0) return;
  for (const [queue, messages] of Map.groupBy(used, (message) => message.queue)) {
    const dead = messages.map((message) => ({ message, cause: "attempts" as const, reason: "" }));
    bury(core, { group, queue, dead, now });
  }
}

/** Moves messages to the group's dead letters. */
export function bury(
  core: Core,
  wish: {
    readonly group: GroupState;
    readonly queue: PopQueue;
    readonly dead: readonly {
      readonly message: OpenMessage;
      readonly cause: "attempts" | "rejected";
      readonly reason: string;
    }[];
    readonly now: number;
  },
): void {
  const { group, queue, now } = wish;
  const items = wish.dead.map(({ message, cause, reason }) => ({
    queueOffset: message.queueOffset,
    attempts: message.attempt,
    cause,
    reason,
  }));
  const { topicGen, queueId } = queue;
  const record = { groupGen: group.generation, topicGen, queueId, items };
  commit(core, { kind: "dead", record, now });
}

/** Each ready queue once; the caller rotates every one it is given before it asks for the next. */
function* readyQueues(group: GroupState, topic: string | undefined): Generator<PopQueue> {
  const only = topic === undefined ? undefined : group.subscriptions.get(topic);
  if (topic !== undefined && !only) return;
  for (let left = only ? 1 : group.ready.size; left > 0; left--) {
    const subscription: Subscription | undefined = only ?? first(group.ready);
    for (let queues = subscription?.ready.size ?? 0; subscription && queues > 0; queues--) {
      const queue = first(subscription.ready);
      if (queue) yield queue;
    }
  }
}

function first<T>(set: Set<T>): T | undefined {
  return set.values().next().value;
}

/** Behind the others if it has more, out of the set if not. */
function rotate(core: Core, queue: PopQueue): void {
  const { subscription } = queue;
  const { group } = subscription;
  subscription.ready.delete(queue);
  group.ready.delete(subscription);
  if (queue.due.size > 0 || queue.head < core.visibleEnd(queue)) subscription.ready.add(queue);
  if (subscription.ready.size > 0) group.ready.add(subscription);
}

function leaseFrom(core: Core, wish: GrantWish & { readonly queue: PopQueue }): OpenMessage[] {
  const { queue, max } = wish;
  const again = firstDue(queue, max);
  const fresh = Math.min(max - again.length, core.visibleEnd(queue) - queue.head);
  const leased: OpenMessage[] = [];
  for (const [attempt, messages] of Map.groupBy(again, (message) => message.attempt)) {
    const offsets = messages.map((message) => message.queueOffset).sort((a, b) => a - b);
    leased.push(...log(core, { ...wish, attempt: attempt + 1, ranges: toRanges(offsets) }));
  }
  if (fresh > 0) {
    const ranges = [{ first: queue.head, count: fresh }];
    leased.push(...log(core, { ...wish, attempt: 1, ranges }));
  }
  return leased;
}

/** They leave the list when they are granted. */
function firstDue(queue: PopQueue, max: number): OpenMessage[] {
  const due: OpenMessage[] = [];
  for (const message of queue.due) {
    if (due.length >= max) break;
    due.push(message);
  }
  return due;
}

/** Logs one grant and returns its messages. */
function log(
  core: Core,
  wish: GrantWish & {
    readonly queue: PopQueue;
    readonly attempt: number;
    readonly ranges: readonly { readonly first: number; readonly count: number }[];
  },
): OpenMessage[] {
  const { queue, attempt, ranges, nonce, attemptId, now } = wish;
  const record: RecordOf<"grant"> = {
    groupGen: queue.subscription.group.generation,
    topicGen: queue.topicGen,
    queueId: queue.queueId,
    ranges,
    grantSeq: queue.grantSeq + 1,
    attempt,
    until: now + wish.leaseMs,
    nonce,
    attemptId,
    consumerId: undefined,
  };
  commit(core, { kind: "grant", record, now });
  return ranges.flatMap(({ first, count }) =>
    Array.from({ length: count }, (_, i) => queue.open.get(first + i) as OpenMessage),
  );
}

/** The leases of an earlier receive with this attempt id that still live. */
function repeat(group: GroupState, attemptId: string): Leased[] {
  const alive = group.tally.attempts.get(attemptId) ?? [];
  return Array.from(alive, (message) => {
    message.grant.repeated = true;
    return { message, grant: message.grant };
  });
}
