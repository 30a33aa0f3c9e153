/**
 * Which keys are still in the window, by the log's own time: no clock that runs wild
 * drops any. And which of the sealed segments may hold such.
 *
 * @module
 */

import type { CommitLog } from "./commit_log.ts";
import type { RunRange, SealedSegment } from "./dedupe_run.ts";

export class DedupeWindow {
  readonly #windowMs: number;
  #log: Pick<CommitLog, "segments" | "tail" | "confirmOffset" | "start"> | undefined;
  #keyedCount: (base: number) => number | undefined = () => undefined;

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  /** @param keyedCount messages with a key in a sealed segment, where that is known. */
  open(log: CommitLog, keyedCount: (base: number) => number | undefined): void {
    this.#log = log;
    this.#keyedCount = keyedCount;
  }

  /** Keys published then or before are out of it. */
  get expired(): number {
    return (this.#log?.tail.storedAt ?? 0) - this.#windowMs;
  }

  /** Where the log starts. */
  get start(): number {
    return this.#log?.start ?? 0;
  }

  /** Sealed segments that may hold keys in it. */
  segments(): SealedSegment[] {
    const { segments = [], confirmOffset = 0 } = this.#log ?? {};
    const since = this.expired;
    return segments.flatMap(({ base, end = Infinity }, i) => {
      if (end > confirmOffset || this.#keyedCount(base) === 0) return [];
      const after = segments[i + 1]?.firstStoredAt ?? 0; // 0: its header is damaged
      return after === 0 || after > since ? [{ base, end }] : [];
    });
  }

  /** Whether the keys of a sealed segment are out of it, be it still there or not. */
  isOver(base: number): boolean {
    const { segments = [] } = this.#log ?? {};
    const at = segments.findIndex((segment) => segment.base === base);
    const { firstStoredAt: after = 0 } = segments[at + 1] ?? {}; // all that are gone lie before the first
    return after > 0 && after <= this.expired;
  }

  /** Whether the log has all that a run is made of. */
  isInLog({ from }: RunRange): boolean {
    return (this.#log?.segments[0]?.base ?? Infinity) <= from;
  }
}
