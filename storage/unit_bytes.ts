/**
 * Whole units as bytes: what goes from one node's log to another's.
 *
 * Frames are walked as they lie. Those from disk are verified on the way out, so that
 * damage is never passed on; those in memory were sealed or verified a moment ago.
 *
 * @module
 */

import { concatBytes, viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import type { CommitLog } from "./commit_log.ts";
import { FLAG_CONTINUED, Frame, FRAME_SIZE_MAX, readFrame, UNIT_SIZE_MAX } from "./frame.ts";

export interface UnitBytes {
  /** Perhaps a view of what the log keeps; not to be changed. */
  readonly bytes: Uint8Array;
  readonly to: number;
  /** Of the frame before the first, as the first says. */
  readonly prevCrc: number;
  readonly lastCrc: number;
}

export interface UnitsWish {
  readonly from: number;
  /** A unit's end. */
  readonly until: number;
  /** All of this epoch; undefined: of any. */
  readonly epoch?: number | undefined;
  /** About; one unit at least. */
  readonly maxBytes: number;
}

/** Undefined: they are damaged, or gone, or there are none. */
export function readUnits(
  log: CommitLog,
  wish: UnitsWish,
  crc32: Crc32,
): Promise<UnitBytes | undefined> {
  return wish.from >= log.tail.base
    ? Promise.resolve(unitsAtHand(log, wish))
    : unitsOnDisk(log, wish, crc32);
}

function unitsAtHand({ tail }: CommitLog, wish: UnitsWish): UnitBytes | undefined {
  const { from, until } = wish;
  const walked = new UnitWalk(wish);
  walking: for (const { chunk, from: start, to } of tail.slices(from, until)) {
    for (let at = start; at < to; ) {
      const frame = new Frame(chunk, at);
      if (!walked.take(frame)) break walking;
      at += frame.size;
    }
  }
  const units = walked.units;
  if (!units) return undefined;
  tail.lend(from, units.to);
  const parts = [...tail.slices(from, units.to)].map(({ chunk, from: start, to }) =>
    chunk.bytes.subarray(start, to),
  );
  const [only] = parts;
  return { ...units, bytes: only && parts.length === 1 ? only : concatBytes(parts) };
}

async function unitsOnDisk(
  log: CommitLog,
  wish: UnitsWish,
  crc32: Crc32,
): Promise<UnitBytes | undefined> {
  const { from, until, maxBytes } = wish;
  const there = Math.min(until, log.segmentAt(from)?.end ?? log.writtenEnd) - from;
  for (let size = Math.min(there, maxBytes); size > 0; ) {
    const bytes = await log.readBytes(from, size);
    if (!bytes) return undefined;
    const walked = new UnitWalk(wish);
    const stop = walkFrames(bytes, { from, prevCrc: undefined, crc32 }, (frame) =>
      walked.take(frame),
    );
    const { units } = walked;
    if (units) return { ...units, bytes: bytes.subarray(0, units.to - from) };
    const longer = Math.min(there, UNIT_SIZE_MAX + FRAME_SIZE_MAX, 4 * size);
    if (stop === "bad" || longer === size) return undefined;
    size = longer; // the first unit is a large one
  }
  return undefined;
}

/** How far whole units go that are as they are wished for. */
class UnitWalk {
  readonly #wish: UnitsWish;
  #prevCrc = 0;
  #count = 0;
  units: Omit<UnitBytes, "bytes"> | undefined;

  constructor(wish: UnitsWish) {
    this.#wish = wish;
  }

  /** @returns whether to go on. */
  take({ logOffset, size, flags, epoch, crc, prevCrc }: Frame): boolean {
    const { from, until, epoch: wanted, maxBytes } = this.#wish;
    const to = logOffset + size;
    const tooMuch = to - from > maxBytes && this.units !== undefined;
    if (tooMuch || to > until || (wanted !== undefined && epoch !== wanted)) return false;
    if (this.#count++ === 0) this.#prevCrc = prevCrc;
    if ((flags & FLAG_CONTINUED) === 0) {
      this.units = { to, prevCrc: this.#prevCrc, lastCrc: crc };
    }
    return true;
  }
}

/**
 * Visits frames that lie one behind the other, each verified, until `visit` says no.
 *
 * @returns why it ended: `short`, the bytes end within a frame.
 */
export function walkFrames(
  bytes: Uint8Array,
  at: { readonly from: number; readonly prevCrc: number | undefined; readonly crc32: Crc32 },
  visit: (frame: Frame) => boolean | void,
): "end" | "short" | "bad" | "left" {
  const view = viewOf(bytes);
  let { prevCrc } = at;
  for (let position = 0; position < bytes.length; ) {
    const logOffset = at.from + position;
    const read = readFrame({ bytes, view, at: position }, { logOffset, prevCrc, crc32: at.crc32 });
    if (read.kind === "short") return "short";
    if (read.kind !== "frame") return "bad";
    if (visit(read.frame) === false) return "left";
    prevCrc = read.frame.crc;
    position += read.frame.size;
  }
  return "end";
}

/** Units of one epoch as another node announces them. */
export interface AnnouncedUnits {
  readonly from: number;
  readonly to: number;
  /** Of all frames. */
  readonly frameEpoch: number;
  readonly prevCrc: number;
  readonly lastCrc: number;
  /** Whatever came: a stranger may have sent it. */
  readonly bytes: unknown;
}

/** Whether the frames are what is said of them: places, checksums, chain, epoch, whole units. */
export function areSound(units: AnnouncedUnits, crc32: Crc32): boolean {
  const { from, to, frameEpoch, prevCrc, lastCrc, bytes } = units;
  if (from === to) return true;
  if (!(bytes instanceof Uint8Array) || bytes.length !== to - from) return false;
  let last: Frame | undefined;
  const stop = walkFrames(bytes, { from, prevCrc, crc32 }, (frame) => {
    last = frame;
    return frame.epoch === frameEpoch;
  });
  if (stop !== "end" || !last) return false;
  return last.crc === lastCrc && (last.flags & FLAG_CONTINUED) === 0;
}
