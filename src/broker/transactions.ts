/**
 * The transactions of the fold: what each holds back, and how it was decided.
 *
 *   prepare ──▶ prepared ──decide──▶ committed | rolledBack ──24 h──▶ forgotten
 *                 │  ▲ check, sent         ▲
 *                 │  └──┘                  │
 *                 └──check, parked──▶ parked ──decide
 *
 * The first decision in log order wins. A decided one keeps no more than what a
 * repeat and a look at it need; of those the last {@linkcode DECIDED_MAX} are
 * remembered for {@linkcode REMEMBERED_MS}. They are forgotten at the next
 * transaction's begin or decision, by the log's time, so that every fold of the
 * log forgets the same.
 *
 *   key     "T" · logOffset u64 of its `prepare`
 *   value   {@linkcode Stored}
 *
 * @module
 */

import { Heap } from "../../storage/base/heap.ts";
import { decodeMessage, type FoldedMessage, type Message } from "../../storage/base/message.ts";
import {
  type Change,
  type Entry,
  fields,
  type RecordOf,
  type RecordPlace,
} from "../../storage/mod.ts";
import type { TransactionState } from "./api.ts";
import { Dirty } from "./dirty.ts";
import { keyOf, read, write } from "./entities.ts";

const { list, oneOf, optional, struct, text16, text8, u16, u32, u64 } = fields;

export const REMEMBERED_MS = 24 * 60 * 60 * 1000;
/** A few hundred bytes each. */
const DECIDED_MAX = 500_000;

/** A message that waits: what its reveal takes, and what a check says of it. */
export interface Half {
  readonly bodyLogOffset: number;
  readonly size: number;
  readonly topicGen: number;
  readonly queueId: number;
  readonly keyHash: number;
  readonly tagHash: number;
  readonly id: string;
  readonly key: string | undefined;
}

export interface TransactionEntity {
  readonly id: string;
  /** The logOffset of its `prepare`. */
  readonly since: number;
  readonly producerGroup: string;
  readonly checkUrl: string | undefined;
  readonly firstCheckMs: number;
  readonly checkIntervalMs: number;
  readonly maxChecks: number;
  readonly createdAt: number;
  /** Where the log describes it in full; 0: nowhere that is known. */
  describedAt: number;
  /** Where its messages lie. */
  bodies: readonly number[];
  state: TransactionState;
  checksSent: number;
  /** 0 when there is none. */
  nextCheckAt: number;
  /** 0 until then. */
  decidedAt: number;
  /** None once it is decided. */
  halves: readonly Half[];
}

const Stored = struct({
  id: text8,
  producerGroup: text8,
  checkUrl: optional(text16),
  firstCheckMs: u32,
  checkIntervalMs: u32,
  maxChecks: u16,
  createdAt: u64,
  bodies: list(u64),
  state: oneOf({ prepared: 1, committed: 2, rolledBack: 3, parked: 4 }),
  checksSent: u16,
  nextCheckAt: u64,
  decidedAt: u64,
  halves: list(
    struct({
      bodyLogOffset: u64,
      size: u32,
      topicGen: u64,
      queueId: u16,
      keyHash: u32,
      tagHash: u32,
      id: text16,
      key: optional(text16),
    }),
  ),
});

export function isDecided({ state }: TransactionEntity): boolean {
  return state === "committed" || state === "rolledBack";
}

export class TransactionTable {
  /** In the order they began. */
  #all = new Map<string, TransactionEntity>();
  /** Those that are not decided, in the order they began. */
  #open = new Set<TransactionEntity>();
  /** In the order they were decided, unless just restored. */
  #decided = new Set<TransactionEntity>();
  #inOrder = true;
  /** Those that began are in another order than they were described in. */
  #described = false;
  /** By the time of its next check; entries that no longer hold are left for later. */
  readonly #due = new Heap<TransactionEntity>();
  /** Of the unit whose `prepare` is to come. */
  #unit: { readonly txnId: string; readonly halves: Half[] } | undefined;
  readonly #dirty = new Dirty({ keyOf: transactionKey, entryOf: transactionEntry });
  /** Messages that wait for a decision. */
  halfCount = 0;
  /** Transactions that wait for an operator. */
  parkedCount = 0;
  /** A transaction is not open to checks any more. */
  onSettled: (transaction: TransactionEntity) => void = () => {};

