/**
 * `tidegate check --repair --to <dir>`: a copy of a damaged data directory that
 * a node can open. The original is read and never written.
 *
 *   log         every frame that is whole and known, where it lay; zeros in place
 *               of what is not, so that nothing is renumbered; headers written anew
 *   log/start   where the log starts, as the original has it
 *   checkpoint  how far the copy reaches
 *   the rest    left out: it is derived, and built again by the first start
 *
 * A unit whose end is lost at the end of the log goes as a whole. What the copy
 * does not have is what `check` lists of the original; a node on the copy goes on
 * telling those ranges in `/readyz`, for their messages are gone for good.
 *
 * @module
 */

import { crc32 } from "../../storage/base/checksum_node.ts";
import { type Disk, type DiskFile, readRange } from "../../storage/base/disk.ts";
import { salvaging } from "../../storage/base/salvage.ts";
import { CheckpointFile } from "../../storage/checkpoint.ts";
import { laterBuild, refuseLaterFormats } from "../../storage/format.ts";
import type { Frame } from "../../storage/frame.ts";
import { readLogStart, writeLogStart } from "../../storage/log_start.ts";
import { kindName, KINDS } from "../../storage/records/mod.ts";
import { recoverSegment } from "../../storage/recovery.ts";
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  LOG_DIR,
  SEGMENT_HEADER_SIZE,
  segmentBases,
  segmentPath,
} from "../../storage/segment.ts";

/** Of frames held before they are written to the copy. */
const BATCH_SIZE = 4 * 1024 * 1024;

export interface Repaired {
  readonly segments: number;
  readonly frames: number;
  /** Where the log of the copy ends. */
  readonly end: number;
}

/**
 * @param about.durableEnd how far the original was known to be synced.
 * @throws `not-implemented` when a later build wrote there: what it wrote is not
 * damage.
 */
export async function repairInto(
  from: Disk,
  to: Disk,
  { durableEnd }: { readonly durableEnd: number },
): Promise<Repaired> {
  await refuseLaterFormats(from, crc32);
  await to.makeDir(LOG_DIR);
  const start = await readLogStart(from, crc32);
  if (start > 0) await writeLogStart(to, { start }, crc32);
  const bases = segmentBases(await from.list(LOG_DIR)).filter((base) => base >= start);
  const total = { segments: 0, frames: 0, end: 0, epoch: 0 };
  for (const [i, base] of bases.entries()) {
    const copy = new SegmentCopy(from, to, { base, sealedEnd: bases[i + 1], durableEnd });
    if (!(await copy.run())) continue;
    total.segments++;
    total.frames += copy.frames;
    total.end = copy.end;
    total.epoch = Math.max(total.epoch, copy.epoch);
  }
  await to.syncDir(LOG_DIR);
  const checkpoint = await CheckpointFile.open(to, crc32);
  const place = { durableEnd: total.end, confirmOffset: total.end, epoch: total.epoch };
  await checkpoint.write(place);
  await checkpoint.close();
  const { segments, frames, end } = total;
  return { segments, frames, end };
}

class SegmentCopy {
  frames = 0;
  end = 0;
  epoch = 0;
  readonly #from: Disk;
  readonly #to: Disk;
  readonly #base: number;
  readonly #sealedEnd: number | undefined;
  readonly #durableEnd: number;
  #firstStoredAt: number | undefined;
  #firstPrevCrc = 0;

  constructor(
    from: Disk,
    to: Disk,
    segment: { base: number; sealedEnd: number | undefined; durableEnd: number },
  ) {
    this.#from = from;
    this.#to = to;
    this.#base = segment.base;
    this.#sealedEnd = segment.sealedEnd;
    this.#durableEnd = segment.durableEnd;
  }

  /** False: it was never begun. */
  async run(): Promise<boolean> {
    const source = salvaging(await this.#from.open(segmentPath(this.#base), { create: false }));
    try {
      const places = await this.#survey(source);
      if (this.end === this.#base && this.#sealedEnd === undefined) return false;
      await this.#write(source, places);
      return true;
    } finally {
      await source.close();
    }
  }

  /** Where the frames lie that the copy gets, neighbours joined. */
  async #survey(source: DiskFile): Promise<{ from: number; to: number }[]> {
    const header = decodeSegmentHeader(await readRange(source, 0, SEGMENT_HEADER_SIZE), crc32);
    const prevCrc = header?.base === this.#base ? header.prevCrc : undefined;
    const places: { from: number; to: number }[] = [];
    const recovered = await recoverSegment(
      {
        file: source,
        base: this.#base,
        sealedEnd: this.#sealedEnd,
        prevCrc,
        durableEnd: this.#durableEnd,
      },
      { crc32, visit: (frame) => this.#take(frame, places) },
    );
    this.end = recovered.end;
    return places;
  }

  #take(frame: Frame, places: { from: number; to: number }[]): void {
    if (!this.#decodes(frame)) return;
    this.frames++;
    this.epoch = Math.max(this.epoch, frame.epoch);
    this.#firstStoredAt ??= frame.storedAt;
    if (frame.logOffset === this.#base) this.#firstPrevCrc = frame.prevCrc;
    const last = places.at(-1);
    if (last?.to === frame.logOffset) last.to += frame.size;
    else places.push({ from: frame.logOffset, to: frame.logOffset + frame.size });
  }

  async #write(source: DiskFile, places: readonly { from: number; to: number }[]): Promise<void> {
    const file = await this.#to.open(segmentPath(this.#base), { create: true });
    try {
      const firstStoredAt = this.#firstStoredAt ?? 0;
      const header = { base: this.#base, firstStoredAt, prevCrc: this.#firstPrevCrc };
      await file.truncate(this.#position(this.end));
      file.write(encodeSegmentHeader(header, crc32), 0);
      for (const { from, to } of places) {
        for (let at = from; at < to; at += BATCH_SIZE) {
          const position = this.#position(at);
          file.write(await readRange(source, position, Math.min(BATCH_SIZE, to - at)), position);
        }
      }
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** One that does not would halt every start. @throws when its kind is of a later build. */
  #decodes({ kind, logOffset, payload }: Frame): boolean {
    const name = kindName(kind);
    if (name) return KINDS[name].decode(payload) !== undefined;
    const what = `a record of kind ${kind} at ${logOffset} that this build does not know`;
    throw laterBuild(segmentPath(this.#base), what);
  }

  #position(logOffset: number): number {
    return SEGMENT_HEADER_SIZE + logOffset - this.#base;
  }
}
