/**
 * A disk in memory that forgets what was not synced.
 *
 * The crash model: written bytes lie in a cache until a `sync` has ended; it takes
 * a few turns, and covers what was written before it was called. When the power
 * goes, each unsynced 512-byte sector is kept or lost by chance, on its own, so a
 * tail may be torn anywhere and later sectors may survive earlier ones; of
 * changes of the file's size the first few are kept. A name that was made, moved
 * or removed and not covered by a `syncDir` is as it was or as it is, by chance.
 *
 * `capacity` is its size: a write that needs more takes what there is room for and
 * fails, until something is cut or removed, or the disk grows.
 *
 * `failSync` and `failWrite` make the next calls fail, as a disk would. A sync
 * that fails loses what it was to write, as Linux does: the cache goes on
 * showing it, calls it clean, and a second sync says yes without writing it. Where
 * nothing had been written before, it is worse, as ext4 has it: the file's blocks stay
 * marked as unwritten, and whatever is written there later is synced with a yes and
 * reads as zeros after the next mount, until the file is cut before it.
 * `shortWrites` makes the system take less than it is given now and then, and
 * `spoil`, `damage` and `lose` are the medium's own doing.
 *
 * A simulation holds the pace: it says when each call that changes what is durable
 * or named goes on, so that its order is chance of the seed and nothing else.
 *
 * @module
 */

import { type Disk, type DiskFile, type DiskSpace, NoRoom } from "./disk.ts";
import { Inode, SECTOR } from "./disk_memory_inode.ts";
import { Prng } from "./prng.ts";
import { writeFully } from "./write_fully.ts";

const SYNC_TURNS_MAX = 6;

/** Resolves when a call, which names itself, may go on. */
export type Pace = (call: string) => Promise<void>;

export class MemoryDisk implements Disk {
  #names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  readonly #dirsSynced = new Map<string, number>();
  #order = 0;
  #prng: Prng;
  /** How many further syncs succeed before one fails; undefined: all do. */
  failSync: number | undefined;
  /** How many further writes succeed before one fails half-way; undefined: all do. */
  failWrite: number | undefined;
  /** What that one meets. */
  failWriteBy: "EIO" | "no room" = "EIO";
  /** In bytes; undefined: without end. */
  capacity: number | undefined;
  /** Of a hundred writes, so many are taken in part. */
  shortWrites = 0;
  /** Counted, so that tests can tell group commit from one sync per message. */
  syncs = 0;

  readonly #pace: Pace | undefined;

  constructor(seed = 1, pace?: Pace) {
    this.#prng = new Prng(seed);
    this.#pace = pace;
  }

  space(): Promise<DiskSpace | undefined> {
    if (this.capacity === undefined) return Promise.resolve(undefined);
    return Promise.resolve({ size: this.capacity, free: Math.max(0, this.left) });
  }

