/**
 * `tidegate backup` and `tidegate restore`: a log, copied and put back.
 *
 * The source may be served meanwhile. A node writes its checkpoint a second after
 * what it covers, so the command waits for one that covers all that was in the
 * log when it began: what was answered by then is in the backup.
 *
 * @module
 */

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import {
  continues,
  type Copied,
  copyLog,
  type CopyPorts,
  readCheckpoint,
  writtenEnd,
} from "../../storage/backup.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { systemClock } from "../../storage/base/clock_node.ts";
import { openNodeDisk } from "../../storage/base/disk_node.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { readBegun } from "../../storage/beginning.ts";
import { readLogStart } from "../../storage/log_start.ts";
import { isReplacing } from "../../storage/replaced_log.ts";
import { LOG_DIR } from "../../storage/segment.ts";
import { type DataDir, holdDataDir } from "./data_dir.ts";
import { CliError, EXIT } from "./exit.ts";
import { requireWholeLog } from "./member_dir.ts";
import type { Terminal } from "./terminal.ts";

const ABOUT_BACKUP = `
The log only, for all else is derived from it; a node may serve it meanwhile. What
was answered before the command began is in the backup. A second backup into the
same directory adds what is new. Every frame copied is verified.
Exit code 0: whole; 1: made, but the log is damaged in the places named.`;

const ABOUT_RESTORE = `
Into a directory that is empty or not there yet. The first start over it indexes
the log, which takes a while. It is the state of the backup: what was delivered or
acknowledged since comes again.`;

/** For the next checkpoint, which a node writes every second while its log moves. */
const CHECKPOINT_MS_MAX = 5_000;
const POLL_MS = 50;

export function backupCommands(parent: Command, terminal: Terminal): void {
  parent
    .command("backup <data-dir> <backup-dir>")
    .description("copy a log, also while a node serves it")
    .addHelpText("after", ABOUT_BACKUP)
    .action(async (from: string, to: string) => {
      requireLog(from, "back up");
      tell(await backUp(from, to).catch(diskFailure), terminal);
    });
  parent
    .command("restore <backup-dir> <data-dir>")
    .description("put a backup into an empty directory")
    .addHelpText("after", ABOUT_RESTORE)
    .action(async (from: string, to: string) => {
      requireLog(from, "restore");
      tell(await restore(from, to).catch(diskFailure), terminal);
    });
}

interface Result extends Copied {
  readonly from: number;
  readonly end: number;
  readonly word: string;
  readonly target: string;
}

/** What a disk says carries a code, and no stack is wanted of it. @throws {CliError} `io` */
function diskFailure(error: unknown): never {
  if (error instanceof CliError || !(error instanceof Error) || !("code" in error)) throw error;
  if (error instanceof TidegateError) throw error;
  throw new CliError("io", `The copy cannot go on: ${error.message}`, error);
}

function requireLog(path: string, verb: string): void {
  if (existsSync(join(path, LOG_DIR))) return;
  throw new CliError("noInput", `Cannot ${verb} "${path}": no log is there`);
}

async function backUp(from: string, to: string): Promise<Result> {
  const ports = { source: openNodeDisk(from), target: openNodeDisk(to), crc32 };
  const held = holdIfIdle(from);
  const target = holdDataDir(to);
  try {
    await requireWholeLog(ports.target, { path: to, verb: "back up into" });
    for (;;) {
      await requireWhole(ports, { path: from, served: held === undefined });
      const { start, wholeFrom } = await readBegun(ports.source, crc32);
      const { end, epoch } = await sourceEnd(ports, { served: held === undefined });
      await requireWhole(ports, { path: from, served: held === undefined });
      if (end < wholeFrom && Number.isFinite(wholeFrom)) throw notWhole();
      const { durableEnd: known } = await readCheckpoint(ports.target, crc32);
      await requireSameLog(ports, { from, to, known, end });
      try {
        const copied = await copyLog(ports, { start, from: known, end, epoch, dir: LOG_DIR });
        return { ...told(copied), from: known, end, word: "backed up", target: to };
      } catch (error) {
        if ((await readLogStart(ports.source, crc32)) === start) throw error;
        // Files went while they were copied, for the node needs them no more: from its new start on.
      }
    }
  } finally {
    target.release();
    held?.release();
  }
}

