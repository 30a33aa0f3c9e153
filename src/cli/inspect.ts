/**
 * `tidegate inspect`: the frames of one segment file, a line each. It needs no
 * node and no data directory around the file, and changes nothing.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { type DiskFile, readRange } from "../../storage/base/disk.ts";
import { openNodeDisk } from "../../storage/base/disk_node.ts";
import { FLAG_CONTINUED, FLAG_DEFERRED, type Frame } from "../../storage/frame.ts";
import { describePayload, kindName } from "../../storage/records/mod.ts";
import { REPLACING_PATH } from "../../storage/replaced_log.ts";
import { findFrame, scanFrames } from "../../storage/scan.ts";
import { decodeSegmentHeader, LOG_DIR, SEGMENT_HEADER_SIZE } from "../../storage/segment.ts";
import { CliError } from "./exit.ts";
import type { Terminal } from "./terminal.ts";

const EXAMPLES = `
A line is: logOffset, size, kind, epoch, time stored, flags (c: the unit goes
on, d: deferred), and the record.

Examples:
  tidegate inspect data/log/00000000000000000000.log
  tidegate inspect --json data/log/00000000000000000000.log | grep '"kind":"grant"'`;

export function inspectCommand(parent: Command, terminal: Terminal): void {
  parent
    .command("inspect <segment>")
    .description("print the frames of a segment file")
    .option("--json", "one JSON object a line")
    .addHelpText("after", EXAMPLES)
    .action(async (path: string, options: { json?: boolean }) => {
      const line = options.json ? jsonLine : textLine;
      const file = await openSegment(path);
      tellHalfReplaced(path, terminal);
      try {
        const badRanges = await walk(file, {
          onFrame: (frame) => terminal.print(line(frame)),
          onBad: ({ from, to, reason }) =>
            terminal.warn(`${from}  bytes up to ${to} are no frames: ${reason}`),
          base: await baseOf(file, path),
        });
        if (badRanges > 0) {
          throw new CliError("negative", `"${path}" holds ${badRanges} ranges that are no frames`);
        }
      } finally {
        await file.close();
      }
    });
}

async function openSegment(path: string): Promise<DiskFile> {
  try {
    return await openNodeDisk(dirname(path)).open(basename(path), { create: false });
  } catch (error) {
    throw new CliError("noInput", `Cannot read "${path}": ${(error as Error).message}`, error);
  }
}

/** Nothing is wrong with the file then, but it is of no log that counts. */
function tellHalfReplaced(path: string, terminal: Terminal): void {
  const dir = dirname(resolve(path));
  const root = dirname(dir);
  if (basename(dir) !== LOG_DIR || !existsSync(join(root, REPLACING_PATH))) return;
  terminal.warn(
    `note: the log in "${root}" is giving way to that of its broker group; its segments are neither`,
  );
}

/** The header says where the segment lies in the log; where it is damaged, the name does. */
async function baseOf(file: DiskFile, path: string): Promise<number> {
  const header = decodeSegmentHeader(await readRange(file, 0, SEGMENT_HEADER_SIZE), crc32);
  if (header) return header.base;
  const name = /^(\d{20})\.log$/.exec(basename(path))?.[1];
  if (name !== undefined) return Number(name);
  throw new CliError("refused", `Cannot inspect "${path}": it is not a segment`);
}

interface BadRange {
  readonly from: number;
  readonly to: number;
  readonly reason: string;
}

/** Visits frames and what lies between them; the zeros behind the last one are no news. */
async function walk(
  file: DiskFile,
  options: {
    base: number;
    onFrame: (frame: Frame) => void;
    onBad: (range: BadRange) => void;
  },
): Promise<number> {
  const { base, onFrame, onBad } = options;
  const to = base + Math.max(0, (await file.size()) - SEGMENT_HEADER_SIZE);
  let from = base;
  let badRanges = 0;
  for (;;) {
    const stop = await scanFrames(file, { base, from, to, crc32, prevCrc: undefined }, onFrame);
    if (stop.at >= to || (await onlyZeros(file, { base, from: stop.at, to }))) return badRanges;
    const next = await findFrame(file, { base, from: stop.at + 1, to, crc32 });
    badRanges++;
    onBad({ from: stop.at, to: next?.logOffset ?? to, reason: stop.reason ?? "unknown format" });
    if (!next) return badRanges;
    from = next.logOffset;
  }
}

const STEP_SIZE = 1024 * 1024;

async function onlyZeros(
  file: DiskFile,
  { base, from, to }: { base: number; from: number; to: number },
): Promise<boolean> {
  for (let at = from; at < to; at += STEP_SIZE) {
    const size = Math.min(STEP_SIZE, to - at);
    const bytes = await readRange(file, SEGMENT_HEADER_SIZE + at - base, size);
    if (bytes.some((byte) => byte !== 0)) return false;
  }
  return true;
}

function textLine(frame: Frame): string {
  const { logOffset, size, kind, epoch, storedAt, payload } = frame;
  const columns = [
    String(logOffset).padStart(12),
    String(size).padStart(7),
    (kindName(kind) ?? `kind ${kind}`).padEnd(11),
    epoch,
    new Date(storedAt).toISOString(),
    flagsOf(frame).join("") || "-",
    describePayload(kind, payload),
  ];
  return columns.join("  ");
}

function jsonLine(frame: Frame): string {
  const { logOffset, size, kind, epoch, storedAt, confirmOffset, crc, prevCrc, payload } = frame;
  return JSON.stringify({
    logOffset,
    size,
    kind: kindName(kind) ?? kind,
    flags: flagsOf(frame),
    epoch,
    storedAt: new Date(storedAt).toISOString(),
    confirmOffset,
    crc,
    prevCrc,
    record: describePayload(kind, payload),
  });
}

function flagsOf({ flags }: Frame): string[] {
  return [
    ...((flags & FLAG_CONTINUED) === 0 ? [] : ["c"]),
    ...((flags & FLAG_DEFERRED) === 0 ? [] : ["d"]),
  ];
}
