/**
 * Entities of the fold from their full descriptions: from the entries of a
 * snapshot, and from `state` records where the log begins later than what it is
 * about.
 *
 * There, records before an entity's description have made something of it that is
 * not the truth, for they built on what is gone. The description replaces it. A
 * topic's or group's takes all that stands on it along, the places of groups: those
 * are described behind it (forwarding.ts). One that is described a second time was
 * the truth already, and stays.
 *
 * @module
 */

import { type Entry, fields } from "../../storage/mod.ts";
import type { Filter, SubscriptionConfig, TopicConfig } from "./api.ts";
import {
  decodeConfig,
  decodeGroupConfig,
  Definition,
  Letter,
  Offsets,
  parseKey,
  Place,
  read,
} from "./entities.ts";
import type { BrokerFold } from "./fold.ts";
import { detach, GroupState, setTimer } from "./groups.ts";
import { offsetsOf } from "./offsets.ts";
import { newTopic, setOffset } from "./topics.ts";

interface QueueKey {
  readonly groupGen: number;
  readonly topicGen: number;
  readonly queueId: number;
}

/** An entry of a snapshot, in order of key. */
export function restoreEntry(fold: BrokerFold, [key, value]: Entry): void {
  const { prefix, generations, queueId } = parseKey(key);
  const [generation = 0, topicGen = 0, queueOffset = 0] = generations;
  const of = { groupGen: generation, topicGen, queueId };
  if (prefix === "A") fold.sawGeneration(read(fields.u64, value));
  else if (prefix === "C") fold.carried.restore(generations, queueId, value);
  else if (prefix === "D") addTopic(fold, { generation, value, describedAt: 0 });
  else if (prefix === "E") fold.producers.restore(generations, value);
  else if (prefix === "G") addGroup(fold, { generation, value, describedAt: 0 });
  else if (prefix === "H") restoreOffsets(fold, generation, { first: read(Offsets, value) });
  else if (prefix === "L") restoreLetter(fold, { ...of, queueOffset }, value);
  else if (prefix === "N") restoreOffsets(fold, generation, { next: read(Offsets, value) });
  else if (prefix === "P") restorePlace(fold, of, value);
  else if (prefix === "Q") fold.producerGroups.restore(generation, value);
  else if (prefix === "T") fold.transactions.restore(generation, value);
  fold.changes.clear(); // what the snapshot holds is no change
}

/** A `state` record of a log whose beginning is gone. */
export function describeEntry(
  fold: BrokerFold,
  { key, value, logOffset }: { key: Uint8Array; value: Uint8Array; logOffset: number },
): void {
  const { prefix, generations, queueId } = parseKey(key);
  const [generation = 0, topicGen = 0, queueOffset = 0] = generations;
  const of = { groupGen: generation, topicGen, queueId };
  if (prefix === "A") fold.sawGeneration(read(fields.u64, value));
  else if (prefix === "D") describeTopic(fold, { generation, value, describedAt: logOffset });
  else if (prefix === "E") fold.producers.describe(generations, value);
  else if (prefix === "G") describeGroup(fold, { generation, value, describedAt: logOffset });
  else if (prefix === "L") describeLetter(fold, { ...of, queueOffset }, value);
  else if (prefix === "N") describeOffsets(fold, generation, value);
  else if (prefix === "P") describePlace(fold, of, value);
  else if (prefix === "Q") fold.producerGroups.describe(generation, value);
  else if (prefix === "T") fold.transactions.describe(generation, value);
}

interface Described {
  readonly generation: number;
  readonly value: Uint8Array;
  readonly describedAt: number;
}

function addTopic(fold: BrokerFold, { generation, value, describedAt }: Described): void {
  const { config, ...definition } = read(Definition, value);
  const parsed = decodeConfig(config) as TopicConfig;
  const topic = newTopic({ ...definition, generation, config: parsed, definedAt: 0, describedAt });
  fold.topics.add(topic);
  fold.changes.topic(topic);
  for (const subscription of fold.groups.subscribers(topic.name)) {
    subscription.topicGen = generation;
  }
}

