/**
 * Where a message with a given id may lie: a table per young segment in memory,
 * the sidecars of the sealed ones.
 *
 * @module
 */

import { IdTable } from "./ids.ts";
import { NO_SIDECARS, type Sidecars, withSidecar } from "./sidecars.ts";

export class IdIndex {
  readonly #young = new Map<number, IdTable>();
  #sidecars: Sidecars = NO_SIDECARS;

  open(sidecars: Sidecars): void {
    this.#sidecars = sidecars;
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
    const places = young
      ? young.find(hash)
      : await withSidecar(this.#sidecars, base, (sidecar) => sidecar.findIds(hash));
    return (places ?? []).map((place) => base + place);
  }

  /** The sidecar answers for this segment from now on. */
  release(base: number): void {
    this.#young.delete(base);
  }
}
