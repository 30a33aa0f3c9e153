/**
 * A disk of its own for a data directory: ext4 (or XFS) on a loop device, whose
 * power can be cut. The file system is shut down without writing what it holds, so
 * after the next mount there is what was synced, and some of the rest.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { needs } from "../fakes/needs.ts";
import { pause } from "./target.ts";

/** FS_IOC_GOINGDOWN, flag 2: without flushing the journal. */
const GO_DOWN = `use Fcntl; sysopen(my $d, $ARGV[0], O_RDONLY | 0200000) or die "open: $!";
my $flag = pack("L", 2); ioctl($d, 0x8004587d, $flag) or die "ioctl: $!";`;

const SIZE = "2G"; // sparse
const UNMOUNT_TRIES = 100;

/** Why there is none here; false where there is. */
export function cannotLoop(): string | false {
  if (process.getuid?.() !== 0) return "needs root, to mount a file system";
  const missing = needs("mkfs.ext4", "losetup", "mount", "perl");
  if (missing !== false) return missing;
  try {
    sh("losetup", "-f");
    return existsSync("/dev/loop-control") ? false : "has no loop devices";
  } catch (error) {
    return `has no loop devices: ${(error as Error).message.split("\n")[0]}`;
  }
}

/** Runs a program to its end. @returns what it wrote. @throws when it fails. */
export function sh(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

export class LoopDisk {
  readonly path: string;
  readonly #device: string;
  #mounted = false;

  /** @param options.image a file for its blocks; @param options.path where it is mounted. */
  constructor({ image, path, size = SIZE }: { image: string; path: string; size?: string }) {
    this.path = path;
    mkdirSync(path, { recursive: true });
    sh("truncate", "-s", size, image);
    const xfs = needs("mkfs.xfs") === false && process.env["FAULTS_FS"] === "xfs";
    if (xfs) sh("mkfs.xfs", "-q", image);
    else sh("mkfs.ext4", "-q", "-F", image);
    this.#device = sh("losetup", "-f", "--show", image).trim();
    this.mount();
  }

  mount(): void {
    sh("mount", this.#device, this.path);
    this.#mounted = true;
  }

  /** From now on nothing reaches it. Whoever writes gets an error: end it at once. */
  cutPower(): void {
    sh("perl", "-e", GO_DOWN, this.path);
  }

  /** Writers wait from now on, until it is thawed. */
  freeze(): void {
    sh("fsfreeze", "-f", this.path);
  }

  thaw(): void {
    sh("fsfreeze", "-u", this.path);
  }

  /** Whoever used it is gone, but its last threads may take a moment. */
  async unmount(): Promise<void> {
    for (let left = UNMOUNT_TRIES; this.#mounted; left--) {
      try {
        sh("umount", this.path);
        this.#mounted = false;
      } catch (error) {
        if (left === 0) throw error;
        await pause(20);
      }
    }
  }

  close(): void {
    if (this.#mounted) sh("umount", this.path);
    sh("losetup", "-d", this.#device);
  }
}
