/**
 * {@linkcode BrokerApi}, ordered groups: how retries keep the order of a key, and
 * what frees one for those who wait.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { SettleRequest } from "../../src/broker/api.ts";
import {
  attempts,
  ids,
  isAnswered,
  listDead,
  prepareOrdered,
  publishKeyed,
  receipts,
  receive,
  receiveOne,
  settle,
  type Test,
  turn,
} from "./broker_api_kit.ts";

export function testOrderedRetries(test: Test): void {
  testRetries(test);
  testWaits(test);
}

function testRetries(test: Test): void {
  test("a released message keeps its key until it comes again", async ({ api, clock }) => {
    await prepareOrdered(api, ["a1", "a2", "b1"]);
    const [a1, b1] = receipts(await receive(api));
    assert(a1 && b1);
    await settle(api, { ack: [b1], release: [{ receipt: a1, delayMs: 5000 }] });
    await publishKeyed(api, "orders", ["b2"]);
    assert.deepEqual(ids(await receive(api)), ["b2"]);
    clock.advance(4999);
    assert.deepEqual(await receive(api), []);
    clock.advance(1);
    const again = await receiveOne(api);
    assert.deepEqual([ids([again]), again.attempt], [["a1"], 2]);
    assert.deepEqual(await receive(api), []);
    await settle(api, { ack: [again.receipt] });
    const next = await receiveOne(api);
    assert.deepEqual([ids([next]), next.attempt], [["a2"], 1]);
  });

  test("the backoff of a message holds up its key alone", async ({ api, clock }) => {
    const backoff = { scheduleMs: [1000, 9000] };
    await prepareOrdered(api, ["a1", "a2", "b1"], { backoff });
    const [a1, b1] = receipts(await receive(api));
    assert(a1 && b1);
    await settle(api, { ack: [b1], release: [{ receipt: a1 }] });
    assert.deepEqual(await receive(api), []);
    clock.advance(1100);
    assert.deepEqual(ids(await receive(api)), ["a1"]);
  });

  test("a message whose lease has ended comes again before the rest of its key", async ({
    api,
    clock,
  }) => {
    await prepareOrdered(api, ["a1", "a2", "b1", "b2"]);
    await receive(api);
    for (const attempt of [2, 3]) {
      clock.advance(30_000);
      const got = await receive(api);
      assert.deepEqual(
        [ids(got), attempts(got)],
        [
          ["a1", "b1"],
          [attempt, attempt],
        ],
      );
      assert.deepEqual(await receive(api), []);
    }
  });

  test("extending a lease holds up its key as long", async ({ api, clock }) => {
    await prepareOrdered(api, ["a1", "a2"]);
    const { receipt } = await receiveOne(api);
    clock.advance(29_000);
    await settle(api, { extend: [{ receipt, leaseMs: 30_000 }] });
    clock.advance(29_999);
    assert.deepEqual(await receive(api), []);
    clock.advance(1);
    assert.deepEqual(ids(await receive(api)), ["a1"]);
  });

  test("a late ack frees its key", async ({ api, clock }) => {
    await prepareOrdered(api, ["a1", "a2"]);
    const { receipt } = await receiveOne(api);
    clock.advance(30_000);
    assert.deepEqual(await settle(api, { ack: [receipt] }), ["late"]);
    const next = await receiveOne(api);
    assert.deepEqual([ids([next]), next.attempt], [["a2"], 1]);
  });

  const ends: [how: string, request: (receipt: string) => Partial<SettleRequest>][] = [
    ["is rejected", (receipt) => ({ reject: [{ receipt }] })],
    ["is released at its last attempt", (receipt) => ({ release: [{ receipt, delayMs: 60_000 }] })],
    ["is left at its last attempt", () => ({})],
  ];
  for (const [how, request] of ends) {
    test(`a message that ${how} frees its key`, async ({ api, clock }) => {
      await prepareOrdered(api, ["a1", "a2", "a3"], { maxAttempts: 1 });
      const { receipt } = await receiveOne(api);
      await settle(api, request(receipt));
      if (how.startsWith("is left")) clock.advance(30_000);
      const next = await receiveOne(api);
      assert.deepEqual([ids([next]), next.attempt], [["a2"], 1]);
      assert.deepEqual(await receive(api), []);
      assert.deepEqual(await listDead(api), ["a1"]);
    });
  }

  test("a redriven message waits for its key, and then comes before what is new", async ({
    api,
  }) => {
    await prepareOrdered(api, ["a1", "a2", "a3"]);
    const { receipt } = await receiveOne(api);
    await settle(api, { reject: [{ receipt }] });
    const second = await receiveOne(api);
    assert.deepEqual(ids([second]), ["a2"]);
    assert.equal(await api.groups.redrive("g", {}), 1);
    assert.deepEqual(await receive(api), []);
    await settle(api, { ack: [second.receipt] });
    const again = await receiveOne(api);
    assert.deepEqual([ids([again]), again.attempt, again.queueOffset], [["a1"], 1, 0]);
    assert.deepEqual(await receive(api), []);
    await settle(api, { ack: [again.receipt] });
    assert.deepEqual(ids(await receive(api)), ["a3"]);
  });

  test("a message that is retried keeps its key from one that is redriven", async ({
    api,
    clock,
  }) => {
    await prepareOrdered(api, ["a1", "a2"]);
    await settle(api, { reject: [{ receipt: (await receiveOne(api)).receipt }] });
    await receiveOne(api);
    await api.groups.redrive("g", {});
    clock.advance(30_000);
    const again = await receive(api);
    assert.deepEqual([ids(again), attempts(again)], [["a2"], [2]]);
    await settle(api, { ack: receipts(again) });
    assert.deepEqual(ids(await receive(api)), ["a1"]);
  });

  test("several redriven messages of a key come one at a time, in order", async ({ api }) => {
    await prepareOrdered(api, ["a1", "a2", "a3"]);
    for (let i = 0; i < 3; i++) {
      const { receipt } = await receiveOne(api);
      await settle(api, { reject: [{ receipt }] });
    }
    assert.equal(await api.groups.redrive("g", {}), 3);
    for (const id of ["a1", "a2", "a3"]) {
      const [one, ...others] = await receive(api);
      assert.deepEqual([ids(one ? [one] : []), others], [[id], []]);
      await settle(api, { ack: [one?.receipt ?? ""] });
    }
    assert.deepEqual(await receive(api), []);
  });

  test("seek() frees the keys that were held", async ({ api }) => {
    await prepareOrdered(api, ["a1", "a2", "b1"]);
    await settle(api, { release: [{ receipt: (await receiveOne(api)).receipt, delayMs: 60_000 }] });
    await receive(api);
    await api.groups.seek("g", { topic: "orders", to: { kind: "earliest" } });
    const got = await receive(api);
    assert.deepEqual(
      [ids(got), attempts(got)],
      [
        ["a1", "b1"],
        [1, 1],
      ],
    );
  });
}

function testWaits(test: Test): void {
  const waitMs = 60_000;
  const frees: [how: string, request: (receipt: string) => Partial<SettleRequest>][] = [
    ["an ack", (receipt) => ({ ack: [receipt] })],
    ["a reject", (receipt) => ({ reject: [{ receipt }] })],
  ];
  for (const [how, request] of frees) {
    test(`a waiting receive is answered when ${how} frees a key`, async ({ api }) => {
      await prepareOrdered(api, ["a1", "a2"]);
      const { receipt } = await receiveOne(api);
      const wait = receive(api, { waitMs });
      assert.equal(await isAnswered(wait), false);
      await settle(api, request(receipt));
      assert.deepEqual(ids(await wait), ["a2"]);
    });
  }

  test("a key that is freed wakes one of those who wait", async ({ api }) => {
    await prepareOrdered(api, ["a1", "a2", "a3"]);
    const { receipt } = await receiveOne(api);
    const first = receive(api, { waitMs });
    await turn();
    const second = receive(api, { waitMs });
    await turn();
    await settle(api, { ack: [receipt] });
    const [a2] = await first;
    assert.deepEqual(ids(a2 ? [a2] : []), ["a2"]);
    assert.equal(await isAnswered(second), false);
    await settle(api, { ack: [a2?.receipt ?? ""] });
    assert.deepEqual(ids(await second), ["a3"]);
  });

  test("a waiting receive is not answered by a message of a key in flight", async ({ api }) => {
    await prepareOrdered(api, ["a1"]);
    await receiveOne(api);
    const wait = receive(api, { waitMs });
    await turn();
    await publishKeyed(api, "orders", ["a2"]);
    assert.equal(await isAnswered(wait), false);
    await publishKeyed(api, "orders", ["b1"]);
    assert.deepEqual(ids(await wait), ["b1"]);
  });

  test("a waiting receive is answered when the lease of a key ends", async ({ api, clock }) => {
    await prepareOrdered(api, ["a1", "a2"]);
    await receiveOne(api);
    const wait = receive(api, { waitMs });
    await turn();
    clock.advance(29_999);
    assert.equal(await isAnswered(wait), false);
    clock.advance(1);
    const got = await wait;
    assert.deepEqual([ids(got), attempts(got)], [["a1"], [2]]);
  });

  test("a waiting receive is answered when a key moves on past a dead letter", async ({
    api,
    clock,
  }) => {
    await prepareOrdered(api, ["a1", "a2"], { maxAttempts: 1 });
    await receiveOne(api);
    const wait = receive(api, { waitMs });
    await turn();
    clock.advance(30_000);
    assert.deepEqual(ids(await wait), ["a2"]);
  });
}
