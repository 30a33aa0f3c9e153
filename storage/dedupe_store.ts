/**
 * The dedupe store: where a message lies that was published with an idempotency
 * key, for the whole window, exactly, in bounded memory.
 *
 *   append ──▶ young table ──segment sealed──▶ run ──merged──▶ at most 4 runs
 *              in memory, by segment           dedupe/*.run     off the event loop
 *
 * Who decides looks in memory first, at once; then asks the runs, which may take
 * reads; then looks in memory again, at append, for somebody may have appended
 * meanwhile. When a run comes in use the version changes, and again when memory drops
 * its keys, so what was found in either holds as long as the version does.
 *
 * Memory: the young tables, bounded by {@linkcode YOUNG_BYTES_MAX}, past which
 * keyed publishes are refused; and the filters of the runs, folded to fit
 * {@linkcode BLOOM_BYTES_MAX}. While runs are merged, new ones stand beside the four.
 *
 * Nothing is forgotten early: a segment whose run is missing or damaged is a gap,
 * and while there is one no key is called new. A gap is mended from the log; where
 * the log no longer has the segment, keys that lead to the damage are refused.
 *
 * @module
 */

import { removeAsides } from "./base/disk.ts";
import { TidegateError } from "./base/errors.ts";
import type { CommitLog } from "./commit_log.ts";
import { planMerge } from "./dedupe_plan.ts";
import {
  DEDUPE_DIR,
  type DedupeEntry,
  mergedRange,
  type RunRange,
  runRanges,
  type SealedSegment as Sealed,
} from "./dedupe_run.ts";
import { RunDamage, type RunFile, unreadable } from "./dedupe_run_file.ts";
import { DedupeRuns } from "./dedupe_runs.ts";
import { DedupeTable } from "./dedupe_table.ts";
import type { StorePorts } from "./store_ports.ts";

export const YOUNG_BYTES_MAX = 256 * 1024 * 1024;
export const BLOOM_BYTES_MAX = 64 * 1024 * 1024;
/** So much of the log is indexed while a publish waits, some seconds; with more to do it is refused. */
const MEND_WAIT_BYTES_MAX = 512 * 1024 * 1024;

export interface DedupeOptions {
  /** How long a key is remembered. */
  readonly windowMs: number;
  readonly youngBytesMax?: number | undefined;
  readonly bloomBytesMax?: number | undefined;
  readonly mendWaitBytesMax?: number | undefined;
}

export class DedupeStore {
  readonly windowMs: number;
  readonly #ports: StorePorts;
  readonly #youngBytesMax: number;
  readonly #mendWaitBytesMax: number;
  readonly #runs: DedupeRuns;
  /** By base of the segment, oldest first. */
  readonly #young = new Map<number, DedupeTable>();
  #droppedTables = 0;
  /** Sealed, and memory answers for them, oldest first. */
  readonly #waiting = new Map<number, Sealed>();
  /** Sealed, and nothing answers for them. */
  readonly #gaps = new Map<number, Sealed>();
  /** Damaged, and the log no longer has their segments. */
  readonly lost: RunRange[] = [];
  readonly #discards = new Map<RunFile, Promise<void>>();
  #building: Promise<void> = Promise.resolve();
  /** The building that has not begun yet. */
  #nextBuild: Promise<void> | undefined;
  #merging = false;
  #closed = false;
  #log: CommitLog | undefined;
  #keyedCount: (base: number) => number | undefined = () => undefined;

  constructor(ports: StorePorts, options: DedupeOptions) {
    const { windowMs, youngBytesMax = YOUNG_BYTES_MAX, bloomBytesMax = BLOOM_BYTES_MAX } = options;
    this.#mendWaitBytesMax = options.mendWaitBytesMax ?? MEND_WAIT_BYTES_MAX;
    this.#ports = ports;
    this.windowMs = windowMs;
    this.#youngBytesMax = youngBytesMax;
    this.#runs = new DedupeRuns(ports, bloomBytesMax);
  }

  /** Takes in a message with a key of the segment at `base`, at append or when the log is walked. */
  remember(
    base: number,
    message: {
      readonly keyHash: Uint8Array;
      readonly logOffset: number;
      readonly storedAt: number;
    },
  ): void {
    let table = this.#young.get(base);
    if (!table) {
      table = new DedupeTable();
      this.#young.set(base, table);
    }
    const { keyHash, logOffset, storedAt } = message;
    table.put(keyHash, { place: logOffset - base, storedAt });
  }

