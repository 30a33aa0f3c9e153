/**
 * When publishes were acknowledged, since the last mark: how long nobody was.
 *
 * @module
 */

export class Acks {
  #markedAt = performance.now();
  #times: number[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  readonly note = (): void => {
    this.#count++;
    this.#times.push(performance.now());
  };

  /** What came before no longer counts. */
  mark(): void {
    this.#markedAt = performance.now();
    this.#times = [];
  }

  /** The longest silence since the mark, and when it ended, counted from the mark. */
  longest(now = performance.now()): { readonly gapMs: number; readonly endedMs: number } {
    let longest = { gapMs: 0, endedMs: 0 };
    let before = this.#markedAt;
    for (const at of [...this.#times, now]) {
      if (at - before > longest.gapMs)
        longest = { gapMs: at - before, endedMs: at - this.#markedAt };
      before = at;
    }
    return longest;
  }
}

/** Of several durations, in whole milliseconds. */
export function spread(values: readonly number[]): { median: number; p99: number; most: number } {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0);
  return { median: at(0.5), p99: at(0.99), most: at(1) };
}
