/**
 * The timer file: the timers of one or more sealed segments that follow each
 * other, sorted. Derived from the segments, so a missing or damaged one is built
 * again; immutable, so it is never locked.
 *
 *   file `timers/<from, 20 digits>-<to, 20 digits>.tmr`
 *   in sealed blocks (blocks.ts); positions are in the content:
 *
 *   at  size  field
 *    0     8  magic       "TIDETMR1"
 *    8     8  from        logOffset of the first segment
 *   16     8  to          logOffset behind the last one
 *   24     8  until       greatest dueAt of what it was made of
 *   32     4  entryCount
 *   36     4  timerCount  of the entries, those that are no recalls
 *   40     …  zero, to the end of the first block
 * 4092     …  entries in order (timer_entry.ts)
 *    …     …  ids: (idHash u32, index of the entry u32)*, sorted; timers only
 *    …     …  filter of the idHashes (timer_filter.ts)
 *    …     …  directory: dueAt u64 · bodyLogOffset u64 of every 1024th entry
 *
 * @module
 */

import { decodeUtf8, encodeUtf8, getU64, setU64, viewOf } from "./base/bytes.ts";
import { CONTENT_SIZE } from "./blocks.ts";
import { TIMER_SIZE } from "./timer_entry.ts";
import { filterSize } from "./timer_filter.ts";

export const TIMER_DIR = "timers";
/** The header has a block of its own: it is written last. */
export const TIMER_HEADER_SIZE = CONTENT_SIZE;
/** Entries read at once, and one key of the directory each. */
export const GROUP_ENTRIES = 1024;
export const DIRECTORY_KEY_SIZE = 16;
export const ID_ENTRY_SIZE = 8;
const MAGIC = "TIDETMR1";
export const TIMER_FORMAT = MAGIC;

/** Segments that follow each other. */
export interface LogRange {
  readonly from: number;
  readonly to: number;
}

export function timerPath({ from, to }: LogRange): string {
  const digits = (offset: number) => String(offset).padStart(20, "0");
  return `${TIMER_DIR}/${digits(from)}-${digits(to)}.tmr`;
}

/** The ranges of the timer files among `names`, in order; of those that begin at one place the longest first. */
export function timerRanges(names: readonly string[]): LogRange[] {
  return names
    .filter((name) => /^\d{20}-\d{20}\.tmr$/.test(name))
    .map((name) => ({ from: Number(name.slice(0, 20)), to: Number(name.slice(21, 41)) }))
    .sort((a, b) => a.from - b.from || b.to - a.to);
}

export interface TimerHeader extends LogRange {
  readonly until: number;
  readonly entryCount: number;
  readonly timerCount: number;
}

export function encodeTimerHeader(header: TimerHeader): Uint8Array {
  const bytes = new Uint8Array(TIMER_HEADER_SIZE);
  const view = viewOf(bytes);
  bytes.set(encodeUtf8(MAGIC));
  setU64(view, 8, header.from);
  setU64(view, 16, header.to);
  setU64(view, 24, header.until);
  view.setUint32(32, header.entryCount);
  view.setUint32(36, header.timerCount);
  return bytes;
}

/** Undefined when the bytes are no header. */
export function decodeTimerHeader(bytes: Uint8Array): TimerHeader | undefined {
  if (bytes.length < TIMER_HEADER_SIZE) return undefined;
  if (decodeUtf8(bytes.subarray(0, 8)) !== MAGIC) return undefined;
  const view = viewOf(bytes);
  return {
    from: getU64(view, 8),
    to: getU64(view, 16),
    until: getU64(view, 24),
    entryCount: view.getUint32(32),
    timerCount: view.getUint32(36),
  };
}

/** Where the parts of the content lie. */
export function timerParts({
  entryCount,
  timerCount,
}: Pick<TimerHeader, "entryCount" | "timerCount">) {
  const idsAt = TIMER_HEADER_SIZE + entryCount * TIMER_SIZE;
  const filterAt = idsAt + timerCount * ID_ENTRY_SIZE;
  const directoryAt = filterAt + filterSize(timerCount);
  const groups = Math.ceil(entryCount / GROUP_ENTRIES);
  return {
    entriesAt: TIMER_HEADER_SIZE,
    idsAt,
    filterAt,
    directoryAt,
    groups,
    end: directoryAt + groups * DIRECTORY_KEY_SIZE,
  };
}
