/**
 * What the log needs of a disk. `disk_node.ts` is the real one for Bun, Deno
 * and Node; `disk_memory.ts` is the one that loses power on command.
 *
 * Paths are relative to the data directory, with `/` between parts. Every
 * failure rejects or throws with what the system said; the caller decides what
 * it means. Nothing is durable before the `sync` that covers it returns: bytes
 * by `DiskFile.sync`, names (create, rename, remove) by `Disk.syncDir`.
 *
 * A call that finds no room throws {@linkcode NoRoom}, and may be repeated; a sync
 * never does: whatever it fails with, what it was to cover is lost.
 *
 * @module
 */

/** The file system that the disk lies on, in bytes. */
export interface DiskSpace {
  /** What we could use of it if it were empty. */
  readonly size: number;
  /** What we can still use. */
  readonly free: number;
}

/** There is no room: on the file system, in a quota, or below a limit of file sizes. */
export class NoRoom extends Error {
  override readonly name = "NoRoom";
}

export interface Disk {
  /** Undefined where the system does not tell. */
  space(): Promise<DiskSpace | undefined>;
  /** Makes a directory and those above it, durably. */
  makeDir(path: string): Promise<void>;
  /** Names in a directory, sorted; empty when there is no such directory. */
  list(path: string): Promise<readonly string[]>;
  /** Opens for reading and writing; `create` makes the file when it is missing. */
  open(path: string, options: { create: boolean }): Promise<DiskFile>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  syncDir(path: string): Promise<void>;
}

export interface DiskFile {
  size(): Promise<number>;
  /** Fills `target` from `position`; returns how many bytes there were. */
  read(target: Uint8Array, position: number): Promise<number>;
  /**
   * Writes all of `bytes` into the page cache. Synchronous: it costs a few
   * microseconds, where a thread hop would cost a hundred. After a throw the
   * bytes from `position` on are unknown.
   *
   * @throws {NoRoom}, and what the system said of anything else.
   */
  write(bytes: Uint8Array, position: number): void;
  /** Resolves once every byte written before the call survives power loss (fdatasync). */
  sync(): Promise<void>;
  truncate(size: number): Promise<void>;
  close(): Promise<void>;
}

/** Reads all of `[position, position + size)`, or what there is of it. */
export async function readRange(
  file: DiskFile,
  position: number,
  size: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(size);
  const got = await file.read(bytes, position);
  return got === size ? bytes : bytes.subarray(0, got);
}

const ASIDE = ".tmp";

/**
 * Puts a whole file in place so that a crash leaves the old one or the new one,
 * never a mixture: write aside, sync, rename, sync the directory.
 */
export function replaceFile(disk: Disk, path: string, parts: readonly Uint8Array[]): Promise<void> {
  return replaceFileBy(disk, path, (file) => {
    let at = 0;
    for (const part of parts) {
      file.write(part, at);
      at += part.length;
    }
  });
}

/** As {@linkcode replaceFile}, of a file that `write` fills, empty at first. */
export async function replaceFileBy(
  disk: Disk,
  path: string,
  write: (file: DiskFile) => void | Promise<void>,
): Promise<void> {
  const aside = path + ASIDE;
  const file = await disk.open(aside, { create: true });
  try {
    await file.truncate(0);
    await write(file);
    await file.sync();
  } catch (error) {
    await file.truncate(0).catch(() => {}); // the disk may be full of just this
    throw error;
  } finally {
    await file.close();
  }
  await disk.rename(aside, path);
  await disk.syncDir(path.slice(0, Math.max(0, path.lastIndexOf("/"))));
}

/**
 * A file whose bytes are written where they lie, after a sync of it failed: opened as a
 * new one with the first `size` bytes of the old. What is written to the old one where
 * nothing had been before would be synced with a yes and not be on the disk.
 */
export async function openAnew(disk: Disk, path: string, size: number): Promise<DiskFile> {
  const old = await disk.open(path, { create: false });
  const bytes = await readRange(old, 0, size);
  await old.close();
  await replaceFile(disk, path, [bytes]);
  return disk.open(path, { create: false });
}

/** Removes what a crash left of {@linkcode replaceFile} in a directory. */
export async function removeAsides(disk: Disk, dir: string): Promise<void> {
  for (const name of await disk.list(dir)) {
    if (name.endsWith(ASIDE)) await disk.remove(`${dir}/${name}`);
  }
}
