/**
 * The timers that are pending: which is due next, whether one was taken back,
 * where one of a given id may be.
 *
 *   young segments   heaps in memory (young_timers.ts)     ┐ merged in one order,
 *   sealed segments  sorted files (timer_file.ts), read    ├ by dueAt and then
 *                    a second ahead of need                ┘ bodyLogOffset
 *
 * Timers are taken in that order and no other, so all there is to remember of
 * what was done is one place in it, `passed`: it is in the snapshot, and the
 * reveals behind the snapshot move it on. A new timer is due later than now, and
 * now is not before any timer that was taken, so it always lies behind.
 *
 * What lies before the log's start was carried forward, recalled or passed: entries
 * of such timers are void, and whatever still lies of them in files is passed over.
 *
 * A timer counts from its append on, confirmed or not: the record that reveals
 * its message lies behind the message in the same log, so no crash keeps the one
 * and loses the other.
 *
 * Memory: some 60 bytes for a young timer, two for one in a file.
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import type { Frame } from "./frame.ts";
import { TimerCursor } from "./timer_cursor.ts";
import { compareKeys, FIRST_KEY, type Timer, type TimerKey } from "./timer_entry.ts";
import type { TimerFile } from "./timer_file.ts";
import { firstOf, type TimerSource } from "./timer_source.ts";
import { concernsTimers, indexTimers, YoungTimers } from "./young_timers.ts";

/** So long before they are due, timers are read from their file. */
const LOAD_AHEAD_MS = 1000;

/** `passed`: it was revealed, or was nobody's when its time came. */
export type TimerState = "scheduled" | "recalled" | "passed";

export class Timers {
  readonly #young = new Map<number, YoungTimers>();
  #cursors: TimerCursor[] = [];
  #sources: readonly TimerSource[] = [];
  readonly #first: TimerSource[] = [];
  /** Revealed, though what would tell their place cannot be read. */
  readonly #revealed = new Set<number>();
  /** Up to here they were taken. */
  #taken = FIRST_KEY;
  #passed = FIRST_KEY;
  #now = 0;
  /** Where the log starts. */
  #floor = 0;
  /** Changes with the files in use. */
  #layout = 0;
  readonly #broken = new Set<TimerFile>();
  /** Timers were read that were waited for. */
  onLoaded: () => void = () => {};
  /** Resolves when the file is no longer in use. */
  mend: (file: TimerFile, error: unknown) => Promise<void> = (_, error) => Promise.reject(error);

  /** All timers up to here were revealed, or need not be. */
  get passed(): TimerKey {
    return this.#passed;
  }

  /** The log starts at `start`: timers of messages before it are void. */
  startAt(start: number): void {
    this.#floor = start;
  }

  young(base: number): YoungTimers {
    let young = this.#young.get(base);
    if (!young) {
      young = new YoungTimers();
      this.#young.set(base, young);
      this.#gather();
    }
    return young;
  }

