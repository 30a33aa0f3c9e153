/**
 * A start of the log: what is there, how far it was synced, and what of it is known
 * to be confirmed.
 *
 *   walkFrom ──────── visited ────────▶│ confirmOffset ······ toldConfirm ······ end
 *                                      └ as the checkpoint and the snapshot have it;
 *                                        of one node it is the end
 *
 * Of a log on several nodes some of the end may yet be cut, so no more is visited
 * than what is known to be confirmed. Frames behind tell of more; and where the walk
 * meets damage, others can mend it, so nothing behind is visited before they have.
 *
 * @module
 */

import { NoRoom } from "./base/disk.ts";
import { TidegateError } from "./base/errors.ts";
import { CheckpointFile } from "./checkpoint.ts";
import { Epochs, type EpochStart } from "./epochs.ts";
import type { Frame } from "./frame.ts";
import type { Headroom } from "./headroom.ts";
import type { LogPorts, Replication } from "./log_ports.ts";
import { type OpenedSegments, openSegments } from "./open_log.ts";
import type { SpareSegment } from "./spare_segment.ts";

export interface StartOptions {
  readonly segmentBytes: number;
  readonly spare: SpareSegment;
  readonly headroom: Headroom;
  /** A confirmed unit end: the log reaches that far. */
  readonly from: number;
  /** Where the log starts: what lay before was removed. */
  readonly start: number;
  /** The walk begins at the segment that holds it; at most `from`. */
  readonly walkFrom: number;
  /** Of what lies before the walk. */
  readonly epochs: readonly EpochStart[];
  /** Absent: this node is the only one that has the log. */
  readonly replication?: Replication | undefined;
  visit(frame: Frame, segment: { readonly base: number }): void;
}

export interface StartedLog
  extends Pick<OpenedSegments, "segments" | "end" | "lastCrc" | "lastStoredAt" | "recovery"> {
  readonly checkpoint: CheckpointFile;
  /** Below it all was visited. */
  readonly confirmOffset: number;
  /** The greatest one that anything speaks of. */
  readonly toldConfirm: number;
  readonly epochs: Epochs;
  readonly epoch: number;
}

export async function startLog(ports: LogPorts, options: StartOptions): Promise<StartedLog> {
  const checkpoint = await CheckpointFile.open(ports.disk, ports.crc32);
  try {
    return await start(ports, options, checkpoint);
  } catch (error) {
    // It may have been a sync; what we say ourselves was none, and changes nothing.
    const isOurs = error instanceof NoRoom || error instanceof TidegateError;
    if (!isOurs) checkpoint.markFailed();
    throw error;
  }
}

async function start(
  ports: LogPorts,
  options: StartOptions,
  checkpoint: CheckpointFile,
): Promise<StartedLog> {
  const { replication, from } = options;
  const { latest } = checkpoint;
  const known = Math.max(latest.confirmOffset, from);
  let visitedTo: number | undefined;
  const opened = await openSegments(ports, {
    ...options,
    durableEnd: Math.max(latest.durableEnd, from),
    afterFailure: latest.failed === true,
    lost:
      replication &&
      (async (end) => {
        if (end < from) throw lostSnapshot(end, from);
        await replication.lost();
        const confirmOffset = Math.min(latest.confirmOffset, end);
        await checkpoint.write({ ...latest, durableEnd: end, confirmOffset });
      }),
    visit(frame, { base, walkedFrom }) {
      const { logOffset, size } = frame;
      visitedTo ??= walkedFrom;
      const unsure = logOffset !== visitedTo || logOffset + size > known;
      if (replication && unsure) return;
      visitedTo = logOffset + size;
      options.visit(frame, { base });
    },
  });
  const { end } = opened;
  const epochs = new Epochs();
  epochs.restore(options.epochs);
  for (const one of opened.epochs.starts) epochs.add(one.epoch, one.from);
  epochs.trim(options.start);
  const epoch = Math.max(epochs.last, latest.epoch);
  const confirmOffset = replication ? (visitedTo ?? opened.walkedFrom) : end;
  const toldConfirm = replication ? Math.min(end, Math.max(known, opened.confirmOffset)) : end;
  if (end > checkpoint.latest.durableEnd || checkpoint.latest.failed) {
    // Readers see all of it from now on, so from now on its loss is damage.
    const confirmed = replication ? Math.min(known, confirmOffset) : end;
    await checkpoint.write({ durableEnd: end, confirmOffset: confirmed, epoch });
  }
  return { ...opened, checkpoint, confirmOffset, toldConfirm, epochs, epoch };
}

function lostSnapshot(end: number, from: number): TidegateError {
  const detail = `Cannot open the log: it ends at ${end}, and a snapshot tells of what was before ${from}`;
  return new TidegateError("data-damaged", detail, { from: end, to: from });
}
