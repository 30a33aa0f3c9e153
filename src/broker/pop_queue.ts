/**
 * Who holds which message of one queue, for one consumer group.
 *
 *             grant                    ack
 *   ready ───────────▶ leased(n, until) ──▶ done
 *     ▲                  │      │
 *     │ until has passed │      │ release(at), undo
 *     ├──────────────────┘      ▼
 *     ├───────────────────── waiting(n, at)
 *     │            at has passed      attempts used up, or rejected ──▶ dead
 *     └──────────────────────────────────────────────────── redrive ─────┘
 *
 * Expiry is no event here: a lease whose `at` has passed is simply ready, and the
 * next grant carries attempt n + 1. State changes only by the `apply` functions,
 * which the leader calls at append and a restart calls from the log.
 *
 * A concurrent group takes its queue in order, so a grant passes over all before
 * it: a filter did not want them. An ordered group takes other keys past one that
 * is on its way, so there a grant passes over nothing; what was taken past the
 * head is remembered, and a `skip` says what the filter did not want.
 *
 * Deterministic: no clock, no I/O, no chance.
 *
 * Invariant: every queueOffset below `head` or in `taken` is done, dead, in
 * `open`, or was not wanted.
 *
 * @module
 */

import { assert } from "../../storage/base/assert.ts";
import type { RecordOf } from "../../storage/mod.ts";
import type { DeadLetterPlace } from "./dead_letters.ts";
import type { Subscription } from "./groups.ts";
import type { Lookahead } from "./lookahead.ts";
import { offsetsOf, OffsetSet } from "./offsets.ts";

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
  /** Given back by its consumer, or sent back from the dead letters: its receipt is used up. */
  released: boolean;
  /** Sent back from the dead letters and not granted since: nothing is on its way. */
  redriven: boolean;
  /** 0 without a key; −1 while nobody asked (lookahead.ts). */
  keyHash: number;
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
  /** Live leases of consumers that named themselves. */
  readonly consumers: Map<string, Set<OpenMessage>>;
}

/** Receipts of what was sent back are `lost`: no receipt was given under this. */
const NO_NONCE = new Uint8Array(8);

export class PopQueue {
  readonly subscription: Subscription;
  readonly topicGen: number;
  readonly queueId: number;
  /** The first queueOffset neither granted nor passed over. */
  head: number;
  /** Messages that retention removed before they were granted or passed over. */
  expiredUnread = 0;
  /** Granted past the head. */
  readonly taken = new OffsetSet();
  grantSeq = 0;
  /** Where the log describes it in full, its dead letters included; 0: nowhere that is known. */
  describedAt = 0;
  /** Receipts of grants up to here are void: the group was sought elsewhere. */
  voidedSeq = 0;
  readonly open = new Map<number, OpenMessage>();
  readonly dead = new Map<number, DeadLetterPlace>();
  /** Messages found due, to deliver again in this order; each once. */
  readonly due = new Set<OpenMessage>();
  /** Where the next messages are not simply those from `head` on; made by the scout. */
  lookahead: Lookahead | undefined;
  /** How often it was made void, to notice that it was. */
  lookaheadEra = 0;

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

  /** Whether a queueOffset was granted, or passed over. */
  isDecided(queueOffset: number): boolean {
    return queueOffset < this.head || this.taken.has(queueOffset);
  }

  /** Returns the messages now leased. */
  applyGrant(record: RecordOf<"grant">): OpenMessage[] {
    const { grantSeq: seq, nonce, attemptId, consumerId, attempt, until } = record;
    assert(seq > this.grantSeq, "grantSeq rises");
    this.grantSeq = seq;
    const grant = { seq, nonce, attemptId, consumerId, repeated: false };
    const leased: OpenMessage[] = [];
    for (const queueOffset of offsetsOf(record.ranges)) {
      leased.push(this.#lease(queueOffset, { grant, attempt, at: until }));
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
      message.redriven = false;
    } else {
      message = newlyOpen(this, queueOffset, lease);
      this.open.set(queueOffset, message);
      this.#tally.open++;
      this.#pass(queueOffset);
    }
    this.#setLeased(message, true);
    return message;
  }

  /** A message left the queue's line. */
  #pass(queueOffset: number): void {
    if (queueOffset < this.head) return;
    const ordered = this.subscription.group.config.mode === "ordered";
    if (ordered && queueOffset > this.head) this.taken.add(queueOffset);
    else this.head = this.taken.passTo(queueOffset + 1);
  }

  /** What lies before `to` and was not taken was not wanted. */
  applySkip({ to }: RecordOf<"skip">): void {
    if (to > this.head) this.head = this.taken.passTo(to);
  }

