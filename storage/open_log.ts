/**
 * Opening the segments of a log: find them, recover those from `walkFrom` on, make
 * what was found durable, and leave the last one ready for appends.
 *
 * @module
 */

import type { Crc32 } from "./base/checksum.ts";
import { type Disk, type DiskFile, readRange } from "./base/disk.ts";
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
  encodeSegmentHeader,
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
    if (!next) await settleTail(segment, { ...options, crc32, end });
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

/** Zeros behind the last unit; what may not be on the disk yet written once more; all of it synced. */
async function settleTail(
  segment: Found,
  options: {
    readonly end: number;
    readonly durableEnd: number;
    readonly segmentBytes: number;
    readonly crc32: Crc32;
  },
): Promise<void> {
  const { file, base, headerDamaged, firstStoredAt, prevCrc = 0 } = segment;
  const { end, durableEnd, segmentBytes, crc32 } = options;
  const position = (logOffset: number) => SEGMENT_HEADER_SIZE + logOffset - base;
  const from = Math.max(base, Math.min(durableEnd, end));
  // After a failed sync the cache may show a header that the disk does not have.
  if (!headerDamaged) file.write(encodeSegmentHeader({ base, firstStoredAt, prevCrc }, crc32), 0);
  await file.truncate(position(end));
  await file.truncate(Math.max(position(end), SEGMENT_HEADER_SIZE + segmentBytes));
  for (let at = from; at < end; at += COPY_SIZE) {
    const young = await readRange(file, position(at), Math.min(COPY_SIZE, end - at));
    file.write(young, position(at));
  }
  await file.sync();
}
