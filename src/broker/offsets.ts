/**
 * Sets of queueOffsets as ranges: what was granted past the first message that
 * was not is little to keep, however much it is.
 *
 * @module
 */

export interface OffsetRange {
  readonly first: number;
  readonly count: number;
}

/** Consecutive offsets as ranges. @param offsets ascending, each once. */
export function toRanges(offsets: readonly number[]): OffsetRange[] {
  const ranges: { first: number; count: number }[] = [];
  for (const offset of offsets) {
    const last = ranges.at(-1);
    if (last && last.first + last.count === offset) last.count++;
    else ranges.push({ first: offset, count: 1 });
  }
  return ranges;
}

export function* offsetsOf(ranges: Iterable<OffsetRange>): Generator<number> {
  for (const { first, count } of ranges) {
    for (let offset = first; offset < first + count; offset++) yield offset;
  }
}

export class OffsetSet {
  /** Ascending, apart from each other. */
  #ranges: { first: number; end: number }[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  ranges(): OffsetRange[] {
    return this.#ranges.map(({ first, end }) => ({ first, count: end - first }));
  }

  has(offset: number): boolean {
    const range = this.#ranges[this.#after(offset) - 1];
    return range !== undefined && offset < range.end;
  }

  add(offset: number): void {
    const at = this.#after(offset);
    const before = this.#ranges[at - 1];
    const behind = this.#ranges[at];
    if (before && offset < before.end) return;
    this.#size++;
    const joinsBefore = before?.end === offset;
    const joinsBehind = behind?.first === offset + 1;
    if (before && joinsBefore && behind && joinsBehind) {
      before.end = behind.end;
      this.#ranges.splice(at, 1);
    } else if (before && joinsBefore) before.end++;
    else if (behind && joinsBehind) behind.first--;
    else this.#ranges.splice(at, 0, { first: offset, end: offset + 1 });
  }

  /**
   * Forgets what lies below `offset` and the run that begins there.
   *
   * @returns the end of that run; `offset` when there is none.
   */
  passTo(offset: number): number {
    let gone = 0;
    let end = offset;
    for (const range of this.#ranges) {
      if (range.first > end) break;
      gone++;
      this.#size -= range.end - range.first;
      end = Math.max(end, range.end);
    }
    this.#ranges.splice(0, gone);
    return end;
  }

  /** How many lie below `offset`. */
  countBelow(offset: number): number {
    let count = 0;
    for (const { first, end } of this.#ranges) {
      if (first >= offset) break;
      count += Math.min(end, offset) - first;
    }
    return count;
  }

  clear(): void {
    this.#ranges = [];
    this.#size = 0;
  }

  /** The index of the first range that begins behind `offset`. */
  #after(offset: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ranges[middle] as { first: number }).first > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
