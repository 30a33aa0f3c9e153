/**
 * The idempotency keys that are in no run yet: in memory, a table per segment.
 *
 * @module
 */

import { DedupeTable } from "./dedupe_table.ts";

export interface YoungKey {
  readonly keyHash: Uint8Array;
  readonly logOffset: number;
  readonly storedAt: number;
}

export class YoungKeys {
  /** By base of the segment, oldest first. */
  readonly #tables = new Map<number, DedupeTable>();
  /** How many tables went. */
  dropped = 0;

  put(base: number, { keyHash, logOffset, storedAt }: YoungKey): void {
    let table = this.#tables.get(base);
    if (!table) {
      table = new DedupeTable();
      this.#tables.set(base, table);
    }
    table.put(keyHash, { place: logOffset - base, storedAt });
  }

  has(base: number): boolean {
    return this.#tables.has(base);
  }

  drop(base: number): void {
    if (this.#tables.delete(base)) this.dropped++;
  }

  /** The logOffset of the message with this key, where it was published later than `since`. */
  find(keyHash: Uint8Array, since: number): number | undefined {
    for (const [base, table] of [...this.#tables].toReversed()) {
      const found = table.find(keyHash);
      if (found) return found.storedAt > since ? base + found.place : undefined;
    }
    return undefined;
  }

  /** Memory they take. */
  get byteSize(): number {
    return this.#tables.values().reduce((bytes, table) => bytes + table.byteSize, 0);
  }
}