  /** Transactions that are not decided, parked ones among them. */
  get openCount(): number {
    return this.#open.size;
  }

  /** Undefined when there is none, or it was decided so long ago that it is forgotten. */
  find(id: string, now: number): TransactionEntity | undefined {
    const found = this.#all.get(id);
    return found && !isOver(found, now) ? found : undefined;
  }

  /** Those there are at `now`, in the order they began; or only those that are not decided. */
  *list(now: number, which: "all" | "open" = "all"): Generator<TransactionEntity> {
    this.#orderBegun();
    const transactions = which === "all" ? this.#all.values() : this.#open;
    for (const one of transactions) if (!isOver(one, now)) yield one;
  }

  /** Those that are not decided and hold back a message of the topic. */
  undecidedIn(topicGen: number): TransactionEntity[] {
    return [...this.#open].filter(({ halves }) =>
      halves.some((half) => half.topicGen === topicGen),
    );
  }

  /** A message that waits for a decision was appended. */
  appended(
    message: FoldedMessage | (Omit<Half, "bodyLogOffset" | "size"> & Pick<Message, "txnId">),
    { logOffset: bodyLogOffset, size = 0 }: Pick<RecordPlace, "logOffset" | "size">,
  ): void {
    if (message.txnId === undefined) return;
    const { txnId, topicGen, queueId, keyHash, tagHash, id, key } = message;
    if (this.#unit?.txnId !== txnId) this.#unit = { txnId, halves: [] };
    this.#unit.halves.push({ bodyLogOffset, size, topicGen, queueId, keyHash, tagHash, id, key });
  }

  applyPrepare(record: RecordOf<"prepare">, place: RecordPlace): void {
    const { logOffset: since, storedAt: createdAt } = place;
    const { txnId: id, ...rest } = record;
    const halves = this.#unit?.txnId === id ? this.#unit.halves : [];
    this.#unit = undefined;
    this.#forget(createdAt);
    const nextCheckAt = createdAt + record.firstCheckMs;
    const open = { state: "prepared", checksSent: 0, nextCheckAt, decidedAt: 0, halves } as const;
    this.#add({ ...rest, id, since, describedAt: since, createdAt, ...open });
  }

  #add(transaction: TransactionEntity): void {
    this.#all.set(transaction.id, transaction);
    this.#dirty.touch(transaction);
    if (isDecided(transaction)) this.#decided.add(transaction);
    else this.#open.add(transaction);
    this.halfCount += transaction.halves.length;
    if (transaction.state === "parked") this.parkedCount++;
    this.#setTimer(transaction);
  }

  /** A message that waits for a decision was copied. */
  applyCarry({ oldBodyLogOffset, message }: RecordOf<"carry">, place: RecordPlace): void {
    const txnId = decodeMessage(message)?.txnId;
    const transaction = txnId === undefined ? undefined : this.#all.get(txnId);
    if (!transaction) return;
    const { logOffset: bodyLogOffset, size = 0 } = place;
    this.#dirty.touch(transaction);
    transaction.halves = transaction.halves.map((half) =>
      half.bodyLogOffset === oldBodyLogOffset ? { ...half, bodyLogOffset, size } : half,
    );
    transaction.bodies = transaction.bodies.map((body) =>
      body === oldBodyLogOffset ? bodyLogOffset : body,
    );
  }

  applyCheck({ txnId, checkNumber, outcome, nextCheckAt }: RecordOf<"check">): void {
    const transaction = this.#all.get(txnId);
    if (!transaction || isDecided(transaction)) return;
    this.#dirty.touch(transaction);
    transaction.checksSent = checkNumber;
    transaction.nextCheckAt = nextCheckAt;
    if (outcome === "parked" && transaction.state !== "parked") this.parkedCount++;
    if (outcome === "parked") transaction.state = "parked";
    this.#setTimer(transaction);
    if (outcome === "parked") this.onSettled(transaction);
  }

