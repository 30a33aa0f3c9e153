/**
 * Where a message with a given id may lie: a table per young segment in memory,
 * the sidecars of the sealed ones.
 *
 * @module
 */

import { IdTable } from "./ids.ts";
import type { FindSidecar } from "./queue_reader.ts";

export class IdIndex {
  readonly #young = new Map<number, IdTable>();
  #sidecar: FindSidecar = () => undefined;

  open(sidecar: FindSidecar): void {
    this.#sidecar = sidecar;
  }

  /** The table of a segment whose sidecar is not in use yet. */
  table(base: number): IdTable {
    let table = this.#young.get(base);
    if (!table) {
      table = new IdTable();
      this.#young.set(base, table);
    }
    return table;
  }

  /** logOffsets in the segment at `base` of messages whose id has this hash, newest first. */
  async find(hash: number, base: number): Promise<number[]> {
    const young = this.#young.get(base);
    const places = young ? young.find(hash) : await this.#sidecar(base)?.findIds(hash);
    return (places ?? []).map((place) => base + place);
  }

  /** The sidecar answers for this segment from now on. */
  release(base: number): void {
    this.#young.delete(base);
  }
}
