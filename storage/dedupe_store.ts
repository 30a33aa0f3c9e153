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
 * Before the log lets go of a segment, the run of its keys is read through (dedupe_checks.ts).
 *
 * @module
 */

import { removeAsides } from "./base/disk.ts";
import { TidegateError } from "./base/errors.ts";
import type { CommitLog } from "./commit_log.ts";
import { DedupeChecks } from "./dedupe_checks.ts";
import { planMerge } from "./dedupe_plan.ts";
import {
  DEDUPE_DIR,
  type DedupeEntry,
  mergedRange,
  type RunRange,
  type SealedSegment as Sealed,
} from "./dedupe_run.ts";
import { RunDamage, type RunFile, unreadable } from "./dedupe_run_file.ts";
import { DedupeRuns } from "./dedupe_runs.ts";
import { DedupeWindow } from "./dedupe_window.ts";
import { type YoungKey, YoungKeys } from "./dedupe_young.ts";
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
  readonly #checks: DedupeChecks;
  readonly #window: DedupeWindow;
  readonly #young = new YoungKeys();
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

  constructor(ports: StorePorts, options: DedupeOptions) {
    const { windowMs, youngBytesMax = YOUNG_BYTES_MAX, bloomBytesMax = BLOOM_BYTES_MAX } = options;
    this.#mendWaitBytesMax = options.mendWaitBytesMax ?? MEND_WAIT_BYTES_MAX;
    this.#ports = ports;
    this.windowMs = windowMs;
    this.#window = new DedupeWindow(windowMs);
    this.#youngBytesMax = youngBytesMax;
    this.#runs = new DedupeRuns(ports, bloomBytesMax);
    this.#checks = new DedupeChecks(ports, this.#runs);
  }

  /** Takes in a message with a key of the segment at `base`, at append or when the log is walked. */
  remember(base: number, message: YoungKey): void {
    this.#young.put(base, message);
  }

  /** The keys of a sealed segment: its run answers, or is built. */
  forget(base: number): void {
    this.#young.drop(base);
  }

  /** The logOffset of the message with this key, if it is in memory and in the window. */
  young(keyHash: Uint8Array, now: number): number | undefined {
    return this.#young.find(keyHash, now - this.windowMs);
  }

  /** Another one than before: a key may have come to a run, or be in memory no longer. */
  get version(): number {
    return this.#runs.version + this.#young.dropped; // both only grow
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
    return this.#young.byteSize;
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
    if (!this.#runs.covers(range) && !this.#window.isOver(base)) {
      await this.#ports.jobs.run({ kind: "dedupe", base, end, expired: this.#window.expired });
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
    const expired = this.#window.expired;
    const over = this.#runs.list.filter(({ header }) => header.newest <= expired);
    await this.#succeeds(async () => {
      for (const { header } of over) await this.#runs.removeFile(header);
      await this.#runs.leave(over);
    });
    const inputs = planMerge(this.#runs.list, [...this.#gaps.keys(), ...this.#waiting.keys()]);
    if (inputs && !this.#merging) void this.#merge(inputs);
  }

  async #merge(runs: readonly RunFile[]): Promise<void> {
    this.#merging = true;
    const inputs = runs.map(({ header: { from, to } }) => ({ from, to }));
    try {
      await this.#ports.jobs.run({ kind: "merge", inputs, expired: this.#window.expired });
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
    await this.#succeeds(() => this.#discard(damage));
    await this.build();
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

  /**
   * A run was found damaged: those of its segments that the log still has are gaps from now on.
   *
   * @throws `data-damaged` when all that can be done was done before.
   */
  async #discard(damage: RunDamage): Promise<void> {
    const run = this.#runs.find(damage.range);
    if (!run) return; // somebody else has found it
    const underWay = this.#discards.get(run);
    if (!underWay && run.leftAlone) throw unreadable(damage.range);
    const discard =
      underWay ?? this.#makeGaps(run, damage).finally(() => this.#discards.delete(run));
    this.#discards.set(run, discard);
    await discard;
  }

  async #makeGaps(run: RunFile, damage: RunDamage): Promise<void> {
    const { range } = damage;
    const useless = this.#window.isInLog(range);
    this.#ports.report(useless ? damage : unreadable(range));
    const goes = useless && (await this.#succeeds(() => this.#runs.removeFile(range)));
    if (!goes) await this.#succeeds(() => this.#runs.leaveAlone(run));
    for (const segment of this.#window.segments()) {
      const { base, end } = segment;
      if (base >= range.from && end <= range.to) this.#gaps.set(base, segment);
    }
    if (goes) await this.#runs.leave([run]);
  }

  async #succeeds(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      this.#report(error);
      return false;
    }
  }

  /** Whether the segments before `to` may go: their keys are out of the window, or in runs that are whole. */
  async secure(to: number): Promise<boolean> {
    if (this.#gaps.size > 0) await this.build();
    const reading = this.#checks.read({
      asked: () => {
        const { start: from, expired } = this.#window;
        return this.#closed ? undefined : { from, to, expired };
      },
      mend: (damage) => this.#mendAfter(damage),
    });
    const mended = await reading.catch((error: unknown) => {
      if (this.#closed) return false; // a job that was cut off
      throw error;
    });
    const isNeeded = this.#window.segments().some((one) => one.base < to && this.needs(one));
    return mended && !this.#closed && !isNeeded;
  }

  /** Somebody begins to read the run of this range; what is returned is called when it was whole. */
  checking(range: RunRange): () => void {
    return this.#checks.begin(range);
  }

  /** Whether keys of the sealed segment are in no run yet, and still in the window. */
  needs({ base, end }: Sealed): boolean {
    if (this.#runs.covers({ from: base, to: end })) return false;
    return this.#window.segments().some((segment) => segment.base === base);
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
    this.#window.open(log, keyedCount);
    await disk.makeDir(DEDUPE_DIR);
    await removeAsides(disk, DEDUPE_DIR);
    await disk.syncDir(DEDUPE_DIR); // a process may have been killed before it did, and segments go
    const isInLog = (range: RunRange) => this.#window.isInLog(range);
    this.lost.push(
      ...(await this.#runs.openAll({ isInLog, report: (e) => this.#ports.report(e) })),
    );
    for (const segment of this.#window.segments()) {
      const covered = this.#runs.covers({ from: segment.base, to: segment.end });
      if (!covered) this.#gaps.set(segment.base, segment);
    }
    for (const { base } of log.closedSegments) this.forget(base);
    void this.build();
  }

  /** Ends the work; what is under way is cut off with the jobs, and done again at the next start. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#runs.close();
  }
}
