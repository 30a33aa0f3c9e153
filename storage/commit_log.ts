/**
 * The CommitLog: one sequence of frames over many segment files.
 *
 *   append ──▶ LogTail ──▶ Flusher ──▶ segment files
 *                 └──────────┴── read: young frames from memory, others from disk
 *
 * Offsets, rising:  0 ≤ confirmOffset ≤ writtenEnd ≤ end. On one node a frame is
 * confirmed when it is synced.
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import { viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import type { Clock } from "./base/clock.ts";
import { type Disk, type DiskFile, NoRoom, readRange } from "./base/disk.ts";
import { salvaging } from "./base/salvage.ts";
import { CheckpointFile } from "./checkpoint.ts";
import { DamageMap, type FoundBy } from "./damage.ts";
import { type ActiveSegment, Flusher } from "./flusher.ts";
import type { FlushFigures } from "./flush_figures.ts";
import { type Frame, FRAME_HEADER_SIZE, FRAME_SIZE_MAX, readFrame } from "./frame.ts";
import type { Headroom } from "./headroom.ts";
import { LogTail } from "./log_tail.ts";
import { openSegments } from "./open_log.ts";
import type { DamagedRange } from "./recovery.ts";
import { SEGMENT_HEADER_SIZE } from "./segment.ts";
import type { SpareSegment } from "./spare_segment.ts";

export interface LogPorts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly crc32: Crc32;
  /** Called once, when durability can no longer be promised: the process must end. */
  fatal(error: Error): void;
  /** A range of the log was found damaged that nobody knew of. */
  damaged?(range: DamagedRange, by: FoundBy): void;
}

export interface LogEvents {
  onWritten(end: number): void;
  /** Frames below `end` are confirmed: they may be seen. */
  onConfirm(end: number): void;
  /** The segment before the one at `base` is sealed. */
  onSealed(segment: { readonly base: number; readonly end: number }): void;
}

export interface Segment {
  readonly base: number;
  /** Undefined while active. */
  readonly end: number | undefined;
  readonly firstStoredAt: number;
  readonly file: DiskFile;
}

export interface Recovery {
  readonly damaged: readonly DamagedRange[];
  /** The unsynced tail that was cut, if it held anything. */
  readonly torn: { readonly at: number; readonly reason: string } | undefined;
  /** Bases of segments whose header is damaged; the frames do not need it. */
  readonly damagedHeaders: readonly number[];
  /** Frames walked. */
  readonly frames: number;
}

/** Between two checkpoints while the log moves, at most. */
const CHECKPOINT_INTERVAL_MS = 1000;

/** Of a segment that is ended early. */
const SEGMENT_LEAST = 1 / 16;

export class CommitLog {
  readonly tail: LogTail;
  readonly recovery: Recovery;
  readonly damage: DamageMap;
  readonly #ports: LogPorts;
  readonly #segments: Segment[];
  readonly #flusher: Flusher;
  readonly #checkpoint: CheckpointFile;
  readonly #segmentBytes: number;
  #events: LogEvents = { onWritten() {}, onConfirm() {}, onSealed() {} };
  #confirmOffset: number;
  #writtenEnd: number;
  #cancelCheckpoint: (() => void) | undefined;
  #checkpointing: Promise<void> = Promise.resolve();

  /**
   * Opens the log, cuts a torn tail and visits every frame of the segment that
   * holds `walkFrom` and of all behind it.
   *
   * @throws when a file cannot be read, or its format is not known.
   */
  static async open(
    ports: LogPorts,
    options: {
      readonly segmentBytes: number;
      readonly spare: SpareSegment;
      readonly headroom: Headroom;
      /** A confirmed unit end: the log reaches that far. */
      readonly from: number;
      /** Where the log starts: what lay before was removed. */
      readonly start: number;
      /** The walk begins at the segment that holds it; at most `from`. */
      readonly walkFrom: number;
      visit(frame: Frame, segment: { readonly base: number }): void;
    },
  ): Promise<CommitLog> {
    const checkpoint = await CheckpointFile.open(ports.disk, ports.crc32);
    const durableEnd = Math.max(checkpoint.latest.durableEnd, options.from);
    const opened = await openSegments(ports, { ...options, durableEnd });
    if (opened.end > checkpoint.latest.durableEnd) {
      // Readers see all of it from now on, so from now on its loss is damage.
      const epoch = Math.max(opened.epoch, checkpoint.latest.epoch);
      await checkpoint.write({ durableEnd: opened.end, epoch });
    }
    return new CommitLog(ports, { ...options, checkpoint, opened });
  }

