/**
 * The real disk, through `node:fs`, which Bun, Deno and Node share.
 *
 * Positional writes loop over short counts (Bun and Node return them, Deno
 * loops by itself). Bun's own writers are not used: they lose errors.
 *
 * @module
 */

import {
  close,
  constants,
  fdatasync,
  fstat,
  fsync,
  ftruncate,
  mkdir,
  open,
  read,
  readdir,
  rename,
  statfs,
  unlink,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { type Disk, type DiskFile, type DiskSpace, NoRoom } from "./disk.ts";
import { writeFully } from "./write_fully.ts";

const openFile = promisify(open);
const closeFile = promisify(close);
const syncData = promisify(fdatasync);
const syncAll = promisify(fsync);

class NodeFile implements DiskFile {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  async size(): Promise<number> {
    return (await promisify(fstat)(this.#fd)).size;
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    let got = 0;
    while (got < target.length) {
      const count = await this.#readSome(target, got, position + got);
      if (count === 0) break;
      got += count;
    }
    return got;
  }

  #readSome(target: Uint8Array, at: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      read(this.#fd, target, at, target.length - at, position, (error, count) => {
        if (error) reject(error);
        else resolve(count);
      });
    });
  }

  write(bytes: Uint8Array, position: number): void {
    try {
      writeFully(bytes.length, (from) =>
        writeSync(this.#fd, bytes, from, bytes.length - from, position + from),
      );
    } catch (error) {
      throw asNoRoom(error);
    }
  }

  sync(): Promise<void> {
    return syncData(this.#fd);
  }

  truncate(size: number): Promise<void> {
    return orNoRoom(promisify(ftruncate)(this.#fd, size));
  }

  close(): Promise<void> {
    return closeFile(this.#fd);
  }
}

const NO_ROOM = ["ENOSPC", "EDQUOT", "EFBIG"];
/** The same in numbers: Deno gives some errors no code. */
const NO_ROOM_NUMBER = /\(os error (28|122|27)\)/;

/** What the system said, as {@linkcode NoRoom} where that is what it means. */
function asNoRoom(error: unknown): unknown {
  const { code, message } = error as { code?: unknown; message?: string };
  const isNoRoom = NO_ROOM.includes(String(code)) || NO_ROOM_NUMBER.test(message ?? "");
  return isNoRoom ? new NoRoom(message, { cause: error }) : error;
}

function orNoRoom<T>(call: Promise<T>): Promise<T> {
  return call.catch((error: unknown) => {
    throw asNoRoom(error);
  });
}

/** What another user than root could use: root may, but should not, use the rest. */
async function spaceOf(path: string): Promise<DiskSpace | undefined> {
  try {
    const { bsize, blocks, bfree, bavail } = await promisify(statfs)(path);
    return blocks > 0
      ? { size: bsize * (blocks - bfree + bavail), free: bsize * bavail }
      : undefined;
  } catch {
    return undefined; // not every runtime and file system tells
  }
}

/** A disk whose paths lie below `root`. */
export function openNodeDisk(root: string): Disk {
  const at = (path: string) => join(root, path);
  return {
    space: () => spaceOf(root),
    async makeDir(path) {
      const first = await promisify(mkdir)(at(path), { recursive: true });
      // The names of all that was made must be as durable as what is put there.
      for (let made = at(path); first && made.length >= first.length; made = dirname(made)) {
        await syncDirectory(dirname(made));
      }
    },
    async list(path) {
      try {
        return (await promisify(readdir)(at(path))).toSorted();
      } catch (error) {
        if ((error as { code?: unknown }).code === "ENOENT") return [];
        throw error;
      }
    },
    async open(path, { create }) {
      const flags = constants.O_RDWR | (create ? constants.O_CREAT : 0);
      return new NodeFile(await orNoRoom(openFile(at(path), flags, 0o644)));
    },
    rename: (from, to) => orNoRoom(promisify(rename)(at(from), at(to))),
    remove: (path) => promisify(unlink)(at(path)),
    syncDir: (path) => syncDirectory(at(path)),
  };
}

async function syncDirectory(path: string): Promise<void> {
  const fd = await openFile(path, constants.O_RDONLY);
  try {
    await syncAll(fd);
  } finally {
    await closeFile(fd);
  }
}
