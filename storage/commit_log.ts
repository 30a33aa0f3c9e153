/**
 * The CommitLog: one sequence of frames over many segment files.
 *
 *   append ──▶ LogTail ──▶ Flusher ──▶ segment files
 *                 └──────────┴── read: young frames from memory, others from disk
 *
 * Offsets, rising:  0 ≤ confirmOffset ≤ durableEnd ≤ writtenEnd ≤ end. On one node a
 * frame is confirmed when it is synced. Of a log on several nodes the sync is only
 * told of, and whoever keeps it (replicated_log.ts) says what is confirmed; what is
 * found at a start beyond what is known to be is there, but not visited.
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import { NoRoom } from "./base/disk.ts";
import { salvaging } from "./base/salvage.ts";
import { Checkpointing } from "./checkpointing.ts";
import { cutSegments } from "./cut_log.ts";
import { DamageMap } from "./damage.ts";
import { type ActiveSegment, Flusher } from "./flusher.ts";
import type { FlushFigures } from "./flush_figures.ts";
import type { Frame, FrameSource } from "./frame.ts";
import type { LogEvents, LogPorts, Recovery, Segment } from "./log_ports.ts";
import { type FrameAt, LogReader } from "./log_reader.ts";
import { type Chunk, LogTail } from "./log_tail.ts";
import { type StartedLog, startLog, type StartOptions } from "./start_log.ts";

const SILENT: LogEvents = {
  onAppended() {},
  onWritten() {},
  onDurable() {},
  onConfirm() {},
  onSealed() {},
};

/** Of a segment that is ended early. */
const SEGMENT_LEAST = 1 / 16;

export class CommitLog {
  readonly tail: LogTail;
  readonly recovery: Recovery;
  readonly damage: DamageMap;
  /** The greatest confirmOffset that a start found told of. */
  readonly toldConfirm: number;
  readonly #ports: LogPorts;
  readonly #segments: Segment[];
  readonly #flusher: Flusher;
  readonly #checkpoints: Checkpointing;
  readonly #reader: LogReader;
  readonly #replicated: boolean;
  readonly #segmentBytes: number;
  /** Sealed, and not yet told of, oldest first. */
  #sealed: Segment[] = [];
  #events: LogEvents = SILENT;
  #confirmOffset: number;
  #durableEnd: number;
  #writtenEnd: number;
  #telling = false;

  /**
   * Opens the log, cuts a torn tail and visits every frame of the segment that
   * holds `walkFrom` and of all behind it; of a log on several nodes, those that are
   * known to be confirmed, up to the first damage.
   *
   * @throws when a file cannot be read, or its format is not known.
   */
  static async open(ports: LogPorts, options: StartOptions): Promise<CommitLog> {
    return new CommitLog(ports, options, await startLog(ports, options));
  }