  private constructor(
    ports: LogPorts,
    parts: {
      readonly checkpoint: CheckpointFile;
      readonly opened: Awaited<ReturnType<typeof openSegments>>;
      readonly segmentBytes: number;
      readonly spare: SpareSegment;
      readonly headroom: Headroom;
    },
  ) {
    const { checkpoint, opened, segmentBytes, spare, headroom } = parts;
    const { segments, end, lastCrc, lastStoredAt } = opened;
    const active = segments.at(-1);
    this.#ports = ports;
    this.#segmentBytes = segmentBytes;
    this.#checkpoint = checkpoint;
    this.#segments = segments;
    this.recovery = opened.recovery;
    this.damage = new DamageMap((range, by) => ports.damaged?.(range, by));
    for (const range of opened.recovery.damaged) this.damage.add(range, "start");
    this.#confirmOffset = end;
    this.#writtenEnd = end;
    const epoch = Math.max(opened.epoch, checkpoint.latest.epoch);
    const segmentBase = active?.base ?? end;
    const start = { end, lastCrc, lastStoredAt, epoch, segmentBase, segmentBytes };
    this.tail = new LogTail(start, ports.crc32);
    if (!active) this.tail.rolls.push({ base: end, prevCrc: lastCrc, firstStoredAt: lastStoredAt });
    this.#flusher = new Flusher(this.tail, {
      ports,
      active: active && { ...active, prepared: false },
      spare,
      headroom,
      segmentBytes,
      events: {
        onWritten: (written) => this.#onWritten(written),
        onDurable: (durable) => this.#onDurable(durable),
        onSegment: (next) => this.#onSegment(next),
        fatal: (error) => ports.fatal(error),
      },
    });
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

  get confirmOffset(): number {
    return this.#confirmOffset;
  }

  get segments(): readonly Segment[] {
    return this.#segments;
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
    this.#flusher.kick();
  }

  /** The active segment holds no more than it does, unless that is little: the next unit begins another. */
  endSegment(): void {
    this.tail.endSegmentAt(this.#segmentBytes * SEGMENT_LEAST);
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
  async read(at: {
    readonly logOffset: number;
    readonly size: number;
  }): Promise<Frame | undefined> {
    const frame = await this.#read(at);
    if (!frame) this.missed(at);
    return frame;
  }

  async #read({
    logOffset,
    size,
  }: {
    readonly logOffset: number;
    readonly size: number;
  }): Promise<Frame | undefined> {
    const bytes = await this.readBytes(logOffset, size);
    return bytes && this.verify(bytes, logOffset);
  }

  /** A frame that an index knows of is not there: noted as damage, unless its segment went. */
  missed({ logOffset, size }: { readonly logOffset: number; readonly size: number }): void {
    const there =
      this.segmentAt(logOffset) !== undefined && logOffset + size <= this.#confirmOffset;
    if (there && size > 0) this.damage.add({ from: logOffset, to: logOffset + size }, "read");
  }

  /** As `read`, of a frame whose size is not known, and which need not be one: a stranger may have named it. */
  async readAt(logOffset: number): Promise<Frame | undefined> {
    const header = await this.readBytes(logOffset, FRAME_HEADER_SIZE);
    const size = header && viewOf(header).getUint32(0);
    if (!size || size < FRAME_HEADER_SIZE || size > FRAME_SIZE_MAX) return undefined;
    return this.#read({ logOffset, size });
  }

  /** Contiguous bytes of one segment, unverified; undefined when they are not there. */
  async readBytes(from: number, size: number): Promise<Uint8Array | undefined> {
    return this.tail.find(from, size) ?? (await this.#readDisk(from, size));
  }

  verify(bytes: Uint8Array, logOffset: number): Frame | undefined {
    const expected = { logOffset, prevCrc: undefined, crc32: this.#ports.crc32 };
    const read = readFrame({ bytes, view: viewOf(bytes), at: 0 }, expected);
    return read.kind === "frame" ? read.frame : undefined;
  }

  async #readDisk(logOffset: number, size: number): Promise<Uint8Array | undefined> {
    const segment = this.segmentAt(logOffset);
    if (!segment || logOffset + size > this.#writtenEnd) return undefined;
    const position = SEGMENT_HEADER_SIZE + logOffset - segment.base;
    const bytes = await readRange(segment.file, position, size);
    return bytes.length === size ? bytes : undefined;
  }

  #onWritten(end: number): void {
    this.#writtenEnd = end;
    this.#events.onWritten(end);
  }

  #onDurable(end: number): void {
    assert(end >= this.#confirmOffset, "confirmOffset never falls");
    this.#confirmOffset = end;
    this.tail.confirmOffset = end;
    this.#events.onConfirm(end);
    this.#cancelCheckpoint ??= this.#ports.clock.after(CHECKPOINT_INTERVAL_MS, () => {
      this.#cancelCheckpoint = undefined;
      void this.#writeCheckpoint();
    });
  }

  async #onSegment({ base, file, firstStoredAt }: ActiveSegment): Promise<void> {
    const previous = this.#segments.at(-1);
    if (previous && previous.end === undefined) {
      const sealed = { ...previous, end: base };
      this.#segments[this.#segments.length - 1] = sealed;
      await this.#writeCheckpoint();
      this.#events.onSealed(sealed);
    }
    this.#segments.push({ base, file: salvaging(file), firstStoredAt, end: undefined });
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
    for (const { file } of gone) await file.close();
  }

  /** One at a time, in order of call. */
  #writeCheckpoint(): Promise<void> {
    const next = { durableEnd: this.#confirmOffset, epoch: this.tail.epoch };
    this.#checkpointing = this.#checkpointing
      .then(() => (this.failed ? undefined : this.#checkpoint.write(next)))
      .catch((error: unknown) => {
        if (!(error instanceof NoRoom)) this.#flusher.fail(error); // it may lag: the next one tells
      });
    return this.#checkpointing;
  }

  /** Flushes, writes a last checkpoint and closes the files. */
  async close(): Promise<void> {
    await this.settled();
    this.#cancelCheckpoint?.();
    await this.#writeCheckpoint();
    await this.#checkpoint.close();
    for (const { file } of this.#segments) await file.close();
  }
}
