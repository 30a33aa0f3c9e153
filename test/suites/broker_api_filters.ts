/**
 * {@linkcode BrokerApi}, subscriptions with a filter: what a group is given, what
 * it passes over, and what a change of the filter means.
 *
 * What a filter says is tested with the compiler; here is what a group does
 * with it.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { BrokerApi, Filter, NewMessage, SubscriptionConfig } from "../../src/broker/api.ts";
import {
  attempts,
  collidingKeys,
  fails,
  GROUP,
  ids,
  isAnswered,
  lagOf,
  listDead,
  message,
  names,
  prepareOrdered,
  publishEach,
  publishTagged,
  receipts,
  receive,
  rejectAll,
  settle,
  type Test,
  TOPIC,
  turn,
} from "./broker_api_kit.ts";

export function testFilters(test: Test): void {
  testMatching(test);
  testPassing(test);
  testChanging(test);
  testDefining(test);
}

/** A topic of one queue, a group with a filter on it, and messages whose first letter is their tag. */
async function prepare(
  api: BrokerApi,
  filter: Filter | undefined,
  names: readonly string[],
): Promise<void> {
  await api.topics.put("orders", { ...TOPIC, queues: 1 });
  await api.groups.put("g", { ...GROUP, subscriptions: [toOrders(filter)] });
  await publishTagged(api, "orders", names);
}

function toOrders(filter: Filter | undefined): SubscriptionConfig {
  return filter === undefined ? { topic: "orders" } : { topic: "orders", filter };
}

function patchFilter(api: BrokerApi, filter: Filter | undefined) {
  return api.groups.patch("g", { subscriptions: [toOrders(filter)] });
}

