/**
 * What may be believed of a broker that is stopped at any moment, with calls
 * under way: it is told what was asked and what was answered, in that order, and
 * says when an answer cannot be.
 *
 * A call that was never answered may have happened or not; then the oracle stops
 * being sure of what it touched until an answer tells.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Delivery, Published, SettleResult, StoredMessage } from "../../src/broker/api.ts";
import type { ErrorCode } from "../../storage/base/errors.ts";
import { decodeMessage } from "../../storage/base/message.ts";

interface Asked {
  readonly id: string;
  readonly key: string | undefined;
  readonly body: string;
  /** Messages of one atomic batch have one number. */
  readonly batch: number;
  readonly delayMs: number | undefined;
  /** When it was asked for: time passes evenly within a life only. */
  readonly at: Moment;
  published: Published | undefined;
  /** An answer said that it was not stored. */
  refused?: boolean;
  recall: "asked" | "answered" | undefined;
  /** Where it was seen first. */
  place: readonly [queueId: number, queueOffset: number, publishedAt: number] | undefined;
  /** As its record says. */
  deliverAt?: number;
  /** The answer promised it through power loss, or only through a kill. */
  readonly durable: boolean;
  /** Of several that were asked for with one name, under one key or place in a sequence, one is stored. */
  readonly once?: string;
  /** Of the transaction it is a message of. */
  readonly fate?: Fate;
}

/** What is known of how a transaction was decided. */
export interface Fate {
  commitAsked: boolean;
  outcome: "committed" | "rolledBack" | undefined;
}

/** @param keepsAll nothing expires: queues are seen from their beginning. */
function checkOffsets(messages: readonly StoredMessage[], keepsAll: boolean): void {
  const ends = new Map<number, number>();
  for (const { queueId, queueOffset } of messages) {
    const first = keepsAll ? 0 : queueOffset;
    assert.equal(queueOffset, ends.get(queueId) ?? first, `queue ${queueId} has no gap`);
    ends.set(queueId, queueOffset + 1);
  }
}

interface Moment {
  readonly life: number;
  readonly elapsed: number;
  /** Leader time. */
  readonly now: number;
}

interface Lease {
  readonly receipt: string;
  readonly attempt: number;
  until: number;
  /** What the consumer asked of it may or may not have happened. */
  unsure: boolean;
  released: boolean;
}

export class Oracle {
  readonly #asked = new Map<string, Asked>();
  /** Visible messages of each topic in log order: what was seen once is seen for ever. */
  readonly #seen = new Map<string, string[]>();
  readonly #leases = new Map<string, Lease>();
  readonly #byReceipt = new Map<string, string>();
  readonly done = new Set<string>();
  readonly #unsureDone = new Set<string>();
  readonly #ackAsked = new Set<string>();
  readonly #rejectAsked = new Set<string>();
  /** For sure. */
  readonly #rejected = new Set<string>();
  readonly #now: () => Moment;
  /** Delayed messages that were seen. */
  revealed = 0;
  /** Messages that were seen, and are gone because they are older than they are kept. */
  expired = 0;
  readonly #retentionMs: number;
  #latest = 0;

  /** @param retentionMs messages are gone some time after. */
  constructor(now: () => Moment, retentionMs: number) {
    this.#now = now;
    this.#retentionMs = retentionMs;
  }

  /** Whether the message may have expired, given when it became visible, or could have. */
  mayBeGone(id: string): boolean {
    const asked = this.#asked.get(id) as Asked;
    const dueAt = asked.published?.state ? asked.published.deliverAt : 0;
    const visibleAt = asked.place?.[2] ?? Math.max(asked.at.now, dueAt);
    // A start may know less of the time than the life before it did.
    this.#latest = Math.max(this.#latest, this.#now().now);
    return this.#latest - visibleAt > this.#retentionMs;
  }

  // Publishing and reading

  publishAsked(
    asked: Pick<Asked, "id" | "key" | "body" | "batch" | "delayMs" | "durable" | "once" | "fate">,
  ): void {
    const unknown = { published: undefined, recall: undefined, place: undefined };
    this.#asked.set(asked.id, { ...asked, ...unknown, at: this.#now() });
  }

