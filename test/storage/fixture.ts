/**
 * What the storage tests share: a store on a disk that a test holds in its
 * hand, messages to put, and a fold that notices any record lost, doubled or
 * out of order.
 *
 * @module
 */

import { viewOf } from "../../storage/base/bytes.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import type { Disk } from "../../storage/base/disk.ts";
import { stableHash } from "../../storage/base/hash.ts";
import type { MessageAttributes, MessageEnvelope } from "../../storage/base/message.ts";
import type { DedupeOptions } from "../../storage/dedupe_store.ts";
import type { HeadroomOptions, Level } from "../../storage/headroom.ts";
import { type Jobs, inlineJobs } from "../../storage/jobs.ts";
import { MessageStore } from "../../storage/message_store.ts";
import { messageFrameSizeMax } from "../../storage/record_sizes.ts";
import type { Fold, FoldedRecord, RecordPlace } from "../../storage/replay.ts";
import type { KindName, RecordOf } from "../../storage/records/mod.ts";
import type { DamagedRange } from "../../storage/recovery.ts";
import type { Change } from "../../storage/snapshot.ts";

export const KiB = 1024;
export const MiB = 1024 * KiB;

export interface NewMessage {
  readonly envelope: MessageEnvelope;
  readonly attributes: MessageAttributes;
  readonly body: Uint8Array;
}

export interface Draft {
  readonly topicGen?: number;
  readonly queueId?: number;
  readonly queueOffset: number;
  readonly id?: string;
  readonly key?: string;
  readonly body?: Uint8Array;
  readonly dedupe?: MessageEnvelope["dedupe"];
  readonly index?: readonly string[];
}

/** No zeros, so that none of it is there when it was never written. */
const BODY = new Uint8Array(100).fill(0xa5);

export function draft(parts: Draft): NewMessage {
  const { topicGen = 1, queueId = 0, queueOffset, key, body = BODY } = parts;
  const id = parts.id ?? `${topicGen}-${queueId}-${queueOffset}`;
  return {
    envelope: {
      topicGen,
      queueId,
      queueOffset,
      keyHash: key === undefined ? 0 : stableHash(key),
      tagHash: 0,
      bornAt: 1_700_000_000_000,
      dedupe: parts.dedupe,
    },
    attributes: { id, key, index: parts.index },
    body,
  };
}

/**
 * A fold that keeps one chained checksum per queue and per other kind: equal
 * tables mean the same records, each once, in the same order.
 */
export class ChainFold implements Fold {
  begin(): void {}

  readonly #table = new Map<string, Uint8Array>();
  readonly #changed = new Set<string>();

  restore(key: Uint8Array, value: Uint8Array): void {
    this.#table.set(text.decode(key), value.slice());
  }

  apply<K extends KindName>(kind: K, record: FoldedRecord<K>, at: RecordPlace): void {
    const { topicGen, queueId } = record as { topicGen?: number; queueId?: number };
    const key = `${kind}/${topicGen ?? "-"}/${queueId ?? "-"}`;
    const before = this.#table.get(key);
    const value = new Uint8Array(8);
    const count = before ? viewOf(before).getUint32(0) : 0;
    const link = `${before ? viewOf(before).getUint32(4) : 0} ${at.logOffset} ${at.storedAt}`;
    viewOf(value).setUint32(0, count + 1);
    viewOf(value).setUint32(4, crc32(utf8.encode(link)));
    this.#table.set(key, value);
    this.#changed.add(key);
  }

