/**
 * Who waits for something to happen: one small object each, bounded in number.
 *
 * A waiter is over when it is woken, its time is up, its caller went away or the
 * broker drains, whichever comes first; it never keeps state of the broker.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import { TidegateError } from "../../storage/base/errors.ts";

export interface WaitOptions {
  readonly waitMs: number;
  readonly signal: AbortSignal | undefined;
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

/** Waits on keys: all waiters of a key wake together. */
export class KeyedWaiters<K> {
  readonly #clock: Clock;
  readonly #room: WaitRoom;
  readonly #byKey = new Map<K, Set<Waiter<K>>>();

  constructor(clock: Clock, room: WaitRoom) {
    this.#clock = clock;
    this.#room = room;
  }

  /** Resolves when the wait is over, for whatever reason. @throws `overloaded` */
  async wait(key: K, { waitMs, signal }: WaitOptions): Promise<void> {
    if (this.#room.draining || signal?.aborted) return;
    this.#room.enter();
    const waiter = new Waiter(this, { key, signal });
    const waiters = this.#byKey.get(key);
    if (waiters) waiters.add(waiter);
    else this.#byKey.set(key, new Set([waiter]));
    waiter.cancelTimer = this.#clock.after(waitMs, () => waiter.wake());
    return waiter.over;
  }

  /** Its wait is over. */
  left(waiter: Waiter<K>): void {
    const waiters = this.#byKey.get(waiter.key);
    waiters?.delete(waiter);
    if (waiters?.size === 0) this.#byKey.delete(waiter.key);
    this.#room.leave();
  }

  wake(key: K): void {
    for (const waiter of this.#byKey.get(key) ?? []) waiter.wake();
  }

  wakeAll(): void {
    for (const key of [...this.#byKey.keys()]) this.wake(key);
  }
}

/** There are thousands: it is its own abort listener, and owns no closure but those it is called by. */
class Waiter<K> implements EventListenerObject {
  readonly key: K;
  readonly over: Promise<void>;
  cancelTimer: (() => void) | undefined = undefined;
  readonly #owner: KeyedWaiters<K>;
  readonly #signal: AbortSignal | undefined;
  #resolve: (() => void) | undefined = undefined;

  constructor(owner: KeyedWaiters<K>, about: { key: K; signal: AbortSignal | undefined }) {
    this.#owner = owner;
    this.key = about.key;
    this.#signal = about.signal;
    this.over = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#signal?.addEventListener("abort", this);
  }

  wake(): void {
    this.cancelTimer?.();
    this.#signal?.removeEventListener("abort", this);
    this.#owner.left(this);
    this.#resolve?.();
  }

  /** The caller went away. */
  handleEvent(): void {
    this.wake();
  }
}
