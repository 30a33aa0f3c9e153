/**
 * Walking a sealed segment from its file, as the jobs do that derive things
 * from it.
 *
 * @module
 */

import type { Crc32 } from "./base/checksum.ts";
import type { Disk } from "./base/disk.ts";
import { salvaging } from "./base/salvage.ts";
import type { Frame } from "./frame.ts";
import { recoverSegment } from "./recovery.ts";
import { segmentPath } from "./segment.ts";

/**
 * Visits its frames in order; keep none, its bytes are some MiB that were read together.
 *
 * @param segment.windowSize bytes looked at in one go: less where others must have their turn.
 */
export async function walkSegment(
  {
    base,
    end,
    windowSize,
  }: { readonly base: number; readonly end: number; readonly windowSize?: number },
  visit: (frame: Frame) => void,
  { disk, crc32 }: { readonly disk: Disk; readonly crc32: Crc32 },
): Promise<void> {
  const file = salvaging(await disk.open(segmentPath(base), { create: false }));
  try {
    const segment = { file, base, prevCrc: undefined, sealedEnd: end, durableEnd: end, windowSize };
    await recoverSegment(segment, { crc32, visit });
  } finally {
    await file.close();
  }
}
