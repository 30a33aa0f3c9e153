/**
 * {@linkcode BrokerApi}, seeking a group: where it goes on, and what is void
 * from then on.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { BrokerApi, Start } from "../../src/broker/api.ts";
import {
  attempts,
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
  publishNow,
  read,
  receipts,
  receive,
  receiveOne,
  rejectAll,
  settle,
  type Test,
  TOPIC,
} from "./broker_api_kit.ts";

const EARLIEST: Start = { kind: "earliest" };
const LATEST: Start = { kind: "latest" };

export function testSeek(test: Test): void {
  testPlaces(test);
  testVoid(test);
  testAround(test);
}

/** Thirty messages over three queues, wherever a rotation stands, and a group. */
async function prepareSpread(api: BrokerApi): Promise<void> {
  await api.topics.put("orders", { ...TOPIC, queues: 3 });
  await api.groups.put("g", GROUP);
  for (const [i, id] of names("m", 30).entries()) {
    await api.messages.publish("orders", message(id, { key: `k${i % 6}` }));
  }
}

/** The positions of a seek, by queueId. */
async function seek(api: BrokerApi, to: Start, topic = "orders"): Promise<Map<number, number>> {
  const queues = await api.groups.seek("g", { topic, to });
  return new Map(queues.map(({ queueId, position }) => [queueId, position]));
}

/** The position of the only queue. */
async function seekQueue(api: BrokerApi, to: Start): Promise<number | undefined> {
  return (await seek(api, to)).get(0);
}

function testPlaces(test: Test): void {
  test("seek() to the earliest delivers everything again, as if for the first time", async ({
    api,
  }) => {
    await prepareGroup(api, 4);
    await settle(api, { ack: receipts(await receive(api)) });
    assert.equal(await seekQueue(api, EARLIEST), 0);
    const { committedOffset, ready, leased } = await lagOf(api);
    assert.deepEqual([committedOffset, ready, leased], [0, 4, 0]);
    const got = await receive(api);
    assert.deepEqual([ids(got), attempts(got)], [names("m", 4), [1, 1, 1, 1]]);
    await settle(api, { ack: receipts(got) });
    assert.equal((await lagOf(api)).committedOffset, 4);
    assert.deepEqual(await receive(api), []);
  });

  test("seek() to the latest leaves what is there out", async ({ api }) => {
    await prepareGroup(api, 4);
    await receive(api, { max: 1 });
    assert.equal(await seekQueue(api, LATEST), 4);
    assert.deepEqual(await receive(api), []);
    const { committedOffset, ready, leased } = await lagOf(api);
    assert.deepEqual([committedOffset, ready, leased], [4, 0, 0]);
    await publishEach(api, "orders", ["new"]);
    const got = await receive(api);
    assert.deepEqual([ids(got), attempts(got)], [["new"], [1]]);
  });

  test("seek() to a time goes to what became visible then or later", async ({ api, clock }) => {
    await prepareGroup(api, 0);
    const times: number[] = [];
    for (const id of names("m", 4)) {
      times.push(clock.now());
      await api.messages.publish("orders", message(id));
      clock.advance(1000);
    }
    await settle(api, { ack: receipts(await receive(api)) });
    const [t0 = 0, , t2 = 0, t3 = 0] = times;
    const cases: [time: number, position: number][] = [
      [0, 0],
      [t0, 0],
      [t2 - 1, 2],
      [t2, 2],
      [t2 + 1, 3],
      [t3 + 1, 4],
      [t3 + 1_000_000, 4],
    ];
    for (const [time, position] of cases) {
      assert.equal(await seekQueue(api, { kind: "time", time }), position);
      assert.deepEqual(ids(await receive(api)), names("m", 4).slice(position));
    }
  });

  test("seek() to the cursor of a message goes behind it", async ({ api }) => {
    await prepareGroup(api, 4);
    const { messages } = await read(api, { queueId: 0 });
    for (const { queueOffset, cursor } of messages) {
      assert.equal(await seekQueue(api, { kind: "cursor", cursor }), queueOffset + 1);
      assert.deepEqual(ids(await receive(api)), names("m", 4).slice(queueOffset + 1));
    }
  });

  test("seek() to the cursor of a queue moves that queue alone", async ({ api }) => {
    await prepareSpread(api);
    const got = await receive(api);
    const { queueId } = got[0] ?? assert.fail("all is delivered");
    const { messages } = await read(api, { queueId });
    const third = messages[2] ?? assert.fail("the queue has three");
    assert(messages.length < got.length, "another queue has some");
    const positions = await seek(api, { kind: "cursor", cursor: third.cursor });
    assert.equal(positions.get(queueId), 3);
    assert.deepEqual(ids(await receive(api)), ids(messages.slice(3)));
    for (const one of got) {
      const expected = one.queueId === queueId ? "lost" : "ok";
      assert.deepEqual(await settle(api, { ack: [one.receipt] }), [expected]);
    }
  });

  test("seek() to the cursor of a page goes on as its reader would", async ({ api }) => {
    await prepareSpread(api);
    await receive(api);
    const page = await read(api, { limit: 11 });
    await seek(api, { kind: "cursor", cursor: page.cursor });
    const read11 = new Set(ids(page.messages));
    const rest = names("m", 30).filter((id) => !read11.has(id));
    assert.deepEqual(ids(await receive(api)).toSorted(), rest.toSorted());
  });

  test("seek() answers for every queue of the topic", async ({ api }) => {
    await prepareSpread(api);
    const { endOffsets } = await api.topics.get("orders");
    assert.deepEqual([...(await seek(api, LATEST)).entries()], [...endOffsets.entries()]);
    assert.deepEqual([...(await seek(api, EARLIEST)).values()], [0, 0, 0]);
    assert.equal((await receive(api)).length, 30);
  });

  test("seek() fails without a group, a subscription or a topic", async ({ api }) => {
    await fails("group-not-found", seek(api, EARLIEST));
    await publishEach(api, "bills", ["b"]);
    await api.groups.put("g", GROUP);
    await fails("topic-not-found", seek(api, EARLIEST, "bills"));
    await fails("topic-not-found", seek(api, EARLIEST, "nobody"));
    await fails("topic-not-found", seek(api, EARLIEST)); // subscribed to, and not there yet
  });

  test("seek() fails with a cursor it cannot go to, and moves nothing", async ({ api }) => {
    await prepareGroup(api, 2);
    const bill = await publishNow(api, "bills", message("b"));
    const held = await receiveOne(api);
    const to = (cursor: string): Start => ({ kind: "cursor", cursor });
    await fails("invalid-cursor", seek(api, to("no cursor")));
    await fails("cursor-generation", seek(api, to(bill.cursor)));
    assert.deepEqual(ids(await receive(api)), ["m1"]);
    assert.deepEqual(await settle(api, { ack: [held.receipt] }), ["ok"]);

    await api.topics.delete("orders");
    await publishEach(api, "orders", ["again"]);
    await fails("cursor-generation", seek(api, to(held.cursor)));
  });
}

