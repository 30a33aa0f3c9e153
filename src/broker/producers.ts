/**
 * The producers of the fold: how far each has come in its sequence.
 *
 * A sequence belongs to (topic, producer id, Message-Key or none) and counts
 * messages from 0 in each epoch. Of the last units published (a message, or an
 * atomic batch) it is known where they lie, so that a repeat gets their answer.
 *
 *   key     "E" · topic generation u64 · logOffset u64 of its first message
 *   value   {@linkcode Sequence}
 *
 * Who published nothing for {@linkcode IDLE_MS} is forgotten: at the next
 * sequenced message of anybody, by the log's time, so that every fold of the log
 * forgets the same.
 *
 * @module
 */

import type { FoldedMessage, Message } from "../../storage/base/message.ts";
import { type Change, type Entry, fields, type RecordPlace } from "../../storage/mod.ts";
import { Dirty } from "./dirty.ts";
import { keyOf, read, write } from "./entities.ts";

const { list, optional, struct, text16, text8, u16, u32, u64 } = fields;

export const IDLE_MS = 7 * 24 * 60 * 60 * 1000;
/** Units whose answer can be given again, as many as Kafka keeps of a producer. */
export const UNITS_KEPT = 5;

/** What is published as one: a message, or an atomic batch. */
interface Unit {
  readonly firstSeq: number;
  count: number;
  /** Of its first message; the others follow. */
  readonly logOffset: number;
}

export interface Producer {
  readonly topicGen: number;
  readonly id: string;
  readonly key: string | undefined;
  /** The logOffset of its first message. */
  readonly since: number;
  /** Where the log describes it in full; 0: nowhere that is known. */
  describedAt: number;
  epoch: number;
  /** The sequence number of its next message. */
  nextSeq: number;
  /** When it published last. */
  lastAt: number;
  /** The last ones, in order. */
  units: Unit[];
  /** The last unit has more messages to come. */
  open: boolean;
}

const Sequence = struct({
  id: text8,
  key: optional(text16),
  epoch: u32,
  nextSeq: u64,
  lastAt: u64,
  units: list(struct({ firstSeq: u64, count: u16, logOffset: u64 })),
});

export interface ProducerScope {
  readonly topicGen: number;
  readonly id: string;
  readonly key: string | undefined;
}

export class ProducerTable {
  /** In order of `lastAt`, unless just restored. */
  #producers = new Map<string, Producer>();
  #inOrder = true;
  readonly #dirty = new Dirty({ keyOf: producerKey, entryOf: producerEntry });

  get size(): number {
    return this.#producers.size;
  }

  /** Undefined when it never published, or is idle at `now`. */
  find(scope: ProducerScope, now: number): Producer | undefined {
    const producer = this.#producers.get(nameOf(scope));
    return producer && !isIdle(producer, now) ? producer : undefined;
  }

  /** A message of a sequence was appended. */
  applied(
    message: FoldedMessage | Pick<Message, "topicGen" | "key" | "producer">,
    place: Pick<RecordPlace, "logOffset" | "storedAt" | "continued">,
  ): void {
    if (!message.producer) return;
    const { logOffset, storedAt, continued = false } = place;
    this.#forgetIdle(storedAt);
    const { id, epoch, seq } = message.producer;
    const producer = this.#obtain({ topicGen: message.topicGen, id, key: message.key }, logOffset);
    this.#dirty.touch(producer);
    if (producer.epoch !== epoch) Object.assign(producer, { epoch, units: [], open: false });
    const last = producer.units.at(-1);
    if (producer.open && last) last.count++;
    else producer.units.push({ firstSeq: seq, count: 1, logOffset });
    producer.units = producer.units.slice(-UNITS_KEPT);
    producer.nextSeq = seq + 1;
    producer.lastAt = storedAt;
    producer.open = continued;
  }

  /** Moves it behind all others, where the last to publish is. */
  #obtain(scope: ProducerScope, logOffset: number): Producer {
    const name = nameOf(scope);
    const fresh = { epoch: 0, nextSeq: 0, lastAt: 0, units: [], open: false };
    const made = { since: logOffset, describedAt: logOffset };
    const producer = this.#producers.get(name) ?? { ...scope, ...made, ...fresh };
    this.#producers.delete(name);
    this.#producers.set(name, producer);
    return producer;
  }

  /** Whether there is room for another among `max`: the next append forgets the idle ones. */
  hasRoom(max: number, now: number): boolean {
    if (this.#producers.size < max) return true;
    this.#order();
    const [oldest] = this.#producers.values();
    return oldest === undefined || isIdle(oldest, now);
  }

  #order(): void {
    if (this.#inOrder) return;
    const sorted = [...this.#producers].toSorted(([, a], [, b]) => a.lastAt - b.lastAt);
    this.#producers = new Map(sorted);
    this.#inOrder = true;
  }

  #forgetIdle(now: number): void {
    this.#order();
    for (const producer of this.#producers.values()) {
      if (!isIdle(producer, now)) return;
      this.#remove(producer);
    }
  }

  /** The producers of a deleted topic go. */
  removeTopic(topicGen: number): void {
    for (const producer of this.#producers.values()) {
      if (producer.topicGen === topicGen) this.#remove(producer);
    }
  }

  #remove(producer: Producer): void {
    this.#producers.delete(nameOf(producer));
    this.#dirty.remove(producer);
  }

  /** A `state` record of one that was known in part at most. */
  describe(key: readonly number[], value: Uint8Array): void {
    const { id, key: orderingKey } = read(Sequence, value);
    const name = nameOf({ topicGen: key[0] ?? 0, id, key: orderingKey });
    const known = this.#producers.get(name);
    if (known) this.#dirty.forget(known);
    this.restore(key, value);
    this.#dirty.touch(this.#producers.get(name) as Producer);
  }

  /** All of them. */
  all(): Iterable<Producer> {
    return this.#producers.values();
  }

  takeChanges(): Iterable<Change> {
    return this.#dirty.take();
  }

  restore([topicGen = 0, since = 0]: readonly number[], value: Uint8Array): void {
    const { units, ...sequence } = read(Sequence, value);
    const rest = { topicGen, since, describedAt: 0, open: false };
    const producer = { ...sequence, ...rest, units: [...units] };
    this.#producers.set(nameOf(producer), producer);
    this.#inOrder = false;
  }
}

/** As it stands in snapshots and `state` records. */
export function producerEntry(producer: Producer): Entry {
  return [producerKey(producer), write(Sequence, producer)];
}

function producerKey({ topicGen, since }: Producer): Uint8Array {
  return keyOf("E", [topicGen, since]);
}

function isIdle({ lastAt }: Producer, now: number): boolean {
  return lastAt + IDLE_MS <= now;
}

function nameOf({ topicGen, id, key }: ProducerScope): string {
  return JSON.stringify([topicGen, id, key]);
}
