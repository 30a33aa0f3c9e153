/**
 * What a consumer group owes its consumers, as plainly as it can be said: every
 * message of a topic with its state, and what each answer of the broker must be.
 *
 * The broker chooses which messages it gives and in what order; the model says
 * whether it might, how many it had to, and what every receipt is worth.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Delivery, SettleResult } from "../../src/broker/api.ts";

export interface Entry {
  readonly id: string;
  readonly queueId: number;
  readonly queueOffset: number;
  /** Of an ordered group at most one message of a lane is on its way. */
  readonly lane: string;
  /** Deliveries that count. */
  attempt: number;
  state: "new" | "leased" | "waiting" | "done" | "dead" | "unwanted";
  /** In the list of dead letters, whatever became of it since. */
  listed: boolean;
  /** Leased or waiting until. */
  until: number;
  /** The receipt of the last grant, where a consumer has it. */
  receipt: string | undefined;
  attemptId: string | undefined;
  /** It may have been granted and given back, or not have been granted at all. */
  doubtful: boolean;
}

export interface Rules {
  maxAttempts: number;
  maxInFlight: number;
  ordered: boolean;
  /** What is ready is found by looking: a receive may give fewer than there are, if it gives any. */
  scouted: boolean;
}

export type Op = "ack" | "release" | "extend" | "reject";
export type Status = SettleResult["status"];

export class LeaseModel {
  readonly rules: Rules;
  /** What came to pass, to know that a walk went everywhere. */
  readonly seen = new Set<string>();
  readonly entries: Entry[] = [];
  /** Neither done nor dead. */
  readonly open = new Set<Entry>();
  /** Every receipt a consumer ever got. */
  readonly receipts = new Map<string, Entry>();
  /** The same, oldest first. */
  readonly given: string[] = [];
  /** Receipts of before a seek. */
  readonly #void = new Set<string>();
  readonly #byPlace = new Map<string, Entry>();

  constructor(rules: Rules) {
    this.rules = rules;
  }

