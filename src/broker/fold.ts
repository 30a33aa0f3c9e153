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
import type { Filter, SubscriptionConfig, TopicConfig } from "./api.ts";
import { Changes } from "./changes.ts";
import type { DeadLetterPlace } from "./dead_letters.ts";
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
import { detach, GroupState, GroupTable, judgeAgain, popQueue, setTimer } from "./groups.ts";
import { offsetsOf } from "./offsets.ts";
import type { OpenMessage, PopQueue } from "./pop_queue.ts";
import { ProducerGroupTable } from "./producer_groups.ts";
import { ProducerTable } from "./producers.ts";
import { type TopicState, TopicTable } from "./topics.ts";
import { TransactionTable } from "./transactions.ts";

type Apply<K extends KindName> = (record: RecordOf<K>, place: RecordPlace) => void;

export class BrokerFold implements Fold {
  readonly topics = new TopicTable();
  readonly groups = new GroupTable();
  readonly producers = new ProducerTable();
  readonly transactions = new TransactionTable();
  readonly producerGroups = new ProducerGroupTable();
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
    message: (record, place) => {
      const topic = this.topics.of(record.topicGen);
      if (topic && !place.deferred) this.appended(topic, record);
      if (topic) this.producers.applied(record, place);
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
      this.#lastGeneration = Math.max(this.#lastGeneration, record.generation);
      if (record.entity === "topic") this.#defineTopic(record, logOffset);
      else if (record.entity === "group") this.#defineGroup(record);
      else this.producerGroups.applyDefine(record);
    },
    drop: (record) => {
      if (record.entity === "topic") this.#dropTopic(record.generation);
      else if (record.entity === "group") this.#dropGroup(record.generation);
      else this.producerGroups.applyDrop(record);
    },
    grant: (record) => {
      const queue = this.queueOf(record);
      if (queue) this.#timed(queue, queue.applyGrant(record));
    },
    settle: (record) => {
      const queue = this.queueOf(record);
      if (queue) this.#timed(queue, queue.applySettle(record));
    },
    skip: (record) => {
      const queue = this.queueOf(record);
      queue?.applySkip(record);
      if (queue) this.#changes.place(queue);
    },
    seek: (record) => {
      const queue = this.queueOf(record);
      queue?.applySeek(record);
      if (queue) this.#changes.place(queue);
    },
    dead: (record, place) => {
      const queue = this.queueOf(record);
      if (!queue) return;
      for (const { queueOffset } of record.items) this.#forgetLetter(queue, queueOffset);
      for (const letter of queue.applyDead(record, place)) this.#keepLetter(letter);
      this.#changes.place(queue);
    },
    head: (record) => this.#applyHead(record),
    redrive: (record, { storedAt }) => {
      const queue = this.queueOf(record);
      if (!queue) return;
      for (const queueOffset of record.offsets) this.#forgetLetter(queue, queueOffset);
      this.#timed(queue, queue.applyRedrive(record, storedAt));
    },
  };

  #applyHead({ topicGen, queueId, firstOffset, cause }: RecordOf<"head">): void {
    const topic = this.topics.of(topicGen);
    if (!topic) return;
    topic.first[queueId] = Math.max(topic.first[queueId] ?? 0, firstOffset);
    this.#changes.firsts(topic);
    for (const subscription of this.groups.subscribers(topic.name)) {
      const queue = popQueue(subscription, queueId);
      queue.applyHead({ firstOffset, cause });
      this.#changes.place(queue);
    }
  }

  #keepLetter(letter: DeadLetterPlace): void {
    letter.queue.subscription.group.deadLetters.add(letter);
    this.#changes.letter(letter);
  }

  /** It may die again after a seek, and is then another letter. */
  #forgetLetter(queue: PopQueue, queueOffset: number): void {
    const letter = queue.dead.get(queueOffset);
    if (!letter) return;
    queue.subscription.group.deadLetters.delete(letter);
    this.#changes.removeLetter(letter);
  }

  /** A message got its place in a queue: `apply("message")` without the record. */
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
      first: [],
      keptFrom: undefined,
      checkAt: Infinity,
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
    this.producers.removeTopic(generation);
    this.#changes.removeTopic(topic);
  }

  #defineGroup(record: RecordOf<"define">): void {
    const { name, generation, version, createdAt } = record;
    const config = decodeGroupConfig(record.config);
    let group = this.groups.of(generation);
    if (!group) {
      group = new GroupState({ name, generation, createdAt, version, config });
      this.groups.add(group);
    }
    group.version = version;
    group.config = config;
    judgeAgain(group);
    this.#changes.group(group);
    const wanted = new Map(config.subscriptions.map((one) => [one.topic, one]));
    for (const subscription of [...group.subscriptions.values()]) {
      const { topic } = subscription;
      const one = wanted.get(topic);
      wanted.delete(topic);
      if (one) {
        subscription.filter = filterOf(one);
        continue;
      }
      this.#changes.removePlaces(subscription);
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
      queue.head = group.config.startFrom === "latest" ? next : (topic.first[queueId] ?? 0);
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
    const { producers, transactions, producerGroups } = this;
    return [
      ...this.#changes.take(this.#lastGeneration),
      ...[producers, transactions, producerGroups].flatMap((table) => table.takeChanges()),
    ];
  }

  restore(key: Uint8Array, value: Uint8Array): void {
    const { prefix, generations, queueId } = parseKey(key);
    const [generation = 0, topicGen = 0, queueOffset = 0] = generations;
    if (prefix === "A") this.#lastGeneration = read(fields.u64, value);
    else if (prefix === "D")
      this.#defineTopic({ ...read(Definition, value), generation, entity: "topic" }, 0);
    else if (prefix === "E") this.producers.restore(generations, value);
    else if (prefix === "G") this.#restoreGroup(generation, value);
    else if (prefix === "Q") this.producerGroups.restore(generation, value);
    else if (prefix === "T") this.transactions.restore(generation, value);
    else if (prefix === "N") this.topics.of(generation)?.next.push(...read(Offsets, value));
    else if (prefix === "H") this.topics.of(generation)?.first.push(...read(Offsets, value));
    const of = { groupGen: generation, topicGen, queueId };
    if (prefix === "P") this.#restorePlace(of, value);
    if (prefix === "L") this.#restoreLetter({ ...of, queueOffset }, value);
    this.#changes.clear(); // what the snapshot holds is no change
  }

  #restoreGroup(generation: number, value: Uint8Array): void {
    const { name, version, createdAt, config } = read(Definition, value);
    const parsed = decodeGroupConfig(config);
    const group = new GroupState({ name, generation, createdAt, version, config: parsed });
    this.groups.add(group);
    for (const one of parsed.subscriptions) {
      const subscription = this.groups.subscribe(group, { ...one, filter: filterOf(one) });
      subscription.topicGen = this.topics.named(one.topic)?.generation;
    }
  }

  #restorePlace(
    of: { groupGen: number; topicGen: number; queueId: number },
    value: Uint8Array,
  ): void {
    const queue = this.queueOf(of);
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

  #restoreLetter(
    of: { groupGen: number; topicGen: number; queueId: number; queueOffset: number },
    value: Uint8Array,
  ): void {
    const queue = this.queueOf(of);
    if (!queue) return;
    const { queueOffset } = of;
    const letter = { queue, queueOffset, ...read(Letter, value) };
    queue.dead.set(queueOffset, letter);
    queue.subscription.group.deadLetters.add(letter);
  }
}

/** `*` is no filter. */
function filterOf({ filter }: SubscriptionConfig): Filter | undefined {
  return filter && "tag" in filter && filter.tag.trim() === "*" ? undefined : filter;
}
