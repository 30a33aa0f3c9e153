/**
 * The log of a stopped server, from outside: which file, where its frames lie.
 * Reads the layout documented in `storage/segment.ts` and `storage/frame.ts`
 * with code of its own, so that a mistake there is not repeated here.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const SEGMENT_HEADER_SIZE = 64;
const FRAME_HEADER_SIZE = 44;

export interface LogFile {
  readonly path: string;
  readonly bytes: Buffer;
  /** Where each frame begins, and where the last one ends, as positions in the file. */
  readonly frames: readonly { readonly at: number; readonly end: number }[];
  /** The logOffset of a position. */
  logOffset(position: number): number;
}

/** The active segment of a data directory. */
export function newestLog(dataDir: string): LogFile {
  const name = readdirSync(join(dataDir, "log"))
    .filter((one) => /^\d{20}\.log$/.test(one))
    .sort()
    .at(-1);
  assert(name, "there is a segment");
  const path = join(dataDir, "log", name);
  const bytes = readFileSync(path);
  const frames = [];
  let at = SEGMENT_HEADER_SIZE;
  while (at + FRAME_HEADER_SIZE <= bytes.length) {
    const size = bytes.readUInt32BE(at);
    if (size < FRAME_HEADER_SIZE) break; // Zero: the pre-sized rest.
    frames.push({ at, end: at + size });
    at += size;
  }
  const base = Number(name.slice(0, 20));
  return { path, bytes, frames, logOffset: (position) => base + position - SEGMENT_HEADER_SIZE };
}

/** How far the checkpoint says the log was synced, as a logOffset. */
export function checkpointEnd(dataDir: string): number {
  const path = join(dataDir, "checkpoint");
  if (!existsSync(path)) return 0;
  const bytes = readFileSync(path);
  let [newest, durableEnd] = [-1n, 0n];
  for (const at of [0, 512]) {
    if (bytes.length < at + 24 || bytes.toString("latin1", at, at + 8) !== "TIDECKP1") continue;
    const sequence = bytes.readBigUInt64BE(at + 8);
    if (sequence > newest) [newest, durableEnd] = [sequence, bytes.readBigUInt64BE(at + 16)];
  }
  return Number(durableEnd);
}
