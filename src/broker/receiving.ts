/**
 * A receive, from the wish to the messages in hand: lease, wait if nothing is
 * ready, read the bodies while the lease is made durable, then answer.
 *
 * What was leased and cannot be handed over goes back at once without counting
 * an attempt: what exceeds the answer's size, and everything when the caller is
 * gone. A message whose bytes are damaged becomes a dead letter: it can never be
 * delivered, and must not hold up its queue.
 *
 * @module
 */

import type { CallOptions, Delivery, ReceiveRequest, StopSignal, StoredMessage } from "./api.ts";
import { messagesAt } from "./bodies.ts";
import { groupNamed, subscriptionTo } from "./define.ts";
import {
  again,
  bury,
  grant,
  grantMore,
  type GrantWish,
  isHeld,
  type Leased,
  reopen,
} from "./grant.ts";
import type { GroupState } from "./groups.ts";
import type { PopQueue } from "./pop_queue.ts";
import { hasReady, hasUnseen } from "./readiness.ts";
import { encodeReceipt } from "./receipt.ts";
import { undo } from "./settle.ts";
import type { Shell } from "./shell.ts";

/** Messages that one receive looks through at most, where they must be looked at. */
const LOOK = { first: 20_000, more: 2000 } as const;

interface Handed {
  readonly lease: Leased;
  readonly message: StoredMessage;
}

export async function receive(
  shell: Shell,
  { request, options }: { request: ReceiveRequest; options: CallOptions | undefined },
): Promise<readonly Delivery[]> {
  const signal = options?.signal;
  shell.admitDecision();
  const group = await subscribedGroup(shell, request);
  const leased = await lease(shell, { group, request, signal });
  const safe = shell.replies.confirmed(undefined, "some");
  safe.catch(() => {}); // heard below
  shell.store.log.flush();
  const handed = await load(shell, { group, leased, maxBytes: request.maxBytes });
  await safe;
  if (signal?.aborted) {
    // The caller's next try may have been given the same leases: then they are no longer ours.
    const leases = handed.map((one) => one.lease).filter((one) => !one.grant.repeated);
    giveBack(shell, { group, leases });
    return [];
  }
  const deliveries = handed
    .filter((one) => isHeld(one.lease)) // what was granted again meanwhile is another's
    .map((one) => deliver(shell, { group, handed: one }));
  shell.traffic.leased(deliveries);
  return deliveries;
}

/** What an attempt was given before and still holds; nothing new. @throws `group-not-found` */
export async function receiveAgain(
  shell: Shell,
  wish: { readonly name: string; readonly attemptId: string; readonly maxBytes: number },
): Promise<readonly Delivery[]> {
  const { name, attemptId, maxBytes } = wish;
  const { group, leased } = await shell.decide((now) => {
    const found = groupNamed(shell.core, name);
    return { group: found, leased: again(shell.core, { group: found, attemptId, now }) };
  });
  const handed = await load(shell, { group, leased, maxBytes });
  const deliveries = handed
    .filter((one) => isHeld(one.lease))
    .map((one) => deliver(shell, { group, handed: one }));
  shell.traffic.leased(deliveries);
  return deliveries;
}

/** Leases what is ready, or what becomes so while the caller waits. */
async function lease(
  shell: Shell,
  wish: { group: GroupState; request: ReceiveRequest; signal: StopSignal | undefined },
): Promise<readonly Leased[]> {
  const { group, request, signal } = wish;
  const { max, topic, attemptId, consumerId, consumerMaxInFlight, waitMs } = request;
  if (request.reopen && consumerId !== undefined) {
    const open = reopen(shell.core, { group, consumerId, now: shell.now() });
    if (open.length > 0) return open;
  }
  const leaseMs = request.leaseMs ?? group.config.leaseMs;
  const who = { attemptId, consumerId, consumerMaxInFlight };
  const wanted = { max, leaseMs, topic, ...who, nonce: shell.nonce() };
  const leased = grant(shell.core, { ...wanted, group, now: shell.now() });
  const isRepeated = leased.some((one) => one.grant.repeated);
  if (!isRepeated) await leaseAhead(shell, { group, wanted, leased });
  shell.scout.granted(leased);
  if (leased.length > 0 || waitMs === 0) return leased;
  shell.store.log.flush(); // dead letters found on the way
  const waited = await shell.receivers.wait(group, { wish: wanted, waitMs, signal });
  if (waited.length === 0) groupNamed(shell.core, request.group); // or it went meanwhile
  return waited;
}