  /** The keys of a sealed segment: its run answers, or is built. */
  forget(base: number): void {
    if (this.#young.delete(base)) this.#droppedTables++;
  }

  /** The logOffset of the message with this key, if it is in memory and in the window. */
  young(keyHash: Uint8Array, now: number): number | undefined {
    for (const [base, table] of [...this.#young].toReversed()) {
      const found = table.find(keyHash);
      if (found) return found.storedAt > now - this.windowMs ? base + found.place : undefined;
    }
    return undefined;
  }

  /** Another one than before: a key may have come to a run, or be in memory no longer. */
  get version(): number {
    return this.#runs.version + this.#droppedTables; // both only grow
  }

  /**
   * What the runs have of a key, in the window. Undefined at once when they are
   * known to have nothing.
   *
   * @throws {TidegateError} rejects: `data-damaged` when the run that may hold it
   * cannot be read; retryable: `overloaded` while keys of a segment are in no run.
   */
  older(keyHash: Uint8Array, now: number): undefined | Promise<DedupeEntry | undefined> {
    if (this.lost[0]) return Promise.reject(unreadable(this.lost[0]));
    if (this.#gaps.size > 0) return this.#mend().then(() => this.older(keyHash, now));
    return this.#runs.lookup(keyHash, now - this.windowMs)?.catch(async (error: unknown) => {
      if (!(error instanceof RunDamage)) throw error;
      await this.#discard(error);
      return this.older(keyHash, now);
    });
  }

  /** @throws {TidegateError} retryable: `overloaded` when memory holds as many keys as it may. */
  admit(): void {
    if (this.youngBytes < this.#youngBytesMax) return;
    const detail =
      "Cannot remember another idempotency key: those of sealed segments cannot be written to disk";
    throw new TidegateError("overloaded", detail, { limit: this.#youngBytesMax });
  }

  /** Memory of the keys that are in no run yet. */
  get youngBytes(): number {
    return this.#young.values().reduce((bytes, table) => bytes + table.byteSize, 0);
  }

  get runs(): readonly RunFile[] {
    return this.#runs.list;
  }

  /** The segment is complete: its keys go to a run. */
  seal(segment: Sealed): void {
    if (this.#young.has(segment.base)) this.#waiting.set(segment.base, segment);
    void this.build();
  }

  /** Resolves when the runs of all that is sealed now are in use, or cannot be built. */
  build(): Promise<void> {
    this.#nextBuild ??= this.#building.then(() => {
      this.#nextBuild = undefined;
      return this.#buildRuns();
    });
    this.#building = this.#nextBuild;
    return this.#building;
  }

  /** Of gaps and waiting segments, oldest first, as far as the disk lets it. */
  async #buildRuns(): Promise<void> {
    try {
      for (const segment of [...this.#gaps.values(), ...this.#waiting.values()]) {
        if (!this.#closed) await this.#buildRun(segment);
      }
    } catch (error) {
      this.#report(error);
    }
    await this.#settle();
  }

  async #buildRun({ base, end }: Sealed): Promise<void> {
    const range = { from: base, to: end };
    // A merge that was under way when an input was found damaged may have saved it.
    if (!this.#runs.covers(range)) {
      await this.#ports.jobs.run({ kind: "dedupe", base, end, expired: this.#expired() });
      if (this.#closed) return;
      await this.#runs.use(range);
    }
    this.#gaps.delete(base);
    this.#waiting.delete(base);
    this.forget(base);
  }

  /** Removes the runs that are out of the window and begins the merge that is due. */
  async #settle(): Promise<void> {
    if (this.#closed || this.#merging) return;
    const expired = this.#expired();
    try {
      const over = this.#runs.list.filter(({ header }) => header.newest <= expired);
      for (const { header } of over) await this.#runs.removeFile(header);
      await this.#runs.leave(over);
    } catch (error) {
      this.#report(error);
    }
    const inputs = planMerge(this.#runs.list, [...this.#gaps.keys(), ...this.#waiting.keys()]);
    if (inputs && !this.#merging) void this.#merge(inputs);
  }

  async #merge(runs: readonly RunFile[]): Promise<void> {
    this.#merging = true;
    const inputs = runs.map(({ header: { from, to } }) => ({ from, to }));
    try {
      await this.#ports.jobs.run({ kind: "merge", inputs, expired: this.#expired() });
      if (this.#closed) return;
      await this.#runs.use(mergedRange(inputs));
    } catch (error) {
      this.#merging = false;
      if (!(error instanceof RunDamage)) return this.#report(error); // tried again at the next seal
      // A lookup may have found the damage first: then another run stands there by now.
      const isCurrent = runs.every((run) => this.#runs.list.includes(run));
      return isCurrent ? this.#mendAfter(error) : this.#settle();
    }
    this.#merging = false;
    await this.#settle();
  }

  async #mendAfter(damage: RunDamage): Promise<void> {
    try {
      await this.#discard(damage);
    } catch (error) {
      this.#runs.find(damage.range)?.leaveAlone();
      this.#report(error);
    }
    await this.build();
  }

  /** Keys published then or before are out of the window, by the log's time: no clock that runs wild drops any. */
  #expired(): number {
    return (this.#log?.tail.storedAt ?? 0) - this.windowMs;
  }

  #report(error: unknown): void {
    if (this.#closed) return; // a job that was cut off
    this.#ports.report(error instanceof Error ? error : new Error(String(error)));
  }

  async #mend(): Promise<void> {
    const gaps = [...this.#gaps.values()];
    const built = this.build();
    const missing = gaps.reduce((sum, { base, end }) => sum + end - base, 0);
    if (missing <= this.#mendWaitBytesMax) await built;
    const gap = gaps.find((one) => this.#gaps.get(one.base) === one); // not one that came meanwhile
    if (!gap) return;
    const detail = `Cannot tell whether the idempotency key is new: those of the segment at ${gap.base} are not indexed`;
    throw new TidegateError("overloaded", detail, { at: gap.base });
  }

  /** A run was found damaged: its segments are gaps from now on, if the log still has them. */
  async #discard(damage: RunDamage): Promise<void> {
    const run = this.#runs.find(damage.range);
    if (!run) return; // somebody else has found it
    if (!this.#isInLog(damage.range)) throw unreadable(damage.range);
    const discard =
      this.#discards.get(run) ??
      this.#makeGaps(run, damage).finally(() => this.#discards.delete(run));
    this.#discards.set(run, discard);
    await discard;
  }

  async #makeGaps(run: RunFile, damage: RunDamage): Promise<void> {
    const { from, to } = damage.range;
    this.#ports.report(damage);
    await this.#runs.removeFile(damage.range);
    for (const segment of this.#segmentsToRemember()) {
      if (segment.base >= from && segment.end <= to) this.#gaps.set(segment.base, segment);
    }
    await this.#runs.leave([run]);
  }

  /** Whether keys of the sealed segment are in no run yet, and still in the window. */
  needs({ base, end }: Sealed): boolean {
    if (this.#runs.covers({ from: base, to: end })) return false;
    return this.#segmentsToRemember().some((segment) => segment.base === base);
  }

  #isInLog({ from }: RunRange): boolean {
    return (this.#log?.segments[0]?.base ?? Infinity) <= from;
  }

  /** Sealed segments that may hold keys in the window. */
  #segmentsToRemember(): Sealed[] {
    const { segments = [], confirmOffset = 0 } = this.#log ?? {};
    const since = this.#expired();
    return segments.flatMap(({ base, end = Infinity }, i) => {
      if (end > confirmOffset || this.#keyedCount(base) === 0) return [];
      const after = segments[i + 1]?.firstStoredAt ?? 0; // 0: its header is damaged
      return after === 0 || after > since ? [{ base, end }] : [];
    });
  }

  /** Somebody found the run of this range damaged. */
  mend(range: RunRange): Promise<void> {
    return this.#mendAfter(new RunDamage(range));
  }

  /**
   * Puts the runs on disk in use, and begins to build those that are missing.
   *
   * @param keyedCount messages with a key in a sealed segment, where that is known.
   */
  async start(log: CommitLog, keyedCount: (base: number) => number | undefined): Promise<void> {
    const { disk } = this.#ports;
    this.#log = log;
    this.#keyedCount = keyedCount;
    await disk.makeDir(DEDUPE_DIR);
    await removeAsides(disk, DEDUPE_DIR);
    await disk.syncDir(DEDUPE_DIR); // a process may have been killed before it did, and segments go
    for (const range of runRanges(await disk.list(DEDUPE_DIR))) await this.#openRun(range);
    for (const segment of this.#segmentsToRemember()) {
      const covered = this.#runs.covers({ from: segment.base, to: segment.end });
      if (!covered) this.#gaps.set(segment.base, segment);
    }
    for (const { base } of log.closedSegments) this.forget(base);
    void this.build();
  }

  async #openRun(range: RunRange): Promise<void> {
    // What a merge made is there, and what it was made of not yet gone.
    if (this.#runs.covers(range)) return this.#runs.removeFile(range);
    try {
      await this.#runs.use(range);
    } catch (error) {
      if (!(error instanceof RunDamage)) throw error;
      this.#ports.report(error);
      if (this.#isInLog(range)) await this.#runs.removeFile(range);
      else this.lost.push(range);
    }
  }

  /** Ends the work; what is under way is cut off with the jobs, and done again at the next start. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#runs.close();
  }
}
