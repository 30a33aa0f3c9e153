/**
 * What a broker may have in its log, whoever led when: told every unit in the order
 * in which it was confirmed, it keeps a plain account of messages, leases,
 * transactions and delays, and says at once what must not be.
 *
 * Two clocks: leader time, which goes along with the log, must be kept exactly; true
 * time, by which nobody may come early, up to what clocks of nodes may differ.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { FoldedRecord, KindName, RecordOf } from "../../storage/mod.ts";
import type { BrokerFrame } from "./cluster_broker.ts";

/** Twice what wall clocks are off by, and what elapsed time drifts in a history. */
export const EARLY_MS_MAX = 600;

interface Lease {
  attempt: number;
  /** Leader time. */
  until: number;
  /** True time. */
  endsAt: number;
  released: boolean;
  readonly epoch: number;
}

/** When and by whom. */
interface Appended {
  /** True time, in milliseconds. */
  readonly at: number;
  readonly epoch: number;
}

interface Late {
  readonly dueAt: number;
  readonly appendedAt: number;
  readonly appendedAtLeader: number;
}

type Decision = RecordOf<"decide">["decision"];

export class BrokerOracle {
  readonly #next: number[] = [];
  readonly #sequences = new Map<string, number>();
  readonly #late = new Map<number, Late>();
  /** Open ones, by queue and offset. */
  readonly #leases = new Map<string, Lease>();
  readonly #done = new Set<string>();
  readonly #halves = new Map<string, ReadonlySet<number>>();
  readonly #halvesOf = new Map<string, Set<number>>();
  readonly #decided = new Map<string, Decision>();
  grants = 0;
  regrants = 0;
  /** Leases of one leader that another gave anew, or settled. */
  takenOver = 0;
  settledAcross = 0;
  reveals = 0;
  commits = 0;

  confirmed(frames: readonly BrokerFrame[], appended: Appended): void {
    let committed: string | undefined;
    for (const frame of frames) {
      const { kind } = frame;
      if (kind === "message") this.#message(frame, appended.at);
      if (kind === "prepare") this.#prepare(of(frame, "prepare"));
      if (kind === "decide") committed = this.#decide(of(frame, "decide"));
      if (kind === "reveal") {
        this.#reveal(of(frame, "reveal"), { frame, appendedAt: appended.at, committed });
        committed = undefined;
      }
      if (kind === "grant") this.#grant(of(frame, "grant"), { frame, appended });
      if (kind === "settle") this.#settle(of(frame, "settle"), { frame, appended });
    }
    assert.equal(committed, undefined, `I26: ${committed} is committed without its messages`);
  }

