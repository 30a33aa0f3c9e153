/**
 * What happens where one segment ends and the next begins.
 *
 *   roll, at append      the fold's changes are taken: the state at the boundary, encoded
 *                        later, in parts
 *   sealed, on disk      a job builds the sidecar and the timer file; memory answers
 *                        until they are in use
 *   boundary confirmed   a job writes the snapshot
 *   nothing needed       its files go (log_start.ts)
 *
 * A job that fails is reported and costs nothing but time: the sidecar is built
 * when there is room again, or at the next start; the changes go into the next snapshot.
 *
 * @module
 */

import type { CommitLog } from "./commit_log.ts";
import type { ConsumeQueues, QueueMark } from "./consume_queues.ts";
import type { Frame } from "./frame.ts";
import type { Indexes } from "./indexes.ts";
import type { Intake } from "./intake.ts";
import type { StorePorts } from "./store_ports.ts";
import { removeBefore, writeLogStart } from "./log_start.ts";
import type { PackedChanges } from "./packed_changes.ts";
import { encodeQueueMark, queueKey } from "./queue_marks.ts";
import type { FramePlace } from "./read_frames.ts";
import type { Fold } from "./replay.ts";
import { SidecarDamage, SidecarFile } from "./sidecar_file.ts";
import type { Sidecars } from "./sidecars.ts";
import {
  type Change,
  SnapshotDamage,
  snapshotOffsets,
  snapshotPath,
  SNAPSHOT_DIR,
} from "./snapshot.ts";
import { SnapshotWriter } from "./snapshot_writer.ts";
import { compareKeys, type TimerKey, timerOf } from "./timer_entry.ts";
import type { TimerFile } from "./timer_file.ts";
import type { LogRange } from "./timer_layout.ts";
import { TimerFiles } from "./timer_files.ts";
import { encodeTimerMark } from "./timer_mark.ts";
import type { Timers } from "./timers.ts";
import { walkSegment } from "./walk_segment.ts";

/** What is walked on the event loop, in one go: a millisecond. */
const LOOP_WINDOW_SIZE = 256 * 1024;

interface Captured {
  readonly boundary: number;
  /** The fold's, to be read once. */
  readonly changes: readonly Iterable<Change>[];
  /** Where the timers were. */
  readonly passed: TimerKey | Promise<TimerKey>;
}

interface Sealed {
  readonly base: number;
  readonly end: number;
}

export class Sealer implements Sidecars {
  readonly #ports: StorePorts;
  readonly #log: CommitLog;
  readonly #queues: ConsumeQueues;
  readonly #indexes: Indexes;
  readonly #fold: Fold;
  readonly #intake: Intake;
  readonly #timers: Timers;
  readonly #timerFiles: TimerFiles;
  readonly #sidecars = new Map<number, SidecarFile>();
  readonly #mending = new Map<number, Promise<SidecarFile | undefined>>();
  /** Damaged and replaced. */
  readonly #retired: SidecarFile[] = [];
  /** Boundaries passed by appends and not yet confirmed, with the fold's changes there. */
  readonly #captured: Captured[] = [];
  readonly #snapshots: SnapshotWriter;
  /** Whose sidecars could not be built. */
  readonly #leftUnbuilt: Sealed[] = [];
  #pending: Promise<void> = Promise.resolve();
  #closing = false;

