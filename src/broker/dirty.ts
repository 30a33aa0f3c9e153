/**
 * Which entities of one kind changed since the last snapshot, and how they stood when
 * one was begun, though they go on changing:
 *
 *   touch ──▶ changed ──take──▶ taken ──read──▶ encoded
 *                 ▲               │
 *                 └────touch──────┘ encoded first, as it stands
 *
 * To take the changes costs the same however many there are; they are encoded when
 * they are read, a part at a time, or one by one when they are about to change again.
 *
 * Invariant: an entity is in one taking at most. One that did not change between two
 * takings stands in the first only, and is the same in both.
 *
 * @module
 */

import type { Change, Entry } from "../../storage/mod.ts";

/** What changed up to a moment: keys that went, entities not encoded yet, and those that are. */
interface Taking<T> {
  readonly removed: readonly Uint8Array[];
  readonly entities: Set<T>;
  readonly encoded: Entry[];
}

export class Dirty<T> {
  readonly #keyOf: (entity: T) => Uint8Array;
  readonly #entryOf: (entity: T) => Entry;
  #changed = new Set<T>();
  #removed: Uint8Array[] = [];
  /** Those that are not read to their end, oldest first. */
  #takings: Taking<T>[] = [];

  /** @param kind.entryOf as it stands; its key never changes. */
  constructor(kind: {
    readonly keyOf: (entity: T) => Uint8Array;
    readonly entryOf: (entity: T) => Entry;
  }) {
    this.#keyOf = kind.keyOf;
    this.#entryOf = kind.entryOf;
  }

  /** It is about to change, or was just made. Before the change: a taking has it as it was. */
  touch(entity: T): void {
    if (this.#takings.length > 0) this.#settle(entity);
    this.#changed.add(entity);
  }

  /** It goes, and is not changed before. */
  remove(entity: T): void {
    this.forget(entity);
    this.#removed.push(this.#keyOf(entity));
  }

  /** Another object is about to stand for it. */
  forget(entity: T): void {
    this.#settle(entity);
    this.#changed.delete(entity);
  }

  /** Nothing changed: what there is came from a snapshot. */
  clear(): void {
    this.#changed.clear();
    this.#removed = [];
  }

  #settle(entity: T): void {
    for (const taking of this.#takings) {
      if (taking.entities.delete(entity)) taking.encoded.push(this.#entryOf(entity));
    }
  }

  /** What changed since the last call, as it stands now, whenever it is read. To be read once. */
  take(): Iterable<Change> {
    const taking = { removed: this.#removed, entities: this.#changed, encoded: [] };
    this.#removed = [];
    this.#changed = new Set();
    if (taking.entities.size > 0) this.#takings.push(taking);
    return this.#read(taking);
  }

  *#read(taking: Taking<T>): Generator<Change> {
    for (const key of taking.removed) yield [key, undefined]; // first: one may be there again
    for (const entity of taking.entities) {
      taking.entities.delete(entity);
      yield this.#entryOf(entity);
    }
    this.#takings = this.#takings.filter((one) => one !== taking);
    yield* taking.encoded;
  }
}
