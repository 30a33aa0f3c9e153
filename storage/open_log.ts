/**
 * Opening the segments of a log: find them, recover those from `walkFrom` on, make
 * what was found durable, and leave the last one ready for appends.
 *
 * @module
 */

import type { Crc32 } from "./base/checksum.ts";
import { type Disk, type DiskFile, readRange, replaceFileBy } from "./base/disk.ts";
import { TidegateError } from "./base/errors.ts";
import { salvaging } from "./base/salvage.ts";
import { SharedFile } from "./base/shared_file.ts";
import type { Recovery, Segment } from "./log_ports.ts";
import type { Epochs } from "./epochs.ts";
import type { Frame } from "./frame.ts";
import { type DamagedRange, recoverSegment } from "./recovery.ts";
import { findFrame } from "./scan.ts";
import { WalkFacts } from "./walk_facts.ts";
import {
  decodeSegmentHeader,
  LOG_DIR,
  SEGMENT_HEADER_SIZE,
  segmentBases,
  segmentPath,
} from "./segment.ts";

export interface OpenedSegments {
  readonly segments: Segment[];
  readonly end: number;
  readonly lastCrc: number;
  readonly lastStoredAt: number;
  readonly recovery: Recovery;
  /** Where the walk began; the log's end where there was nothing to walk. */
  readonly walkedFrom: number;
  /** The greatest one that a walked frame speaks of. */
  readonly confirmOffset: number;
  /** Of the walked frames. */
  readonly epochs: Epochs;
}

interface Found {
  readonly base: number;
  readonly file: DiskFile;
  readonly firstStoredAt: number;
  readonly prevCrc: number | undefined;
  readonly headerDamaged: boolean;
}

export async function openSegments(
  ports: { readonly disk: Disk; readonly crc32: Crc32 },
  options: {
    readonly segmentBytes: number;
    readonly walkFrom: number;
    /** Where the log starts; what lies before was removed. */
    readonly start: number;
    readonly durableEnd: number;
    /** The life before ended because its disk failed. */
    readonly afterFailure: boolean;
    /** Called before damage at the log's end is cut; absent: it is kept. */
    readonly lost?: ((end: number) => Promise<void>) | undefined;
    visit(
      frame: Frame,
      segment: { readonly base: number /** Of the whole walk. */; readonly walkedFrom: number },
    ): void;
  },
): Promise<OpenedSegments> {
  const { disk, crc32 } = ports;
  const { durableEnd } = options;
  const facts = new WalkFacts();
  const found = await findSegments(disk, { crc32, durableEnd });
  if (found.length === 0 && durableEnd > 0) {
    const detail = `Cannot open the log: it reached ${durableEnd}, and no segment is there`;
    throw new TidegateError("data-damaged", detail, { from: 0, to: durableEnd });
  }

  const damaged: DamagedRange[] = [];
  const { start } = options;
  if (found[0] && found[0].base > start) damaged.push({ from: start, to: found[0].base });
  let end = found[0]?.base ?? 0;
  let lastCrc: number | undefined = 0;
  let torn: Recovery["torn"];
  for (const [i, segment] of found.entries()) {
    const next = found[i + 1];
    if (next && next.base <= options.walkFrom) {
      // The snapshot covers it; whether the bytes are there at all is cheap to ask.
      const there = segment.base + (await framesSize(segment.file));
      if (there < next.base) damaged.push({ from: there, to: next.base });
      continue;
    }
    const { base } = segment;
    const walkedFrom = (facts.from ??= base);
    const recovered = await recoverSegment(
      { ...segment, sealedEnd: next?.base, durableEnd, cutsEnd: options.lost !== undefined },
      {
        crc32,
        visit(frame) {
          facts.take(frame);
          options.visit(frame, { base, walkedFrom });
        },
      },
    );
    ({ end, lastCrc, torn } = recovered);
    damaged.push(...recovered.damaged);
    facts.lastStoredAt = Math.max(facts.lastStoredAt, segment.firstStoredAt);
    if (recovered.lost) await options.lost?.(end);
    if (!next)
      found[i] = { ...segment, file: await settleTail(disk, segment, { ...options, end }) };
  }
  const segments = found.map((segment, i) => ({
    ...segment,
    file: salvaging(segment.file), // what is there from now on is synced
    end: found[i + 1]?.base,
  }));
  const damagedHeaders = found.filter((one) => one.headerDamaged).map((one) => one.base);
  const { lastStoredAt, confirmOffset, epochs, from: walkedFrom = end } = facts;
  const recovery = { damaged, torn, damagedHeaders, frames: facts.frames };
  const told = { walkedFrom, confirmOffset, epochs };
  return { segments, end, lastCrc: lastCrc ?? 0, lastStoredAt, recovery, ...told };
}

