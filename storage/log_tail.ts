/**
 * The youngest part of the log, in memory: where appends land, from which the
 * flusher writes, and where readers find what was just written.
 *
 * Frames are encoded in place into chunks of contiguous log bytes (tail_chunks.ts).
 * A chunk is kept until it is both flushed and pushed out by younger ones, so a reader
 * at the tail costs no I/O, and bytes are copied once: from the request to here.
 *
 * A unit is announced with `begin`, which moves on to a new segment when the
 * unit would not fit the current one; then each frame is `reserve`d, its payload
 * written at the place given, and `seal`ed. Units that another node sealed are
 * `adopt`ed as they are; where segments begin each node says for itself.
 *
 * Invariant: `end` lies between units whenever control returns to the event loop.
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import { viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import { TidegateError } from "./base/errors.ts";
import { Epochs } from "./epochs.ts";
import { FLAG_CONTINUED, Frame, FRAME_HEADER_SIZE, type FrameSource, sealFrame } from "./frame.ts";
import { type Chunk, type Slice, TailChunks } from "./tail_chunks.ts";

export type { Chunk } from "./tail_chunks.ts";

/** Where a segment begins that does not exist yet. */
export interface Roll {
  readonly base: number;
  readonly prevCrc: number;
  readonly firstStoredAt: number;
}

export interface TailStart {
  readonly end: number;
  readonly lastCrc: number;
  readonly lastStoredAt: number;
  readonly epoch: number;
  readonly segmentBase: number;
  readonly segmentBytes: number;
  /** Of the log so far. */
  readonly epochs?: Epochs;
}

/** Where the log ends, and with which frame. */
export interface LogEnd {
  readonly end: number;
  readonly lastCrc: number;
  readonly lastStoredAt: number;
  readonly segmentBase: number;
}

export class LogTail {
  readonly #crc32: Crc32;
  readonly #segmentBytes: number;
  /** Of the present segment. */
  #segmentBytesMax: number;
  readonly #chunks = new TailChunks();
  readonly rolls: Roll[] = [];
  readonly epochs: Epochs;
  /** Of this life of the node: how many records were appended, by kind, and their bytes. */
  readonly appended = { records: 0, byKind: new Float64Array(256), bytes: new Float64Array(256) };
  /** Called before the first record of a new segment. */
  onRoll: (base: number) => void = () => {};
  /** Goes into every frame; the owner moves it. */
  confirmOffset: number;
  #closed = false;
  #end: number;
  #lastCrc: number;
  #storedAt: number;
  #epoch: number;
  #segmentBase: number;

  constructor(start: TailStart, crc32: Crc32) {
    this.#crc32 = crc32;
    this.#segmentBytes = start.segmentBytes;
    this.#segmentBytesMax = start.segmentBytes;
    this.#end = start.end;
    this.confirmOffset = start.end;
    this.#lastCrc = start.lastCrc;
    this.#storedAt = start.lastStoredAt;
    this.#epoch = start.epoch;
    this.#segmentBase = start.segmentBase;
    this.epochs = start.epochs ?? new Epochs();
  }

  /** Everything appended, written or not. */
  get end(): number {
    return this.#end;
  }

