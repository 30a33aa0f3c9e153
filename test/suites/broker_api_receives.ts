/**
 * {@linkcode BrokerApi}, receives that wait, and leases that go back because
 * they could not be handed over.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Delivery } from "../../src/broker/api.ts";
import {
  fails,
  GROUP,
  ids,
  isAnswered,
  message,
  names,
  prepareGroup,
  publishEach,
  receipts,
  receive,
  receiveOne,
  settle,
  TOPIC,
  turn,
  type Test,
} from "./broker_api_kit.ts";

export function testReceives(test: Test): void {
  testWaiting(test);
  testGivingBack(test);
}

function testWaiting(test: Test): void {
  const waitMs = 60_000;

  test("a waiting receive is answered by the next publish", async ({ api }) => {
    await prepareGroup(api, 0);
    const wait = receive(api, { waitMs });
    assert.equal(await isAnswered(wait), false);
    await publishEach(api, "orders", ["m"]);
    assert.deepEqual(ids(await wait), ["m"]);
  });

  test("a message wakes one, who waited longest", async ({ api }) => {
    await prepareGroup(api, 0);
    const waits: Promise<readonly Delivery[]>[] = [];
    for (let i = 0; i < 3; i++) {
      waits.push(receive(api, { waitMs }));
      await turn();
    }
    for (const [i, id] of names("m", 3).entries()) {
      await publishEach(api, "orders", [id]);
      assert.deepEqual(ids((await waits[i]) ?? []), [id]);
      for (const later of waits.slice(i + 1)) assert.equal(await isAnswered(later), false);
    }
  });

  test("waiting receives for different topics are told apart", async ({ api }) => {
    const subscriptions = [{ topic: "orders" }, { topic: "bills" }];
    for (const { topic } of subscriptions) await api.topics.put(topic, TOPIC);
    await api.groups.put("g", { ...GROUP, subscriptions });
    const bills = receive(api, { waitMs, topic: "bills" });
    await turn();
    const any = receive(api, { waitMs });
    await turn();
    await publishEach(api, "orders", ["o"]);
    assert.deepEqual(ids(await any), ["o"]);
    assert.equal(await isAnswered(bills), false);
    await publishEach(api, "bills", ["b"]);
    assert.deepEqual(ids(await bills), ["b"]);
  });

  test("a waiting receive is answered when a lease ends", async ({ api, clock }) => {
    await prepareGroup(api, 1);
    await receiveOne(api, { leaseMs: 10_000 });
    const wait = receive(api, { waitMs });
    await turn();
    clock.advance(9999);
    assert.equal(await isAnswered(wait), false);
    clock.advance(1);
    const [again] = await wait;
    assert.equal(again?.attempt, 2);
  });

  test("a waiting receive is answered when a shorter lease than known ends", async ({
    api,
    clock,
  }) => {
    const subscriptions = [{ topic: "orders" }, { topic: "bills" }];
    await publishEach(api, "orders", names("o", 2));
    await api.topics.put("bills", TOPIC);
    await api.groups.put("g", { ...GROUP, subscriptions });
    await receive(api, { max: 1, leaseMs: 20_000 });
    const bills = receive(api, { waitMs, topic: "bills" });
    await turn();
    await receive(api, { max: 1, leaseMs: 500 });
    const any = receive(api, { waitMs, max: 1 });
    await turn();
    clock.advance(500);
    assert.equal((await any)[0]?.attempt, 2);
    clock.advance(waitMs);
    assert.deepEqual(await bills, []);
  });

  test("a waiting receive is answered when a release comes due", async ({ api, clock }) => {
    await prepareGroup(api, 1);
    const { receipt } = await receiveOne(api);
    const wait = receive(api, { waitMs });
    await turn();
    await settle(api, { release: [{ receipt, delayMs: 5000 }] });
    assert.equal(await isAnswered(wait), false);
    clock.advance(5000);
    assert.equal((await wait)[0]?.attempt, 2);
  });

  test("a waiting receive is answered when an ack makes room", async ({ api }) => {
    await prepareGroup(api, 2, { maxInFlight: 1 });
    const { receipt } = await receiveOne(api);
    const wait = receive(api, { waitMs });
    assert.equal(await isAnswered(wait), false);
    await settle(api, { ack: [receipt] });
    assert.deepEqual(ids(await wait), ["m1"]);
  });

  test("a waiting receive is answered when dead letters make room", async ({ api, clock }) => {
    await prepareGroup(api, 2, { maxInFlight: 1, maxAttempts: 1 });
    await receiveOne(api);
    const wait = receive(api, { waitMs });
    assert.equal(await isAnswered(wait), false);
    clock.advance(30_000);
    assert.deepEqual(ids(await wait), ["m1"]);
  });

  test("a waiting receive ends when its time is up", async ({ api, clock }) => {
    await prepareGroup(api, 0);
    const wait = receive(api, { waitMs: 20_000 });
    assert.equal(await isAnswered(wait), false);
    clock.advance(19_999);
    assert.equal(await isAnswered(wait), false);
    clock.advance(1);
    assert.deepEqual(await wait, []);
    await publishEach(api, "orders", ["m"]);
    assert.deepEqual(ids(await receive(api)), ["m"]);
  });

  for (const waitForMs of [19_999, 20_000, 20_001]) {
    test(`when a wait of ${waitForMs} and a lease of 20000 ms end nothing is lost`, async ({
      api,
      clock,
    }) => {
      await prepareGroup(api, 1);
      await receiveOne(api, { leaseMs: 20_000 });
      const wait = receive(api, { waitMs: waitForMs });
      await turn();
      clock.advance(20_000);
      const got = [...(await wait), ...(await receive(api))];
      assert.deepEqual([ids(got), got[0]?.attempt], [["m0"], 2]);
    });
  }

  test(
    "receives waiting beyond the bound are refused",
    async ({ api, clock }) => {
      await prepareGroup(api, 0);
      const waits = [receive(api, { waitMs }), receive(api, { waitMs })];
      await turn();
      await fails("overloaded", receive(api, { waitMs }));
      assert.deepEqual(await receive(api), []);
      clock.advance(waitMs);
      assert.deepEqual(await Promise.all(waits), [[], []]);
      const third = receive(api, { waitMs });
      assert.equal(await isAnswered(third), false);
      clock.advance(waitMs);
      await third;
    },
    { waitersMax: 2 },
  );

  test("drain ends waiting receives and lets none begin", async ({ api, drain }) => {
    await prepareGroup(api, 0);
    const wait = receive(api, { waitMs });
    assert.equal(await isAnswered(wait), false);
    drain();
    assert.deepEqual(await wait, []);
  });
}

function testGivingBack(test: Test): void {
  test("an aborted wait takes nothing", async ({ api }) => {
    await prepareGroup(api, 0);
    const abort = new AbortController();
    const wait = receive(api, { waitMs: 60_000 }, { signal: abort.signal });
    assert.equal(await isAnswered(wait), false);
    abort.abort();
    await publishEach(api, "orders", ["m"]);
    assert.deepEqual(await wait, []);
    assert.equal((await receiveOne(api)).attempt, 1);
  });

  test("what an aborted receive was given goes back, its attempt uncounted", async ({
    api,
    clock,
  }) => {
    await prepareGroup(api, 2);
    const abort = new AbortController();
    const gone = receive(api, {}, { signal: abort.signal });
    abort.abort();
    assert.deepEqual(await gone, []);
    await turn();
    for (const attempt of [1, 2]) {
      const got = await receive(api);
      assert.deepEqual(ids(got), ["m0", "m1"]);
      assert.deepEqual(
        got.map((one) => one.attempt),
        [attempt, attempt],
      );
      clock.advance(30_000);
    }
  });

  test("what an aborted receive gives back wakes who waits", async ({ api }) => {
    await prepareGroup(api, 1);
    const abort = new AbortController();
    const gone = receive(api, {}, { signal: abort.signal });
    const wait = receive(api, { waitMs: 60_000 });
    abort.abort();
    assert.deepEqual(await gone, []);
    assert.equal((await wait)[0]?.attempt, 1);
  });

  test("an abort does not take back what the same attempt asked for again", async ({ api }) => {
    await prepareGroup(api, 2);
    const abort = new AbortController();
    const gone = receive(api, { attemptId: "a" }, { signal: abort.signal });
    const again = receive(api, { attemptId: "a" });
    abort.abort();
    assert.deepEqual(await gone, []);
    const got = await again;
    await turn();
    assert.deepEqual(await settle(api, { ack: receipts(got) }), ["ok", "ok"]);
  });

  test("receive() ends before maxBytes and gives the rest back uncounted", async ({ api }) => {
    await prepareGroup(api, 0);
    for (const id of names("m", 5)) {
      await api.messages.publish("orders", { id, body: new Uint8Array(1000) });
    }
    const sizes: number[] = [];
    for (const maxBytes of [2500, 1, 1 << 20]) {
      const got = await receive(api, { maxBytes });
      assert.deepEqual(new Set(got.map(({ attempt }) => attempt)), new Set([1]));
      sizes.push(got.length);
      await turn();
    }
    assert.deepEqual(sizes, [2, 1, 2]);
  });

  test("many consumers share the work, and each message is done once", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    await api.groups.put("g", GROUP);
    const done: string[] = [];
    const consume = async (max: number) => {
      for (;;) {
        const got = await receive(api, { max, waitMs: 1000 });
        if (got.length === 0) return;
        done.push(...ids(got));
        await settle(api, { ack: receipts(got) });
        if (done.length === 300) return;
      }
    };
    const consumers = [1, 2, 7, 20].map(consume);
    for (let round = 0; round < 30; round++) {
      const batch = names(`r${round}-`, 10).map((id) => message(id));
      await api.messages.publishBatch("orders", batch, { atomic: round % 2 === 0 });
    }
    while (done.length < 300) await turn();
    assert.equal(new Set(done).size, 300);
    assert.equal((await api.groups.lag("g")).topics[0]?.total, 0);
    void Promise.allSettled(consumers); // some wait on, for as long as there is a broker
  });
}
