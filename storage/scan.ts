/**
 * Walking the frames of a segment file, in windows, so that memory does not
 * follow the size of the segment.
 *
 * @module
 */

import { getU64, viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import { type DiskFile, readRange } from "./base/disk.ts";
import { Frame, FRAME_HEADER_SIZE, FRAME_SIZE_MAX, readFrame } from "./frame.ts";
import { SEGMENT_HEADER_SIZE } from "./segment.ts";

const WINDOW_SIZE = 4 * 1024 * 1024 + 256 * 1024;

export interface ScanRange {
  /** logOffset of the segment's first frame. */
  readonly base: number;
  /** logOffsets to walk: from a frame's start to the end of the file's bytes. */
  readonly from: number;
  readonly to: number;
  readonly crc32: Crc32;
  /** Bytes looked at in one go; smaller where others must not wait. */
  readonly windowSize?: number;
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
  bytes: Uint8Array = new Uint8Array(0);
  view = viewOf(this.bytes);
  /** The same bytes, to find what is not zero: much faster than through the view. */
  words: Int32Array = new Int32Array(0);
  start = 0;
  /** Bytes asked for: there may have been less. */
  asked = 0;

  constructor(file: DiskFile, range: ScanRange) {
    this.#file = file;
    this.#range = range;
  }

  /** Makes the bytes from `logOffset` on the window's beginning, `least` of them or more. */
  async moveTo(logOffset: number, least = 0): Promise<void> {
    this.asked = Math.max(least, this.#range.windowSize ?? WINDOW_SIZE);
    this.bytes = await this.read(logOffset, this.asked);
    this.view = viewOf(this.bytes);
    this.words = new Int32Array(this.bytes.buffer, 0, this.bytes.length >> 2);
    this.start = logOffset;
  }

  /** So many bytes from there on, or what there is of them. */
  read(logOffset: number, size: number): Promise<Uint8Array> {
    const position = SEGMENT_HEADER_SIZE + logOffset - this.#range.base;
    const there = Math.max(0, Math.min(size, this.#range.to - logOffset));
    return readRange(this.#file, position, there);
  }
}

/**
 * Visits every valid frame from `range.from` on, until one is not valid.
 *
 * @param prevCrc of the frame before `range.from`, undefined when not known.
 * @param visit is given frames that keep some MiB in memory, all that was read with them.
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
    } else if (
      read.kind === "short" &&
      at + read.need <= range.to &&
      canMove(window, { at, ...read })
    ) {
      await window.moveTo(at, read.need);
    } else if (read.kind === "unknown-format") {
      return { at, lastCrc, unknownFormat: read.format };
    } else {
      const reason = read.kind === "bad" ? read.reason : "the bytes end within the frame";
      return { at, lastCrc, reason };
    }
  }
}

/** Whether another window may show the frame at `at` whole. */
function canMove({ start, asked }: Window, { at, need }: { at: number; need: number }): boolean {
  return at > start || asked < need;
}

/**
 * Finds the next valid frame at or after `range.from`, wherever it starts: what
 * lies behind damage. The chain cannot be checked across the gap.
 */
export async function findFrame(file: DiskFile, range: ScanRange): Promise<Frame | undefined> {
  const window = new Window(file, range);
  for (let from = range.from; from + FRAME_HEADER_SIZE <= range.to; ) {
    await window.moveTo(from);
    if (window.bytes.length < FRAME_HEADER_SIZE) return undefined;
    for (let at = nextCandidate(window, 0); at !== undefined; ) {
      const logOffset = window.start + at;
      const expected = { logOffset, prevCrc: undefined, crc32: range.crc32 };
      let read = readFrame({ bytes: window.bytes, view: window.view, at }, expected);
      if (read.kind === "short" && logOffset + read.need <= range.to) {
        const bytes = await window.read(logOffset, read.need); // it may be whole
        read = readFrame({ bytes, view: viewOf(bytes), at: 0 }, expected);
      }
      if (read.kind === "frame") return read.frame;
      at = nextCandidate(window, at + 1);
    }
    from = window.start + window.bytes.length - FRAME_HEADER_SIZE + 1;
  }
  return undefined;
}

/**
 * The next valid frame behind the bad one at `range.from`. Where the bad one
 * still tells its size and the frame there chains to it, that one is taken: what
 * lies within a body was sent by a stranger, and may be made to look like frames.
 */
export async function findFrameBehind(
  file: DiskFile,
  range: ScanRange,
): Promise<Frame | undefined> {
  const { base, from, to, crc32 } = range;
  const read = async (logOffset: number, size: number) => {
    const bytes = await readRange(file, SEGMENT_HEADER_SIZE + logOffset - base, size);
    return { bytes, view: viewOf(bytes), at: 0 };
  };
  const header = await read(from, FRAME_HEADER_SIZE);
  if (header.bytes.length === FRAME_HEADER_SIZE) {
    const { logOffset, size, crc: prevCrc } = new Frame(header, 0);
    const next = from + size;
    if (logOffset === from && size >= FRAME_HEADER_SIZE && size <= FRAME_SIZE_MAX && next < to) {
      const source = await read(next, Math.min(FRAME_SIZE_MAX, to - next));
      const found = readFrame(source, { logOffset: next, prevCrc, crc32 });
      if (found.kind === "frame") return found.frame;
    }
  }
  return findFrame(file, { ...range, from: Math.min(from + 1, to) });
}

/** The next position from `from` on where a frame could start: one that names its own logOffset. */
function nextCandidate(window: Window, from: number): number | undefined {
  const { bytes, view, start } = window;
  const last = bytes.length - FRAME_HEADER_SIZE;
  for (let at = from; at <= last; at++) {
    const low = view.getUint32(at + 24);
    if (low === (start + at) >>> 0 && getU64(view, at + 20) === start + at) return at;
    if (low === 0) at = Math.max(at, lastBeforeData(window, at));
  }
  return undefined;
}

/** Within zeros, the last position where no frame can start: most of a segment that is not full. */
function lastBeforeData(
  { bytes, words, start }: Pick<Window, "bytes" | "words" | "start">,
  at: number,
): number {
  let data = at + 28;
  while (data % 4 !== 0 && bytes[data] === 0) data++;
  if (data % 4 === 0) {
    let word = data / 4;
    while (words[word] === 0) word++;
    data = 4 * word;
  }
  // A logOffset that is a multiple of 2^32 ends in zeros as well: stop before it.
  const wrap = TWO_32 * Math.ceil((start + at + 1) / TWO_32) - start;
  return Math.min(data - 28, wrap - 1);
}

const TWO_32 = 2 ** 32;
