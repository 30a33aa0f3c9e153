/**
 * Who waits for something to happen: one small object each, bounded in number.
 *
 * A waiter is over when it is woken, its time is up, its caller went away or the
 * broker drains, whichever comes first; it never keeps state of the broker. There
 * are thousands: it is its own abort listener and its own entry among the
 * deadlines, of which one timer takes care, and it owns no closure.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import { Deadlines, type Due } from "../../storage/base/deadlines.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { StopSignal } from "./api.ts";

export interface WaitOptions {
  readonly waitMs: number;
  readonly signal: StopSignal | undefined;
}

/** The number of waiters on a node has a bound; past it, the caller is told. */
export class WaitRoom {
  readonly #max: number;
  #count = 0;
  /** No wait begins any more; those that had are over. */
  draining = false;

  constructor(max: number) {
    this.#max = max;
  }

  get max(): number {
    return this.#max;
  }

  get count(): number {
    return this.#count;
  }

  /** @throws `overloaded` */
  enter(): void {
    if (this.#count >= this.#max) {
      const detail = `Cannot wait: ${this.#max} requests wait already`;
      throw new TidegateError("overloaded", detail, { limit: this.#max });
    }
    this.#count++;
  }

  leave(): void {
    this.#count--;
  }
}

/** Who is told, once, that a wait is over. */
export interface Parked {
  /** In the middle of what ended it: whatever comes of it is for a later turn. */
  wake(): void;
}

/** Waits on keys: all waiters of a key wake together. */
export class KeyedWaiters<K> {
  readonly #room: WaitRoom;
  readonly #clock: Clock;
  readonly #deadlines: Deadlines;
  readonly #byKey = new Map<K, Set<Waiter<K>>>();

  constructor(clock: Clock, room: WaitRoom) {
    this.#clock = clock;
    this.#deadlines = new Deadlines(clock);
    this.#room = room;
  }

  /** Resolves when the wait is over, for whatever reason. @throws `overloaded` */
  wait(key: K, options: WaitOptions): Promise<void> {
    return new Promise((wake) => this.park(key, { ...options, parked: { wake } }));
  }

  /** Wakes `parked` when its wait is over, for whatever reason. @throws `overloaded` */
  park(key: K, { waitMs, signal, parked }: WaitOptions & { readonly parked: Parked }): void {
    if (this.#room.draining || signal?.aborted) return parked.wake();
    this.#room.enter();
    const waiter = new Waiter(this, { key, signal, parked });
    const waiters = this.#byKey.get(key);
    if (waiters) waiters.add(waiter);
    else this.#byKey.set(key, new Set([waiter]));
    this.#deadlines.add(this.#clock.elapsed() + waitMs, waiter);
  }

  /** Its wait is over. */
  left(waiter: Waiter<K>): void {
    const waiters = this.#byKey.get(waiter.key);
    waiters?.delete(waiter);
    if (waiters?.size === 0) this.#byKey.delete(waiter.key);
    this.#room.leave();
    if (this.#byKey.size === 0) this.#deadlines.stop();
  }

  wake(key: K): void {
    for (const waiter of this.#byKey.get(key) ?? []) waiter.end();
  }

  wakeAll(): void {
    for (const key of [...this.#byKey.keys()]) this.wake(key);
  }
}

class Waiter<K> implements Due, EventListenerObject {
  readonly key: K;
  readonly #owner: KeyedWaiters<K>;
  readonly #signal: StopSignal | undefined;
  /** Until it was woken: what is over may lie among the deadlines for a while. */
  #parked: Parked | undefined;

  constructor(
    owner: KeyedWaiters<K>,
    about: { key: K; signal: StopSignal | undefined; parked: Parked },
  ) {
    this.#owner = owner;
    this.key = about.key;
    this.#signal = about.signal;
    this.#parked = about.parked;
    this.#signal?.addEventListener("abort", this);
  }

  get isOver(): boolean {
    return this.#parked === undefined;
  }

  end(): void {
    const parked = this.#parked;
    if (parked === undefined) return;
    this.#parked = undefined;
    this.#signal?.removeEventListener("abort", this);
    this.#owner.left(this);
    parked.wake();
  }

  onDeadline(): void {
    this.end();
  }

  /** The caller went away. */
  handleEvent(): void {
    this.end();
  }
}
