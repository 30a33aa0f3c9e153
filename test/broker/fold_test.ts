/**
 * The state of the broker is a function of its log: folded from the beginning,
 * or from any snapshot on, or at append, it is the same table, byte for byte.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BrokerFold } from "../../src/broker/fold.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import type { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { Prng } from "../../storage/base/prng.ts";
import { decodeEpochMark } from "../../storage/epochs.ts";
import { newestSnapshot } from "../../storage/jobs.ts";
import {
  type Fold,
  type FoldedRecord,
  inlineJobs,
  type KindName,
  MessageStore,
  type RecordPlace,
} from "../../storage/mod.ts";
import { decodeQueueMark } from "../../storage/queue_marks.ts";
import { decodeTimerMark } from "../../storage/timer_mark.ts";
import { type Change, type Entry, mergeEntries, SNAPSHOT_DIR } from "../../storage/snapshot.ts";
import { seeds } from "../effort.ts";
import { GROUP, message, receipts, TOPIC, turn } from "../suites/broker_api_kit.ts";
import { openTestBroker, type TestBroker } from "../suites/open_broker.ts";

const SEGMENT_BYTES = 2048;

async function foldedEntries(disk: MemoryDisk): Promise<Entry[]> {
  const { snapshot } = await newestSnapshot(disk, crc32);
  const entries = snapshot?.entries ?? [];
  const isOwn = (entry: Entry) =>
    decodeQueueMark(entry) ?? decodeTimerMark(entry) ?? decodeEpochMark(entry);
  return entries.filter((entry) => !isOwn(entry));
}

/** Tells all that changed, also what a start has put into a snapshot. */
class ToldFold extends BrokerFold {
  readonly told: Change[] = [];

  override takeChanges(): Change[] {
    const changes = [...super.takeChanges()];
    this.told.push(...changes);
    return changes;
  }
}

/** The table a start comes to: what its snapshot held, with what the log behind it changed. */
async function tableOf(disk: MemoryDisk): Promise<Map<string, string>> {
  const before = await foldedEntries(disk);
  const fold = new ToldFold();
  const jobs = inlineJobs({ disk, crc32 });
  const fail = (error: Error) => assert.fail(error);
  const ports = { disk, crc32, jobs, clock: new ManualClock(), fatal: fail, report: fail };
  const store = await MessageStore.open(ports, { segmentBytes: SEGMENT_BYTES, fold });
  fold.forgetBefore(store.log.start); // as a broker does first of all
  fold.takeChanges();
  return readable(mergeEntries(before, latest(fold.told)));
}

