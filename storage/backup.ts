/**
 * Copying a log, also while a node writes it.
 *
 * The log is all that has to be copied: everything else is derived from it. Bytes
 * below the durableEnd of a checkpoint never change, so they are copied as they
 * lie, with no word to whoever writes behind them:
 *
 *   source   segment │ segment │ segment ······ durableEnd ··· still being written
 *   target   segment │ segment │ segment ······ end
 *
 * It begins where the source does (log_start.ts). What was there before is described
 * behind, before it goes, so the start is read first, and then the end: a start that
 * is younger than the end would need what was not copied. In a backup of before, it
 * moves once what was added counts.
 *
 * A backup is a data directory of segments and a checkpoint, and its checkpoint is
 * what counts: it is written last, so a copy that was broken off leaves the backup
 * of before, with bytes behind its end that nobody looks at. A copy into it goes
 * on from that end, if the source is the same log there.
 *
 * What was copied is read back and verified, every frame's checksum and the chain
 * from frame to frame. Damage is copied too, and told: it may be mended from
 * elsewhere, and the rest is wanted all the more.
 *
 * @module
 */

import type { Crc32 } from "./base/checksum.ts";
import { type Disk, type DiskFile, readRange } from "./base/disk.ts";
import { type Checkpoint, CheckpointFile, decodeCheckpoints } from "./checkpoint.ts";
import { readLogStart, removeBefore, writeLogStart } from "./log_start.ts";
import { type DamagedRange, recoverSegment } from "./recovery.ts";
import {
  decodeSegmentHeader,
  LOG_DIR,
  SEGMENT_HEADER_SIZE,
  segmentBases,
  segmentPath,
} from "./segment.ts";

export interface CopyPorts {
  readonly source: Disk;
  readonly target: Disk;
  readonly crc32: Crc32;
}

export interface CopyWish {
  /** Where the source's log started before `end` was chosen: what it needs of before lies below `end`. */
  readonly start: number;
  /** So far the target has the log already; 0 for a new one. */
  readonly from: number;
  /** The end of a unit, at or below the source's durableEnd. */
  readonly end: number;
  readonly epoch: number;
  /** Of the target, for segments. */
  readonly dir: string;
}

export interface Copied {
  readonly segments: number;
  readonly bytes: number;
  readonly damaged: readonly DamagedRange[];
}

/** What the log in a directory is known to be synced up to; all zero where there is none. */
export async function readCheckpoint(disk: Disk, crc32: Crc32): Promise<Checkpoint> {
  const names = await disk.list("");
  if (!names.includes("checkpoint")) return decodeCheckpoints(new Uint8Array(0), crc32);
  return withFile(disk, { path: "checkpoint" }, async (file) =>
    decodeCheckpoints(await readRange(file, 0, await file.size()), crc32),
  );
}

/** Behind the last whole unit that lies in the log now, synced or not. */
export async function writtenEnd(
  disk: Disk,
  { crc32, durableEnd }: { readonly crc32: Crc32; readonly durableEnd: number },
): Promise<number> {
  const base = segmentBases(await disk.list(LOG_DIR)).at(-1);
  if (base === undefined) return 0;
  return withFile(disk, { path: segmentPath(base) }, async (file) => {
    const header = await headerOf(file, crc32);
    const prevCrc = header?.prevCrc;
    const segment = { file, base, prevCrc, sealedEnd: undefined, durableEnd };
    return (await recoverSegment(segment, { crc32, visit() {} })).end;
  });
}

/**
 * Whether the target holds the source's log up to `end`: the segment there begins
 * alike, and its last bytes are the same. The chain of what is copied proves the rest.
 */
export async function continues(
  { source, target, crc32 }: CopyPorts,
  end: number,
): Promise<boolean> {
  const base = segmentBases(await target.list(LOG_DIR)).findLast((one) => one < end);
  if (base === undefined) return false;
  if (!segmentBases(await source.list(LOG_DIR)).includes(base)) return false;
  const [mine, theirs] = await Promise.all(
    [target, source].map((disk) =>
      withFile(disk, { path: segmentPath(base) }, (file) => marksOf(file, { base, end, crc32 })),
    ),
  );
  return mine === theirs;
}

const SAMPLE_SIZE = 64 * 1024;

