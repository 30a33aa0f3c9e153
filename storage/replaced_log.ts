/**
 * A log that gives way to the beginning of another's: it is set aside, and what was
 * brought is put in its place.
 *
 *   file `replacing`: "TIDEREP1" · phase u8; while it is there, nothing else counts
 *
 *   ── marker, phase 0 ──▶ set aside ── phase 1 ──▶ brought ── marker removed ──▶ counts
 *          │ identity first,   a crash: it goes on    │ a crash: all of it is
 *          │ so the disk has   at the next start,     │ removed, and the log
 *          │ another name      and nothing is there   │ is empty
 *
 * So after a crash anywhere there is the old log, whole; or nothing, which is filled
 * anew; or the new beginning, whole. What was set aside is kept for a person to look
 * at, the last time only. The ballast stays where it is.
 *
 * @module
 */

import { encodeUtf8 } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import { type Disk, readRange, removeAsides, replaceFile } from "./base/disk.ts";
import { TidegateError } from "./base/errors.ts";
import { type Beginning, writeBeginning } from "./beginning.ts";
import { CHECKPOINT_PATH, CheckpointFile } from "./checkpoint.ts";
import { DEDUPE_DIR, runPath } from "./dedupe_run.ts";
import type { KeysFile, KeysPiece } from "./held_beginning.ts";
import { IDENTITY_PATH } from "./identity.ts";
import { writeLogStart } from "./log_start.ts";
import { encodeSegmentHeader, LOG_DIR, segmentPath } from "./segment.ts";
import { SNAPSHOT_DIR } from "./snapshot.ts";
import { TIMER_DIR } from "./timer_layout.ts";

/** Where it lies, what is there is neither the old log nor a new one. */
export const REPLACING_PATH = "replacing";
const MAGIC = "TIDEREP1";
const ASIDE_DIR = "set-aside";
const DIRS = [LOG_DIR, SNAPSHOT_DIR, DEDUPE_DIR, TIMER_DIR] as const;
/** The disk's name goes first: what is left behind a stop counts for nothing. */
const FILES = [IDENTITY_PATH, CHECKPOINT_PATH] as const;

const PHASES = { aside: 0, bringing: 1 } as const;

interface Ports {
  readonly disk: Disk;
  readonly crc32: Crc32;
}

/** Whether what lies there is neither the old log nor a new one. */
export async function isReplacing(disk: Disk): Promise<boolean> {
  return (await disk.list("")).includes(REPLACING_PATH);
}

/** At a start, before anything is read: what a crash left half-done counts for nothing. */
export async function endReplacement(disk: Disk): Promise<void> {
  if (!(await isReplacing(disk))) return;
  if ((await phaseIn(disk)) === PHASES.aside) await setAside(disk);
  await empty(disk);
  await disk.remove(REPLACING_PATH);
  await disk.syncDir("");
}

/** The marker is written as a whole: a phase that cannot be read is the first one. */
async function phaseIn(disk: Disk): Promise<number> {
  const file = await disk.open(REPLACING_PATH, { create: false });
  try {
    return (await readRange(file, MAGIC.length, 1))[0] ?? PHASES.aside;
  } finally {
    await file.close();
  }
}

function mark(disk: Disk, phase: number): Promise<void> {
  return replaceFile(disk, REPLACING_PATH, [encodeUtf8(MAGIC), Uint8Array.of(phase)]);
}

export class ReplacedLog {
  readonly #ports: Ports;

  private constructor(ports: Ports) {
    this.#ports = ports;
  }

  /** Sets aside what is there. No log of the directory is open. */
  static async begin(ports: Ports): Promise<ReplacedLog> {
    const { disk } = ports;
    await endReplacement(disk);
    await removeAll(disk, ASIDE_DIR);
    await mark(disk, PHASES.aside);
    await setAside(disk);
    const replaced = new ReplacedLog(ports);
    await replaced.clear();
    return replaced;
  }

  /** Nothing is brought yet, or not any more. */
  async clear(): Promise<void> {
    const { disk } = this.#ports;
    await mark(disk, PHASES.bringing);
    await empty(disk);
  }

  /**
   * Puts down some bytes of a file, its last ones durably.
   *
   * @throws rejects: `data-damaged` when they are not what was sent.
   */
  async put(file: KeysFile, at: number, { bytes, crc }: KeysPiece): Promise<void> {
    const { disk, crc32 } = this.#ports;
    if (crc32(bytes) !== crc || at + bytes.length > file.size) {
      const detail = `Cannot take the bytes at ${at} of "${runPath(file)}": they are not what was sent`;
      throw new TidegateError("data-damaged", detail, { at });
    }
    await disk.makeDir(DEDUPE_DIR);
    const open = await disk.open(runPath(file), { create: true });
    try {
      open.write(bytes, at);
      await open.sync();
    } finally {
      await open.close();
    }
  }

  /** What was brought counts from now on; without a beginning the log is empty. */
  async finish(beginning?: Beginning): Promise<void> {
    const { disk } = this.#ports;
    if (beginning) await this.#write(beginning);
    await disk.remove(REPLACING_PATH);
    await disk.syncDir("");
  }

  async #write(beginning: Beginning): Promise<void> {
    const { disk, crc32 } = this.#ports;
    const { start, prevCrc, storedAt, epoch } = beginning;
    for (const dir of [DEDUPE_DIR, LOG_DIR]) await disk.makeDir(dir);
    await disk.syncDir(DEDUPE_DIR);
    await writeLogStart(disk, { start }, crc32);
    await writeBeginning(disk, beginning, crc32);
    const header = encodeSegmentHeader({ base: start, firstStoredAt: storedAt, prevCrc }, crc32);
    await replaceFile(disk, segmentPath(start), [header]);
    const checkpoint = await CheckpointFile.open(disk, crc32);
    try {
      const place = { durableEnd: start, confirmOffset: start, epoch: epoch?.epoch ?? 0 };
      await checkpoint.write(place);
    } finally {
      await checkpoint.close();
    }
  }
}

async function setAside(disk: Disk): Promise<void> {
  for (const dir of DIRS) {
    await disk.makeDir(dir);
    await disk.makeDir(`${ASIDE_DIR}/${dir}`);
    await removeAsides(disk, dir); // room for what comes, and of no use there
  }
  const names = await disk.list("");
  for (const name of FILES) {
    if (!names.includes(name)) continue;
    await disk.rename(name, `${ASIDE_DIR}/${name}`);
    await disk.syncDir("");
  }
  for (const dir of DIRS) {
    for (const name of await disk.list(dir)) {
      await disk.rename(`${dir}/${name}`, `${ASIDE_DIR}/${dir}/${name}`);
    }
    await disk.syncDir(`${ASIDE_DIR}/${dir}`);
    await disk.syncDir(dir);
  }
  await disk.syncDir(ASIDE_DIR);
}

async function empty(disk: Disk): Promise<void> {
  await removeAll(disk, "");
  for (const dir of DIRS) {
    await disk.makeDir(dir);
    await disk.syncDir(dir);
  }
  await disk.syncDir("");
}

async function removeAll(disk: Disk, root: "" | typeof ASIDE_DIR): Promise<void> {
  const below = root === "" ? "" : `${root}/`;
  const names = await disk.list(root);
  for (const name of FILES) if (names.includes(name)) await disk.remove(`${below}${name}`);
  for (const dir of DIRS) {
    for (const name of await disk.list(`${below}${dir}`)) {
      await disk.remove(`${below}${dir}/${name}`);
    }
  }
}
