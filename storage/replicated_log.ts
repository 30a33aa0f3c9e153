/**
 * The log of one member of a group: what the others and whoever leads do with it.
 *
 *   follows   units are adopted as they are ──▶ synced, told ──▶ confirmed, taken in
 *   leads     the broker appends            ──▶ synced, told ──▶ confirmed, shown
 *
 * What is confirmed is taken in a part at a time, and other work runs between; from
 * memory at once as a rule, from disk after a start or a stall. It is not taken in
 *   - before it is synced here: whatever is derived of it may rely on the bytes;
 *   - past damage, while this node follows: others have the bytes, and what is folded
 *     without them would not be what they have. A node that leads steps over it.
 *
 * @module
 */

import type { Clock } from "./base/clock.ts";
import type { Crc32 } from "./base/checksum.ts";
import { viewOf } from "./base/bytes.ts";
import type { CommitLog } from "./commit_log.ts";
import { Frame } from "./frame.ts";
import type { Chunk } from "./log_tail.ts";
import { fits, goodBytes, putBytes } from "./mending.ts";
import type { DamagedRange } from "./recovery.ts";
import { findFrameBehind } from "./scan.ts";
import {
  type AnnouncedUnits,
  areSound,
  readUnits,
  type UnitBytes,
  walkFrames,
} from "./unit_bytes.ts";

/** Taken in at once: some 10 ms of work. */
const PART_SIZE = 1024 * 1024;

export interface ReplicatedLogPorts {
  readonly clock: Clock;
  readonly crc32: Crc32;
  /** What is confirmed cannot be taken in: the process must end. */
  fatal(error: Error): void;
}

/** In the order in which it happened. */
export interface ReplicatedLogEvents {
  /** The leading broker appended; told before `synced` tells of it. */
  appended(tail: { readonly end: number; readonly lastCrc: number }): void;
  synced(end: number): void;
  /** The log begins at `start` now. */
  trimmed(start: number): void;
}

const SILENT: ReplicatedLogEvents = { appended() {}, synced() {}, trimmed() {} };

export class ReplicatedLog {
  readonly #ports: ReplicatedLogPorts;
  readonly #log: CommitLog;
  /** Told of, here or not. */
  #known: number;
  #replicatedEnd: number;
  #running: Promise<void> | undefined;
  #leads = false;
  #closed = false;
  #appendedEnd: number;
  #events = SILENT;

  constructor(ports: ReplicatedLogPorts, log: CommitLog) {
    this.#ports = ports;
    this.#log = log;
    this.#known = log.toldConfirm;
    this.#replicatedEnd = log.end;
    this.#appendedEnd = log.end;
  }

  listen(events: ReplicatedLogEvents): void {
    this.#events = events;
  }

