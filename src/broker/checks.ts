/**
 * Checks that are due, on their way to who knows the outcome.
 *
 *   due ──all sent──▶ parked
 *    ├──checkUrl────▶ called, at most 64 at once ──answer──▶ decided, or due again
 *    └──otherwise───▶ waits to be received by the producer group
 *
 * A check counts from the moment it is sent, by a record of its own; what
 * nobody receives is not counted and never parks a transaction. After a restart
 * every check is due when its record says, so none is lost; one under way when
 * the node stopped comes again after the interval.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import type { Core } from "./core.ts";
import type { CheckAnswer, CheckCall, ChecksPort } from "./ports.ts";
import type { TimerSource } from "./timer_core.ts";
import { countCheck, park, settleTransaction, uncountCheck } from "./transaction_decide.ts";
import { isDecided, type TransactionEntity } from "./transactions.ts";
import { KeyedWaiters, type WaitRoom } from "./waiters.ts";

/** Checks looked at in one go. */
const DUE_MAX = 1000;
/** Connections, and answers read, at once. */
const CALLS_MAX = 64;

export interface CheckPorts {
  readonly clock: Clock;
  readonly room: WaitRoom;
  readonly checks: ChecksPort | undefined;
  now(): number;
  flush(): void;
  /** Resolves once everything appended so far is confirmed. */
  confirmed(): Promise<void>;
  /** The next check may be due at another time. */
  arm(): void;
  report(error: Error): void;
}

export class Checks implements TimerSource {
  /** By producer group: who waits to receive a check. */
  readonly waiters: KeyedWaiters<string>;
  readonly #core: Core;
  readonly #ports: CheckPorts;
  /** By producer group, to be received; in order of when they were due. */
  readonly #waiting = new Map<string, Set<TransactionEntity>>();
  /** To be called. */
  readonly #ready = new Set<TransactionEntity>();
  readonly #calling = new Set<TransactionEntity>();
  readonly #ending = new AbortController();

  constructor(core: Core, ports: CheckPorts) {
    this.#core = core;
    this.#ports = ports;
    this.waiters = new KeyedWaiters(ports.clock, ports.room);
    core.fold.transactions.onSettled = (transaction) => this.#forget(transaction);
  }

  get wakeAt(): number {
    return this.#core.fold.transactions.dueAt;
  }

  run(now: number): void {
    for (let left = DUE_MAX; left > 0; left--) {
      const transaction = this.#core.fold.transactions.takeDue(now);
      if (!transaction) break;
      this.#dispatch(transaction, now);
    }
    this.#callReady();
    this.#ports.flush();
  }

  /** Ends the calls under way; their answers are not heard. */
  stop(): void {
    this.#ending.abort();
    this.#ready.clear();
  }

  #dispatch(transaction: TransactionEntity, now: number): void {
    const { checksSent, maxChecks, checkUrl, producerGroup } = transaction;
    if (checksSent >= maxChecks) return park(this.#core, { transaction, now });
    if (checkUrl !== undefined) {
      this.#ready.add(transaction);
      return;
    }
    const waiting = this.#waiting.get(producerGroup) ?? new Set();
    this.#waiting.set(producerGroup, waiting.add(transaction));
    this.waiters.wake(producerGroup);
  }

