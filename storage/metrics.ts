/**
 * The figures of the store: what was appended, how it went to disk, and what is
 * kept in memory for it. Counters begin at 0 with the process.
 *
 * @module
 */

import { counter, type Family, gauge, histogram, type Sample } from "./base/metrics.ts";
import { LEVELS } from "./headroom.ts";
import type { MessageStore } from "./message_store.ts";
import { KINDS } from "./records/mod.ts";

export function storeMetrics(store: MessageStore): readonly Family[] {
  return [
    ...logFamilies(store),
    ...damageFamilies(store),
    ...flushFamilies(store),
    ...derivedFamilies(store),
    ...headroomFamilies(store),
  ];
}

function logFamilies({ log }: MessageStore): Family[] {
  const { end, writtenEnd, confirmOffset, segments, tail } = log;
  const ends = { appended: end, written: writtenEnd, confirmed: confirmOffset };
  const { byKind, bytes } = tail.appended;
  return [
    gauge({
      name: "tidegate_log_end_bytes",
      help: "logOffset up to which the log was appended, written, and confirmed (synced)",
      samples: Object.entries(ends).map(([stage, value]) => ({ labels: { stage }, value })),
    }),
    gauge({
      name: "tidegate_log_start_bytes",
      help: "logOffset of the oldest segment",
      value: segments[0]?.base ?? end,
    }),
    gauge({
      name: "tidegate_log_segments",
      help: "Segments of the log",
      value: segments.length,
    }),
    counter({
      name: "tidegate_log_records_total",
      help: "Records appended, by kind; `message` is what was published",
      samples: byKindOf(byKind),
    }),
    counter({
      name: "tidegate_log_appended_bytes_total",
      help: "Bytes appended to the log, by kind of record",
      samples: byKindOf(bytes),
    }),
  ];
}

function damageFamilies({ damage, scrubber }: MessageStore): Family[] {
  return [
    gauge({
      name: "tidegate_log_damaged_ranges",
      help: "Ranges of the log whose bytes are not what was written, whoever met them",
      value: damage.ranges.length,
    }),
    counter({
      name: "tidegate_log_damage_found_total",
      help: "Times that damage nobody knew of was met: by the start, the scrubber, a reader",
      samples: Object.entries(damage.found).map(([by, value]) => ({ labels: { by }, value })),
    }),
    counter({
      name: "tidegate_scrub_bytes_total",
      help: "Bytes at rest that were read and checked",
      value: scrubber.bytes,
    }),
    counter({
      name: "tidegate_scrub_passes_total",
      help: "Times that all at rest was read once",
      value: scrubber.passes,
    }),
  ];
}

/** Kinds that came up; a message always has a sample, so that its rate has a beginning. */
function byKindOf(counts: Float64Array): Sample[] {
  return Object.entries(KINDS).flatMap(([kind, { id }]) => {
    const value = counts[id] as number;
    return value > 0 || kind === "message" ? [{ labels: { kind }, value }] : [];
  });
}

function flushFamilies({ log: { flushes } }: MessageStore): Family[] {
  return [
    counter({
      name: "tidegate_flush_bytes_total",
      help: "Bytes written to segments",
      value: flushes.bytes,
    }),
    histogram({
      name: "tidegate_flush_batch_records",
      help: "Records written by one write and one fdatasync",
      series: [{ histogram: flushes.recordsPerBatch }],
    }),
    histogram({
      name: "tidegate_flush_sync_seconds",
      help: "From the call of fdatasync until the event loop has heard of its end",
      series: [{ histogram: flushes.syncSeconds }],
    }),
    histogram({
      name: "tidegate_append_confirm_seconds",
      help: "From append to confirmed, of the oldest record of each batch: the longest wait in it",
      series: [{ histogram: flushes.confirmSeconds }],
    }),
  ];
}

function derivedFamilies({ queues, timers, dedupe }: MessageStore): Family[] {
  return [
    gauge({
      name: "tidegate_queues",
      help: "Queues that ever had a message, of topics that are there",
      value: queues.count,
    }),
    gauge({
      name: "tidegate_timers_pending",
      help: "Delayed messages that are not due yet; recalled ones may count until their time",
      value: timers.pending,
    }),
    gauge({
      name: "tidegate_dedupe_young_bytes",
      help: "Memory of idempotency keys that are in no run yet",
      value: dedupe.youngBytes,
    }),
    gauge({
      name: "tidegate_dedupe_runs",
      help: "Runs of idempotency keys on disk",
      value: dedupe.runs.length,
    }),
  ];
}

function headroomFamilies({ headroom }: MessageStore): Family[] {
  const { space, level, ballastBytes } = headroom;
  return [
    gauge({
      name: "tidegate_disk_size_bytes",
      help: "Of the file system of the data directory, without what is kept for root",
      samples: space ? [{ value: space.size }] : [],
    }),
    gauge({
      name: "tidegate_disk_level",
      help: "1 for how full the disk is: at full nothing is published, at stuck nothing is stored",
      samples: LEVELS.map((one) => ({ labels: { level: one }, value: one === level ? 1 : 0 })),
    }),
    gauge({
      name: "tidegate_disk_ballast_bytes",
      help: "Set aside on the disk for when it is full",
      value: ballastBytes,
    }),
  ];
}
