/**
 * Cutting the log's end off: what one leader appended and a later one does not have.
 *
 *   segment ┊ segment ┊ segment        the newest file goes first, each name durably, so
 *        to ┘         └── removed      that a crash leaves a shorter log and no gap
 *        └── zeros from here, synced
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import { TidegateError } from "./base/errors.ts";
import type { LogPorts, Segment } from "./log_ports.ts";
import type { LogEnd } from "./log_tail.ts";
import { recoverSegment } from "./recovery.ts";
import { LOG_DIR, SEGMENT_HEADER_SIZE, segmentPath } from "./segment.ts";

interface Cut {
  readonly to: number;
  /** Changed: the last one left is active again. */
  readonly segments: Segment[];
  readonly segmentBytes: number;
}

/** @throws `data-damaged` when the last unit that would be left cannot be read. */
export async function cutSegments(
  ports: Pick<LogPorts, "disk" | "crc32">,
  { to, segments, segmentBytes }: Cut,
): Promise<LogEnd> {
  const kept = Math.max(1, segments.filter(({ base }) => base < to).length);
  const last = segments[kept - 1];
  assert(last && to >= last.base, "a cut lies within the log");
  const end = await lastFrame(last, to, ports);
  for (const { base, file } of segments.slice(kept).toReversed()) {
    await file.close();
    await ports.disk.remove(segmentPath(base));
    await ports.disk.syncDir(LOG_DIR);
  }
  segments.splice(kept - 1, Infinity, { ...last, end: undefined });
  const position = SEGMENT_HEADER_SIZE + to - last.base;
  await last.file.truncate(position);
  await last.file.truncate(Math.max(position, SEGMENT_HEADER_SIZE + segmentBytes));
  await last.file.sync();
  return end;
}

async function lastFrame(
  { base, file, firstStoredAt, prevCrc }: Segment,
  to: number,
  { crc32 }: Pick<LogPorts, "crc32">,
): Promise<LogEnd> {
  const place = { end: to, segmentBase: base };
  if (to === base) return { ...place, lastCrc: prevCrc ?? 0, lastStoredAt: firstStoredAt };
  let found: LogEnd | undefined;
  const segment = { file, base, prevCrc: undefined, sealedEnd: to, durableEnd: to };
  await recoverSegment(segment, {
    crc32,
    visit({ logOffset, size, crc, storedAt }) {
      if (logOffset + size === to) found = { ...place, lastCrc: crc, lastStoredAt: storedAt };
    },
  });
  if (found) return found;
  const detail = `Cannot cut the log at ${to}: the frame before cannot be read`;
  throw new TidegateError("data-damaged", detail, { to });
}
