/**
 * Making timer files: from a segment, and from smaller ones.
 *
 * @module
 */

import { viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import { type Disk, type DiskFile, readRange } from "./base/disk.ts";
import { type Frame, FRAME_HEADER_SIZE, FRAME_SIZE_MAX, readFrame } from "./frame.ts";
import { LOG_DIR, SEGMENT_HEADER_SIZE, segmentBases, segmentPath } from "./segment.ts";
import { TimerCursor } from "./timer_cursor.ts";
import {
  compareKeys,
  FIRST_KEY,
  recallOf,
  type Timer,
  type TimerKey,
  timerOf,
} from "./timer_entry.ts";
import { TimerFile } from "./timer_file.ts";
import type { LogRange } from "./timer_layout.ts";
import type { TimerSource } from "./timer_source.ts";
import { writeTimerFile } from "./timer_writer.ts";
import type { YoungTimers } from "./young_timers.ts";

interface Ports {
  readonly disk: Disk;
  readonly crc32: Crc32;
}

/**
 * Writes the timers of a segment, all its frames having been taken in.
 *
 * @returns the greatest dueAt of a timer or recall; 0 when there is neither, and no file.
 */
export async function writeSegmentTimers(
  young: YoungTimers,
  segment: { readonly base: number; readonly end: number },
  ports: Ports,
): Promise<number> {
  const recalls = await placesOf(young.recalled, ports);
  const until = Math.max(young.until, recalls.at(-1)?.dueAt ?? 0);
  if (until === 0) return 0;
  const range = { from: segment.base, to: segment.end };
  const sources = [young, new Recalls(recalls)];
  await writeTimerFile(ports, { ...range, until, after: FIRST_KEY, sources });
  return until;
}

/** What {@linkcode writeSegmentTimers} returns, without writing. */
export async function timersUntilOf(young: YoungTimers, ports: Ports): Promise<number> {
  const recalls = await placesOf(young.recalled, ports);
  return Math.max(young.until, recalls.at(-1)?.dueAt ?? 0);
}

/** One file of those that follow each other, without what lies up to `after`. */
export async function mergeTimerFiles(
  ranges: readonly LogRange[],
  { after, ...ports }: Ports & { readonly after: TimerKey },
): Promise<void> {
  const files: TimerFile[] = [];
  try {
    for (const range of ranges) {
      const file = await TimerFile.open(ports.disk, range, ports.crc32);
      if (!file) throw new Error(`Cannot merge the timers from ${range.from}: there is no file`);
      files.push(file);
    }
    const [first, last] = [files.at(0), files.at(-1)];
    if (!first || !last) return;
    await writeTimerFile(ports, {
      from: first.from,
      to: last.to,
      until: Math.max(...files.map(({ until }) => until)),
      after,
      sources: files.map((file) => new TimerCursor(file, after)),
    });
  } finally {
    for (const file of files) await file.retire();
  }
}

/** Recalls in order. */
class Recalls implements TimerSource {
  readonly loaded = true;
  readonly recall = true;
  readonly #keys: readonly TimerKey[];
  #next = 0;

  constructor(keys: readonly TimerKey[]) {
    this.#keys = keys;
  }

  get dueAt(): number {
    return this.#keys[this.#next]?.dueAt ?? Infinity;
  }

  get bodyLogOffset(): number {
    return this.#keys[this.#next]?.bodyLogOffset ?? Infinity;
  }

  timer(): Timer {
    return recallOf(this);
  }

  advance(): void {
    this.#next++;
  }

  load(): Promise<void> {
    return Promise.resolve();
  }
}

/**
 * Where the timers of these messages stand, in order. One whose message cannot be
 * read is left out: its timer is due with nothing to show.
 */
async function placesOf(
  bodyLogOffsets: ReadonlySet<number>,
  { disk, crc32 }: Ports,
): Promise<TimerKey[]> {
  const places: TimerKey[] = [];
  if (bodyLogOffsets.size === 0) return places;
  const bases = segmentBases(await disk.list(LOG_DIR));
  const files = new Map<number, DiskFile>();
  try {
    for (const bodyLogOffset of bodyLogOffsets) {
      const base = bases.findLast((one) => one <= bodyLogOffset);
      if (base === undefined) continue;
      const file = files.get(base) ?? (await openSegment(disk, base));
      if (!file) continue;
      files.set(base, file);
      const frame = await frameAt(file, { base, logOffset: bodyLogOffset, crc32 });
      const timer = frame && timerOf(frame);
      if (timer) places.push({ dueAt: timer.dueAt, bodyLogOffset });
    }
  } finally {
    for (const file of files.values()) await file.close();
  }
  return places.sort(compareKeys);
}

/** Undefined when it is no longer there: what lies before the log's start is void in any case. */
async function openSegment(disk: Disk, base: number): Promise<DiskFile | undefined> {
  try {
    return await disk.open(segmentPath(base), { create: false });
  } catch {
    return undefined;
  }
}

async function frameAt(
  file: DiskFile,
  at: { readonly base: number; readonly logOffset: number; readonly crc32: Crc32 },
): Promise<Frame | undefined> {
  const { logOffset, crc32 } = at;
  const position = SEGMENT_HEADER_SIZE + logOffset - at.base;
  const header = await readRange(file, position, FRAME_HEADER_SIZE);
  const size = header.length === FRAME_HEADER_SIZE ? viewOf(header).getUint32(0) : 0;
  if (size < FRAME_HEADER_SIZE || size > FRAME_SIZE_MAX) return undefined;
  const bytes = await readRange(file, position, size);
  const expected = { logOffset, prevCrc: undefined, crc32 };
  const read = readFrame({ bytes, view: viewOf(bytes), at: 0 }, expected);
  return read.kind === "frame" ? read.frame : undefined;
}
