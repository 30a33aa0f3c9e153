/**
 * Moving the log's start: what goes, what is copied forward before, and that the
 * log which is left tells all by itself.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { recoverSegment } from "../../storage/recovery.ts";
import { SEGMENT_HEADER_SIZE, segmentBases, segmentPath } from "../../storage/segment.ts";
import {
  decoded,
  fails,
  GROUP,
  ids,
  lagOf,
  listDead,
  message,
  names,
  publishEach,
  read,
  readAll,
  receipts,
  receive,
  settle,
  TOPIC,
  turn,
} from "../suites/broker_api_kit.ts";
import { checkToldAlike } from "./fold_dump.ts";
import { openTestBroker, type TestBroker } from "../suites/open_broker.ts";

const HOUR_MS = 3_600_000;
const RETENTION = { timeMs: HOUR_MS, bytes: null } as const;

async function settled(): Promise<void> {
  for (let turns = 0; turns < 60; turns++) await turn();
}

/** Time goes on until what is older than an hour went, and its segments with it. */
async function age({ clock }: TestBroker, ms = HOUR_MS): Promise<void> {
  clock.advance(ms);
  for (let left = 5; left > 0; left--) {
    await settled();
    clock.advance(60_000);
  }
  await settled();
}

async function bases({ disk }: Pick<TestBroker, "disk">): Promise<number[]> {
  return segmentBases(await disk.list("log"));
}

/** Without snapshots: what the log alone tells. */
async function fromLogAlone(broker: TestBroker): Promise<TestBroker> {
  await checkToldAlike(broker.disk);
  const disk = broker.disk.clone();
  for (const name of await disk.list("snapshots")) await disk.remove(`snapshots/${name}`);
  return broker.reopen(disk);
}

async function opened(): Promise<TestBroker> {
  const broker = await openTestBroker({ segmentBytes: 2048 });
  await broker.api.topics.put("orders", { ...TOPIC, queues: 1, retention: RETENTION });
  return broker;
}

/** Fills some segments that will expire. */
function fill({ api }: TestBroker, prefix = "fill"): Promise<void> {
  return publishEach(api, "orders", names(prefix, 60));
}

const X = { index: ["x"] };

async function withKey({ api }: TestBroker, index: string): Promise<string[]> {
  const wish = { topic: "orders", limit: 100, maxBytes: 1 << 20, index };
  return ids((await api.messages.search(wish)).messages);
}

async function traceOf({ api }: TestBroker, id: string) {
  const { events } = await api.messages.trace({ topic: "orders", id, limit: 100 });
  return events.map(({ event, at }) => [event, at] as const);
}

/** Publishes it; returns where its record lies. */
async function publishedAt({ api, disk }: TestBroker, id: string) {
  await api.messages.publish("orders", message(id));
  const base = { file: await disk.open(segmentPath(0), { create: false }), base: 0 };
  let found: { readonly logOffset: number } | undefined;
  const segment = { ...base, sealedEnd: undefined, prevCrc: undefined, durableEnd: 0 };
  await recoverSegment(segment, { crc32, visit: ({ logOffset }) => (found = { logOffset }) });
  return found;
}

