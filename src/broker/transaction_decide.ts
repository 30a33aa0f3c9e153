/**
 * Decisions about transactions that began: commit, rollback, and the checks sent
 * while neither was said.
 *
 * A commit and the reveal of all its messages are one unit of the log, so after
 * a crash it is there with all of them visible, or not at all. A rollback is its
 * `decide` alone: nothing refers to the messages any more.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { recordFrameSize, type RecordOf } from "../../storage/mod.ts";
import { type Core, commit } from "./core.ts";
import { topicBusy } from "./definitions.ts";
import { numbered } from "./delay.ts";
import type { TopicState } from "./topics.ts";
import { isDecided, type TransactionEntity } from "./transactions.ts";

type Decision = Pick<RecordOf<"decide">, "decision" | "by">;

/** @throws `transaction-not-found` */
export function transactionOf(
  core: Core,
  { id, now }: { readonly id: string; readonly now: number },
): TransactionEntity {
  const transaction = core.fold.transactions.find(id, now);
  if (transaction) return transaction;
  const detail = `Cannot find transaction "${id}": none has this id, or it was decided long ago`;
  throw new TidegateError("transaction-not-found", detail, { id });
}

/** What a caller wants it to be. @throws `transaction-not-found`, `transaction-decided` */
export function decideTransaction(
  core: Core,
  wish: {
    readonly id: string;
    readonly decision: Decision["decision"];
    readonly now: number;
  },
): void {
  const { id, decision, now } = wish;
  const transaction = transactionOf(core, wish);
  const { state } = transaction;
  if (!isDecided(transaction)) {
    const by = state === "parked" ? "operator" : "producer";
    return settleTransaction(core, { transaction, decision, by, now });
  }
  if (state === (decision === "commit" ? "committed" : "rolledBack")) return;
  const detail = `Cannot ${decision === "commit" ? "commit" : "roll back"} transaction "${id}": it is ${state}`;
  throw new TidegateError("transaction-decided", detail, { id, state });
}

/** Decides one that is not. */
export function settleTransaction(
  core: Core,
  wish: Decision & { readonly transaction: TransactionEntity; readonly now: number },
): void {
  const { transaction, decision, by, now } = wish;
  const decide = { txnId: transaction.id, decision, by };
  const items = decision === "commit" ? numbered(core, transaction.halves) : [];
  if (items.length === 0) {
    commit(core, { kind: "decide", record: decide, now });
    return;
  }
  const reveal = { cause: "commit", txnId: transaction.id, items } as const;
  core.sink.begin(now, recordFrameSize("decide", decide) + recordFrameSize("reveal", reveal));
  core.fold.apply("decide", decide, core.sink.put("decide", decide, { continued: true }));
  core.fold.apply("reveal", reveal, core.sink.put("reveal", reveal, { continued: false }));
}

/** Rolls back what would lose messages with the topic. @throws `topic-busy` unless `force` */
export function clearTopic(
  core: Core,
  wish: { readonly topic: TopicState; readonly force: boolean; readonly now: number },
): void {
  const { topic, force, now } = wish;
  const open = core.fold.transactions.undecidedIn(topic.generation);
  if (open.length > 0 && !force) {
    throw topicBusy(topic.name, open.length);
  }
  for (const transaction of open) {
    settleTransaction(core, { transaction, decision: "rollback", by: "operator", now });
  }
}

/** A check of it is sent, now. */
export function countCheck(
  core: Core,
  { transaction, now }: { readonly transaction: TransactionEntity; readonly now: number },
): void {
  noteCheck(core, {
    transaction,
    checkNumber: transaction.checksSent + 1,
    nextCheckAt: now + transaction.checkIntervalMs,
    now,
  });
}

/** The check sent last was not sent after all. @param wish.nextCheckAt when to try again. */
export function uncountCheck(
  core: Core,
  wish: {
    readonly transaction: TransactionEntity;
    readonly nextCheckAt: number;
    readonly now: number;
  },
): void {
  noteCheck(core, { ...wish, checkNumber: wish.transaction.checksSent - 1 });
}

function noteCheck(
  core: Core,
  check: {
    readonly transaction: TransactionEntity;
    readonly checkNumber: number;
    readonly nextCheckAt: number;
    readonly now: number;
  },
): void {
  const { transaction, checkNumber, nextCheckAt, now } = check;
  const record = { txnId: transaction.id, checkNumber, outcome: "sent", nextCheckAt } as const;
  commit(core, { kind: "check", record, now });
}

/** No check is sent any more: somebody has to decide. */
export function park(
  core: Core,
  { transaction, now }: { readonly transaction: TransactionEntity; readonly now: number },
): void {
  const { id: txnId, checksSent: checkNumber } = transaction;
  const record = { txnId, checkNumber, outcome: "parked", nextCheckAt: 0 } as const;
  commit(core, { kind: "check", record, now });
}
