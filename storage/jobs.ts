/**
 * The heavy work that must not hold the event loop: building a sidecar, a dedupe run
 * or a timer file, merging a snapshot, runs or timer files, reading a run through, writing the zeros of the
 * segment to come, and of what is set aside. A job is plain data and touches only files, so the same code runs
 * in a worker thread (`jobs_node.ts`) and, in tests and simulation, inline.
 *
 * @module
 */

import type { Crc32 } from "./base/checksum.ts";
import { type Disk, readRange, replaceFile, replaceFileBy } from "./base/disk.ts";
import { salvaging } from "./base/salvage.ts";
import { BlockWriter } from "./blocks.ts";
import { ConsumeQueues } from "./consume_queues.ts";
import { buildRun, checkRun, isKeyed, mergeRuns } from "./dedupe_jobs.ts";
import type { RunRange } from "./dedupe_run.ts";
import type { Frame } from "./frame.ts";
import { WORDS } from "./hash_section.ts";
import { HashTable } from "./hash_table.ts";
import { indexId } from "./id_index.ts";
import { KeyTable } from "./keys.ts";
import { indexOps } from "./ops.ts";
import { type PackedChanges, unpackChanges } from "./packed_changes.ts";
import { decodeQueueMark } from "./queue_marks.ts";
import { RevealKeys } from "./reveal_keys.ts";
import { LOG_DIR, segmentBases, sidecarPath } from "./segment.ts";
import { type SidecarContent, sidecarParts } from "./sidecar.ts";
import {
  decodeSnapshot,
  encodeSnapshot,
  mergeEntries,
  SNAPSHOT_DIR,
  snapshotOffsets,
  snapshotPath,
  type Snapshot,
  SnapshotDamage,
} from "./snapshot.ts";
import { walkSegment } from "./walk_segment.ts";
import type { TimerKey } from "./timer_entry.ts";
import { mergeTimerFiles, timersUntilOf, writeSegmentTimers } from "./timer_jobs.ts";
import type { LogRange } from "./timer_layout.ts";
import { indexTimers, YoungTimers } from "./young_timers.ts";

export type Job =
  | {
      /** Builds the sidecar of a sealed segment. */
      readonly kind: "seal";
      readonly base: number;
      readonly end: number;
      /** Its queues as they stood where it begins; undefined: not known, walk the log for them. */
      readonly marks: PackedChanges | undefined;
      /** Bases of segments with deferred messages that have index keys. */
      readonly holding: readonly number[];
      /** Its timer file as well; otherwise there is one that holds its timers. */
      readonly timers: boolean;
    }
  | {
      /** Builds the timer file of a sealed segment. */
      readonly kind: "timers";
      readonly base: number;
      readonly end: number;
    }
  | {
      /** Makes one timer file of those of `ranges`, which follow each other. */
      readonly kind: "merge-timers";
      readonly ranges: readonly LogRange[];
      /** Timers up to here are left out. */
      readonly after: TimerKey;
    }
  | {
      /** Writes a snapshot: the newest whole one, merged with `changes`; drops the third oldest. */
      readonly kind: "snapshot";
      readonly logOffset: number;
      /** The base of the segment where its consume queues stand so. */
      readonly walkFrom: number;
      readonly changes: PackedChanges;
      /** The logOffset of the snapshot since which they are; 0 for none. */
      readonly since: number;
    }
  | {
      /** Builds the dedupe run of a sealed segment. */
      readonly kind: "dedupe";
      readonly base: number;
      readonly end: number;
      /** Keys published then or before are out of the window, ms. */
      readonly expired: number;
    }
  | {
      /** Makes one dedupe run of several, oldest first. */
      readonly kind: "merge";
      readonly inputs: readonly RunRange[];
      readonly expired: number;
    }
  | {
      /** Reads all of a dedupe run. */
      readonly kind: "check";
      readonly range: RunRange;
    }
  | {
      /** Writes zeros to bytes `[from, to)` of a file, which ends at `from`; empties it where that fails. */
      readonly kind: "prepare";
      readonly path: string;
      readonly from: number;
      readonly to: number;
    };

/** Jobs of a lane run one after the other. To merge or read a run may take minutes, and what waits for it can. */
export type Lane = "short" | "long";

export function laneOf({ kind }: Job): Lane {
  return kind === "merge" || kind === "check" ? "long" : "short";
}

export interface Jobs {
  /** Resolves when it is done and durable. */
  run(job: Job): Promise<void>;
  close(): Promise<void>;
}

interface JobPorts {
  readonly disk: Disk;
  readonly crc32: Crc32;
}

export async function runJob(job: Job, ports: JobPorts): Promise<void> {
  switch (job.kind) {
    case "seal":
      return buildSidecar(job, ports);
    case "snapshot":
      return writeSnapshot(job, ports);
    case "dedupe":
      return buildRun(job, ports);
    case "merge":
      return mergeRuns(job, ports);
    case "check":
      return checkRun(job.range, ports);
    case "timers":
      return buildTimers(job, ports);
    case "merge-timers":
      return mergeTimerFiles(job.ranges, { ...ports, ...job });
    case "prepare":
      return prepareFile(job, ports);
  }
}

/** Runs jobs where they are asked for. */
export function inlineJobs(ports: JobPorts): Jobs {
  const last = { short: Promise.resolve(), long: Promise.resolve() };
  return {
    run(job) {
      const lane = laneOf(job);
      const done = last[lane].then(() => runJob(job, ports));
      last[lane] = done.catch(() => {});
      return done;
    },
    async close() {
      await Promise.all([last.short, last.long]);
    },
  };
}