  publishAnswered(published: Published): void {
    const asked = this.#asked.get(published.id);
    assert(asked, `an answer to what was asked: ${published.id}`);
    const { replayed: _, ...answer } = published;
    if (asked.published) assert.deepEqual(answer, asked.published, "a repeat is answered alike");
    asked.published = answer;
  }

  /** It was not stored, and never will be. */
  publishRefused(id: string): void {
    const asked = this.#asked.get(id) as Asked;
    assert(!asked.published && !asked.place, `${id} was refused and is there`);
    asked.refused = true;
  }

  /** The power went: what was promised through a kill only may be gone. */
  powerLost(): void {
    for (const asked of this.#asked.values()) if (!asked.durable) asked.published = undefined;
  }

  /**
   * The messages of a topic that were acknowledged so far.
   *
   * @param which only those that who begins to read now must see: what was
   * acknowledged when it was written shows when it is synced, and what is delayed
   * is there for sure in the end only, unless it is taken back.
   */
  acknowledged(topic: string, which: "all" | "visible" | "in the end" = "all"): readonly string[] {
    const published = [...this.#asked.values()].filter((asked) => {
      const { published: answer, durable, recall, fate } = asked;
      if (fate) return fate.outcome === "committed";
      if (!answer || (which === "visible" && !durable)) return false;
      return !answer.state || (which === "in the end" && !recall);
    });
    return published.map(({ id }) => id).filter((id) => id.startsWith(topic));
  }

