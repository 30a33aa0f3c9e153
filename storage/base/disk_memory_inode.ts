/**
 * A file of the disk in memory: what is written, what of it is synced, and which of
 * its sectors have room on the disk. The crash model is told in disk_memory.ts.
 *
 * @module
 */

import type { Prng } from "./prng.ts";

export const SECTOR = 512;

type Pending = { readonly order: number } & (
  | { readonly kind: "size"; readonly size: number }
  | { readonly kind: "sector"; readonly at: number; readonly bytes: Uint8Array }
);

export class Inode {
  cached = new Uint8Array(0);
  durable = new Uint8Array(0);
  /** Sectors that cannot be read. */
  readonly bad = new Set<number>();
  /** Sectors that take room: those ever written, since the file was last cut before them. */
  readonly #taken = new Set<number>();
  /** Sectors whose blocks were written at least once: they are the file's whatever comes. */
  readonly #written = new Set<number>();
  /** Sectors whose first sync was lost: what is written there never lands, though no sync says so. */
  readonly #unwritten = new Set<number>();
  /** What was done to the cache and not to the platter, oldest first. */
  #pending: Pending[] = [];
  #order = 0;

  resize(size: number): void {
    if (size === this.cached.length) return;
    this.cached = resized(this.cached, size);
    for (const sectors of [this.#taken, this.#written, this.#unwritten]) {
      for (const sector of sectors) if (sector * SECTOR >= size) sectors.delete(sector);
    }
    this.#pending.push({ kind: "size", size, order: this.#order++ });
  }

  write(bytes: Uint8Array, position: number): void {
    const end = position + bytes.length;
    if (end > this.cached.length) this.resize(end);
    this.cached.set(bytes, position);
    for (let at = position - (position % SECTOR); at < end; at += SECTOR) {
      this.#taken.add(at / SECTOR);
      const sector = this.cached.slice(at, at + SECTOR);
      this.#pending.push({ kind: "sector", at, bytes: sector, order: this.#order++ });
    }
  }

  /** Bytes of the disk that it takes. */
  get room(): number {
    return this.#taken.size * SECTOR;
  }

  /** How many of `size` bytes at `position` can be written if `room` bytes of the disk are left. */
  fitting(
    position: number,
    { size, room }: { readonly size: number; readonly room: number },
  ): number {
    const end = position + size;
    let left = room;
    for (let at = position - (position % SECTOR); at < end; at += SECTOR) {
      if (this.#taken.has(at / SECTOR)) continue;
      left -= SECTOR;
      if (left < 0) return Math.max(0, at - position);
    }
    return size;
  }

  /** Covers what was done so far; the returned function ends it. */
  startSync(): (outcome: "written" | "lost") => void {
    const before = this.#order;
    return (outcome) => {
      const covered = this.#pending.filter(({ order }) => order < before);
      this.durable = applied(
        this.durable,
        covered.filter((change) => change.kind === "size" || this.#lands(change.at, outcome)),
      );
      this.#pending = this.#pending.filter(({ order }) => order >= before);
    };
  }

  #lands(at: number, outcome: "written" | "lost"): boolean {
    const sector = at / SECTOR;
    if (outcome === "written" && !this.#unwritten.has(sector)) this.#written.add(sector);
    else if (!this.#written.has(sector)) this.#unwritten.add(sector);
    return outcome === "written" && this.#written.has(sector);
  }

  /** What the platter holds after power loss. */
  survivor(prng: Prng): Inode {
    const sizes = this.#pending.filter(({ kind }) => kind === "size").length;
    let sizesKept = prng.below(sizes + 1);
    const landed = this.#pending.filter((change) =>
      change.kind === "size"
        ? sizesKept-- > 0
        : prng.chance(50) && this.#lands(change.at, "written"),
    );
    const survivor = new Inode(); // what is unwritten is known to be, once it is mounted anew
    survivor.durable = applied(this.durable, landed);
    survivor.cached = survivor.durable.slice();
    for (const sector of this.#taken) {
      if (sector * SECTOR < survivor.cached.length) survivor.#taken.add(sector);
    }
    for (const sector of this.#written) {
      if (sector * SECTOR < survivor.cached.length) survivor.#written.add(sector);
    }
    for (const sector of this.bad) survivor.bad.add(sector);
    return survivor;
  }

  twin(): Inode {
    const twin = new Inode();
    twin.cached = this.cached.slice();
    twin.durable = this.durable.slice();
    twin.#pending = [...this.#pending];
    twin.#order = this.#order;
    for (const sector of this.#taken) twin.#taken.add(sector);
    for (const sector of this.#written) twin.#written.add(sector);
    for (const sector of this.#unwritten) twin.#unwritten.add(sector);
    for (const sector of this.bad) twin.bad.add(sector);
    return twin;
  }
}

/** A copy of `before` after the changes; sectors behind its end are not there to be written. */
function applied(before: Uint8Array, changes: readonly Pending[]): Uint8Array<ArrayBuffer> {
  let bytes = before.slice();
  for (const change of changes) {
    if (change.kind === "size") bytes = resized(bytes, change.size);
    else if (change.at < bytes.length) {
      bytes.set(change.bytes.subarray(0, bytes.length - change.at), change.at);
    }
  }
  return bytes;
}

function resized(bytes: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(size);
  copy.set(bytes.subarray(0, size));
  return copy;
}
