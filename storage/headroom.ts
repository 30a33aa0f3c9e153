/**
 * Headroom: what is left on the file system, and what may still be stored there.
 *
 *            used ≥ high             used ≥ full, or a      not even the ballast
 *                                    write found no room    made room for a write
 *   ample ───────────────▶ high ──────────────▶ full ──────────────▶ stuck
 *     ◀───── a percent less ─ ◀──── a percent less, ─ ◀── it is written ──
 *                                  the ballast whole
 *
 *   high    a warning; what goes by itself is looked for more often
 *   full    nothing is published; all else goes on, in what is left behind the watermark
 *   stuck   nothing at all is stored; the log holds what was appended and tries again
 *
 * Nobody publishes beyond the watermark between two looks: each look says how far the
 * log may grow until there must have been another one. So only somebody else can take
 * the rest, and for that there is the ballast: a file of nothing, there to be removed.
 *
 *   none ──the log grew──▶ half as large as the log, at least, up to its full size
 *     ▲                                   │
 *     └── a write found no room, or less is left than it would take ──┘
 *
 * While it is missing it counts as used, so it can always be made again before
 * anybody publishes again. A file system that compresses may not set it aside.
 *
 * @module
 */

import type { Clock } from "./base/clock.ts";
import type { Disk, DiskSpace } from "./base/disk.ts";
import type { Jobs } from "./jobs.ts";
import { BALLAST_PATH } from "./segment.ts";

export const LEVELS = ["ample", "high", "full", "stuck"] as const;
export type Level = (typeof LEVELS)[number];

export interface HeadroomOptions {
  /** In percent of the file system: from there on it is worth a warning. */
  readonly highPercent: number;
  /** From there on nothing is published. */
  readonly fullPercent: number;
  /** Set aside, at most. */
  readonly ballastBytes: number;
}

export const HEADROOM_DEFAULTS: HeadroomOptions = {
  highPercent: 85,
  fullPercent: 95,
  ballastBytes: 0,
};

const LOOK_MS = 1000;
/** A level is left so far below where it began. */
const MARGIN_PERCENT = 1;
/** The ballast is no larger part of the file system. */
const BALLAST_SHARE = 1 / 100;
/** It grows by so much at least, or by an eighth of it. */
const BALLAST_STEP = 64 * 1024;
/** After it could not be made. */
const BALLAST_REST_MS = 10_000;
/** A write that found no room is tried again. */
const RETRY_MS = 250;

interface HeadroomPorts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly jobs: Jobs;
  report(error: Error): void;
}

export class Headroom {
  readonly #ports: HeadroomPorts;
  readonly #options: HeadroomOptions;
  #log = { start: 0, end: 0 };
  #level: Level = "ample";
  #space: DiskSpace | undefined;
  /** A write found no room, and what that took is not made good. */
  #ranOut = false;
  #ballast = 0;
  /** Counts releases: a job that was at work then made nothing. */
  #released = 0;
  #making: Promise<void> | undefined;
  #makeAfter = 0;
  #looking: Promise<void> | undefined;
  /** The log's end before the last look. */
  #seenEnd = 0;
  /** The end of the log from which on a look is due, and up to which it may grow. */
  #lookAt = Infinity;
  #growTo = Infinity;
  #cancel = () => {};
  #retry = () => {};
  #closed = false;
  /** The level is another one. */
  onLevel: (level: Level) => void = () => {};
  /** What could not be written may be now. */
  onRoom: () => void = () => {};

  private constructor(ports: HeadroomPorts, options: HeadroomOptions) {
    this.#ports = ports;
    this.#options = options;
  }

  /** Looks once. A disk that is full gets what was set aside at once: a start needs room. */
  static async open(ports: HeadroomPorts, options: HeadroomOptions): Promise<Headroom> {
    const headroom = new Headroom(ports, options);
    headroom.#ballast = await sizeOf(ports.disk, BALLAST_PATH);
    await headroom.look();
    return headroom;
  }