async function buildSidecar(job: Job & { kind: "seal" }, ports: JobPorts): Promise<void> {
  const { base, end } = job;
  const queues = new ConsumeQueues();
  for (const entry of unpackChanges(job.marks ?? [])) {
    const mark = decodeQueueMark(entry);
    if (mark) queues.restore(mark);
  }
  if (!job.marks) await walkBefore(base, queues, ports);
  const ids = new HashTable(WORDS.ids);
  const keys = new KeyTable(base);
  const reveals = await RevealKeys.of({ table: keys, holding: job.holding }, ports);
  const ops = new HashTable(WORDS.ops);
  let keyedCount = 0;
  const young = new YoungTimers();
  const visit = (frame: Frame) => {
    queues.apply(frame, base);
    indexId(frame, { table: ids, base });
    reveals.apply(frame);
    indexOps(frame, { table: ops, base });
    indexTimers(frame, young);
    if (isKeyed(frame)) keyedCount++;
  };
  await walkSegment(job, visit, ports);
  await reveals.finish();
  // Before the sidecar, which promises it.
  const timersUntil = job.timers
    ? await writeSegmentTimers(young, job, ports)
    : await timersUntilOf(young, ports);
  const runs = queues.runsOf(base).map(({ queue, run }) => ({
    topicGen: queue.topicGen,
    queueId: queue.queueId,
    ...run,
  }));
  const sections = { ids: ids.encode(), keys: keys.entries.encode(), ops: ops.encode() };
  const counts = { keyedCount, heldCount: keys.heldCount };
  const bodiesFrom = queues.bodiesFrom(base);
  await writeSidecar({ base, end, runs, sections, ...counts, timersUntil, bodiesFrom }, ports);
}

/** Part by part: of a segment of small messages it may be as large as that. */
function writeSidecar(content: SidecarContent, { disk, crc32 }: JobPorts): Promise<void> {
  return replaceFileBy(disk, sidecarPath(content.base), (file) => {
    const writer = new BlockWriter(file, crc32);
    for (const part of sidecarParts(content)) writer.write(part);
    writer.end();
  });
}

async function buildTimers(job: Job & { kind: "timers" }, ports: JobPorts): Promise<void> {
  const young = new YoungTimers();
  await walkSegment(job, (frame) => indexTimers(frame, young), ports);
  await writeSegmentTimers(young, job, ports);
}

/** Brings `queues` to where they stood at `base`. */
async function walkBefore(base: number, queues: ConsumeQueues, ports: JobPorts): Promise<void> {
  const bases = segmentBases(await ports.disk.list(LOG_DIR));
  for (const [i, one] of bases.entries()) {
    if (one >= base) return;
    const segment = { base: one, end: bases[i + 1] ?? base };
    await walkSegment(segment, (frame) => queues.apply(frame, one), ports);
    queues.release(one);
  }
}

/** Dirty at once, at most: the log's own syncs must not wait long behind these. */
const PIECE_SIZE = 1024 * 1024;

async function prepareFile(job: Job & { kind: "prepare" }, { disk }: JobPorts): Promise<void> {
  const file = await disk.open(job.path, { create: true });
  try {
    await file.truncate(job.from);
    const zeros = new Uint8Array(Math.min(PIECE_SIZE, job.to - job.from));
    for (let at = job.from; at < job.to; at += zeros.length) {
      file.write(zeros.subarray(0, Math.min(zeros.length, job.to - at)), at);
      await file.sync();
    }
  } catch (error) {
    await file.truncate(0); // a full disk needs the room for better things
    throw error;
  } finally {
    await file.close();
  }
}

const GENERATIONS_KEPT = 2;

/** @throws {SnapshotDamage} when the snapshot that the changes go by is not there. */
async function writeSnapshot(
  job: Job & { kind: "snapshot" },
  { disk, crc32 }: JobPorts,
): Promise<void> {
  const { snapshot: before, damaged } = await newestSnapshot(disk, crc32);
  if ((before?.logOffset ?? 0) < job.since) throw new SnapshotDamage(job.since);
  const entries = mergeEntries(before?.entries ?? [], unpackChanges(job.changes));
  const { logOffset, walkFrom } = job;
  const file = encodeSnapshot({ logOffset, walkFrom, entries }, crc32);
  await replaceFile(disk, snapshotPath(logOffset), [file]);
  const offsets = snapshotOffsets(await disk.list(SNAPSHOT_DIR));
  const useless = damaged.filter((offset) => offset !== logOffset);
  const whole = offsets.filter((offset) => !useless.includes(offset));
  for (const offset of [...useless, ...whole.slice(GENERATIONS_KEPT)]) {
    await disk.remove(snapshotPath(offset));
  }
}

/** The newest snapshot that is whole, and the logOffsets of those behind it that are not. */
export async function newestSnapshot(
  disk: Disk,
  crc32: Crc32,
): Promise<{ readonly snapshot: Snapshot | undefined; readonly damaged: readonly number[] }> {
  const damaged: number[] = [];
  for (const offset of snapshotOffsets(await disk.list(SNAPSHOT_DIR))) {
    const file = salvaging(await disk.open(snapshotPath(offset), { create: false }));
    try {
      const snapshot = decodeSnapshot(await readRange(file, 0, await file.size()), crc32);
      if (snapshot?.logOffset === offset) return { snapshot, damaged };
      damaged.push(offset);
    } finally {
      await file.close();
    }
  }
  return { snapshot: undefined, damaged };
}

/** As {@linkcode newestSnapshot}; what is damaged is told and removed, so that two generations are whole again soon. */
export async function openSnapshot(
  { disk, crc32 }: JobPorts,
  report: (error: Error) => void,
): Promise<Snapshot | undefined> {
  const { snapshot, damaged } = await newestSnapshot(disk, crc32);
  for (const offset of damaged) {
    report(new SnapshotDamage(offset));
    await disk.remove(snapshotPath(offset));
  }
  return snapshot;
}