  takeChanges(): Change[] {
    const changes = [...this.#changed].map(
      (key): Change => [utf8.encode(key), this.#table.get(key)],
    );
    this.#changed.clear();
    return changes;
  }

  /** Everything it knows, to be compared. */
  dump(): Record<string, string> {
    const rows = [...this.#table].map(([key, value]) => [key, [...value].join(" ")] as const);
    return Object.fromEntries(rows.toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }
}

const utf8 = new TextEncoder();
const text = new TextDecoder();

/** Lets the store get on, turn by turn, until something is so. */
export async function until(condition: () => boolean): Promise<void> {
  for (let turns = 0; !condition(); turns++) {
    if (turns === 10_000) throw new Error(`Waited in vain for ${String(condition)}`);
    await Promise.resolve();
  }
}

export interface StoreOptions {
  readonly disk: Disk;
  readonly clock?: ManualClock;
  readonly segmentBytes?: number;
  readonly jobs?: Jobs;
  readonly dedupe?: DedupeOptions;
  readonly scrubIntervalMs?: number;
  readonly headroom?: HeadroomOptions;
}

/** A store, what it told, and a producer's view of it. */
export class OpenStore {
  readonly store: MessageStore;
  readonly fold: ChainFold;
  readonly clock: ManualClock;
  /** Every `end` that was confirmed. */
  readonly confirms: number[] = [];
  readonly fatal: Error[];
  readonly reports: Error[];
  /** Ranges that were told of, in order. */
  readonly damaged: DamagedRange[];
  /** How full the disk was, each time that changed. */
  readonly levels: Level[] = [];

  private constructor(
    store: MessageStore,
    parts: {
      fold: ChainFold;
      clock: ManualClock;
      fatal: Error[];
      reports: Error[];
      damaged: DamagedRange[];
    },
  ) {
    this.store = store;
    this.fold = parts.fold;
    this.clock = parts.clock;
    this.fatal = parts.fatal;
    this.reports = parts.reports;
    this.damaged = parts.damaged;
    store.headroom.onLevel = (level) => void this.levels.push(level);
    store.listen({ onWritten() {}, onConfirm: (end) => void this.confirms.push(end) });
  }

  static async on(options: StoreOptions): Promise<OpenStore> {
    const { disk, clock = new ManualClock(), segmentBytes = 64 * KiB } = options;
    const fold = new ChainFold();
    const fatal: Error[] = [];
    const reports: Error[] = [];
    const damaged: DamagedRange[] = [];
    const ports = {
      disk,
      clock,
      crc32,
      jobs: options.jobs ?? inlineJobs({ disk, crc32 }),
      fatal: (error: Error) => void fatal.push(error),
      report: (error: Error) => void reports.push(error),
      damaged: (range: DamagedRange) => void damaged.push(range),
    };
    const { dedupe, scrubIntervalMs, headroom } = options;
    const asked = { segmentBytes, fold, dedupe, scrubIntervalMs, headroom };
    const store = await MessageStore.open(ports, asked);
    return new OpenStore(store, { fold, clock, fatal, reports, damaged });
  }

  /** Appends the messages as one unit; returns where each lies. */
  putUnit(messages: readonly NewMessage[]): RecordPlace[] {
    const sizeMax = messages.reduce(
      (size, { attributes, body }) => size + messageFrameSizeMax(attributes, body.length),
      0,
    );
    const storedAt = this.store.begin(this.clock.now(), sizeMax);
    return messages.map((message, i) => {
      const logOffset = this.store.putMessage(message, { continued: i < messages.length - 1 });
      const place = { logOffset, storedAt, deferred: false };
      const { envelope, attributes, body } = message;
      const record = { ...envelope, ...attributes, index: [], properties: [], body };
      this.fold.apply("message", record, place);
      return place;
    });
  }

  /** Appends a message that is not visible until a record reveals it. */
  putDeferred(message: NewMessage): RecordPlace {
    const { envelope, attributes, body } = message;
    const sizeMax = messageFrameSizeMax(attributes, body.length);
    const storedAt = this.store.begin(this.clock.now(), sizeMax);
    const logOffset = this.store.putMessage(message, { continued: false, deferred: true });
    const place = { logOffset, storedAt, deferred: true };
    const record = { ...envelope, ...attributes, index: [], properties: [], body };
    this.fold.apply("message", record, place);
    return place;
  }

  append<K extends Exclude<KindName, "message">>(kind: K, record: RecordOf<K>): RecordPlace {
    const place = this.store.append(kind, record, this.clock.now());
    this.fold.apply(kind, record, place);
    return place;
  }

  /** Puts one message each and waits until all are confirmed. */
  async putAll(messages: readonly NewMessage[]): Promise<RecordPlace[]> {
    const places = messages.flatMap((message) => this.putUnit([message]));
    await this.settle();
    return places;
  }

  async settle(): Promise<void> {
    this.store.log.flush();
    await this.store.log.settled();
  }

  /** queueOffset → bodyLogOffset and size of every unit, read as a consumer reads. */
  async unitsOf(topicGen: number, queueId: number): Promise<UnitRow[]> {
    const queue = this.store.queues.find(topicGen, queueId);
    const rows: UnitRow[] = [];
    for (let from = queue?.start ?? 0; queue && from < queue.end; ) {
      const slice = await this.store.reader.read(queue, { from, max: 100 });
      if (slice.firstOffset + slice.units.length === from) {
        throw new Error(`The reader is stuck at ${from}`);
      }
      for (const [i, unit] of slice.units.entries()) {
        rows.push([slice.firstOffset + i, unit.bodyLogOffset, unit.size]);
      }
      from = slice.firstOffset + slice.units.length;
    }
    return rows;
  }
}

export type UnitRow = readonly [queueOffset: number, bodyLogOffset: number, size: number];
