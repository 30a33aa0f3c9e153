/**
 * Whether the nodes of a group have the same log, byte by byte: what one of them
 * lacks at the end it may lack, and the room prepared behind the last frame is zero.
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

interface Copy {
  readonly name: string;
  readonly dataDir: string;
}

/** Differences, in words; the nodes are stopped. */
export function compareLogs(nodes: readonly Copy[]): string[] {
  const differences: string[] = [];
  const [first, ...others] = nodes;
  if (!first) return differences;
  for (const other of others) {
    const shared = segmentsOf(first).filter((name) => segmentsOf(other).includes(name));
    if (shared.length === 0) differences.push(`${first.name} and ${other.name} share no segment`);
    for (const name of shared) {
      const at = firstDifference(readSegment(first, name), readSegment(other, name));
      if (at === undefined) continue;
      differences.push(`${first.name} and ${other.name} differ at byte ${at} of ${name}`);
    }
  }
  return differences;
}

function segmentsOf({ dataDir }: Copy): string[] {
  return readdirSync(join(dataDir, "log")).filter((name) => /^\d{20}\.log$/.test(name));
}

/** Without the zeros it ends with. */
function readSegment({ dataDir }: Copy, name: string): Uint8Array {
  const bytes = readFileSync(join(dataDir, "log", name));
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return bytes.subarray(0, end);
}

/** A shorter one agrees with a longer one that begins with it. */
export function firstDifference(a: Uint8Array, b: Uint8Array): number | undefined {
  const length = Math.min(a.length, b.length);
  const same = Buffer.compare(a.subarray(0, length), b.subarray(0, length)) === 0;
  if (same) return undefined;
  for (let at = 0; at < length; at++) if (a[at] !== b[at]) return at;
  return undefined;
}
