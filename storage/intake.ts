/**
 * What becomes of a frame once it is confirmed.
 *
 *   shown    in the consume queues and the indexes: on every node, when it is confirmed
 *   folded   in the state, the timers and the idempotency keys: where it is decided on,
 *            at append; where it only follows, when it is confirmed
 *
 * A leader's fold is ahead of what is shown. A follower's is not, so whatever is cut
 * from its log was never in it; before it leads, it folds the rest.
 *
 * @module
 */

import type { CommitLog } from "./commit_log.ts";
import type { ConsumeQueues } from "./consume_queues.ts";
import type { DedupeStore } from "./dedupe_store.ts";
import { FollowedReveals } from "./followed_reveals.ts";
import { Frame } from "./frame.ts";
import type { Indexes } from "./indexes.ts";
import type { Chunk } from "./log_tail.ts";
import { type Fold, recallKey, replay } from "./replay.ts";
import type { TimerKey } from "./timer_entry.ts";
import type { Timers } from "./timers.ts";
import { concernsTimers } from "./young_timers.ts";

export interface IntakeParts {
  readonly log: CommitLog;
  readonly queues: ConsumeQueues;
  readonly indexes: Indexes;
  readonly dedupe: DedupeStore;
  readonly timers: Timers;
  readonly fold: Fold;
  /** The snapshot has folded what lies before. */
  readonly from: number;
  /** Whoever appends folds it as well. */
  readonly decides: boolean;
  /** A segment begins whose frames are folded from now on. */
  onBoundary(base: number): void;
  /** Whether a file holds the timers of the segment. */
  hasTimers(base: number): boolean;
  failed(error: unknown): void;
}

export class Intake {
  readonly #parts: IntakeParts;
  readonly #reveals: FollowedReveals;
  /** All below was shown. */
  #shownTo: number;
  #indexedTo: number;
  #foldedTo: number;
  #decides: boolean;

  constructor(parts: IntakeParts) {
    const { log, from } = parts;
    this.#parts = parts;
    this.#reveals = new FollowedReveals(parts);
    this.#shownTo = log.confirmOffset;
    this.#indexedTo = log.confirmOffset;
    this.#foldedTo = Math.max(from, log.confirmOffset);
    this.#decides = parts.decides;
  }

  /** So far the state is folded. */
  get foldedTo(): number {
    return this.#decides ? this.#parts.log.end : this.#foldedTo;
  }

  /** Where the timers stand, for a snapshot of what is folded. */
  get passed(): TimerKey | Promise<TimerKey> {
    return this.#decides ? this.#parts.timers.passed : this.#reveals.passed;
  }

  /** Takes in what was confirmed since the last time, up to `end`. @param frames absent: they are in the tail. */
  take(end: number, frames: Chunk | undefined): void {
    const { log } = this.#parts;
    const from = this.#shownTo;
    const base = log.segmentAt(from)?.base ?? from;
    if (!this.#decides) log.tail.lend(from, end); // the state may keep parts of a record
    const parts = frames
      ? [{ chunk: frames, from: 0, to: frames.filled }]
      : log.tail.slices(from, end);
    for (const { chunk, from: start, to } of parts) {
      for (let at = start; at < to; ) {
        const frame = new Frame(chunk, at);
        at += frame.size;
        this.#show(frame, base);
        if (!this.#decides) this.fold(frame, base);
      }
    }
    this.#shownTo = end;
  }

  #show(frame: Frame, base: number): void {
    this.#parts.queues.apply(frame, base);
    this.#parts.indexes.apply(frame, base);
  }

  /** Folds a frame that is the next, or was folded already. */
  fold(frame: Frame, base: number): void {
    const { logOffset, size } = frame;
    const { fold, dedupe, timers } = this.#parts;
    if (logOffset >= this.#indexedTo) {
      if (concernsTimers(frame) && !this.#parts.hasTimers(base)) timers.index(frame, base);
      recallKey(frame, dedupe, base);
      this.#indexedTo = logOffset + size;
    }
    if (logOffset < this.#foldedTo) return;
    if (logOffset === base && logOffset > this.#parts.from) this.#parts.onBoundary(base);
    this.#reveals.take(frame);
    replay(fold, frame, base);
    this.#foldedTo = logOffset + size;
  }

  /** From now on whoever appends folds. All that is appended was folded. */
  async decide(): Promise<void> {
    const { timers } = this.#parts;
    timers.resume(await this.#reveals.passed);
    this.#decides = true;
  }
}
