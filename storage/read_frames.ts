/**
 * Reading many frames at once: those at hand from memory, the others from disk
 * with neighbours read together.
 *
 * @module
 */

import type { CommitLog } from "./commit_log.ts";
import type { Frame } from "./frame.ts";

export interface FramePlace {
  readonly logOffset: number;
  /** Of the whole frame; 0 where there is none to read. */
  readonly size: number;
}

/** Bytes between two frames that are read rather than skipped. */
const GAP_SIZE_MAX = 16 * 1024;
const READ_SIZE_MAX = 1024 * 1024;

/**
 * The frames at `places`, which are in ascending order within a page; undefined
 * where the bytes are not what was written.
 */
export async function readFrames(
  log: CommitLog,
  places: readonly FramePlace[],
): Promise<(Frame | undefined)[]> {
  const frames: (Frame | undefined)[] = [];
  for (let i = 0; i < places.length; ) {
    const place = places[i] as FramePlace;
    const young = place.size > 0 ? log.tail.find(place.logOffset, place.size) : undefined;
    if (young || place.size === 0) {
      frames.push(young && log.verify(young, place.logOffset));
      i++;
      continue;
    }
    const run = neighbours(log, { places, from: i });
    const size = run.end - place.logOffset;
    const bytes = await log.readBytes(place.logOffset, size);
    for (let j = i; j < i + run.count; j++) {
      const { logOffset, size: frameSize } = places[j] as FramePlace;
      const at = logOffset - place.logOffset;
      const whole = bytes?.subarray(at, at + frameSize);
      frames.push(whole && log.verify(whole, logOffset));
    }
    i += run.count;
  }
  return frames;
}

/** How many frames from `from` on to read in one go, and where the last one ends. */
function neighbours(
  log: CommitLog,
  { places, from }: { places: readonly FramePlace[]; from: number },
): { count: number; end: number } {
  const first = places[from] as FramePlace;
  const segmentEnd = log.segmentAt(first.logOffset)?.end ?? Infinity;
  let end = first.logOffset + first.size;
  let count = 1;
  for (let next = places[from + 1]; next; next = places[from + ++count]) {
    const nextEnd = next.logOffset + next.size;
    const near = next.size > 0 && next.logOffset >= end && next.logOffset - end <= GAP_SIZE_MAX;
    if (!near || nextEnd - first.logOffset > READ_SIZE_MAX || nextEnd > segmentEnd) break;
    end = nextEnd;
  }
  return { count, end };
}