async function findSegments(
  disk: Disk,
  options: { readonly crc32: Crc32; readonly durableEnd: number },
): Promise<Found[]> {
  const bases = segmentBases(await disk.list(LOG_DIR));
  const found: Found[] = [];
  for (const [i, base] of bases.entries()) {
    const last = i === bases.length - 1;
    const below = last ? SEGMENT_HEADER_SIZE + options.durableEnd - base : Infinity;
    const shared = new SharedFile(await disk.open(segmentPath(base), { create: false }));
    const file = salvaging(shared, { below });
    const header = decodeSegmentHeader(
      await readRange(file, 0, SEGMENT_HEADER_SIZE),
      options.crc32,
    );
    if (!header && last && (await isUnborn({ file, base }, options))) {
      await file.close();
      await disk.remove(segmentPath(base));
      continue;
    }
    // A damaged header is a name the file still has; its frames carry their own offsets.
    const whole = header?.base === base ? header : undefined;
    const { firstStoredAt = 0, prevCrc } = whole ?? {};
    found.push({ base, file, firstStoredAt, prevCrc, headerDamaged: !whole });
  }
  await disk.syncDir(LOG_DIR); // a process may have been killed before it did
  return found;
}

/** The power went between the file's name and its header, which comes before any frame. */
async function isUnborn(
  { file, base }: { readonly file: DiskFile; readonly base: number },
  { crc32, durableEnd }: { readonly crc32: Crc32; readonly durableEnd: number },
): Promise<boolean> {
  const to = base + (await framesSize(file));
  return base >= durableEnd && !(await findFrame(file, { base, from: base, to, crc32 }));
}

async function framesSize(file: DiskFile): Promise<number> {
  return Math.max(0, (await file.size()) - SEGMENT_HEADER_SIZE);
}

const COPY_SIZE = 1024 * 1024;

interface Tail {
  readonly end: number;
  readonly durableEnd: number;
  readonly segmentBytes: number;
  readonly afterFailure: boolean;
}

/**
 * The last segment as it goes on: zeros behind the last unit, what may not be on the disk
 * yet written once more, all of it synced.
 *
 * Where it lies, or, after a failure, in a new file that takes its place: there a sync
 * would say yes to what is gone after the next mount (docs/adr/0003-rewrite-above-the-checkpoint.md).
 */
async function settleTail(disk: Disk, segment: Found, tail: Tail): Promise<DiskFile> {
  const { file, base } = segment;
  const path = segmentPath(base);
  const end = positionIn(base, tail.end);
  if (tail.afterFailure) {
    await replaceFileBy(disk, path, async (anew) => {
      await copy(file, { to: anew, from: 0, end });
      await resize(anew, { end, segmentBytes: tail.segmentBytes });
    });
    await file.close();
    return new SharedFile(await disk.open(path, { create: false }));
  }
  await resize(file, { end, segmentBytes: tail.segmentBytes });
  await copy(file, { to: file, from: 0, end: SEGMENT_HEADER_SIZE });
  const from = positionIn(base, Math.max(base, Math.min(tail.durableEnd, tail.end)));
  await copy(file, { to: file, from, end });
  await file.sync();
  return file;
}

function positionIn(base: number, logOffset: number): number {
  return SEGMENT_HEADER_SIZE + logOffset - base;
}

async function resize(
  file: DiskFile,
  { end, segmentBytes }: { readonly end: number; readonly segmentBytes: number },
): Promise<void> {
  await file.truncate(end);
  await file.truncate(Math.max(end, SEGMENT_HEADER_SIZE + segmentBytes));
}

/** The bytes of `file` from `from` to `end`, to the same place. */
async function copy(
  file: DiskFile,
  { to, from, end }: { readonly to: DiskFile; readonly from: number; readonly end: number },
): Promise<void> {
  for (let at = from; at < end; at += COPY_SIZE) {
    to.write(await readRange(file, at, Math.min(COPY_SIZE, end - at)), at);
  }
}
