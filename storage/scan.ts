/**
 * Walking the frames of a segment file, in windows, so that memory does not
 * follow the size of the segment.
 *
 * @module
 */

import { viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import type { DiskFile } from "./base/disk.ts";
import { FRAME_HEADER_SIZE, FRAME_SIZE_MAX, type Frame, readFrame } from "./frame.ts";
import { SEGMENT_HEADER_SIZE } from "./segment.ts";

const WINDOW_SIZE = 4 * 1024 * 1024 + 256 * 1024;

export interface ScanRange {
  /** logOffset of the segment's first frame. */
  readonly base: number;
  /** logOffsets to walk: from a frame's start to the end of the file's bytes. */
  readonly from: number;
  readonly to: number;
  readonly crc32: Crc32;
}

export interface ScanStop {
  /** logOffset where the first frame lies that is not valid, or `to`. */
  readonly at: number;
  /** crc32 of the last valid frame, the given one when there was none. */
  readonly lastCrc: number | undefined;
  /** Why the walk ended before `to`. */
  readonly reason?: string;
  /** The frame there is whole, of a format this build does not know. */
  readonly unknownFormat?: number;
}

/** A sliding view of the file: `bytes` begin at logOffset `start`. */
class Window {
  readonly #file: DiskFile;
  readonly #range: ScanRange;
  bytes = new Uint8Array(0);
  view = viewOf(this.bytes);
  start = 0;

  constructor(file: DiskFile, range: ScanRange) {
    this.#file = file;
    this.#range = range;
  }

  /** Makes the bytes from `logOffset` on the window's beginning. */
  async moveTo(logOffset: number): Promise<void> {
    const size = Math.max(0, Math.min(WINDOW_SIZE, this.#range.to - logOffset));
    const bytes = new Uint8Array(size);
    const position = SEGMENT_HEADER_SIZE + logOffset - this.#range.base;
    const got = await this.#file.read(bytes, position);
    this.bytes = bytes.subarray(0, got);
    this.view = viewOf(this.bytes);
    this.start = logOffset;
  }
}

/**
 * Visits every valid frame from `range.from` on, until one is not valid.
 *
 * @param prevCrc of the frame before `range.from`, undefined when not known.
 * @param visit is given frames whose payload is valid only during the call.
 */
export async function scanFrames(
  file: DiskFile,
  range: ScanRange & { readonly prevCrc: number | undefined },
  visit: (frame: Frame) => void,
): Promise<ScanStop> {
  const window = new Window(file, range);
  let at = range.from;
  let lastCrc = range.prevCrc;
  await window.moveTo(at);
  for (;;) {
    if (at >= range.to) return { at, lastCrc };
    const source = { bytes: window.bytes, view: window.view, at: at - window.start };
    const read = readFrame(source, { logOffset: at, prevCrc: lastCrc, crc32: range.crc32 });
    if (read.kind === "frame") {
      visit(read.frame);
      lastCrc = read.frame.crc;
      at += read.frame.size;
    } else if (read.kind === "short" && at + read.need <= range.to && at > window.start) {
      await window.moveTo(at);
    } else if (read.kind === "unknown-format") {
      return { at, lastCrc, unknownFormat: read.format };
    } else {
      const reason = read.kind === "bad" ? read.reason : "the bytes end within the frame";
      return { at, lastCrc, reason };
    }
  }
}

/**
 * Finds the next valid frame at or after `range.from`, wherever it starts: what
 * lies behind damage. The chain cannot be checked across the gap.
 */
export async function findFrame(file: DiskFile, range: ScanRange): Promise<Frame | undefined> {
  const window = new Window(file, range);
  for (let at = range.from; at + FRAME_HEADER_SIZE <= range.to; ) {
    await window.moveTo(at);
    if (window.bytes.length < FRAME_HEADER_SIZE) return undefined;
    const found = findInWindow(window, range);
    if (found === "more") {
      at = Math.max(at + 1, window.start + window.bytes.length - FRAME_SIZE_MAX);
      if (window.start + window.bytes.length >= range.to) return undefined;
      continue;
    }
    return found;
  }
  return undefined;
}

/** A frame that starts in the window, or "more" when none does that lies within it. */
function findInWindow({ bytes, view, start }: Window, range: ScanRange): Frame | "more" {
  const last = bytes.length - FRAME_HEADER_SIZE;
  for (let at = 0; at <= last; at++) {
    // A frame holds its own logOffset: one cheap look rules out nearly every place.
    const lowWord = view.getUint32(at + 24);
    if (lowWord !== (start + at) >>> 0) {
      if (lowWord === 0 && isZeroRun(view, at + 28) && (start + at) >>> 0 < ZERO_RUN_LIMIT) at += 4;
      continue;
    }
    const expected = { logOffset: start + at, prevCrc: undefined, crc32: range.crc32 };
    const read = readFrame({ bytes, view, at }, expected);
    if (read.kind === "frame") return read.frame;
  }
  return "more";
}

/** Skipped places are below this, so that none of them has a logOffset whose low word is zero. */
const ZERO_RUN_LIMIT = 0xffff_fff0;

function isZeroRun(view: DataView, at: number): boolean {
  return view.getUint32(at) === 0;
}
