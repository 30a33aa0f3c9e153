/**
 * The timer files of a store: which are in use, and what becomes of them.
 *
 *   sealed     the seal job wrote the segment's file: it is used instead of memory
 *   merged     eight small neighbours become one, in three tiers, so that their
 *              number stays small; what was passed is left out
 *   dropped    when all of it was passed, according to a snapshot that is written, or
 *              the log starts behind it
 *   mended     a damaged one is built again from its segments; until then nothing
 *              fires that might come after what it holds
 *
 * @module
 */

import { removeAsides } from "./base/disk.ts";
import type { CommitLog } from "./commit_log.ts";
import type { StorePorts } from "./store_ports.ts";
import { compareKeys, FIRST_KEY, type TimerKey } from "./timer_entry.ts";
import { TimerDamage, TimerFile } from "./timer_file.ts";
import { type LogRange, TIMER_DIR, timerPath, timerRanges } from "./timer_layout.ts";
import type { Timers } from "./timers.ts";

const MERGE_COUNT = 8;
/** Entries of the files that a merge takes, at most: a merged one has at most 2^20. */
const TIERS = [2 ** 11, 2 ** 14, 2 ** 17] as const;
const RETRY_MS = 1000;

interface Segment {
  readonly base: number;
  readonly end: number;
}

type Enqueue = (work: () => Promise<void>) => Promise<void>;

export class TimerFiles {
  readonly #timers: Timers;
  readonly #ports: StorePorts;
  readonly #enqueue: Enqueue;
  readonly #log: CommitLog;
  /** In order of their ranges. */
  #files: TimerFile[];
  readonly #mending = new Map<TimerFile, Promise<void>>();
  /** Of the newest snapshot that is written. */
  #durable = FIRST_KEY;
  #closed = false;

  /** @param parts.enqueue runs background work, one after the other. */
  constructor(
    ports: StorePorts,
    parts: {
      readonly timers: Timers;
      readonly files: readonly TimerFile[];
      readonly log: CommitLog;
      readonly enqueue: Enqueue;
    },
  ) {
    this.#ports = ports;
    this.#timers = parts.timers;
    this.#files = [...parts.files];
    this.#log = parts.log;
    this.#enqueue = parts.enqueue;
    this.#timers.mend = (file, error) => this.mend(file, error);
  }

