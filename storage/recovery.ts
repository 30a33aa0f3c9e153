/**
 * Recovery: what of the log is there after a stop, however it ended.
 *
 * Segments are walked from where the snapshot begins. At the first frame that is
 * not valid, at p, two things look alike, and this tells them apart:
 *
 *   torn tail   the bytes were never synced, so nobody was promised them (the
 *               pages of a power cut land in any order): cut at p
 *   damage      the bytes had been synced and changed since: the range is kept,
 *               reported and stepped over; nothing is cut or renumbered
 *
 * It is damage if p lies below the durableEnd of the checkpoint (or of the
 * snapshot), or if a segment follows, or if a valid frame behind p carries a
 * confirmOffset beyond p: its leader had seen p confirmed. Otherwise it is a torn
 * tail. A synced last batch that nothing follows and no checkpoint covers yet
 * cannot be told from a torn one; a group of nodes can, one node cannot.
 *
 * A member of a group knows more: the others have what it lost. There, damage that
 * nothing follows is cut as well, for a log whose last frame cannot be read has no
 * place to go on from; but it is told apart, since the node had said it had the bytes.
 *
 * A unit whose end is missing is cut as a whole.
 *
 * What was found above the checkpoint is written and synced once more before it
 * is trusted: after a failed sync the page cache may hold what the disk does not.
 *
 * @module
 */

import type { Crc32 } from "./base/checksum.ts";
import { type DiskFile, readRange } from "./base/disk.ts";
import type { TidegateError } from "./base/errors.ts";
import { FLAG_CONTINUED, type Frame } from "./frame.ts";
import { laterBuild } from "./format.ts";
import { findFrameBehind, scanFrames, type ScanRange, type ScanStop } from "./scan.ts";
import { SEGMENT_HEADER_SIZE, segmentPath } from "./segment.ts";

/** logOffsets `[from, to)` whose bytes are not what was written. */
export interface DamagedRange {
  readonly from: number;
  readonly to: number;
}

export interface SegmentToRecover {
  readonly file: DiskFile;
  readonly base: number;
  /** crc32 of the frame before the segment, undefined when not known. */
  readonly prevCrc: number | undefined;
  /** Where the next segment begins; undefined for the last one. */
  readonly sealedEnd: number | undefined;
  /** Every frame below was synced. */
  readonly durableEnd: number;
  /** Damage that nothing follows is cut. */
  readonly cutsEnd?: boolean | undefined;
  /** Bytes looked at in one go; by default some MiB. */
  readonly windowSize?: number | undefined;
}

export interface RecoveredSegment {
  /** Behind the last whole unit. */
  readonly end: number;
  /** Of the last frame; undefined behind damage, where the chain begins anew. */
  readonly lastCrc: number | undefined;
  readonly damaged: readonly DamagedRange[];
  /** Why and where the tail was cut, when it held more than zeros. */
  readonly torn: { readonly at: number; readonly reason: string } | undefined;
  /** What was cut had been synced. */
  readonly lost?: boolean;
}

/** The decision, apart from how its facts are found. */
export function isDamage(facts: {
  /** Where the bad frame lies. */
  readonly at: number;
  readonly durableEnd: number;
  readonly segmentFollows: boolean;
  /** The greatest confirmOffset of a valid frame behind, if there is one. */
  readonly confirmedBehind: number;
}): boolean {
  return facts.at < facts.durableEnd || facts.segmentFollows || facts.confirmedBehind > facts.at;
}

/**
 * Walks one segment and visits its frames, whole units only, in order; a frame's
 * bytes are some MiB that were read together: keep none.
 */
