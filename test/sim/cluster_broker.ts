/**
 * The broker on a simulated leader: the real fold and the real decisions of
 * src/broker over the log of its node. It is made when its node begins to lead, out
 * of what the log holds, and dropped when that ends; a follower has none.
 *
 * A unit of the log holds frames, each a record and its place; a unit is appended,
 * confirmed and cut as a whole. Messages have no bodies here.
 *
 * @module
 */

import type { NewMessage, SettleRequest } from "../../src/broker/api.ts";
import type { Core } from "../../src/broker/core.ts";
import { putGroup, putTopic } from "../../src/broker/define.ts";
import { revealDue } from "../../src/broker/delay.ts";
import { BrokerFold } from "../../src/broker/fold.ts";
import { grant } from "../../src/broker/grant.ts";
import { type GroupState, popQueue } from "../../src/broker/groups.ts";
import { LeaderTime } from "../../src/broker/leader_time.ts";
import { storeMessage } from "../../src/broker/publish.ts";
import { refresh } from "../../src/broker/readiness.ts";
import { encodeReceipt } from "../../src/broker/receipt.ts";
import { judgeSequence } from "../../src/broker/sequenced.ts";
import { settle } from "../../src/broker/settle.ts";
import { beginTransaction } from "../../src/broker/transaction_begin.ts";
import { decideTransaction } from "../../src/broker/transaction_decide.ts";
import type { FoldedRecord, KindName, RecordPlace, Timers } from "../../storage/mod.ts";
import type { TimerKey } from "../../storage/timer_entry.ts";
import { compareKeys } from "../../storage/timer_entry.ts";
import { GROUP, TOPIC } from "../suites/broker_api_kit.ts";

export interface BrokerFrame {
  readonly kind: KindName;
  readonly record: unknown;
  readonly place: RecordPlace;
}

/** The log under it, and the time. */
export interface BrokerPorts {
  /** Frames of all units there are, from the beginning of all time on. */
  readonly past: readonly BrokerFrame[];
  /** Of the log: where the next frame will lie. */
  end(): number;
  append(frames: readonly BrokerFrame[]): void;
  wallNow(): number;
  elapsed(): number;
}

export const QUEUES = 2;
export const LEASE_MS = 1500;
const MAX_ATTEMPTS = 1000;
const NOTHING: SettleRequest = { ack: [], release: [], extend: [], reject: [] };

interface Waiting extends TimerKey {
  readonly size: number;
  readonly topicGen: number;
  readonly queueId: number;
  readonly keyHash: number;
  readonly tagHash: number;
}

export interface Given {
  readonly receipt: string;
  readonly queueId: number;
  readonly queueOffset: number;
  readonly until: number;
}

export class SimBroker {
  readonly fold = new BrokerFold();
  readonly #ports: BrokerPorts;
  readonly #core: Core;
  readonly #time: LeaderTime;
  readonly #waiting = new Map<number, Waiting>();
  /** Confirmed messages, by queue. */
  readonly #visible: number[] = Array.from({ length: QUEUES }, () => 0);
  #unit: BrokerFrame[] = [];
  #storedAt = 0;
  #nonces = 0;