  covers(base: number): boolean {
    return coversBase(this.#files, base);
  }

  /** Puts in use what is there. @param passed according to the snapshot that was opened. */
  async start(passed: TimerKey): Promise<void> {
    this.#durable = passed;
    await this.#timers.adopt(this.#files, {});
  }

  /** Builds the file of a sealed segment whose timers are in memory only. */
  build(segment: Segment): void {
    void this.#enqueue(async () => {
      const file = await this.#build(segment);
      if (file) await this.#use([file], { base: segment.base });
    });
  }

  async #build({ base, end }: Segment): Promise<TimerFile | undefined> {
    await this.#ports.jobs.run({ kind: "timers", base, end });
    return this.#open({ from: base, to: end });
  }

  #open(range: LogRange): Promise<TimerFile | undefined> {
    return TimerFile.open(this.#ports.disk, range, this.#ports.crc32);
  }

  /** The seal job is done. @param until as the segment's sidecar has it. */
  async onSealed({ base, end }: Segment, until: number): Promise<void> {
    if (this.covers(base) || until === 0) return this.#timers.adopt([], { base });
    const file = await this.#open({ from: base, to: end });
    if (!file) throw new Error(`Cannot use the timers of the segment at ${base}: no file is there`);
    await this.#use([file], { base });
  }

  async #use(
    files: readonly TimerFile[],
    instead: { readonly base?: number; readonly files?: readonly TimerFile[] },
  ): Promise<void> {
    await this.#timers.adopt(files, instead);
    const kept = this.#files.filter((file) => !instead.files?.includes(file));
    this.#files = [...kept, ...files].sort((a, b) => a.from - b.from);
    this.tidy();
  }

  /** Merges what can be; in the background. */
  tidy(): void {
    const group = mergeable(this.#files, this.#timers.youngBases);
    if (group.length > 0) void this.#enqueue(() => this.#merge(group));
  }

  async #merge(group: readonly TimerFile[]): Promise<void> {
    if (!group.every((file) => this.#files.includes(file))) return; // mended or dropped meanwhile
    const ranges = group.map(({ from, to }) => ({ from, to }));
    try {
      await this.#ports.jobs.run({ kind: "merge-timers", ranges, after: this.#durable });
    } catch (error) {
      return this.#blame(group, error);
    }
    const from = ranges.at(0)?.from ?? 0;
    const merged = await this.#open({ from, to: ranges.at(-1)?.to ?? 0 });
    if (!merged) throw new Error(`Cannot use the merged timers from ${from}: no file is there`);
    await this.#use([merged], { files: group });
    for (const file of group) await this.#remove(file);
  }

  /** A merge failed: for what a damaged file holds, or for another reason. */
  async #blame(group: readonly TimerFile[], error: unknown): Promise<void> {
    let blamed = false;
    for (const file of group) {
      if (await file.isWhole()) continue;
      blamed = true;
      void this.mend(file, new TimerDamage(file)); // this very queue does it, so after us
    }
    if (!blamed) throw error;
  }

  async #remove(file: TimerFile): Promise<void> {
    await file.retire();
    await this.#ports.disk.remove(timerPath(file));
  }

  /** A snapshot says that all up to `passed` is done with. */
  async onSnapshot(passed: TimerKey): Promise<void> {
    if (compareKeys(passed, this.#durable) <= 0) return;
    this.#durable = passed;
    const done = this.#files.filter(({ until }) => until < passed.dueAt);
    if (done.length > 0) await this.#use([], { files: done });
    for (const file of done) await this.#remove(file);
  }

  /** The log starts at `start`: files of segments before it alone are not used any more. */
  async dropBefore(start: number): Promise<void> {
    this.#timers.startAt(start);
    const done = this.#files.filter(({ to }) => to <= start);
    if (done.length > 0) await this.#use([], { files: done });
    for (const file of done) await file.retire();
  }

  /** Somebody found the file of this range damaged. */
  async mendRange({ from, to }: LogRange): Promise<void> {
    const file = this.#files.find((one) => one.from === from && one.to === to);
    if (file) await this.mend(file, new TimerDamage(file));
  }

  mend(file: TimerFile, error: unknown): Promise<void> {
    let mending = this.#mending.get(file);
    if (!mending) {
      this.#ports.report(error instanceof Error ? error : new Error(String(error)));
      mending = this.#mend(file).finally(() => this.#mending.delete(file));
      this.#mending.set(file, mending);
    }
    return mending;
  }

  async #mend(file: TimerFile): Promise<void> {
    while (this.#files.includes(file) && !this.#closed) {
      await this.#enqueue(() => this.#rebuild(file));
      if (!this.#files.includes(file)) return;
      await new Promise<void>((resolve) => void this.#ports.clock.after(RETRY_MS, resolve));
    }
  }

  async #rebuild(file: TimerFile): Promise<void> {
    if (!this.#files.includes(file)) return;
    const rebuilt: TimerFile[] = [];
    for (const { base, end } of this.#log.segments) {
      if (base < file.from || end === undefined || end > file.to) continue;
      const built = await this.#build({ base, end });
      if (built) rebuilt.push(built);
    }
    await this.#use(rebuilt, { files: [file] });
    await file.retire();
    const replaced = rebuilt.some((one) => one.from === file.from && one.to === file.to);
    if (!replaced) await this.#ports.disk.remove(timerPath(file));
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const file of this.#files) await file.retire();
  }
}

export function coversBase(files: readonly LogRange[], base: number): boolean {
  return files.some(({ from, to }) => from <= base && base < to);
}

/**
 * Eight neighbours that are small enough to become one; of the smallest tier that has them.
 *
 * @param between bases of segments whose timers no file holds yet: they part neighbours.
 */
export function mergeable<F extends LogRange & { readonly entryCount: number }>(
  files: readonly F[],
  between: readonly number[] = [],
): F[] {
  for (const tier of TIERS) {
    let run: F[] = [];
    for (const file of files) {
      const end = run.at(-1)?.to ?? 0;
      if (between.some((base) => end <= base && base < file.from)) run = [];
      run = file.entryCount <= tier ? [...run, file] : [];
      if (run.length === MERGE_COUNT) return run;
    }
  }
  return [];
}

/**
 * The files that can be used, together covering each segment once; what a crash
 * left beside them is removed.
 */
export async function openTimerFiles({
  disk,
  crc32,
  report,
}: Pick<StorePorts, "disk" | "crc32" | "report">): Promise<TimerFile[]> {
  await disk.makeDir(TIMER_DIR);
  await removeAsides(disk, TIMER_DIR);
  const files: TimerFile[] = [];
  for (const range of timerRanges(await disk.list(TIMER_DIR))) {
    const behind = range.from >= (files.at(-1)?.to ?? 0);
    const file = behind ? await TimerFile.open(disk, range, crc32) : undefined;
    if (behind && !file) report(new TimerDamage(range));
    if (file) files.push(file);
    else await disk.remove(timerPath(range)); // merged into another, or damaged: built again when needed
  }
  return files;
}
