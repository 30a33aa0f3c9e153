/**
 * The MessageStore: the CommitLog and everything that is derived from it.
 *
 *   put ──▶ CommitLog ──confirmed──▶ ConsumeQueues, indexes ──sealed──▶ sidecars
 *    │                     │
 *    │                     └──▶ listener: what became visible, how far is safe
 *    ├──▶ idempotency keys, at append ──sealed──▶ dedupe runs
 *    └──▶ timers, at append ──sealed──▶ timer files
 *
 * The state of whoever appends (the broker's fold) is folded at append and
 * snapshotted together with the queues: entries changed since the last snapshot
 * are taken where a new segment begins, and written once that place is confirmed.
 *
 * @module
 */

import { removeAsides } from "./base/disk.ts";
import { stableHash } from "./base/hash.ts";
import { encodeMessage, messageSizeMax } from "./base/message.ts";
import { readBegun } from "./beginning.ts";
import { CommitLog } from "./commit_log.ts";
import { ConsumeQueues } from "./consume_queues.ts";
import type { DamageMap } from "./damage.ts";
import { type DedupeOptions, DedupeStore } from "./dedupe_store.ts";
import { Disposal } from "./disposal.ts";
import { decodeEpochMark, epochsIn } from "./epochs.ts";
import { refuseLaterFormats } from "./format.ts";
import { FLAG_CONTINUED, FLAG_DEFERRED, FRAME_HEADER_SIZE, Frame } from "./frame.ts";
import { Headroom, HEADROOM_DEFAULTS } from "./headroom.ts";
import { Indexes } from "./indexes.ts";
import { Intake, type IntakeParts } from "./intake.ts";
import { openSnapshot } from "./jobs.ts";
import { removeBefore, removeSnapshotsBefore } from "./log_start.ts";
import type { Chunk } from "./log_tail.ts";
import { decodeQueueMark } from "./queue_marks.ts";
import { QueueReader } from "./queue_reader.ts";
import type { FramePlace } from "./read_frames.ts";
import { payloadOf } from "./record_sizes.ts";
import { KINDS, type KindName, type RecordOf } from "./records/mod.ts";
import type { RecordPlace } from "./replay.ts";
import { ReplicatedLog } from "./replicated_log.ts";
import { Scrubber } from "./scrubber.ts";
import { Sealer } from "./sealer.ts";
import { LOG_DIR } from "./segment.ts";
import { openSidecars } from "./sidecar_file.ts";
import { SNAPSHOT_DIR } from "./snapshot.ts";
import { SpareSegment } from "./spare_segment.ts";
import { StartWalk } from "./start_walk.ts";
import type { StoreListener, StoreOptions, StorePorts } from "./store_ports.ts";
import { FIRST_KEY } from "./timer_entry.ts";
import type { TimerFile } from "./timer_file.ts";
import { openTimerFiles } from "./timer_files.ts";
import { decodeTimerMark } from "./timer_mark.ts";
import { timerMarkIn, uncovered } from "./timer_start.ts";
import { Timers } from "./timers.ts";

type StoreParts = Omit<IntakeParts, "onBoundary" | "hasTimers" | "failed"> & {
  readonly spare: SpareSegment;
  readonly headroom: Headroom;
  readonly timerFiles: readonly TimerFile[];
};

const DEDUPE_DEFAULTS: DedupeOptions = { windowMs: 24 * 60 * 60 * 1000 };

export class MessageStore {
  readonly log: CommitLog;
  readonly queues: ConsumeQueues;
  readonly reader: QueueReader;
  /** Messages by id and by index key, and what happened to them. */
  readonly indexes: Indexes;
  readonly dedupe: DedupeStore;
  /** Delayed messages that wait to be revealed. */
  readonly timers: Timers;
  readonly disposal: Disposal;
  readonly scrubber: Scrubber;
  readonly headroom: Headroom;
  /** Of a member of a group. */
  readonly replica: ReplicatedLog | undefined;
  readonly #spare: SpareSegment;
  readonly #sealer: Sealer;
  readonly #intake: Intake;
  #listener: StoreListener = { onWritten() {}, onConfirm() {} };