  /** @param confirmed so many of the frames of the past are. */
  constructor(ports: BrokerPorts, confirmed: number) {
    this.#ports = ports;
    this.fold.begin({ whole: true });
    for (const { kind, record, place } of ports.past) {
      this.fold.apply(kind, structuredClone(record) as FoldedRecord<typeof kind>, place);
      this.#index(kind, record, place);
      this.#storedAt = Math.max(this.#storedAt, place.storedAt);
    }
    const clock = {
      now: () => ports.wallNow(),
      elapsed: () => ports.elapsed(),
      after: never,
      defer: never,
    };
    this.#time = new LeaderTime(clock, this.#storedAt);
    this.#core = {
      brokerGroup: 0,
      fold: this.fold,
      sink: this.#sink(),
      timers: this.#timers(),
      autoCreate: false,
      delayMaxMs: 60_000,
      halvesMax: 1000,
      visibleEnd: ({ queueId }) => this.#visible[queueId] ?? 0,
    };
    this.confirmed(ports.past.slice(0, confirmed));
    this.#define();
  }

  get now(): number {
    return this.#time.now();
  }

  /** What is out with consumers, or waits, by queue and offset. */
  get open(): ReadonlySet<string> {
    const queues = this.group.subscriptions.get("orders")?.queues ?? [];
    const names = queues.flatMap((queue) =>
      queue ? [...queue.open.keys()].map((offset) => `${queue.queueId}/${offset}`) : [],
    );
    return new Set(names);
  }

  get group(): GroupState {
    return this.fold.groups.named("g") as GroupState;
  }

  #define(): void {
    const { now } = this;
    const topic = { ...TOPIC, queues: QUEUES };
    putTopic(this.#core, { name: "orders", config: topic, now });
    const config = { ...GROUP, maxAttempts: MAX_ATTEMPTS, leaseMs: LEASE_MS };
    putGroup(this.#core, { name: "g", config, now });
  }

  #sink(): Core["sink"] {
    const put = (kind: KindName, record: unknown, continued: boolean, deferred = false) => {
      const logOffset = this.#ports.end() + this.#unit.length;
      const place = { logOffset, storedAt: this.#storedAt, deferred, continued, size: 1 };
      this.#unit.push({ kind, record: structuredClone(record), place });
      this.#index(kind, record, place);
      if (!continued) this.#ports.append(this.#unit);
      return place;
    };
    const begin = (now: number) => {
      this.#unit = [];
      this.#storedAt = Math.max(now, this.#storedAt);
      return this.#storedAt;
    };
    return {
      begin,
      putMessage({ envelope, attributes: { id, key } }, { continued, deferred = false }) {
        return put("message", { ...envelope, id, key }, continued, deferred).logOffset;
      },
      put: (kind, record, { continued }) => put(kind, record, continued),
      append(kind, record, now) {
        begin(now);
        return put(kind, record, false);
      },
    };
  }

  /** Which messages wait for their time. */
  #index(kind: KindName, record: unknown, { logOffset, deferred }: RecordPlace): void {
    if (kind === "message" && deferred) {
      const { deliverAt, txnId, topicGen, queueId, keyHash, tagHash } =
        record as FoldedRecord<"message"> & { readonly deliverAt?: number };
      if (deliverAt === undefined || txnId !== undefined) return;
      const about = { topicGen, queueId, keyHash, tagHash, size: 1 };
      this.#waiting.set(logOffset, { dueAt: deliverAt, bodyLogOffset: logOffset, ...about });
    } else if (kind === "reveal") {
      const { items } = record as FoldedRecord<"reveal">;
      for (const { bodyLogOffset } of items) this.#waiting.delete(bodyLogOffset);
    }
  }

  #timers(): Timers {
    const take = (now: number, max: number) => {
      const due = [...this.#waiting.values()].filter(({ dueAt }) => dueAt <= now);
      return due.toSorted(compareKeys).slice(0, max);
    };
    const timers: Partial<Pick<Timers, "pass">> & { take: typeof take } = { take, pass: () => {} };
    return timers as Timers; // All that decisions use of it.
  }

  /** Frames became visible. */
  confirmed(frames: readonly BrokerFrame[]): void {
    for (const { kind, record, place } of frames) {
      if (kind === "message" && !place.deferred) this.#show(record as FoldedRecord<"message">);
      if (kind !== "reveal") continue;
      for (const item of (record as FoldedRecord<"reveal">).items) this.#show(item);
    }
    const subscription = this.fold.groups.named("g")?.subscriptions.get("orders");
    for (let queueId = 0; subscription && queueId < QUEUES; queueId++) {
      if (subscription.topicGen !== undefined) refresh(this.#core, popQueue(subscription, queueId));
    }
  }

  #show({
    queueId,
    queueOffset,
  }: {
    readonly queueId: number;
    readonly queueOffset: number;
  }): void {
    this.#visible[queueId] = queueOffset + 1;
  }

  // What clients ask for; each answer waits until the log up to here is confirmed

  /** @returns whether it is a repeat of what is there. @throws as the broker does. */
  publish(producer: { readonly id: string; readonly seq: number }): boolean {
    const { now } = this;
    const topic = this.fold.topics.named("orders");
    if (!topic) throw new Error("its topic is defined");
    const scope = { topicGen: topic.generation, id: producer.id, key: undefined };
    const place = { scope, epoch: 0, seq: producer.seq, count: 1 };
    if (judgeSequence(this.#core, { place, now })) return true;
    const message = newMessage(`${producer.id}-${producer.seq}`);
    storeMessage(this.#core, {
      topic,
      message: { ...message, producer: { ...producer, epoch: 0 } },
      now,
    });
    return false;
  }

  publishLater(id: string, delayMs: number): void {
    const topic = this.fold.topics.named("orders");
    if (!topic) throw new Error("its topic is defined");
    const message = { ...newMessage(id), delayMs, deliverAt: this.#time.in(delayMs) };
    storeMessage(this.#core, { topic, message, now: this.now });
  }

  revealDue(): void {
    revealDue(this.#core, { now: this.now, max: 20 });
  }

  receive(max: number): Given[] {
    const nonce = new Uint8Array(8).fill(++this.#nonces);
    const who = { topic: undefined, attemptId: undefined, consumerId: undefined };
    const wish = { max, leaseMs: LEASE_MS, ...who, consumerMaxInFlight: undefined, nonce };
    const { group } = this;
    return grant(this.#core, { ...wish, group, now: this.now }).map(({ message }) => {
      const { queueOffset, at: until, grant: given } = message;
      const { topicGen, queueId } = message.queue;
      const place = {
        brokerGroup: 0,
        topicGen,
        groupGen: group.generation,
        queueId,
        queueOffset,
      };
      const receipt = encodeReceipt({ ...place, grantSeq: given.seq, nonce: given.nonce });
      return { receipt, queueId, queueOffset, until };
    });
  }

  /** @returns what became of it. */
  settle(receipt: string, op: "ack" | "release" | "extend"): string {
    const ask: SettleRequest =
      op === "ack"
        ? { ...NOTHING, ack: [receipt] }
        : { ...NOTHING, [op]: [{ receipt, leaseMs: LEASE_MS }] };
    const [result] = settle(this.#core, { group: this.group, request: ask, now: this.now });
    return result?.status ?? "none";
  }

  begin(id: string, count: number): void {
    const messages = Array.from({ length: count }, (_, i) => {
      return { topic: "orders", message: newMessage(`${id}-${i}`) };
    });
    beginTransaction(this.#core, { id, wish: { producerGroup: "p", messages }, now: this.now });
  }

  decide(id: string, decision: "commit" | "rollback"): void {
    decideTransaction(this.#core, { id, decision, now: this.now });
  }
}

function never(): never {
  throw new Error("nothing here waits");
}

function newMessage(id: string): NewMessage {
  return { id, body: new Uint8Array(0) };
}