export async function recoverSegment(
  segment: SegmentToRecover,
  ports: { readonly crc32: Crc32; visit(frame: Frame): void },
): Promise<RecoveredSegment> {
  const { file, base, sealedEnd } = segment;
  const to = sealedEnd ?? base + Math.max(0, (await file.size()) - SEGMENT_HEADER_SIZE);
  const { windowSize } = segment;
  const range = { base, to, crc32: ports.crc32, ...(windowSize && { windowSize }) };
  const units = new Units(ports.visit);
  const damaged: DamagedRange[] = [];
  let from = base;
  let prevCrc = segment.prevCrc;
  let confirmed: number | undefined; // by any frame behind the first bad one
  for (;;) {
    const stop = await scanFrames(file, { ...range, from, prevCrc }, (frame) => units.take(frame));
    if (stop.unknownFormat !== undefined) throw laterFrame(base, stop);
    if (sealedEnd !== undefined && stop.at >= to) {
      units.release();
      return { end: to, lastCrc: stop.lastCrc, damaged, torn: undefined };
    }

    const behind = await findFrameBehind(file, { ...range, from: stop.at });
    if (behind) confirmed ??= await greatestConfirm(file, { ...range, from: behind.logOffset });
    const facts = { at: stop.at, durableEnd: segment.durableEnd, confirmedBehind: confirmed ?? 0 };
    const isDamaged = isDamage({ ...facts, segmentFollows: sealedEnd !== undefined });
    const lost = isDamaged && !behind && sealedEnd === undefined && segment.cutsEnd === true;
    if (!isDamaged || lost) {
      const cut = units.cut() ?? { end: stop.at, lastCrc: stop.lastCrc };
      const torn =
        lost || behind !== undefined || (await hasBytes(file, { base, from: cut.end, to }));
      const reason = stop.reason ?? "the unit has no end";
      return { ...cut, damaged, torn: torn ? { at: cut.end, reason } : undefined, lost };
    }

    units.release();
    const resume = behind?.logOffset ?? sealedEnd ?? segment.durableEnd;
    damaged.push({ from: stop.at, to: resume });
    if (!behind) return { end: resume, lastCrc: undefined, damaged, torn: undefined };
    from = resume;
    prevCrc = undefined;
  }
}

/** Over every valid frame from `range.from` on, with more bad ones between them. */
async function greatestConfirm(file: DiskFile, range: ScanRange): Promise<number> {
  let greatest = 0;
  for (let from: number | undefined = range.from; from !== undefined; ) {
    const stop = await scanFrames(file, { ...range, from, prevCrc: undefined }, (frame) => {
      greatest = Math.max(greatest, frame.confirmOffset);
    });
    from = (await findFrameBehind(file, { ...range, from: stop.at }))?.logOffset;
  }
  return greatest;
}

/** Whether anything but zeros lies in the range: something was cut. */
async function hasBytes(
  file: DiskFile,
  { base, from, to }: { base: number; from: number; to: number },
): Promise<boolean> {
  const size = Math.min(to - from, 64 * 1024);
  const bytes = await readRange(file, SEGMENT_HEADER_SIZE + from - base, Math.max(0, size));
  return bytes.some((byte) => byte !== 0);
}

function laterFrame(base: number, { at, unknownFormat }: ScanStop): TidegateError {
  return laterBuild(segmentPath(base), `${unknownFormat} in the frame at ${at}`);
}

/** Holds the frames of a unit back until its last one is there. */
class Units {
  readonly #visit: (frame: Frame) => void;
  #open: Frame[] = [];

  constructor(visit: (frame: Frame) => void) {
    this.#visit = visit;
  }

  take(frame: Frame): void {
    const continued = (frame.flags & FLAG_CONTINUED) !== 0;
    if (this.#open.length === 0 && !continued) return this.#visit(frame);
    this.#open.push(frame);
    if (!continued) this.release();
  }

  /** Where the log ends without the unit whose end is missing; undefined when none is open. */
  cut(): { end: number; lastCrc: number } | undefined {
    const first = this.#open[0];
    return first && { end: first.logOffset, lastCrc: first.prevCrc };
  }

  /** Visits what is held: the unit is whole, or damage took its end and the rest was promised. */
  release(): void {
    const unit = this.#open;
    this.#open = [];
    for (const frame of unit) this.#visit(frame);
  }
}
