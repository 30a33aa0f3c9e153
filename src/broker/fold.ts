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
import type {
  Change,
  Fold,
  FoldedRecord,
  KindName,
  RecordOf,
  RecordPlace,
} from "../../storage/mod.ts";
import type { SubscriptionConfig, TopicConfig } from "./api.ts";
import { CarriedTable } from "./carried.ts";
import { Changes } from "./changes.ts";
import type { DeadLetterPlace } from "./dead_letters.ts";
import { decodeConfig, decodeGroupConfig } from "./entities.ts";
import { detach, GroupState, GroupTable, judgeAgain, popQueue, setTimer } from "./groups.ts";
import type { PopQueue } from "./pop_queue.ts";
import { ProducerGroupTable } from "./producer_groups.ts";
import { ProducerTable } from "./producers.ts";
import { describeEntry, filterOf, restoreEntry } from "./restore.ts";
import { newTopic, setOffset, type TopicState, TopicTable } from "./topics.ts";
import { TransactionTable } from "./transactions.ts";

type Apply<K extends KindName> = (record: FoldedRecord<K>, place: RecordPlace) => void;

export class BrokerFold implements Fold {
  readonly topics = new TopicTable();
  readonly groups = new GroupTable();
  readonly producers = new ProducerTable();
  readonly transactions = new TransactionTable();
  readonly producerGroups = new ProducerGroupTable();
  readonly carried = new CarriedTable();
  readonly changes = new Changes();
  /** How often messages were removed in this life of the node. */
  cuts = 0;
  #lastGeneration = 0;
  /** False in a replay of a log whose beginning is gone: descriptions count there. */
  #whole = true;

  begin({ whole }: { readonly whole: boolean }): void {
    this.#whole = whole;
  }

  get lastGeneration(): number {
    return this.#lastGeneration;
  }

  sawGeneration(generation: number): void {
    this.#lastGeneration = Math.max(this.#lastGeneration, generation);
  }

  /** Unique for all time: of the millisecond it is made in, or one more than the last. */
  nextGeneration(now: number): number {
    return Math.max(this.#lastGeneration + 1, now * 1024);
  }

  apply<K extends KindName>(kind: K, record: FoldedRecord<K>, place: RecordPlace): void {
    const apply = this.#appliers[kind];
    if (apply) return apply(record, place);
    const detail = `Cannot fold the record at ${place.logOffset}: this build does not have "${kind}"`;
    throw new TidegateError("not-implemented", detail, { at: place.logOffset, kind });
  }

  /** What this build knows to do; a record of another kind comes from a later one and halts it. */
  readonly #appliers: { readonly [K in KindName]?: Apply<K> } = {
    "epoch-start": () => {},
    message: (record, place) => {
      const topic = this.topics.of(record.topicGen);
      if (topic && !place.deferred) this.appended(topic, record);
      this.producers.applied(record, place);
      this.transactions.appended(record, place);
    },
    reveal: ({ items }) => {
      for (const item of items) {
        const topic = this.topics.of(item.topicGen);
        if (topic) this.appended(topic, item);
      }
    },
    recall: () => {}, // the timers know
    prepare: (record, place) => this.transactions.applyPrepare(record, place),
    check: (record) => this.transactions.applyCheck(record),
    decide: (record, place) => this.transactions.applyDecide(record, place),
    define: (record, { logOffset }) => {
      this.sawGeneration(record.generation);
      if (record.entity === "topic") this.#defineTopic(record, logOffset);
      else if (record.entity === "group") this.#defineGroup(record, logOffset);
      else this.producerGroups.applyDefine(record, logOffset);
    },
    drop: (record) => {
      if (record.entity === "topic") this.#dropTopic(record.generation);
      else if (record.entity === "group") this.#dropGroup(record.generation);
      else this.producerGroups.applyDrop(record);
    },
    grant: (record) => {
      this.#given(record);
      this.#changing(record)?.applyGrant(record).forEach(setTimer);
    },
    settle: (record) => this.#changing(record)?.applySettle(record).forEach(setTimer),
    skip: (record) => this.#changing(record)?.applySkip(record),
    seek: (record) => this.#changing(record)?.applySeek(record),
    dead: (record, place) => {
      const queue = this.#changing(record);
      if (!queue) return;
      for (const { queueOffset } of record.items) this.forgetLetter(queue, queueOffset);
      for (const letter of queue.applyDead(record, place)) this.keepLetter(letter);
    },
    head: (record) => this.#applyHead(record),
    carry: (record, place) => {
      if (record.queueOffset >= 0) this.carried.apply(record, place);
      else this.transactions.applyCarry(record, place); // the timers know theirs
    },
    state: (record, { logOffset }) => {
      if (!this.#whole) describeEntry(this, { ...record, logOffset });
    },
    redrive: (record, { storedAt }) => {
      const queue = this.#changing(record);
      if (!queue) return;
      for (const queueOffset of record.offsets) this.forgetLetter(queue, queueOffset);
      queue.applyRedrive(record, storedAt).forEach(setTimer);
    },
  };

  #applyHead({ topicGen, queueId, firstOffset, cause }: RecordOf<"head">): void {
    const topic = this.topics.of(topicGen);
    if (!topic) return;
    this.cuts++;
    this.changes.firsts(topic);
    const offset = Math.max(topic.first[queueId] ?? 0, firstOffset);
    topic.first = setOffset(topic.first, { queueId, offset });
    for (const subscription of this.groups.subscribers(topic.name)) {
      const queue = popQueue(subscription, queueId);
      this.changes.place(queue);
      queue.applyHead({ firstOffset, cause });
    }
  }

