/**
 * How far a consumer group of the fake broker has come in one life of a topic.
 *
 * One entry per message it has to do with, by its place in the topic's log; what
 * has no entry was not looked at yet and is ready. So a position is nothing but
 * entries that are done, and seeking writes or forgets them.
 *
 * @module
 */

import type { QueueLag, StoredMessage } from "../../src/broker/api.ts";
import { decodeMessage } from "../../storage/base/message.ts";
import type { Matches } from "./filter.ts";
import type { Life } from "./topics.ts";

export interface Entry {
  readonly index: number;
  state: "leased" | "waiting" | "done" | "dead";
  /** Deliveries so far. */
  attempt: number;
  /** Held, or to wait, until then; ready again from then on. */
  until: number;
  /** Of its latest grant: the receipts of others are lost. */
  grant: number;
  attemptId: string | undefined;
  consumerId: string | undefined;
}

export interface Dead {
  /** Rises: the order of the list, and where a page of it ends. */
  readonly serial: number;
  readonly cause: "attempts" | "rejected";
  readonly reason: string;
  readonly attempts: number;
  readonly deadAt: number;
}

export interface Rules {
  readonly ordered: boolean;
  readonly maxAttempts: number;
  readonly matches: Matches;
}

export class Progress {
  readonly life: Life;
  readonly entries = new Map<number, Entry>();
  /** By log index; a message that was sought back to may be dead and alive. */
  readonly dead = new Map<number, Dead>();

  /** By queue: removed by retention, and never delivered. */
  readonly #expiredUnread = new Map<number, number>();
  /** Log indexes below it were removed, and that was noticed. */
  #removed: number;

  constructor(life: Life) {
    this.life = life;
    this.#removed = life.first;
    for (let index = 0; index < life.first; index++) this.entry(index);
  }

  /** What was removed is not delivered any more; what was delivered stays, but for a purge. */
  passRemoved(): void {
    const { first, purged } = this.life;
    for (const entry of this.open()) if (entry.index < purged) entry.state = "done";
    for (let index = this.#removed; index < first; index++) {
      if (this.entries.has(index)) continue;
      this.entry(index);
      const { queueId } = this.stored(index);
      const before = this.#expiredUnread.get(queueId) ?? 0;
      if (index >= purged) this.#expiredUnread.set(queueId, before + 1);
    }
    this.#removed = Math.max(this.#removed, first);
  }

  get topic(): string {
    return this.life.topic.name;
  }

  stored(index: number): StoredMessage {
    return this.life.log[index] as StoredMessage;
  }

  /** The entry of a log index, made when it is the first time. */
  entry(index: number): Entry {
    const known = this.entries.get(index);
    if (known !== undefined) return known;
    const nothing = { attemptId: undefined, consumerId: undefined };
    const made: Entry = { index, state: "done", attempt: 0, until: 0, grant: 0, ...nothing };
    this.entries.set(index, made);
    return made;
  }

  /** From here on, whatever came of it before: done below `position`, ready from there. */
  move(queueId: number, position: number): void {
    for (const [index, stored] of this.life.log.entries()) {
      if (stored.queueId !== queueId) continue;
      this.entries.delete(index);
      if (stored.queueOffset < position || index < this.life.first) this.entry(index);
    }
  }

  live(now: number): Entry[] {
    return [...this.entries.values()].filter(
      ({ state, until }) => state === "leased" && until > now,
    );
  }

  /** Entries of messages that were delivered and are neither done nor dead. */
  open(): Entry[] {
    return [...this.entries.values()].filter(isOpen);
  }

  /** Leases that have ended with the last attempt. */
  usedUp(now: number, { maxAttempts }: Rules): Entry[] {
    return this.open().filter(({ until, attempt }) => until <= now && attempt >= maxAttempts);
  }

  /**
   * Log indexes to deliver now, redeliveries first; the caller delivers each it
   * is given but the last. `pass` is told of those the filter leaves out.
   */
  *ready(
    now: number,
    { rules, pass }: { rules: Rules; pass: (index: number) => void },
  ): Generator<number> {
    const usedUp = new Set(this.usedUp(now, rules));
    const open = this.open().filter((entry) => !usedUp.has(entry));
    const held = open.filter(({ until }) => until > now);
    const busy = new Set(rules.ordered ? held.map(({ index }) => this.#keyOf(index)) : []);
    const isFree = (index: number) => {
      if (!rules.ordered) return true;
      const key = this.#keyOf(index);
      return !busy.has(key) && busy.add(key);
    };
    const due = open.filter(({ until }) => until <= now);
    for (const { index } of due.toSorted(inTurn)) if (isFree(index)) yield index;
    for (const [index, stored] of this.life.log.entries()) {
      if (this.entries.has(index)) continue;
      if (!rules.matches(stored)) pass(index);
      else if (isFree(index)) yield index;
    }
  }

  /** What is neither done nor dead, in log order. */
  unsettled(): number[] {
    return [...this.life.log.keys()].filter((index) => {
      const entry = this.entries.get(index);
      return entry === undefined || isOpen(entry);
    });
  }

  /** By queue. */
  lag(now: number): QueueLag[] {
    const unsettled = Map.groupBy(this.unsettled(), (index) => this.stored(index).queueId);
    return this.life.ends.map((endOffset, queueId) => {
      const mine = unsettled.get(queueId) ?? [];
      const oldest = mine[0] === undefined ? undefined : this.stored(mine[0]);
      const entries = mine.flatMap((index) => this.entries.get(index) ?? []);
      const held = entries.filter(({ until }) => until > now);
      return {
        queueId,
        committedOffset: oldest?.queueOffset ?? endOffset,
        endOffset,
        ready: mine.length - held.length,
        leased: held.filter(({ state }) => state === "leased").length,
        oldestAgeMs: oldest === undefined ? 0 : now - oldest.publishedAt,
        expiredUnread: this.#expiredUnread.get(queueId) ?? 0,
      };
    });
  }

  /** What is kept in order: a key of a queue, or what has none there. */
  #keyOf(index: number): string {
    const { queueId, payload } = this.stored(index);
    const key = decodeMessage(payload)?.key;
    return key === undefined ? `${queueId}` : `${queueId}:${key}`;
  }
}

/** What is being retried keeps its key from what was redriven; then the older one first. */
function inTurn(a: Entry, b: Entry): number {
  return Number(b.attempt > 0) - Number(a.attempt > 0) || a.index - b.index;
}

function isOpen({ state }: Entry): boolean {
  return state === "leased" || state === "waiting";
}
