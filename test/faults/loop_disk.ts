/**
 * A disk of its own (own_disk.ts) in a file, on a loop device.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { needs } from "../fakes/needs.ts";
import { cannotMount, OwnDisk, sh } from "./own_disk.ts";

const SIZE = "2G"; // sparse

/** Why there is none here; false where there is. */
export function cannotLoop(): string | false {
  const missing = cannotMount() || needs("losetup");
  if (missing !== false) return missing;
  try {
    sh("losetup", "-f");
    return existsSync("/dev/loop-control") ? false : "has no loop devices";
  } catch (error) {
    return `has no loop devices: ${(error as Error).message.split("\n")[0]}`;
  }
}

export class LoopDisk extends OwnDisk {
  readonly #loop: string;

  /** @param options.image a file for its blocks; @param options.path where it is mounted. */
  constructor({ image, path, size = SIZE }: { image: string; path: string; size?: string }) {
    sh("truncate", "-s", size, image);
    const loop = sh("losetup", "-f", "--show", image).trim();
    super(loop, { path });
    this.#loop = loop;
  }

  override close(): void {
    super.close();
    sh("losetup", "-d", this.#loop);
  }
}
