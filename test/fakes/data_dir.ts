/**
 * Data directories on a real disk, written by the storage itself, and bytes in
 * them changed by hand.
 *
 * @module
 */

import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { openNodeDisk } from "../../storage/base/disk_node.ts";
import { SEGMENT_HEADER_SIZE } from "../../storage/segment.ts";
import { draft, KiB, OpenStore } from "../storage/fixture.ts";

export interface Written {
  /** logOffsets of the messages, in order. */
  readonly messages: readonly number[];
  readonly end: number;
  /** Paths of the segments, in order. */
  readonly segments: readonly string[];
}

/**
 * Writes `count` messages of about 150 bytes, over several segments, and closes
 * cleanly. Logs of other topics have other bytes in the same places.
 */
export async function writeDataDir(
  dataDir: string,
  { count, topicGen = 1 }: { readonly count: number; readonly topicGen?: number },
): Promise<Written> {
  const store = await OpenStore.on({ disk: openNodeDisk(dataDir), segmentBytes: 4 * KiB });
  const drafts = Array.from({ length: count }, (_, index) =>
    draft({ topicGen, queueOffset: index }),
  );
  const places = await store.putAll(drafts);
  const end = store.store.log.end;
  await store.store.close();
  const folder = join(dataDir, "log");
  const names = readdirSync(folder).filter((name) => name.endsWith(".log"));
  const segments = names.toSorted((a, b) => (a < b ? -1 : 1)).map((name) => join(folder, name));
  return { messages: places.map(({ logOffset }) => logOffset), end, segments };
}

/**
 * Moves the log's start to the segment at index `to`, as retention does: behind a record
 * that says so.
 */
export async function dropSome(
  dataDir: string,
  { to = 2 }: { readonly to?: number } = {},
): Promise<{ readonly start: number; readonly frames: number }> {
  const open = await OpenStore.on({ disk: openNodeDisk(dataDir), segmentBytes: 4 * KiB });
  const { store } = open;
  const start = store.log.segments.at(to)?.base ?? 0;
  const rows = await open.unitsOf(1, 0);
  const kept = rows.filter(([, bodyLogOffset]) => bodyLogOffset >= start);
  const firstOffset = kept[0]?.[0] ?? rows.length;
  open.append("head", { topicGen: 1, queueId: 0, firstOffset, cause: "retention" });
  await open.settle();
  await store.dropBefore(start);
  await store.close();
  return { start, frames: kept.length + 1 };
}

/** All of its files but the lock, in base64. */
export function contentOf(dir: string): Record<string, string> {
  const files = readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== "LOCK")
    .map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(files.map((path) => [path, readFileSync(path, "base64")]));
}

/** Changes one bit of the byte at `logOffset`. */
export function flipBit({ segments }: Written, logOffset: number): void {
  const path = segments.findLast((one) => baseOf(one) <= logOffset) as string;
  flipByte(path, SEGMENT_HEADER_SIZE + logOffset - baseOf(path));
}

/** Changes one bit of the byte at `position` of a file; negative counts from its end. */
export function flipByte(path: string, position: number): void {
  const at = position < 0 ? statSync(path).size + position : position;
  const fd = openSync(path, "r+");
  try {
    const byte = new Uint8Array(1);
    readSync(fd, byte, 0, 1, at);
    byte[0] = (byte[0] ?? 0) ^ 4;
    writeSync(fd, byte, 0, 1, at);
  } finally {
    closeSync(fd);
  }
}

function baseOf(path: string): number {
  return Number(/(\d{20})\.log$/.exec(path)?.[1]);
}