function testVoid(test: Test): void {
  const every = (receipt: string) => ({
    ack: [receipt],
    release: [{ receipt }],
    extend: [{ receipt, leaseMs: 1000 }],
    reject: [{ receipt }],
  });
  const lost = ["lost", "lost", "lost", "lost"];

  for (const to of [EARLIEST, LATEST]) {
    test(`seek() to the ${to.kind} voids leases`, async ({ api, clock }) => {
      await prepareGroup(api, 2);
      const [held, late] = [await receiveOne(api), await receiveOne(api, { leaseMs: 1000 })];
      clock.advance(1000);
      await seek(api, to);
      for (const { receipt } of [held, late])
        assert.deepEqual(await settle(api, every(receipt)), lost);
      const again = await receive(api);
      assert.equal(again.length, to === EARLIEST ? 2 : 0);
      for (const { receipt } of [held, late])
        assert.deepEqual(await settle(api, every(receipt)), lost);
      const statuses = await settle(api, { ack: receipts(again) });
      assert.deepEqual(
        statuses,
        again.map(() => "ok"),
      );
      assert.deepEqual(await listDead(api), []);
    });
  }

  test("what was acked before a seek is not acked after it", async ({ api }) => {
    await prepareGroup(api, 1);
    const { receipt } = await receiveOne(api);
    await settle(api, { ack: [receipt] });
    await seek(api, EARLIEST);
    const again = await receiveOne(api);
    assert.notEqual(again.receipt, receipt);
    assert.deepEqual(await settle(api, { ack: [receipt] }), ["lost"]);
    assert.equal((await lagOf(api)).leased, 1);
    assert.deepEqual(await settle(api, { ack: [again.receipt] }), ["ok"]);
  });

  test("seek() resets attempts and drops retries", async ({ api, clock }) => {
    await prepareGroup(api, 2);
    for (let i = 0; i < 3; i++) {
      await receive(api);
      clock.advance(30_000);
    }
    const [first] = receipts(await receive(api, { max: 1 }));
    await settle(api, { release: [{ receipt: first ?? "", delayMs: 3_600_000 }] });
    await seek(api, EARLIEST);
    const got = await receive(api);
    assert.deepEqual(
      [ids(got), attempts(got)],
      [
        ["m0", "m1"],
        [1, 1],
      ],
    );
    await seek(api, LATEST);
    clock.advance(3_600_000);
    assert.deepEqual(await receive(api), []);
  });

  test("seek() makes room for others", async ({ api }) => {
    const subscriptions = [{ topic: "orders" }, { topic: "bills" }];
    await publishEach(api, "orders", ["o"]);
    await api.groups.put("g", { ...GROUP, subscriptions, maxInFlight: 1 });
    await receiveOne(api);
    await publishEach(api, "bills", ["b"]);
    assert.deepEqual(await receive(api), []);
    await seek(api, LATEST);
    assert.deepEqual(ids(await receive(api)), ["b"]);
  });

  test("seek() lets no attempt have its old leases again", async ({ api }) => {
    await prepareGroup(api, 2);
    const before = await receive(api, { attemptId: "a" });
    await seek(api, EARLIEST);
    const again = await receive(api, { attemptId: "a" });
    assert.deepEqual(
      [ids(again), attempts(again)],
      [
        ["m0", "m1"],
        [1, 1],
      ],
    );
    const old = new Set(receipts(before));
    assert(again.every(({ receipt }) => !old.has(receipt)));
    assert.deepEqual(await settle(api, { ack: receipts(again) }), ["ok", "ok"]);
  });

  test("seek() takes a consumer's leases from it", async ({ api }) => {
    await prepareGroup(api, 2);
    await receive(api, { consumerId: "c" });
    await seek(api, EARLIEST);
    assert.deepEqual(await api.groups.consumers("g"), []);
  });
}