  constructor(
    ports: StorePorts,
    parts: {
      readonly log: CommitLog;
      readonly queues: ConsumeQueues;
      readonly indexes: Indexes;
      readonly fold: Fold;
      readonly intake: Intake;
      readonly timers: Timers;
      readonly timerFiles: readonly TimerFile[];
    },
  ) {
    this.#ports = ports;
    this.#log = parts.log;
    this.#queues = parts.queues;
    this.#indexes = parts.indexes;
    this.#fold = parts.fold;
    this.#intake = parts.intake;
    this.#timers = parts.timers;
    this.#snapshots = new SnapshotWriter(ports);
    this.#timerFiles = new TimerFiles(ports, {
      timers: parts.timers,
      files: parts.timerFiles,
      log: parts.log,
      // A merge leads to the next one: what is left when it closes is done at the next start.
      enqueue: (work) => (this.#closing ? this.#pending : this.#enqueue(work)),
    });
  }

  at(base: number): SidecarFile | undefined {
    return this.#sidecars.get(base);
  }

  before(base: number): number | undefined {
    const older = [...this.#sidecars.keys()].filter((one) => one < base);
    return older.length > 0 ? Math.max(...older) : undefined;
  }

  mend(base: number): Promise<SidecarFile | undefined> {
    const mending =
      this.#mending.get(base) ?? this.#mend(base).finally(() => this.#mending.delete(base));
    this.#mending.set(base, mending);
    return mending;
  }

  async #mend(base: number): Promise<SidecarFile | undefined> {
    const damaged = this.#sidecars.get(base);
    const segment = this.#log.segmentAt(base);
    const end = segment?.base === base ? segment.end : undefined;
    if (!damaged || end === undefined) return undefined;
    this.#ports.report(new SidecarDamage(base));
    const read = await damaged.marks().catch(() => undefined); // damaged as well
    const marks = read && (await this.#snapshots.pack(marksOf(read)));
    this.#retired.push(damaged); // others may be reading from it
    await this.#enqueue(async () => {
      if (this.#sidecars.get(base) === damaged) await this.#build({ base, end, marks });
    });
    return this.#sidecars.get(base);
  }

  /**
   * Puts the files that are there in use and builds those that are not. When the
   * snapshot of the last boundary is missing, since the node was killed before it
   * was written, it is made up for: a node that is killed again and again would
   * walk more of the log each time.
   *
   * @param snapshot what it covers, and where the timers were according to it.
   */
  async start(
    sidecars: ReadonlyMap<number, SidecarFile>,
    snapshot: { readonly logOffset: number; readonly passed: TimerKey },
  ): Promise<void> {
    const { logOffset, passed } = snapshot;
    this.#snapshots.startAt(logOffset);
    await this.#timerFiles.start(passed);
    for (const { base, end } of this.#log.segments) {
      const sidecar = sidecars.get(base);
      // What is not confirmed, or waits behind damage, is told of as sealed later.
      if (end === undefined || end > this.#log.confirmOffset) await sidecar?.close();
      else if (sidecar) {
        this.#use(base, sidecar);
        if (this.#timers.youngBases.includes(base)) this.#timerFiles.build({ base, end });
      } else this.seal({ base, end });
    }
    await this.#pending;
    this.#timerFiles.tidy();
    if (logOffset < this.#activeBase) this.#snapshotAtEnd();
  }

  get #activeBase(): number {
    const { confirmOffset } = this.#log;
    return this.#log.segmentAt(confirmOffset)?.base ?? confirmOffset;
  }

  /** Whether a file holds the timers of the segment. */
  hasTimers(base: number): boolean {
    return this.#timerFiles.covers(base);
  }

  capture(boundary: number): void {
    const changes = [this.#fold.takeChanges()];
    this.#captured.push({ boundary, changes, passed: this.#intake.passed });
  }

  seal({ base, end }: Sealed): void {
    void this.#enqueue(async () => {
      if (base < this.#log.start) return;
      try {
        const marks = await this.#snapshots.pack(marksOf(this.#queues.marksAt(base)));
        await this.#build({ base, end, marks });
      } catch (error) {
        this.#leftUnbuilt.push({ base, end });
        throw error;
      }
    });
  }

  /** Something may have changed for the better since a job failed. */
  retry(): void {
    for (const segment of this.#leftUnbuilt.splice(0)) this.seal(segment);
  }

  async #build(segment: Sealed & { readonly marks: PackedChanges | undefined }): Promise<void> {
    const timers = !this.#timerFiles.covers(segment.base);
    const { holding } = this.#indexes.keys;
    await this.#ports.jobs.run({ kind: "seal", ...segment, holding, timers });
    const sidecar = await SidecarFile.open(this.#ports.disk, segment, this.#ports.crc32);
    if (!sidecar) return;
    this.#use(segment.base, sidecar);
    await this.#timerFiles.onSealed(segment, sidecar.timersUntil);
  }

  #use(base: number, sidecar: SidecarFile): void {
    this.#sidecars.set(base, sidecar);
    this.#queues.release(base);
    this.#indexes.know(sidecar);
    this.#indexes.release(base);
  }

  /** A boundary is behind us once something beyond it is confirmed: its segment exists. */
  onConfirm(end: number): void {
    for (let next = this.#captured[0]; next && next.boundary < end; next = this.#captured[0]) {
      this.#captured.shift();
      this.#snapshot(next, next.boundary);
    }
  }

  /** @param walkFrom where the segment begins that a start will walk from its beginning. */
  #snapshot(captured: Captured, walkFrom: number): void {
    const { boundary: logOffset } = captured;
    const epochs = this.#log.tail.epochs.mark(logOffset);
    void this.#enqueue(async () => {
      const passed = await captured.passed;
      const dropped = droppedMarks(this.#queues.takeDropped());
      const marks = marksOf(this.#queues.takeMarks(walkFrom));
      const own = [dropped, marks, [encodeTimerMark(passed), epochs]];
      const changes = inTurn([...captured.changes, ...own]);
      await this.#snapshots.write({ logOffset, walkFrom }, changes);
      await this.#timerFiles.onSnapshot(passed);
    });
  }

  /** It was found damaged. */
  dropSnapshot(logOffset: number): Promise<void> {
    const { disk, report } = this.#ports;
    return this.#enqueue(async () => {
      if (!snapshotOffsets(await disk.list(SNAPSHOT_DIR)).includes(logOffset)) return;
      report(new SnapshotDamage(logOffset));
      await disk.remove(snapshotPath(logOffset));
    });
  }

  mendTimers(range: LogRange): Promise<void> {
    return this.#timerFiles.mendRange(range);
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    this.#pending = this.#pending.then(work).catch((error: unknown) => {
      this.#ports.report(error instanceof Error ? error : new Error(String(error)));
    });
    return this.#pending;
  }

  async timersIn(segment: Sealed, visit: (place: FramePlace) => void): Promise<void> {
    const { passed } = this.#timers;
    const until = this.#sidecars.get(segment.base)?.timersUntil;
    if (until !== undefined && (until === 0 || until < passed.dueAt)) return;
    const take = (frame: Frame) => {
      const timer = timerOf(frame);
      const { logOffset, size } = frame;
      if (timer && compareKeys(timer, passed) > 0) visit({ logOffset, size });
    };
    await walkSegment({ ...segment, windowSize: LOOP_WINDOW_SIZE }, take, this.#ports);
  }

  /** The log starts at `start`, a segment's base, from now on: durable before anything is unlinked. */
  dropBefore(start: number): Promise<void> {
    return this.#enqueue(async () => {
      const { disk, crc32 } = this.#ports;
      await writeLogStart(disk, { start }, crc32);
      await this.#log.dropBefore(start);
      this.#indexes.forgetBefore(start);
      for (const [base, sidecar] of this.#sidecars) {
        if (base >= start) continue;
        this.#sidecars.delete(base);
        await sidecar.close();
      }
      await this.#timerFiles.dropBefore(start);
      await removeBefore(disk, start);
    });
  }

  /** Where the confirmed log ends, and the state is folded to. */
  #snapshotAtEnd(): void {
    if (this.#log.confirmOffset !== this.#intake.foldedTo) return;
    const before = this.#captured.splice(0).flatMap(({ changes }) => changes);
    const changes = [...before, this.#fold.takeChanges()];
    const boundary = this.#log.confirmOffset;
    const captured = { boundary, changes, passed: this.#intake.passed };
    this.#snapshot(captured, this.#activeBase);
  }

  /** Writes a last snapshot, if all that is folded is confirmed; closes the sidecars. */
  async close(): Promise<void> {
    this.#snapshotAtEnd();
    this.#closing = true;
    await this.#pending;
    await this.#ports.jobs.close();
    for (const sidecar of [...this.#sidecars.values(), ...this.#retired]) await sidecar.close();
    await this.#timerFiles.close();
  }
}

function* inTurn(kinds: readonly Iterable<Change>[]): Generator<Change> {
  for (const changes of kinds) yield* changes;
}

function* marksOf(marks: Iterable<QueueMark>): Generator<Change> {
  for (const mark of marks) yield encodeQueueMark(mark);
}

function* droppedMarks(
  queues: Iterable<Pick<QueueMark, "topicGen" | "queueId">>,
): Generator<Change> {
  for (const queue of queues) yield [queueKey(queue), undefined];
}
