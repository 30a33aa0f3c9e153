/**
 * Waiting at a broker group until a moment, whoever leads it meanwhile.
 *
 *   ask ─▶ something, left, the time is up ─▶ that
 *     ▲ └▶ nothing, and early ─┐
 *     └── another may lead ────┘
 *
 * A wait is over early, with nothing, when the leader drains, and when it is gone and
 * nobody knows what it answered. Whoever waits at several broker groups must not be
 * content with that: what becomes visible under the next leader is to be heard of, and
 * the others may have nothing for as long as the wait lasts.
 *
 * @module
 */

import type { Members } from "./members.ts";

/** Between two waits, where the same leader ends them at once. */
const REST_MS = 100;

export interface KeptWait<T> {
  readonly group: number;
  /** By the elapsed clock. */
  readonly until: number;
  readonly signal: AbortSignal;
  ask(waitMs: number): Promise<T>;
  /** Whether the answer ends the wait. */
  counts(answer: T): boolean;
}

/** @returns the last answer. */
export async function keepWaiting<T>(members: Members, wait: KeptWait<T>): Promise<T> {
  const { group, until, signal, ask, counts } = wait;
  const { clock } = members;
  for (;;) {
    const answer = await ask(Math.max(0, until - clock.elapsed()));
    const ms = Math.min(REST_MS, until - clock.elapsed());
    if (counts(answer) || ms <= 0 || signal.aborted) return answer;
    await members.rest(group, { ms, signal });
    if (signal.aborted) return answer;
  }
}