function describeTopic(fold: BrokerFold, described: Described): void {
  const known = fold.topics.of(described.generation);
  if (known && known.describedAt >= 0) return;
  for (const subscription of known ? fold.groups.subscribers(known.name) : []) {
    fold.changes.removePlaces(subscription);
    detach(subscription);
  }
  if (known) {
    fold.changes.forgetTopic(known);
    fold.topics.remove(known);
  }
  addTopic(fold, described);
  const topic = fold.topics.of(described.generation);
  if (!known || !topic) return;
  restoreOffsets(fold, topic.generation, known);
}

function describeOffsets(fold: BrokerFold, generation: number, value: Uint8Array): void {
  const topic = fold.topics.of(generation);
  if (!topic) return;
  fold.changes.offsets(topic);
  restoreOffsets(fold, generation, { next: read(Offsets, value) });
}

function restoreOffsets(
  fold: BrokerFold,
  generation: number,
  { next = [], first = [] }: { next?: readonly number[]; first?: readonly number[] },
): void {
  const topic = fold.topics.of(generation);
  if (!topic) return;
  topic.next = raised(topic.next, next);
  topic.first = raised(topic.first, first);
}

function raised(
  offsets: readonly number[],
  to: readonly (number | undefined)[],
): readonly number[] {
  let found = offsets;
  for (const [queueId, least = 0] of to.entries()) {
    found = setOffset(found, { queueId, offset: Math.max(found[queueId] ?? 0, least) });
  }
  return found;
}

function addGroup(fold: BrokerFold, { generation, value, describedAt }: Described): void {
  const { name, version, createdAt, config } = read(Definition, value);
  const parsed = decodeGroupConfig(config);
  const group = new GroupState({ name, generation, createdAt, version, config: parsed });
  group.describedAt = describedAt;
  fold.groups.add(group);
  for (const one of parsed.subscriptions) {
    const subscription = fold.groups.subscribe(group, { ...one, filter: filterOf(one) });
    subscription.topicGen = fold.topics.named(one.topic)?.generation;
  }
  fold.changes.group(group);
}

function describeGroup(fold: BrokerFold, described: Described): void {
  const known = fold.groups.of(described.generation);
  if (known && known.describedAt >= 0) return;
  if (known) {
    for (const subscription of known.subscriptions.values()) {
      fold.changes.removePlaces(subscription);
    }
    fold.changes.forgetGroup(known);
    fold.groups.remove(known);
  }
  addGroup(fold, described);
}

function restorePlace(fold: BrokerFold, of: QueueKey, value: Uint8Array): void {
  const queue = fold.queueOf(of);
  if (!queue) return;
  const { head, expiredUnread, taken, grantSeq, voidedSeq, grants, open } = read(Place, value);
  queue.head = head;
  queue.expiredUnread = expiredUnread;
  for (const queueOffset of offsetsOf(taken)) queue.taken.add(queueOffset);
  queue.grantSeq = grantSeq;
  queue.voidedSeq = voidedSeq;
  const bySeq = new Map(grants.map((grant) => [grant.seq, { ...grant, repeated: false }]));
  for (const { grantSeq: seq, state, ...rest } of open) {
    const grant = bySeq.get(seq);
    if (!grant) continue;
    const redriven = state === "redriven";
    const released = redriven || state === "released";
    setTimer(queue.restore({ ...rest, grant, released, redriven }));
  }
}

function describePlace(fold: BrokerFold, of: QueueKey, value: Uint8Array): void {
  const queue = fold.queueOf(of);
  if (!queue) return;
  fold.changes.place(queue);
  queue.voidOpen();
  queue.taken.clear();
  restorePlace(fold, of, value);
}

function restoreLetter(
  fold: BrokerFold,
  of: QueueKey & { readonly queueOffset: number },
  value: Uint8Array,
): void {
  const queue = fold.queueOf(of);
  if (!queue) return;
  const { queueOffset } = of;
  const letter = { queue, queueOffset, describedAt: 0, ...read(Letter, value) };
  queue.dead.set(queueOffset, letter);
  fold.keepLetter(letter);
}

function describeLetter(
  fold: BrokerFold,
  of: QueueKey & { readonly queueOffset: number },
  value: Uint8Array,
): void {
  const queue = fold.queueOf(of);
  if (!queue) return;
  fold.forgetLetter(queue, of.queueOffset);
  restoreLetter(fold, of, value);
}

/** `*` is no filter. */
export function filterOf({ filter }: SubscriptionConfig): Filter | undefined {
  return filter && "tag" in filter && filter.tag.trim() === "*" ? undefined : filter;
}
