/**
 * Receives that found nothing and wait for their group.
 *
 * Something to deliver goes to the one that waited longest: when a group may
 * have messages ready, grants are tried for its waiters in order of arrival, so a
 * message wakes one waiter. The end of the group's earliest lease is such a
 * moment, so one timer per waited-for group runs.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import type { Core } from "./core.ts";
import { endLeases, grant, type GrantWish, type Leased } from "./grant.ts";
import type { GroupState } from "./groups.ts";
import { hasReady, hasUnseen } from "./readiness.ts";
import type { Wanted } from "./scout.ts";
import type { WaitOptions, WaitRoom } from "./waiters.ts";

interface Waiter {
  readonly wish: Omit<GrantWish, "now">;
  /** Ends the wait. */
  resolve(leased: Leased[]): void;
}

interface Line {
  readonly waiters: Set<Waiter>;
  cancelTimer: () => void;
  timerAt: number;
}

/** Longer than any wait: a timer that long has nobody to wake, and some runtimes no room for it. */
const TIMER_MS_MAX = 3_600_000;

export class ReceiveWaiters {
  readonly #core: Core;
  readonly #clock: Clock;
  readonly #room: WaitRoom;
  readonly #now: () => number;
  readonly #lines = new Map<GroupState, Line>();
  /** Grants were logged outside of a request's turn: the log wants flushing. */
  readonly #flush: () => void;
  /** Nothing is ready, but there is something to look at. */
  readonly #lookFor: (group: GroupState) => void;
  readonly #granted: (leased: readonly Leased[]) => void;
  /** Whether anything can be granted: false while nothing can be logged. */
  readonly #mayGrant: () => boolean;

  constructor(
    core: Core,
    ports: {
      readonly clock: Clock;
      readonly room: WaitRoom;
      now(): number;
      flush(): void;
      lookFor(group: GroupState): void;
      granted(leased: readonly Leased[]): void;
      mayGrant(): boolean;
    },
  ) {
    this.#core = core;
    this.#clock = ports.clock;
    this.#room = ports.room;
    this.#now = ports.now;
    this.#flush = ports.flush;
    this.#lookFor = ports.lookFor;
    this.#granted = ports.granted;
    this.#mayGrant = ports.mayGrant;
  }

  /** Resolves with leases, or with none when the wait is over. @throws `overloaded` */
  async wait(
    group: GroupState,
    { wish, waitMs, signal }: WaitOptions & { readonly wish: Omit<GrantWish, "now"> },
  ): Promise<Leased[]> {
    if (this.#room.draining || signal?.aborted) return [];
    this.#room.enter();
    const { promise, resolve } = Promise.withResolvers<Leased[]>();
    const waiter = { wish, resolve };
    const line = this.#line(group);
    line.waiters.add(waiter);
    this.#setTimer(group, line);
    this.#lookFor(group);
    const giveUp = () => {
      line.waiters.delete(waiter); // now, or a grant of this very turn would go to nobody
      resolve([]);
    };
    const cancel = this.#clock.after(waitMs, giveUp);
    signal?.addEventListener("abort", giveUp);
    const leased = await promise;
    signal?.removeEventListener("abort", giveUp);
    cancel();
    this.#leave(group, waiter);
    this.#room.leave();
    return leased;
  }

  #line(group: GroupState): Line {
    let line = this.#lines.get(group);
    if (!line) {
      line = { waiters: new Set(), cancelTimer: () => {}, timerAt: Infinity };
      this.#lines.set(group, line);
    }
    return line;
  }

  #leave(group: GroupState, waiter: Waiter): void {
    const line = this.#lines.get(group);
    line?.waiters.delete(waiter);
    if (!line || line.waiters.size > 0) return;
    line.cancelTimer();
    this.#lines.delete(group);
  }

  /** Something may be ready: grants go to waiters in order of arrival. */
  pump(group: GroupState): void {
    const line = this.#lines.get(group);
    if (!line || !this.#mayGrant()) return;
    const now = this.#now();
    endLeases(this.#core, { group, now });
    for (const waiter of line.waiters) {
      if (!hasReady(group, undefined)) break;
      if (!hasReady(group, waiter.wish.topic)) continue;
      const leased = grant(this.#core, { ...waiter.wish, group, now });
      if (leased.length === 0) continue;
      this.#granted(leased);
      line.waiters.delete(waiter);
      waiter.resolve(leased);
    }
    this.#setTimer(group, line);
    this.#flush();
    if (line.waiters.size > 0) this.#lookFor(group);
  }

  /** Grants may have been held up. */
  pumpAll(): void {
    for (const group of [...this.#lines.keys()]) this.pump(group);
  }

  /** What a receive of the group that waits would have looked at. */
  wanted(group: GroupState): Wanted | undefined {
    if (group.config.paused || group.unseen.size === 0) return undefined;
    for (const { wish } of this.#lines.get(group)?.waiters ?? []) {
      const { topic } = wish;
      if (!hasReady(group, topic) && hasUnseen(group, topic)) return { topic };
    }
    return undefined;
  }

  /** Whether a receive that waits, and finds nothing ready, would have queues of that topic looked at. */
  waits(group: GroupState, topic: string): boolean {
    if (group.config.paused) return false;
    for (const { wish } of this.#lines.get(group)?.waiters ?? []) {
      if ((wish.topic ?? topic) === topic && !hasReady(group, wish.topic)) return true;
    }
    return false;
  }

  /** Receives of the group that wait, by consumer. */
  waiting(group: GroupState): Map<string | undefined, number> {
    const counts = new Map<string | undefined, number>();
    for (const { wish } of this.#lines.get(group)?.waiters ?? []) {
      counts.set(wish.consumerId, (counts.get(wish.consumerId) ?? 0) + 1);
    }
    return counts;
  }

  /** The group is gone: its waiters look again, and find that out. */
  release(group: GroupState): void {
    const line = this.#lines.get(group);
    for (const waiter of line?.waiters ?? []) waiter.resolve([]);
    line?.waiters.clear();
  }

  releaseAll(): void {
    for (const group of [...this.#lines.keys()]) this.release(group);
  }

  /** Wakes when the group's earliest lease or wait ends. */
  #setTimer(group: GroupState, line: Line): void {
    const at = group.timers.minKey;
    if (at === line.timerAt) return;
    line.cancelTimer();
    line.timerAt = at;
    if (at === Infinity) return;
    const delayMs = Math.min(Math.max(0, at - this.#now()), TIMER_MS_MAX);
    line.cancelTimer = this.#clock.after(delayMs, () => {
      line.timerAt = Infinity;
      this.pump(group);
    });
  }
}