function testAround(test: Test): void {
  test("seek() leaves other topics and other groups alone", async ({ api }) => {
    const subscriptions = [{ topic: "orders" }, { topic: "bills" }];
    for (const group of ["g", "other"]) await api.groups.put(group, { ...GROUP, subscriptions });
    await publishEach(api, "orders", ["o"]);
    await publishEach(api, "bills", ["b"]);
    const bills = await receive(api, { topic: "bills" });
    const others = await receive(api, { group: "other" });
    await seek(api, EARLIEST);
    assert.deepEqual(ids(await receive(api)), ["o"]);
    assert.deepEqual(await settle(api, { ack: receipts(bills) }), ["ok"]);
    assert.deepEqual(await settle(api, { ack: receipts(others) }, "other"), ["ok", "ok"]);
  });

  test("a waiting receive is answered by a seek", async ({ api }) => {
    await prepareGroup(api, 2);
    await settle(api, { ack: receipts(await receive(api)) });
    const wait = receive(api, { waitMs: 60_000 });
    assert.equal(await isAnswered(wait), false);
    await seek(api, EARLIEST);
    assert.deepEqual(ids(await wait), ["m0", "m1"]);
  });

  test("seek() keeps dead letters, and the replay passes them too", async ({ api }) => {
    await prepareGroup(api, 3);
    const [m0 = "", m1 = "", m2 = ""] = receipts(await receive(api));
    await settle(api, { ack: [m0, m2], reject: [{ receipt: m1, reason: "bad" }] });
    await seek(api, EARLIEST);
    assert.deepEqual(await listDead(api), ["m1"]);
    const got = await receive(api);
    assert.deepEqual([ids(got), attempts(got)], [names("m", 3), [1, 1, 1]]);
    for (let i = 0; i < 2; i++) {
      assert.deepEqual(await settle(api, { ack: receipts(got) }), ["ok", "ok", "ok"]);
    }
    assert.deepEqual(await listDead(api), ["m1"]);
    await seek(api, LATEST);
    assert.deepEqual(await listDead(api), ["m1"]);
    assert.equal(await api.groups.redrive("g", {}), 1);
    const again = await receive(api);
    assert.deepEqual([ids(again), attempts(again)], [["m1"], [1]]);
  });

  test("a dead letter that a replay brings anyway is redriven without being leased twice", async ({
    api,
  }) => {
    await prepareGroup(api, 4);
    await rejectAll(api);
    await seek(api, EARLIEST);
    const first = await receive(api, { max: 2 });
    assert.equal(await api.groups.redrive("g", {}), 4);
    assert.deepEqual(await listDead(api), []);
    const rest = [...(await receive(api)), ...(await receive(api))];
    assert.deepEqual(ids([...first, ...rest]), names("m", 4));
    assert.deepEqual(attempts([...first, ...rest]), [1, 1, 1, 1]);
    const statuses = await settle(api, { ack: receipts([...first, ...rest]) });
    assert.deepEqual(statuses, ["ok", "ok", "ok", "ok"]);
    assert.deepEqual(await receive(api), []);
    assert.equal((await lagOf(api)).committedOffset, 4);
  });

  test("a message that dies again after a seek is one dead letter", async ({ api }) => {
    await prepareGroup(api, 1);
    await rejectAll(api, "first");
    await seek(api, EARLIEST);
    await rejectAll(api, "second");
    const { deadLetters } = await api.groups.deadLetters("g", { limit: 10, maxBytes: 1 << 20 });
    assert.deepEqual(
      deadLetters.map(({ reason }) => reason),
      ["second"],
    );
  });

  test("seek() back and forth ends where the last one said", async ({ api }) => {
    await prepareGroup(api, 6);
    await receive(api, { max: 3 });
    await seek(api, LATEST);
    await seek(api, EARLIEST);
    await seek(api, EARLIEST);
    assert.deepEqual(ids(await receive(api, { max: 2 })), ["m0", "m1"]);
    await seek(api, LATEST);
    await publishEach(api, "orders", ["m6"]);
    assert.deepEqual(ids(await receive(api)), ["m6"]);
  });
}
