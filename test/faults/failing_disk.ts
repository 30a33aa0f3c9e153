/**
 * A disk of its own (own_disk.ts) that refuses to write for a while: a zram device,
 * whose blocks lie in memory. One that may not take any more memory answers each
 * block it is given with an error and keeps the one it had; it goes on reading.
 *
 *   takes ── refuseWrites() ──▶ refuses ── acceptWrites() ──▶ takes
 *
 * What a sync could not write the kernel calls clean all the same. Until the disk is
 * mounted anew readers find in the page cache what the disk does not have: the ghosts
 * that whoever starts again must not believe in.
 *
 * A journal that cannot be written makes the file system give up: it can only be read
 * until it is mounted anew. One that has no journal would go on, and not even know its
 * own ghosts: what a file's blocks are is lost with the rest, and no program can tell.
 *
 * @module
 */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cannotMount, OwnDisk } from "./own_disk.ts";

const CONTROL = "/sys/class/zram-control";
const SIZE = "2G"; // what is written takes memory, the rest none
/** The least limit there is: a page. */
const NOTHING = "4K";
const NO_LIMIT = "0";

/** Why there is none here; false where there is. */
export function cannotFail(): string | false {
  const missing = cannotMount();
  if (missing !== false) return missing;
  return existsSync(CONTROL) ? false : "has no zram devices";
}

export class FailingDisk extends OwnDisk {
  readonly #id: string;

  constructor({ path }: { path: string }) {
    const id = readFileSync(`${CONTROL}/hot_add`, "utf8").trim();
    writeFileSync(`/sys/block/zram${id}/disksize`, SIZE);
    super(`/dev/zram${id}`, { path });
    this.#id = id;
  }

  refuseWrites(): void {
    writeFileSync(`/sys/block/zram${this.#id}/mem_limit`, NOTHING);
  }

  acceptWrites(): void {
    writeFileSync(`/sys/block/zram${this.#id}/mem_limit`, NO_LIMIT);
  }

  override close(): void {
    super.close();
    writeFileSync(`/sys/block/zram${this.#id}/reset`, "1");
    writeFileSync(`${CONTROL}/hot_remove`, this.#id);
  }
}