function testMatching(test: Test): void {
  const cases: [filter: Filter | undefined, wanted: string[]][] = [
    [{ tag: "a" }, ["a1", "a2"]],
    [{ tag: "a || c" }, ["a1", "c1", "a2"]],
    [{ tag: " b||c " }, ["b1", "c1"]],
    [{ tag: "aa" }, []],
    [{ tag: "*" }, ["a1", "b1", "c1", "a2", "m"]],
    [undefined, ["a1", "b1", "c1", "a2", "m"]],
  ];
  for (const [filter, wanted] of cases) {
    test(`a group with ${JSON.stringify(filter ?? "no filter")} is given what it wants`, async ({
      api,
    }) => {
      await prepare(api, filter, ["a1", "b1", "c1", "a2"]);
      await publishEach(api, "orders", ["m"]);
      const got = await receive(api);
      assert.deepEqual(ids(got), wanted);
      assert.deepEqual(await receive(api), []);
    });
  }

  test("a filter tells tags of one hash apart", async ({ api }) => {
    const [wanted, other] = collidingKeys();
    await prepare(api, { tag: wanted }, []);
    for (const tag of [other, wanted, other]) {
      await api.messages.publish("orders", message(`of:${tag}`, { tag }));
    }
    assert.deepEqual(ids(await receive(api)), [`of:${wanted}`]);
    assert.deepEqual(await receive(api), []);
  });

  const priced = (id: string, amount: string, more: Partial<NewMessage> = {}) =>
    message(id, { properties: [["amount", amount]], ...more });
  const sql: [sql: string, wanted: string[]][] = [
    ["amount > 5", ["seven", "ten"]],
    ["amount > 5 AND TAGS = 'big'", ["ten"]],
    ["KEY IS NOT NULL", ["seven"]],
    ["amount IS NULL", ["none"]],
    ["NOT amount > 5", ["three"]],
    ["TRUE", ["three", "seven", "ten", "none"]],
  ];
  for (const [text, wanted] of sql) {
    test(`a group with the SQL ${text} is given what it wants`, async ({ api }) => {
      await prepare(api, { sql: text }, []);
      await api.messages.publish("orders", priced("three", "3"));
      await api.messages.publish("orders", priced("seven", "7.5", { key: "k" }));
      await api.messages.publish("orders", priced("ten", "10", { tag: "big" }));
      await publishEach(api, "orders", ["none"]);
      assert.deepEqual(ids(await receive(api)), wanted);
      assert.deepEqual(await receive(api), []);
    });
  }

  test("every subscription has its own filter, and every group", async ({ api }) => {
    const tagged = (topic: string, tag: string) => ({ topic, filter: { tag } });
    const plain = { topic: "orders" };
    await api.groups.put("g", {
      ...GROUP,
      subscriptions: [tagged("orders", "a"), tagged("bills", "b")],
    });
    await api.groups.put("h", { ...GROUP, subscriptions: [tagged("orders", "b")] });
    await api.groups.put("i", { ...GROUP, subscriptions: [plain] });
    await publishTagged(api, "orders", ["a1", "b1"]);
    await publishTagged(api, "bills", ["a2", "b2"]);
    const given = async (group: string) => ids(await receive(api, { group })).toSorted();
    assert.deepEqual(await given("g"), ["a1", "b2"]);
    assert.deepEqual(await given("h"), ["b1"]);
    assert.deepEqual(await given("i"), ["a1", "b1"]);
  });

  test("a receive is filled up with what is wanted", async ({ api }) => {
    await prepare(api, { tag: "a" }, ["b0", "a1", "b1", "b2", "a2", "b3", "a3", "a4"]);
    assert.deepEqual(ids(await receive(api, { max: 3 })), ["a1", "a2", "a3"]);
    assert.deepEqual(ids(await receive(api, { max: 3 })), ["a4"]);
  });

  test("peek() shows what is wanted, and passes nothing over", async ({ api }) => {
    await prepare(api, { tag: "a" }, ["b1", "a1", "b2", "a2", "b3"]);
    const peek = async (limit: number) =>
      ids(await api.groups.peek("g", { limit, maxBytes: 1 << 20 }));
    assert.deepEqual(await peek(10), ["a1", "a2"]);
    assert.deepEqual(await peek(1), ["a1"]);
    await patchFilter(api, { tag: "b" });
    assert.deepEqual(await peek(10), ["b1", "b2", "b3"]);
    assert.deepEqual(ids(await receive(api)), ["b1", "b2", "b3"]);
  });

  for (const mode of ["concurrent", "ordered"] as const) {
    for (const tag of ["a", "z"]) {
      test(`peek() leaves all to a later filter, long after: ${mode}, "${tag}"`, async (opened) => {
        const { api, clock } = opened;
        await api.topics.put("orders", { ...TOPIC, queues: 1 });
        const subscriptions = [toOrders({ tag })];
        await api.groups.put("g", { ...GROUP, mode, subscriptions });
        await publishTagged(api, "orders", ["b1", "a1", "b2", "b3"]);
        await api.groups.peek("g", { limit: 10, maxBytes: 1 << 20 });
        clock.advance(60_000);
        await turn();
        assert.equal((await lagNumbers(api)).committedOffset, 0);
        await patchFilter(api, { tag: "b" });
        const got: string[] = [];
        for (let next = await receive(api); next.length > 0; next = await receive(api)) {
          got.push(...ids(next));
          await settle(api, { ack: receipts(next) });
        }
        assert.deepEqual(got, ["b1", "b2", "b3"]);
      });
    }
  }

  test("a receive passes over what was peeked at before", async ({ api }) => {
    await prepare(api, { tag: "z" }, ["b1", "b2", "b3"]);
    assert.deepEqual(await api.groups.peek("g", { limit: 10, maxBytes: 1 << 20 }), []);
    assert.equal((await lagNumbers(api)).committedOffset, 0);
    assert.deepEqual(await receive(api), []);
    assert.deepEqual(await lagNumbers(api), { committedOffset: 3, ready: 0, leased: 0, total: 0 });
  });

  test("an ordered group keeps the order of what is wanted", async ({ api }) => {
    await prepareOrdered(api, [], {
      subscriptions: [{ topic: "orders", filter: { tag: "x" } }],
    });
    for (const [id, tag] of [
      ["a1", "x"],
      ["a2", "y"],
      ["a3", "x"],
      ["b1", "x"],
    ] as const) {
      await api.messages.publish("orders", message(id, { key: id.charAt(0), tag }));
    }
    const got = await receive(api);
    assert.deepEqual(ids(got), ["a1", "b1"]);
    await settle(api, { ack: receipts(got) });
    assert.deepEqual(ids(await receive(api)), ["a3"]);
  });
}

