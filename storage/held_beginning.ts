/**
 * The beginning of this log, for a node whose own does not reach it: what to know of
 * before the first frame, and the files that are all there is of what is gone.
 *
 *   gone ┊ segment │ segment │ …        frames are fetched as ever
 *   run ─────┘ run │                    idempotency keys of what is gone: given away
 *
 * Of all that is derived only those keys cannot be derived again from what is left;
 * queues, indexes, timers and the state of whoever appends can (ADR "How the log
 * loses its beginning"). Runs are held: merged away meanwhile, they are still read.
 *
 * A run that is damaged is given as it is, bad spots as zeros. Its blocks carry
 * checksums, so whoever gets it knows as much as this node, and refuses the same keys.
 *
 * @module
 */

import type { Crc32 } from "./base/checksum.ts";
import { type Disk, type DiskFile, readRange } from "./base/disk.ts";
import { TidegateError } from "./base/errors.ts";
import { salvaging } from "./base/salvage.ts";
import type { Beginning } from "./beginning.ts";
import type { CommitLog } from "./commit_log.ts";
import { runPath, type RunRange } from "./dedupe_run.ts";
import type { RunFile } from "./dedupe_run_file.ts";

/** A file of a beginning. */
export interface KeysFile extends RunRange {
  readonly size: number;
}

/** Some bytes of one. */
export interface KeysPiece {
  readonly bytes: Uint8Array;
  readonly crc: number;
}

/** A beginning, for as long as somebody needs it. */
export type LentBeginning = Pick<HeldBeginning, "beginning" | "files" | "read" | "release">;

/** What is asked of the store. */
interface Holder {
  readonly log: CommitLog;
  readonly dedupe: { readonly runs: readonly RunFile[]; readonly lost: readonly RunRange[] };
}

interface Ports {
  readonly disk: Disk;
  readonly crc32: Crc32;
}

interface Source extends KeysFile {
  read(at: number, size: number): Promise<Uint8Array>;
  release(): Promise<void>;
}

export class HeldBeginning {
  readonly beginning: Beginning;
  readonly #sources: readonly Source[];
  readonly #crc32: Crc32;
  #released = false;

  private constructor(beginning: Beginning, sources: readonly Source[], crc32: Crc32) {
    this.beginning = beginning;
    this.#sources = sources;
    this.#crc32 = crc32;
  }

  /**
   * Of a log that holds all that was ever confirmed.
   *
   * @throws rejects: `data-damaged` when nothing tells of the frame before the first.
   */
  static async of({ log, dedupe }: Holder, { disk, crc32 }: Ports): Promise<HeldBeginning> {
    // What describes the beginning was confirmed before that went, so it is here.
    const { start, end: describedTo } = log;
    const runs = dedupe.runs.filter(({ header }) => header.from < start);
    for (const run of runs) run.hold(); // in the turn in which the start was looked at
    const lost = dedupe.lost.filter(({ from }) => from < start);
    const sources: Source[] = runs.map(sourceOf);
    try {
      for (const range of lost) sources.push(await sourceAt(disk, range));
      const epoch = log.tail.epochs.starts.findLast(({ from }) => from < start);
      const storedAt = log.segmentAt(start)?.firstStoredAt ?? 0;
      const beginning = { start, prevCrc: await crcBefore(log, start), storedAt, epoch };
      return new HeldBeginning({ ...beginning, describedTo }, sources, crc32);
    } catch (error) {
      for (const source of sources) await source.release();
      throw error;
    }
  }

  get files(): readonly KeysFile[] {
    return this.#sources.map(({ from, to, size }) => ({ from, to, size }));
  }

  /** @throws rejects: `invalid-request` when no such bytes are held. */
  async read(
    file: number,
    place: { readonly at: number; readonly size: number },
  ): Promise<KeysPiece> {
    const source = this.#released ? undefined : this.#sources[file];
    const size = Math.min(place.size, (source?.size ?? 0) - place.at);
    if (!source || !(place.at >= 0) || !(size > 0)) {
      throw new TidegateError("invalid-request", "Cannot read that of the log's beginning");
    }
    const bytes = await source.read(place.at, size);
    return { bytes, crc: this.#crc32(bytes) };
  }

  async release(): Promise<void> {
    if (this.#released) return;
    this.#released = true;
    for (const source of this.#sources) await source.release();
  }
}

function sourceOf(run: RunFile): Source {
  const { from, to } = run.header;
  return {
    from,
    to,
    size: run.byteSize,
    read: (at, size) => run.bytes(at, size),
    release: () => run.release(),
  };
}

async function sourceAt(disk: Disk, { from, to }: RunRange): Promise<Source> {
  const file: DiskFile = salvaging(await disk.open(runPath({ from, to }), { create: false }));
  const size = await file.size();
  const read = (at: number, wanted: number) => readRange(file, at, wanted);
  return { from, to, size, read, release: () => file.close() };
}

/** As the first segment says, or its first frame; of a log without any, what it ended with. */
async function crcBefore(log: CommitLog, start: number): Promise<number> {
  if (log.end === start) return log.tail.lastCrc;
  const known = log.segmentAt(start)?.prevCrc ?? (await log.readAt(start))?.prevCrc;
  if (known !== undefined) return known;
  const detail = `Cannot tell how the log begins: the frame at ${start} is damaged`;
  throw new TidegateError("data-damaged", detail, { at: start });
}