async function marksOf(
  file: DiskFile,
  { base, end, crc32 }: { readonly base: number; readonly end: number; readonly crc32: Crc32 },
): Promise<string> {
  const size = Math.min(SAMPLE_SIZE, end - base);
  const head = await readRange(file, 0, SEGMENT_HEADER_SIZE);
  const last = await readRange(file, SEGMENT_HEADER_SIZE + end - base - size, size);
  return `${crc32(head)} ${last.length} ${crc32(last)}`;
}

/**
 * Copies what lies between, verifies it, and makes it count.
 *
 * @throws what a disk says; also where the source's start moved on, and files went before
 * they were copied: then there is a later start, and a later end, to copy.
 */
export async function copyLog(ports: CopyPorts, wish: CopyWish): Promise<Copied> {
  const { source, target, crc32 } = ports;
  const { start, from, end, dir } = wish;
  await target.makeDir(dir);
  const known = segmentBases(await source.list(LOG_DIR));
  const bases = known.filter((base) => start <= base && base < end);
  const copy = new LogCopy(ports, wish);
  for (const [index, base] of bases.entries()) {
    const segmentEnd = Math.min(bases[index + 1] ?? end, end);
    if (segmentEnd > from) await copy.segment(base, segmentEnd);
  }
  await target.syncDir(dir);
  const moved = start !== (await readLogStart(target, crc32));
  if (moved && from === 0) await writeLogStart(target, { start, dir }, crc32);
  const checkpoint = await CheckpointFile.open(target, crc32);
  try {
    await checkpoint.write({ durableEnd: end, confirmOffset: end, epoch: wish.epoch });
  } finally {
    await checkpoint.close();
  }
  if (moved && from > 0) {
    await writeLogStart(target, { start, dir }, crc32);
    await removeBefore(target, start);
  }
  return copy;
}

class LogCopy implements Copied {
  segments = 0;
  bytes = 0;
  readonly damaged: DamagedRange[] = [];
  readonly #ports: CopyPorts;
  readonly #wish: CopyWish;
  /** Of the last frame before the segment at hand, where it is known. */
  #lastCrc: number | undefined;

  constructor(ports: CopyPorts, wish: CopyWish) {
    this.#ports = ports;
    this.#wish = wish;
  }

  async segment(base: number, end: number): Promise<void> {
    const { source, target } = this.#ports;
    const { from, dir } = this.#wish;
    const path = dir + segmentPath(base).slice(LOG_DIR.length);
    const start = from > base ? SEGMENT_HEADER_SIZE + from - base : 0;
    const size = SEGMENT_HEADER_SIZE + end - base;
    await withFile(source, { path: segmentPath(base) }, (input) =>
      withFile(target, { path, create: true }, async (output) => {
        await output.truncate(start); // what a copy left that was broken off
        await copyBytes(input, output, { from: start, to: size });
        await output.sync();
        await this.#verify(output, { base, end });
      }),
    );
    this.segments++;
    this.bytes += size - start;
  }

  async #verify(file: DiskFile, { base, end }: { base: number; end: number }): Promise<void> {
    const { crc32 } = this.#ports;
    const header = await headerOf(file, crc32);
    const follows = this.#lastCrc === undefined || header?.prevCrc === this.#lastCrc;
    if (header?.base !== base || !follows) this.damaged.push({ from: base, to: base });
    const recovered = await recoverSegment(
      { file, base, prevCrc: header?.prevCrc, sealedEnd: end, durableEnd: end },
      { crc32, visit() {} },
    );
    this.damaged.push(...recovered.damaged);
    this.#lastCrc = recovered.lastCrc;
  }
}

const COPY_SIZE = 1024 * 1024;

async function copyBytes(
  input: DiskFile,
  output: DiskFile,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<void> {
  for (let at = from; at < to; at += COPY_SIZE) {
    output.write(await readRange(input, at, Math.min(COPY_SIZE, to - at)), at);
  }
}

async function headerOf(file: DiskFile, crc32: Crc32) {
  return decodeSegmentHeader(await readRange(file, 0, SEGMENT_HEADER_SIZE), crc32);
}

async function withFile<T>(
  disk: Disk,
  { path, create = false }: { readonly path: string; readonly create?: boolean },
  use: (file: DiskFile) => Promise<T>,
): Promise<T> {
  const file = await disk.open(path, { create });
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}