function testPassing(test: Test): void {
  const waitMs = 60_000;

  test("a waiting receive is answered by what it wants alone", async ({ api }) => {
    await prepare(api, { tag: "a" }, []);
    const wait = receive(api, { waitMs });
    await turn();
    await publishTagged(api, "orders", ["b1", "c1"]);
    await publishEach(api, "orders", ["m"]);
    assert.equal(await isAnswered(wait), false);
    await publishTagged(api, "orders", ["a1"]);
    assert.deepEqual(ids(await wait), ["a1"]);
  });

  test("a message that one group passes over wakes who waits in another", async ({ api }) => {
    await prepare(api, { tag: "a" }, []);
    await api.groups.put("h", { ...GROUP, subscriptions: [{ topic: "orders" }] });
    const wait = receive(api, { waitMs });
    await turn();
    const other = receive(api, { group: "h", waitMs });
    await turn();
    await publishTagged(api, "orders", ["b1"]);
    assert.deepEqual(ids(await other), ["b1"]);
    assert.equal(await isAnswered(wait), false);
    await publishTagged(api, "orders", ["a1"]);
    assert.deepEqual(ids(await wait), ["a1"]);
  });

  test("a receive finds the one in thousands that it wants", async ({ api }) => {
    await prepare(api, { tag: "a" }, []);
    for (let i = 0; i < 4; i++) {
      const batch = names(`b${i}-`, 1000).map((id) => message(id, { tag: "b" }));
      await api.messages.publishBatch("orders", batch, { atomic: false });
      if (i === 2) await publishTagged(api, "orders", ["a1"]);
    }
    assert.deepEqual(ids(await receive(api, { waitMs })), ["a1"]);
    const wait = receive(api, { waitMs });
    assert.equal(await isAnswered(wait), false);
    await publishTagged(api, "orders", ["a2"]);
    assert.deepEqual(ids(await wait), ["a2"]);
  });

  test("what is passed over is done: acking what follows moves the position past it", async ({
    api,
  }) => {
    await prepare(api, { tag: "a" }, ["b1", "a1", "b2", "b3", "a2"]);
    const got = await receive(api);
    await settle(api, { ack: receipts(got).slice(1) });
    assert.deepEqual(await lagNumbers(api), { committedOffset: 1, ready: 0, leased: 1, total: 1 });
    await settle(api, { ack: receipts(got).slice(0, 1) });
    assert.deepEqual(await lagNumbers(api), { committedOffset: 5, ready: 0, leased: 0, total: 0 });
  });

  test("lag() of an ordered group counts nothing that was passed over", async ({ api }) => {
    const subscriptions = [{ topic: "orders", filter: { tag: "x" } }];
    await prepareOrdered(api, [], { subscriptions });
    for (const [id, tag] of [
      ["a1", "y"],
      ["a2", "x"],
      ["a3", "x"],
    ] as const) {
      await api.messages.publish("orders", message(id, { key: "a", tag }));
    }
    const got = await receive(api);
    assert.deepEqual(ids(got), ["a2"]);
    assert.deepEqual(await lagNumbers(api), { committedOffset: 1, ready: 1, leased: 1, total: 2 });
    await settle(api, { ack: receipts(got) });
    assert.deepEqual(await lagNumbers(api), { committedOffset: 2, ready: 1, leased: 0, total: 1 });
  });

  test("lag() counts nothing that was passed over at the end", async ({ api }) => {
    await prepare(api, { tag: "a" }, ["b1", "b2", "b3"]);
    assert.deepEqual(await receive(api), []);
    assert.deepEqual(await lagNumbers(api), { committedOffset: 3, ready: 0, leased: 0, total: 0 });
  });

  for (const mode of ["concurrent", "ordered"] as const) {
    for (const waitMs of [0, 60_000]) {
      const how = `${mode}, ${waitMs > 0 ? "waited for" : "asked for"}`;
      test(`lag() counts nothing that was passed over behind what was given: ${how}`, async ({
        api,
      }) => {
        await api.topics.put("orders", { ...TOPIC, queues: 1 });
        await api.groups.put("g", { ...GROUP, mode, subscriptions: [toOrders({ tag: "a" })] });
        const publish = () => publishTagged(api, "orders", ["b1", "a1", "b2", "b3"]);
        if (waitMs === 0) await publish();
        const receiving = receive(api, { waitMs });
        await turn();
        if (waitMs > 0) await publish();
        const got = await receiving;
        assert.deepEqual(ids(got), ["a1"]);
        await settle(api, { ack: receipts(got) });
        assert.deepEqual(await receive(api), []);
        const passed = { committedOffset: 4, ready: 0, leased: 0, total: 0 };
        assert.deepEqual(await lagNumbers(api), passed);
      });
    }
  }

  test("what is passed over is no dead letter, and takes no room", async ({ api, clock }) => {
    await api.topics.put("orders", { ...TOPIC, queues: 1 });
    const subscriptions = [{ topic: "orders", filter: { tag: "a" } }];
    await api.groups.put("g", { ...GROUP, subscriptions, maxInFlight: 1, maxAttempts: 1 });
    await publishTagged(api, "orders", ["b1", "b2", "a1", "b3", "a2"]);
    const [first = ""] = receipts(await receive(api));
    await settle(api, { ack: [first] });
    assert.deepEqual(ids(await receive(api)), ["a2"]);
    clock.advance(30_000);
    assert.deepEqual(await receive(api), []);
    assert.deepEqual(await listDead(api), ["a2"]);
  });
}

