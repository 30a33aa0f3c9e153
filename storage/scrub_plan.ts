/**
 * What the scrubber reads next, and how long it rests before: the decisions,
 * apart from the reading.
 *
 *   pass   every file once, in order of path; then the next pass begins
 *   slice  some bytes of one file; a rest after each keeps to the pace
 *
 * The pace is that of one pass in the interval, no faster than the disk can spare
 * and no slower than a slice a minute, so that a small store is not forgotten.
 *
 * @module
 */

/** Read and checked in one go: far less than a millisecond of the event loop. */
export const SLICE_SIZE = 256 * 1024;

const BYTES_PER_SECOND_MAX = 32 * 1024 * 1024;
const REST_MS_MAX = 60_000;

export interface ScrubFile {
  readonly path: string;
  readonly size: number;
}

export class ScrubPlan {
  readonly #intervalMs: number;
  #last = "";
  /** Passes that are over. */
  passes = 0;

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** The file after the last one, among those that are there now; undefined when there is none. */
  next<F extends ScrubFile>(files: readonly F[]): F | undefined {
    const sorted = files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
    const next = sorted.find(({ path }) => path > this.#last);
    if (!next && this.#last !== "") this.passes++;
    const chosen = next ?? sorted[0];
    this.#last = chosen?.path ?? "";
    return chosen;
  }

  /** Before the next slice, after one of `size` bytes of `total`. */
  restMs({ size, total }: { readonly size: number; readonly total: number }): number {
    const share = size / Math.max(total, size, 1);
    const least = (size / BYTES_PER_SECOND_MAX) * 1000;
    return Math.min(REST_MS_MAX, Math.max(least, this.#intervalMs * share));
  }
}