  appended(): void {
    const { end, lastCrc } = this.#log.tail;
    if (this.#leads && end > this.#appendedEnd) this.#events.appended({ end, lastCrc });
    this.#appendedEnd = end;
  }

  durable(end: number): void {
    if (end > this.#appendedEnd) this.appended();
    this.#events.synced(end);
    this.#advance();
  }

  trimmed(): void {
    this.#events.trimmed(this.#log.start);
  }

  /** Written on every member of the set, as far as this node was told. */
  get replicatedEnd(): number {
    return Math.max(this.#replicatedEnd, this.#log.confirmOffset);
  }

  set replicatedEnd(end: number) {
    this.#replicatedEnd = Math.max(this.#replicatedEnd, end);
  }

  /** Whole units of one epoch; undefined: they are damaged, which is noted, or gone. */
  async transfer(wish: {
    readonly from: number;
    readonly until: number;
    readonly epoch: number;
    readonly maxBytes: number;
  }): Promise<UnitBytes | undefined> {
    const units = await readUnits(this.#log, wish, this.#ports.crc32);
    if (!units && wish.from < this.#log.durableEnd) await this.#examine(wish.from);
    return units;
  }

  isSound(units: AnnouncedUnits): boolean {
    return areSound(units, this.#ports.crc32);
  }

  /** Appends units that are sound, and begin where this log ends. */
  append({ bytes }: AnnouncedUnits): void {
    if (!(bytes instanceof Uint8Array)) return;
    this.#log.tail.adopt(bytes);
    this.#log.flush();
  }

  /** All below `offset` is confirmed, be it here yet or not. */
  confirm(offset: number): void {
    this.#known = Math.max(this.#known, Math.min(offset, this.#log.end));
    this.#log.tail.confirmOffset = this.#known;
    this.#advance();
  }

  /** Resolves when all is taken in that can be now. */
  async settled(): Promise<void> {
    while (this.#running) await this.#running;
  }

  /** Takes in nothing more. */
  close(): Promise<void> {
    this.#closed = true;
    return this.settled();
  }

  /** Drops what lies behind `to`; the caller has nothing under way. @throws what the disk says. */
  async cut(to: number): Promise<void> {
    await this.settled();
    await this.#log.cut(to);
    this.#known = Math.min(this.#known, to);
    this.#replicatedEnd = Math.min(this.#replicatedEnd, to);
    this.#appendedEnd = to;
    this.#log.tail.confirmOffset = this.#known;
  }

  mendingBytes(range: DamagedRange): Promise<Uint8Array | undefined> {
    return goodBytes(this.#log, range, this.#ports.crc32);
  }

  /**
   * Puts bytes where damage was.
   *
   * @returns what is left of the range, perhaps nothing; undefined: they are not what
   * lay there, or there is no damage.
   */
  async mend(range: DamagedRange, bytes: Uint8Array): Promise<DamagedRange | undefined> {
    const log = this.#log;
    const { crc32 } = this.#ports;
    const isDamaged = () =>
      log.damage.ranges.some(({ from, to }) => from <= range.from && range.to <= to);
    if (!isDamaged() || !(await fits(log, { range, bytes }, crc32)) || !isDamaged()) {
      return undefined;
    }
    await putBytes(log, range.from, bytes);
    const end = range.from + bytes.length;
    log.damage.mended({ from: range.from, to: end });
    walkFrames(bytes, { from: range.from, prevCrc: undefined, crc32 }, (frame) => {
      log.tail.epochs.learn(frame.epoch, frame.logOffset);
    });
    this.#advance();
    return { from: end, to: range.to };
  }

  /**
   * The broker is about to lead. Gives `take` every frame from `from` on, in parts, with
   * other work between; what is confirmed meanwhile goes its way.
   */
  async rest(
    from: () => number,
    take: (frame: Frame, segment: { readonly base: number }) => void,
  ): Promise<void> {
    const log = this.#log;
    await log.settled();
    this.#leads = true;
    while (from() < log.end && !log.failed) {
      const at = from();
      const base = log.segmentAt(at)?.base ?? at;
      const until = Math.min(log.end, log.segmentAt(at)?.end ?? log.end);
      const units = await readUnits(
        log,
        { from: at, until, maxBytes: PART_SIZE },
        this.#ports.crc32,
      );
      if (from() !== at) continue;
      if (!units) throw new Error(`Cannot lead: the frames at ${at} cannot be read`);
      const source = { bytes: units.bytes, view: viewOf(units.bytes) };
      for (let position = 0; position < units.bytes.length; ) {
        const frame = new Frame(source, position);
        take(frame, { base });
        position += frame.size;
      }
    }
    this.#advance();
  }

  #advance(): void {
    if (this.#running || this.#closed) return;
    if (!this.#trying(() => this.#step())) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  async #run(): Promise<void> {
    try {
      do {
        await new Promise<void>((resolve) => this.#ports.clock.defer(resolve));
        if (this.#isOnDisk && !this.#closed) await this.#stepFromDisk();
      } while (this.#step());
    } catch (error) {
      this.#fail(error);
    }
  }

  #trying(step: () => boolean): boolean {
    try {
      return step();
    } catch (error) {
      this.#fail(error);
      return false;
    }
  }

  #fail(error: unknown): void {
    this.#ports.fatal(error instanceof Error ? error : new Error(String(error)));
  }

  /** Where the part ends, at most, that is taken in next: within a segment. */
  get #limit(): number {
    const log = this.#log;
    const from = log.confirmOffset;
    const limit = Math.min(this.#known, log.durableEnd, log.segmentAt(from)?.end ?? Infinity);
    const hole = this.#leads ? undefined : log.damage.ranges.find(({ to }) => to > from);
    return hole ? Math.min(limit, hole.from) : limit;
  }

  get #isOnDisk(): boolean {
    const { confirmOffset, tail } = this.#log;
    return confirmOffset < Math.min(this.#limit, tail.base);
  }

  /** A part from memory. @returns whether there is more to do. */
  #step(): boolean {
    const log = this.#log;
    if (!this.#isOnDisk && log.confirmOffset < this.#limit) {
      log.confirm(Math.min(this.#limit, log.tail.unitEndWithin(log.confirmOffset, PART_SIZE)));
    }
    return log.confirmOffset < this.#limit && !log.failed && !this.#closed;
  }

  async #stepFromDisk(): Promise<void> {
    const log = this.#log;
    const from = log.confirmOffset;
    const until = this.#limit;
    const wish = { from, until, maxBytes: PART_SIZE };
    const units = await readUnits(log, wish, this.#ports.crc32);
    if (units) return log.confirm(units.to, asChunk(from, units.bytes));
    const { to } = await this.#examine(from);
    if (this.#leads) log.confirm(Math.min(to, until), asChunk(from, new Uint8Array(0)));
  }

  /** What cannot be read at a place becomes known as damage. */
  async #examine(from: number): Promise<DamagedRange> {
    const log = this.#log;
    const segment = log.segmentAt(from);
    const to = segment?.end ?? log.durableEnd;
    const range = { base: segment?.base ?? from, from, to, crc32: this.#ports.crc32 };
    const behind = segment && (await findFrameBehind(segment.file, range));
    const damaged = { from, to: behind?.logOffset ?? to };
    if (from >= log.start && from < damaged.to) log.damage.add(damaged, "read");
    return damaged;
  }
}

function asChunk(base: number, bytes: Uint8Array): Chunk {
  return { base, bytes, view: viewOf(bytes), filled: bytes.length };
}
