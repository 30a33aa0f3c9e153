/**
 * {@linkcode BrokerApi}, sending dead letters back: to the group they are of, or
 * as copies to a topic.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { TopicConfig } from "../../src/broker/api.ts";
import {
  attempts,
  deadLetters,
  decoded,
  fails,
  GROUP,
  ids,
  isAnswered,
  lagOf,
  listDead,
  message,
  names,
  prepareGroup,
  publishEach,
  readAll,
  receipts,
  receive,
  receiveOne,
  rejectAll,
  settle,
  type Test,
  TOPIC,
  turn,
} from "./broker_api_kit.ts";

export function testRedrive(test: Test): void {
  testBack(test);
  testElsewhere(test);
}

function testBack(test: Test): void {
  test("redrive() makes dead letters ready again: attempt 1, the same offset, no copy", async ({
    api,
  }) => {
    await prepareGroup(api, 3);
    const [m0 = "", ...others] = receipts(await receive(api));
    await settle(api, { ack: others, release: [{ receipt: m0, delayMs: 0 }] });
    await rejectAll(api);
    assert.equal((await deadLetters(api)).deadLetters[0]?.attempts, 2);
    const { endOffsets } = await api.topics.get("orders");

    assert.equal(await api.groups.redrive("g", {}), 1);
    assert.deepEqual(await listDead(api), []);
    const again = await receiveOne(api);
    assert.deepEqual([ids([again]), again.attempt, again.queueOffset], [["m0"], 1, 0]);
    assert.deepEqual((await api.topics.get("orders")).endOffsets, endOffsets);
    assert.equal((await readAll(api)).length, 3);
  });

  test("redrive() sends back all, to be settled as any other", async ({ api, clock }) => {
    await prepareGroup(api, 5);
    await rejectAll(api);
    assert.equal(await api.groups.redrive("g", {}), 5);
    const got = await receive(api);
    assert.deepEqual([ids(got), attempts(got)], [names("m", 5), [1, 1, 1, 1, 1]]);
    assert.deepEqual(await receive(api), []);
    assert.deepEqual(new Set(await settle(api, { ack: receipts(got) })), new Set(["ok"]));
    clock.advance(1_000_000);
    assert.deepEqual(await receive(api), []);
    assert.equal((await lagOf(api)).committedOffset, 5);
    assert.equal(await api.groups.redrive("g", {}), 0);
  });

  test("redrive() sends back those it is told", async ({ api }) => {
    await prepareGroup(api, 4);
    await rejectAll(api);
    const redrive = (ids: readonly string[]) => api.groups.redrive("g", { ids });
    assert.equal(await redrive([]), 0);
    assert.equal(await redrive(["nobody"]), 0);
    assert.deepEqual(await receive(api), []);
    assert.equal(await redrive(["m3", "nobody", "m1", "m1"]), 2);
    assert.deepEqual(ids(await receive(api)), ["m1", "m3"]);
    assert.deepEqual(await listDead(api), ["m0", "m2"]);
  });

  test("redrive() sends back all that share an id", async ({ api }) => {
    await prepareGroup(api, 0);
    await publishEach(api, "orders", ["same", "other", "same"]);
    await rejectAll(api);
    assert.equal(await api.groups.redrive("g", { ids: ["same"] }), 2);
    const got = await receive(api);
    assert.deepEqual(
      got.map(({ queueOffset }) => queueOffset),
      [0, 2],
    );
  });

  test("redrive() is of its group alone", async ({ api }) => {
    await prepareGroup(api, 1);
    await api.groups.put("other", GROUP);
    await settle(api, { ack: receipts(await receive(api, { group: "other" })) }, "other");
    await rejectAll(api);
    await api.groups.redrive("g", {});
    assert.deepEqual(await receive(api, { group: "other" }), []);
    assert.equal((await lagOf(api, "other")).committedOffset, 1);
    assert.deepEqual(ids(await receive(api)), ["m0"]);
  });

  test("what is redriven counts in lag() again", async ({ api, clock }) => {
    await prepareGroup(api, 3);
    await rejectAll(api);
    clock.advance(5000);
    await api.groups.redrive("g", { ids: ["m1"] });
    const lag = await lagOf(api);
    assert.deepEqual(lag, {
      queueId: 0,
      committedOffset: 1,
      endOffset: 3,
      ready: 1,
      leased: 0,
      oldestAgeMs: 5000,
      expiredUnread: 0,
    });
    assert.equal((await api.groups.lag("g")).topics[0]?.total, 1);
  });

  test("what is redriven can be peeked at, as attempt 1", async ({ api }) => {
    await prepareGroup(api, 1);
    await rejectAll(api);
    await api.groups.redrive("g", {});
    const peeked = await api.groups.peek("g", { limit: 10, maxBytes: 1 << 20 });
    assert.deepEqual([ids(peeked), attempts(peeked)], [["m0"], [1]]);
  });

  test("a waiting receive is answered by a redrive", async ({ api }) => {
    await prepareGroup(api, 1);
    await rejectAll(api);
    const wait = receive(api, { waitMs: 60_000 });
    assert.equal(await isAnswered(wait), false);
    await api.groups.redrive("g", {});
    const got = await wait;
    assert.deepEqual([ids(got), attempts(got)], [["m0"], [1]]);
  });

  test("receipts of before a redrive are lost", async ({ api }) => {
    await prepareGroup(api, 1);
    const { receipt } = await receiveOne(api);
    await settle(api, { reject: [{ receipt }] });
    await api.groups.redrive("g", {});
    const every = {
      ack: [receipt],
      release: [{ receipt }],
      extend: [{ receipt, leaseMs: 1000 }],
      reject: [{ receipt }],
    };
    const lost = ["lost", "lost", "lost", "lost"];
    assert.deepEqual(await settle(api, every), lost);
    const again = await receiveOne(api);
    assert.notEqual(again.receipt, receipt);
    assert.deepEqual(await settle(api, every), lost);
    assert.deepEqual(await settle(api, { ack: [again.receipt] }), ["ok"]);
  });

  test("a redriven message has all its attempts, and may die again", async ({ api, clock }) => {
    await prepareGroup(api, 1, { maxAttempts: 2 });
    await rejectAll(api, "first");
    await api.groups.redrive("g", {});
    for (const attempt of [1, 2]) {
      assert.equal((await receiveOne(api)).attempt, attempt);
      clock.advance(30_000);
    }
    assert.deepEqual(await receive(api), []);
    const { deadLetters: letters } = await deadLetters(api);
    assert.deepEqual(
      letters.map(({ cause, reason, attempts, deadAt }) => [cause, reason, attempts, deadAt]),
      [["attempts", "", 2, clock.now()]],
    );
    assert.equal(await api.groups.redrive("g", {}), 1);
    assert.equal((await receiveOne(api)).attempt, 1);
  });

  test("a redriven message is a redelivery: it comes before what is new", async ({ api }) => {
    await prepareGroup(api, 1);
    await rejectAll(api);
    await publishEach(api, "orders", ["new"]);
    await api.groups.redrive("g", {});
    assert.deepEqual(ids([await receiveOne(api)]), ["m0"]);
  });

  test("redrive() keeps to maxInFlight", async ({ api }) => {
    await prepareGroup(api, 3, { maxInFlight: 2 });
    for (let i = 0; i < 2; i++) await rejectAll(api);
    await api.groups.redrive("g", {});
    assert.equal((await receive(api)).length, 2);
    assert.equal((await receive(api)).length, 0);
  });
}

function testElsewhere(test: Test): void {
  test("redrive() to a topic publishes copies there, in the order of the list", async ({ api }) => {
    await prepareGroup(api, 0);
    await api.topics.put("mended", { ...TOPIC, queues: 1 });
    const original = message("m0", {
      key: "order-17",
      tag: "created",
      index: ["cust-9"],
      properties: [["region", "eu"]],
      contentType: "text/plain",
    });
    await api.messages.publish("orders", original);
    await publishEach(api, "orders", ["m1", "m2"]);
    await rejectAll(api);
    assert.equal(await api.groups.redrive("g", { ids: ["m0", "m2"], toTopic: "mended" }), 2);

    const copies = await readAll(api, { topic: "mended" });
    assert.deepEqual(ids(copies), ["m0", "m2"]);
    const { id, key, tag, index, properties, contentType, body } = decoded(
      copies[0] ?? assert.fail("it is there"),
    );
    assert.deepEqual({ id, key, tag, index, properties, contentType, body }, original);
    assert.deepEqual(await listDead(api), ["m1"]);
    assert.deepEqual(await receive(api), []);
    assert.equal((await lagOf(api)).committedOffset, 3);
    assert.equal((await readAll(api)).length, 3);
  });

  test("redrive() to the topic they came from publishes them anew", async ({ api }) => {
    await prepareGroup(api, 2);
    await rejectAll(api);
    assert.equal(await api.groups.redrive("g", { toTopic: "orders" }), 2);
    const got = await receive(api);
    assert.deepEqual(
      [ids(got), attempts(got)],
      [
        ["m0", "m1"],
        [1, 1],
      ],
    );
    assert.deepEqual(
      got.map(({ queueOffset }) => queueOffset),
      [2, 3],
    );
    assert.deepEqual(await listDead(api), []);
  });

  test("a receive that waits for a topic is answered by what is redriven to it", async ({
    api,
  }) => {
    await prepareGroup(api, 1);
    await api.topics.put("mended", TOPIC);
    await api.groups.put("other", { ...GROUP, subscriptions: [{ topic: "mended" }] });
    await rejectAll(api);
    const wait = receive(api, { group: "other", waitMs: 60_000 });
    await turn();
    await api.groups.redrive("g", { toTopic: "mended" });
    assert.deepEqual(ids(await wait), ["m0"]);
  });

  test("redrive() to an unknown topic creates it where publishing would", async ({ api }) => {
    await prepareGroup(api, 1);
    await rejectAll(api);
    assert.equal(await api.groups.redrive("g", { toTopic: "mended" }), 1);
    assert.deepEqual(ids(await readAll(api, { topic: "mended" })), ["m0"]);
  });

  test(
    "redrive() to an unknown topic fails where publishing would, and sends nothing",
    async ({ api }) => {
      await prepareGroup(api, 2);
      await rejectAll(api);
      await fails("topic-not-found", api.groups.redrive("g", { toTopic: "mended" }));
      assert.deepEqual(await listDead(api), ["m0", "m1"]);
      await fails("topic-not-found", api.topics.get("mended"));
    },
    { autoCreate: false },
  );

  const unfit: [messageType: TopicConfig["messageType"], kept: string[]][] = [
    ["fifo", ["keyed", "keyless"]],
    ["normal", ["keyed", "keyless"]],
  ];
  for (const [messageType, kept] of unfit) {
    test(`redrive() to a ${messageType} topic that cannot take one of them sends none`, async ({
      api,
    }) => {
      await prepareGroup(api, 0);
      await api.topics.put("mended", { ...TOPIC, messageType });
      await api.messages.publish("orders", message("keyed", { key: "k" }));
      await api.messages.publish("orders", message("keyless"));
      await rejectAll(api);
      await fails("message-type-mismatch", api.groups.redrive("g", { toTopic: "mended" }));
      assert.deepEqual(await readAll(api, { topic: "mended" }), []);
      assert.deepEqual(await listDead(api), kept);
      const fits = messageType === "fifo" ? "keyed" : "keyless";
      assert.equal(await api.groups.redrive("g", { ids: [fits], toTopic: "mended" }), 1);
      assert.deepEqual(ids(await readAll(api, { topic: "mended" })), [fits]);
    });
  }
}
