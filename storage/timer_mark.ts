/**
 * How far the timers were done with, as it stands in a snapshot.
 *
 *   key    "W"
 *   value  dueAt u64 · bodyLogOffset u64
 *
 * @module
 */

import { getU64, setU64, viewOf } from "./base/bytes.ts";
import type { Change, Entry } from "./snapshot.ts";
import type { TimerKey } from "./timer_entry.ts";

const TIMER_MARK_KEY = 0x57;

export function encodeTimerMark({ dueAt, bodyLogOffset }: TimerKey): Change {
  const value = new Uint8Array(16);
  setU64(viewOf(value), 0, dueAt);
  setU64(viewOf(value), 8, bodyLogOffset);
  return [Uint8Array.of(TIMER_MARK_KEY), value];
}

/** Undefined for a key that is another one's. */
export function decodeTimerMark([key, value]: Entry): TimerKey | undefined {
  if (key.length !== 1 || key[0] !== TIMER_MARK_KEY) return undefined;
  return { dueAt: getU64(viewOf(value), 0), bodyLogOffset: getU64(viewOf(value), 8) };
}