  applyDecide({ txnId, decision }: RecordOf<"decide">, { storedAt }: RecordPlace): void {
    const transaction = this.#all.get(txnId);
    if (!transaction || isDecided(transaction)) return;
    this.#dirty.touch(transaction);
    this.halfCount -= transaction.halves.length;
    if (transaction.state === "parked") this.parkedCount--;
    const state = decision === "commit" ? "committed" : "rolledBack";
    Object.assign(transaction, { state, decidedAt: storedAt, nextCheckAt: 0, halves: [] });
    this.#order();
    this.#open.delete(transaction);
    this.#decided.add(transaction);
    this.onSettled(transaction);
    this.#forget(storedAt);
  }

  // Checks that are due

  /** When the next check is due at the earliest; Infinity when none is to come. */
  get dueAt(): number {
    return this.#due.minKey;
  }

  /** The next one whose check is due, once for each `nextCheckAt`; undefined when none is. */
  takeDue(now: number): TransactionEntity | undefined {
    while (this.#due.minKey <= now) {
      const key = this.#due.minKey;
      const transaction = this.#due.pop() as TransactionEntity;
      if (isDue(transaction, key)) return transaction;
    }
    return undefined;
  }

  #setTimer(transaction: TransactionEntity): void {
    if (transaction.state !== "prepared") return;
    this.#due.push(transaction.nextCheckAt, transaction);
    if (this.#due.size > 2 * this.#open.size + 1024) this.#due.retain(isDue);
  }

  #orderBegun(): void {
    if (!this.#described) return;
    this.#described = false;
    const bySince = [...this.#all.values()].toSorted((a, b) => a.since - b.since);
    this.#all = new Map(bySince.map((one) => [one.id, one]));
    this.#open = new Set(bySince.filter((one) => this.#open.has(one)));
  }

  // Forgetting

  #order(): void {
    if (this.#inOrder) return;
    const byTime = [...this.#decided].toSorted((a, b) => a.decidedAt - b.decidedAt);
    this.#decided = new Set(byTime);
    this.#inOrder = true;
  }

  #forget(now: number): void {
    this.#order();
    for (const transaction of this.#decided) {
      if (!isOver(transaction, now) && this.#decided.size <= DECIDED_MAX) return;
      this.#decided.delete(transaction);
      this.#all.delete(transaction.id);
      this.#dirty.remove(transaction);
    }
  }

  // Snapshots

  takeChanges(): Iterable<Change> {
    return this.#dirty.take();
  }

  restore(since: number, value: Uint8Array): void {
    this.describe(since, value);
    this.#dirty.clear(); // what the snapshot holds is no change
  }

  /** A `state` record, of one that was not known or known in part. */
  describe(since: number, value: Uint8Array): void {
    const stored = read(Stored, value);
    const known = this.#all.get(stored.id);
    if (known) {
      this.#open.delete(known);
      this.#decided.delete(known);
      this.#dirty.forget(known);
      this.halfCount -= known.halves.length;
      known.state = "committed"; // its timers are stale
    }
    this.#add({ ...stored, since, describedAt: 0 });
    this.#inOrder = false;
    this.#described = true;
  }

  /** All that are remembered. */
  all(): Iterable<TransactionEntity> {
    return this.#all.values();
  }

  /** Those that hold messages back. */
  open(): Iterable<TransactionEntity> {
    return this.#open;
  }
}

/** As it stands in snapshots and `state` records. */
export function transactionEntry(transaction: TransactionEntity): Entry {
  return [transactionKey(transaction), write(Stored, transaction)];
}

function transactionKey({ since }: TransactionEntity): Uint8Array {
  return keyOf("T", [since]);
}

function isOver({ decidedAt }: TransactionEntity, now: number): boolean {
  return decidedAt > 0 && decidedAt + REMEMBERED_MS <= now;
}

function isDue({ state, nextCheckAt }: TransactionEntity, key: number): boolean {
  return state === "prepared" && nextCheckAt === key;
}
