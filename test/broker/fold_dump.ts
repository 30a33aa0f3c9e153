/**
 * All that a data directory tells, whichever way it is read: from its snapshot and
 * what follows, or from its log alone.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  firstsEntry,
  groupEntry,
  letterEntry,
  offsetsEntry,
  placeEntry,
  topicEntry,
} from "../../src/broker/changes.ts";
import { BrokerFold } from "../../src/broker/fold.ts";
import type { PopQueue } from "../../src/broker/pop_queue.ts";
import { producerGroupEntry } from "../../src/broker/producer_groups.ts";
import { producerEntry } from "../../src/broker/producers.ts";
import { transactionEntry } from "../../src/broker/transactions.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import type { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { DerivedDamage } from "../../storage/damage.ts";
import { type Entry, inlineJobs, MessageStore, type Replication } from "../../storage/mod.ts";

export interface Told {
  /** Of the fold, by key, in hex. */
  readonly entries: ReadonlyMap<string, string>;
  /** Of the consume queues: first and next offset. */
  readonly queues: readonly string[];
  /** Delayed messages that wait, in order of due time. */
  readonly timers: readonly string[];
}

/** Both ways tell the same. @param options.spoilt names of files a bit was flipped in. */
export async function checkToldAlike(
  disk: MemoryDisk,
  { spoilt = new Set() }: { readonly spoilt?: ReadonlySet<string> } = {},
): Promise<void> {
  const [whole, alone] = [disk.clone(), disk.clone()]; // at once: its broker may go on
  for (const name of spoilt) if (whole.has(name)) await whole.remove(name);
  const withSnapshot = await tell(whole);
  for (const name of await alone.list("snapshots")) await alone.remove(`snapshots/${name}`);
  const fromLog = await tell(alone);
  assert.deepEqual(readable(fromLog), readable(withSnapshot), "the log alone tells all");
}

/** Two members tell the same, and each the same both ways. @param disks as they are with all confirmed. */
export async function checkMembersAlike(disks: readonly [MemoryDisk, MemoryDisk]): Promise<void> {
  const replication = { lost: () => assert.fail("nothing is lost") };
  const told: Told[] = [];
  for (const disk of disks) {
    const alone = disk.clone();
    told.push(await tell(disk.clone(), replication));
    for (const name of await alone.list("snapshots")) await alone.remove(`snapshots/${name}`);
    told.push(await tell(alone, replication));
  }
  for (const one of told.slice(1)) assert.deepEqual(readable(one), readable(told[0] as Told));
}

function readable(told: Told) {
  return { ...told, entries: Object.fromEntries(told.entries) };
}

async function tell(disk: MemoryDisk, replication?: Replication): Promise<Told> {
  const fold = new BrokerFold();
  const jobs = inlineJobs({ disk, crc32 });
  const fatal = (error: Error) => {
    throw error;
  };
  const report = (error: Error) => {
    if (!(error instanceof DerivedDamage)) throw error; // else it is built again
  };
  const ports = { disk, clock: new ManualClock(), crc32, jobs, fatal, report };
  const store = await MessageStore.open(ports, { segmentBytes: 64 * 1024, fold, replication });
  fold.forgetBefore(store.log.start);
  const queues: string[] = [];
  for (const topic of fold.topics.all()) {
    for (let queueId = 0; queueId < topic.config.queues; queueId++) {
      const { start = 0, end = 0 } = store.queues.find(topic.generation, queueId) ?? {};
      queues.push(`${topic.generation}/${queueId}: ${start} to ${end}`);
    }
  }
  const timers = await pending(store, fold);
  const entries = new Map(entriesOf(fold).map(([key, value]) => [hex(key), hex(value)]));
  return { entries, queues: queues.sort(), timers };
}

/** Of topics that are there: others are nobody's, whether their time came or not. */
async function pending({ timers }: MessageStore, fold: BrokerFold): Promise<string[]> {
  const found: string[] = [];
  for (let idle = 0; idle < 50; idle++) {
    const taken = timers.take(Number.MAX_SAFE_INTEGER, 1000);
    timers.pass();
    for (const { topicGen, dueAt, bodyLogOffset } of taken) {
      if (fold.topics.of(topicGen)) found.push(`${dueAt} ${bodyLogOffset}`);
    }
    if (taken.length > 0) idle = 0;
    await new Promise<void>((resolve) => void setImmediate(resolve)); // its files are read ahead
  }
  return found;
}

function entriesOf(fold: BrokerFold): Entry[] {
  const entries: Entry[] = [];
  for (const topic of fold.topics.all()) {
    entries.push(topicEntry(topic), offsetsEntry(topic), firstsEntry(topic));
  }
  for (const group of fold.groups.all()) {
    entries.push(groupEntry(group));
    for (const { queues } of group.subscriptions.values()) {
      for (const queue of queues) {
        if (!queue || isBlank(queue)) continue;
        entries.push(placeEntry(queue));
        for (const letter of queue.dead.values()) entries.push(letterEntry(letter));
      }
    }
    assert.equal(group.deadLetters.size, [...group.deadLetters.values()].length);
  }
  for (const one of fold.producers.all()) entries.push(producerEntry(one));
  for (const one of fold.producerGroups.all()) entries.push(producerGroupEntry(one));
  for (const one of fold.transactions.all()) entries.push(transactionEntry(one));
  return [...entries, ...fold.carried.entries()];
}

/** As good as none: made because somebody looked. */
function isBlank({
  head,
  grantSeq,
  voidedSeq,
  expiredUnread,
  open,
  taken,
  dead,
}: PopQueue): boolean {
  return head + grantSeq + voidedSeq + expiredUnread + open.size + taken.size + dead.size === 0;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
