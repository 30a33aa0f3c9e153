/**
 * Answers held back until what they rest on is safe.
 *
 * A decision is folded at append, so its outcome, be it an answer, a refusal or
 * what a read saw, may rest on records that a crash could still take back. The
 * answer is given when the log up to where it stood at the decision is confirmed,
 * or, for a publish to a topic with weaker `acks`, written.
 *
 * When the disk fails nothing held back is ever answered: the process ends.
 *
 * @module
 */

import type { Acks } from "./api.ts";

interface LogEnds {
  readonly end: number;
  readonly writtenEnd: number;
  readonly confirmOffset: number;
}

export class Replies {
  readonly #log: LogEnds;
  readonly #confirmed = new Held();
  readonly #written = new Held();

  constructor(log: LogEnds) {
    this.#log = log;
  }

  /** Resolves with `value` once everything appended so far is confirmed. */
  confirmed<T>(value: T): Promise<T> {
    const { end, confirmOffset } = this.#log;
    if (confirmOffset >= end) return Promise.resolve(value);
    return new Promise((resolve) => this.#confirmed.add(end, () => resolve(value)));
  }

  /** As `confirmed`, at the level of a topic's acks. */
  acknowledged<T>(acks: Acks, value: T): Promise<T> {
    // On one node a record is on all members once it is written here.
    if (acks === "durable") return this.confirmed(value);
    const { end, writtenEnd } = this.#log;
    if (writtenEnd >= end) return Promise.resolve(value);
    return new Promise((resolve) => this.#written.add(end, () => resolve(value)));
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
  }

  onConfirm(end: number): void {
    this.#confirmed.release(end);
  }
}

/** Callbacks in order of the log offset they wait for. */
class Held {
  #ends: number[] = [];
  #callbacks: (() => void)[] = [];
  #first = 0;

  /** @param end not less than that of the one added before. */
  add(end: number, callback: () => void): void {
    this.#ends.push(end);
    this.#callbacks.push(callback);
  }

  release(end: number): void {
    let first = this.#first;
    while (first < this.#ends.length && (this.#ends[first] as number) <= end) {
      (this.#callbacks[first] as () => void)();
      first++;
    }
    // Under load there is always one more: what is done goes once it is the larger part.
    if (2 * first >= this.#ends.length) {
      this.#ends = this.#ends.slice(first);
      this.#callbacks = this.#callbacks.slice(first);
      first = 0;
    }
    this.#first = first;
  }
}