  /** What lies below `firstOffset` is gone. What is held of it stays held, but for a purge. */
  applyHead({ firstOffset, cause }: Pick<RecordOf<"head">, "firstOffset" | "cause">): void {
    if (cause === "purge") {
      for (const queueOffset of this.open.keys())
        if (queueOffset < firstOffset) this.#close(queueOffset);
    }
    if (firstOffset <= this.head) return;
    const unread = firstOffset - this.head - this.taken.countBelow(firstOffset);
    if (cause === "retention") this.expiredUnread += unread;
    this.head = this.taken.passTo(firstOffset);
    this.lookAnew();
  }

  /** Leases and retries are void, dead letters stay. */
  applySeek({ to }: RecordOf<"seek">): void {
    this.voidOpen();
    this.taken.clear();
    this.head = to;
    this.voidedSeq = this.grantSeq;
    this.lookAnew();
  }

  /** What lies ahead must be looked at anew. */
  lookAnew(): void {
    this.lookahead = undefined;
    this.lookaheadEra++;
  }

  /** Returns the messages that are ready again. */
  applyRedrive(record: RecordOf<"redrive">, at: number): OpenMessage[] {
    const ready: OpenMessage[] = [];
    const grant: Grant = {
      seq: ++this.grantSeq, // above all receipts there are
      nonce: NO_NONCE,
      attemptId: undefined,
      consumerId: undefined,
      repeated: false,
    };
    for (const queueOffset of record.offsets) {
      if (!this.dead.delete(queueOffset) || record.action === "drop") continue;
      if (this.open.has(queueOffset) || !this.isDecided(queueOffset)) continue; // sought back to
      const message = { queueOffset, grant, attempt: 0, at, released: true, redriven: true };
      ready.push(this.restore(message));
    }
    if (ready.length > 0) this.lookAnew(); // keys of old messages are not known
    return ready;
  }

  /** Returns the messages whose time changed. */
  applySettle(record: RecordOf<"settle">): OpenMessage[] {
    for (const queueOffset of offsetsOf(record.acked)) this.#close(queueOffset);
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

  /** Returns the dead letters. */
  applyDead(
    record: RecordOf<"dead">,
    place: { readonly logOffset: number; readonly storedAt: number },
  ): DeadLetterPlace[] {
    const { logOffset, storedAt: deadAt } = place;
    return record.items.map(({ queueOffset, attempts, cause, reason }) => {
      this.#close(queueOffset);
      this.#pass(queueOffset);
      const { grantSeq } = this;
      const about = { attempts, cause, reason, deadAt, grantSeq, logOffset };
      const letter = { queue: this, queueOffset, describedAt: 0, ...about };
      this.dead.set(queueOffset, letter);
      return letter;
    });
  }

  /** Its lease has ended, or its wait: it is to be delivered again. */
  markDue(message: OpenMessage): void {
    this.#setLeased(message, false);
    this.due.add(message);
  }

  /** Puts a message back as a snapshot knew it. */
  restore(message: Omit<OpenMessage, "queue" | "leased" | "keyHash">): OpenMessage {
    const restored = { ...message, queue: this, leased: false, keyHash: -1 };
    this.open.set(message.queueOffset, restored);
    this.#tally.open++;
    this.#setLeased(restored, !message.released);
    return restored;
  }

  /** All that is open is void: its receipts are lost, its timers stale. */
  voidOpen(): void {
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
    if (!message.redriven) this.lookahead?.free(message.keyHash);
  }

  #setLeased(message: OpenMessage, leased: boolean): void {
    if (message.leased === leased) return;
    message.leased = leased;
    this.#tally.leased += leased ? 1 : -1;
    const { attemptId, consumerId } = message.grant;
    const { attempts, consumers } = this.#tally;
    if (attemptId !== undefined) file(attempts, attemptId, message);
    if (consumerId !== undefined) file(consumers, consumerId, message);
  }
}

/** Puts a message where it is looked for while it is leased, and takes it away after. */
function file(leases: Map<string, Set<OpenMessage>>, id: string, message: OpenMessage): void {
  const mine = leases.get(id) ?? new Set();
  if (message.leased) leases.set(id, mine.add(message));
  else if (mine.delete(message) && mine.size === 0) leases.delete(id);
}

function newlyOpen(
  queue: PopQueue,
  queueOffset: number,
  { grant, attempt, at }: Pick<OpenMessage, "grant" | "attempt" | "at">,
): OpenMessage {
  // Written out: spread, this is a tenth of what a start does.
  return {
    queue,
    queueOffset,
    grant,
    attempt,
    at,
    released: false,
    redriven: false,
    keyHash: -1,
    leased: false,
  };
}