async function lagNumbers(api: BrokerApi) {
  const { committedOffset, ready, leased } = await lagOf(api);
  const total = (await api.groups.lag("g")).topics[0]?.total;
  return { committedOffset, ready, leased, total };
}

function testChanging(test: Test): void {
  test("a new filter judges what was not delivered yet", async ({ api }) => {
    await prepare(api, { tag: "a" }, ["a1", "a2", "b1", "a3", "b2"]);
    assert.deepEqual(ids(await receive(api, { max: 1 })), ["a1"]);
    await patchFilter(api, { tag: "b" });
    await publishTagged(api, "orders", ["a4", "b3"]);
    assert.deepEqual(ids(await receive(api)), ["b1", "b2", "b3"]);
  });

  test("a filter that goes lets everything through from there", async ({ api }) => {
    await prepare(api, { tag: "a" }, ["a1", "a2", "b1"]);
    assert.deepEqual(ids(await receive(api, { max: 1 })), ["a1"]);
    await patchFilter(api, undefined);
    assert.deepEqual(ids(await receive(api)), ["a2", "b1"]);
  });

  test("a new filter leaves leases, and does not judge redeliveries", async ({ api, clock }) => {
    await prepare(api, { tag: "a" }, ["a1", "a2", "a3"]);
    const [a1 = "", a2 = ""] = receipts(await receive(api));
    await patchFilter(api, { tag: "b" });
    const statuses = await settle(api, { ack: [a1], release: [{ receipt: a2, delayMs: 0 }] });
    assert.deepEqual(statuses, ["ok", "ok"]);
    const released = await receive(api);
    assert.deepEqual([ids(released), attempts(released)], [["a2"], [2]]);
    clock.advance(30_000);
    const ended = await receive(api);
    const delivered = ended.map(({ attempt }, i) => `${ids(ended)[i]} ${attempt}`);
    assert.deepEqual(delivered.toSorted(), ["a2 3", "a3 2"]);
  });

  test("a new filter does not judge what is redriven", async ({ api }) => {
    await prepare(api, { tag: "a" }, ["a1"]);
    await rejectAll(api);
    await patchFilter(api, { tag: "b" });
    await api.groups.redrive("g", {});
    assert.deepEqual(ids(await receive(api)), ["a1"]);
  });

  test("a new filter judges anew what a seek goes back to", async ({ api }) => {
    await prepare(api, { tag: "a" }, ["a1", "b1", "a2"]);
    await settle(api, { ack: receipts(await receive(api)) });
    await patchFilter(api, { tag: "b" });
    assert.deepEqual(await receive(api), []);
    await api.groups.seek("g", { topic: "orders", to: { kind: "earliest" } });
    assert.deepEqual(ids(await receive(api)), ["b1"]);
  });

  test("a waiting receive is answered when a new filter wants what is there", async ({ api }) => {
    await prepare(api, { tag: "a" }, []);
    const wait = receive(api, { waitMs: 60_000 });
    await turn();
    await patchFilter(api, { tag: "b" });
    assert.equal(await isAnswered(wait), false);
    await publishTagged(api, "orders", ["a1", "b1"]);
    assert.deepEqual(ids(await wait), ["b1"]);
  });

  test("a new filter of one subscription leaves the position of the others", async ({ api }) => {
    const subscriptions = [{ topic: "orders" }, { topic: "bills" }];
    await api.groups.put("g", { ...GROUP, subscriptions });
    await publishTagged(api, "orders", ["a1"]);
    await publishTagged(api, "bills", ["a2"]);
    await settle(api, { ack: receipts(await receive(api)) });
    await api.groups.patch("g", {
      subscriptions: [{ topic: "orders", filter: { tag: "b" } }, { topic: "bills" }],
    });
    assert.deepEqual(await receive(api), []);
    await publishTagged(api, "bills", ["a3"]);
    assert.deepEqual(ids(await receive(api)), ["a3"]);
  });
}

