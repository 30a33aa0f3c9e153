/**
 * Answers held back until what they rest on is safe.
 *
 * A decision is folded at append, so its outcome, be it an answer, a refusal or
 * what a read saw, may rest on records that a crash could still take back. The
 * answer is given when the log up to where it stood at the decision is confirmed,
 * or, for a publish to a topic with weaker `acks`, written: here (`leader`), or on
 * every member of the group (`replicated`).
 *
 * When the disk fails nothing held back is ever answered: the process ends. When
 * it has no room for what was appended, and gets none in time, whoever waits is
 * told what is known: nothing took effect, where nothing was appended; else that
 * nobody knows, for what was appended is stored once there is room. Where the node
 * stops leading its group, that nobody knows is all there is to say.
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

/** What the caller's request may have done. */
export type Effect = "none" | "some";

export class Replies {
  readonly #log: LogEnds;
  readonly #confirmed = new Held();
  readonly #written = new Held();
  readonly #replicated = new Held();
  #gaveUp = false;

  constructor(log: LogEnds) {
    this.#log = log;
  }

  /** Resolves once everything appended so far is confirmed, however long that takes: for the node's own work. */
  settled(): Promise<void> {
    return this.#hold(this.#confirmed, { value: undefined, done: this.#log.confirmOffset });
  }

  /**
   * Resolves with `value` once everything appended so far is confirmed.
   *
   * @throws {TidegateError} retryable: `disk-full` or `outcome-unknown`, by `effect`.
   */
  confirmed<T>(value: T, effect: Effect): Promise<T> {
    return this.#hold(this.#confirmed, { value, done: this.#log.confirmOffset, effect });
  }

  /** As `confirmed`, of a publish, at the level of a topic's acks. */
  acknowledged<T>(acks: Acks, value: T): Promise<T> {
    if (acks === "durable") return this.confirmed(value, "some");
    const { writtenEnd, replicatedEnd } = this.#log;
    return acks === "leader"
      ? this.#hold(this.#written, { value, done: writtenEnd, effect: "some" })
      : this.#hold(this.#replicated, { value, done: replicatedEnd, effect: "some" });
  }

  /** Runs a decision; its answer, or the error it throws, is given once confirmed. */
  async decide<T>(decision: () => T): Promise<T> {
    const before = this.#log.end;
    let value: T;
    try {
      value = decision();
    } catch (error) {
      await this.confirmed(undefined, "none");
      throw error;
    }
    return this.confirmed(value, this.#log.end > before ? "some" : "none");
  }

  #hold<T>(held: Held, one: { value: T; done: number; effect?: Effect }): Promise<T> {
    const { end } = this.#log;
    const { value, done, effect } = one;
    if (done >= end) return Promise.resolve(value);
    if (this.#gaveUp && effect) return Promise.reject(noRoom(effect));
    return new Promise((resolve, reject) => {
      held.add({ end, value, resolve, reject, effect });
    });
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

  /** There is no room for what was appended: whoever asked, or asks, is told at once. */
  giveUp(): void {
    this.#gaveUp = true;
    for (const held of [this.#written, this.#replicated, this.#confirmed]) held.giveUp();
  }

  /** This node leads no more: what comes of the rest is not for it to say. */
  abandon(): void {
    for (const held of [this.#written, this.#replicated, this.#confirmed]) held.abandon();
  }

  /** There is room again. */
  goOn(): void {
    this.#gaveUp = false;
  }
}

function noRoom(effect: Effect): TidegateError {
  if (effect === "none") return diskFull("Cannot answer");
  const detail = "Cannot tell whether it will be stored: the disk has no room for it yet";
  return new TidegateError("outcome-unknown", detail);
}

export function diskFull(what: string): TidegateError {
  return new TidegateError("disk-full", `${what}: the disk has no room left`);
}

interface HeldAnswer {
  /** The log's end it waits for. */
  readonly end: number;
  readonly value: unknown;
  resolve(value: unknown): void;
  reject(error: Error): void;
  /** Undefined: it is nobody's request, and waits on. */
  readonly effect: Effect | undefined;
}

/** Answers in order of the log offset they wait for. */
class Held {
  #held: HeldAnswer[] = [];
  #first = 0;

  /** @param one its end not less than that of the one added before. */
  add(one: HeldAnswer): void {
    this.#held.push(one);
  }

  release(end: number): void {
    let first = this.#first;
    for (let one = this.#held[first]; one && one.end <= end; one = this.#held[++first]) {
      one.resolve(one.value);
    }
    // Under load there is always one more: what is done goes once it is the larger part.
    if (2 * first >= this.#held.length) {
      this.#held = this.#held.slice(first);
      first = 0;
    }
    this.#first = first;
  }

  giveUp(): void {
    const held = this.#held.slice(this.#first);
    this.#held = held.filter(({ effect }) => effect === undefined);
    this.#first = 0;
    for (const { effect, reject } of held) if (effect) reject(noRoom(effect));
  }

  abandon(): void {
    const held = this.#held.slice(this.#first);
    this.#held = [];
    this.#first = 0;
    const detail =
      "Cannot tell whether the request took effect: the node stopped leading its group";
    for (const { reject } of held) reject(new TidegateError("outcome-unknown", detail));
  }
}
