/**
 * Where the bodies of removed messages lie that somebody still holds: retention
 * took their place in the queue, and their segment is gone.
 *
 *   key     "C" · topic generation u64 · queueOffset u64 · queueId u16
 *   value   {@linkcode Carried}
 *
 * A function of the log that is there, whoever holds what: the newest `carry` of
 * each message. One that lies before the log's start is forgotten with it.
 *
 * @module
 */

import { MessageFields } from "../../storage/base/message.ts";
import { viewOf } from "../../storage/base/bytes.ts";
import {
  type Change,
  type Entry,
  fields,
  type RecordOf,
  type RecordPlace,
  type Unit,
} from "../../storage/mod.ts";
import { Dirty } from "./dirty.ts";
import { keyOf, read, write } from "./entities.ts";

const { struct, u32, u64 } = fields;

const Carried = struct({
  bodyLogOffset: u64,
  size: u32,
  keyHash: u32,
  tagHash: u32,
  visibleAt: u64,
});

export interface CarriedPlace {
  readonly topicGen: number;
  readonly queueId: number;
  readonly queueOffset: number;
}

interface CarriedBody {
  readonly place: CarriedPlace;
  readonly unit: Unit;
}

export class CarriedTable {
  /** By topic generation, then by queue and offset. */
  readonly #topics = new Map<number, Map<string, CarriedBody>>();
  readonly #dirty = new Dirty({ keyOf: keyOfEntry, entryOf });

  find({ topicGen, queueId, queueOffset }: CarriedPlace): Unit | undefined {
    return this.#topics.get(topicGen)?.get(`${queueId}.${queueOffset}`)?.unit;
  }

  /** A body that has a place was copied. */
  apply(record: RecordOf<"carry">, { logOffset, size = 0 }: RecordPlace): void {
    const { topicGen, queueId, queueOffset, visibleAt } = record;
    const view = viewOf(record.message);
    this.#put(
      { topicGen, queueId, queueOffset },
      {
        bodyLogOffset: logOffset,
        size,
        keyHash: MessageFields.keyHash(view, 0),
        tagHash: MessageFields.tagHash(view, 0),
        visibleLogOffset: 0, // what made it visible is gone
        visibleAt,
      },
    );
  }

  #put(place: CarriedPlace, unit: Unit): void {
    const entry = { place, unit };
    const before = this.#topics.get(place.topicGen);
    const entries = before ?? new Map<string, typeof entry>();
    if (!before) this.#topics.set(place.topicGen, entries);
    const name = `${place.queueId}.${place.queueOffset}`;
    const replaced = entries.get(name);
    if (replaced) this.#dirty.forget(replaced);
    entries.set(name, entry);
    this.#dirty.touch(entry);
  }

  /** The log starts at `start` from now on. */
  forgetBefore(start: number): void {
    for (const [topicGen, entries] of this.#topics) {
      for (const [name, entry] of entries) {
        if (entry.unit.bodyLogOffset >= start) continue;
        entries.delete(name);
        this.#dirty.remove(entry);
      }
      if (entries.size === 0) this.#topics.delete(topicGen);
    }
  }

  removeTopic(topicGen: number): void {
    for (const entry of this.#topics.get(topicGen)?.values() ?? []) this.#dirty.remove(entry);
    this.#topics.delete(topicGen);
  }

  takeChanges(): Iterable<Change> {
    return this.#dirty.take();
  }

  *entries(): Generator<Entry> {
    for (const entries of this.#topics.values())
      for (const one of entries.values()) yield entryOf(one);
  }

  restore([topicGen = 0, queueOffset = 0]: readonly number[], queueId: number, value: Uint8Array) {
    this.#put({ topicGen, queueId, queueOffset }, { ...read(Carried, value), visibleLogOffset: 0 });
    this.#dirty.clear(); // what the snapshot holds is no change
  }
}

function entryOf(entry: CarriedBody): Entry {
  return [keyOfEntry(entry), write(Carried, entry.unit)];
}

function keyOfEntry({ place: { topicGen, queueOffset, queueId } }: CarriedBody): Uint8Array {
  return keyOf("C", [topicGen, queueOffset], queueId);
}