/** Looks further where there is more to look at: far for the first message, a little for others. */
async function leaseAhead(
  shell: Shell,
  wish: { group: GroupState; wanted: Omit<GrantWish, "now">; leased: Leased[] },
): Promise<void> {
  const { group, wanted, leased } = wish;
  const { max, topic } = wanted;
  if (group.config.paused) return;
  let left: number = leased.length > 0 ? LOOK.more : LOOK.first;
  while (left > 0 && leased.length < max) {
    if (hasReady(group, topic)) {
      const rest = { ...wanted, max: max - leased.length, group, now: shell.now() };
      const more = grantMore(shell.core, rest);
      if (more.length === 0) return; // the consumer has all it may have
      leased.push(...more);
      left = Math.min(left, LOOK.more);
      continue;
    }
    shell.scout.seek(group, topic);
    if (!hasUnseen(group, topic)) break;
    left -= await shell.scout.step(group, { topic });
  }
  if (leased.length === 0) shell.scout.settleSkips(group);
}

/** A group that is there is used at once: what is leased waits for the log in any case. */
function subscribedGroup(shell: Shell, request: ReceiveRequest): GroupState | Promise<GroupState> {
  const group = shell.core.fold.groups.named(request.group);
  const { topic } = request;
  if (group && (topic === undefined || group.subscriptions.has(topic))) return group;
  return shell.decide(() => {
    const found = groupNamed(shell.core, request.group);
    if (topic !== undefined) subscriptionTo(found, topic);
    return found;
  });
}

function deliver(
  { core }: Shell,
  { group, handed }: { group: GroupState; handed: Handed },
): Delivery {
  const { lease, message } = handed;
  const { queue, grant: given, attempt, at, queueOffset } = lease.message;
  const { topicGen, queueId } = queue;
  const receipt = encodeReceipt({
    brokerGroup: core.brokerGroup,
    topicGen,
    groupGen: group.generation,
    queueId,
    queueOffset,
    grantSeq: given.seq,
    nonce: given.nonce,
  });
  return { ...message, receipt, attempt, leaseUntil: at };
}

/** Reads the bodies of leases, up to `maxBytes`; the rest is given back, unless it was handed out before. */
async function load(
  shell: Shell,
  wish: { group: GroupState; leased: readonly Leased[]; maxBytes: number },
): Promise<Handed[]> {
  const handed: Handed[] = [];
  const surplus: Leased[] = [];
  let bytes = 0;
  for (const [queue, leases] of Map.groupBy(wish.leased, ({ message }) => message.queue)) {
    const messages = await loadQueue(shell, { queue, leases });
    const damaged: Leased[] = [];
    for (const lease of leases) {
      const message = messages.get(lease.message.queueOffset);
      if (!message) {
        damaged.push(lease);
        continue;
      }
      bytes += message.payload.length;
      if (bytes > wish.maxBytes && handed.length > 0) surplus.push(lease);
      else handed.push({ lease, message });
    }
    discard(shell, { group: wish.group, queue, damaged });
  }
  const fresh = surplus.filter(({ grant: given }) => !given.repeated);
  if (fresh.length > 0) giveBack(shell, { group: wish.group, leases: fresh });
  return handed;
}

/** The messages of leases of one queue, by queueOffset; those damaged are missing. */
async function loadQueue(
  shell: Shell,
  { queue, leases }: { queue: PopQueue; leases: readonly Leased[] },
): Promise<Map<number, StoredMessage>> {
  const topic = shell.core.fold.topics.of(queue.topicGen);
  const found = new Map<number, StoredMessage>();
  if (!topic) return found;
  const offsets = leases.map(({ message }) => message.queueOffset).sort((a, b) => a - b);
  for (const message of await messagesAt(shell, { topic, queue, offsets })) {
    found.set(message.queueOffset, message);
  }
  return found;
}

function discard(
  shell: Shell,
  wish: { group: GroupState; queue: PopQueue; damaged: readonly Leased[] },
): void {
  const { group, queue } = wish;
  const dead = wish.damaged.filter(isHeld).map(({ message }) => ({
    message,
    cause: "rejected" as const,
    reason: "the stored bytes are damaged",
  }));
  if (dead.length === 0) return;
  bury(shell.core, { group, queue, dead, now: shell.now() });
  shell.receivers.pump(group);
  shell.store.log.flush();
}

function giveBack(shell: Shell, wish: { group: GroupState; leases: readonly Leased[] }): void {
  undo(shell.core, { leases: wish.leases, now: shell.now() });
  shell.receivers.pump(wish.group);
  shell.store.log.flush();
}
