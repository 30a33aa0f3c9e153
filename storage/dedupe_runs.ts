/**
 * The dedupe runs in use, oldest first. A lookup holds the files it reads, so a
 * run that a merge has replaced is closed when the last reader has left it.
 *
 * @module
 */

import type { Crc32 } from "./base/checksum.ts";
import type { Disk } from "./base/disk.ts";
import {
  DEDUPE_DIR,
  type DedupeEntry,
  leftPath,
  runPath,
  type RunRange,
  runRanges,
} from "./dedupe_run.ts";
import { RunDamage, RunFile } from "./dedupe_run_file.ts";

export class DedupeRuns {
  readonly #disk: Disk;
  readonly #crc32: Crc32;
  readonly #bloomBytesMax: number;
  #list: readonly RunFile[] = [];
  /** Changes whenever a run comes or goes. */
  version = 0;

  constructor(ports: { readonly disk: Disk; readonly crc32: Crc32 }, bloomBytesMax: number) {
    this.#disk = ports.disk;
    this.#crc32 = ports.crc32;
    this.#bloomBytesMax = bloomBytesMax;
  }

  get list(): readonly RunFile[] {
    return this.#list;
  }

  /** Whether all of the range lies in one run that is not left alone. */
  covers({ from, to }: RunRange): boolean {
    return this.#list.some(
      ({ header, leftAlone }) => !leftAlone && header.from <= from && header.to >= to,
    );
  }

  /** Puts a run in place of those within its range. @throws {RunDamage} */
  async use(range: RunRange): Promise<void> {
    const run = await RunFile.open(this.#disk, range, this.#crc32);
    const within = ({ header }: RunFile) => header.from >= range.from && header.to <= range.to;
    const replaced = this.#list.filter(within);
    const kept = this.#list.filter((one) => !within(one));
    this.#change([...kept, run].toSorted((a, b) => a.header.from - b.header.from));
    for (const one of replaced) {
      if (!isOf(one, range)) await this.removeFile(one.header);
      else if (one.leftAlone) await this.#remove([leftPath(range)]);
      await one.close();
    }
  }

  /**
   * Puts those on disk in use.
   *
   * @returns those that are damaged, and that nothing is left of to build them from.
   */
  async openAll(about: {
    isInLog(range: RunRange): boolean;
    report(damage: RunDamage): void;
  }): Promise<RunRange[]> {
    const lost: RunRange[] = [];
    const there = await this.#paths();
    for (const range of runRanges(await this.#disk.list(DEDUPE_DIR))) {
      try {
        // What a merge made is there, and what it was made of not yet gone.
        if (this.covers(range)) await this.removeFile(range);
        else await this.use(range);
        if (there.has(leftPath(range))) this.find(range)?.leaveAlone();
      } catch (error) {
        if (!(error instanceof RunDamage)) throw error;
        about.report(error);
        if (about.isInLog(range)) await this.removeFile(range);
        else lost.push(range);
      }
    }
    return lost;
  }

  #change(list: readonly RunFile[]): void {
    this.#list = list;
    this.version++;
    this.#foldBlooms();
  }

  #foldBlooms(): void {
    let total = this.#list.reduce((sum, run) => sum + run.bloomSize, 0);
    while (total > this.#bloomBytesMax) {
      const largest = this.#list.reduce((a, b) => (b.bloomSize > a.bloomSize ? b : a));
      const before = largest.bloomSize;
      if (!largest.foldBloom()) return;
      total -= before - largest.bloomSize;
    }
  }

  find(range: RunRange): RunFile | undefined {
    return this.#list.find((run) => isOf(run, range));
  }

  /** Ends the use of runs whose files are gone, or do not matter any more. */
  async leave(runs: readonly RunFile[]): Promise<void> {
    if (runs.length === 0) return;
    this.#change(this.#list.filter((run) => !runs.includes(run)));
    for (const run of runs) await run.close();
  }

  removeFile(range: RunRange): Promise<void> {
    return this.#remove([runPath(range), leftPath(range)]);
  }

  /** Those that are there. */
  async #remove(paths: readonly string[]): Promise<void> {
    const there = await this.#paths();
    for (const path of paths) if (there.has(path)) await this.#disk.remove(path);
  }

  async #paths(): Promise<ReadonlySet<string>> {
    const names = await this.#disk.list(DEDUPE_DIR);
    return new Set(names.map((name) => `${DEDUPE_DIR}/${name}`));
  }

  /**
   * The run is damaged, and stays for what can be read of it. Runs within its range are made
   * beside it then; an empty file tells a start that those are not what it was merged from.
   */
  async leaveAlone(run: RunFile): Promise<void> {
    if (run.leftAlone) return;
    run.leaveAlone();
    const file = await this.#disk.open(leftPath(run.header), { create: true });
    await file.close();
    await this.#disk.syncDir(DEDUPE_DIR);
  }

  /**
   * What the runs hold of a key published later than `since`. Undefined at once
   * when the filters know that it is nothing.
   *
   * @throws {RunDamage} rejects.
   */
  lookup(keyHash: Uint8Array, since: number): undefined | Promise<DedupeEntry | undefined> {
    const runs = this.#list.filter((run) => run.header.newest > since && run.maybe(keyHash));
    if (runs.length === 0) return undefined;
    for (const run of runs) run.hold();
    return ask(runs.toReversed(), keyHash, since);
  }

  async close(): Promise<void> {
    for (const run of this.#list) await run.close();
  }
}

function isOf({ header }: RunFile, { from, to }: RunRange): boolean {
  return header.from === from && header.to === to;
}

/** @param runs newest first: of a key that is there twice the later one counts. */
async function ask(
  runs: readonly RunFile[],
  keyHash: Uint8Array,
  since: number,
): Promise<DedupeEntry | undefined> {
  try {
    for (const run of runs) {
      const found = await run.find(keyHash);
      if (found) return found.publishedAt > since ? found : undefined;
    }
    return undefined;
  } finally {
    for (const run of runs) await run.release();
  }
}
