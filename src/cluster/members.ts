/**
 * What a leader knows of those who fetch from it, in its epoch.
 *
 * @module
 */

import type { Member } from "./group_state.ts";
import type { Fetch } from "./messages.ts";

/** A member without durable progress for so long leaves the SyncStateSet. */
export const STALLED_MS = 1000;
/** Nobody is remembered longer who does not fetch. */
const FORGOTTEN_MS = 30_000;

export class FollowerRecord {
  readonly member: Member;
  /** Its end was found in this log: what it says it has is what this log has. */
  matched = false;
  durableEnd = 0;
  writtenEnd = 0;
  whole = true;
  /** It stops soon, and may as well be done without from now on. */
  leaving = false;
  seenAt: number;
  /** When it last had everything, or more than before. */
  progressAt: number;
  /** A fetch that waits for something to come. */
  parked: { readonly fetch: Fetch; readonly at: number } | undefined;
  /** The bytes on their way. */
  sent: { readonly from: number; readonly at: number } | undefined;

  constructor(member: Member, now: number) {
    this.member = member;
    this.seenAt = now;
    this.progressAt = now;
  }

  take(fetch: Fetch, { now, end }: { readonly now: number; readonly end: number }): void {
    this.seenAt = now;
    this.whole = fetch.whole;
    this.leaving ||= fetch.leaving; // fetches may overtake each other, and nobody stays after all
    this.matched = true;
    if (!fetch.whole) return;
    this.writtenEnd = Math.max(this.writtenEnd, fetch.from);
    if (fetch.durableEnd > this.durableEnd || fetch.durableEnd >= end) this.progressAt = now;
    this.durableEnd = Math.max(this.durableEnd, fetch.durableEnd);
  }
}

export class FollowerRecords {
  readonly #records = new Map<string, FollowerRecord>();
  readonly #byNode: boolean;

  constructor({ byNode }: { readonly byNode: boolean }) {
    this.#byNode = byNode;
  }

  #key({ node, boot }: Member): string {
    return this.#byNode ? node : `${node} ${boot}`;
  }

  find(member: Member): FollowerRecord | undefined {
    return this.#records.get(this.#key(member));
  }

  of(member: Member, now: number): FollowerRecord {
    const found = this.find(member);
    if (found) return found;
    const record = new FollowerRecord(member, now);
    this.#records.set(this.#key(member), record);
    return record;
  }

  all(): IterableIterator<FollowerRecord> {
    return this.#records.values();
  }

  /** This node was away itself: nobody else is to blame for the silence. */
  excuse(now: number): void {
    for (const record of this.#records.values()) {
      record.progressAt = now;
      record.seenAt = now;
    }
  }

  forget(now: number): void {
    for (const [key, { seenAt }] of this.#records) {
      if (now - seenAt > FORGOTTEN_MS) this.#records.delete(key);
    }
  }
}
