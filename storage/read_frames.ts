/**
 * Reading many frames at once: those at hand from memory, the others from disk in
 * order of their place, neighbours in one read and several reads at a time. In a
 * queue of delayed messages, frames that follow each other lie anywhere.
 *
 * @module
 */

import { indexOf, viewOf } from "./base/bytes.ts";
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
/** At a time: enough to keep a disk busy, few enough to bound what is in memory. */
const READS_MAX = 16;

/** A frame to read from disk, and which of those asked for it is. */
interface Wanted extends FramePlace {
  readonly index: number;
}

/** The frames at `places`, in that order; undefined where the bytes are not what was written. */
export async function readFrames(
  log: CommitLog,
  places: readonly FramePlace[],
): Promise<(Frame | undefined)[]> {
  const frames: (Frame | undefined)[] = places.map(() => undefined);
  const wanted: Wanted[] = [];
  for (const [index, { logOffset, size }] of places.entries()) {
    if (size === 0) continue;
    const young = log.tail.locate(logOffset, size);
    if (young) frames[index] = log.verify(young, logOffset);
    else wanted.push({ index, logOffset, size });
  }
  if (wanted.length === 0) return frames;
  wanted.sort((a, b) => a.logOffset - b.logOffset);
  const runs = neighbours(log, wanted);
  const readNext = async () => {
    for (let run = runs.pop(); run; run = runs.pop()) await readRun(log, run, frames);
  };
  await Promise.all(Array.from({ length: Math.min(READS_MAX, runs.length) }, readNext));
  return frames;
}

/** Frames in ascending order, parted into those to be read in one go. */
function neighbours(log: CommitLog, wanted: readonly Wanted[]): Wanted[][] {
  const runs: Wanted[][] = [];
  let run: Wanted[] = [];
  let [start, end, segmentEnd] = [0, 0, -1];
  for (const one of wanted) {
    const oneEnd = one.logOffset + one.size;
    const near = one.logOffset - end <= GAP_SIZE_MAX && oneEnd - start <= READ_SIZE_MAX;
    if (!near || oneEnd > segmentEnd) {
      run = [];
      runs.push(run);
      start = one.logOffset;
      segmentEnd = log.segmentAt(start)?.end ?? Infinity;
    }
    run.push(one);
    end = Math.max(end, oneEnd);
  }
  return runs;
}

async function readRun(
  log: CommitLog,
  run: readonly Wanted[],
  frames: (Frame | undefined)[],
): Promise<void> {
  const [first] = run;
  const last = run.at(-1);
  if (!first || !last) return;
  const from = first.logOffset;
  const bytes = await log.readBytes(from, last.logOffset + last.size - from);
  if (!bytes) return readEach(log, run, frames);
  const view = viewOf(bytes); // one for all of them: views cost more than what is read through them
  for (const one of run) {
    const { index, logOffset } = one;
    const at = indexOf(logOffset - from);
    frames[index] = log.verify({ bytes, view, at }, logOffset);
    if (!frames[index]) log.missed(one);
  }
}

/** A file that ends within the run still has what lies before. */
async function readEach(
  log: CommitLog,
  run: readonly Wanted[],
  frames: (Frame | undefined)[],
): Promise<void> {
  for (const one of run) frames[one.index] = await log.read(one);
}
