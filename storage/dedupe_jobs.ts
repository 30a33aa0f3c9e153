/**
 * Making dedupe runs off the event loop, and reading them through: of a sealed segment,
 * and of several runs one. Entries out of the window are left out; of a key that is there twice
 * the later one is kept, since it was published after the window of the first.
 *
 * @module
 */

import { viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import { type Disk, type DiskFile, replaceFileBy } from "./base/disk.ts";
import { decodeMessage, messageDedupe } from "./base/message.ts";
import { CONTENT_SIZE } from "./blocks.ts";
import {
  compareKeys,
  COUNT_SIZE,
  DEDUPE_DIR,
  encodeDedupeEntry,
  EntryFields,
  mergedRange,
  runPath,
  type RunRange,
} from "./dedupe_run.ts";
import { RunDamage, RunFile } from "./dedupe_run_file.ts";
import { RunWriter } from "./dedupe_run_writer.ts";
import type { Frame } from "./frame.ts";
import { KINDS } from "./records/mod.ts";
import { walkSegment } from "./walk_segment.ts";

interface JobPorts {
  readonly disk: Disk;
  readonly crc32: Crc32;
}

/** Whether the frame is of a message that was published with an idempotency key. */
export function isKeyed(frame: Frame): boolean {
  return dedupeOf(frame) !== undefined;
}

function dedupeOf(frame: Frame) {
  if (frame.kind !== KINDS.message.id) return undefined;
  return messageDedupe(frame, { at: frame.payloadAt, end: frame.at + frame.size });
}

/** Writes the run of one sealed segment. @param job.expired entries published then or before are left out. */
export async function buildRun(
  job: { readonly base: number; readonly end: number; readonly expired: number },
  ports: JobPorts,
): Promise<void> {
  const entries = new EntryBuffer();
  await walkSegment(
    job,
    (frame) => {
      if (frame.storedAt > job.expired) collect(frame, entries);
    },
    ports,
  );
  const range = { from: job.base, to: job.end };
  await replaceFileBy(ports.disk, runPath(range), (file) => {
    const writer = new RunWriter(file, { range, entriesMax: entries.count, crc32: ports.crc32 });
    for (const at of entries.inOrder()) writer.add(entries.bytes, at);
    writer.finish();
  });
}

function collect(frame: Frame, entries: EntryBuffer): void {
  const dedupe = dedupeOf(frame);
  const message = dedupe && decodeMessage(frame.payload);
  if (!message) return;
  const { id, queueId, queueOffset, deliverAt } = message;
  const place = { id, queueId, queueOffset, deliverAt, publishedAt: frame.storedAt };
  entries.push(encodeDedupeEntry({ ...dedupe, ...place }));
}

/** Encoded entries in order of their messages. */
class EntryBuffer {
  bytes = new Uint8Array(64 * 1024);
  #end = 0;
  readonly #places: number[] = [];

  get count(): number {
    return this.#places.length;
  }

  push(entry: Uint8Array): void {
    if (this.#end + entry.length > this.bytes.length) {
      const larger = new Uint8Array(2 * this.bytes.length);
      larger.set(this.bytes);
      this.bytes = larger;
    }
    this.bytes.set(entry, this.#end);
    this.#places.push(this.#end);
    this.#end += entry.length;
  }

  /** Where they lie, by key; the last one of a key. */
  inOrder(): Uint32Array {
    const { bytes } = this;
    const compare = (a: number, b: number) => compareKeys({ bytes, at: a }, { bytes, at: b });
    const sorted = Uint32Array.from(this.#places).sort((a, b) => compare(a, b) || a - b);
    return sorted.filter((at, i) => {
      const next = sorted[i + 1];
      return next === undefined || compare(at, next) !== 0;
    });
  }
}

/** Reads all of a run. @throws {RunDamage} when it is not what was written, or not there. */
export async function checkRun(range: RunRange, { disk, crc32 }: JobPorts): Promise<void> {
  const names = await disk.list(DEDUPE_DIR);
  if (!names.some((name) => `${DEDUPE_DIR}/${name}` === runPath(range))) throw new RunDamage(range);
  const run = await RunFile.open(disk, range, crc32);
  try {
    if (!(await run.isWhole())) throw new RunDamage(range);
  } finally {
    await run.close();
  }
}

/** Writes one run of several. @param job.inputs oldest first. */
export async function mergeRuns(
  job: { readonly inputs: readonly RunRange[]; readonly expired: number },
  ports: JobPorts,
): Promise<void> {
  const { disk, crc32 } = ports;
  const runs: RunFile[] = [];
  try {
    for (const range of job.inputs) runs.push(await RunFile.open(disk, range, crc32));
    const range = mergedRange(job.inputs);
    const entriesMax = runs.reduce((sum, { header }) => sum + header.entryCount, 0);
    await replaceFileBy(disk, runPath(range), async (file) => {
      const writer = new RunWriter(file, { range, entriesMax, crc32 });
      await copyMerged(runs, { writer, file, expired: job.expired });
      writer.finish();
    });
  } finally {
    for (const run of runs) await run.close();
  }
}

/** Synced as it goes: one sync of gigabytes at the end would hold up those of the log. */
const SYNC_SIZE = 32 * 1024 * 1024;

async function copyMerged(
  runs: readonly RunFile[],
  to: { readonly writer: RunWriter; readonly file: DiskFile; readonly expired: number },
): Promise<void> {
  const { writer, file, expired } = to;
  let scans: RunScan[] = [];
  let synced = 0;
  for (const run of runs) {
    const scan = new RunScan(run);
    if (await scan.start()) scans.push(scan);
  }
  while (scans.length > 0) {
    const least = leastOf(scans);
    if (EntryFields.publishedAt(least.view, least.at) > expired) writer.add(least.bytes, least.at);
    for (const scan of scans) {
      if (scan !== least && compareKeys(scan, least) === 0) await scan.step();
    }
    const read = least.step();
    if (read) await read; // not for every entry
    if (scans.some((scan) => scan.done)) scans = scans.filter((scan) => !scan.done);
    if (writer.bytesWritten - synced < SYNC_SIZE) continue;
    await file.sync();
    synced = writer.bytesWritten;
  }
}

/** The scan that stands at the least key; the newest of equals. */
function leastOf(scans: readonly RunScan[]): RunScan {
  let least = scans[0] as RunScan;
  for (let i = 1; i < scans.length; i++) {
    const scan = scans[i] as RunScan;
    if (compareKeys(scan, least) <= 0) least = scan;
  }
  return least;
}

/** Blocks read at once. */
const SCAN_BLOCKS = 64;

/** Walks the entries of a run in order. */
class RunScan {
  readonly #run: RunFile;
  bytes = new Uint8Array(0);
  view = viewOf(this.bytes);
  /** Where the present entry lies in `bytes`. */
  at = 0;
  done = false;
  #nextBlock = 0;
  /** Of the present block, in `bytes`. */
  #blockAt = 0;
  #left = 0;

  constructor(run: RunFile) {
    this.#run = run;
  }

  /** Returns false when there is no entry. */
  async start(): Promise<boolean> {
    await this.#enterBlock(0);
    return !this.done;
  }

  /** Moves on; `done` when there is no further entry. Awaits only where bytes have to be read. */
  step(): void | Promise<void> {
    this.#left--;
    if (this.#left > 0) {
      this.at += EntryFields.size(this.bytes, this.at);
      return;
    }
    return this.#enterBlock(this.#blockAt + CONTENT_SIZE);
  }

  #enterBlock(at: number): void | Promise<void> {
    if (at >= this.bytes.length) return this.#fill();
    this.#blockAt = at;
    this.#left = this.view.getUint16(at);
    this.at = at + COUNT_SIZE;
  }

  async #fill(): Promise<void> {
    const from = this.#nextBlock;
    const count = Math.min(SCAN_BLOCKS, this.#run.header.blockCount - from);
    this.done = count <= 0;
    if (this.done) return;
    this.bytes = (await this.#run.content({ from, count })) as Uint8Array<ArrayBuffer>;
    this.view = viewOf(this.bytes);
    this.#nextBlock += count;
    await this.#enterBlock(0);
  }
}
