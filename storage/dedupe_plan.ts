/**
 * Which dedupe runs to merge: at most one per level of size, so a lookup finds
 * at most four, and an entry is copied about eight times a level on its way up.
 *
 *   level   0 below 64 MiB · 1 below 1 GiB · 2 below 16 GiB · 3 above
 *
 * A new run joins the one of its level; what that makes may be of the next level
 * and join the one there, in the same go. Runs lie in the order of the log, older
 * ones are on higher levels, and only neighbours are merged.
 *
 * @module
 */

import type { RunRange } from "./dedupe_run.ts";

export const RUNS_MAX = 4;
const LEVEL_0_SIZE = 64 * 1024 * 1024;
const RATIO = 16;

function levelOf(byteSize: number): number {
  let level = 0;
  for (let size = LEVEL_0_SIZE; byteSize >= size && level < RUNS_MAX - 1; size *= RATIO) level++;
  return level;
}

interface SizedRun {
  readonly header: RunRange;
  readonly byteSize: number;
  /** It is damaged for good. */
  readonly leftAlone?: boolean;
}

/**
 * The neighbours to merge next; undefined when all is well.
 *
 * @param runs oldest first.
 * @param gaps segments whose keys are in no run yet: a merged run claims all from
 * its beginning to its end, so none may reach over one.
 */
export function planMerge<R extends SizedRun>(
  runs: readonly R[],
  gaps: readonly number[],
): readonly R[] | undefined {
  for (let end = runs.length; end > 1; end--) {
    let first = end - 1;
    let size = (runs[first] as R).byteSize;
    for (; first > 0; first--) {
      const [older, newer] = [runs[first - 1] as R, runs[first] as R];
      const between = (base: number) => base >= older.header.to && base < newer.header.from;
      if (older.leftAlone || newer.leftAlone || gaps.some(between)) break;
      if (levelOf(older.byteSize) > levelOf(size)) break;
      size += older.byteSize;
    }
    if (first < end - 1) return runs.slice(first, end);
  }
  return undefined;
}
