/**
 * The consumer groups of the fold: subscriptions, their queues, and which of
 * them have something to deliver.
 *
 *   Group ─▶ Subscription (a topic) ─▶ PopQueue (a queue)
 *
 * A subscription outlives its topic: while there is no topic of that name it is
 * `pending`, and a topic made later is read from its beginning.
 *
 * Ready queues rotate: a subscription is in its group's ready set while it has a
 * ready queue, a queue in its subscription's while it may have a message to
 * deliver. Taking from the front and putting back at the end is the rotation;
 * nothing is ever scanned to find work. A queue whose messages must be looked at
 * before they can be granted is in `unseen` while there are some (scout.ts).
 *
 * @module
 */

import { Heap } from "../../storage/base/heap.ts";
import type { Filter, GroupConfig } from "./api.ts";
import type { StoredGroupConfig } from "./definitions.ts";
import { DeadLetterList } from "./dead_letters.ts";
import { type OpenMessage, PopQueue, type Tally } from "./pop_queue.ts";

export interface Subscription {
  readonly group: GroupState;
  readonly topic: string;
  filter: Filter | undefined;
  /** Undefined while there is no such topic. */
  topicGen: number | undefined;
  /** By queueId; made when first needed. */
  queues: (PopQueue | undefined)[];
  ready: Set<PopQueue>;
}

export class GroupState {
  readonly name: string;
  readonly generation: number;
  readonly createdAt: number;
  version: number;
  config: StoredGroupConfig;
  /** Where the log describes it in full; 0: nowhere that is known, −1: this is not in full. */
  describedAt = 0;
  readonly subscriptions = new Map<string, Subscription>();
  readonly ready = new Set<Subscription>();
  readonly unseen = new Set<PopQueue>();
  /** Queues that people looked at further than receives did. */
  readonly peeked = new Set<PopQueue>();
  readonly deadLetters = new DeadLetterList();
  /** Leases and waits by their end; entries whose message changed since are stale. */
  readonly timers = new Heap<OpenMessage>();
  readonly tally: Tally = {
    leased: 0,
    open: 0,
    attempts: new Map(),
    consumers: new Map(),
  };

  constructor(group: {
    readonly name: string;
    readonly generation: number;
    readonly createdAt: number;
    readonly version: number;
    readonly config: StoredGroupConfig;
  }) {
    this.name = group.name;
    this.generation = group.generation;
    this.createdAt = group.createdAt;
    this.version = group.version;
    this.config = group.config;
  }
}

export class GroupTable {
  readonly #byName = new Map<string, GroupState>();
  readonly #byGeneration = new Map<number, GroupState>();
  readonly #byTopic = new Map<string, Set<Subscription>>();

  named(name: string): GroupState | undefined {
    return this.#byName.get(name);
  }

  of(generation: number): GroupState | undefined {
    return this.#byGeneration.get(generation);
  }

  /** The subscriptions to a topic of this name, whether it exists or not. */
  subscribers(topic: string): Iterable<Subscription> {
    return this.#byTopic.get(topic) ?? [];
  }

  get count(): number {
    return this.#byName.size;
  }

  /** In the order they were made. */
  all(): Iterable<GroupState> {
    return this.#byName.values();
  }

  names(): readonly string[] {
    return [...this.#byName.keys()].sort();
  }

  add(group: GroupState): void {
    this.#byName.set(group.name, group);
    this.#byGeneration.set(group.generation, group);
  }

  remove(group: GroupState): void {
    for (const subscription of group.subscriptions.values()) this.unsubscribe(subscription);
    this.#byName.delete(group.name);
    this.#byGeneration.delete(group.generation);
  }

  subscribe(
    group: GroupState,
    { topic, filter }: GroupConfig["subscriptions"][number],
  ): Subscription {
    const subscription = {
      group,
      topic,
      filter,
      topicGen: undefined,
      queues: [],
      ready: new Set<PopQueue>(),
    };
    group.subscriptions.set(topic, subscription);
    const subscribers = this.#byTopic.get(topic);
    if (subscribers) subscribers.add(subscription);
    else this.#byTopic.set(topic, new Set([subscription]));
    return subscription;
  }

  unsubscribe(subscription: Subscription): void {
    const { group, topic } = subscription;
    detach(subscription);
    group.subscriptions.delete(topic);
    this.#byTopic.get(topic)?.delete(subscription);
    if (this.#byTopic.get(topic)?.size === 0) this.#byTopic.delete(topic);
  }
}

/** The topic is gone: leases, dead letters and positions with it. */
export function detach(subscription: Subscription): void {
  const { group } = subscription;
  for (const queue of subscription.queues) {
    if (!queue) continue;
    queue.voidOpen();
    for (const letter of queue.dead.values()) group.deadLetters.delete(letter);
    group.unseen.delete(queue);
    group.peeked.delete(queue);
  }
  subscription.topicGen = undefined;
  subscription.queues = [];
  subscription.ready = new Set();
  group.ready.delete(subscription);
}

/** The subscription's queue, made at the beginning of the topic's when new. */
export function popQueue(subscription: Subscription, queueId: number): PopQueue {
  let queue = subscription.queues[queueId];
  if (!queue) {
    queue = new PopQueue(subscription, queueId);
    subscription.queues[queueId] = queue;
  }
  return queue;
}

/** Stale timers kept for free; beyond twice the live ones they are swept. */
const STALE_TIMERS = 4096;

/** The message is to be looked at when its `at` comes. */
export function setTimer(message: OpenMessage): void {
  const { timers, tally } = message.queue.subscription.group;
  timers.push(message.at, message);
  if (timers.size > 2 * tally.open + STALE_TIMERS) timers.retain(isCurrent);
}

/**
 * The configuration changed: whether what was found due has an attempt left is
 * asked anew, and what lies ahead is looked at anew.
 */
export function judgeAgain(group: GroupState): void {
  for (const { queues } of group.subscriptions.values()) {
    for (const queue of queues) {
      if (!queue) continue;
      for (const message of queue.due) setTimer(message);
      queue.due.clear();
      queue.lookAnew();
    }
  }
}

/** Whether the message is still open and still has that time. */
export function isCurrent(message: OpenMessage, at: number): boolean {
  return message.at === at;
}