/** Two folds of one log: of one the changes are read when they are taken, of the other in parts. */
class TwinFold implements Fold {
  readonly #prng: Prng;
  readonly #atOnce = new BrokerFold();
  readonly #inParts = new BrokerFold();
  #takings: { readonly source: Iterator<Change>; readonly read: Change[]; atOnce: Change[] }[] = [];
  /** Changes that were read while more was folded. */
  late = 0;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  begin(start: { readonly whole: boolean }): void {
    for (const fold of [this.#atOnce, this.#inParts]) fold.begin(start);
  }

  restore(): void {
    assert.fail("there is no snapshot");
  }

  apply<K extends KindName>(kind: K, record: FoldedRecord<K>, at: RecordPlace): void {
    for (const fold of [this.#atOnce, this.#inParts]) fold.apply(kind, record, at);
    if (this.#prng.chance(5)) this.#take();
    for (const { source, read } of this.#takings) {
      const next = this.#prng.chance(20) ? source.next() : undefined;
      if (next && !next.done) {
        read.push(next.value);
        this.late++;
      }
    }
  }

  #take(): void {
    const source = this.#inParts.takeChanges()[Symbol.iterator]();
    this.#takings.push({ source, read: [], atOnce: [...this.#atOnce.takeChanges()] });
  }

  takeChanges(): Change[] {
    return [];
  }

  /** @returns how often changes were taken. */
  compare(): number {
    this.#take();
    for (const [at, { source, read, atOnce }] of this.#takings.entries()) {
      for (let next = source.next(); !next.done; next = source.next()) read.push(next.value);
      const tables = [read, atOnce].map((changes) => changedIn(latest(changes)));
      assert.deepEqual(tables[0], tables[1], `taken as number ${at}`);
    }
    return this.#takings.length;
  }
}

function changedIn(changes: readonly Change[]): Map<string, string | undefined> {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
  return new Map(changes.map(([key, value]) => [hex(key), value && hex(value)]));
}

/** What changed between two moments does not depend on when it is read. */
async function takenInParts(seed: number): Promise<void> {
  const prng = new Prng(seed);
  const broker = await openTestBroker({ segmentBytes: 1 << 22 });
  for (let step = 0; step < 400; step++) {
    const act = prng.chance(20) ? sequence : anything;
    await act(broker, prng).catch((error: unknown) => {
      if (!(error instanceof TidegateError)) throw error;
    });
  }
  await broker.close();
  const disk = await withoutSnapshots(broker.disk);
  const fold = new TwinFold(prng);
  const jobs = inlineJobs({ disk, crc32 });
  const fail = (error: Error) => assert.fail(error);
  const ports = { disk, crc32, jobs, clock: new ManualClock(), fatal: fail, report: fail };
  const store = await MessageStore.open(ports, { segmentBytes: 1 << 22, fold });
  assert(fold.compare() > 10 && fold.late > 100, "changes were taken and read late");
  await store.close();
}

/** One change per key: the last one. */
function latest(changes: readonly Change[]): Change[] {
  const byKey = new Map(changes.map((change) => [Buffer.from(change[0]).toString("hex"), change]));
  return [...byKey.values()];
}

function readable(entries: readonly Entry[]): Map<string, string> {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
  const named = entries.map(
    ([key, value]) => [`${String.fromCharCode(key[0] ?? 0)} ${hex(key)}`, hex(value)] as const,
  );
  // A place that is all zero is as good as none: it was made because somebody looked.
  return new Map(named.filter(([name, value]) => !name.startsWith("P") || /[^0]/.test(value)));
}

async function withoutSnapshots(disk: MemoryDisk): Promise<MemoryDisk> {
  for (const name of await disk.list(SNAPSHOT_DIR)) await disk.remove(`${SNAPSHOT_DIR}/${name}`);
  return disk;
}

/** Does anything a broker can be asked to do; refusals are part of it. */
async function anything({ api, clock }: TestBroker, prng: Prng): Promise<void> {
  const topic = prng.pick(["a", "b", "c"]);
  const group = prng.pick(["g", "h"]);
  const subscriptions = ["a", "b", "c"]
    .filter(() => prng.chance(60))
    .map((name) => ({ topic: name }));
  const roll = prng.below(100);
  if (roll < 35) {
    const batch = Array.from({ length: 1 + prng.below(5) }, (_, i) =>
      message(`m${i}`, prng.chance(50) ? { key: `k${prng.below(9)}` } : {}),
    );
    await api.messages.publishBatch(topic, batch, { atomic: prng.chance(50) });
  } else if (roll < 75) {
    const wish = {
      group,
      max: 1 + prng.below(6),
      waitMs: 0,
      attemptId: prng.pick([undefined, "x"]),
    };
    const maxBytes = prng.pick([1, 1 << 20]);
    const deliveries = await api.groups.receive({ ...wish, maxBytes });
    const given = receipts(deliveries);
    await api.groups.settle(group, {
      ack: given.slice(0, 2),
      release: given.slice(2, 3).map((receipt) => ({ receipt })),
      extend: given.slice(3, 4).map((receipt) => ({ receipt, leaseMs: 5000 })),
      reject: given.slice(4, 5).map((receipt) => ({ receipt, reason: "no" })),
    });
  } else if (roll < 85) clock.advance(prng.below(40_000));
  else if (roll < 88) await api.topics.put(topic, { ...TOPIC, queues: 1 + prng.below(4) });
  else if (roll < 91) await api.topics.patch(topic, { queues: 1 + prng.below(6) });
  else if (roll < 92) await api.topics.delete(topic);
  else if (roll < 95) {
    const startFrom = prng.pick(["latest", "earliest"] as const);
    await api.groups.put(group, { ...GROUP, subscriptions, startFrom, maxAttempts: 3 });
  } else if (roll < 99) await api.groups.patch(group, { subscriptions });
  else await api.groups.delete(group);
}

/** A message or a few of some producer, in or out of its sequence; some producers fall idle. */
async function sequence({ api, clock }: TestBroker, prng: Prng): Promise<void> {
  if (prng.chance(3)) clock.advance(3 * 24 * 60 * 60 * 1000);
  const [id, epoch] = [prng.pick(["p", "q", "r"]), prng.below(2)];
  const [first, key] = [prng.below(4), prng.pick([undefined, "k"])];
  const unit = Array.from({ length: 1 + prng.below(3) }, (_, i) =>
    message(`s${i}`, { key, producer: { id, epoch, seq: first + i } }),
  );
  await api.messages.publishBatch(prng.pick(["a", "b"]), unit, { atomic: true });
}

async function walk(seed: number): Promise<void> {
  const prng = new Prng(seed);
  let broker = await openTestBroker({ segmentBytes: SEGMENT_BYTES });
  for (let step = 0; step < 400; step++) {
    const act = prng.chance(20) ? sequence : anything;
    await act(broker, prng).catch((error: unknown) => {
      if (!(error instanceof TidegateError)) throw error;
    });
    if (prng.chance(97)) continue;
    // To the end of what goes on behind the answers: retention, and what it moves.
    for (let turns = 0; turns < 100; turns++) await turn();
    const [snapshot, log] = [broker.disk.clone(), broker.disk.clone()];
    const fromSnapshot = await tableOf(snapshot);
    const fromLog = await tableOf(await withoutSnapshots(log));
    assert.deepEqual(fromSnapshot, fromLog, `step ${step}: snapshot and tail`);
    await broker.close();
    const atAppend = readable(await foldedEntries(broker.disk));
    assert.deepEqual(atAppend, fromLog, `step ${step}: folded at append`);
    broker = await broker.reopen();
  }
  await broker.close();
}

/** Bytes of the table once `count` messages were delivered, some of them twice, and done. */
async function tableSize(count: number): Promise<number> {
  const broker = await openTestBroker();
  const { api, clock } = broker;
  await api.groups.put("g", { ...GROUP, subscriptions: [{ topic: "a" }] });
  for (let left = count; left > 0; left -= 100) {
    const batch = Array.from({ length: 100 }, (_, i) => message(`m${i}`));
    await api.messages.publishBatch("a", batch, { atomic: false });
    const wish = { group: "g", max: 100, maxBytes: 1 << 20, waitMs: 0, attemptId: `a${left}` };
    await api.groups.receive(wish);
    if (left % 200 === 0) clock.advance(40_000);
    const ack = receipts(await api.groups.receive(wish));
    await api.groups.settle("g", { ack, release: [], extend: [], reject: [] });
  }
  await broker.close();
  const entries = await foldedEntries(broker.disk);
  return entries.reduce((sum, [key, value]) => sum + key.length + value.length, 0);
}

describe("BrokerFold", () => {
  it("knows a queue without messages alike before and after a start", async () => {
    let broker = await openTestBroker({ segmentBytes: SEGMENT_BYTES });
    await broker.api.topics.put("a", { ...TOPIC, queues: 64 });
    const { queueId } = await broker.api.messages.publish("a", message("m", { key: "k" }));
    assert(queueId > 0, "queues before it are empty");
    await broker.close();
    broker = await broker.reopen();
    await broker.api.groups.put("g", { ...GROUP, subscriptions: [{ topic: "a" }] });
    await broker.close();
    const atAppend = readable(await foldedEntries(broker.disk));
    assert.deepEqual(atAppend, await tableOf(await withoutSnapshots(broker.disk.clone())));
  });

  it("keeps nothing of the producers of a topic that went", async () => {
    const broker = await openTestBroker();
    const producer = { id: "p", epoch: 0, seq: 0 };
    for (const topic of ["a", "b"]) {
      await broker.api.messages.publish(topic, message("m", { producer }));
    }
    await broker.api.topics.delete("a");
    await broker.close();
    const keys = (await foldedEntries(broker.disk)).map(([key]) =>
      String.fromCharCode(key[0] ?? 0),
    );
    assert.equal(keys.filter((prefix) => prefix === "E").length, 1);
  });

  it("keeps nothing of a message that is done", { timeout: 60_000 }, async () => {
    assert.equal(await tableSize(4000), await tableSize(400));
  });

  for (const seed of seeds(10)) {
    it(`tells what changed as it stood when it was taken, seed ${seed}`, { timeout: 60_000 }, () =>
      takenInParts(seed),
    );

    it(
      `is the same from a snapshot, from the log and at append, seed ${seed}`,
      { timeout: 60_000 },
      () => walk(seed),
    );
  }
});
