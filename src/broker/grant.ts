/**
 * The decision whom a message is leased to: redeliveries first, then new ones,
 * ready queues in rotation.
 *
 * @module
 */

import type { RecordOf } from "../../storage/mod.ts";
import { type Core, commit } from "./core.ts";
import { trimLetters } from "./dead_letters.ts";
import { type GroupState, isCurrent, type Subscription } from "./groups.ts";
import { type OffsetRange, offsetsOf, toRanges } from "./offsets.ts";
import type { Grant, OpenMessage, PopQueue } from "./pop_queue.ts";
import { isScouted, refresh, rotate } from "./readiness.ts";

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
  readonly consumerId: string | undefined;
  /** Live leases of the consumer at most. */
  readonly consumerMaxInFlight: number | undefined;
  /** 8 random bytes, the secret of the receipts. */
  readonly nonce: Uint8Array;
  readonly now: number;
}

/** Leases what it can; empty when nothing is ready. An attempt that is asked for again has what it had. */
export function grant(core: Core, wish: GrantWish & { readonly group: GroupState }): Leased[] {
  const { group, attemptId, now } = wish;
  const held = attemptId === undefined ? [] : again(core, { group, attemptId, now });
  if (held.length > 0) return held;
  endLeases(core, wish);
  return grantMore(core, wish);
}

/** What the attempt holds, to be handed to it once more. */
export function again(
  core: Core,
  wish: { readonly group: GroupState; readonly attemptId: string; readonly now: number },
): Leased[] {
  endLeases(core, wish);
  return repeat(wish.group.tally.attempts.get(wish.attemptId) ?? []);
}

/** Leases what is ready, also for an attempt that has something. */
export function grantMore(
  core: Core,
  { group, ...wish }: GrantWish & { readonly group: GroupState },
): Leased[] {
  const leased: Leased[] = [];
  let room = roomFor(group, wish);
  for (const queue of readyQueues(group, wish.topic)) {
    if (room <= 0) break;
    const taken = leaseFrom(core, { ...wish, queue, max: room });
    room -= taken.length;
    for (const message of taken) leased.push({ message, grant: message.grant });
    rotate(core, queue);
  }
  return leased;
}

/** How many may be leased: what was asked for, within the bounds of the group and of the consumer. */
function roomFor({ config, tally }: GroupState, wish: GrantWish): number {
  if (config.paused) return 0;
  const room = Math.min(wish.max, config.maxInFlight - tally.leased);
  const { consumerId, consumerMaxInFlight } = wish;
  if (consumerId === undefined || consumerMaxInFlight === undefined) return room;
  return Math.min(room, consumerMaxInFlight - (tally.consumers.get(consumerId)?.size ?? 0));
}

/** What a consumer holds, to be handed to it once more. */
export function reopen(core: Core, wish: { group: GroupState; consumerId: string; now: number }) {
  endLeases(core, wish);
  return repeat(wish.group.tally.consumers.get(wish.consumerId) ?? []);
}

/** Leases and waits that have ended make their queues ready; used-up ones become dead letters. */
export function endLeases(core: Core, { group, now }: { group: GroupState; now: number }): void {
  const { timers } = group;
  const used = new Set<OpenMessage>(); // one extended to the end it had has two timers
  while (timers.minKey <= now) {
    const at = timers.minKey;
    const message = timers.pop();
    if (!message || !isCurrent(message, at)) continue; // settled or extended since
    if (message.attempt >= group.config.maxAttempts) {
      used.add(message);
      continue;
    }
    const { queue } = message;
    // One sent back to an ordered group takes its place in its lane (scout.ts).
    if (!message.redriven || group.config.mode !== "ordered") queue.markDue(message);
    refresh(core, queue);
  }
  if (used.size === 0) return;
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
  refresh(core, queue);
  trimLetters(core, { group, now });
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

function leaseFrom(core: Core, wish: GrantWish & { readonly queue: PopQueue }): OpenMessage[] {
  const { queue, max } = wish;
  const again = firstDue(queue, max);
  const leased: OpenMessage[] = [];
  for (const [attempt, messages] of Map.groupBy(again, (message) => message.attempt)) {
    const offsets = messages.map((message) => message.queueOffset).sort((a, b) => a - b);
    leased.push(...log(core, { ...wish, attempt: attempt + 1, ranges: toRanges(offsets) }));
  }
  const fresh = { ...wish, max: max - again.length };
  if (fresh.max > 0) leased.push(...(isScouted(queue) ? leaseScouted : leaseNext)(core, fresh));
  return leased;
}

/** The messages from the head on. */
function leaseNext(core: Core, wish: GrantWish & { readonly queue: PopQueue }): OpenMessage[] {
  const { queue } = wish;
  const count = Math.min(wish.max, core.visibleEnd(queue) - queue.head);
  if (count <= 0) return [];
  return log(core, { ...wish, attempt: 1, ranges: [{ first: queue.head, count }] });
}

/** Those the scout has found. */
function leaseScouted(core: Core, wish: GrantWish & { readonly queue: PopQueue }): OpenMessage[] {
  const { queue } = wish;
  const found = queue.lookahead?.take(wish.max) ?? [];
  if (found.length === 0) return [];
  const ranges = toRanges(found.map(({ queueOffset }) => queueOffset));
  const leased = log(core, { ...wish, attempt: 1, ranges });
  leased.forEach((message, i) => {
    message.keyHash = (found[i] as { keyHash: number }).keyHash;
  });
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

/** Logs one grant and returns its messages, in order of `ranges`. */
function log(
  core: Core,
  wish: GrantWish & {
    readonly queue: PopQueue;
    readonly attempt: number;
    readonly ranges: readonly OffsetRange[];
  },
): OpenMessage[] {
  const { queue, attempt, ranges, nonce, attemptId, consumerId, now } = wish;
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
    consumerId,
  };
  commit(core, { kind: "grant", record, now });
  return Array.from(offsetsOf(ranges), (offset) => queue.open.get(offset) as OpenMessage);
}

/** Leases of an earlier receive that still live, to be handed out once more. */
function repeat(alive: Iterable<OpenMessage>): Leased[] {
  return Array.from(alive, (message) => {
    message.grant.repeated = true;
    return { message, grant: message.grant };
  });
}