  /**
   * Restores and replays `fold`, and leaves the store ready for appends. Of a member of
   * a group: what is known to be confirmed is folded, and the store follows.
   */
  static async open(ports: StorePorts, options: StoreOptions): Promise<MessageStore> {
    const { fold, replication } = options;
    const { disk, crc32 } = ports;
    await disk.makeDir(LOG_DIR);
    await disk.makeDir(SNAPSHOT_DIR);
    await refuseLaterFormats(disk, crc32);
    for (const dir of [LOG_DIR, SNAPSHOT_DIR]) await removeAsides(disk, dir);
    const headroom = await Headroom.open(ports, options.headroom ?? HEADROOM_DEFAULTS);
    const { start, wholeFrom, epochs: known } = await readBegun(disk, crc32);
    await removeBefore(disk, start);
    await removeSnapshotsBefore(disk, wholeFrom);
    const sidecars = await openSidecars(ports);
    const timerFiles = await openTimerFiles(ports);
    const snapshot = await openSnapshot(ports, ports.report);
    const from = snapshot?.logOffset ?? 0;
    fold.begin({ whole: start === 0 || snapshot !== undefined });
    // A sidecar that is gone is built again from the queues as they stood then, so from the start.
    const walkable = snapshot?.walkFrom ?? 0;
    const passed = timerMarkIn(snapshot) ?? FIRST_KEY;
    const epochs = snapshot ? epochsIn(snapshot) : known;
    const walkTimers = uncovered(sidecars.files, { timerFiles, passed });
    const intact =
      (epochs !== undefined || !replication) &&
      sidecars.bases.includes(walkable) &&
      sidecars.missing.every(({ end }) => end > walkable) &&
      [...walkTimers].every((base) => base >= walkable);
    const walkFrom = intact ? walkable : 0;
    const queues = new ConsumeQueues();
    for (const entry of snapshot?.entries ?? []) {
      const mark = decodeQueueMark(entry);
      if (decodeTimerMark(entry) || decodeEpochMark(entry)) continue;
      if (!mark) fold.restore(entry[0], entry[1]);
      else if (walkFrom > 0) queues.restore(mark);
    }
    const indexes = new Indexes();
    for (const sidecar of sidecars.files.values()) indexes.know(sidecar);
    const dedupe = new DedupeStore(ports, options.dedupe ?? DEDUPE_DEFAULTS);
    const timers = new Timers();
    const derived = { queues, indexes, dedupe, timers, timerFiles, fold, from };
    const walk = new StartWalk({ ...derived, walkTimers, sidecars: sidecars.files });
    const spare = new SpareSegment(ports, options.segmentBytes);
    const log = await CommitLog.open(ports, {
      segmentBytes: options.segmentBytes,
      spare,
      headroom,
      from,
      start,
      walkFrom,
      epochs: epochs ?? [],
      replication,
      visit: (frame, segment) => walk.visit(frame, segment),
    });
    timers.startAt(start);
    await walk.reveals.resume(timers, { log, passed });
    const decides = replication === undefined;
    const store = new MessageStore(ports, { ...derived, log, spare, headroom, decides });
    await store.#sealer.start(sidecars.files, { logOffset: from, passed });
    await dedupe.start(log, (base) => store.#sealer.at(base)?.keyedCount);
    if (options.scrubIntervalMs) store.scrubber.start(options.scrubIntervalMs);
    headroom.watch(log);
    store.replica?.confirm(log.toldConfirm);
    await store.replica?.settled();
    return store;
  }

  private constructor(ports: StorePorts, parts: StoreParts) {
    const { log, spare, queues, indexes, timers } = parts;
    queues.takeTouched();
    this.log = log;
    this.#spare = spare;
    this.headroom = parts.headroom;
    this.headroom.onRoom = () => this.#buildLeftOver();
    this.queues = queues;
    this.indexes = indexes;
    this.dedupe = parts.dedupe;
    this.timers = timers;
    this.#intake = new Intake({
      ...parts,
      onBoundary: (base) => this.#sealer.capture(base),
      hasTimers: (base) => this.#sealer.hasTimers(base),
      failed: (error) => ports.fatal(error instanceof Error ? error : new Error(String(error))),
    });
    this.#sealer = new Sealer(ports, { ...parts, intake: this.#intake });
    this.scrubber = new Scrubber(ports, { log, sealer: this.#sealer, dedupe: this.dedupe });
    this.reader = new QueueReader(queues, this.#sealer);
    const { clock } = ports;
    this.disposal = new Disposal({ ...parts, sidecars: this.#sealer, clock });
    indexes.open(this.#sealer);
    if (parts.decides) this.#captureAtRoll();
    else this.replica = new ReplicatedLog(ports, log);
    log.listen({
      onWritten: (end) => this.#listener.onWritten(end),
      onAppended: () => this.replica?.appended(),
      onDurable: (end) => this.replica?.durable(end),
      onConfirm: (end, frames) => this.#onConfirm(end, frames),
      onSealed: (segment) => {
        this.#sealer.seal(segment);
        this.dedupe.seal(segment);
      },
    });
  }

  /** What could not be built for want of room. */
  #buildLeftOver(): void {
    this.#sealer.retry();
    void this.dedupe.build();
  }

  #captureAtRoll(): void {
    this.log.tail.onRoll = (base) => this.#sealer.capture(base);
  }

  /**
   * Whoever appends decides from now on, and folds what it appends. Resolves when all
   * there is was folded.
   */
  async lead(): Promise<void> {
    await this.replica?.rest(
      () => this.#intake.foldedTo,
      (frame, { base }) => this.#intake.fold(frame, base),
    );
    await this.#intake.decide();
    this.#captureAtRoll();
  }

  get damage(): DamageMap {
    return this.log.damage;
  }

  listen(listener: StoreListener): void {
    this.#listener = listener;
  }

  /**
   * Begins a unit; its frames follow in this turn, all but the last `continued`.
   *
   * @param sizeMax of all its frames, see {@linkcode messageFrameSizeMax}.
   * @returns its leader time.
   */
  begin(now: number, sizeMax: number): number {
    return this.log.tail.begin(now, sizeMax);
  }

  /** Appends a message record; returns its logOffset. */
  putMessage(
    message: Parameters<typeof encodeMessage>[2],
    flags: { readonly continued: boolean; readonly deferred?: boolean },
  ): number {
    const { tail } = this.log;
    const chunk = tail.reserve(messageSizeMax(message.attributes, message.body.length));
    const { envelope, attributes, body } = message;
    const parts = { envelope, attributes, body, view: chunk.view };
    const payloadEnd = encodeMessage(chunk.bytes, tail.payloadAt(chunk), parts);
    const bits = (flags.continued ? FLAG_CONTINUED : 0) | (flags.deferred ? FLAG_DEFERRED : 0);
    const logOffset = tail.seal(chunk, { kind: KINDS.message.id, flags: bits, payloadEnd });
    if (envelope.dedupe) {
      const { keyHash } = envelope.dedupe;
      this.dedupe.remember(tail.segmentBase, { keyHash, logOffset, storedAt: tail.storedAt });
    }
    if (flags.deferred) this.#schedule(message, { logOffset, size: tail.end - logOffset });
    return logOffset;
  }

  #schedule(
    { envelope, attributes }: Pick<Parameters<typeof encodeMessage>[2], "envelope" | "attributes">,
    { logOffset, size }: { readonly logOffset: number; readonly size: number },
  ): void {
    const { deliverAt, txnId, topicGen, queueId, keyHash, tagHash } = envelope;
    if (deliverAt === undefined || txnId !== undefined) return; // it waits for a decision
    const place = { dueAt: deliverAt, bodyLogOffset: logOffset, size };
    const idHash = stableHash(attributes.id);
    const timer = { ...place, topicGen, queueId, keyHash, tagHash, idHash };
    this.timers.schedule(this.log.tail.segmentBase, timer);
  }

  /** Appends any other record as a unit of its own. */
  append<K extends Exclude<KindName, "message">>(
    kind: K,
    record: RecordOf<K>,
    now: number,
  ): RecordPlace {
    const payload = payloadOf(kind, record);
    this.log.tail.begin(now, FRAME_HEADER_SIZE + payload.length);
    const place = this.#seal(kind, payload, { continued: false });
    if (kind === "recall") {
      const { bodyLogOffset } = record as RecordOf<"recall">;
      this.timers.recall(this.log.tail.segmentBase, bodyLogOffset);
    }
    return place;
  }

  /** Appends any other record to the unit begun. */
  put<K extends Exclude<KindName, "message" | "recall">>(
    kind: K,
    record: RecordOf<K>,
    flags: { readonly continued: boolean },
  ): RecordPlace {
    return this.#seal(kind, payloadOf(kind, record), flags);
  }

  #seal(
    kind: KindName,
    payload: Uint8Array,
    { continued }: { readonly continued: boolean },
  ): RecordPlace {
    const { tail } = this.log;
    const chunk = tail.reserve(payload.length);
    const payloadAt = tail.payloadAt(chunk);
    chunk.bytes.set(payload, payloadAt);
    const flags = continued ? FLAG_CONTINUED : 0;
    const payloadEnd = payloadAt + payload.length;
    const frameAt = chunk.filled;
    const logOffset = tail.seal(chunk, { kind: KINDS[kind].id, flags, payloadEnd });
    if (kind === "carry") this.timers.index(new Frame(chunk, frameAt), tail.segmentBase);
    const size = tail.end - logOffset;
    return { logOffset, storedAt: tail.storedAt, deferred: false, continued, size };
  }

  #onConfirm(end: number, frames: Chunk | undefined): void {
    this.#intake.take(end, frames);
    this.#listener.onConfirm(end, this.queues.takeTouched());
    this.#sealer.onConfirm(end);
  }

