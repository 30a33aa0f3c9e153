/**
 * The scrubber: reads all that is at rest over and over, slowly, so that damage
 * is found while it is young and not when somebody needs the bytes.
 *
 *   sealed segment   a damaged range is noted (damage.ts)
 *   sidecar, timer   built again from its segment
 *   file, dedupe run
 *   snapshot         removed: the older generation, or the log, does as well
 *
 * The active segment is left to its writer. What is read is in scrub_plan.ts; a
 * slice is read beside the event loop and checked within a millisecond or so.
 *
 * @module
 */

import { areBlocksWhole, BLOCK_SIZE } from "./blocks.ts";
import type { DiskFile } from "./base/disk.ts";
import { readRange } from "./base/disk.ts";
import { salvaging } from "./base/salvage.ts";
import type { CommitLog } from "./commit_log.ts";
import { DerivedDamage } from "./damage.ts";
import { DEDUPE_DIR, type RunRange, runRanges, runPath } from "./dedupe_run.ts";
import { RunFile } from "./dedupe_run_file.ts";
import type { StorePorts } from "./store_ports.ts";
import { type ScrubFile, ScrubPlan, SLICE_SIZE } from "./scrub_plan.ts";
import { scrubSegment } from "./scrub_segment.ts";
import { LOG_DIR, segmentPath, sidecarPath } from "./segment.ts";
import { SidecarFile } from "./sidecar_file.ts";
import { SNAPSHOT_DIR, SnapshotCheck, snapshotOffsets, snapshotPath } from "./snapshot.ts";
import { TimerFile } from "./timer_file.ts";
import { type LogRange, TIMER_DIR, timerPath, timerRanges } from "./timer_layout.ts";

/** Who builds derived files again. */
export interface Menders {
  readonly log: CommitLog;
  readonly sealer: {
    mend(base: number): Promise<unknown>;
    mendTimers(range: LogRange): Promise<void>;
    dropSnapshot(logOffset: number): Promise<void>;
  };
  readonly dedupe: { mend(range: RunRange): Promise<void>; checking(range: RunRange): () => void };
}

interface Opened {
  close(): Promise<void>;
}

interface Target extends ScrubFile {
  check(): Promise<void>;
}

export class Scrubber {
  readonly #ports: StorePorts;
  readonly #parts: Menders;
  #plan: ScrubPlan | undefined;
  #total = 0;
  #cancelRest: (() => void) | undefined;
  #running: Promise<void> = Promise.resolve();
  #closed = false;
  /** Read and checked so far. */
  bytes = 0;

  constructor(ports: StorePorts, parts: Menders) {
    this.#ports = ports;
    this.#parts = parts;
  }

  /** Passes over all there was. */
  get passes(): number {
    return this.#plan?.passes ?? 0;
  }

  start(intervalMs: number): void {
    this.#plan = new ScrubPlan(intervalMs);
    this.#running = this.#run(this.#plan);
  }

  async #run(plan: ScrubPlan): Promise<void> {
    while (!this.#closed) {
      try {
        const targets = await this.#targets();
        this.#total = targets.reduce((sum, { size }) => sum + size, 0);
        const read = this.bytes;
        await plan.next(targets)?.check();
        if (this.bytes === read) await this.#rest(SLICE_SIZE); // there was nothing to read
      } catch (error) {
        // A file may be replaced or removed meanwhile; what stays unreadable is told in each pass.
        if (!this.#closed && !isGone(error)) this.#report(error);
        await this.#rest(SLICE_SIZE);
      }
    }
  }