  /** Messages that may be recalled. */
  scheduled(topic: string): readonly string[] {
    const waiting = [...this.#asked.values()].filter(({ published }) => published?.state);
    return waiting.map(({ id }) => id).filter((id) => id.startsWith(topic));
  }

  recallAsked(id: string): void {
    const asked = this.#asked.get(id);
    if (asked) asked.recall ??= "asked";
  }

  recallAnswered(id: string, answer: ErrorCode | "recalled"): void {
    const asked = this.#asked.get(id) as Asked;
    if (answer === "message-not-found") {
      assert(asked.recall || this.mayBeGone(id), `${id} was scheduled and is not found`);
    } else if (answer === "recalled") {
      assert(!asked.place, `${id} was seen and is recalled`);
      asked.recall = "answered";
    } else {
      assert.equal(answer, "already-delivered");
      assert.notEqual(asked.recall, "answered", `${id} was recalled and is delivered`);
      asked.recall = undefined; // whatever was asked, it is there
    }
  }

  /**
   * A reader of the whole topic saw `messages`.
   *
   * @param expected what was acknowledged when it began.
   */
  saw(topic: string, messages: readonly StoredMessage[], expected: readonly string[]): void {
    const seen = this.#seen.get(topic) ?? [];
    const ids = messages.map((one) => this.#check(one));
    const gone = this.#expiredOf(seen, ids[0]);
    const left = seen.slice(gone);
    const shared = Math.min(left.length, ids.length);
    assert.deepEqual(ids.slice(0, shared), left.slice(0, shared), `${topic} keeps its order`);
    assert(ids.length >= left.length, `${topic} does not shrink`);
    const all = [...seen.slice(0, gone), ...ids];
    this.#seen.set(topic, all);
    const there = new Set(all);
    assert.equal(there.size, all.length, "each is there once");
    for (const id of expected) {
      assert(there.has(id) || this.mayBeGone(id), `${id} was acknowledged and is gone`);
    }
    this.#checkOrder(all);
    this.#checkOnce(all);
    checkOffsets(messages, this.#retentionMs === Infinity);
  }

  /** How many of those seen before are gone, when `first` is the first one that is left. */
  #expiredOf(seen: readonly string[], first: string | undefined): number {
    const at = first === undefined ? -1 : seen.indexOf(first);
    let gone = at < 0 ? seen.length : at;
    if (this.#retentionMs === Infinity) gone = 0;
    for (const id of seen.slice(0, gone)) assert(this.mayBeGone(id), `${id} is kept and is gone`);
    this.expired += gone;
    return gone;
  }

  /** A reader that went on behind a gap it was told of saw `messages`. */
  followed(topic: string, messages: readonly StoredMessage[]): void {
    const ids = messages.map((one) => this.#check(one));
    const seen = this.#seen.get(topic) ?? [];
    let next = 0;
    for (const id of ids) {
      const at = seen.indexOf(id);
      if (at < 0) break; // it is ahead of all who read
      assert(at >= next, `${topic}: ${id} comes in order, once`);
      for (const passed of seen.slice(next, at)) {
        assert(this.mayBeGone(passed), `${passed} is kept and was passed over`);
      }
      next = at + 1;
    }
  }

  #check(stored: StoredMessage): string {
    const message = decodeMessage(stored.payload);
    assert(message, "a payload decodes");
    const asked = this.#asked.get(message.id);
    assert(asked, `what is stored was published: ${message.id}`);
    assert(!asked.refused, `${message.id} was refused and is there`);
    assert.equal(message.key, asked.key);
    assert.equal(new TextDecoder().decode(message.body), asked.body);
    this.#checkPlace(asked, stored);
    if (asked.fate) {
      assert(asked.fate.commitAsked, `${message.id}: somebody committed it`);
      assert.notEqual(asked.fate.outcome, "rolledBack", `${message.id} was rolled back`);
    }
    this.#checkDelay(asked, { stored, deliverAt: message.deliverAt });
    if (asked.published && !asked.published.state) {
      const { queueId, queueOffset, cursor, publishedAt } = asked.published;
      const { queueId: q, queueOffset: o, cursor: c, publishedAt: p } = stored;
      assert.deepEqual([q, o, c, p], [queueId, queueOffset, cursor, publishedAt], message.id);
    }
    return message.id;
  }

  #checkOnce(ids: readonly string[]): void {
    const stored = new Map<string, string>();
    for (const id of ids) {
      const { once } = this.#asked.get(id) as Asked;
      if (once === undefined) continue;
      assert.equal(stored.get(once), undefined, `${once} is stored once, not as ${id} as well`);
      stored.set(once, id);
    }
  }

  /** Once visible, a message stays where it is. */
  #checkPlace(asked: Asked, { queueId, queueOffset, publishedAt }: StoredMessage): void {
    const place = [queueId, queueOffset, publishedAt] as const;
    if (asked.place) return assert.deepEqual(place, asked.place, `${asked.id} stays where it is`);
    asked.place = place;
    if (asked.delayMs !== undefined) this.revealed++;
  }

  /** Nothing is early, and nothing that was taken back is there. */
  #checkDelay(
    asked: Asked,
    { stored, deliverAt }: { stored: StoredMessage; deliverAt: number | undefined },
  ): void {
    const { id, delayMs, published } = asked;
    if (delayMs === undefined) return assert.equal(deliverAt, undefined);
    assert.notEqual(asked.recall, "answered", `${id} was recalled and is there`);
    assert(deliverAt !== undefined && stored.publishedAt >= deliverAt, `${id} is early`);
    if (published)
      assert(published.state && published.deliverAt === deliverAt, `${id} is due then`);
    const { life, elapsed } = this.#now();
    const early = life === asked.at.life && elapsed - asked.at.elapsed < delayMs;
    assert(!early, `${id} comes ${elapsed - asked.at.elapsed} ms after it was delayed ${delayMs}`);
    asked.deliverAt = deliverAt;
  }

