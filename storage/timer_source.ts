/**
 * Timers in order, from several places at once: what the node takes from as they
 * fall due, and what files are merged from.
 *
 * @module
 */

import type { Timer } from "./timer_entry.ts";

/** Timers of one place, in order; the first one is at hand, or its place is known. */
export interface TimerSource {
  /** Of the first one, or a bound before it while it is not loaded; Infinity when none is left. */
  readonly dueAt: number;
  readonly bodyLogOffset: number;
  /** Whether the first one can be looked at. */
  readonly loaded: boolean;
  /** Whether the first one takes back the timer of its place. */
  readonly recall: boolean;
  timer(): Timer;
  /** Goes on behind the first one, which must be loaded. */
  advance(): void;
  load(): Promise<void>;
}

/**
 * The sources whose first timer comes first: more than one when one takes back
 * what another has. Empty when nothing is left.
 *
 * @param into is emptied and filled.
 */
export function firstOf(sources: readonly TimerSource[], into: TimerSource[]): TimerSource[] {
  into.length = 0;
  for (const source of sources) {
    if (source.dueAt === Infinity) continue;
    const [first] = into;
    const order = first
      ? source.dueAt - first.dueAt || source.bodyLogOffset - first.bodyLogOffset
      : -1;
    if (order < 0) into.length = 0;
    if (order <= 0) into.push(source);
  }
  return into;
}
