/**
 * The record frame: how one record lies in the CommitLog and travels between
 * nodes. The bytes are the same in both places, so a follower appends what it
 * received without encoding it again.
 *
 * All integers are big-endian.
 *
 *   at  size  field
 *    0     4  size           whole frame in bytes, this field included
 *    4     4  crc32          of bytes [8, size)
 *    8     1  format         1
 *    9     1  kind           see records/mod.ts
 *   10     2  flags          bit 0 `continued`: the unit goes on in the next
 *                            frame; bit 1 `deferred`: not visible by itself
 *   12     4  epoch          of the leader that appended it
 *   16     4  prevCrc        crc32 field of the frame before, 0 for the first
 *                            and for the first behind damage
 *   20     8  logOffset      where this frame lies: catches misdirected writes
 *   28     8  storedAt       ms since the Unix epoch, leader time, never falling
 *   36     8  confirmOffset  as the leader knew it at append
 *   44     …  payload
 *
 * A frame is valid at a log offset if and only if its size is in range and
 * within the bytes at hand, its crc32 holds, its format is known, its logOffset
 * is that offset, and its prevCrc is the crc32 of the frame before, where that
 * one is known. Frames up to the first one without `continued` are one unit:
 * applied, confirmed and cut only together.
 *
 * Reading never throws: a log that lost power ends in nonsense, and recovery
 * has to look at it calmly.
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import { getU64, setU64 } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";

export const FRAME_HEADER_SIZE = 44;
const FORMAT = 1;

const KiB = 1024;
/** A body of 4 MiB and 64 KiB for all that is said about it. */
export const FRAME_SIZE_MAX = 4 * KiB * KiB + 64 * KiB;
export const UNIT_SIZE_MAX = 16 * KiB * KiB;

export const FLAG_CONTINUED = 1;
export const FLAG_DEFERRED = 2;

export interface FrameHeader {
  readonly kind: number;
  readonly flags: number;
  readonly epoch: number;
  readonly prevCrc: number;
  readonly logOffset: number;
  readonly storedAt: number;
  readonly confirmOffset: number;
}

/** Bytes with a frame at `at`, and perhaps others around it. */
export interface FrameSource {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly at: number;
}

/** A frame that is valid, read where it lies; true for as long as its bytes are left alone. */
export class Frame implements FrameHeader {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly at: number;

  constructor(source: { readonly bytes: Uint8Array; readonly view: DataView }, at: number) {
    this.bytes = source.bytes;
    this.view = source.view;
    this.at = at;
  }

  get size(): number {
    return this.view.getUint32(this.at);
  }

  get crc(): number {
    return this.view.getUint32(this.at + 4);
  }

  get kind(): number {
    return this.view.getUint8(this.at + 9);
  }

  get flags(): number {
    return this.view.getUint16(this.at + 10);
  }

  get epoch(): number {
    return this.view.getUint32(this.at + 12);
  }

  get prevCrc(): number {
    return this.view.getUint32(this.at + 16);
  }

  get logOffset(): number {
    return getU64(this.view, this.at + 20);
  }

  get storedAt(): number {
    return getU64(this.view, this.at + 28);
  }

  get confirmOffset(): number {
    return getU64(this.view, this.at + 36);
  }

  get payloadAt(): number {
    return this.at + FRAME_HEADER_SIZE;
  }

  /** A view. */
  get payload(): Uint8Array {
    return this.bytes.subarray(this.payloadAt, this.at + this.size);
  }
}

/**
 * Seals the frame whose payload already lies behind its header.
 *
 * @returns its crc32, the `prevCrc` of the next frame.
 */
export function sealFrame(
  target: FrameSource,
  frame: FrameHeader & { readonly size: number; readonly crc32: Crc32 },
): number {
  const { bytes, view, at } = target;
  assert(frame.size >= FRAME_HEADER_SIZE && frame.size <= FRAME_SIZE_MAX, "a frame has its size");
  view.setUint32(at, frame.size);
  view.setUint8(at + 8, FORMAT);
  view.setUint8(at + 9, frame.kind);
  view.setUint16(at + 10, frame.flags);
  view.setUint32(at + 12, frame.epoch);
  view.setUint32(at + 16, frame.prevCrc);
  setU64(view, at + 20, frame.logOffset);
  setU64(view, at + 28, frame.storedAt);
  setU64(view, at + 36, frame.confirmOffset);
  const crc = frame.crc32(bytes.subarray(at + 8, at + frame.size)); // last: it covers the rest
  view.setUint32(at + 4, crc);
  return crc;
}

export type FrameRead =
  | { readonly kind: "frame"; readonly frame: Frame }
  /** The bytes end before the frame does: `need` bytes from its start are wanted. */
  | { readonly kind: "short"; readonly need: number }
  /** The frame is whole and of a build to come. */
  | { readonly kind: "unknown-format"; readonly format: number }
  | { readonly kind: "bad"; readonly reason: string };

export interface FrameExpectation {
  readonly logOffset: number;
  /** Undefined where the frame before is not known. */
  readonly prevCrc: number | undefined;
  readonly crc32: Crc32;
}

/** Reads the frame at position `at` of `bytes`. */
export function readFrame(source: FrameSource, expected: FrameExpectation): FrameRead {
  const { bytes, view, at } = source;
  const available = bytes.length - at;
  if (available < FRAME_HEADER_SIZE) return { kind: "short", need: FRAME_HEADER_SIZE };
  const size = view.getUint32(at);
  if (size < FRAME_HEADER_SIZE || size > FRAME_SIZE_MAX) return bad(`size is ${size}`);
  if (getU64(view, at + 20) !== expected.logOffset) return bad("logOffset is another");
  if (available < size) return { kind: "short", need: size };
  const crc = view.getUint32(at + 4);
  if (expected.crc32(bytes.subarray(at + 8, at + size)) !== crc) return bad("crc32 differs");
  const format = view.getUint8(at + 8);
  if (format !== FORMAT) return { kind: "unknown-format", format };
  const prevCrc = view.getUint32(at + 16);
  if (expected.prevCrc !== undefined && prevCrc !== expected.prevCrc) {
    return bad("prevCrc is not of the frame before");
  }
  return { kind: "frame", frame: new Frame(source, at) };
}

function bad(reason: string): FrameRead {
  return { kind: "bad", reason };
}