  /** Of a key, in order of call; its delayed ones among themselves in order of due time, then of call. */
  #checkOrder(ids: readonly string[]): void {
    const order = new Map([...this.#asked.keys()].map((id, i) => [id, i]));
    const last = new Map<string, readonly [dueAt: number, called: number]>();
    for (const id of ids) {
      const { key, delayMs, deliverAt = 0, fate } = this.#asked.get(id) as Asked;
      if (key === undefined || fate) continue; // committed ones come in the order of their commits
      const line = delayMs === undefined ? key : `${key}, delayed`;
      const [dueAt, called] = last.get(line) ?? [0, -1];
      const at = order.get(id) as number;
      const follows = deliverAt > dueAt || (deliverAt === dueAt && at > called);
      assert(follows, `key ${line}: ${id} is in order`);
      last.set(line, [deliverAt, at]);
    }
    this.#checkWhole(new Set(ids), ({ delayMs }) => delayMs === undefined);
  }

  /** When nothing is to come any more, all of an atomic batch is there, or nothing. */
  checkBatches(): void {
    this.#checkWhole(new Set([...this.#seen.values()].flat()), ({ recall }) => !recall);
  }

  #checkWhole(there: ReadonlySet<string>, counts: (asked: Asked) => boolean): void {
    const batches = new Set([...there].map((id) => (this.#asked.get(id) as Asked).batch));
    for (const asked of this.#asked.values()) {
      if (there.has(asked.id) || !counts(asked) || this.mayBeGone(asked.id)) continue;
      assert(!batches.has(asked.batch), `${asked.id} is missing from its atomic batch`);
    }
  }

  // Leases

  /** Time goes on. */
  passed(): void {
    this.#latest = Math.max(this.#latest, this.#now().now);
  }

  received(deliveries: readonly Delivery[], now: number): void {
    for (const delivery of deliveries) {
      const id = this.#check(delivery);
      assert(!this.done.has(id), `${id} was done and comes again`);
      assert(!this.#byReceipt.has(delivery.receipt), `${id}: a receipt is given once`);
      const before = this.#leases.get(id);
      if (before) {
        assert(delivery.attempt > before.attempt, `${id}: attempts rise`);
        const free = before.released || before.unsure || before.until <= now;
        assert(free, `${id}: another has it until ${before.until}`);
      }
      const { receipt, attempt, leaseUntil: until } = delivery;
      this.#leases.set(id, { receipt, attempt, until, unsure: false, released: false });
      this.#byReceipt.set(receipt, id);
      this.#unsureDone.delete(id); // it was not
    }
  }

  /** Receipts a consumer may hold, of leases that may still live or not. */
  get receipts(): readonly string[] {
    return [...this.#leases.values()].map(({ receipt }) => receipt);
  }

  settleAsked(receipt: string, op: "ack" | "release" | "extend" | "reject"): void {
    const lease = this.#leaseOf(receipt);
    if (lease) lease.unsure = true;
    const id = this.#byReceipt.get(receipt);
    if (id === undefined) return;
    this.#unsureDone.add(id);
    if (op === "ack") this.#ackAsked.add(id);
    if (op === "reject") this.#rejectAsked.add(id);
  }

  /** @param alone no other call was about this receipt since the last certain answer. */
  settleAnswered(
    op: "ack" | "release" | "extend" | "reject",
    result: SettleResult,
    call: { readonly now: number; readonly alone: boolean },
  ): void {
    const id = this.#byReceipt.get(result.receipt);
    const lease = this.#leaseOf(result.receipt);
    assert(id !== undefined, "a receipt that was given out");
    assert.notEqual(result.status, "invalid", `${id}: its receipt is known`);
    const counts = result.status === "ok" || result.status === "late";
    if (counts && (op === "ack" || op === "reject")) this.done.add(id);
    if (counts && op === "reject") this.#rejected.add(id);
    if (!lease || !call.alone) return;
    if (lease.released) assert(op === "release" || !counts, `${id}: ${op} of what was given back`);
    else if (lease.until > call.now) assert.equal(result.status, "ok", `${id}: ${op}, it lives`);
    lease.unsure = false;
    if (counts && op === "extend") lease.until = result.leaseUntil as number;
    if (counts && op === "release") lease.released = true;
  }

  isSure(receipt: string): boolean {
    const lease = this.#leaseOf(receipt);
    const id = this.#byReceipt.get(receipt);
    return lease !== undefined && !lease.unsure && id !== undefined && !this.done.has(id);
  }

  #leaseOf(receipt: string): Lease | undefined {
    const lease = this.#leases.get(this.#byReceipt.get(receipt) ?? "");
    return lease?.receipt === receipt ? lease : undefined;
  }

  /** In the end what nobody acknowledged is a dead letter, and nothing else that nobody rejected. */
  checkLetters(letters: ReadonlySet<string>): void {
    for (const id of [...this.#seen.values()].flat()) {
      const undone = !this.#ackAsked.has(id) && !this.mayBeGone(id); // else it may have expired unread
      const dead = this.#rejected.has(id) || undone;
      assert(!dead || letters.has(id), `${id} was rejected, and is no dead letter`);
    }
    for (const id of letters) assert(this.#rejectAsked.has(id), `${id} was never rejected`);
  }

  /** In the end all that is visible was done, or may have been by a call nobody answered. */
  checkAllDone(topic: string): void {
    for (const id of this.#seen.get(topic) ?? []) {
      const settled = this.done.has(id) || this.#unsureDone.has(id);
      assert(settled || this.mayBeGone(id), `${id} was never delivered`);
    }
  }
}