  private constructor(ports: LogPorts, options: StartOptions, started: StartedLog) {
    const { segmentBytes, spare } = options;
    const { checkpoint, segments, end, lastCrc, lastStoredAt, confirmOffset } = started;
    const active = segments.at(-1);
    this.#ports = ports;
    this.#replicated = options.replication !== undefined;
    this.#segmentBytes = segmentBytes;
    this.#segments = segments;
    this.recovery = started.recovery;
    this.damage = new DamageMap((range, by) => ports.damaged?.(range, by));
    for (const range of started.recovery.damaged) this.damage.add(range, "start");
    this.#confirmOffset = confirmOffset;
    this.toldConfirm = started.toldConfirm;
    this.#durableEnd = end;
    this.#writtenEnd = end;
    for (const segment of segments) {
      if ((segment.end ?? 0) > confirmOffset) this.#sealed.push(segment);
    }
    this.tail = new LogTail(
      { ...started, segmentBase: active?.base ?? end, segmentBytes },
      ports.crc32,
    );
    this.tail.confirmOffset = started.toldConfirm;
    if (!active) this.tail.rolls.push({ base: end, prevCrc: lastCrc, firstStoredAt: lastStoredAt });
    const flusher = new Flusher(this.tail, {
      ports,
      active: active && { ...active, prepared: false },
      spare,
      headroom: options.headroom,
      segmentBytes,
      events: {
        onWritten: (written) => this.#onWritten(written),
        onDurable: (durable) => this.#onDurable(durable),
        onSegment: (next) => this.#onSegment(next),
        fatal: (error) => {
          checkpoint.markFailed();
          ports.fatal(error);
        },
      },
    });
    this.#flusher = flusher;
    this.#checkpoints = new Checkpointing(checkpoint, {
      clock: ports.clock,
      next: () => (this.failed ? undefined : this.#place),
      failed(error) {
        if (!(error instanceof NoRoom)) flusher.fail(error); // it may lag: the next one tells
      },
    });
    this.#reader = new LogReader(this, ports.crc32);
  }

  get #place() {
    const { epoch } = this.tail;
    return { durableEnd: this.#durableEnd, confirmOffset: this.#confirmOffset, epoch };
  }

  listen(events: LogEvents): void {
    this.#events = events;
  }

  get end(): number {
    return this.tail.end;
  }

  get writtenEnd(): number {
    return this.#writtenEnd;
  }

  get durableEnd(): number {
    return this.#durableEnd;
  }

  get confirmOffset(): number {
    return this.#confirmOffset;
  }

  get segments(): readonly Segment[] {
    return this.#segments;
  }

  /** Those that are sealed and confirmed: nothing of them changes any more. */
  get closedSegments(): readonly Segment[] {
    return this.#segments.filter(({ end = Infinity }) => end <= this.#confirmOffset);
  }

  /** The segment that holds, or will hold, `logOffset`. */
  segmentAt(logOffset: number): Segment | undefined {
    return this.#segments.findLast((segment) => segment.base <= logOffset);
  }

  /** A logOffset at or before the first frame stored at `time` or later: where its segment begins. */
  offsetAt(time: number): number {
    const later = this.#segments.findIndex((segment) => segment.firstStoredAt >= time);
    const index = later < 0 ? this.#segments.length - 1 : Math.max(0, later - 1);
    return this.#segments[index]?.base ?? 0;
  }

  /** What was appended in this turn goes to disk at its end. */
  flush(): void {
    if (this.#replicated) this.#tellAppended();
    this.#flusher.kick();
  }

  /** The active segment holds no more than it does, unless that is little: the next unit begins another. */
  endSegment(): void {
    this.tail.endSegmentAt(this.#segmentBytes * SEGMENT_LEAST);
  }

  /** Before the flusher gets to it, which waits for the end of the turn as well. */
  #tellAppended(): void {
    if (this.#telling) return;
    this.#telling = true;
    this.#ports.clock.defer(() => {
      this.#telling = false;
      this.#events.onAppended();
    });
  }

  /** The disk has failed: nothing is confirmed any more. */
  get failed(): boolean {
    return this.#flusher.failed;
  }

  /** How batches were written and synced, since the start. */
  get flushes(): FlushFigures {
    return this.#flusher.figures;
  }

  /** Resolves when all that was appended is confirmed, or the disk has failed. */
  settled(): Promise<void> {
    return this.#flusher.idle();
  }

  /** A frame with its checksum and place verified; undefined when its bytes are damaged. */
  read(at: FrameAt): Promise<Frame | undefined> {
    return this.#reader.read(at);
  }

  /** A frame that an index knows of is not there: noted as damage, unless its segment went. */
  missed(at: FrameAt): void {
    this.#reader.missed(at);
  }

  /** As `read`, of a frame whose size is not known, and which need not be one: a stranger may have named it. */
  readAt(logOffset: number): Promise<Frame | undefined> {
    return this.#reader.readAt(logOffset);
  }

  /** Contiguous bytes of one segment, unverified; undefined when they are not there. */
  readBytes(from: number, size: number): Promise<Uint8Array | undefined> {
    return this.#reader.bytes(from, size);
  }

  verify(source: FrameSource, logOffset: number): Frame | undefined {
    return this.#reader.verify(source, logOffset);
  }

  #onWritten(end: number): void {
    this.#writtenEnd = end;
    this.#events.onWritten(end);
  }

  #onDurable(end: number): void {
    this.#durableEnd = end;
    if (!this.#replicated) {
      this.tail.confirmOffset = end;
      this.confirm(end);
    }
    this.#checkpoints.soon();
    this.#events.onDurable(end);
  }

  /**
   * All below `end`, which is synced here, is confirmed.
   *
   * @param frames those since the last call, of one segment, where they are not in the tail.
   */
  confirm(end: number, frames?: Chunk): void {
    assert(end >= this.#confirmOffset, "confirmOffset never falls");
    assert(end <= this.#durableEnd, "what is confirmed is synced");
    this.#confirmOffset = end;
    if (this.#replicated) this.#checkpoints.soon(); // it may come long after the sync
    this.#events.onConfirm(end, frames);
    if (this.#sealed.length > 0) void this.#tellSealed();
  }

  /** A segment is derived from once all of it is confirmed, and a start would know it to be. */
  async #tellSealed(): Promise<void> {
    const done = this.#sealed.filter(({ end = 0 }) => end <= this.#confirmOffset);
    if (done.length === 0) return;
    this.#sealed = this.#sealed.slice(done.length);
    await this.#checkpoints.write();
    for (const { base, end = base } of done) this.#events.onSealed({ base, end });
  }

  /** Resolves to whether a start would know of what is confirmed now. */
  checkpoint(): Promise<boolean> {
    return this.#checkpoints.write();
  }

  async #onSegment({ base, file, firstStoredAt, prevCrc }: ActiveSegment): Promise<void> {
    const previous = this.#segments.at(-1);
    if (previous && previous.end === undefined) {
      const sealed = { ...previous, end: base };
      this.#segments[this.#segments.length - 1] = sealed;
      this.#sealed.push(sealed);
      await this.#tellSealed();
    }
    this.#segments.push({ base, file: salvaging(file), firstStoredAt, prevCrc, end: undefined });
  }

  /**
   * What lies behind `to`, a unit's end that is not below what is confirmed, is gone.
   * Resolves once that would survive power loss. Nothing may be appended meanwhile.
   */
  async cut(to: number): Promise<void> {
    assert(to >= this.#confirmOffset && to <= this.end, "a cut lies behind what is confirmed");
    await this.settled();
    if (to === this.end || this.failed) return;
    try {
      const before = { ...this.#place, durableEnd: to }; // or its loss would be damage
      const written = await this.#checkpoints.write(before);
      if (!written) throw new NoRoom("Cannot cut the log: there is no room to tell of it");
      const place = await cutSegments(this.#ports, {
        to,
        segments: this.#segments,
        segmentBytes: this.#segmentBytes,
      });
      this.tail.cut(place);
      this.damage.forgetFrom(to);
      this.#sealed = this.#sealed.filter(({ end = 0 }) => end <= place.segmentBase);
      this.#durableEnd = to;
      this.#writtenEnd = to;
      const active = this.#segments.at(-1);
      if (active) this.#flusher.cut({ ...active, prepared: false }, to);
    } catch (error) {
      this.#flusher.fail(error);
      throw error;
    }
  }

  /** Where the first segment begins. */
  get start(): number {
    return this.#segments[0]?.base ?? this.end;
  }

  /** Lets go of the segments before the one that begins at `start`; reads under way end well. */
  async dropBefore(start: number): Promise<void> {
    const kept = this.#segments.findIndex(({ base }) => base === start);
    assert(kept >= 0, "the log starts where a segment begins");
    const gone = this.#segments.splice(0, kept);
    this.damage.forgetBelow(start);
    this.tail.epochs.trim(start);
    for (const { file } of gone) await file.close();
  }

  /** Flushes, writes a last checkpoint and closes the files. */
  async close(): Promise<void> {
    await this.settled();
    await this.#checkpoints.close();
    for (const { file } of this.#segments) await file.close();
  }
}
