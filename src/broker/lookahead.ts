/**
 * What lies ahead of a group in one queue, for those that cannot simply be given
 * the next message: subscriptions with a filter, and ordered groups.
 *
 * The scout (scout.ts) looks at the queue's units in order and offers those that
 * the filter wants. In a concurrent group they form one line; in an ordered group
 * one lane per key, with one message at a time on its way:
 *
 *            offer()                 take()              free()
 *   unseen ─────────▶ in its lane ────────────▶ held ─────────────▶ gone
 *                     (may go when first,        (leased, or waiting
 *                      and the lane is free)      for its retry)
 *
 * A message stays the holder of its lane through retries, so nothing of its key
 * overtakes it. Messages without a key share the lane of the queue; two keys of
 * one hash share theirs, which only makes one wait for the other.
 *
 * What was looked at is known beyond what was looked at for a receive, `sought`: people
 * who peek see it, and only a receive passes it over.
 *
 *   head ──────────▶ sought ──────────▶ scanned
 *         passed over         peeked at
 *         or taken, or        or taken
 *         waiting
 *
 * Derived from the fold and the consume queue, never logged: after a restart it
 * is made anew. Deterministic: no clock, no I/O.
 *
 * @module
 */

import { assert } from "../../storage/base/assert.ts";
import { Heap } from "../../storage/base/heap.ts";

/** A message that may be granted now. */
export interface Candidate {
  readonly queueOffset: number;
  /** 0 without a key; also in concurrent groups, which do not ask. */
  readonly keyHash: number;
}

/** The messages of one key. */
interface Lane {
  /** Messages on their way: one, but for those whose key is not known for damage. */
  held: number;
  /** Ascending; those before `first` are gone. */
  waiting: number[];
  first: number;
}

export class Lookahead {
  readonly #ordered: boolean;
  /** Lane by keyHash; in a concurrent group there is one, which is never held. */
  readonly #lanes = new Map<number, Lane>();
  /** The first message of each free lane. */
  readonly #ready = new Heap<number>();
  /** The first queueOffset that was not looked at. */
  scanned: number;
  /** The first queueOffset that was not looked at for a receive: from here on nothing is passed over. */
  sought: number;
  #waiting = 0;

  /** @param from the queue's head: where the scout begins. */
  constructor(from: number, options: { readonly ordered: boolean }) {
    this.scanned = from;
    this.sought = from;
    this.#ordered = options.ordered;
  }

  /** Messages that may be granted now, at least: 0 means none. */
  get ready(): number {
    return this.#ordered ? this.#ready.size : this.#waiting;
  }

  /** Messages offered and not taken. */
  get waiting(): number {
    return this.#waiting;
  }

  /** How far, from `head` on, receives looked and found nothing that still waits. */
  passedTo(head: number): number {
    let least = this.sought;
    for (const { waiting, first } of this.#lanes.values()) {
      let at = first; // a dead letter sent back may wait below the head
      while ((waiting[at] ?? head) < head) at++;
      least = Math.min(least, waiting[at] ?? least);
    }
    return least;
  }

  /** A message the group wants; in ascending order of queueOffset. */
  offer({ queueOffset, keyHash }: Candidate): void {
    const hash = this.#ordered ? keyHash : 0;
    const lane = this.#lane(hash);
    const first = lane.first === lane.waiting.length;
    assert(first || (lane.waiting.at(-1) as number) < queueOffset, "a lane is in order");
    lane.waiting.push(queueOffset);
    this.#waiting++;
    if (this.#ordered && first && lane.held === 0) this.#ready.push(queueOffset, hash);
  }

  /** Up to `max` messages, in order of queue; their lanes are held from now on. */
  take(max: number): Candidate[] {
    const taken: Candidate[] = [];
    while (taken.length < max) {
      const next = this.#next();
      if (!next) break;
      taken.push(next);
    }
    return taken;
  }

  #next(): Candidate | undefined {
    const keyHash = this.#ordered ? this.#ready.pop() : 0;
    const lane = keyHash === undefined ? undefined : this.#lanes.get(keyHash);
    const queueOffset = lane?.waiting[lane.first];
    if (keyHash === undefined || !lane || queueOffset === undefined) return undefined;
    lane.first++;
    this.#waiting--;
    this.sought = Math.max(this.sought, queueOffset + 1);
    if (2 * lane.first > lane.waiting.length + 32) {
      lane.waiting = lane.waiting.slice(lane.first);
      lane.first = 0;
    }
    if (this.#ordered) lane.held++;
    return { queueOffset, keyHash };
  }

  /** A message of the key is on its way already; said before any is offered. */
  hold(keyHash: number): void {
    if (this.#ordered) this.#lane(keyHash).held++;
  }

  /** The holder of the key's lane is done, dead or void. */
  free(keyHash: number): void {
    const lane = this.#lanes.get(keyHash);
    if (!this.#ordered || !lane || lane.held === 0 || --lane.held > 0) return;
    if (lane.first < lane.waiting.length)
      this.#ready.push(lane.waiting[lane.first] as number, keyHash);
    else this.#lanes.delete(keyHash);
  }

  /** What would be taken now, in order of queue; nothing changes. */
  peek(max: number): Candidate[] {
    const found: Candidate[] = [];
    for (const [keyHash, { held, waiting, first }] of this.#lanes) {
      if (held > 0) continue;
      const until = this.#ordered ? first + 1 : first + max;
      for (const queueOffset of waiting.slice(first, until)) found.push({ queueOffset, keyHash });
    }
    return found.sort((a, b) => a.queueOffset - b.queueOffset).slice(0, max);
  }

  #lane(keyHash: number): Lane {
    let lane = this.#lanes.get(keyHash);
    if (!lane) {
      lane = { held: 0, waiting: [], first: 0 };
      this.#lanes.set(keyHash, lane);
    }
    return lane;
  }
}
