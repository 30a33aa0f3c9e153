/**
 * {@linkcode BrokerApi}, leases: who is given what and when, what a receipt is
 * worth, and waiting for a message.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { BrokerApi, Delivery, SettleRequest, SettleResult } from "../../src/broker/api.ts";
import {
  decoded,
  fails,
  GROUP,
  ids,
  isAnswered,
  lagOf,
  message,
  names,
  type Opened,
  publishEach,
  receipts,
  receive,
  receiveOne,
  settle,
  type Test,
  TOPIC,
  turn,
} from "./broker_api_kit.ts";

export function testLeases(test: Test): void {
  testDelivery(test);
  testSettle(test);
  testRedelivery(test);
  testWaiting(test);
  testGivingBack(test);
}

/** A topic of one queue, a group on it, and messages. */
async function prepare(api: BrokerApi, count: number, group = {}): Promise<void> {
  await api.topics.put("orders", { ...TOPIC, queues: 1 });
  await api.groups.put("g", { ...GROUP, ...group });
  await publishEach(api, "orders", names("m", count));
}

function testDelivery(test: Test): void {
  test("receive() leases what is ready, once", async ({ api, clock }) => {
    await prepare(api, 5);
    const got = await receive(api, { max: 3 });
    assert.deepEqual(ids(got), names("m", 3));
    for (const [i, one] of got.entries()) {
      const { attempt, leaseUntil, queueOffset, topic } = one;
      const expected = {
        attempt: 1,
        leaseUntil: clock.now() + 30_000,
        queueOffset: i,
        topic: "orders",
      };
      assert.deepEqual({ attempt, leaseUntil, queueOffset, topic }, expected);
      assert.deepEqual(decoded(one), decoded(await api.messages.get("orders", `m${i}`)));
    }
    assert.deepEqual(ids(await receive(api)), ["m3", "m4"]);
    assert.deepEqual(ids(await receive(api)), []);
    assert.equal(new Set(receipts(got)).size, 3);
  });

  test("receive() takes its own leaseMs", async ({ api, clock }) => {
    await prepare(api, 1);
    const one = await receiveOne(api, { leaseMs: 500 });
    assert.equal(one.leaseUntil, clock.now() + 500);
    clock.advance(499);
    assert.deepEqual(await receive(api), []);
    clock.advance(1);
    assert.equal((await receiveOne(api)).attempt, 2);
  });

  test("receive() keeps to maxInFlight, over all calls", async ({ api, clock }) => {
    await prepare(api, 10, { maxInFlight: 4 });
    const got = await receive(api, { max: 3 });
    assert.equal(got.length, 3);
    assert.equal((await receive(api)).length, 1);
    assert.equal((await receive(api)).length, 0);
    await settle(api, { ack: receipts(got).slice(0, 2) });
    assert.equal((await receive(api)).length, 2);
    clock.advance(30_000); // all leases end
    assert.equal((await receive(api)).length, 4);
    assert.equal((await receive(api)).length, 0);
  });

  test("receive() with the same attemptId gives the same leases", async ({ api, clock }) => {
    await prepare(api, 6);
    const first = await receive(api, { max: 2, attemptId: "a" });
    assert.deepEqual(await receive(api, { max: 2, attemptId: "a" }), first);
    const other = await receive(api, { max: 2, attemptId: "b" });
    assert.deepEqual(ids(other), ["m2", "m3"]);
    assert.deepEqual(await receive(api, { max: 9, attemptId: "a" }), first);

    await settle(api, { ack: receipts(first).slice(0, 1) });
    assert.deepEqual(await receive(api, { max: 2, attemptId: "a" }), first.slice(1));
    await settle(api, { ack: receipts(first).slice(1) });
    assert.deepEqual(ids(await receive(api, { max: 2, attemptId: "a" })), ["m4", "m5"]);

    clock.advance(30_000);
    const again = await receive(api, { max: 9, attemptId: "b" });
    assert.deepEqual(
      again.map(({ attempt }) => attempt),
      [2, 2, 2, 2],
    );
  });
}

const TABLE: [row: string, statuses: { [op: string]: SettleResult["status"] }][] = [
  ["leased by this grant", { ack: "ok", release: "ok", extend: "ok", reject: "ok" }],
  ["leased, its time over", { ack: "late", release: "late", extend: "late", reject: "late" }],
  ["given back by this grant", { ack: "lost", release: "ok", extend: "lost", reject: "lost" }],
  ["granted again since", { ack: "lost", release: "lost", extend: "lost", reject: "lost" }],
  ["done", { ack: "ok", release: "lost", extend: "lost", reject: "lost" }],
  ["a dead letter", { ack: "lost", release: "lost", extend: "lost", reject: "ok" }],
];