describe("the log's start", () => {
  it("moves when all of its first segments expired, and their files go", async () => {
    let broker = await opened();
    await fill(broker);
    assert.equal((await bases(broker))[0], 0);
    await age(broker);
    const [first = 0] = await bases(broker);
    assert(first > 0, "the first segment went");
    for (const name of await broker.disk.list("log")) {
      if (/^\d/.test(name)) assert(Number(name.slice(0, 20)) >= first, `${name} is left`);
    }
    for (const [i, reopen] of [() => broker.reopen(), () => fromLogAlone(broker)].entries()) {
      broker = await reopen();
      assert.deepEqual(broker.api.status().damaged, []);
      assert.deepEqual(ids(await readAll(broker.api)), names("next", i));
      assert.deepEqual((await broker.api.topics.get("orders")).endOffsets, [60 + i]);
      await publishEach(broker.api, "orders", [`next${i}`]);
    }
    await broker.close();
  });

  it("waits for the topic that keeps longest", async () => {
    const broker = await opened();
    await broker.api.messages.publish("others", message("kept"));
    await fill(broker);
    await age(broker);
    assert.deepEqual((await bases(broker))[0], 0);
    await broker.api.topics.purge("others");
    await age(broker, 0);
    assert((await bases(broker))[0] !== 0);
    await broker.close();
  });

  it("leases, retries and dead letters outlive their segments", async () => {
    let broker = await opened();
    await broker.api.groups.put("g", { ...GROUP, leaseMs: 12 * HOUR_MS });
    await fill(broker);
    const [leased, retried, dead] = await receive(broker.api, { max: 3 });
    assert(leased && retried && dead);
    await settle(broker.api, {
      release: [{ receipt: retried.receipt, delayMs: 4 * HOUR_MS }],
      reject: [{ receipt: dead.receipt, reason: "bad" }],
    });
    for (let rounds = 0; rounds < 3; rounds++) {
      await age(broker);
      assert(((await bases(broker))[0] ?? 0) > 0, `round ${rounds}`);
      await fill(broker, `fill-${rounds}-`);
      broker = await (rounds === 1 ? fromLogAlone(broker) : broker.reopen());
      assert.deepEqual(await listDead(broker.api), ["fill2"]);
    }
    assert.deepEqual(await settle(broker.api, { ack: [leased.receipt] }), ["ok"]);
    await age(broker, 4 * HOUR_MS);
    const [again] = await receive(broker.api, { max: 1 });
    assert(again);
    assert.deepEqual([ids([again]), again.attempt, again.queueOffset], [["fill1"], 2, 1]);
    assert.equal(decoded(again).body.length, "body of fill1".length);
    await broker.api.groups.redrive("g", { ids: ["fill2"] });
    await receive(broker.api);
    await broker.close();
  });

  it("delayed messages come at their time, once, and can be recalled", async () => {
    let broker = await opened();
    const delayMs = 5 * HOUR_MS;
    for (const id of ["a", "b", "c"]) {
      await broker.api.messages.publish("orders", message(id, { delayMs }));
    }
    for (let rounds = 0; rounds < 3; rounds++) {
      await fill(broker, `fill-${rounds}-`);
      await age(broker);
      assert(((await bases(broker))[0] ?? 0) > 0, `round ${rounds}`);
      broker = await (rounds === 1 ? fromLogAlone(broker) : broker.reopen());
    }
    const scheduled = await broker.api.messages.get("orders", "a");
    assert("state" in scheduled);
    assert.equal(decoded(scheduled).id, "a");
    await broker.api.messages.recall("orders", "b");
    await broker.api.topics.patch("orders", { retention: { timeMs: 100 * HOUR_MS } });
    broker.clock.advance(5 * HOUR_MS);
    await settled();
    const all = ids(await readAll(broker.api));
    assert.deepEqual(
      all.filter((id) => id.length === 1),
      ["a", "c"],
    );
    broker = await fromLogAlone(broker);
    await settled();
    assert.deepEqual(ids(await readAll(broker.api)), all, "and not again");
    await broker.close();
  });

  it("a log of messages that wait is not copied over and over, and goes when they came", async () => {
    const broker = await opened();
    const waiting = names("w", 60);
    for (const id of waiting) {
      await broker.api.messages.publish("orders", message(id, { delayMs: 3 * HOUR_MS }));
    }
    const before = await bases(broker);
    assert(before.length > 4);
    for (let minutes = 0; minutes < 90; minutes++) {
      broker.clock.advance(60_000);
      await settled();
    }
    assert.deepEqual(await bases(broker), before, "nothing was copied, nothing went");
    broker.clock.advance(2 * HOUR_MS);
    await settled();
    assert.deepEqual(ids(await readAll(broker.api)), waiting);
    await age(broker, 2 * HOUR_MS);
    assert(((await bases(broker))[0] ?? 0) >= (before.at(-1) ?? 0), "then they went");
    await broker.close();
  });

  it("transactions wait for their decision", async () => {
    let broker = await opened();
    const { api } = broker;
    const begin = (id: string) =>
      api.transactions.begin({
        producerGroup: "p",
        messages: [{ topic: "orders", message: message(id) }],
        maxChecks: 0,
      });
    const [kept, gone] = [await begin("kept"), await begin("gone")];
    await fill(broker);
    await age(broker);
    assert(((await bases(broker))[0] ?? 0) > 0);
    broker = await fromLogAlone(broker);
    await broker.api.transactions.rollback(gone.id);
    await fill(broker, "more");
    await age(broker);
    await broker.api.transactions.commit(kept.id);
    assert.deepEqual(ids(await readAll(broker.api)), ["kept"]);
    await broker.close();
  });

  it("index keys go forward with what waits, and its trace", async () => {
    let broker = await opened();
    const { api, clock } = broker;
    const bornAt = clock.now();
    const late = message("late", { delayMs: 5 * HOUR_MS, index: ["x"] });
    await api.messages.publish("orders", late);
    const half = { topic: "orders", message: message("half", { index: ["x"] }) };
    const begun = { producerGroup: "p", messages: [half], maxChecks: 0 };
    const { id: txnId } = await api.transactions.begin(begun);
    await api.messages.publish("orders", message("gone", { index: ["x"] }));
    assert.deepEqual(await withKey(broker, "x"), ["gone"]);
    for (let rounds = 0; rounds < 3; rounds++) {
      await fill(broker, `fill-${rounds}-`);
      await age(broker);
      assert(((await bases(broker))[0] ?? 0) > 0, `round ${rounds}`);
      assert.deepEqual(await withKey(broker, "x"), []);
      broker = await (rounds === 1 ? fromLogAlone(broker) : broker.reopen());
    }
    const scheduled = await traceOf(broker, "late");
    assert.deepEqual(scheduled, [["scheduled", bornAt]]);
    await broker.api.topics.patch("orders", { retention: { timeMs: 100 * HOUR_MS } });
    await broker.api.transactions.commit(txnId);
    broker.clock.advance(5 * HOUR_MS);
    await settled();
    assert.deepEqual(await withKey(broker, "x"), ["late", "half"]);
    assert.deepEqual(
      (await traceOf(broker, "late")).map(([event]) => event),
      ["scheduled", "revealed"],
    );
    assert.deepEqual(
      (await traceOf(broker, "half")).map(([event]) => event),
      ["committed", "revealed"],
    );
    await fill(broker, "more");
    for (const reopen of [() => broker.reopen(), () => fromLogAlone(broker)]) {
      broker = await reopen();
      assert.deepEqual(await withKey(broker, "x"), ["late", "half"], "in the sidecars");
    }
    await broker.close();
  });

  it("a page of a search or a trace ends where the log begins by then", async () => {
    const broker = await opened();
    const { api } = broker;
    const search = { topic: "orders", limit: 1, maxBytes: 1 << 20 };
    for (const id of ["a", "b", "c"]) await api.messages.publish("orders", message(id, X));
    await api.groups.put("g", GROUP);
    await receive(api, { max: 3 });
    const byKey = await api.messages.search({ ...search, index: "x" });
    const byTime = await api.messages.search(search);
    const wish = { topic: "orders", id: "a", limit: 1 };
    const { next: after } = await api.messages.trace(wish);
    assert(after !== undefined);
    await fill(broker);
    await api.groups.delete("g");
    await age(broker);
    assert(((await bases(broker))[0] ?? 0) > 0);
    for (const { next } of [byKey, byTime]) {
      assert(next !== undefined);
      const index = next === byKey.next ? "x" : undefined;
      const { messages, next: more } = await api.messages.search({ ...search, index, after: next });
      assert.deepEqual([messages, more], [[], undefined]);
    }
    await fails("message-not-found", api.messages.trace({ ...wish, after }));
    await fails("message-not-found", api.messages.trace(wish));
    await broker.close();
  });

  it("damage goes with what was damaged", async () => {
    let broker = await opened();
    const { logOffset } = (await publishedAt(broker, "bad")) ?? { logOffset: 0 };
    await fill(broker);
    await broker.close();
    broker.disk.damage(segmentPath(0), (bytes) =>
      bytes.fill(255, SEGMENT_HEADER_SIZE + logOffset + 60, SEGMENT_HEADER_SIZE + logOffset + 68),
    );
    broker = await broker.reopen();
    await fails("data-damaged", read(broker.api, { limit: 1 }));
    assert.equal(broker.api.status().damaged.length, 1);
    await age(broker);
    assert(((await bases(broker))[0] ?? 0) > 0);
    assert.deepEqual(broker.api.status().damaged, []);
    const again = await broker.reopen();
    assert.deepEqual(again.api.status().damaged, []);
    await again.close();
  });

  it("a message that was revealed keeps its segment until it expires", async () => {
    const broker = await opened();
    await broker.api.messages.publish("orders", message("late", { delayMs: HOUR_MS / 2 }));
    await fill(broker);
    broker.clock.advance(HOUR_MS / 2);
    await settled();
    await fill(broker, "more");
    await age(broker, HOUR_MS / 2);
    assert.equal((await bases(broker))[0], 0);
    assert.deepEqual(ids((await readAll(broker.api)).slice(0, 1)), ["late"]);
    await age(broker);
    assert(((await bases(broker))[0] ?? 0) > 0);
    await broker.close();
  });

  it("a group's place is where it was", async () => {
    let broker = await opened();
    await broker.api.groups.put("g", GROUP);
    await fill(broker);
    await settle(broker.api, { ack: receipts(await receive(broker.api, { max: 7 })) });
    await age(broker);
    await publishEach(broker.api, "orders", names("new", 3));
    const before = await lagOf(broker.api);
    assert.equal(before.expiredUnread, 53);
    broker = await fromLogAlone(broker);
    assert.deepEqual(await lagOf(broker.api), before);
    assert.deepEqual(ids(await receive(broker.api)), names("new", 3));
    await broker.close();
  });
});
