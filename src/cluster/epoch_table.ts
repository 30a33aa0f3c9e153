/**
 * Where each epoch begins in a log, and what two logs can say of each other
 * from that alone.
 *
 *   log    ├── epoch 1 ──┤├─ epoch 3 ─┤├──── epoch 4 ────┤ end
 *   table   1 at 0         3 at 500     4 at 730
 *
 * Two logs that both hold epoch e agree up to the smaller of its two ends, for
 * one leader wrote it, in order. So a follower that says where it ends and in
 * which epoch can be told whether it may go on, or what the leader's last epoch
 * not above that one is and where it ends: the proof by which it cuts.
 *
 * Built from the frames of the log, never from a file beside it.
 *
 * @module
 */

import { assert } from "../../storage/base/assert.ts";

export interface EpochStart {
  readonly epoch: number;
  /** logOffset of its first frame in this log. */
  readonly from: number;
}

/** An epoch and where a log's part of it ends. */
export interface EpochEnd {
  readonly epoch: number;
  readonly end: number;
}

export class EpochTable {
  #starts: EpochStart[];

  constructor(starts: readonly EpochStart[] = []) {
    this.#starts = [...starts];
  }

  get starts(): readonly EpochStart[] {
    return this.#starts;
  }

  /** Of the last frame; 0 for a log that has none. */
  get last(): number {
    return this.#starts.at(-1)?.epoch ?? 0;
  }

  /** The frames from `from` on are of `epoch`. */
  add(epoch: number, from: number): void {
    const last = this.#starts.at(-1);
    if (last?.epoch === epoch) return;
    assert(!last || (epoch > last.epoch && from > last.from), "epochs rise along the log");
    this.#starts.push({ epoch, from });
  }

  /** The log ends at `to` now. */
  cut(to: number): void {
    this.#starts = this.#starts.filter(({ from }) => from < to);
  }

  /** The log begins at `start` now; of what lies before, the epoch of the last frame stays known. */
  trim(start: number): void {
    const first = this.#starts.findLastIndex(({ from }) => from < start);
    if (first > 0) this.#starts = this.#starts.slice(first);
  }

  /** The greatest epoch not above `epoch` and its end; epoch 0 at `start` where there is none. */
  floor(epoch: number, log: { readonly start: number; readonly end: number }): EpochEnd {
    const index = this.#starts.findLastIndex((one) => one.epoch <= epoch);
    const found = this.#starts[index];
    if (!found) return { epoch: 0, end: log.start };
    return { epoch: found.epoch, end: this.#starts[index + 1]?.from ?? log.end };
  }

  /** The epoch of the frame at `logOffset`, and where that epoch ends. */
  at(logOffset: number, end: number): EpochEnd | undefined {
    const index = this.#starts.findLastIndex(({ from }) => from <= logOffset);
    const found = this.#starts[index];
    return found && { epoch: found.epoch, end: this.#starts[index + 1]?.from ?? end };
  }
}

/**
 * Where a follower cuts its log, having been told the leader's end of the
 * greatest epoch not above its own last one. Never beyond what both may share;
 * asked again from there until the leader finds it in its own log.
 */
export function cutFor(
  leaders: EpochEnd,
  follower: { readonly epochs: EpochTable; readonly start: number; readonly end: number },
): number {
  const own = follower.epochs.floor(leaders.epoch, follower);
  return own.epoch === leaders.epoch ? Math.min(own.end, leaders.end) : own.end;
}