  #message({ record, place }: BrokerFrame, appendedAt: number): void {
    const message = record as FoldedRecord<"message"> & { readonly deliverAt?: number };
    const { txnId, producer, deliverAt, queueId, queueOffset } = message;
    if (txnId !== undefined) {
      const halves = this.#halvesOf.get(txnId) ?? new Set();
      this.#halvesOf.set(txnId, halves.add(place.logOffset));
    } else if (place.deferred) {
      const appendedAtLeader = place.storedAt;
      this.#late.set(place.logOffset, { dueAt: deliverAt ?? 0, appendedAt, appendedAtLeader });
    } else this.#visible(queueId, queueOffset);
    if (!producer) return;
    const expected = this.#sequences.get(producer.id) ?? 0;
    assert.equal(producer.seq, expected, `I21: of ${producer.id} comes ${expected} next, once`);
    this.#sequences.set(producer.id, expected + 1);
  }

  #visible(queueId: number, queueOffset: number): void {
    const next = this.#next[queueId] ?? 0;
    assert.equal(queueOffset, next, `I6: queue ${queueId} goes on at ${next}`);
    this.#next[queueId] = next + 1;
  }

  #prepare({ txnId }: RecordOf<"prepare">): void {
    assert(!this.#halves.has(txnId), `I27: ${txnId} begins once`);
    this.#halves.set(txnId, this.#halvesOf.get(txnId) ?? new Set());
  }

  /** @returns the transaction whose messages must come in this unit. */
  #decide({ txnId, decision }: RecordOf<"decide">): string | undefined {
    assert(this.#halves.has(txnId), `I27: ${txnId} was begun`);
    assert(!this.#decided.has(txnId), `I27: ${txnId} is decided once`);
    this.#decided.set(txnId, decision);
    return decision === "commit" ? txnId : undefined;
  }

  #reveal(
    { cause, txnId, items }: RecordOf<"reveal">,
    when: {
      readonly frame: BrokerFrame;
      readonly appendedAt: number;
      readonly committed: string | undefined;
    },
  ): void {
    if (cause === "commit") {
      assert.equal(txnId, when.committed, "I26: a reveal goes with its decision");
      const found = new Set(items.map(({ bodyLogOffset }) => bodyLogOffset));
      assert.deepEqual(found, this.#halves.get(txnId ?? ""), `I26: all of ${txnId} is there`);
      this.commits++;
    } else for (const { bodyLogOffset } of items) this.#due(bodyLogOffset, when);
    for (const { queueId, queueOffset } of items) this.#visible(queueId, queueOffset);
  }

  #due(
    bodyLogOffset: number,
    { frame, appendedAt }: { readonly frame: BrokerFrame; readonly appendedAt: number },
  ): void {
    const late = this.#late.get(bodyLogOffset);
    assert(late, `I29: what lies at ${bodyLogOffset} waited`);
    this.#late.delete(bodyLogOffset);
    assert(frame.place.storedAt >= late.dueAt, "I29: no message is early, by leader time");
    const waited = appendedAt - late.appendedAt;
    const wanted = late.dueAt - late.appendedAtLeader;
    const early = `I29: a message delayed ${wanted} ms came after ${waited} ms`;
    assert(waited >= wanted - EARLY_MS_MAX, early);
    this.reveals++;
  }

  #grant(
    { queueId, ranges, attempt, until }: RecordOf<"grant">,
    { frame, appended }: { readonly frame: BrokerFrame; readonly appended: Appended },
  ): void {
    const { storedAt } = frame.place;
    const { at: appendedAt, epoch } = appended;
    for (const { first, count } of ranges) {
      for (let offset = first; offset < first + count; offset++) {
        const name = `${queueId}/${offset}`;
        assert(offset < (this.#next[queueId] ?? 0), `I23: ${name} is granted and is not there`);
        assert(!this.#done.has(name), `I24: ${name} was acknowledged and is granted`);
        const before = this.#leases.get(name);
        if (before) this.#follows(name, { before, storedAt, appendedAt });
        assert.equal(attempt, (before?.attempt ?? 0) + 1, `I25: attempts of ${name} are counted`);
        const endsAt = appendedAt + until - storedAt;
        this.#leases.set(name, { attempt, until, endsAt, released: false, epoch });
        this.grants++;
        if (before) this.regrants++;
        if (before && before.epoch !== epoch) this.takenOver++;
      }
    }
  }

  #follows(
    name: string,
    { before, storedAt, appendedAt }: { before: Lease; storedAt: number; appendedAt: number },
  ): void {
    const what = before.released ? "waits" : "is leased";
    assert(before.until <= storedAt, `I23: ${name} ${what} until ${before.until}, by leader time`);
    const earlyMs = before.endsAt - appendedAt;
    assert(earlyMs <= EARLY_MS_MAX, `I23: ${name} ${what} for another ${earlyMs} ms`);
  }

  #settle(
    { queueId, acked, timed }: RecordOf<"settle">,
    { frame, appended }: { readonly frame: BrokerFrame; readonly appended: Appended },
  ): void {
    for (const { first, count } of acked) {
      for (let offset = first; offset < first + count; offset++) {
        const name = `${queueId}/${offset}`;
        const lease = this.#leases.get(name);
        assert(lease, `I24: ${name} is acknowledged by who has it`);
        if (lease.epoch !== appended.epoch) this.settledAcross++;
        this.#leases.delete(name);
        this.#done.add(name);
      }
    }
    for (const { op, queueOffset, at } of timed) {
      const name = `${queueId}/${queueOffset}`;
      const lease = this.#leases.get(name);
      assert(lease, `I24: ${name} is out`);
      lease.until = at;
      lease.endsAt = appended.at + at - frame.place.storedAt;
      lease.released = op !== "extend";
    }
  }

  // What clients were told, when what it rests on was confirmed

  publishAnswered({ id, seq }: { readonly id: string; readonly seq: number }): void {
    assert((this.#sequences.get(id) ?? 0) > seq, `I9: ${id} ${seq} was answered and is not there`);
  }

  ackAnswered({ queueId, queueOffset }: { queueId: number; queueOffset: number }): void {
    const name = `${queueId}/${queueOffset}`;
    assert(this.#done.has(name), `I24: the ack of ${name} was answered and is not there`);
  }

  /** It may have been decided otherwise before: then that was the answer. */
  decisionAnswered(id: string, decision: Decision): void {
    assert.equal(this.#decided.get(id), decision, `I27: ${id} is decided as was answered`);
  }

  /** What is out, by queue and offset: a leader's fold has the same. */
  get open(): ReadonlySet<string> {
    return new Set(this.#leases.keys());
  }
}

function of<K extends KindName>({ record }: BrokerFrame, _kind: K): RecordOf<K> {
  return record as RecordOf<K>;
}
