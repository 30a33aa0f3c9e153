/**
 * The fold: the state of the broker as a function of its log.
 *
 * One function per record kind changes it; a leader calls them at append, a
 * restart for every record behind the snapshot. Nothing else changes it, so
 * fold(log) is the state, whoever computes it. Deterministic: no clock, no I/O.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { Change, Fold, KindName, RecordOf, RecordPlace } from "../../storage/mod.ts";
import { fields } from "../../storage/mod.ts";
import type { GroupConfig, TopicConfig } from "./api.ts";
import { Changes } from "./changes.ts";
import { decodeConfig, Definition, Offsets, parseKey, Place, read } from "./entities.ts";
import {
  detach,
  GroupState,
  GroupTable,
  judgeAgain,
  markReady,
  popQueue,
  setTimer,
} from "./groups.ts";
import type { OpenMessage, PopQueue } from "./pop_queue.ts";
import { type TopicState, TopicTable } from "./topics.ts";

type Apply<K extends KindName> = (record: RecordOf<K>, place: RecordPlace) => void;

export class BrokerFold implements Fold {
  readonly topics = new TopicTable();
  readonly groups = new GroupTable();
  readonly #changes = new Changes();
  #lastGeneration = 0;

  /** Unique for all time: of the millisecond it is made in, or one more than the last. */
  nextGeneration(now: number): number {
    return Math.max(this.#lastGeneration + 1, now * 1024);
  }

  apply<K extends KindName>(kind: K, record: RecordOf<K>, place: RecordPlace): void {
    const apply = this.#appliers[kind];
    if (apply) return apply(record, place);
    const detail = `Cannot fold the record at ${place.logOffset}: this build does not have "${kind}"`;
    throw new TidegateError("not-implemented", detail, { at: place.logOffset, kind });
  }

  /** What this build knows to do; a record of another kind comes from a later one and halts it. */
  readonly #appliers: { readonly [K in KindName]?: Apply<K> } = {
    "epoch-start": () => {},
    message: (record, { deferred }) => {
      const topic = this.topics.of(record.topicGen);
      if (topic && !deferred) this.appended(topic, record);
    },
    define: (record, { logOffset }) => {
      this.#lastGeneration = Math.max(this.#lastGeneration, record.generation);
      if (record.entity === "topic") this.#defineTopic(record, logOffset);
      else if (record.entity === "group") this.#defineGroup(record);
    },
    drop: (record) => {
      if (record.entity === "topic") this.#dropTopic(record.generation);
      else if (record.entity === "group") this.#dropGroup(record.generation);
    },
    grant: (record) => {
      const queue = this.queueOf(record);
      if (queue) this.#timed(queue, queue.applyGrant(record));
    },
    settle: (record) => {
      const queue = this.queueOf(record);
      if (queue) this.#timed(queue, queue.applySettle(record));
    },
    dead: (record, { storedAt }) => {
      const queue = this.queueOf(record);
      if (!queue) return;
      queue.applyDead(record, storedAt);
      this.#changes.place(queue);
    },
  };

  /** A message was appended to a queue: `apply("message")` without the record. */
  appended(
    topic: TopicState,
    message: { readonly queueId: number; readonly queueOffset: number },
  ): void {
    topic.next[message.queueId] = message.queueOffset + 1;
    this.#changes.offsets(topic);
  }

  /** Where a group's record belongs; undefined when group, subscription or topic went since. */
  queueOf(of: {
    readonly groupGen: number;
    readonly topicGen: number;
    readonly queueId: number;
  }): PopQueue | undefined {
    const topic = this.topics.of(of.topicGen);
    const subscription = topic && this.groups.of(of.groupGen)?.subscriptions.get(topic.name);
    if (!subscription || subscription.topicGen !== of.topicGen) return undefined;
    if (of.queueId >= topic.config.queues) return undefined;
    return popQueue(subscription, of.queueId);
  }

  #timed(queue: PopQueue, messages: readonly OpenMessage[]): void {
    for (const message of messages) setTimer(message);
    this.#changes.place(queue);
  }

  #defineTopic(record: RecordOf<"define">, definedAt: number): void {
    const { name, generation, version, createdAt, config } = record;
    const known = this.topics.of(generation);
    if (known) {
      known.definedAt = definedAt;
      known.version = version;
      known.config = decodeConfig(config) as TopicConfig;
      return this.#changes.topic(known);
    }
    const topic: TopicState = {
      name,
      generation,
      createdAt,
      version,
      config: decodeConfig(config) as TopicConfig,
      definedAt,
      next: [],
      lastQueue: -1,
    };
    this.topics.add(topic);
    this.#changes.topic(topic);
    for (const subscription of this.groups.subscribers(name)) subscription.topicGen = generation;
  }

  #dropTopic(generation: number): void {
    const topic = this.topics.of(generation);
    if (!topic) return;
    for (const subscription of this.groups.subscribers(topic.name)) {
      this.#changes.removePlaces(subscription);
      detach(subscription);
    }
    this.topics.remove(topic);
    this.#changes.removeTopic(topic);
  }

  #defineGroup(record: RecordOf<"define">): void {
    const { name, generation, version, createdAt } = record;
    const config = decodeConfig(record.config) as GroupConfig;
    let group = this.groups.of(generation);
    if (!group) {
      group = new GroupState({ name, generation, createdAt, version, config });
      this.groups.add(group);
    }
    group.version = version;
    group.config = config;
    judgeAgain(group);
    this.#changes.group(group);
    const wanted = new Set(config.subscriptions.map(({ topic }) => topic));
    for (const subscription of [...group.subscriptions.values()]) {
      if (wanted.has(subscription.topic)) continue;
      this.#changes.removePlaces(subscription);
      this.groups.unsubscribe(subscription);
    }
    for (const topic of wanted) if (!group.subscriptions.has(topic)) this.#subscribe(group, topic);
  }

  /** A position is resolved when the subscription is made, and by the log: at what was appended before. */
  #subscribe(group: GroupState, name: string): void {
    const subscription = this.groups.subscribe(group, name);
    const topic = this.topics.named(name);
    subscription.topicGen = topic?.generation;
    topic?.next.forEach((next, queueId) => {
      if (next === 0) return; // nothing to pass over
      const queue = popQueue(subscription, queueId);
      if (group.config.startFrom === "latest") queue.head = next;
      markReady(queue);
      this.#changes.place(queue);
    });
  }

  #dropGroup(generation: number): void {
    const group = this.groups.of(generation);
    if (!group) return;
    for (const subscription of group.subscriptions.values())
      this.#changes.removePlaces(subscription);
    this.groups.remove(group);
    this.#changes.removeGroup(group);
  }

  takeChanges(): Change[] {
    return this.#changes.take(this.#lastGeneration);
  }

  restore(key: Uint8Array, value: Uint8Array): void {
    const { prefix, generations, queueId } = parseKey(key);
    const [generation = 0, topicGen = 0] = generations;
    if (prefix === "A") this.#lastGeneration = read(fields.u64, value);
    else if (prefix === "D")
      this.#defineTopic({ ...read(Definition, value), generation, entity: "topic" }, 0);
    else if (prefix === "G") this.#restoreGroup(generation, value);
    else if (prefix === "N") this.topics.of(generation)?.next.push(...read(Offsets, value));
    else if (prefix === "P") this.#restorePlace({ groupGen: generation, topicGen, queueId }, value);
    this.#changes.clear(); // what the snapshot holds is no change
  }

  #restoreGroup(generation: number, value: Uint8Array): void {
    const { name, version, createdAt, config } = read(Definition, value);
    const parsed = decodeConfig(config) as GroupConfig;
    const group = new GroupState({ name, generation, createdAt, version, config: parsed });
    this.groups.add(group);
    for (const { topic } of parsed.subscriptions) {
      this.groups.subscribe(group, topic).topicGen = this.topics.named(topic)?.generation;
    }
  }

  #restorePlace(
    of: { groupGen: number; topicGen: number; queueId: number },
    value: Uint8Array,
  ): void {
    const queue = this.queueOf(of);
    if (!queue) return;
    const { head, grantSeq, grants, open, dead } = read(Place, value);
    queue.head = head;
    queue.grantSeq = grantSeq;
    const bySeq = new Map(grants.map((grant) => [grant.seq, { ...grant, repeated: false }]));
    for (const { grantSeq: seq, released, ...rest } of open) {
      const grant = bySeq.get(seq);
      if (!grant) continue;
      setTimer(queue.restore({ ...rest, grant, released: released === 1 }));
    }
    for (const { queueOffset, ...letter } of dead) queue.dead.set(queueOffset, letter);
  }
}
