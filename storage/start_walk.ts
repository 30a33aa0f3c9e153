/**
 * What a start does with each frame it walks: those of sealed segments are derived
 * from as far as no file holds it, those behind the snapshot are folded as well.
 *
 * @module
 */

import type { ConsumeQueues } from "./consume_queues.ts";
import type { DedupeStore } from "./dedupe_store.ts";
import type { Frame } from "./frame.ts";
import type { Indexes } from "./indexes.ts";
import { type Fold, recallKey, replay } from "./replay.ts";
import type { SidecarFile } from "./sidecar_file.ts";
import { coversBase } from "./timer_files.ts";
import type { LogRange } from "./timer_layout.ts";
import { LastReveals } from "./timer_start.ts";
import type { Timers } from "./timers.ts";

export interface StartWalkParts {
  readonly fold: Fold;
  readonly queues: ConsumeQueues;
  readonly indexes: Indexes;
  readonly dedupe: DedupeStore;
  readonly timers: Timers;
  /** Of sealed segments. */
  readonly sidecars: ReadonlyMap<number, SidecarFile>;
  readonly timerFiles: readonly LogRange[];
  /** Bases of sealed segments with timers that no file holds. */
  readonly walkTimers: ReadonlySet<number>;
  /** The snapshot has folded what lies before. */
  readonly from: number;
}

export class StartWalk {
  readonly #parts: StartWalkParts;
  readonly reveals = new LastReveals();
  #base: number | undefined;

  constructor(parts: StartWalkParts) {
    this.#parts = parts;
  }

  visit(frame: Frame, { base }: { readonly base: number }): void {
    const { fold, queues, indexes, dedupe, timers } = this.#parts;
    if (this.#base !== undefined && this.#base !== base) this.#leave(this.#base);
    this.#base = base;
    queues.apply(frame, base);
    indexes.apply(frame, base);
    if (this.#needsTimers(base)) timers.index(frame, base);
    recallKey(frame, dedupe, base);
    if (frame.logOffset < this.#parts.from) return;
    this.reveals.take(frame);
    replay(fold, frame, base);
  }

  /** Or a long walk would hold the indexes of the whole log. */
  #leave(base: number): void {
    const { queues, indexes, dedupe, sidecars } = this.#parts;
    dedupe.forget(base);
    if (!sidecars.has(base)) return;
    queues.release(base);
    indexes.release(base);
  }

  #needsTimers(base: number): boolean {
    const { sidecars, timerFiles, walkTimers } = this.#parts;
    const isSealed = sidecars.has(base) || coversBase(timerFiles, base);
    return !isSealed || walkTimers.has(base);
  }
}