  get lastCrc(): number {
    return this.#lastCrc;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** Leader time of the unit begun last. */
  get storedAt(): number {
    return this.#storedAt;
  }

  /** Where the segment begins that the unit begun last is in. */
  get segmentBase(): number {
    return this.#segmentBase;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** No unit is begun any more. */
  close(): void {
    this.#closed = true;
  }

  startEpoch(epoch: number): void {
    assert(epoch > this.#epoch, "epochs rise");
    this.#epoch = epoch;
  }

  /**
   * Announces a unit of at most `sizeMax` bytes, frame headers included.
   *
   * @returns its leader time: `now`, or the last one if the clock stepped back.
   * @throws {TidegateError} `draining` once closed; nothing is changed.
   */
  begin(now: number, sizeMax: number): number {
    if (this.#closed)
      throw new TidegateError("draining", "Cannot store anything: the node is stopping");
    this.#storedAt = Math.max(this.#storedAt, now);
    const used = this.#end - this.#segmentBase;
    if (used > 0 && used + sizeMax > this.#segmentBytesMax) this.#roll();
    return this.#storedAt;
  }

  /** The present segment holds no more than `bytes`, or what it holds already. */
  endSegmentAt(bytes: number): void {
    this.#segmentBytesMax = Math.min(this.#segmentBytesMax, bytes);
  }

  #roll(): void {
    this.onRoll(this.#end);
    this.#segmentBase = this.#end;
    this.#segmentBytesMax = this.#segmentBytes;
    this.rolls.push({ base: this.#end, prevCrc: this.#lastCrc, firstStoredAt: this.#storedAt });
  }

  /** A chunk with room for a frame; its payload goes to {@linkcode payloadAt}. */
  reserve(payloadSizeMax: number): Chunk {
    return this.#chunks.reserve(FRAME_HEADER_SIZE + payloadSizeMax, this.#end);
  }

  payloadAt(chunk: Chunk): number {
    return chunk.filled + FRAME_HEADER_SIZE;
  }

  /**
   * Completes the frame whose payload ends at `payloadEnd` in `chunk`.
   *
   * @returns the frame's logOffset.
   */
  seal(chunk: Chunk, frame: { kind: number; flags: number; payloadEnd: number }): number {
    const logOffset = this.#end;
    const size = frame.payloadEnd - chunk.filled;
    assert(chunk.base + chunk.filled === logOffset, "a chunk is contiguous");
    this.#lastCrc = sealFrame(
      { bytes: chunk.bytes, view: chunk.view, at: chunk.filled },
      {
        kind: frame.kind,
        flags: frame.flags,
        epoch: this.#epoch,
        prevCrc: this.#lastCrc,
        logOffset,
        storedAt: this.#storedAt,
        confirmOffset: this.confirmOffset,
        size,
        crc32: this.#crc32,
      },
    );
    this.epochs.add(this.#epoch, logOffset);
    chunk.filled += size;
    this.#end += size;
    this.#count(frame.kind, size);
    return logOffset;
  }

  /**
   * Appends whole units that another node sealed to follow what is here, as they are;
   * the bytes are copied. Whether they are that was made sure of.
   */
  adopt(bytes: Uint8Array): void {
    const view = viewOf(bytes);
    for (let at = 0; at < bytes.length; ) {
      const unitEnd = unitEndIn(bytes, view, at);
      const used = this.#end - this.#segmentBase;
      this.#storedAt = Math.max(this.#storedAt, new Frame({ bytes, view }, at).storedAt);
      if (used > 0 && used + unitEnd - at > this.#segmentBytesMax) this.#roll();
      while (at < unitEnd) at += this.#take(new Frame({ bytes, view }, at));
    }
  }

  #take(frame: Frame): number {
    const { size, at } = frame;
    assert(frame.logOffset === this.#end, "a frame lies where it says");
    const chunk = this.reserve(size - FRAME_HEADER_SIZE);
    chunk.bytes.set(frame.bytes.subarray(at, at + size), chunk.filled);
    this.#epoch = frame.epoch;
    this.#storedAt = Math.max(this.#storedAt, frame.storedAt);
    this.epochs.add(frame.epoch, this.#end);
    this.#lastCrc = frame.crc;
    chunk.filled += size;
    this.#end += size;
    this.#count(frame.kind, size);
    return size;
  }

  /** The log ends there now: what lay behind is forgotten. All of it was flushed. */
  cut(to: LogEnd): void {
    assert(this.rolls.length === 0, "what is cut was flushed");
    this.#chunks.cut(to.end);
    this.epochs.cut(to.end);
    this.#end = to.end;
    this.#lastCrc = to.lastCrc;
    this.#storedAt = to.lastStoredAt;
    this.#epoch = this.epochs.last;
    this.#segmentBase = to.segmentBase;
    this.#segmentBytesMax = this.#segmentBytes;
  }

  /** From here on all of the log is at hand. */
  get base(): number {
    return this.#chunks.base ?? this.#end;
  }

  /** crc32 of the frame that ends at a logOffset; undefined where that is not at hand, or none does. */
  crcAt(logOffset: number): number | undefined {
    if (logOffset === this.#end) return this.#lastCrc;
    const bytes = this.find(logOffset, FRAME_HEADER_SIZE);
    const behind = bytes && new Frame({ bytes, view: viewOf(bytes) }, 0);
    if (behind?.logOffset !== logOffset) return undefined;
    return behind.prevCrc === 0 && logOffset > 0 ? undefined : behind.prevCrc; // behind damage
  }

  #count(kind: number, size: number): void {
    const { byKind, bytes } = this.appended;
    this.appended.records++;
    byKind[kind] = (byKind[kind] as number) + 1;
    bytes[kind] = (bytes[kind] as number) + size;
  }

  /**
   * The bytes `[from, to)` in order; they must not have been dropped. For this turn of the
   * event loop: who keeps a view {@linkcode lend}s them first.
   */
  slices(from: number, to: number): Iterable<Slice> {
    return this.#chunks.slices(from, to);
  }

  /** Views of the bytes `[from, to)` may be kept from now on. */
  lend(from: number, to: number): void {
    this.#chunks.lend(from, to);
  }

  /** The last end of a unit at most `sizeMax` bytes behind `from`; of a larger unit, its end. */
  unitEndWithin(from: number, sizeMax: number): number {
    let found = from;
    for (const { chunk, from: start, to } of this.slices(from, this.#end)) {
      for (let at = start; at < to; ) {
        const frame = new Frame(chunk, at);
        at += frame.size;
        if ((frame.flags & FLAG_CONTINUED) !== 0) continue;
        const end = chunk.base + at;
        if (end - from > sizeMax && found > from) return found;
        found = end;
      }
    }
    return found;
  }

  /** The bytes of a frame that is still at hand; a view, lent. */
  find(logOffset: number, size: number): Uint8Array | undefined {
    const found = this.locate(logOffset, size);
    return found?.bytes.subarray(found.at, found.at + size);
  }

  /** Where they lie, among others. */
  locate(logOffset: number, size: number): FrameSource | undefined {
    return this.#chunks.locate(logOffset, size);
  }

  /** Lets go of chunks that are flushed up to `durableEnd` and no longer young. */
  trim(durableEnd: number): void {
    this.#chunks.trim(durableEnd);
  }
}

/** Behind the unit that begins at `at`. */
function unitEndIn(bytes: Uint8Array, view: DataView, at: number): number {
  for (let end = at; ; ) {
    const { size, flags } = new Frame({ bytes, view }, end);
    end += size;
    if ((flags & FLAG_CONTINUED) === 0 || end >= bytes.length) return end;
  }
}
