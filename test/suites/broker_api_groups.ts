/**
 * {@linkcode BrokerApi}, consumer groups: definitions, where they begin, lag,
 * and what becomes of receipts when they or their topics change.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { GroupConfig } from "../../src/broker/api.ts";
import {
  fails,
  GROUP,
  ids,
  isAnswered,
  lagOf,
  message,
  names,
  publishEach,
  receipts,
  receive,
  receiveOne,
  settle,
  type Test,
  TOPIC,
} from "./broker_api_kit.ts";

export function testGroups(test: Test): void {
  testDefinitions(test);
  testPositions(test);
  testChanges(test);
  testLag(test);
}

function testDefinitions(test: Test): void {
  test("put() creates a group and then matches it", async ({ api, clock }) => {
    const { created, group } = await api.groups.put("g", GROUP);
    assert.equal(created, true);
    const { generation } = group;
    const about = { name: "g", generation, createdAt: clock.now(), paused: false };
    assert.deepEqual(group, { ...GROUP, ...about });
    assert.deepEqual(await api.groups.put("g", GROUP), { created: false, group });
    assert.deepEqual(await api.groups.get("g"), group);
  });

  test("put() matches whatever the order of subscriptions", async ({ api }) => {
    const [a, b] = [{ topic: "orders" }, { topic: "bills" }];
    await api.groups.put("g", { ...GROUP, subscriptions: [a, b] });
    const turned = await api.groups.put("g", { ...GROUP, subscriptions: [b, a] });
    assert.equal(turned.created, false);
  });

  const others: [what: string, change: Partial<GroupConfig>][] = [
    ["subscriptions", { subscriptions: [] }],
    ["filters", { subscriptions: [{ topic: "orders", filter: { tag: "a || b" } }] }],
    ["mode", { mode: "ordered" }],
    ["leaseMs", { leaseMs: 1000 }],
    ["maxAttempts", { maxAttempts: 2 }],
    ["backoff", { backoff: { scheduleMs: [1] } }],
    ["startFrom", { startFrom: "latest" }],
    ["maxInFlight", { maxInFlight: 1 }],
  ];
  for (const [what, change] of others) {
    test(`put() refuses a group that exists with other ${what}; patch() changes it`, async ({
      api,
    }) => {
      const { group } = await api.groups.put("g", GROUP);
      await fails("group-exists", api.groups.put("g", { ...GROUP, ...change }));
      assert.deepEqual(await api.groups.get("g"), group);
      const patched = await api.groups.patch("g", change);
      assert.deepEqual(patched, { ...group, ...change });
      assert.deepEqual(await api.groups.get("g"), patched);
    });
  }

  test("patch() of nothing changes nothing", async ({ api }) => {
    const { group } = await api.groups.put("g", GROUP);
    assert.deepEqual(await api.groups.patch("g", { leaseMs: undefined }), group);
  });

  test("calls to an unknown group fail", async ({ api }) => {
    await fails("group-not-found", api.groups.get("g"));
    await fails("group-not-found", api.groups.patch("g", {}));
    await fails("group-not-found", api.groups.delete("g"));
    await fails("group-not-found", api.groups.lag("g"));
    await fails("group-not-found", receive(api));
    await fails("group-not-found", settle(api, {}));
  });

  test("list() pages in order of name", async ({ api }) => {
    for (const name of ["b", "c", "a"]) await api.groups.put(name, GROUP);
    const page = async (limit: number, after?: string) => {
      const { groups, next } = await api.groups.list({ limit, after });
      return [groups.map(({ name }) => name), next];
    };
    assert.deepEqual(await page(2), [["a", "b"], "b"]);
    assert.deepEqual(await page(2, "b"), [["c"], undefined]);
    assert.deepEqual(await page(3), [["a", "b", "c"], undefined]);
  });
}

function testPositions(test: Test): void {
  test("a group begins where startFrom says", async ({ api }) => {
    await publishEach(api, "orders", names("old", 5));
    await api.groups.put("all", { ...GROUP, startFrom: "earliest" });
    await api.groups.put("new", { ...GROUP, startFrom: "latest" });
    await publishEach(api, "orders", names("new", 5));
    const all = await receive(api, { group: "all" });
    assert.deepEqual(ids(all).toSorted(), [...names("new", 5), ...names("old", 5)]);
    const fresh = await receive(api, { group: "new" });
    assert.deepEqual(ids(fresh).toSorted(), names("new", 5));
  });

  test("groups do not take from each other", async ({ api }) => {
    await publishEach(api, "orders", names("m", 8));
    for (const group of ["a", "b"]) await api.groups.put(group, GROUP);
    for (const group of ["a", "b"]) {
      const got = await receive(api, { group });
      assert.deepEqual(ids(got).toSorted(), names("m", 8));
    }
  });

  test("a group that starts at latest begins a new queue at its beginning", async ({ api }) => {
    await api.topics.put("orders", { ...TOPIC, queues: 1 });
    await publishEach(api, "orders", names("old", 3));
    await api.groups.put("g", { ...GROUP, startFrom: "latest" });
    await api.topics.patch("orders", { queues: 3 });
    await publishEach(api, "orders", names("new", 9));
    assert.deepEqual(ids(await receive(api)).toSorted(), names("new", 9));
  });

  test("receive() can ask for one subscription only", async ({ api }) => {
    await publishEach(api, "orders", names("o", 3));
    await publishEach(api, "bills", names("b", 3));
    const subscriptions = [{ topic: "orders" }, { topic: "bills" }];
    await api.groups.put("g", { ...GROUP, subscriptions });
    assert.deepEqual(ids(await receive(api, { topic: "bills" })).toSorted(), names("b", 3));
    assert.deepEqual(ids(await receive(api, { topic: "bills" })), []);
    assert.deepEqual(ids(await receive(api)).toSorted(), names("o", 3));
    await fails("topic-not-found", receive(api, { topic: "others" }));
  });

  test("receive() takes from all queues and subscriptions in turn", async ({ api }) => {
    const subscriptions = [{ topic: "orders" }, { topic: "bills" }];
    for (const { topic } of subscriptions) {
      await api.topics.put(topic, { ...TOPIC, queues: 3 });
      const batch = names(topic, 60).map((id) => message(id));
      await api.messages.publishBatch(topic, batch, { atomic: false });
    }
    await api.groups.put("g", { ...GROUP, subscriptions });
    const seen = new Map<string, number>();
    for (let i = 0; i < 60; i++) {
      const { topic, queueId } = await receiveOne(api);
      seen.set(`${topic} ${queueId}`, (seen.get(`${topic} ${queueId}`) ?? 0) + 1);
    }
    assert.deepEqual([...seen.values()], [10, 10, 10, 10, 10, 10]);
  });
}

function testChanges(test: Test): void {
  test("a subscription that is added begins where startFrom says", async ({ api }) => {
    await publishEach(api, "orders", ["o"]);
    await publishEach(api, "bills", names("old", 3));
    await api.groups.put("g", { ...GROUP, startFrom: "latest" });
    const subscriptions = [{ topic: "orders" }, { topic: "bills" }];
    await api.groups.patch("g", { subscriptions });
    await publishEach(api, "bills", ["new"]);
    assert.deepEqual(ids(await receive(api)), ["new"]);
  });

  test("a subscription that is removed voids its leases", async ({ api }) => {
    await publishEach(api, "orders", ["o"]);
    await publishEach(api, "bills", ["b"]);
    const subscriptions = [{ topic: "orders" }, { topic: "bills" }];
    await api.groups.put("g", { ...GROUP, subscriptions });
    const [order] = await receive(api, { topic: "orders" });
    const [bill] = await receive(api, { topic: "bills" });
    assert(order && bill);
    await api.groups.patch("g", { subscriptions: [{ topic: "bills" }] });
    assert.deepEqual(await settle(api, { ack: receipts([order, bill]) }), ["lost", "ok"]);
    assert.deepEqual(
      (await api.groups.lag("g")).topics.map(({ topic }) => topic),
      ["bills"],
    );

    await api.groups.patch("g", { subscriptions });
    assert.notDeepEqual(await settle(api, { release: [order] }), ["ok"]);
    const again = await receiveOne(api);
    assert.notDeepEqual(await settle(api, { release: [order] }), ["ok"]);
    assert.deepEqual([ids([again]), again.attempt], [["o"], 1]);
  });

  test("deleting a topic voids its leases and makes room for others", async ({ api }) => {
    await publishEach(api, "orders", ["o"]);
    const subscriptions = [{ topic: "orders" }, { topic: "bills" }];
    await api.groups.put("g", { ...GROUP, subscriptions, maxInFlight: 1 });
    const order = await receiveOne(api);
    await publishEach(api, "bills", ["b"]);
    const wait = receive(api, { waitMs: 60_000 });
    assert.equal(await isAnswered(wait), false);
    await api.topics.delete("orders");
    assert.deepEqual(ids(await wait), ["b"]);
    assert.deepEqual(await settle(api, { ack: [order.receipt] }), ["lost"]);
    await publishEach(api, "orders", ["again"]);
    assert.deepEqual(await settle(api, { ack: [order.receipt] }), ["lost"]);
  });

  test("a group made again knows no receipt of the one before", async ({ api }) => {
    await publishEach(api, "orders", names("m", 3));
    const { group } = await api.groups.put("g", GROUP);
    const before = await receive(api);
    await api.groups.delete("g");
    await fails("group-not-found", settle(api, { ack: receipts(before) }));
    const made = await api.groups.put("g", GROUP);
    assert(made.group.generation > group.generation, "generations rise");
    assert.deepEqual(await settle(api, { ack: receipts(before) }), ["lost", "lost", "lost"]);
    const again = await receive(api);
    assert.deepEqual(
      again.map(({ attempt }) => attempt),
      [1, 1, 1],
    );
    assert.deepEqual(await settle(api, { ack: receipts(before) }), ["lost", "lost", "lost"]);
  });

  test("deleting a group ends the waits of its consumers", async ({ api }) => {
    await api.groups.put("g", GROUP);
    const wait = receive(api, { waitMs: 60_000 });
    assert.equal(await isAnswered(wait), false);
    wait.catch(() => {});
    await api.groups.delete("g");
    await fails("group-not-found", wait);
  });

  test("patch() of maxInFlight upwards serves who waits", async ({ api }) => {
    await publishEach(api, "orders", names("m", 3));
    await api.groups.put("g", { ...GROUP, maxInFlight: 1 });
    await receiveOne(api);
    const wait = receive(api, { waitMs: 60_000 });
    assert.equal(await isAnswered(wait), false);
    await api.groups.patch("g", { maxInFlight: 2 });
    assert.equal((await wait).length, 1);
  });
}

function testLag(test: Test): void {
  test("lag() counts what is ready, leased, waiting and done", async ({ api, clock }) => {
    await api.topics.put("orders", { ...TOPIC, queues: 1 });
    await api.groups.put("g", GROUP);
    const empty = {
      queueId: 0,
      committedOffset: 0,
      endOffset: 0,
      ready: 0,
      leased: 0,
      oldestAgeMs: 0,
      expiredUnread: 0,
    };
    assert.deepEqual(await lagOf(api), empty);

    for (const id of names("m", 6)) {
      await api.messages.publish("orders", message(id));
      clock.advance(1000);
    }
    assert.deepEqual(await lagOf(api), { ...empty, endOffset: 6, ready: 6, oldestAgeMs: 6000 });
    const [a, b, c] = await receive(api, { max: 3 });
    assert(a && b && c);
    const leased = { ...empty, endOffset: 6, ready: 3, leased: 3, oldestAgeMs: 6000 };
    assert.deepEqual(await lagOf(api), leased);

    await settle(api, { ack: [b.receipt] }); // does not move the committed offset
    assert.deepEqual(await lagOf(api), { ...leased, leased: 2 });
    await settle(api, { ack: [a.receipt] });
    const moved = { ...leased, committedOffset: 2, leased: 1, oldestAgeMs: 4000 };
    assert.deepEqual(await lagOf(api), moved);
    await settle(api, { release: [{ receipt: c.receipt, delayMs: 5000 }] });
    assert.deepEqual(await lagOf(api), { ...moved, leased: 0 });
    assert.equal((await api.groups.lag("g")).topics[0]?.total, 4);
    clock.advance(5000);
    assert.deepEqual(await lagOf(api), { ...moved, ready: 4, leased: 0, oldestAgeMs: 9000 });

    await settle(api, { ack: receipts(await receive(api)) });
    assert.deepEqual(await lagOf(api), { ...empty, committedOffset: 6, endOffset: 6 });
    assert.equal((await api.groups.lag("g")).topics[0]?.total, 0);
  });

  test("lag() counts a lease whose time is up among the ready", async ({ api, clock }) => {
    await api.topics.put("orders", { ...TOPIC, queues: 1 });
    await api.groups.put("g", GROUP);
    await publishEach(api, "orders", ["m"]);
    await receiveOne(api);
    clock.advance(29_999);
    assert.equal((await lagOf(api)).leased, 1);
    clock.advance(1);
    const { ready, leased } = await lagOf(api);
    assert.deepEqual([ready, leased], [1, 0]);
  });

  test("lag() of a group that starts at latest begins there", async ({ api }) => {
    await api.topics.put("orders", { ...TOPIC, queues: 1 });
    await publishEach(api, "orders", names("m", 3));
    await api.groups.put("g", { ...GROUP, startFrom: "latest" });
    const { committedOffset, ready } = await lagOf(api);
    assert.deepEqual([committedOffset, ready], [3, 0]);
  });
}