  /** Written on every member, as far as is known. */
  get replicatedEnd(): number {
    return this.replica?.replicatedEnd ?? this.log.writtenEnd;
  }

  /** The delayed messages of a sealed segment that may still wait, carried ones included. */
  timersIn(
    segment: { readonly base: number; readonly end: number },
    visit: (place: FramePlace) => void,
  ): Promise<void> {
    return this.#sealer.timersIn(segment, visit);
  }

  /**
   * Nothing before `start`, a segment's base, is needed any more: the log starts there, unless
   * keys of it could not be made safe. Then, or when it fails, everything is still there.
   */
  async dropBefore(start: number): Promise<void> {
    if (!(await this.dedupe.secure(start))) return;
    const known = await this.log.checkpoint(); // to a start: all that was described behind
    if (!known) return;
    await this.#sealer.dropBefore(start);
    this.disposal.forgetBefore(this.log.start);
    this.replica?.trimmed();
  }

  /** Flushes, snapshots and closes; after the disk has failed, only closes. */
  async close(): Promise<void> {
    this.log.tail.close();
    await this.log.settled();
    await this.replica?.close();
    await this.scrubber.close();
    await this.dedupe.close();
    await this.#spare.close();
    await this.headroom.close();
    await this.#sealer.close();
    await this.log.close();
  }
}
