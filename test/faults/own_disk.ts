/**
 * A disk of its own for a data directory: ext4 (or XFS) on a block device that is
 * nobody else's, a loop device (loop_disk.ts) or one in memory (failing_disk.ts).
 *
 * Its power can be cut: the file system is shut down without writing what it holds, so
 * after the next mount there is what was synced, and some of the rest.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { needs } from "../fakes/needs.ts";
import { pause } from "./target.ts";

/** FS_IOC_GOINGDOWN, flag 2: without flushing the journal; in the moment after the users were stopped. */
const GO_DOWN = `use Fcntl; sysopen(my $d, shift, O_RDONLY | 0200000) or die "open: $!";
my $flag = pack("L", 2); kill "STOP", @ARGV; ioctl($d, 0x8004587d, $flag) or die "ioctl: $!";`;

const UNMOUNT_TRIES = 100;

/** Runs a program to its end. @returns what it wrote. @throws when it fails. */
export function sh(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Why no file system can be made and mounted; false where one can. */
export function cannotMount(): string | false {
  if (process.getuid?.() !== 0) return "needs root, to mount a file system";
  return needs("mkfs.ext4", "mount", "perl");
}

export class OwnDisk {
  readonly path: string;
  readonly #device: string;
  #mounted = false;

  /** @param options.path where it is mounted. */
  constructor(device: string, { path }: { path: string }) {
    this.path = path;
    this.#device = device;
    mkdirSync(path, { recursive: true });
    const xfs = needs("mkfs.xfs") === false && process.env["FAULTS_FS"] === "xfs";
    if (xfs) sh("mkfs.xfs", "-q", device);
    else sh("mkfs.ext4", "-q", "-F", device);
    this.mount();
  }

  mount(): void {
    sh("mount", this.#device, this.path);
    this.#mounted = true;
  }

  /** It gave up after errors: nothing can be written before it is mounted anew. */
  get isReadOnly(): boolean {
    const lines = readFileSync("/proc/mounts", "utf8").split("\n");
    const options = lines.find((line) => line.startsWith(`${this.#device} `))?.split(" ")[3] ?? "";
    return options.split(",").some((option) => option === "ro" || option === "emergency_ro");
  }

  /**
   * From now on nothing reaches it, and nothing can be read.
   *
   * @param users processes to be ended next. They are stopped: one without power tells nobody
   * that what it cannot read any more is damaged.
   */
  cutPower(users: readonly number[]): void {
    sh("perl", "-e", GO_DOWN, this.path, ...users.map(String));
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
    this.#mounted = false;
  }
}