  #forget(transaction: TransactionEntity): void {
    this.#ready.delete(transaction);
    this.#unlist(transaction);
  }

  #unlist(transaction: TransactionEntity): void {
    const { producerGroup } = transaction;
    const waiting = this.#waiting.get(producerGroup);
    waiting?.delete(transaction);
    if (waiting?.size === 0) this.#waiting.delete(producerGroup);
  }

  // Received

  /** Whether the producer group has a check to receive. */
  hasWaiting(producerGroup: string): boolean {
    return this.#waiting.has(producerGroup);
  }

  /** Sends up to `max` to the caller. */
  receive(
    producerGroup: string,
    { max, now }: { readonly max: number; readonly now: number },
  ): TransactionEntity[] {
    const taken = [...(this.#waiting.get(producerGroup) ?? [])].slice(0, max);
    for (const transaction of taken) {
      this.#unlist(transaction);
      countCheck(this.#core, { transaction, now });
    }
    this.#ports.arm();
    return taken;
  }

  /** The caller had gone: they are due again at once, unless more happened since. */
  takeBack(sent: readonly { transaction: TransactionEntity; checkNumber: number }[]): void {
    const now = this.#ports.now();
    for (const { transaction, checkNumber } of sent) {
      if (transaction.state !== "prepared" || transaction.checksSent !== checkNumber) continue;
      uncountCheck(this.#core, { transaction, nextCheckAt: now, now });
    }
    this.#ports.flush();
    this.#ports.arm();
  }

  // Called

  #callReady(): void {
    const { checks } = this.#ports;
    if (!checks) return this.#report("this node makes no calls");
    for (const transaction of this.#ready) {
      if (this.#calling.size >= CALLS_MAX) return;
      if (this.#calling.has(transaction)) continue; // it is slower than its interval
      this.#ready.delete(transaction);
      this.#calling.add(transaction);
      void this.#call(checks, transaction);
    }
  }

  /** A node that once made calls and makes none now says so; the transactions wait. */
  #report(reason: string): void {
    if (this.#ready.size === 0) return;
    this.#ports.report(new Error(`Cannot check ${this.#ready.size} transactions: ${reason}`));
  }

  async #call(port: ChecksPort, transaction: TransactionEntity): Promise<void> {
    // Nobody is asked about what a crash could take back, nor by a node that stopped leading.
    try {
      await this.#ports.confirmed();
    } catch {
      return;
    }
    if (transaction.state === "prepared" && !this.#ending.signal.aborted) {
      await this.#ask(port, transaction);
    }
    this.#calling.delete(transaction);
    if (this.#ending.signal.aborted) return;
    this.#callReady();
    this.#ports.flush();
    this.#ports.arm();
  }

  async #ask({ caller }: ChecksPort, transaction: TransactionEntity): Promise<void> {
    countCheck(this.#core, { transaction, now: this.#ports.now() });
    this.#ports.flush();
    const checkNumber = transaction.checksSent;
    const { signal } = this.#ending;
    let answer: CheckAnswer;
    try {
      answer = await caller.call(this.#callOf(transaction), { signal });
    } catch (error) {
      answer = { kind: "failed", reason: String(error) };
    }
    if (!signal.aborted) this.#heard(answer, { transaction, checkNumber });
  }

  #callOf(transaction: TransactionEntity): CheckCall {
    const { id, producerGroup, checkUrl, checksSent } = transaction;
    const { producerGroups } = this.#core.fold;
    return {
      url: checkUrl as string,
      secret: producerGroups.named(producerGroup)?.config.checkSecret,
      transactionId: id,
      producerGroup,
      checkNumber: checksSent,
      messages: messagesOf(this.#core, transaction),
    };
  }

  #heard(
    answer: CheckAnswer,
    sent: { readonly transaction: TransactionEntity; readonly checkNumber: number },
  ): void {
    const { transaction, checkNumber } = sent;
    const now = this.#ports.now();
    if (isDecided(transaction)) return;
    if (answer.kind === "decision" && answer.decision !== "unknown") {
      const { decision } = answer;
      return settleTransaction(this.#core, { transaction, decision, by: "check", now });
    }
    if (answer.kind === "decision") return;
    const what = answer.kind === "failed" ? "was not answered" : "was not sent";
    this.#ports.report(
      new Error(`Check of transaction "${transaction.id}" ${what}: ${answer.reason}`),
    );
    const { state, checksSent, nextCheckAt } = transaction;
    if (answer.kind === "failed" || state !== "prepared" || checksSent !== checkNumber) return;
    uncountCheck(this.#core, { transaction, nextCheckAt, now });
  }
}

/** What is said of its messages; those of topics that are gone are missing. */
export function messagesOf(core: Core, { halves }: TransactionEntity) {
  return halves.flatMap(({ topicGen, id, key }) => {
    const topic = core.fold.topics.of(topicGen)?.name;
    return topic === undefined ? [] : [{ id, topic, key }];
  });
}