  keepLetter(letter: DeadLetterPlace): void {
    letter.queue.subscription.group.deadLetters.add(letter);
    this.changes.letter(letter);
  }

  /** It may die again after a seek, and is then another letter. */
  forgetLetter(queue: PopQueue, queueOffset: number): void {
    const letter = queue.dead.get(queueOffset);
    if (!letter) return;
    this.changes.removeLetter(letter);
    queue.subscription.group.deadLetters.delete(letter);
  }

  /** A message got its place in a queue: `apply("message")` without the record. */
  appended(
    topic: TopicState,
    message: { readonly queueId: number; readonly queueOffset: number },
  ): void {
    this.changes.offsets(topic);
    const { queueId, queueOffset } = message;
    topic.next = setOffset(topic.next, { queueId, offset: queueOffset + 1 });
  }

  /**
   * A queueOffset that was given out is of that message for good. Where damage took the
   * message itself, the next one would get it, and count as settled.
   */
  #given({ topicGen, queueId, ranges }: RecordOf<"grant">): void {
    const topic = this.topics.of(topicGen);
    const last = ranges.at(-1);
    if (!topic || !last || last.first + last.count <= (topic.next[queueId] ?? 0)) return;
    this.changes.offsets(topic);
    topic.next = setOffset(topic.next, { queueId, offset: last.first + last.count });
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

  /** As {@linkcode queueOf}, of a record that is about to change it. */
  #changing(of: Parameters<BrokerFold["queueOf"]>[0]): PopQueue | undefined {
    const queue = this.queueOf(of);
    if (queue) this.changes.place(queue);
    return queue;
  }

  #defineTopic(record: RecordOf<"define">, definedAt: number): void {
    const { name, generation, version, createdAt, config } = record;
    const known = this.topics.of(generation);
    if (known) {
      this.changes.topic(known);
      known.definedAt = definedAt;
      known.version = version;
      known.config = decodeConfig(config) as TopicConfig;
      return;
    }
    const describedAt = version === 1 ? definedAt : -1; // what came before is gone
    const parsed = decodeConfig(config) as TopicConfig;
    const about = { name, generation, createdAt, version, config: parsed };
    const topic = newTopic({ ...about, definedAt, describedAt });
    this.topics.add(topic);
    this.changes.topic(topic);
    for (const subscription of this.groups.subscribers(name)) subscription.topicGen = generation;
  }

  #dropTopic(generation: number): void {
    this.producers.removeTopic(generation);
    this.carried.removeTopic(generation);
    const topic = this.topics.of(generation);
    if (!topic) return;
    for (const subscription of this.groups.subscribers(topic.name)) {
      this.changes.removePlaces(subscription);
      detach(subscription);
    }
    this.changes.removeTopic(topic);
    this.topics.remove(topic);
  }

  #defineGroup(record: RecordOf<"define">, definedAt: number): void {
    const { name, generation, version, createdAt } = record;
    const config = decodeGroupConfig(record.config);
    let group = this.groups.of(generation);
    if (!group) {
      group = new GroupState({ name, generation, createdAt, version, config });
      group.describedAt = version === 1 ? definedAt : -1; // what came before is gone
      this.groups.add(group);
    }
    this.changes.group(group);
    group.version = version;
    group.config = config;
    judgeAgain(group);
    const wanted = new Map(config.subscriptions.map((one) => [one.topic, one]));
    for (const subscription of [...group.subscriptions.values()]) {
      const { topic } = subscription;
      const one = wanted.get(topic);
      wanted.delete(topic);
      if (one) {
        subscription.filter = filterOf(one);
        continue;
      }
      this.changes.removePlaces(subscription);
      this.groups.unsubscribe(subscription);
    }
    for (const one of wanted.values()) this.#subscribe(group, one);
  }

  /** A position is resolved when the subscription is made, and by the log: at what was appended before. */
  #subscribe(group: GroupState, wish: SubscriptionConfig): void {
    const filter = filterOf(wish);
    const subscription = this.groups.subscribe(group, { ...wish, filter });
    const topic = this.topics.named(wish.topic);
    subscription.topicGen = topic?.generation;
    topic?.next.forEach((next, queueId) => {
      if (next === 0) return; // nothing to pass over
      const queue = popQueue(subscription, queueId);
      this.changes.place(queue);
      queue.head = group.config.startFrom === "latest" ? next : (topic.first[queueId] ?? 0);
    });
  }

  #dropGroup(generation: number): void {
    const group = this.groups.of(generation);
    if (!group) return;
    for (const subscription of group.subscriptions.values())
      this.changes.removePlaces(subscription);
    this.changes.removeGroup(group);
    this.groups.remove(group);
  }

  takeChanges(): Iterable<Change> {
    const { producers, transactions, producerGroups, carried } = this;
    const tables = [producers, transactions, producerGroups, carried];
    return inTurn([
      ...this.changes.take(this.#lastGeneration),
      ...tables.map((table) => table.takeChanges()),
    ]);
  }

  restore(key: Uint8Array, value: Uint8Array): void {
    restoreEntry(this, [key, value]);
  }

  /** The log starts at `start` from now on. */
  forgetBefore(start: number): void {
    this.carried.forgetBefore(start);
  }
}

function* inTurn(kinds: readonly Iterable<Change>[]): Generator<Change> {
  for (const changes of kinds) yield* changes;
}