  /** After a slice of so many bytes. */
  async #rest(size: number): Promise<void> {
    this.bytes += size;
    const plan = this.#plan;
    if (this.#closed || !plan) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#ports.clock.after(plan.restMs({ size, total: this.#total }), resolve);
      this.#cancelRest = () => {
        cancel();
        resolve();
      };
    });
    this.#cancelRest = undefined;
  }

  async #targets(): Promise<Target[]> {
    const { log, sealer, dedupe } = this.#parts;
    const { disk, crc32 } = this.#ports;
    const segments = log.segments.flatMap(({ base, end, file }): Target[] => {
      if (end === undefined) return [];
      const check = () => this.#checkSegment({ base, end, file });
      return [{ path: segmentPath(base), size: end - base, check }];
    });
    const names = new Set(await disk.list(LOG_DIR));
    const sidecars = log.segments
      .filter(({ base }) => names.has(sidecarPath(base).slice(LOG_DIR.length + 1)))
      .map(({ base, end = 0 }) => {
        const open = () => SidecarFile.open(disk, { base, end }, crc32);
        return this.#blocks(sidecarPath(base), { open, mend: () => sealer.mend(base) });
      });
    const timers = timerRanges(await disk.list(TIMER_DIR)).map((range) =>
      this.#blocks(timerPath(range), {
        open: async () => {
          const file = await TimerFile.open(disk, range, crc32);
          return file && { close: () => file.retire() };
        },
        mend: () => sealer.mendTimers(range),
      }),
    );
    const runs = runRanges(await disk.list(DEDUPE_DIR)).map((range) =>
      this.#blocks(runPath(range), {
        open: () => RunFile.open(disk, range, crc32).catch(undefinedIfDamaged),
        mend: () => dedupe.mend(range),
        begin: () => dedupe.checking(range),
      }),
    );
    const snapshots = snapshotOffsets(await disk.list(SNAPSHOT_DIR)).map((offset) => ({
      path: snapshotPath(offset),
      size: SLICE_SIZE,
      check: () => this.#checkSnapshot(offset),
    }));
    return [...segments, ...sidecars, ...timers, ...runs, ...snapshots];
  }

  async #checkSegment(segment: { base: number; end: number; file: DiskFile }): Promise<void> {
    const { base, end } = segment;
    const { crc32, clock } = this.#ports;
    const pause = () => new Promise<void>((resolve) => clock.defer(resolve));
    const options = { size: SLICE_SIZE, crc32, pause };
    for (let place = { at: base, prevCrc: undefined as number | undefined }; place.at < end; ) {
      if (this.#closed) return;
      const { next, damaged } = await scrubSegment(segment, place, options);
      if (this.#parts.log.segmentAt(base)?.base !== base) return; // it was dropped
      if (damaged) this.#parts.log.damage.add(damaged, "scrub");
      const { at } = place;
      place = { at: next.at, prevCrc: next.prevCrc };
      await this.#rest(next.at - at);
    }
  }

  /**
   * @param about.open undefined when its header, or its size, is not as it was written.
   * @param about.begin who wants to know when it is whole.
   */
  #blocks(
    path: string,
    about: {
      open(): Promise<Opened | undefined>;
      mend(): Promise<unknown>;
      begin?(): () => void;
    },
  ): Target {
    const check = () =>
      this.#withFile(path, async (file) => {
        const whole = about.begin?.();
        const opened = await about.open();
        await opened?.close();
        if (!opened || !(await this.#areWhole(file))) await about.mend();
        else if (!this.#closed) whole?.();
      });
    return { path, size: SLICE_SIZE, check };
  }

  async #areWhole(file: DiskFile): Promise<boolean> {
    const count = SLICE_SIZE / BLOCK_SIZE;
    const blocks = Math.ceil((await file.size()) / BLOCK_SIZE);
    for (let from = 0; from < blocks && !this.#closed; from += count) {
      if (!(await areBlocksWhole(file, { from, count }, this.#ports.crc32))) return false;
      await this.#rest(Math.min(count, blocks - from) * BLOCK_SIZE);
    }
    return true;
  }

  #checkSnapshot(logOffset: number): Promise<void> {
    return this.#withFile(snapshotPath(logOffset), async (file) => {
      const check = new SnapshotCheck(this.#ports.crc32);
      const size = await file.size();
      for (let at = 0; at < size && !this.#closed; at += SLICE_SIZE) {
        check.take(await readRange(salvaging(file), at, Math.min(SLICE_SIZE, size - at)));
        await this.#rest(Math.min(SLICE_SIZE, size - at));
      }
      if (!this.#closed && !check.whole) await this.#parts.sealer.dropSnapshot(logOffset);
    });
  }

  async #withFile(path: string, use: (file: DiskFile) => Promise<void>): Promise<void> {
    const file = await this.#ports.disk.open(path, { create: false });
    try {
      await use(file);
    } finally {
      await file.close();
    }
  }

  #report(error: unknown): void {
    this.#ports.report(error instanceof Error ? error : new Error(String(error)));
  }

  /** Ends after the slice under way. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelRest?.();
    await this.#running;
  }
}

function undefinedIfDamaged(error: unknown): undefined {
  if (!(error instanceof DerivedDamage)) throw error;
}

function isGone(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === "ENOENT" || code === "EBADF";
}