  /** Bytes that its files take. */
  get used(): number {
    return [...new Set(this.#names.values())].reduce((sum, { room }) => sum + room, 0);
  }

  /** Bytes of room. */
  get left(): number {
    return this.capacity === undefined ? Infinity : this.capacity - this.used;
  }

  makeDir(_path: string): Promise<void> {
    return Promise.resolve();
  }

  list(path: string): Promise<readonly string[]> {
    return Promise.resolve(this.names(path));
  }

  names(path: string): readonly string[] {
    const prefix = path === "" ? "" : `${path}/`;
    const names = [...this.#names.keys()]
      .filter((name) => name.startsWith(prefix))
      .map((name) => name.slice(prefix.length).split("/")[0] as string);
    return [...new Set(names)].toSorted();
  }

  async open(path: string, { create }: { create: boolean }): Promise<DiskFile> {
    let inode = this.#names.get(path);
    if (!inode) {
      if (!create) throw failure("ENOENT", `Cannot open "${path}": no such file`);
      if (this.left <= 0) throw new NoRoom(`Cannot open "${path}": no space left on device`);
      inode = new Inode();
      this.#names.set(path, inode);
    }
    return new MemoryFile(this, { inode, path });
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#pace?.(`rename ${from}`);
    const inode = this.#names.get(from);
    if (!inode) throw failure("ENOENT", `Cannot rename "${from}": no such file`);
    this.#names.delete(from);
    this.#names.set(to, inode);
  }

  async remove(path: string): Promise<void> {
    await this.#pace?.(`remove ${path}`);
    if (!this.#names.delete(path)) {
      throw failure("ENOENT", `Cannot remove "${path}": no such file`);
    }
  }

  async syncDir(path: string): Promise<void> {
    const order = this.#order++;
    const inside = (name: string) => name.slice(0, Math.max(0, name.lastIndexOf("/"))) === path;
    const now = [...this.#names].filter(([name]) => inside(name));
    await this.takeTurns(`sync ${path}`);
    if (order < (this.#dirsSynced.get(path) ?? 0)) return; // one that began later has told more
    this.#dirsSynced.set(path, order);
    for (const name of this.#durableNames.keys()) {
      if (inside(name) && !now.some(([one]) => one === name)) this.#durableNames.delete(name);
    }
    for (const [name, inode] of now) this.#durableNames.set(name, inode);
  }

  /** How long a sync takes. */
  async takeTurns(what: string): Promise<void> {
    if (this.#pace) return this.#pace(what);
    for (let left = this.#prng.below(SYNC_TURNS_MAX); left > 0; left--) await Promise.resolve();
  }

  /** The disk as it is found after power loss. The old one must not be used any more. */
  crash(): MemoryDisk {
    const after = new MemoryDisk(this.#prng.word(), this.#pace);
    after.capacity = this.capacity;
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

  /**
   * A copy, with what is written still in its cache and what is synced on its
   * platter: what a killed process leaves to the next.
   *
   * @param options.paced false: nobody holds its pace.
   */
  clone({ paced = true }: { readonly paced?: boolean } = {}): MemoryDisk {
    const copy = new MemoryDisk(this.#prng.word(), paced ? this.#pace : undefined);
    copy.capacity = this.capacity;
    const twins = new Map<Inode, Inode>();
    const twinOf = (inode: Inode): Inode => {
      const twin = twins.get(inode) ?? inode.twin();
      twins.set(inode, twin);
      return twin;
    };
    for (const [path, inode] of this.#names) copy.#names.set(path, twinOf(inode));
    for (const [path, inode] of this.#durableNames) copy.#durableNames.set(path, twinOf(inode));
    return copy;
  }

  /** Decay, not a write: changes a file where it lies, in the cache and on the platter. */
  damage(path: string, change: (bytes: Uint8Array) => void): void {
    change(this.bytes(path));
    change(this.#names.get(path)?.durable ?? new Uint8Array(0));
  }

  has(path: string): boolean {
    return this.#names.has(path);
  }

  /** The bytes of a file, to look at. */
  bytes(path: string): Uint8Array {
    const inode = this.#names.get(path);
    if (!inode) throw failure("ENOENT", `Cannot read "${path}": no such file`);
    return inode.cached;
  }

  /** What of a file is synced, to look at. */
  platter(path: string): Uint8Array {
    return this.#names.get(path)?.durable ?? new Uint8Array(0);
  }

  /** The file is gone, its name and all, as if it had never been. */
  lose(path: string): void {
    this.#names.delete(path);
    this.#durableNames.delete(path);
  }

  /** How many of `size` bytes the system takes at once. */
  taken(size: number): number {
    return this.#prng.chance(this.shortWrites) ? 1 + this.#prng.below(size) : size;
  }

  /** The medium goes bad: a sector of the file cannot be read from now on. */
  spoil(path: string, sector: number): void {
    this.#names.get(path)?.bad.add(sector);
  }
}

/** As the system tells it: callers look at the code. */
function failure(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

class MemoryFile implements DiskFile {
  readonly #disk: MemoryDisk;
  readonly #inode: Inode;
  readonly #path: string;

  constructor(disk: MemoryDisk, { inode, path }: { inode: Inode; path: string }) {
    this.#disk = disk;
    this.#inode = inode;
    this.#path = path;
  }

  size(): Promise<number> {
    return Promise.resolve(this.#inode.cached.length);
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    for (const sector of this.#inode.bad) {
      const [from, to] = [sector * SECTOR, (sector + 1) * SECTOR];
      if (from < position + target.length && position < to) {
        throw failure("EIO", "Cannot read: input/output error");
      }
    }
    const found = this.#inode.cached.subarray(position, position + target.length);
    target.set(found);
    return found.length;
  }

  write(bytes: Uint8Array, position: number): void {
    const whole = this.#countDown("failWrite");
    const { left: room, failWriteBy } = this.#disk;
    const fitting = this.#inode.fitting(position, { size: bytes.length, room });
    const accepted = bytes.subarray(0, whole ? fitting : Math.min(fitting, bytes.length >> 1));
    writeFully(accepted.length, (from) => {
      const count = this.#disk.taken(accepted.length - from);
      this.#inode.write(accepted.subarray(from, from + count), position + from);
      return count;
    });
    if (!whole && failWriteBy === "EIO") throw failure("EIO", "Cannot write: input/output error");
    if (whole && accepted.length === bytes.length) return;
    throw new NoRoom("Cannot write: no space left on device");
  }

  async sync(): Promise<void> {
    this.#disk.syncs++;
    const whole = this.#countDown("failSync");
    const end = this.#inode.startSync();
    await this.#disk.takeTurns(`sync ${this.#path}`);
    end(whole ? "written" : "lost");
    if (!whole) throw failure("EIO", "Cannot sync: input/output error");
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
