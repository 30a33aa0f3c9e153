/**
 * Answers held back until what they rest on is safe.
 *
 * A decision is folded at append, so its outcome, be it an answer, a refusal or
 * what a read saw, may rest on records that a crash could still take back. The
 * answer is given when the log up to where it stood at the decision is confirmed,
 * or, for a publish to a topic with weaker `acks`, written: here (`leader`), or on
 * every member of the group (`replicated`).
 *
 * When the disk fails nothing held back is
 * ever answered: the process ends. Where a node only stops leading, what it still
 * holds back is answered with not knowing.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { Acks } from "./api.ts";

export interface LogEnds {
  readonly end: number;
  readonly writtenEnd: number;
  /** Written on every member; of a node alone, here. */
  readonly replicatedEnd: number;
  readonly confirmOffset: number;
}

export class Replies {
  readonly #log: LogEnds;
  readonly #confirmed = new Held();
  readonly #written = new Held();
  readonly #replicated = new Held();

  constructor(log: LogEnds) {
    this.#log = log;
  }

  /** Resolves with `value` once everything appended so far is confirmed. */
  confirmed<T>(value: T): Promise<T> {
    return this.#heldUntil(this.#log.confirmOffset, this.#confirmed, value);
  }

  /** As `confirmed`, at the level of a topic's acks. */
  acknowledged<T>(acks: Acks, value: T): Promise<T> {
    if (acks === "durable") return this.confirmed(value);
    const { writtenEnd, replicatedEnd } = this.#log;
    if (acks === "leader") return this.#heldUntil(writtenEnd, this.#written, value);
    return this.#heldUntil(replicatedEnd, this.#replicated, value);
  }

  #heldUntil<T>(reached: number, held: Held, value: T): Promise<T> {
    const { end } = this.#log;
    if (reached >= end) return Promise.resolve(value);
    return new Promise((resolve, reject) =>
      held.add(end, { resolve: () => resolve(value), reject }),
    );
  }

  /** Runs a decision; its answer, or the error it throws, is given once confirmed. */
  async decide<T>(decision: () => T): Promise<T> {
    let value: T;
    try {
      value = decision();
    } catch (error) {
      await this.confirmed(undefined);
      throw error;
    }
    return this.confirmed(value);
  }

  onWritten(end: number): void {
    this.#written.release(end);
    this.#replicated.release(this.#log.replicatedEnd);
  }

  onReplicated(end: number): void {
    this.#replicated.release(end);
  }

  onConfirm(end: number): void {
    this.#replicated.release(end);
    this.#confirmed.release(end);
  }

  /** This node leads no more: what comes of the rest is not for it to say. */
  abandon(): void {
    for (const held of [this.#written, this.#replicated, this.#confirmed]) held.abandon();
  }
}

interface Waiting {
  resolve(): void;
  reject(error: Error): void;
}

/** Those that wait, in order of the log offset they wait for. */
class Held {
  #ends: number[] = [];
  #waiting: Waiting[] = [];
  #first = 0;

  /** @param end not less than that of the one added before. */
  add(end: number, waiting: Waiting): void {
    this.#ends.push(end);
    this.#waiting.push(waiting);
  }

  release(end: number): void {
    let first = this.#first;
    while (first < this.#ends.length && (this.#ends[first] as number) <= end) {
      (this.#waiting[first] as Waiting).resolve();
      first++;
    }
    // Under load there is always one more: what is done goes once it is the larger part.
    if (2 * first >= this.#ends.length) {
      this.#ends = this.#ends.slice(first);
      this.#waiting = this.#waiting.slice(first);
      first = 0;
    }
    this.#first = first;
  }

  abandon(): void {
    const left = this.#waiting.slice(this.#first);
    this.#ends = [];
    this.#waiting = [];
    this.#first = 0;
    const detail =
      "Cannot tell whether the request took effect: the node stopped leading its group";
    for (const { reject } of left) reject(new TidegateError("outcome-unknown", detail));
  }
}
