/**
 * Which format each file has. Every file begins with eight bytes: seven name its
 * kind, the eighth is the version of its format, a digit. Where the checksum of
 * the header holds and the digit is greater than ours, a later build wrote it, and
 * the node does not start: what it does not know it would take for damage, and
 * build over it. A derived file of an earlier version is built again.
 *
 * Nor does it start over a log that is giving way to another's (replaced_log.ts).
 *
 * The checksum of a header lies in the same place in all versions of its kind.
 *
 * @module
 */

import { decodeUtf8, viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import { type Disk, readRange } from "./base/disk.ts";
import { TidegateError } from "./base/errors.ts";
import { salvaging } from "./base/salvage.ts";
import { readSealed } from "./blocks.ts";
import { BEGINNING_CRC_AT, BEGINNING_FORMAT } from "./beginning.ts";
import { CHECKPOINT_FORMAT, CHECKPOINT_PATH, CHECKPOINT_SLOT_SIZE } from "./checkpoint.ts";
import { DEDUPE_DIR, RUN_FORMAT } from "./dedupe_run.ts";
import { IDENTITY_CRC_AT, IDENTITY_FORMAT, IDENTITY_PATH, IDENTITY_SLOT_SIZE } from "./identity.ts";
import { LOG_START_FORMAT } from "./log_start.ts";
import { LOG_DIR, SEGMENT_FORMAT } from "./segment.ts";
import { SIDECAR_FORMAT } from "./sidecar.ts";
import { REPLACING_PATH } from "./replaced_log.ts";
import { SNAPSHOT_DIR, SNAPSHOT_FORMAT } from "./snapshot.ts";
import { TIMER_DIR, TIMER_FORMAT } from "./timer_layout.ts";

const MAGIC_SIZE = 8;
/** Behind the checksum of the longest header. */
const HEADER_SIZE_MAX = 52;
/** Behind the content of a block. */
const BLOCK_CRC_SIZE = 4;

interface FileKind {
  readonly dir: string;
  /** How its name ends. */
  readonly extension: string;
  readonly magic: string;
  /** Where the crc32 of what precedes it lies; absent: the file lies in sealed blocks. */
  readonly crcAt?: number;
}

const FILE_KINDS: readonly FileKind[] = [
  { dir: LOG_DIR, extension: ".log", magic: SEGMENT_FORMAT, crcAt: 28 },
  { dir: LOG_DIR, extension: ".idx", magic: SIDECAR_FORMAT },
  { dir: LOG_DIR, extension: "start", magic: LOG_START_FORMAT, crcAt: 16 },
  { dir: LOG_DIR, extension: "beginning", magic: BEGINNING_FORMAT, crcAt: BEGINNING_CRC_AT },
  { dir: SNAPSHOT_DIR, extension: ".snap", magic: SNAPSHOT_FORMAT, crcAt: 32 },
  { dir: DEDUPE_DIR, extension: ".run", magic: RUN_FORMAT },
  { dir: TIMER_DIR, extension: ".tmr", magic: TIMER_FORMAT },
];

/** Of two slots each. */
const SLOT_FILES = [
  { path: CHECKPOINT_PATH, slotSize: CHECKPOINT_SLOT_SIZE, magic: CHECKPOINT_FORMAT, crcAt: 28 },
  {
    path: IDENTITY_PATH,
    slotSize: IDENTITY_SLOT_SIZE,
    magic: IDENTITY_FORMAT,
    crcAt: IDENTITY_CRC_AT,
  },
] as const;

/**
 * @throws `not-implemented`, naming the file and its format, when a later build wrote here;
 * `data-damaged` while the log gives way to another's: who can end that does so before.
 */
export async function refuseLaterFormats(disk: Disk, crc32: Crc32): Promise<void> {
  for (const kind of FILE_KINDS) {
    for (const name of await disk.list(kind.dir)) {
      if (name.endsWith(kind.extension)) await refuse(`${kind.dir}/${name}`, { kind, disk, crc32 });
    }
  }
  const names = await disk.list("");
  if (names.includes(REPLACING_PATH)) throw halfReplaced();
  for (const { path, slotSize, ...kind } of SLOT_FILES) {
    if (!names.includes(path)) continue;
    for (const at of [0, slotSize]) await refuse(path, { kind, at, disk, crc32 });
  }
}

async function refuse(
  path: string,
  about: {
    readonly kind: Pick<FileKind, "magic" | "crcAt">;
    readonly at?: number;
    readonly disk: Disk;
    readonly crc32: Crc32;
  },
): Promise<void> {
  const { kind, at = 0, disk, crc32 } = about;
  const file = salvaging(await disk.open(path, { create: false }));
  try {
    const header = await readHeader(file, { at, crcAt: kind.crcAt, crc32 });
    const format = header && laterFormat(header, kind.magic);
    if (format !== undefined) throw laterBuild(path, format);
  } finally {
    await file.close();
  }
}

function halfReplaced(): TidegateError {
  const detail =
    "Cannot open the log: it is giving way to another's, and what lies there is neither";
  return new TidegateError("data-damaged", detail);
}

type File = Awaited<ReturnType<Disk["open"]>>;

/** Undefined when its checksum does not hold: damage, which has others to tell of it. */
async function readHeader(
  file: File,
  { at, crcAt, crc32 }: { at: number; crcAt: number | undefined; crc32: Crc32 },
): Promise<Uint8Array | undefined> {
  if (crcAt === undefined) {
    const size = Math.min(MAGIC_SIZE, Math.max(0, (await file.size()) - BLOCK_CRC_SIZE));
    return readSealed(file, { from: 0, size }, crc32);
  }
  const header = await readRange(file, at, HEADER_SIZE_MAX);
  if (header.length < crcAt + 4) return undefined;
  return viewOf(header).getUint32(crcAt) === crc32(header.subarray(0, crcAt)) ? header : undefined;
}

/** The version digit, when it is of a build to come. */
function laterFormat(header: Uint8Array, magic: string): string | undefined {
  const found = decodeUtf8(header.subarray(0, MAGIC_SIZE));
  const kind = magic.slice(0, MAGIC_SIZE - 1);
  const version = found.slice(kind.length);
  return found.startsWith(kind) && version > magic.slice(kind.length) ? version : undefined;
}

/** What halts a start: something in the file has a format or kind that this build does not know. */
export function laterBuild(path: string, format: string): TidegateError {
  const detail = `Cannot open "${path}": it has format ${format}, of a later build`;
  return new TidegateError("not-implemented", detail, { file: path, format });
}
