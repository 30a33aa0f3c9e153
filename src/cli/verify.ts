/**
 * Verifies a data directory that no node has open: every byte of the log is
 * read and judged by the rules a start goes by (`storage/recovery.ts`), and
 * nothing is changed.
 *
 * Damage is only what cannot be made again: bytes of the log that had been
 * synced. A torn tail is what a power cut leaves, and the next start cuts it;
 * indexes and snapshots are derived, so damage to them costs time, never data.
 *
 * @module
 */

import { crc32 } from "../../storage/base/checksum_node.ts";
import { type Disk, type DiskFile, readRange } from "../../storage/base/disk.ts";
import { salvaging } from "../../storage/base/salvage.ts";
import { CHECKPOINT_PATH, decodeCheckpoints } from "../../storage/checkpoint.ts";
import { refuseLaterFormats } from "../../storage/format.ts";
import { readLogStart } from "../../storage/log_start.ts";
import { describePayload, kindName } from "../../storage/records/mod.ts";
import { type DamagedRange, recoverSegment } from "../../storage/recovery.ts";
import {
  decodeSegmentHeader,
  LOG_DIR,
  SEGMENT_HEADER_SIZE,
  segmentBases,
  segmentPath,
} from "../../storage/segment.ts";
import { findFrame } from "../../storage/scan.ts";
import { SidecarFile } from "../../storage/sidecar_file.ts";
import {
  decodeSnapshot,
  SNAPSHOT_DIR,
  snapshotOffsets,
  snapshotPath,
} from "../../storage/snapshot.ts";
import { TimerFile } from "../../storage/timer_file.ts";
import { TIMER_DIR, timerRanges } from "../../storage/timer_layout.ts";

export interface Findings {
  readonly segments: number;
  readonly frames: number;
  /** Behind the last whole unit. */
  readonly end: number;
  readonly durableEnd: number;
  /** logOffsets whose bytes are not what was written. */
  readonly damaged: readonly (DamagedRange & { readonly reason: string })[];
  /** What the next start mends by itself. */
  readonly notes: readonly string[];
}

/** @throws what the disk says. */
export async function verifyDataDir(disk: Disk): Promise<Findings> {
  await refuseLaterFormats(disk, crc32);
  const notes: string[] = [];
  const newestSnapshot = await verifySnapshots(disk, notes);
  const durableEnd = Math.max(await checkpointedEnd(disk), newestSnapshot);
  const start = await readLogStart(disk, crc32);
  const all = segmentBases(await disk.list(LOG_DIR));
  const bases = all.filter((base) => base >= start);
  if (bases.length < all.length) {
    notes.push(`${all.length - bases.length} segments before ${start} are not needed any more`);
  }
  const log = new LogVerifier(disk, { durableEnd, notes });
  for (const [index, base] of bases.entries()) {
    await log.verify(base, bases[index + 1]);
  }
  const [first = start] = bases;
  if (first > start) log.lostBefore({ from: start, to: first });
  if (log.end < durableEnd) log.lost(durableEnd);
  await verifyTimers(disk, { start, notes });
  const { frames, end, damaged } = log;
  return { segments: bases.length, frames, end, durableEnd, damaged, notes };
}

class LogVerifier {
  frames = 0;
  end = 0;
  readonly damaged: (DamagedRange & { reason: string })[] = [];
  readonly #disk: Disk;
  readonly #durableEnd: number;
  readonly #notes: string[];
  /** Of the last frame before the segment at hand, where it is known. */
  #lastCrc: number | undefined;

  constructor(disk: Disk, { durableEnd, notes }: { durableEnd: number; notes: string[] }) {
    this.#disk = disk;
    this.#durableEnd = durableEnd;
    this.#notes = notes;
  }