function request(op: string, receipt: string): Partial<SettleRequest> {
  if (op === "ack") return { ack: [receipt] };
  if (op === "release") return { release: [{ receipt, delayMs: 1000 }] };
  if (op === "extend") return { extend: [{ receipt, leaseMs: 60_000 }] };
  return { reject: [{ receipt, reason: "no" }] };
}

/** Brings a message to a row of the table and returns its first receipt. */
async function bring({ api, clock }: Opened, row: string): Promise<string> {
  const { receipt } = await receiveOne(api);
  if (row === "given back by this grant") await settle(api, request("release", receipt));
  if (row === "done") await settle(api, request("ack", receipt));
  if (row === "a dead letter") await settle(api, request("reject", receipt));
  if (row === "leased, its time over") clock.advance(30_000);
  if (row === "granted again since") {
    clock.advance(30_000);
    await receiveOne(api);
  }
  return receipt;
}

function testSettle(test: Test): void {
  for (const [row, statuses] of TABLE) {
    for (const [op, status] of Object.entries(statuses)) {
      test(`settle() answers ${status} to ${op} of a message ${row}`, async (opened) => {
        const { api } = opened;
        await prepare(api, 1);
        const receipt = await bring(opened, row);
        assert.deepEqual(await settle(api, request(op, receipt)), [status]);
      });
    }
  }

  test("settle() answers in the order ack, release, extend, reject", async ({ api, clock }) => {
    await prepare(api, 5);
    const [a, b, c, d, e] = receipts(await receive(api));
    assert(a && b && c && d && e);
    const results = await api.groups.settle("g", {
      reject: [{ receipt: d }],
      extend: [{ receipt: c, leaseMs: 40_000 }],
      release: [{ receipt: b }],
      ack: [a, "garbage", e],
    });
    assert.deepEqual(results, [
      { receipt: a, status: "ok" },
      { receipt: "garbage", status: "invalid" },
      { receipt: e, status: "ok" },
      { receipt: b, status: "ok" },
      { receipt: c, status: "ok", leaseUntil: clock.now() + 40_000 },
      { receipt: d, status: "ok" },
    ]);
    assert.deepEqual(await settle(api, {}), []);
  });

  test("settle() judges a receipt named twice by what the first did", async ({ api }) => {
    await prepare(api, 2);
    const [a, b] = receipts(await receive(api));
    assert(a && b);
    const twice = await settle(api, {
      ack: [a, a],
      release: [{ receipt: a }, { receipt: b, delayMs: 0 }],
      reject: [{ receipt: b }],
    });
    assert.deepEqual(twice, ["ok", "ok", "lost", "ok", "lost"]);
    assert.deepEqual(ids(await receive(api)), ["m1"]);
  });

  test("settle() takes no receipt of another group", async ({ api }) => {
    await prepare(api, 1);
    await api.groups.put("other", GROUP);
    const { receipt } = await receiveOne(api);
    const one = await receiveOne(api, { group: "other" });
    assert.deepEqual(await settle(api, { ack: [receipt] }, "other"), ["lost"]);
    assert.deepEqual(await settle(api, { ack: [one.receipt] }, "other"), ["ok"]);
    assert.deepEqual(await settle(api, { ack: [receipt] }), ["ok"]);
  });

  test("settle() takes no receipt with a letter changed", async ({ api }) => {
    await prepare(api, 1);
    const { receipt } = await receiveOne(api);
    const forged: string[] = [];
    for (let at = 0; at < receipt.length; at++) {
      for (const letter of ["A", "B", "_", "!"]) {
        if (receipt[at] === letter) continue;
        forged.push(receipt.slice(0, at) + letter + receipt.slice(at + 1));
      }
    }
    forged.push("", receipt.slice(1), `${receipt}A`, ` ${receipt}`);
    const statuses = new Set(await settle(api, { ack: forged }));
    assert.deepEqual([...statuses].toSorted(), ["invalid", "lost"]);
    assert.deepEqual(await settle(api, { ack: [receipt] }), ["ok"]);
  });

  test("what is acked never comes back", async ({ api, clock }) => {
    await prepare(api, 3);
    const got = await receive(api);
    clock.advance(29_999);
    assert.deepEqual(await settle(api, { ack: receipts(got) }), ["ok", "ok", "ok"]);
    clock.advance(1_000_000);
    assert.deepEqual(await receive(api), []);
  });

  test("extend() moves the end of the lease, and keeps the receipt", async ({ api, clock }) => {
    await prepare(api, 1);
    const { receipt } = await receiveOne(api);
    clock.advance(20_000);
    await settle(api, { extend: [{ receipt, leaseMs: 30_000 }] });
    clock.advance(29_999);
    assert.deepEqual(await receive(api), []);
    await settle(api, { extend: [{ receipt, leaseMs: 100 }] }); // also to an earlier one
    clock.advance(100);
    assert.equal((await receiveOne(api)).attempt, 2);
    assert.deepEqual(await settle(api, { ack: [receipt] }), ["lost"]);
  });
}

