/**
 * {@linkcode BrokerApi}, operating a group: pause and resume, looking ahead,
 * who consumes. Seeking is in `broker_api_seek.ts`.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { BrokerApi } from "../../src/broker/api.ts";
import {
  attempts,
  fails,
  GROUP,
  ids,
  isAnswered,
  lagOf,
  listDead,
  names,
  prepareGroup,
  publishEach,
  publishKeyed,
  receipts,
  receive,
  receiveOne,
  rejectAll,
  settle,
  type Test,
  TOPIC,
  turn,
} from "./broker_api_kit.ts";

const waitMs = 60_000;

export function testOperation(test: Test): void {
  testPause(test);
  testPeek(test);
  testConsumers(test);
}

function testPause(test: Test): void {
  test("pause() and resume() are shown with the group, and can be repeated", async ({ api }) => {
    const { group } = await api.groups.put("g", GROUP);
    assert.equal(group.paused, false);
    for (const paused of [true, true, false, false]) {
      const said = paused ? await api.groups.pause("g") : await api.groups.resume("g");
      assert.deepEqual(said, { ...group, paused });
      assert.deepEqual(await api.groups.get("g"), said);
      assert.deepEqual((await api.groups.list({ limit: 10 })).groups, [said]);
    }
  });

  test("pause() and resume() of an unknown group fail", async ({ api }) => {
    await fails("group-not-found", api.groups.pause("g"));
    await fails("group-not-found", api.groups.resume("g"));
  });

  test("a paused group is the same group to put() and patch()", async ({ api }) => {
    await api.groups.put("g", GROUP);
    await api.groups.pause("g");
    const { created, group } = await api.groups.put("g", GROUP);
    assert.deepEqual([created, group.paused], [false, true]);
    assert.equal((await api.groups.patch("g", { leaseMs: 5000 })).paused, true);
    await api.groups.delete("g");
    assert.equal((await api.groups.put("g", GROUP)).group.paused, false);
  });

  test("a paused group is given nothing until it is resumed", async ({ api }) => {
    await prepareGroup(api, 2);
    await api.groups.pause("g");
    await publishEach(api, "orders", ["m2"]);
    assert.deepEqual(await receive(api), []);
    assert.deepEqual(await receive(api, { topic: "orders" }), []);
    assert.equal((await lagOf(api)).ready, 3);
    await api.groups.resume("g");
    const got = await receive(api);
    assert.deepEqual([ids(got), attempts(got)], [names("m", 3), [1, 1, 1]]);
  });

  test("pausing one group leaves the others", async ({ api }) => {
    await prepareGroup(api, 1);
    await api.groups.put("other", GROUP);
    await api.groups.pause("g");
    assert.deepEqual(ids(await receive(api, { group: "other" })), ["m0"]);
  });

  test("the leases of a paused group can be settled", async ({ api, clock }) => {
    await prepareGroup(api, 4);
    const [a = "", b = "", c = "", d = ""] = receipts(await receive(api));
    await api.groups.pause("g");
    const statuses = await settle(api, {
      ack: [a],
      release: [{ receipt: b, delayMs: 0 }],
      extend: [{ receipt: c, leaseMs: 60_000 }],
      reject: [{ receipt: d }],
    });
    assert.deepEqual(statuses, ["ok", "ok", "ok", "ok"]);
    assert.deepEqual(await receive(api), []);
    assert.deepEqual(await listDead(api), ["m3"]);
    clock.advance(30_000);
    await api.groups.resume("g");
    const got = await receive(api);
    assert.deepEqual([ids(got), attempts(got)], [["m1"], [2]]);
  });

  test("leases that end while a group is paused are redelivered when it is resumed", async ({
    api,
    clock,
  }) => {
    await prepareGroup(api, 1);
    const { receipt } = await receiveOne(api);
    await api.groups.pause("g");
    clock.advance(30_000);
    assert.deepEqual(await receive(api), []);
    await api.groups.resume("g");
    assert.equal((await receiveOne(api)).attempt, 2);
    assert.deepEqual(await settle(api, { ack: [receipt] }), ["lost"]);
  });

  test("a late ack to a paused group counts", async ({ api, clock }) => {
    await prepareGroup(api, 1);
    const { receipt } = await receiveOne(api);
    await api.groups.pause("g");
    clock.advance(30_000);
    assert.deepEqual(await settle(api, { ack: [receipt] }), ["late"]);
    await api.groups.resume("g");
    assert.deepEqual(await receive(api), []);
  });

  test("an attempt is given its leases again, paused or not", async ({ api }) => {
    await prepareGroup(api, 2);
    const first = await receive(api, { max: 1, attemptId: "a" });
    await api.groups.pause("g");
    assert.deepEqual(await receive(api, { max: 1, attemptId: "a" }), first);
    assert.deepEqual(await receive(api, { max: 1, attemptId: "b" }), []);
  });

  test("a receive that waits through a pause is answered by resume()", async ({ api }) => {
    await prepareGroup(api, 0);
    const wait = receive(api, { waitMs });
    await turn();
    await api.groups.pause("g");
    await publishEach(api, "orders", ["m"]);
    assert.equal(await isAnswered(wait), false);
    await api.groups.resume("g");
    assert.deepEqual(ids(await wait), ["m"]);
  });

  test("a receive that begins to wait during a pause is answered by resume()", async ({ api }) => {
    await prepareGroup(api, 1);
    await api.groups.pause("g");
    const wait = receive(api, { waitMs });
    assert.equal(await isAnswered(wait), false);
    await api.groups.resume("g");
    assert.deepEqual(ids(await wait), ["m0"]);
  });

  test("nothing that happens to a paused group answers who waits", async ({ api, clock }) => {
    await prepareGroup(api, 3, { maxInFlight: 2 });
    const [first = "", second = ""] = receipts(await receive(api));
    await api.groups.pause("g");
    const wait = receive(api, { waitMs });
    await turn();
    await settle(api, { ack: [first], reject: [{ receipt: second }] });
    await api.groups.redrive("g", {});
    await api.groups.patch("g", { maxInFlight: 5 });
    await api.groups.seek("g", { topic: "orders", to: { kind: "earliest" } });
    await publishEach(api, "orders", ["m3"]);
    clock.advance(30_000);
    assert.equal(await isAnswered(wait), false);
    await api.groups.resume("g");
    assert.deepEqual(ids(await wait), names("m", 4));
  });

  test("what is redriven to a paused group waits for resume()", async ({ api }) => {
    await prepareGroup(api, 1);
    await rejectAll(api);
    await api.groups.pause("g");
    await api.groups.redrive("g", {});
    assert.deepEqual(await receive(api), []);
    await api.groups.resume("g");
    assert.deepEqual(ids(await receive(api)), ["m0"]);
  });
}

function peek(api: BrokerApi, wish: { limit?: number; maxBytes?: number; topic?: string } = {}) {
  return api.groups.peek("g", { limit: 100, maxBytes: 1 << 20, ...wish });
}

function testPeek(test: Test): void {
  test("peek() shows what a receive would give, and changes nothing", async ({ api }) => {
    await prepareGroup(api, 5);
    const before = await api.groups.lag("g");
    const seen = await peek(api);
    assert.deepEqual([ids(seen), attempts(seen)], [names("m", 5), [1, 1, 1, 1, 1]]);
    assert.deepEqual(await peek(api), seen);
    assert.deepEqual(await api.groups.lag("g"), before);
    assert.deepEqual(await api.groups.consumers("g"), []);
    const got = await receive(api);
    for (const [i, { receipt, leaseUntil, ...rest }] of got.entries()) {
      assert(receipt !== "" && leaseUntil > 0);
      assert.deepEqual(seen[i], rest);
    }
    assert.deepEqual(await peek(api), []);
  });

  test("peek() shows of which attempt the next delivery is", async ({ api, clock }) => {
    await prepareGroup(api, 3);
    const [, second = ""] = receipts(await receive(api, { max: 2 }));
    assert.deepEqual(ids(await peek(api)), ["m2"]);
    await settle(api, { release: [{ receipt: second, delayMs: 1000 }] });
    assert.deepEqual(ids(await peek(api)), ["m2"]);
    clock.advance(1000);
    const peeked = await peek(api);
    assert.deepEqual(
      ids(peeked).map((id, i) => `${id} ${peeked[i]?.attempt}`),
      ["m1 2", "m2 1"],
    );
    clock.advance(29_000);
    assert.deepEqual(ids(await peek(api)).toSorted(), names("m", 3));
  });

  test("peek() does not show what has no attempt left", async ({ api, clock }) => {
    await prepareGroup(api, 2, { maxAttempts: 1 });
    await receiveOne(api);
    clock.advance(30_000);
    assert.deepEqual(ids(await peek(api)), ["m1"]);
  });

  for (const mode of ["concurrent", "ordered"] as const) {
    test(`peek() shows what a paused ${mode} group will be given`, async ({ api }) => {
      await prepareGroup(api, 0, { mode });
      await api.groups.pause("g");
      await publishKeyed(api, "orders", ["a", "b", "c"]);
      for (let i = 0; i < 2; i++) assert.deepEqual(ids(await peek(api)), ["a", "b", "c"]);
      await api.groups.resume("g");
      assert.deepEqual(ids(await receive(api)), ["a", "b", "c"]);
    });
  }

  test("peek() ends at its limit and before maxBytes, but shows a message", async ({ api }) => {
    await prepareGroup(api, 0);
    for (const id of names("m", 5)) {
      await api.messages.publish("orders", { id, body: new Uint8Array(1000) });
    }
    assert.deepEqual(ids(await peek(api, { limit: 2 })), ["m0", "m1"]);
    assert.deepEqual(ids(await peek(api, { maxBytes: 3500 })), ["m0", "m1", "m2"]);
    assert.deepEqual(ids(await peek(api, { maxBytes: 1 })), ["m0"]);
  });

  test("peek() covers all queues and subscriptions, or the one it is asked for", async ({
    api,
  }) => {
    const subscriptions = [{ topic: "orders" }, { topic: "bills" }];
    for (const { topic } of subscriptions) await api.topics.put(topic, TOPIC);
    await api.groups.put("g", { ...GROUP, subscriptions });
    await publishEach(api, "orders", names("o", 9));
    await publishEach(api, "bills", names("b", 9));
    assert.deepEqual(ids(await peek(api)).toSorted(), [...names("b", 9), ...names("o", 9)]);
    assert.deepEqual(ids(await peek(api, { topic: "bills" })).toSorted(), names("b", 9));
    assert.equal((await peek(api, { limit: 12 })).length, 12);
  });

  test("peek() of an unknown group, or of a topic it does not read, fails", async ({ api }) => {
    await fails("group-not-found", peek(api));
    await api.groups.put("g", GROUP);
    assert.deepEqual(await peek(api), []);
    await fails("topic-not-found", peek(api, { topic: "bills" }));
  });
}

function testConsumers(test: Test): void {
  test("consumers() are those who hold leases, by name, the nameless last", async ({ api }) => {
    await prepareGroup(api, 8);
    assert.deepEqual(await api.groups.consumers("g"), []);
    await receive(api, { max: 2, consumerId: "zoe" });
    await receive(api, { max: 1 });
    await receive(api, { max: 1, consumerId: "adam" });
    await receive(api, { max: 2 });
    await receive(api, { max: 1, consumerId: "zoe" });
    assert.deepEqual(await api.groups.consumers("g"), [
      { consumerId: "adam", waiting: 0, inFlight: 1 },
      { consumerId: "zoe", waiting: 0, inFlight: 3 },
      { waiting: 0, inFlight: 3 },
    ]);
  });

  test("consumers() are those who wait, for as long as they do", async ({ api }) => {
    await prepareGroup(api, 0);
    const waits = ["b", undefined, "a", "b"].map((consumerId) =>
      receive(api, { waitMs, max: 1, consumerId }),
    );
    await turn();
    assert.deepEqual(await api.groups.consumers("g"), [
      { consumerId: "a", waiting: 1, inFlight: 0 },
      { consumerId: "b", waiting: 2, inFlight: 0 },
      { waiting: 1, inFlight: 0 },
    ]);
    await publishEach(api, "orders", names("m", 3));
    await Promise.all(waits.slice(0, 3));
    assert.deepEqual(await api.groups.consumers("g"), [
      { consumerId: "a", waiting: 0, inFlight: 1 },
      { consumerId: "b", waiting: 1, inFlight: 1 },
      { waiting: 0, inFlight: 1 },
    ]);
    await publishEach(api, "orders", ["m3"]);
    await waits[3];
  });

  test("consumers() count live leases: what was settled or has ended is none", async ({
    api,
    clock,
  }) => {
    await prepareGroup(api, 5);
    const got = await receive(api, { consumerId: "c" });
    const [a = "", b = "", c = "", d = "", e = ""] = receipts(got);
    const inFlight = async () => (await api.groups.consumers("g"))[0]?.inFlight;
    await settle(api, { ack: [a] });
    assert.equal(await inFlight(), 4);
    await settle(api, { release: [{ receipt: b }], reject: [{ receipt: c }] });
    assert.equal(await inFlight(), 2);
    await settle(api, { extend: [{ receipt: d, leaseMs: 40_000 }] });
    clock.advance(30_000);
    assert.equal(await inFlight(), 1);
    assert.deepEqual(await settle(api, { ack: [e] }), ["late"]);
    clock.advance(10_000);
    assert.deepEqual(await api.groups.consumers("g"), []);
  });

  test("a redelivery makes a message its new consumer's", async ({ api, clock }) => {
    await prepareGroup(api, 1);
    await receive(api, { consumerId: "old" });
    clock.advance(30_000);
    await receive(api, { consumerId: "new" });
    assert.deepEqual(await api.groups.consumers("g"), [
      { consumerId: "new", waiting: 0, inFlight: 1 },
    ]);
  });

  test("consumers() of an unknown group fails", async ({ api }) => {
    await fails("group-not-found", api.groups.consumers("g"));
  });
}
