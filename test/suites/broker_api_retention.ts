/**
 * {@linkcode BrokerApi}, retention and purge: what goes, what readers and groups
 * are told, what they keep.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { TidegateError } from "../../storage/base/errors.ts";
import {
  after,
  fails,
  GROUP,
  ids,
  lagOf,
  message,
  names,
  type Opened,
  prepareGroup,
  publishEach,
  publishNow,
  read,
  readAll,
  receipts,
  receive,
  rejectAll,
  listDead,
  settle,
  type Test,
  TOPIC,
  turn,
} from "./broker_api_kit.ts";

const HOUR_MS = 3_600_000;
const RETENTION = { timeMs: HOUR_MS, bytes: null } as const;

/** Time goes on until what is older than an hour has gone. */
async function age({ clock }: Opened, ms = 0): Promise<void> {
  clock.advance(ms);
  for (let left = 5; left > 0; left--) {
    await settled();
    clock.advance(60_000); // the longest it may come late
  }
  await settled();
}

async function settled(): Promise<void> {
  for (let turns = 0; turns < 10; turns++) await turn();
}

function earliestOf(error: TidegateError): string {
  const { earliest } = error.details;
  assert(typeof earliest === "string", "it says where to go on");
  return earliest;
}

export function testRetention(test: Test): void {
  test("messages go when they are older than the topic keeps them, never before", async (opened) => {
    const { api, clock } = opened;
    await api.topics.put("orders", { ...TOPIC, retention: RETENTION });
    await publishEach(api, "orders", names("old", 9));
    clock.advance(HOUR_MS / 2);
    await publishEach(api, "orders", names("young", 9));
    clock.advance(HOUR_MS / 2);
    await settled();
    assert.equal((await readAll(api)).length, 18, "an hour old is not older than an hour");
    await age(opened);
    assert.deepEqual(ids(await readAll(api)), names("young", 9));
    await fails("message-not-found", api.messages.get("orders", "old3"));
    await age(opened, HOUR_MS);
    assert.deepEqual(await readAll(api), []);
    const { endOffsets } = await api.topics.get("orders");
    assert.equal(
      endOffsets.reduce((sum, end) => sum + end, 0),
      18,
      "nothing is renumbered",
    );
    await publishEach(api, "orders", ["new"]);
    assert.deepEqual(ids(await readAll(api)), ["new"]);
  });

  test("a topic that keeps for ever keeps", async (opened) => {
    const { api, clock } = opened;
    await api.topics.put("orders", { ...TOPIC, retention: { timeMs: null, bytes: null } });
    await publishEach(api, "orders", names("m", 3));
    clock.advance(24 * HOUR_MS);
    await age(opened);
    assert.equal((await readAll(api)).length, 3);
  });

  test("a retention that is patched holds for what is stored", async (opened) => {
    const { api, clock } = opened;
    await api.topics.put("orders", TOPIC);
    await publishEach(api, "orders", names("m", 3));
    clock.advance(2 * HOUR_MS);
    await age(opened);
    assert.equal((await readAll(api)).length, 3);
    await api.topics.patch("orders", { retention: { timeMs: HOUR_MS } });
    await age(opened);
    assert.deepEqual(await readAll(api), []);
  });

  test("a cursor before what is kept has expired, and says where to go on", async (opened) => {
    const { api, clock } = opened;
    await api.topics.put("orders", { ...TOPIC, queues: 2, retention: RETENTION });
    const lost = await publishNow(api, "orders", message("lost", { key: "a" }));
    const stream = await read(api, { limit: 1 });
    await publishEach(api, "orders", names("old", 4));
    await publishNow(api, "orders", message("gone", { key: "a" }));
    clock.advance(HOUR_MS / 2);
    const kept = await publishNow(api, "orders", message("kept", { key: "a" }));
    await publishEach(api, "orders", names("young", 2));
    await age(opened, HOUR_MS / 2);

    const expected = ["kept", "young0", "young1"];
    const error = await fails("cursor-expired", read(api, after(stream.cursor)));
    const rest = await readAll(api, after(earliestOf(error)));
    assert.deepEqual(ids(rest), expected);

    const { queueId } = lost;
    const ofQueue = expected.filter((_, i) => rest[i]?.queueId === queueId);
    const one = await read(api, { queueId, limit: 1 });
    assert.deepEqual(ids(one.messages), ["kept"], "what begins at the earliest begins there");
    await fails("cursor-expired", read(api, after(lost.cursor)));
    assert.deepEqual(ids(await readAll(api, after(kept.cursor))), ofQueue.slice(1));
  });

  test("a queue's cursor before what is kept has expired", async (opened) => {
    const { api } = opened;
    await api.topics.put("orders", { ...TOPIC, queues: 1, retention: RETENTION });
    const first = await publishNow(api, "orders", message("m0"));
    const second = await publishNow(api, "orders", message("m1"));
    await age(opened, HOUR_MS);
    const error = await fails("cursor-expired", read(api, after(first.cursor)));
    assert.deepEqual((await read(api, after(second.cursor))).messages, [], "it had read them all");
    await publishEach(api, "orders", ["m2"]);
    assert.deepEqual(ids(await readAll(api, after(earliestOf(error)))), ["m2"]);
  });

  test("a reader that had read all that went is told of no gap", async (opened) => {
    const { api } = opened;
    await api.messages.publish("others", message("lasting")); // or its position were before the log's start
    await api.topics.put("orders", { ...TOPIC, retention: RETENTION });
    await publishEach(api, "orders", names("m", 5));
    const page = await read(api, { cursors: true });
    const last = page.cursors?.at(-1);
    assert(last);
    await age(opened, HOUR_MS);
    await publishEach(api, "orders", ["next"]);
    for (const cursor of [last, page.cursor]) {
      assert.deepEqual(ids(await readAll(api, after(cursor))), ["next"]);
    }
    await fails("cursor-expired", read(api, after(page.cursors?.[3] ?? "")));
  });

  test("reads from a time begin at what is kept", async (opened) => {
    const { api, clock } = opened;
    await api.topics.put("orders", { ...TOPIC, retention: RETENTION });
    const time = clock.now();
    await publishEach(api, "orders", names("old", 3));
    clock.advance(HOUR_MS / 2);
    await publishEach(api, "orders", ["young"]);
    await age(opened, HOUR_MS / 2);
    assert.deepEqual(ids((await read(api, { start: { kind: "time", time } })).messages), ["young"]);
  });

  test("a group goes on at the first message there is, and is told what it missed", async (opened) => {
    const { api, clock } = opened;
    await prepareGroup(api, 0);
    await api.topics.patch("orders", { retention: { timeMs: HOUR_MS } });
    await publishEach(api, "orders", names("old", 5));
    await settle(api, { ack: receipts(await receive(api, { max: 2 })) });
    clock.advance(HOUR_MS / 2);
    await publishEach(api, "orders", names("young", 2));
    await age(opened, HOUR_MS / 2);
    const { committedOffset, endOffset, ready, expiredUnread } = await lagOf(api);
    assert.deepEqual(
      { committedOffset, endOffset, ready, expiredUnread },
      { committedOffset: 5, endOffset: 7, ready: 2, expiredUnread: 3 },
    );
    assert.deepEqual(ids(await receive(api)), ["young0", "young1"]);
    assert.equal((await api.groups.lag("g")).topics[0]?.total, 2);
  });

  test("a new group does not miss what went before it came", async (opened) => {
    const { api } = opened;
    await api.topics.put("orders", { ...TOPIC, queues: 1, retention: RETENTION });
    await publishEach(api, "orders", names("m", 3));
    await age(opened, HOUR_MS);
    await api.groups.put("g", GROUP);
    const { committedOffset, endOffset, ready, expiredUnread } = await lagOf(api);
    assert.deepEqual([committedOffset, endOffset, ready, expiredUnread], [3, 3, 0, 0]);
  });

  test("what a group holds of expired messages it keeps", async (opened) => {
    const { api, clock } = opened;
    await prepareGroup(api, 0);
    await api.topics.patch("orders", { retention: { timeMs: HOUR_MS } });
    await publishEach(api, "orders", names("m", 4));
    const [dead, retried, acked] = await receive(api, { max: 3, leaseMs: 12 * HOUR_MS });
    assert(dead && retried && acked);
    await settle(api, { reject: [{ receipt: dead.receipt, reason: "bad" }] });
    await age(opened, HOUR_MS);
    assert.deepEqual(await readAll(api), []);
    await settle(api, { release: [{ receipt: retried.receipt, delayMs: 0 }] });
    assert.deepEqual(await settle(api, { ack: [acked.receipt] }), ["ok"]);
    const [again, ...more] = await receive(api);
    assert.deepEqual([ids([again ?? retried]), again?.attempt, more], [["m1"], 2, []]);
    assert.deepEqual(await listDead(api), ["m0"]);
    await api.groups.redrive("g", {});
    clock.advance(1);
    assert.deepEqual(ids(await receive(api)), ["m0"]);
  });

  test("purge() removes what has a place, and no more", async ({ api, clock }) => {
    await prepareGroup(api, 4);
    await api.messages.publish("orders", message("later", { delayMs: 1000 }));
    const page = await read(api, { limit: 2 });
    assert.equal(await api.topics.purge("orders"), 4);
    assert.deepEqual(await readAll(api), []);
    await fails("cursor-expired", read(api, after(page.cursor)));
    const { committedOffset, endOffset, ready, expiredUnread } = await lagOf(api);
    assert.deepEqual([committedOffset, endOffset, ready, expiredUnread], [4, 4, 0, 0]);
    assert.deepEqual(await receive(api), []);
    assert.equal(await api.topics.purge("orders"), 0);
    clock.advance(1000);
    await settled();
    assert.deepEqual(ids(await readAll(api)), ["later"]);
    assert.deepEqual(ids(await receive(api)), ["later"]);
  });

  test("purge() voids leases and retries, and leaves dead letters", async ({ api, clock }) => {
    await prepareGroup(api, 1);
    await rejectAll(api);
    await publishEach(api, "orders", ["leased", "released"]);
    const [leased, released] = await receive(api);
    assert(leased && released);
    await settle(api, { release: [{ receipt: released.receipt, delayMs: 10 }] });
    await api.topics.purge("orders");
    clock.advance(24 * HOUR_MS);
    assert.deepEqual(await receive(api), [], "nothing comes again");
    assert.deepEqual(await settle(api, { ack: [leased.receipt] }), ["ok"], "it is done");
    assert.deepEqual(await settle(api, { extend: [{ ...leased, leaseMs: 5 }] }), ["lost"]);
    assert.deepEqual(await listDead(api), ["m0"]);
    await publishEach(api, "orders", ["next"]);
    assert.deepEqual(ids(await receive(api)), ["next"]);
  });

  test("purge() fails where there is no topic", async ({ api }) => {
    await fails("topic-not-found", api.topics.purge("nowhere"));
  });

  test("an ordered group goes on behind what went", async (opened) => {
    const { api, clock } = opened;
    await prepareGroup(api, 0, { mode: "ordered" });
    await api.topics.patch("orders", { retention: { timeMs: HOUR_MS } });
    for (const id of ["a0", "a1", "b0"]) {
      await api.messages.publish("orders", message(id, { key: id.charAt(0) }));
    }
    const [held] = await receive(api, { max: 1, leaseMs: 12 * HOUR_MS });
    assert.deepEqual(ids(held ? [held] : []), ["a0"]);
    clock.advance(HOUR_MS / 2);
    for (const id of ["a2", "b1"]) {
      await api.messages.publish("orders", message(id, { key: id.charAt(0) }));
    }
    await age(opened, HOUR_MS / 2);
    assert.deepEqual(ids(await receive(api)), ["b1"], "a0 is on its way");
    await settle(api, { ack: [held?.receipt ?? ""] });
    assert.deepEqual(ids(await receive(api)), ["a2"]);
    assert.equal((await lagOf(api)).expiredUnread, 2);
  });
}
