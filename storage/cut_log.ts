/**
 * Cutting the log's end off: what one leader appended and a later one does not have.
 *
 *   segment ┊ segment ┊ segment        the newest file goes first, each name durably, so
 *        to ┘         └── removed      that a crash leaves a shorter log and no gap
 *        └── zeros from here, synced
 *
 * Where a segment begins at the cut, its file stays, empty: the one before is sealed,
 * and has a sidecar perhaps, so it must not grow any more.
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
  /** Changed: the last one left is active. */
  readonly segments: Segment[];
  readonly segmentBytes: number;
}

/** @throws `data-damaged` when the last unit that would be left cannot be read. */
export async function cutSegments(
  ports: Pick<LogPorts, "disk" | "crc32">,
  { to, segments, segmentBytes }: Cut,
): Promise<LogEnd> {
  const kept = Math.max(1, segments.filter(({ base }) => base <= to).length);
  const last = segments[kept - 1];
  assert(last && to >= last.base, "a cut lies within the log");
  const end = await endAt(to, { segments, segmentBase: last.base }, ports);
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

async function endAt(
  to: number,
  { segments, segmentBase }: Pick<Cut, "segments"> & { readonly segmentBase: number },
  { crc32 }: Pick<LogPorts, "crc32">,
): Promise<LogEnd> {
  const before = segments.findLast(({ base }) => base < to);
  if (!before) {
    const { prevCrc = 0, firstStoredAt = 0 } = segments[0] ?? {};
    return { end: to, segmentBase, lastCrc: prevCrc, lastStoredAt: firstStoredAt };
  }
  let found: LogEnd | undefined;
  const segment = { ...before, prevCrc: undefined, sealedEnd: to, durableEnd: to };
  await recoverSegment(segment, {
    crc32,
    visit({ logOffset, size, crc, storedAt }) {
      if (logOffset + size !== to) return;
      found = { end: to, segmentBase, lastCrc: crc, lastStoredAt: storedAt };
    },
  });
  if (found) return found;
  const detail = `Cannot cut the log at ${to}: the frame before cannot be read`;
  throw new TidegateError("data-damaged", detail, { to });
}