function testDefining(test: Test): void {
  test("a filter is kept and compared as it was given", async ({ api }) => {
    const subscriptions = [{ topic: "orders", filter: { tag: " a||b " } }];
    const config = { ...GROUP, subscriptions };
    const { group } = await api.groups.put("g", config);
    assert.deepEqual(group.subscriptions, subscriptions);
    assert.equal((await api.groups.put("g", config)).created, false);
    const others: (Filter | undefined)[] = [{ tag: "a || b" }, undefined];
    for (const filter of others) {
      const other = { ...GROUP, subscriptions: [toOrders(filter)] };
      await fails("group-exists", api.groups.put("g", other));
    }
    assert.deepEqual((await patchFilter(api, { tag: "*" })).subscriptions, [
      { topic: "orders", filter: { tag: "*" } },
    ]);
    assert.deepEqual((await patchFilter(api, undefined)).subscriptions, [{ topic: "orders" }]);
  });

  test("a filter in SQL is kept as it was given", async ({ api }) => {
    const subscriptions = [{ topic: "orders", filter: { sql: "amount>5 /* dear */" } }];
    const { group } = await api.groups.put("g", { ...GROUP, subscriptions });
    assert.deepEqual(group.subscriptions, subscriptions);
    assert.deepEqual((await api.groups.get("g")).subscriptions, subscriptions);
  });

  const invalid: [filter: Filter, position: number][] = [
    [{ tag: "" }, 0],
    [{ tag: "a || || b" }, 4],
    [{ sql: "amount >" }, 8],
    [{ sql: "" }, 0],
  ];
  for (const [filter, position] of invalid) {
    test(`a group with the filter ${JSON.stringify(filter)} is refused, and nothing changes`, async ({
      api,
    }) => {
      const subscriptions = [{ topic: "orders" }, { topic: "bills", filter }];
      const refused = await fails(
        "filter-invalid",
        api.groups.put("g", { ...GROUP, subscriptions }),
      );
      assert.deepEqual(refused.details["position"], position);
      assert.equal(refused.details["topic"], "bills");
      await fails("group-not-found", api.groups.get("g"));

      const { group } = await api.groups.put("g", GROUP);
      const again = await fails("filter-invalid", api.groups.patch("g", { subscriptions }));
      assert.equal(again.details["topic"], "bills");
      assert.deepEqual(await api.groups.get("g"), group);
    });
  }
}
