/**
 * What a medium does to bytes that lay safely: flips, zeros, writes that went to
 * the wrong place, sectors that cannot be read, files that are gone.
 *
 * Only where damage can be told from a torn tail: below the checkpoint, or in a
 * segment that another follows, whatever the next power cut takes. A synced last batch that nothing vouches for looks
 * like one that was never synced, and no node alone can tell.
 *
 * What rotted is told to the byte: a record all of whose bytes read as before has no
 * excuse, and does not share the fate of those that did rot.
 *
 * @module
 */

import { crc32 } from "../../storage/base/checksum_node.ts";
import type { MemoryDisk } from "../../storage/base/disk_memory.ts";
import type { Prng } from "../../storage/base/prng.ts";
import { CHECKPOINT_PATH, decodeCheckpoints } from "../../storage/checkpoint.ts";
import type { DamagedRange } from "../../storage/recovery.ts";
import { LOG_DIR, SEGMENT_HEADER_SIZE, segmentBases, segmentPath } from "../../storage/segment.ts";

const SECTOR = 512;

export interface Rot extends DamagedRange {
  readonly what:
    | "bit flipped"
    | "block zeroed"
    | "block misdirected"
    | "sector unreadable"
    | "segment lost";
}

interface Segment {
  readonly base: number;
  readonly path: string;
  /** Below it damage is damage. */
  readonly limit: number;
  readonly sealed: boolean;
}

/** Undefined where nothing lies that could rot. */
export function rot(
  disk: MemoryDisk,
  options: {
    readonly prng: Prng;
    /** Whole ones as well. */
    readonly files: boolean;
    /** No name is there that a power cut could take. */
    readonly settled: boolean;
  },
): Rot | undefined {
  const { prng, files, settled } = options;
  const segments = segmentsOf(disk, settled).filter(({ base, limit }) => limit > base);
  if (segments.length === 0) return undefined;
  const segment = prng.pick(segments);
  const roll = prng.below(100);
  if (roll < 15 && segment.sealed && files) {
    disk.lose(segment.path);
    return { what: "segment lost", from: segment.base, to: segment.limit };
  }
  const at = segment.base + prng.below(segment.limit - segment.base);
  if (roll < 45) return flip(disk, { segment, at, bit: 1 << prng.below(8) });
  if (roll < 65) return overwrite(disk, { segment, at, source: undefined });
  if (roll < 80) return overwrite(disk, { segment, at, source: prng.pick(segments).path });
  return spoil(disk, { segment, at });
}

function segmentsOf(disk: MemoryDisk, settled: boolean): Segment[] {
  if (!disk.has(CHECKPOINT_PATH)) return [];
  const { durableEnd } = decodeCheckpoints(disk.platter(CHECKPOINT_PATH), crc32);
  const bases = segmentBases(disk.names(LOG_DIR)).filter((base) => hasHeader(disk, base));
  return bases.map((base, i) => {
    const next = bases[i + 1];
    const sealed = next !== undefined && (settled || next <= durableEnd);
    return { base, path: segmentPath(base), limit: sealed ? next : durableEnd, sealed };
  });
}

/** One without is no segment yet: a start removes it. */
function hasHeader(disk: MemoryDisk, base: number): boolean {
  return disk
    .platter(segmentPath(base))
    .subarray(0, SEGMENT_HEADER_SIZE)
    .some((byte) => byte !== 0);
}

function flip(
  disk: MemoryDisk,
  about: { segment: Segment; at: number; bit: number },
): Rot | undefined {
  const { segment, at, bit } = about;
  return rotted(disk, {
    segment,
    what: "bit flipped",
    by: () =>
      disk.damage(segment.path, (bytes) => {
        const position = positionIn(segment, at);
        if (position < bytes.length) bytes[position] = (bytes[position] ?? 0) ^ bit;
      }),
  });
}

/** Up to a sector of zeros, or of another file's bytes: a write that went astray. */
function overwrite(
  disk: MemoryDisk,
  { segment, at, source }: { segment: Segment; at: number; source: string | undefined },
): Rot | undefined {
  const to = Math.min(at + SECTOR, segment.limit);
  const stray = source === undefined ? new Uint8Array(SECTOR) : disk.bytes(source).slice(0, SECTOR);
  return rotted(disk, {
    segment,
    what: source === undefined ? "block zeroed" : "block misdirected",
    by: () =>
      disk.damage(segment.path, (bytes) => {
        const from = positionIn(segment, at);
        const room = Math.max(0, Math.min(to - at, bytes.length - from, stray.length));
        bytes.set(stray.subarray(0, room), Math.min(from, bytes.length));
      }),
  });
}

function spoil(
  disk: MemoryDisk,
  { segment, at }: { segment: Segment; at: number },
): Rot | undefined {
  const { limit, sealed, path } = segment;
  const last = Math.floor(positionIn(segment, limit) / SECTOR) - (sealed ? 0 : 1);
  const sector = Math.min(Math.floor(positionIn(segment, at) / SECTOR), Math.max(0, last));
  if (!sealed && (sector + 1) * SECTOR > positionIn(segment, limit)) {
    return flip(disk, { segment, at, bit: 1 });
  }
  return rotted(disk, {
    segment,
    what: "sector unreadable",
    by: () => disk.spoil(path, sector),
    // Zeros stand for it wherever it is read.
    reads: (bytes) => bytes.fill(0, sector * SECTOR, (sector + 1) * SECTOR),
  });
}

function positionIn({ base }: Segment, logOffset: number): number {
  return SEGMENT_HEADER_SIZE + logOffset - base;
}

/** Between the first and the last byte of the segment's frames that reads otherwise now. */
function rotted(
  disk: MemoryDisk,
  harm: {
    readonly segment: Segment;
    readonly what: Rot["what"];
    readonly by: () => void;
    /** As it reads now, made of what lies there. */
    readonly reads?: (bytes: Uint8Array) => void;
  },
): Rot | undefined {
  const { segment, what, by, reads } = harm;
  const { base, limit, path } = segment;
  const looks = [() => disk.bytes(path).slice(), () => disk.platter(path).slice()];
  const before = looks.map((look) => look());
  by();
  const after = looks.map((look) => look());
  for (const bytes of after) reads?.(bytes);
  const differs = (position: number) =>
    after.some((bytes, i) => bytes[position] !== before[i]?.[position]);
  let [from, to] = [base, limit];
  while (from < to && !differs(positionIn(segment, from))) from++;
  while (from < to && !differs(positionIn(segment, to - 1))) to--;
  return from < to ? { what, from, to } : undefined;
}
