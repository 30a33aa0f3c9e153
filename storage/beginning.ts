/**
 * Where the log of a node begins that joined later than what was given up: what it
 * was told of before its first frame, by whoever had it.
 *
 *   file `log/beginning`
 *   at  size  field
 *    0     8  magic          "TIDEBEG1"
 *    8     8  start          base of the first segment, as it was then
 *   16     8  describedTo    below it lies all that describes what was before `start`
 *   24     8  epochFrom      where the epoch of the frame before `start` began
 *   32     4  epoch          of that frame; 0: not known
 *   36     4  crc32          of bytes [0, 36)
 *
 *   ──────┤ start ······ describedTo ────────────────────▶
 *    gone │  what is folded here is a part of the state;  all of it
 *         │  no snapshot of it counts after a stop
 *
 * A snapshot taken of a part would pass for the whole at the next start, and the
 * descriptions behind it would not be looked at. So those are removed then, and the
 * log is folded from its start; the file stays for as long as the log does. A damaged
 * one tells nothing: then no snapshot is trusted, which costs time.
 *
 * @module
 */

import { decodeUtf8, encodeUtf8, getU64, setU64, viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import { type Disk, readRange, replaceFile } from "./base/disk.ts";
import type { EpochStart } from "./epochs.ts";
import { readLogStart } from "./log_start.ts";
import { LOG_DIR } from "./segment.ts";

const NAME = "beginning";
const MAGIC = "TIDEBEG1";
export const BEGINNING_FORMAT = MAGIC;
export const BEGINNING_CRC_AT = 36;
const SIZE = 40;

/** What a log must be told of before its first frame. */
export interface Beginning {
  readonly start: number;
  /** crc32 of the frame before. */
  readonly prevCrc: number;
  /** ms, of the first frame there is, as its segment says; 0 where nobody knows. */
  readonly storedAt: number;
  /** Of the frame before, where that is known. */
  readonly epoch?: EpochStart | undefined;
  /** Below it lies all that describes what was before `start`. */
  readonly describedTo: number;
}

type Written = Pick<Beginning, "start" | "describedTo" | "epoch">;

export function encodeBeginning({ start, describedTo, epoch }: Written, crc32: Crc32) {
  const bytes = new Uint8Array(SIZE);
  const view = viewOf(bytes);
  bytes.set(encodeUtf8(MAGIC));
  setU64(view, 8, start);
  setU64(view, 16, describedTo);
  setU64(view, 24, epoch?.from ?? 0);
  view.setUint32(32, epoch?.epoch ?? 0);
  view.setUint32(BEGINNING_CRC_AT, crc32(bytes.subarray(0, BEGINNING_CRC_AT)));
  return bytes;
}

/** Undefined when the bytes are not what was written. */
export function decodeBeginning(bytes: Uint8Array, crc32: Crc32): Written | undefined {
  if (bytes.length !== SIZE || decodeUtf8(bytes.subarray(0, 8)) !== MAGIC) return undefined;
  const view = viewOf(bytes);
  const told = view.getUint32(BEGINNING_CRC_AT);
  if (told !== crc32(bytes.subarray(0, BEGINNING_CRC_AT))) return undefined;
  const [epoch, from] = [view.getUint32(32), getU64(view, 24)];
  const start = getU64(view, 8);
  return { start, describedTo: getU64(view, 16), epoch: epoch > 0 ? { epoch, from } : undefined };
}

export function writeBeginning(disk: Disk, beginning: Written, crc32: Crc32): Promise<void> {
  return replaceFile(disk, `${LOG_DIR}/${NAME}`, [encodeBeginning(beginning, crc32)]);
}

/** What is known of before the first segment. */
export interface Begun {
  /** Where the log starts. */
  readonly start: number;
  /** A snapshot of what lies before holds a part of the state only. */
  readonly wholeFrom: number;
  /** Of what lies before `start`, as far as it is known. */
  readonly epochs: readonly EpochStart[];
}

export async function readBegun(disk: Disk, crc32: Crc32): Promise<Begun> {
  const start = await readLogStart(disk, crc32);
  if (!(await disk.list(LOG_DIR)).includes(NAME)) return { start, wholeFrom: start, epochs: [] };
  const file = await disk.open(`${LOG_DIR}/${NAME}`, { create: false });
  try {
    const told = decodeBeginning(await readRange(file, 0, SIZE + 1), crc32);
    const wholeFrom = told ? Math.max(start, told.describedTo) : Infinity;
    // Once the log starts later, others came between, and those are not known.
    const epochs = told?.epoch && told.start === start ? [told.epoch] : [];
    return { start, wholeFrom, epochs };
  } finally {
    await file.close();
  }
}
