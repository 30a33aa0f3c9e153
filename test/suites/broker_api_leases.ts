/**
 * {@linkcode BrokerApi}, leases: who is given what, what a receipt is worth, and
 * when a message comes again.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { SettleRequest, SettleResult } from "../../src/broker/api.ts";
import {
  GROUP,
  ids,
  lagOf,
  names,
  prepareGroup,
  receipts,
  receive,
  receiveOne,
  settle,
  decoded,
  type Opened,
  type Test,
} from "./broker_api_kit.ts";

export function testLeases(test: Test): void {
  testDelivery(test);
  testSettle(test);
  testRedelivery(test);
}

function testDelivery(test: Test): void {
  test("receive() leases what is ready, once", async ({ api, clock }) => {
    await prepareGroup(api, 5);
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
    await prepareGroup(api, 1);
    const one = await receiveOne(api, { leaseMs: 500 });
    assert.equal(one.leaseUntil, clock.now() + 500);
    clock.advance(499);
    assert.deepEqual(await receive(api), []);
    clock.advance(1);
    assert.equal((await receiveOne(api)).attempt, 2);
  });

  test("receive() keeps to maxInFlight, over all calls", async ({ api, clock }) => {
    await prepareGroup(api, 10, { maxInFlight: 4 });
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
    await prepareGroup(api, 6);
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
        await prepareGroup(api, 1);
        const receipt = await bring(opened, row);
        assert.deepEqual(await settle(api, request(op, receipt)), [status]);
      });
    }
  }

  test("settle() answers in the order ack, release, extend, reject", async ({ api, clock }) => {
    await prepareGroup(api, 5);
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
    await prepareGroup(api, 2);
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
    await prepareGroup(api, 1);
    await api.groups.put("other", GROUP);
    const { receipt } = await receiveOne(api);
    const one = await receiveOne(api, { group: "other" });
    assert.deepEqual(await settle(api, { ack: [receipt] }, "other"), ["lost"]);
    assert.deepEqual(await settle(api, { ack: [one.receipt] }, "other"), ["ok"]);
    assert.deepEqual(await settle(api, { ack: [receipt] }), ["ok"]);
  });

  test("settle() takes no receipt with a letter changed", async ({ api }) => {
    await prepareGroup(api, 1);
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
    await prepareGroup(api, 3);
    const got = await receive(api);
    clock.advance(29_999);
    assert.deepEqual(await settle(api, { ack: receipts(got) }), ["ok", "ok", "ok"]);
    clock.advance(1_000_000);
    assert.deepEqual(await receive(api), []);
  });

  test("extend() moves the end of the lease, and keeps the receipt", async ({ api, clock }) => {
    await prepareGroup(api, 1);
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
    await prepareGroup(api, 2);
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
    await prepareGroup(api, 3, { maxInFlight: 1 });
    const { receipt } = await receiveOne(api);
    clock.advance(30_000);
    await receive(api, { topic: "orders", max: 1, leaseMs: 100 }); // all ended leases are noticed
    await settle(api, { extend: [{ receipt, leaseMs: 1000 }] });
    clock.advance(5000);
    const got = await receive(api);
    assert.equal(new Set(ids(got)).size, got.length);
  });

  test("late extends and releases never make one delivery two", async ({ api, clock }) => {
    await prepareGroup(api, 4);
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
    await prepareGroup(api, 1);
    const { receipt } = await receiveOne(api);
    await settle(api, { release: [{ receipt, delayMs: 700 }] });
    clock.advance(699);
    assert.deepEqual(await receive(api), []);
    clock.advance(1);
    assert.equal((await receiveOne(api)).attempt, 2);
  });

  test("release() with delay 0 is ready at once", async ({ api }) => {
    await prepareGroup(api, 1);
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
      await prepareGroup(api, 1, { backoff });
      for (const waitMs of waits) {
        const { receipt } = await receiveOne(api);
        await settle(api, { release: [{ receipt }] });
        clock.advance(waitMs - 1);
        assert.deepEqual(await receive(api), [], "never less");
        clock.advance(1 + waitMs / 10); // spread over a tenth
      }
    });
  }

  test("reject() makes it a dead letter at once", async ({ api, clock }) => {
    await prepareGroup(api, 2);
    const { receipt } = await receiveOne(api);
    assert.deepEqual(await settle(api, { reject: [{ receipt, reason: "bad" }] }), ["ok"]);
    assert.deepEqual(ids(await receive(api)), ["m1"]);
    clock.advance(30_000);
    assert.deepEqual(ids(await receive(api)), ["m1"]);
    assert.equal((await lagOf(api)).committedOffset, 1);
  });

  test("a message whose attempts are used up comes no more", async ({ api, clock }) => {
    await prepareGroup(api, 1, { maxAttempts: 3 });
    for (const attempt of [1, 2, 3]) {
      assert.equal((await receiveOne(api)).attempt, attempt);
      clock.advance(30_000);
    }
    assert.deepEqual(await receive(api), []);
    const { committedOffset, ready, leased } = await lagOf(api);
    assert.deepEqual([committedOffset, ready, leased], [1, 0, 0]);
  });

  test("releasing the last attempt is its end", async ({ api, clock }) => {
    await prepareGroup(api, 1, { maxAttempts: 2 });
    for (let attempt = 1; attempt <= 2; attempt++) {
      const { receipt } = await receiveOne(api);
      assert.deepEqual(await settle(api, { release: [{ receipt, delayMs: 0 }] }), ["ok"]);
    }
    clock.advance(100_000);
    assert.deepEqual(await receive(api), []);
    assert.equal((await lagOf(api)).committedOffset, 1);
  });

  test("a late ack of the last attempt counts", async ({ api, clock }) => {
    await prepareGroup(api, 1, { maxAttempts: 1 });
    const { receipt } = await receiveOne(api);
    clock.advance(30_000);
    assert.deepEqual(await settle(api, { ack: [receipt] }), ["late"]);
    assert.deepEqual(await settle(api, { ack: [receipt] }), ["ok"]);
  });

  test("messages at different attempts come in one answer", async ({ api, clock }) => {
    await prepareGroup(api, 3);
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
