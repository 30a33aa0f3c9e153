/**
 * A disk in memory that forgets what was not synced.
 *
 * The crash model: written bytes lie in a cache until `sync`. When the power
 * goes, each unsynced 512-byte sector is kept or lost by chance, on its own, so
 * a tail may be torn anywhere and later sectors may survive earlier ones; the
 * file's size is the old one or the new one. A name that was made, moved or
 * removed without `syncDir` is as it was or as it is, by chance.
 *
 * `failSync` and `failWrite` make the next calls fail, as a disk would.
 *
 * @module
 */

import type { Disk, DiskFile } from "./disk.ts";
import { Prng } from "./prng.ts";

const SECTOR = 512;

class Inode {
  cached = new Uint8Array(0);
  durable = new Uint8Array(0);
  readonly dirty = new Set<number>(); // sectors written since the last sync

  resize(size: number): void {
    if (size === this.cached.length) return;
    const resized = new Uint8Array(size);
    resized.set(this.cached.subarray(0, size));
    this.cached = resized;
  }

  /** What the platter holds after power loss. */
  survivor(prng: Prng): Inode {
    const survivor = new Inode();
    const grew = this.cached.length !== this.durable.length && prng.chance(50);
    const bytes = new Uint8Array(grew ? this.cached.length : this.durable.length);
    bytes.set(this.durable.subarray(0, bytes.length));
    for (const sector of this.dirty) {
      const from = sector * SECTOR;
      const kept = this.cached.subarray(from, Math.min(from + SECTOR, bytes.length));
      if (from < bytes.length && prng.chance(50)) bytes.set(kept, from);
    }
    survivor.cached = bytes;
    survivor.durable = bytes.slice();
    return survivor;
  }
}

export class MemoryDisk implements Disk {
  #names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  #prng: Prng;
  /** How many further syncs succeed before one fails; undefined: all do. */
  failSync: number | undefined;
  /** How many further writes succeed before one fails half-way; undefined: all do. */
  failWrite: number | undefined;
  /** Counted, so that tests can tell group commit from one sync per message. */
  syncs = 0;

  constructor(seed = 1) {
    this.#prng = new Prng(seed);
  }

  makeDir(_path: string): Promise<void> {
    return Promise.resolve();
  }

  list(path: string): Promise<readonly string[]> {
    const prefix = path === "" ? "" : `${path}/`;
    const names = [...this.#names.keys()]
      .filter((name) => name.startsWith(prefix))
      .map((name) => name.slice(prefix.length).split("/")[0] as string);
    return Promise.resolve([...new Set(names)].toSorted());
  }

  async open(path: string, { create }: { create: boolean }): Promise<DiskFile> {
    let inode = this.#names.get(path);
    if (!inode) {
      if (!create) throw new Error(`Cannot open "${path}": no such file`);
      inode = new Inode();
      this.#names.set(path, inode);
    }
    return new MemoryFile(this, inode);
  }

  async rename(from: string, to: string): Promise<void> {
    const inode = this.#names.get(from);
    if (!inode) throw new Error(`Cannot rename "${from}": no such file`);
    this.#names.delete(from);
    this.#names.set(to, inode);
  }

  async remove(path: string): Promise<void> {
    if (!this.#names.delete(path)) throw new Error(`Cannot remove "${path}": no such file`);
  }

  async syncDir(path: string): Promise<void> {
    const inside = (name: string) => name.slice(0, Math.max(0, name.lastIndexOf("/"))) === path;
    for (const name of this.#durableNames.keys()) {
      if (inside(name) && !this.#names.has(name)) this.#durableNames.delete(name);
    }
    for (const [name, inode] of this.#names) if (inside(name)) this.#durableNames.set(name, inode);
  }

  /** The disk as it is found after power loss. The old one must not be used any more. */
  crash(): MemoryDisk {
    const after = new MemoryDisk(this.#prng.word());
    const survivors = new Map<Inode, Inode>();
    for (const path of new Set([...this.#names.keys(), ...this.#durableNames.keys()])) {
      const now = this.#names.get(path);
      const before = this.#durableNames.get(path);
      const inode = now === before || this.#prng.chance(50) ? now : before;
      if (!inode) continue;
      const survivor = survivors.get(inode) ?? inode.survivor(this.#prng);
      survivors.set(inode, survivor);
      after.#names.set(path, survivor);
      after.#durableNames.set(path, survivor);
    }
    return after;
  }

  /** A copy with everything written kept: what a killed process leaves to the next. */
  clone(): MemoryDisk {
    const copy = new MemoryDisk(this.#prng.word());
    for (const [path, inode] of this.#names) {
      const twin = new Inode();
      twin.cached = inode.cached.slice();
      twin.durable = inode.cached.slice();
      copy.#names.set(path, twin);
      copy.#durableNames.set(path, twin);
    }
    return copy;
  }

  /** The bytes of a file, to look at or to damage. */
  bytes(path: string): Uint8Array {
    const inode = this.#names.get(path);
    if (!inode) throw new Error(`Cannot read "${path}": no such file`);
    return inode.cached;
  }
}

class MemoryFile implements DiskFile {
  readonly #disk: MemoryDisk;
  readonly #inode: Inode;

  constructor(disk: MemoryDisk, inode: Inode) {
    this.#disk = disk;
    this.#inode = inode;
  }

  size(): Promise<number> {
    return Promise.resolve(this.#inode.cached.length);
  }

  read(target: Uint8Array, position: number): Promise<number> {
    const found = this.#inode.cached.subarray(position, position + target.length);
    target.set(found);
    return Promise.resolve(found.length);
  }

  write(bytes: Uint8Array, position: number): void {
    const whole = this.#countDown("failWrite");
    const written = whole ? bytes : bytes.subarray(0, bytes.length >> 1);
    const end = position + written.length;
    if (end > this.#inode.cached.length) this.#inode.resize(end);
    this.#inode.cached.set(written, position);
    for (let at = Math.floor(position / SECTOR); at * SECTOR < end; at++) this.#inode.dirty.add(at);
    if (!whole) throw new Error("Cannot write: no space left on device");
  }

  async sync(): Promise<void> {
    this.#disk.syncs++;
    if (!this.#countDown("failSync")) throw new Error("Cannot sync: input/output error");
    this.#inode.durable = this.#inode.cached.slice();
    this.#inode.dirty.clear();
  }

  async truncate(size: number): Promise<void> {
    this.#inode.resize(size);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** Returns false when this is the call that fails. */
  #countDown(which: "failSync" | "failWrite"): boolean {
    const left = this.#disk[which];
    if (left === undefined) return true;
    this.#disk[which] = left === 0 ? undefined : left - 1;
    return left > 0;
  }
}
