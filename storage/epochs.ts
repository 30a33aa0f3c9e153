/**
 * Where each epoch begins in the log.
 *
 *   log    ├── epoch 1 ──┤├─ epoch 3 ─┤├──── epoch 4 ────┤ end
 *   table   1 at 0         3 at 500     4 at 730
 *
 * Frames say their epoch, so the log itself is what it is built from: by the walk
 * at a start, and at every append. What lies before the walk is in the snapshot:
 *
 *   key    "Z"
 *   value  (epoch u32 · from u64) × n, rising
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import { getU64, setU64, viewOf } from "./base/bytes.ts";
import type { Change, Entry, Snapshot } from "./snapshot.ts";

export interface EpochStart {
  readonly epoch: number;
  /** logOffset of its first frame in this log. */
  readonly from: number;
}

const EPOCH_MARK_KEY = 0x5a;
const START_SIZE = 12;

export class Epochs {
  #starts: EpochStart[] = [];
  /** Of the frame added last. */
  #seen = -1;

  get starts(): readonly EpochStart[] {
    return this.#starts;
  }

  /** Of the last frame; 0 where there is none. */
  get last(): number {
    return this.#starts.at(-1)?.epoch ?? 0;
  }

  /** A frame of `epoch` lies at `from`; those before it were told of, as far as they are there. */
  add(epoch: number, from: number): void {
    if (epoch === this.#seen) return;
    this.#seen = epoch;
    this.learn(epoch, from);
  }

  /** As `add`, in any order: of frames that were damaged until now. */
  learn(epoch: number, from: number): void {
    const at = this.#starts.findLastIndex((one) => one.from <= from);
    const [before, behind] = [this.#starts[at], this.#starts[at + 1]];
    if (before?.epoch === epoch) return;
    assert(!before || before.epoch < epoch, "epochs rise along the log");
    assert(!behind || behind.epoch >= epoch, "epochs rise along the log");
    this.#starts.splice(at + 1, behind?.epoch === epoch ? 1 : 0, { epoch, from });
  }

  /** The log ends at `to` now. */
  cut(to: number): void {
    this.#starts = this.#starts.filter(({ from }) => from < to);
    this.#seen = -1;
  }

  /** The log begins at `start` now; of what lies before, the epoch of the last frame stays known. */
  trim(start: number): void {
    const first = this.#starts.findLastIndex(({ from }) => from < start);
    if (first > 0) this.#starts = this.#starts.slice(first);
  }

  restore(starts: readonly EpochStart[]): void {
    this.#starts = [...starts];
  }

  /** What a snapshot at `boundary` holds of it. */
  mark(boundary: number): Change {
    const starts = this.#starts.filter(({ from }) => from < boundary);
    const value = new Uint8Array(START_SIZE * starts.length);
    for (const [i, { epoch, from }] of starts.entries()) {
      viewOf(value).setUint32(i * START_SIZE, epoch);
      setU64(viewOf(value), i * START_SIZE + 4, from);
    }
    return [Uint8Array.of(EPOCH_MARK_KEY), value];
  }
}

/** Undefined for a key that is another one's. */
export function decodeEpochMark([key, value]: Entry): EpochStart[] | undefined {
  if (key.length !== 1 || key[0] !== EPOCH_MARK_KEY) return undefined;
  return Array.from({ length: Math.floor(value.length / START_SIZE) }, (_, i) => ({
    epoch: viewOf(value).getUint32(i * START_SIZE),
    from: getU64(viewOf(value), i * START_SIZE + 4),
  }));
}

/** Undefined where the snapshot, of an earlier build, does not tell. */
export function epochsIn(snapshot: Snapshot | undefined): readonly EpochStart[] | undefined {
  if (!snapshot) return [];
  for (const entry of snapshot.entries) {
    const starts = decodeEpochMark(entry);
    if (starts) return starts;
  }
  return undefined;
}