  /** Looks again and again, while the log grows. */
  watch(log: { readonly start: number; readonly end: number }): void {
    this.#log = log;
    this.#seenEnd = log.end; // what a start writes is little
    this.#afterLook();
    const again = () => {
      if (this.#closed) return;
      this.#cancel = this.#ports.clock.after(LOOK_MS, () => void this.look().then(again));
    };
    again();
  }

  get level(): Level {
    return this.#level;
  }

  /** As of the last look; undefined where the system does not tell. */
  get space(): DiskSpace | undefined {
    return this.#space;
  }

  /** Bytes set aside. */
  get ballastBytes(): number {
    return this.#ballast;
  }

  /** Whether messages may be published. */
  get admits(): boolean {
    if (this.#level === "full" || this.#level === "stuck") return false;
    if (this.#log.end >= this.#lookAt) void this.look();
    return this.#log.end < this.#growTo;
  }

  /** A write of the log found no room. Resolves when it is worth another try. */
  async noRoom(): Promise<void> {
    this.#ranOut = true;
    if (this.#ballast > 0) {
      this.#enter("full");
      return this.#release();
    }
    this.#enter("stuck");
    await new Promise<void>((resolve) => {
      this.#retry = resolve;
      this.#ports.clock.after(RETRY_MS, resolve);
    });
  }

  /** A write of the log found room. */
  room(): void {
    if (this.#level === "stuck") this.#enter("full");
  }

  /** One at a time. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(): Promise<void> {
    this.#seenEnd = this.#log.end; // what comes meanwhile may not be in the figures
    const space = await this.#ports.disk.space().catch(() => undefined);
    if (this.#closed) return;
    const more = (space?.free ?? 0) > (this.#space?.free ?? 0);
    this.#space = space;
    if (more) this.#retry();
    this.#afterLook();
  }

  #afterLook(): void {
    const { highPercent, fullPercent } = this.#options;
    const space = this.#space;
    if (space && space.free < this.#wanted && this.#ballast > 0) {
      this.#ranOut = true;
      void this.#release();
    }
    const used = this.#usedPercent;
    const isOver = (percent: number, isIn: boolean) =>
      used >= percent - (isIn ? MARGIN_PERCENT : 0);
    const wasFull = this.#level === "full" || this.#level === "stuck";
    const isOverFull = isOver(fullPercent, wasFull);
    if (!isOverFull && this.#level !== "stuck") this.#make();
    if (this.#ranOut && !isOverFull && this.#missing === 0) this.#ranOut = false;
    this.#plan();
    if (this.#level === "stuck") return; // until a write says otherwise
    if (isOverFull || this.#ranOut) this.#enter("full");
    else this.#enter(isOver(highPercent, this.#level !== "ample") ? "high" : "ample");
  }

  /** How far the log may grow. */
  #plan(): void {
    const end = this.#seenEnd;
    const left = this.#space
      ? this.#space.free - this.#missing - this.#space.size * (1 - this.#options.fullPercent / 100)
      : Infinity;
    this.#lookAt = end + left / 2;
    this.#growTo = end + left;
  }

  #enter(level: Level): void {
    if (level === this.#level) return;
    const before = this.#level;
    this.#level = level;
    this.onLevel(level);
    if (LEVELS.indexOf(level) < LEVELS.indexOf(before)) this.onRoom();
  }

  // The ballast

  /** What should be set aside. */
  get #wanted(): number {
    const { ballastBytes } = this.#options;
    const share = Math.floor((this.#space?.size ?? Infinity) * BALLAST_SHARE);
    return Math.min(ballastBytes, share);
  }

  /** What of that is not, and will have to be. Of a log that is smaller no more is unwritten at once. */
  get #missing(): number {
    const wanted = this.#wanted;
    const goal = Math.min(wanted, this.#log.end - this.#log.start);
    const isShort = this.#ranOut || goal === wanted || this.#ballast < goal / 2;
    return isShort ? Math.max(0, goal - this.#ballast) : 0;
  }

  /** Percent; 0 where the system does not tell. */
  get #usedPercent(): number {
    if (!this.#space) return 0;
    const { size, free } = this.#space;
    return 100 * (1 - (free - this.#missing) / size);
  }

  #make(): void {
    const missing = this.#missing;
    const isSmall = missing < Math.min(BALLAST_STEP, this.#wanted / 8) && !this.#ranOut;
    if (missing === 0 || isSmall || this.#making || this.#closed) return;
    if (this.#ports.clock.elapsed() < this.#makeAfter) return;
    this.#making = this.#grow(this.#ballast + missing).finally(() => {
      this.#making = undefined;
    });
  }

  async #grow(to: number): Promise<void> {
    const { jobs, disk, clock } = this.#ports;
    const released = this.#released;
    try {
      await jobs.run({ kind: "prepare", path: BALLAST_PATH, from: this.#ballast, to });
      if (released === this.#released) this.#ballast = to;
      else await disk.remove(BALLAST_PATH);
    } catch (error) {
      this.#ballast = 0; // what there was of it went
      this.#makeAfter = clock.elapsed() + BALLAST_REST_MS;
      if (!this.#ranOut) this.#report(error);
    }
    if (!this.#closed) await this.look();
  }

  async #release(): Promise<void> {
    this.#ballast = 0;
    this.#released++;
    try {
      await this.#ports.disk.remove(BALLAST_PATH);
    } catch (error) {
      this.#report(error); // somebody may have tidied up
    }
    this.onRoom();
  }

  #report(error: unknown): void {
    this.#ports.report(error instanceof Error ? error : new Error(String(error)));
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel();
    this.#retry();
    await this.#looking;
    await this.#making;
  }
}

async function sizeOf(disk: Disk, path: string): Promise<number> {
  try {
    const file = await disk.open(path, { create: false });
    try {
      return await file.size();
    } finally {
      await file.close();
    }
  } catch {
    return 0; // there is none
  }
}