function testRedelivery(test: Test): void {
  test("a message comes again when its lease ends, with the next attempt", async ({
    api,
    clock,
  }) => {
    await prepare(api, 2);
    for (const attempt of [1, 2, 3]) {
      const got = await receive(api);
      assert.deepEqual(
        got.map((one) => one.attempt),
        [attempt, attempt],
      );
      assert.deepEqual(ids(got), ["m0", "m1"]);
      clock.advance(30_000);
    }
  });

  test("a message found due and then extended late comes once", async ({ api, clock }) => {
    await prepare(api, 3, { maxInFlight: 1 });
    const { receipt } = await receiveOne(api);
    clock.advance(30_000);
    await receive(api, { topic: "orders", max: 1, leaseMs: 100 }); // all ended leases are noticed
    await settle(api, { extend: [{ receipt, leaseMs: 1000 }] });
    clock.advance(5000);
    const got = await receive(api);
    assert.equal(new Set(ids(got)).size, got.length);
  });

  test("late extends and releases never make one delivery two", async ({ api, clock }) => {
    await prepare(api, 4);
    const held = await receive(api);
    clock.advance(30_000);
    const [first] = await receive(api, { max: 1 });
    assert(first);
    const late = held.filter(({ queueOffset }) => queueOffset !== first.queueOffset);
    const extend = late.slice(0, 2).map(({ receipt }) => ({ receipt, leaseMs: 1000 }));
    const release = late.slice(2).map(({ receipt }) => ({ receipt, delayMs: 0 }));
    assert.deepEqual(await settle(api, { extend, release }), ["late", "late", "late"]);
    clock.advance(1000);
    const got = await receive(api);
    assert.deepEqual(ids(got).toSorted(), ids(late).toSorted());
    assert.deepEqual(
      got.map(({ attempt }) => attempt),
      [2, 2, 2],
    );
  });

  test("release() with a delay waits that long", async ({ api, clock }) => {
    await prepare(api, 1);
    const { receipt } = await receiveOne(api);
    await settle(api, { release: [{ receipt, delayMs: 700 }] });
    clock.advance(699);
    assert.deepEqual(await receive(api), []);
    clock.advance(1);
    assert.equal((await receiveOne(api)).attempt, 2);
  });

  test("release() with delay 0 is ready at once", async ({ api }) => {
    await prepare(api, 1);
    const { receipt } = await receiveOne(api);
    await settle(api, { release: [{ receipt, delayMs: 0 }] });
    assert.equal((await receiveOne(api)).attempt, 2);
  });

  const backoffs = [
    [{ initialMs: 1000, multiplier: 3, maxMs: 5000 }, [1000, 3000, 5000, 5000]],
    [{ scheduleMs: [10, 20, 40] }, [10, 20, 40, 40]],
  ] as const;
  for (const [backoff, waits] of backoffs) {
    const name = "scheduleMs" in backoff ? "schedule" : "multiplier";
    test(`release() without a delay waits the backoff of a ${name}`, async ({ api, clock }) => {
      await prepare(api, 1, { backoff });
      for (const waitMs of waits) {
        const { receipt } = await receiveOne(api);
        await settle(api, { release: [{ receipt }] });
        clock.advance(waitMs - 1);
        assert.deepEqual(await receive(api), []);
        clock.advance(1);
      }
    });
  }

  test("reject() makes it a dead letter at once", async ({ api, clock }) => {
    await prepare(api, 2);
    const { receipt } = await receiveOne(api);
    assert.deepEqual(await settle(api, { reject: [{ receipt, reason: "bad" }] }), ["ok"]);
    assert.deepEqual(ids(await receive(api)), ["m1"]);
    clock.advance(30_000);
    assert.deepEqual(ids(await receive(api)), ["m1"]);
    assert.equal((await lagOf(api)).committedOffset, 1);
  });

  test("a message whose attempts are used up comes no more", async ({ api, clock }) => {
    await prepare(api, 1, { maxAttempts: 3 });
    for (const attempt of [1, 2, 3]) {
      assert.equal((await receiveOne(api)).attempt, attempt);
      clock.advance(30_000);
    }
    assert.deepEqual(await receive(api), []);
    const { committedOffset, ready, leased } = await lagOf(api);
    assert.deepEqual([committedOffset, ready, leased], [1, 0, 0]);
  });

  test("releasing the last attempt is its end", async ({ api, clock }) => {
    await prepare(api, 1, { maxAttempts: 2 });
    for (let attempt = 1; attempt <= 2; attempt++) {
      const { receipt } = await receiveOne(api);
      assert.deepEqual(await settle(api, { release: [{ receipt, delayMs: 0 }] }), ["ok"]);
    }
    clock.advance(100_000);
    assert.deepEqual(await receive(api), []);
    assert.equal((await lagOf(api)).committedOffset, 1);
  });

  test("a late ack of the last attempt counts", async ({ api, clock }) => {
    await prepare(api, 1, { maxAttempts: 1 });
    const { receipt } = await receiveOne(api);
    clock.advance(30_000);
    assert.deepEqual(await settle(api, { ack: [receipt] }), ["late"]);
    assert.deepEqual(await settle(api, { ack: [receipt] }), ["ok"]);
  });

  test("messages at different attempts come in one answer", async ({ api, clock }) => {
    await prepare(api, 3);
    const first = await receiveOne(api);
    await settle(api, { release: [{ receipt: first.receipt, delayMs: 0 }] });
    const again = await receiveOne(api);
    assert.equal(again.attempt, 2);
    await receiveOne(api);
    clock.advance(30_000);
    const got = await receive(api);
    assert.deepEqual(
      got.map(({ queueOffset, attempt }) => `${queueOffset} ${attempt}`).toSorted(),
      ["0 3", "1 2", "2 1"],
    );
  });
}

