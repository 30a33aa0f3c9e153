/**
 * Who holds which message of one queue, for one consumer group.
 *
 *             grant                    ack
 *   ready ───────────▶ leased(n, until) ──▶ done
 *     ▲                  │      │
 *     │ until has passed │      │ release(at), undo
 *     ├──────────────────┘      ▼
 *     └───────────────────── waiting(n, at)
 *                  at has passed      attempts used up, or rejected ──▶ dead
 *
 * Expiry is no event here: a lease whose `at` has passed is simply ready, and the
 * next grant carries attempt n + 1. State changes only by the `apply` functions,
 * which the leader calls at append and a restart calls from the log.
 *
 * Deterministic: no clock, no I/O, no chance.
 *
 * Invariant: every queueOffset below `head` is done, dead, or in `open`.
 *
 * @module
 */

import { assert } from "../../storage/base/assert.ts";
import type { RecordOf } from "../../storage/mod.ts";
import type { Subscription } from "./groups.ts";

/** What the deliveries of one grant record share. */
export interface Grant {
  readonly seq: number;
  readonly nonce: Uint8Array;
  readonly attemptId: string | undefined;
  readonly consumerId: string | undefined;
  /** Its attempt was repeated: more than one receive hands these deliveries out. */
  repeated: boolean;
}

/** A message that was granted and is neither done nor dead. */
export interface OpenMessage {
  readonly queue: PopQueue;
  readonly queueOffset: number;
  grant: Grant;
  /** Deliveries so far. */
  attempt: number;
  /** Leased until, or waiting until; Infinity once it is done, dead or void. */
  at: number;
  /** Given back by its consumer: its receipt is used up. */
  released: boolean;
  /** Counts among the live leases; false once the end was seen, or it was given back. */
  leased: boolean;
}

/** Kept over all queues of a group. */
export interface Tally {
  /** Live leases. */
  leased: number;
  /** Messages granted and neither done nor dead. */
  open: number;
  /** Live leases of a receive that named its attempt, for when it asks again. */
  readonly attempts: Map<string, Set<OpenMessage>>;
}

export interface DeadLetter {
  readonly attempts: number;
  readonly cause: "attempts" | "rejected";
  readonly reason: string;
  readonly deadAt: number;
}

export class PopQueue {
  readonly subscription: Subscription;
  readonly topicGen: number;
  readonly queueId: number;
  /** The first queueOffset never granted. */
  head: number;
  grantSeq = 0;
  readonly open = new Map<number, OpenMessage>();
  readonly dead = new Map<number, DeadLetter>();
  /** Messages found due, to deliver again in this order; each once. */
  readonly due = new Set<OpenMessage>();

  readonly #tally: Tally;

  constructor(subscription: Subscription, queueId: number) {
    this.subscription = subscription;
    this.topicGen = subscription.topicGen ?? 0;
    this.queueId = queueId;
    this.head = 0;
    this.#tally = subscription.group.tally;
  }

  /** Everything below is done or dead. */
  get committedOffset(): number {
    let committed = this.head;
    for (const queueOffset of this.open.keys()) committed = Math.min(committed, queueOffset);
    return committed;
  }

  /** Returns the messages now leased. */
  applyGrant(record: RecordOf<"grant">): OpenMessage[] {
    const { grantSeq: seq, nonce, attemptId, consumerId, attempt, until } = record;
    assert(seq > this.grantSeq, "grantSeq rises");
    this.grantSeq = seq;
    const grant = { seq, nonce, attemptId, consumerId, repeated: false };
    const leased: OpenMessage[] = [];
    for (const { first, count } of record.ranges) {
      for (let queueOffset = first; queueOffset < first + count; queueOffset++) {
        leased.push(this.#lease(queueOffset, { grant, attempt, at: until }));
      }
    }
    return leased;
  }

  #lease(
    queueOffset: number,
    lease: { readonly grant: Grant; readonly attempt: number; readonly at: number },
  ): OpenMessage {
    let message = this.open.get(queueOffset);
    if (message) {
      this.#setLeased(message, false); // by the grant before
      this.due.delete(message);
      message.grant = lease.grant;
      message.attempt = lease.attempt;
      message.at = lease.at;
      message.released = false;
    } else {
      message = { queue: this, queueOffset, ...lease, released: false, leased: false };
      this.open.set(queueOffset, message);
      this.#tally.open++;
    }
    this.#setLeased(message, true);
    this.head = Math.max(this.head, queueOffset + 1);
    return message;
  }

  /** Returns the messages whose time changed. */
  applySettle(record: RecordOf<"settle">): OpenMessage[] {
    for (const { first, count } of record.acked) {
      for (let queueOffset = first; queueOffset < first + count; queueOffset++) {
        this.#close(queueOffset);
      }
    }
    const changed: OpenMessage[] = [];
    for (const { op, queueOffset, at } of record.timed) {
      const message = this.open.get(queueOffset);
      if (!message) continue;
      this.due.delete(message);
      message.at = at;
      message.released = op !== "extend";
      if (op === "undo") message.attempt--;
      this.#setLeased(message, op === "extend");
      changed.push(message);
    }
    return changed;
  }

  applyDead(record: RecordOf<"dead">, deadAt: number): void {
    for (const { queueOffset, attempts, cause, reason } of record.items) {
      this.#close(queueOffset);
      this.dead.set(queueOffset, { attempts, cause, reason, deadAt });
      this.head = Math.max(this.head, queueOffset + 1);
    }
  }

  /** Its lease has ended, or its wait: it is to be delivered again. */
  markDue(message: OpenMessage): void {
    this.#setLeased(message, false);
    this.due.add(message);
  }

  /** Puts a message back as a snapshot knew it. */
  restore(message: Omit<OpenMessage, "queue" | "leased">): OpenMessage {
    const restored = { ...message, queue: this, leased: false };
    this.open.set(message.queueOffset, restored);
    this.#tally.open++;
    this.#setLeased(restored, !message.released);
    return restored;
  }

  /** All that is open is void: its receipts are lost, its timers stale. */
  clear(): void {
    for (const queueOffset of this.open.keys()) this.#close(queueOffset);
  }

  #close(queueOffset: number): void {
    const message = this.open.get(queueOffset);
    if (!message) return;
    this.#setLeased(message, false);
    this.due.delete(message);
    message.at = Infinity;
    this.open.delete(queueOffset);
    this.#tally.open--;
  }

  #setLeased(message: OpenMessage, leased: boolean): void {
    if (message.leased === leased) return;
    message.leased = leased;
    this.#tally.leased += leased ? 1 : -1;
    const { attemptId } = message.grant;
    if (attemptId !== undefined) this.#setAttempt(attemptId, message);
  }

  #setAttempt(attemptId: string, message: OpenMessage): void {
    const { attempts } = this.#tally;
    const leases = attempts.get(attemptId) ?? new Set();
    if (message.leased) attempts.set(attemptId, leases.add(message));
    else if (leases.delete(message) && leases.size === 0) attempts.delete(attemptId);
  }
}

/** Consecutive offsets as ranges. @param offsets ascending, each once. */
export function toRanges(offsets: readonly number[]): { first: number; count: number }[] {
  const ranges: { first: number; count: number }[] = [];
  for (const offset of offsets) {
    const last = ranges.at(-1);
    if (last && last.first + last.count === offset) last.count++;
    else ranges.push({ first: offset, count: 1 });
  }
  return ranges;
}