/** @throws {CliError} `unavailable` while the log gives way to another's. */
async function requireWhole(
  { source }: Pick<CopyPorts, "source">,
  { path, served }: { readonly path: string; readonly served: boolean },
): Promise<void> {
  if (!served) await requireWholeLog(source, { path, verb: "back up" });
  else if (await isReplacing(source)) throw notWhole();
}

/** Its member of a broker group has joined, and is on its way. */
function notWhole(): CliError {
  const message = "Cannot back up: the node has not caught up with its broker group; try another";
  return new CliError("unavailable", message);
}

/** Nobody may start over the directory while it is read; undefined when a node has it already. */
function holdIfIdle(path: string): DataDir | undefined {
  try {
    return holdDataDir(path);
  } catch (error) {
    if (error instanceof CliError && error.exitCode === EXIT.unavailable.code) return undefined;
    throw error;
  }
}

/** How far to copy: what a start would find, or, of a log being served, the checkpoint that covers it. */
async function sourceEnd(
  { source }: Pick<CopyPorts, "source">,
  { served }: { readonly served: boolean },
): Promise<{ end: number; epoch: number }> {
  let { durableEnd, epoch } = await readCheckpoint(source, crc32);
  const written = await writtenEnd(source, { crc32, durableEnd });
  if (!served) return { end: Math.max(written, durableEnd), epoch };
  const deadline = systemClock.elapsed() + CHECKPOINT_MS_MAX;
  while (durableEnd < written) {
    if (systemClock.elapsed() > deadline) {
      const message = "Cannot back up: the node that has the log confirms nothing; try again";
      throw new CliError("unavailable", message);
    }
    await new Promise<void>((resolve) => void systemClock.after(POLL_MS, resolve));
    ({ durableEnd, epoch } = await readCheckpoint(source, crc32));
  }
  return { end: durableEnd, epoch };
}

async function requireSameLog(
  ports: CopyPorts,
  about: {
    readonly from: string;
    readonly to: string;
    readonly known: number;
    readonly end: number;
  },
): Promise<void> {
  const { from, to, known, end } = about;
  if (known === 0 || (known <= end && (await continues(ports, known)))) return;
  const message = `Cannot back up "${from}" into "${to}": a backup of another log, or of a later state of this one, or of what it no longer has, is there`;
  throw new CliError("refused", message);
}

/** Until it is whole it is not where a node would look for it. */
const RESTORING_DIR = "restoring";

async function restore(from: string, to: string): Promise<Result> {
  const source = openNodeDisk(from);
  const target = openNodeDisk(to);
  const others = existsSync(to) ? readdirSync(to).filter((name) => name !== "LOCK") : [];
  if (others.length > 0) {
    throw new CliError("refused", `Cannot restore into "${to}": it is not empty`);
  }
  const backup = holdDataDir(from);
  const held = holdDataDir(to);
  try {
    await requireWholeLog(source, { path: from, verb: "restore" });
    const { durableEnd: end, epoch } = await readCheckpoint(source, crc32);
    if (end === 0) {
      throw new CliError("noInput", `Cannot restore "${from}": it holds no complete backup`);
    }
    const start = await readLogStart(source, crc32);
    const wish = { start, from: 0, end, epoch, dir: RESTORING_DIR };
    const copied = await copyLog({ source, target, crc32 }, wish);
    await target.rename(RESTORING_DIR, LOG_DIR);
    await target.syncDir("");
    return { ...told(copied), from: 0, end, word: "restored", target: to };
  } finally {
    held.release();
    backup.release();
  }
}

function told({ segments, bytes, damaged }: Copied): Copied {
  return { segments, bytes, damaged };
}

function tell(result: Result, terminal: Terminal): void {
  const { word, target, from, end, segments, bytes, damaged } = result;
  const before = from > 0 ? `; up to ${from} was there` : "";
  terminal.print(
    `${word} up to ${end} into "${target}" (${segments} segments, ${bytes} bytes copied${before})`,
  );
  if (damaged.length === 0) return;
  for (const range of damaged) terminal.print(`damaged ${range.from} to ${range.to}`);
  throw new CliError(
    "negative",
    `The log is damaged in ${damaged.length} places, and so is the copy`,
  );
}