function testWaiting(test: Test): void {
  const waitMs = 60_000;

  test("a waiting receive is answered by the next publish", async ({ api }) => {
    await prepare(api, 0);
    const wait = receive(api, { waitMs });
    assert.equal(await isAnswered(wait), false);
    await publishEach(api, "orders", ["m"]);
    assert.deepEqual(ids(await wait), ["m"]);
  });

  test("a message wakes one, who waited longest", async ({ api }) => {
    await prepare(api, 0);
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
    await prepare(api, 1);
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
    await prepare(api, 1);
    const { receipt } = await receiveOne(api);
    const wait = receive(api, { waitMs });
    await turn();
    await settle(api, { release: [{ receipt, delayMs: 5000 }] });
    assert.equal(await isAnswered(wait), false);
    clock.advance(5000);
    assert.equal((await wait)[0]?.attempt, 2);
  });

  test("a waiting receive is answered when an ack makes room", async ({ api }) => {
    await prepare(api, 2, { maxInFlight: 1 });
    const { receipt } = await receiveOne(api);
    const wait = receive(api, { waitMs });
    assert.equal(await isAnswered(wait), false);
    await settle(api, { ack: [receipt] });
    assert.deepEqual(ids(await wait), ["m1"]);
  });

  test("a waiting receive is answered when dead letters make room", async ({ api, clock }) => {
    await prepare(api, 2, { maxInFlight: 1, maxAttempts: 1 });
    await receiveOne(api);
    const wait = receive(api, { waitMs });
    assert.equal(await isAnswered(wait), false);
    clock.advance(30_000);
    assert.deepEqual(ids(await wait), ["m1"]);
  });

  test("a waiting receive ends when its time is up", async ({ api, clock }) => {
    await prepare(api, 0);
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
      await prepare(api, 1);
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
      await prepare(api, 0);
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
    await prepare(api, 0);
    const wait = receive(api, { waitMs });
    assert.equal(await isAnswered(wait), false);
    drain();
    assert.deepEqual(await wait, []);
  });
}

function testGivingBack(test: Test): void {
  test("an aborted wait takes nothing", async ({ api }) => {
    await prepare(api, 0);
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
    await prepare(api, 2);
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
    await prepare(api, 1);
    const abort = new AbortController();
    const gone = receive(api, {}, { signal: abort.signal });
    const wait = receive(api, { waitMs: 60_000 });
    abort.abort();
    assert.deepEqual(await gone, []);
    assert.equal((await wait)[0]?.attempt, 1);
  });

  test("an abort does not take back what the same attempt asked for again", async ({ api }) => {
    await prepare(api, 2);
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
    await prepare(api, 0);
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
    void Promise.all(consumers);
  });
}
