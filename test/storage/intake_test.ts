/**
 * What a follower's state is given of a record stays what it is, while the memory
 * that the log's tail lies in is filled anew.
 *
 * @module
 */

import assert from "node:assert/strict";
import { it } from "node:test";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { encodeMessage } from "../../storage/base/message.ts";
import { Epochs } from "../../storage/epochs.ts";
import type { CommitLog } from "../../storage/commit_log.ts";
import { ConsumeQueues } from "../../storage/consume_queues.ts";
import { DedupeStore } from "../../storage/dedupe_store.ts";
import { Indexes } from "../../storage/indexes.ts";
import { Intake } from "../../storage/intake.ts";
import { inlineJobs } from "../../storage/jobs.ts";
import { LogTail } from "../../storage/log_tail.ts";
import { KINDS } from "../../storage/records/mod.ts";
import type { Fold } from "../../storage/replay.ts";
import { Timers } from "../../storage/timers.ts";
import { draft, KiB, MiB } from "./fixture.ts";

/** Appends a message of a transaction, which a fold is given whole. */
function append(tail: LogTail, fill: number): void {
  const body = new Uint8Array(300 * KiB).fill(fill);
  const { envelope, attributes } = draft({ queueOffset: fill, id: `m${fill}`, body });
  const message = { envelope: { ...envelope, txnId: `t${fill}` }, attributes, body };
  tail.begin(100, 301 * KiB);
  const chunk = tail.reserve(301 * KiB);
  const payloadEnd = encodeMessage(chunk.bytes, tail.payloadAt(chunk), message);
  tail.seal(chunk, { kind: KINDS.message.id, flags: 0, payloadEnd });
}

it("a follower's state may keep a view of what it was given", () => {
  const segment = { base: 0, segmentBase: 0, segmentBytes: 64 * MiB };
  const start = { ...segment, end: 0, lastCrc: 0, lastStoredAt: 100, epoch: 1 };
  const tail = new LogTail({ ...start, epochs: new Epochs() }, crc32);
  const kept: Uint8Array[] = [];
  const fold: Fold = {
    begin() {},
    restore() {},
    apply: (_kind, record) => void kept.push((record as { body: Uint8Array }).body),
    takeChanges: () => [],
  };
  const disk = new MemoryDisk();
  const ports = { disk, crc32, clock: new ManualClock(), jobs: inlineJobs({ disk, crc32 }) };
  const report = (error: unknown) => assert.fail(String(error));
  const intake = new Intake({
    log: { tail, confirmOffset: 0, segmentAt: () => segment } as unknown as CommitLog,
    queues: new ConsumeQueues(),
    indexes: new Indexes(),
    dedupe: new DedupeStore({ ...ports, report, fatal: report }, { windowMs: 1000 }),
    timers: new Timers(),
    fold,
    from: 0,
    decides: false,
    onBoundary() {},
    hasTimers: () => false,
    failed: report,
  });
  for (let fill = 0; fill < 60; fill++) {
    append(tail, fill);
    intake.take(tail.end, undefined);
    tail.trim(tail.end);
  }
  assert.equal(kept.length, 60);
  for (const [fill, body] of kept.entries()) {
    assert(body.length === 300 * KiB && body.every((byte) => byte === fill), `message ${fill}`);
  }
});