  async verify(base: number, sealedEnd: number | undefined): Promise<void> {
    const file = salvaging(await this.#disk.open(segmentPath(base), { create: false }));
    try {
      await this.#verifyFrames(file, { base, sealedEnd });
    } finally {
      await file.close();
    }
    if (sealedEnd !== undefined) await this.#verifySidecar({ base, end: sealedEnd });
  }

  /** Segments are missing where the log should start. */
  lostBefore(range: DamagedRange): void {
    this.damaged.unshift({ ...range, reason: "the log starts later" });
  }

  /** The log ends before a place that had been synced. */
  lost(durableEnd: number): void {
    this.damaged.push({ from: this.end, to: durableEnd, reason: "the log ends here" });
  }

  async #verifyFrames(
    file: DiskFile,
    { base, sealedEnd }: { base: number; sealedEnd: number | undefined },
  ): Promise<void> {
    const header = decodeSegmentHeader(await readRange(file, 0, SEGMENT_HEADER_SIZE), crc32);
    if (header?.base !== base) {
      if (sealedEnd === undefined && (await this.#isUnborn(file, base))) return;
      const reason = "the segment's header is damaged; its frames are read without it";
      this.damaged.push({ from: base, to: base, reason });
    } else if (this.#lastCrc !== undefined && header.prevCrc !== this.#lastCrc) {
      const reason = "the segment does not follow on the one before";
      this.damaged.push({ from: base, to: base, reason });
    }
    const recovered = await recoverSegment(
      { file, base, sealedEnd, prevCrc: header?.prevCrc, durableEnd: this.#durableEnd },
      { crc32, visit: (frame) => this.#look(frame) },
    );
    this.end = recovered.end;
    this.#lastCrc = recovered.lastCrc;
    for (const range of recovered.damaged) {
      this.damaged.push({ ...range, reason: "the bytes are not what was written" });
    }
    if (recovered.torn) {
      const { at, reason } = recovered.torn;
      this.#notes.push(`the tail is torn at ${at} (${reason}); the next start cuts it`);
    }
  }

  /** The power went between the file's name and its header: nothing was promised in it. */
  async #isUnborn(file: DiskFile, base: number): Promise<boolean> {
    const to = base + Math.max(0, (await file.size()) - SEGMENT_HEADER_SIZE);
    if (base < this.#durableEnd || (await findFrame(file, { base, from: base, to, crc32 }))) {
      return false;
    }
    this.#notes.push(`the segment at ${base} was never begun; the next start removes it`);
    return true;
  }

  #look(frame: { logOffset: number; size: number; kind: number; payload: Uint8Array }): void {
    this.frames++;
    const { logOffset, size, kind, payload } = frame;
    const known = kindName(kind) !== undefined;
    const reason = known ? "its payload does not decode" : `kind ${kind} is of a later build`;
    if (known && describePayload(kind, payload) !== "payload does not decode") return;
    this.damaged.push({ from: logOffset, to: logOffset + size, reason });
  }

  async #verifySidecar(segment: { base: number; end: number }): Promise<void> {
    const sidecar = await SidecarFile.open(this.#disk, segment, crc32);
    if (sidecar && (await sidecar.isWhole())) return sidecar.close();
    await sidecar?.close();
    this.#notes.push(`the index of the segment at ${segment.base} is not whole; it is built again`);
  }
}

async function verifyTimers(
  disk: Disk,
  { start, notes }: { readonly start: number; readonly notes: string[] },
): Promise<void> {
  for (const range of timerRanges(await disk.list(TIMER_DIR))) {
    if (range.to <= start) continue;
    const file = await TimerFile.open(disk, range, crc32);
    const whole = file !== undefined && (await file.isWhole());
    await file?.retire();
    const { from, to } = range;
    if (!whole) notes.push(`the timers from ${from} to ${to} are not whole; they are built again`);
  }
}

async function checkpointedEnd(disk: Disk): Promise<number> {
  const bytes = await readWhole(disk, CHECKPOINT_PATH);
  return bytes ? decodeCheckpoints(bytes, crc32).durableEnd : 0;
}

/** @returns how far the newest whole snapshot reaches. */
async function verifySnapshots(disk: Disk, notes: string[]): Promise<number> {
  let newest = 0;
  for (const logOffset of snapshotOffsets(await disk.list(SNAPSHOT_DIR))) {
    const bytes = await readWhole(disk, snapshotPath(logOffset));
    const snapshot = bytes && decodeSnapshot(bytes, crc32);
    if (snapshot) newest = Math.max(newest, snapshot.logOffset);
    else notes.push(`the snapshot at ${logOffset} is damaged; a start takes longer without it`);
  }
  return newest;
}

async function readWhole(disk: Disk, path: string): Promise<Uint8Array | undefined> {
  let file: DiskFile;
  try {
    file = await disk.open(path, { create: false });
  } catch (error) {
    if ((error as { code?: unknown }).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    return await readRange(salvaging(file), 0, await file.size());
  } finally {
    await file.close();
  }
}
