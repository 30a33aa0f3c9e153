/**
 * {@linkcode BrokerApi}, ordered groups: of each key one message at a time, in
 * order; other keys flow. How a group gets into that mode and out of it.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  attempts,
  collidingKeys,
  fails,
  GROUP,
  ids,
  lagOf,
  message,
  names,
  prepareOrdered,
  publishEach,
  publishKeyed,
  receipts,
  receive,
  receiveOne,
  settle,
  type Test,
  TOPIC,
  turn,
} from "./broker_api_kit.ts";
import { walkOrdered } from "./broker_api_ordered_walk.ts";

export function testOrdered(test: Test): void {
  testKeys(test);
  testMode(test);
  test("an ordered group keeps the order of every key, whatever is done to it", walkOrdered);
}

function testKeys(test: Test): void {
  test("an ordered group has one message of a key in flight", async ({ api }) => {
    await prepareOrdered(api, ["a1", "a2", "b1", "a3", "b2", "c1"]);
    const got = await receive(api);
    assert.deepEqual(ids(got), ["a1", "b1", "c1"]);
    assert.deepEqual(ids(await receive(api)), []);
    await settle(api, { ack: receipts(got).slice(0, 1) });
    assert.deepEqual(ids(await receive(api)), ["a2"]);
    await settle(api, { ack: receipts(got).slice(1) });
    assert.deepEqual(ids(await receive(api)), ["b2"]);
  });

  test("an ordered group hands out keys one by one as well", async ({ api }) => {
    await prepareOrdered(api, ["a1", "a2", "b1", "b2"]);
    const first = await receiveOne(api);
    const second = await receiveOne(api);
    assert.deepEqual(ids([first, second]), ["a1", "b1"]);
    assert.deepEqual(await receive(api, { max: 1 }), []);
    await settle(api, { ack: [second.receipt] });
    assert.deepEqual(ids(await receive(api, { max: 1 })), ["b2"]);
  });

  test("an ordered group looks far behind a key that is held up", async ({ api }) => {
    await prepareOrdered(api, ["a1"]);
    const { receipt } = await receiveOne(api);
    const batch = names("a-", 900).map((id) => message(id, { key: "a" }));
    await api.messages.publishBatch("orders", batch, { atomic: false });
    await publishKeyed(api, "orders", ["b1"]);
    assert.deepEqual(ids(await receive(api)), ["b1"]);
    await settle(api, { ack: [receipt] });
    assert.deepEqual(ids(await receive(api)), ["a-0"]);
  });

  test("messages without a key come one at a time from each queue", async ({ api }) => {
    await api.topics.put("orders", { ...TOPIC, queues: 2 });
    await api.groups.put("g", { ...GROUP, mode: "ordered" });
    await publishEach(api, "orders", names("m", 40));
    const last = new Map<number, number>();
    for (let left = 40; left > 0; ) {
      const got = await receive(api);
      left -= got.length;
      const queues = got.map(({ queueId }) => queueId);
      assert.equal(new Set(queues).size, queues.length);
      for (const { queueId, queueOffset } of got) {
        assert.equal(queueOffset, (last.get(queueId) ?? -1) + 1);
        last.set(queueId, queueOffset);
      }
      assert.deepEqual(await receive(api), []);
      await settle(api, { ack: receipts(got) });
    }
  });

  test("messages without a key and those with one do not hold each other up", async ({ api }) => {
    await prepareOrdered(api, []);
    await publishEach(api, "orders", ["m1"]);
    await publishKeyed(api, "orders", ["a1"]);
    await publishEach(api, "orders", ["m2"]);
    await publishKeyed(api, "orders", ["a2"]);
    const got = await receive(api);
    assert.deepEqual(ids(got), ["m1", "a1"]);
    await settle(api, { ack: receipts(got).slice(0, 1) });
    assert.deepEqual(ids(await receive(api)), ["m2"]);
  });

  test("two keys of one hash are both delivered, each in order", async ({ api }) => {
    await prepareOrdered(api, []);
    const keys = collidingKeys();
    for (const n of [1, 2]) {
      for (const key of keys) {
        await api.messages.publish("orders", message(`${key}:${n}`, { key }));
      }
    }
    const seen: string[] = [];
    while (seen.length < 4) {
      const got = await receive(api);
      assert(got.length > 0, "something is ready while something is left");
      seen.push(...ids(got));
      await settle(api, { ack: receipts(got) });
    }
    for (const key of keys) {
      const mine = seen.filter((id) => id.startsWith(`${key}:`));
      assert.deepEqual(mine, [`${key}:1`, `${key}:2`]);
    }
  });

  test("a key of one topic does not hold up that of another, nor that of another group", async ({
    api,
  }) => {
    const subscriptions = [{ topic: "orders" }, { topic: "bills" }];
    for (const group of ["g", "h"]) {
      await api.groups.put(group, { ...GROUP, mode: "ordered", subscriptions });
    }
    await publishKeyed(api, "orders", ["a1", "a2"]);
    await publishKeyed(api, "bills", ["a3", "a4"]);
    for (const group of ["g", "h"]) {
      assert.deepEqual(ids(await receive(api, { group })).toSorted(), ["a1", "a3"]);
    }
  });

  test("an ordered group gives an attempt the same leases again", async ({ api }) => {
    await prepareOrdered(api, ["a1", "a2", "b1"]);
    const first = await receive(api, { attemptId: "x" });
    assert.deepEqual(await receive(api, { attemptId: "x" }), first);
    assert.deepEqual(ids(first), ["a1", "b1"]);
  });

  test("what goes back because it did not fit frees its key, uncounted", async ({ api }) => {
    await prepareOrdered(api, []);
    for (const key of ["a", "b"]) {
      await api.messages.publish("orders", { id: `${key}1`, key, body: new Uint8Array(1000) });
    }
    assert.deepEqual(ids(await receive(api, { maxBytes: 1500 })), ["a1"]);
    await turn();
    const rest = await receive(api);
    assert.deepEqual([ids(rest), attempts(rest)], [["b1"], [1]]);
  });

  test("peek() shows one message of a key, and none of a key in flight", async ({ api }) => {
    await prepareOrdered(api, ["a1", "a2", "b1", "b2"]);
    const peek = async () =>
      ids(await api.groups.peek("g", { limit: 10, maxBytes: 1 << 20, topic: undefined }));
    assert.deepEqual(await peek(), ["a1", "b1"]);
    const { receipt } = await receiveOne(api);
    assert.deepEqual(await peek(), ["b1"]);
    await settle(api, { ack: [receipt] });
    assert.deepEqual((await peek()).toSorted(), ["a2", "b1"]);
  });

  test("lag() of an ordered group stands at the first message that is not settled", async ({
    api,
  }) => {
    await prepareOrdered(api, ["a1", "b1", "a2", "b2"]);
    const [, b1] = receipts(await receive(api));
    await settle(api, { ack: [b1 ?? ""] });
    const [b2] = receipts(await receive(api));
    await settle(api, { ack: [b2 ?? ""] });
    assert.equal((await lagOf(api)).committedOffset, 0);
    assert.equal((await api.groups.lag("g")).topics[0]?.total, 2);
  });
}

function testMode(test: Test): void {
  const changes = [
    ["concurrent", "ordered"],
    ["ordered", "concurrent"],
  ] as const;
  for (const [before, mode] of changes) {
    test(`patch() from ${before} to ${mode} waits until nothing is leased`, async ({
      api,
      clock,
    }) => {
      await prepareOrdered(api, ["a1", "a2", "b1"], { mode: before });
      const got = await receive(api);
      await fails("group-busy", api.groups.patch("g", { mode }));
      assert.equal((await api.groups.get("g")).mode, before);
      assert.equal((await api.groups.patch("g", { mode: before, leaseMs: 5000 })).leaseMs, 5000);

      const [a1 = "", ...others] = receipts(got);
      await settle(api, { ack: others, release: [{ receipt: a1, delayMs: 1000 }] });
      await fails("group-busy", api.groups.patch("g", { mode }));
      clock.advance(1000);
      await settle(api, { ack: receipts(await receive(api, { max: 1 })) });
      assert.equal((await api.groups.patch("g", { mode })).mode, mode);
    });
  }

  test("patch() of the mode is possible once the group was sought", async ({ api }) => {
    await prepareOrdered(api, ["a1", "a2"]);
    await receive(api);
    await fails("group-busy", api.groups.patch("g", { mode: "concurrent" }));
    await api.groups.seek("g", { topic: "orders", to: { kind: "earliest" } });
    await api.groups.patch("g", { mode: "concurrent" });
    assert.deepEqual(ids(await receive(api)), ["a1", "a2"]);
  });

  test("a group that becomes concurrent gives all that its keys held back", async ({ api }) => {
    await prepareOrdered(api, ["a1", "a2", "b1", "a3"]);
    await settle(api, { ack: receipts(await receive(api)) });
    await api.groups.patch("g", { mode: "concurrent" });
    assert.deepEqual(ids(await receive(api)).toSorted(), ["a2", "a3"]);
  });

  test("a group that becomes ordered holds back keys from then on", async ({ api }) => {
    await prepareOrdered(api, ["a1", "a2", "b1"], { mode: "concurrent" });
    await api.groups.patch("g", { mode: "ordered" });
    assert.deepEqual(ids(await receive(api)), ["a1", "b1"]);
  });
}