  /** @param message.key what an ordered group keeps in order; `wanted` what a filter says. */
  published(message: {
    readonly id: string;
    readonly queueId: number;
    readonly queueOffset: number;
    readonly key: string | undefined;
    readonly wanted: boolean;
  }): void {
    const { id, queueId, queueOffset, key = "none", wanted } = message;
    const entry: Entry = {
      id,
      queueId,
      queueOffset,
      lane: `${queueId}:${key}`,
      listed: false,
      attempt: 0,
      state: wanted ? "new" : "unwanted",
      until: 0,
      receipt: undefined,
      attemptId: undefined,
      doubtful: false,
    };
    const place = `${queueId}:${queueOffset}`;
    assert(!this.#byPlace.has(place), `queueOffset ${place} is given once`);
    this.#byPlace.set(place, entry);
    this.entries.push(entry);
    if (wanted) this.open.add(entry);
  }

  live(now: number): Entry[] {
    return [...this.open].filter((one) => one.state === "leased" && one.until > now);
  }

  grantable(now: number): Entry[] {
    const ready = [...this.open].filter((one) => one.state === "new" || one.until <= now);
    if (!this.rules.ordered) return ready;
    const lanes = Map.groupBy(this.open, ({ lane }) => lane);
    return ready.filter((one) => mayGo(one, lanes.get(one.lane) ?? []));
  }

  /** What a grant does first: messages whose last attempt has ended are dead. */
  notice(now: number): void {
    for (const entry of this.open) {
      const over = entry.state !== "new" && entry.until <= now;
      if (!over || entry.attempt < this.rules.maxAttempts) continue;
      this.seen.add("attempts used up");
      this.#close(entry, "dead");
    }
  }

  /** Checks an answer to a receive and takes over what it changed. */
  received(
    deliveries: readonly Delivery[],
    call: {
      readonly now: number;
      readonly max: number;
      readonly leaseMs: number;
      readonly attemptId: string | undefined;
    },
  ): void {
    const { now, max, leaseMs, attemptId } = call;
    this.notice(now);
    const live = this.live(now);
    const again = live.filter((one) => attemptId !== undefined && one.attemptId === attemptId);
    if (again.length > 0) {
      this.seen.add("an attempt repeated");
      const expected = again.map(({ receipt, attempt, until }) => `${receipt} ${attempt} ${until}`);
      const got = deliveries.map((one) => `${one.receipt} ${one.attempt} ${one.leaseUntil}`);
      assert.deepEqual(got.toSorted(), expected.toSorted(), "an attempt is repeated");
      return;
    }
    const grantable = this.grantable(now);
    const may = new Set(grantable);
    const room = Math.max(0, Math.min(max, this.rules.maxInFlight - live.length));
    const all = Math.min(room, this.turns(grantable));
    if (this.rules.scouted) assert(deliveries.length <= all, "gives no more than it may");
    else assert.equal(deliveries.length, all, "gives all it can");
    assert(all === 0 || deliveries.length > 0, "gives something when it can");
    if (deliveries.length < grantable.length) this.seen.add("not all that was ready");
    for (const delivery of deliveries) {
      if (delivery.attempt > 1) this.seen.add("a message delivered again");
      const entry = this.#entry(delivery);
      const why = `message ${delivery.queueId}:${delivery.queueOffset}, ${entry.state}`;
      assert(this.open.has(entry), `${why}: not open`);
      assert(entry.state === "new" || entry.until <= now, `${why}: another has it`);
      assert(may.has(entry), `${why}: not its turn`);
      assert.equal(delivery.attempt, entry.attempt + 1, why);
      assert.equal(delivery.leaseUntil, now + leaseMs, why);
      assert(!this.receipts.has(delivery.receipt), "a receipt is given once");
      for (const other of this.open) {
        if (other === entry || other.lane !== entry.lane || !other.doubtful) continue;
        other.state = "new"; // so it had not been granted
        other.doubtful = false;
      }
      entry.doubtful = false;
      entry.attempt = delivery.attempt;
      entry.state = "leased";
      entry.until = delivery.leaseUntil;
      entry.receipt = delivery.receipt;
      entry.attemptId = attemptId;
      this.receipts.set(delivery.receipt, entry);
      this.given.push(delivery.receipt);
    }
  }

  /** All that could be granted was, and was given back: nobody has the receipts. */
  grantedAndGivenBack(now: number): void {
    for (const entry of this.grantable(now)) {
      this.seen.add("given back");
      entry.state = "waiting";
      entry.until = now;
      entry.receipt = undefined;
      entry.doubtful = this.rules.ordered;
    }
  }

  /** How many of these can go at once. */
  turns(grantable: readonly Entry[]): number {
    if (!this.rules.ordered) return grantable.length;
    return new Set(grantable.map(({ lane }) => lane)).size;
  }

  /** What the broker must answer to a receipt, and what that changes. */
  settle(receipt: string, how: { op: Op; now: number; ms: number }): Status {
    const status = this.#judge(receipt, how);
    this.seen.add(`${how.op} ${status}`);
    return status;
  }

  #judge(receipt: string, how: { op: Op; now: number; ms: number }): Status {
    const { op, now, ms } = how;
    const entry = this.receipts.get(receipt);
    assert(entry, "a receipt that was given out");
    if (this.#void.has(receipt)) return "lost";
    if (entry.state === "dead" && entry.listed) return op === "reject" ? "ok" : "lost";
    if (entry.state === "dead" || entry.state === "done") return op === "ack" ? "ok" : "lost";
    if (entry.receipt !== receipt) return "lost";
    if (entry.state === "waiting") return op === "release" ? "ok" : "lost";
    const status = entry.until > now ? "ok" : "late";
    if (op === "ack") this.#close(entry, "done");
    else if (op === "reject") this.#close(entry, "dead");
    else if (op === "extend") entry.until = now + ms;
    else if (entry.attempt >= this.rules.maxAttempts) this.#close(entry, "dead");
    else {
      entry.state = "waiting";
      entry.until = now + ms;
    }
    return status;
  }

  lag(queueId: number, now: number) {
    const mine = this.entries.filter((one) => one.queueId === queueId);
    const open = mine.filter((one) => this.open.has(one));
    const isReady = (one: Entry) => one.state === "new" || one.until <= now;
    return {
      committedOffset: open[0]?.queueOffset ?? mine.length,
      endOffset: mine.length,
      ready: open.filter(isReady).length,
      leased: open.filter((one) => !isReady(one) && one.state === "leased").length,
    };
  }

  #entry({ queueId, queueOffset }: Delivery): Entry {
    const entry = this.#byPlace.get(`${queueId}:${queueOffset}`);
    assert(entry, `message ${queueId}:${queueOffset} was published`);
    return entry;
  }

  /** The dead letters, in any order. */
  letters(): Entry[] {
    return this.entries.filter((one) => one.listed);
  }

  redriven(letters: readonly Entry[]): void {
    for (const entry of letters) {
      entry.listed = false;
      if (this.open.has(entry)) continue; // a seek brought it back before
      this.seen.add("sent back");
      this.#renew(entry);
    }
  }

  /** @param position what is before it is passed over, what is behind is new. */
  sought(queueId: number, position: number): void {
    for (const [receipt, entry] of this.receipts) {
      if (entry.queueId === queueId) this.#void.add(receipt);
    }
    for (const entry of this.entries) {
      if (entry.queueId !== queueId || entry.state === "unwanted") continue;
      if (entry.queueOffset >= position) this.#renew(entry);
      else if (this.open.has(entry)) this.#close(entry, "done");
    }
  }

  #renew(entry: Entry): void {
    entry.state = "new";
    entry.attempt = 0;
    entry.until = 0;
    entry.receipt = undefined;
    entry.attemptId = undefined;
    this.open.add(entry);
  }

  #close(entry: Entry, state: "done" | "dead"): void {
    entry.state = state;
    if (state === "dead") entry.listed = true;
    this.open.delete(entry);
  }
}

/** Whether it is its key's turn: what is on its way goes first, then the oldest. */
function mayGo(entry: Entry, lane: readonly Entry[]): boolean {
  const underWay = lane.filter((one) => one.state !== "new");
  assert(underWay.length <= 1, "of a key one message is on its way");
  const [holder] = underWay;
  if (holder && (holder === entry || !holder.doubtful)) return holder === entry;
  return lane.every((one) => one === holder || one.queueOffset >= entry.queueOffset);
}