  /** How many are left; recalled ones may count until their time comes. */
  get pending(): number {
    let pending = 0;
    for (const young of this.#young.values()) pending += young.pending;
    for (const cursor of this.#cursors) pending += cursor.pending;
    return pending;
  }

  /** False when there surely is none. */
  get any(): boolean {
    return this.#sources.length > 0;
  }

  /** The young segments there are timers or recalls of. */
  get youngBases(): readonly number[] {
    return [...this.#young.keys()];
  }

  /** Takes in one frame of the walk at the start. */
  index(frame: Frame, base: number): void {
    if (concernsTimers(frame)) indexTimers(frame, this.young(base));
  }

  #gather(): void {
    this.#layout++;
    this.#sources = [...this.#young.values(), ...this.#cursors];
  }

  /** A delayed message was appended to the segment at `base`. */
  schedule(base: number, timer: Timer): void {
    assert(compareKeys(timer, this.#taken) > 0, "a new timer is due later than those taken");
    this.young(base).add(timer);
  }

  /** A recall was appended to the segment at `base`. */
  recall(base: number, bodyLogOffset: number): void {
    this.young(base).addRecall(bodyLogOffset);
  }

  /** Goes on where an earlier life of the node stopped. @param revealed beyond `passed`, on their own. */
  resume(passed: TimerKey, revealed: Iterable<number> = []): void {
    for (const bodyLogOffset of revealed) this.#revealed.add(bodyLogOffset);
    if (compareKeys(passed, this.#taken) > 0) this.#taken = this.#passed = passed;
    for (const cursor of this.#cursors) cursor.skipTo(this.#taken);
    for (const young of this.#young.values()) {
      while (young.dueAt < Infinity && compareKeys(young, this.#taken) <= 0) young.advance();
    }
  }

  /**
   * The next timers that are due, in order; of all that it looks at, at most `max`.
   * The caller appends what reveals them, in this turn, and then calls {@linkcode pass}.
   */
  take(now: number, max: number): Timer[] {
    this.#now = now;
    const taken: Timer[] = [];
    this.#loadAhead();
    for (let left = max; left > 0; left--) {
      const first = firstOf(this.#sources, this.#first);
      const [source] = first;
      if (!source || source.dueAt > now || !first.every(({ loaded }) => loaded)) break;
      const { dueAt, bodyLogOffset } = source;
      this.#taken = { dueAt, bodyLogOffset };
      const recalled =
        bodyLogOffset < this.#floor ||
        first.some(({ recall }) => recall) ||
        this.#isRecalledYoung(bodyLogOffset);
      if (!recalled && !this.#revealed.delete(bodyLogOffset)) taken.push(source.timer());
      for (const one of first) one.advance();
    }
    this.#loadAhead();
    return taken;
  }

  /** What was taken is done with. */
  pass(): void {
    this.#passed = this.#taken;
  }

  #loadAhead(): void {
    for (const cursor of this.#cursors) {
      if (cursor.loadAt > this.#now + LOAD_AHEAD_MS || cursor.loading) continue;
      if (!this.#broken.has(cursor.file)) void this.#load(cursor);
    }
  }

  async #load(cursor: TimerCursor): Promise<void> {
    try {
      await cursor.load();
    } catch (error) {
      if (this.#cursors.includes(cursor)) await this.#mend(cursor.file, error);
    }
    this.onLoaded();
  }

  #mend(file: TimerFile, error: unknown): Promise<void> {
    this.#broken.add(file);
    return this.mend(file, error).finally(() => this.#broken.delete(file));
  }

  /** When there is something to take or to read; Infinity when never, or when `onLoaded` will tell. */
  get wakeAt(): number {
    const first = firstOf(this.#sources, this.#first);
    let wakeAt = first.every(({ loaded }) => loaded) ? (first[0]?.dueAt ?? Infinity) : Infinity;
    for (const cursor of this.#cursors) {
      if (cursor.loading || this.#broken.has(cursor.file)) continue;
      wakeAt = Math.min(wakeAt, cursor.loadAt - LOAD_AHEAD_MS);
    }
    return wakeAt;
  }

  #isRecalledYoung(bodyLogOffset: number): boolean {
    for (const young of this.#young.values()) if (young.isRecalled(bodyLogOffset)) return true;
    return false;
  }

  /** Runs `decide` at a moment when the timer is as it is told: nothing comes between. */
  async withState<T>(key: TimerKey, decide: (state: TimerState) => T): Promise<T> {
    for (;;) {
      if (compareKeys(key, this.#taken) <= 0) return decide("passed");
      const layout = this.#layout;
      let recalled = false;
      for (const { file } of this.#cursors) {
        if (file.to <= key.bodyLogOffset) continue; // a recall lies behind its message
        recalled ||= (await this.#read(file, () => file.recalls(key))) ?? false;
      }
      if (layout !== this.#layout) continue; // what was young when it was asked may be in a file by now
      if (compareKeys(key, this.#taken) <= 0) return decide("passed");
      recalled ||= this.#isRecalledYoung(key.bodyLogOffset);
      return decide(recalled ? "recalled" : "scheduled");
    }
  }

  /** False when no pending timer is of a message whose id has this hash; sometimes true for none. */
  mayHoldId(hash: number): boolean {
    for (const young of this.#young.values()) if (young.mayHoldId(hash)) return true;
    return this.#cursors.some(({ file }) => file.mayHoldId(hash));
  }

  /** Timers not yet taken, though perhaps recalled, of messages whose id has this hash. */
  async findIds(hash: number): Promise<Timer[]> {
    for (;;) {
      const layout = this.#layout;
      const found: Timer[] = [];
      for (const { file } of this.#cursors) {
        if (!file.mayHoldId(hash)) continue;
        found.push(...((await this.#read(file, () => file.findIds(hash))) ?? []));
      }
      if (layout !== this.#layout) continue;
      for (const young of this.#young.values()) found.push(...young.findIds(hash));
      const isKept = ({ bodyLogOffset }: Timer) => bodyLogOffset >= this.#floor;
      return found.filter((timer) => compareKeys(timer, this.#taken) > 0 && isKept(timer));
    }
  }

  /** Undefined when the file was damaged: by then it is another one. */
  async #read<T>(file: TimerFile, read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      if (this.#cursors.some((cursor) => cursor.file === file)) await this.#mend(file, error);
      return undefined;
    }
  }

  /** Puts files in use instead of others, or of a young segment, without a gap between. */
  async adopt(
    files: readonly TimerFile[],
    instead: { readonly files?: readonly TimerFile[]; readonly base?: number },
  ): Promise<void> {
    const fresh = files.map((file) => new TimerCursor(file, this.#taken));
    for (const cursor of fresh) {
      // What is due soon must not wait for the disk. Damage shows again when it is used.
      if (cursor.loadAt <= this.#now + LOAD_AHEAD_MS) await cursor.load().catch(() => {});
    }
    for (const cursor of fresh) cursor.skipTo(this.#taken);
    const kept = this.#cursors.filter(({ file }) => !instead.files?.includes(file));
    this.#cursors = [...kept, ...fresh];
    if (instead.base !== undefined) this.#young.delete(instead.base);
    this.#gather();
    this.onLoaded();
  }
}
