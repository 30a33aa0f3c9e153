/**
 * {@linkcode BrokerApi}, dead letters: what becomes one, the list of them, and
 * dropping them. Sending them back is in `broker_api_redrive.ts`.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  deadIds,
  deadLetters,
  decoded,
  fails,
  GROUP,
  ids,
  lagOf,
  listDead,
  message,
  names,
  prepareGroup,
  publishEach,
  receipts,
  receive,
  receiveOne,
  rejectAll,
  settle,
  type Test,
  TOPIC,
} from "./broker_api_kit.ts";

export function testDeadLetters(test: Test): void {
  testBecoming(test);
  testList(test);
  testPurge(test);
}

function testBecoming(test: Test): void {
  test("a rejected message is a dead letter, with the words of its consumer", async ({
    api,
    clock,
  }) => {
    await prepareGroup(api, 2);
    assert.deepEqual(await listDead(api), []);
    clock.advance(1234);
    const { receipt } = await receiveOne(api);
    const reason = "größer als erlaubt: 7 > 5";
    await settle(api, { reject: [{ receipt, reason }] });
    const deadAt = clock.now();
    clock.advance(60_000);

    const { deadLetters: letters, next } = await deadLetters(api);
    assert.equal(next, undefined);
    assert.equal(letters.length, 1);
    const { message: dead, ...facts } = letters[0] ?? assert.fail("it is listed");
    assert.deepEqual(facts, {
      topic: "orders",
      queueId: 0,
      queueOffset: 0,
      cause: "rejected",
      reason,
      attempts: 1,
      deadAt,
    });
    assert.deepEqual(dead, await api.messages.get("orders", "m0"));
  });

  test("a message whose attempts are used up is a dead letter", async ({ api, clock }) => {
    await prepareGroup(api, 1, { maxAttempts: 3 });
    for (let i = 0; i < 3; i++) {
      await receiveOne(api);
      assert.deepEqual(await listDead(api), []);
      clock.advance(30_000);
    }
    assert.deepEqual(await receive(api), []);
    const [letter] = (await deadLetters(api)).deadLetters;
    const { cause, attempts, reason, deadAt } = letter ?? assert.fail("it is listed");
    assert.deepEqual(
      { cause, attempts, reason, deadAt },
      { cause: "attempts", attempts: 3, reason: "", deadAt: clock.now() },
    );
  });

  test("a message released at its last attempt is a dead letter at once", async ({ api }) => {
    await prepareGroup(api, 1, { maxAttempts: 2 });
    for (let i = 0; i < 2; i++) {
      assert.deepEqual(await listDead(api), []);
      const { receipt } = await receiveOne(api);
      await settle(api, { release: [{ receipt, delayMs: 0 }] });
    }
    const [letter] = (await deadLetters(api)).deadLetters;
    assert.deepEqual([letter?.cause, letter?.attempts], ["attempts", 2]);
  });

  test("a message that was acked or is retried is no dead letter", async ({ api, clock }) => {
    await prepareGroup(api, 3, { maxAttempts: 2 });
    const [a = "", b = ""] = receipts(await receive(api));
    await settle(api, { ack: [a], release: [{ receipt: b, delayMs: 0 }] });
    clock.advance(30_000);
    assert.equal((await receive(api)).length, 2);
    assert.deepEqual(await listDead(api), []);
  });

  test("dead letters are of their group alone", async ({ api }) => {
    await prepareGroup(api, 2);
    await api.groups.put("other", GROUP);
    await rejectAll(api);
    assert.deepEqual(await listDead(api), ["m0", "m1"]);
    assert.deepEqual(await listDead(api, "other"), []);
    assert.deepEqual(ids(await receive(api, { group: "other" })), ["m0", "m1"]);
  });

  test("dead letters do not count in lag()", async ({ api }) => {
    await prepareGroup(api, 3);
    await rejectAll(api);
    const { committedOffset, endOffset, ready, leased, oldestAgeMs } = await lagOf(api);
    assert.deepEqual(
      { committedOffset, endOffset, ready, leased, oldestAgeMs },
      { committedOffset: 3, endOffset: 3, ready: 0, leased: 0, oldestAgeMs: 0 },
    );
    assert.equal((await api.groups.lag("g")).topics[0]?.total, 0);
  });

  test("patch() of maxAttempts upwards revives no dead letter", async ({ api, clock }) => {
    await prepareGroup(api, 1, { maxAttempts: 1 });
    await receiveOne(api);
    clock.advance(30_000);
    assert.deepEqual(await receive(api), []);
    await api.groups.patch("g", { maxAttempts: 5 });
    assert.deepEqual(await receive(api), []);
    assert.deepEqual(await listDead(api), ["m0"]);
  });

  test("a group made again has no dead letters", async ({ api }) => {
    await prepareGroup(api, 1);
    await rejectAll(api);
    await api.groups.delete("g");
    await fails("group-not-found", deadLetters(api));
    await api.groups.put("g", GROUP);
    assert.deepEqual(await listDead(api), []);
    assert.equal(await api.groups.redrive("g", {}), 0);
    assert.deepEqual(ids(await receive(api)), ["m0"]);
  });

  test("the dead letters of a topic go with it", async ({ api }) => {
    const subscriptions = [{ topic: "orders" }, { topic: "bills" }];
    await api.groups.put("g", { ...GROUP, subscriptions });
    await publishEach(api, "orders", ["o"]);
    await publishEach(api, "bills", ["b"]);
    await rejectAll(api);
    assert.deepEqual((await listDead(api)).toSorted(), ["b", "o"]);
    await api.topics.delete("orders");
    assert.deepEqual(await listDead(api), ["b"]);
    await publishEach(api, "orders", ["again"]);
    assert.deepEqual(await listDead(api), ["b"]);
    assert.equal(await api.groups.redrive("g", {}), 1);
    assert.deepEqual(ids(await receive(api)).toSorted(), ["again", "b"]);
  });
}

function testList(test: Test): void {
  test("deadLetters() pages, oldest first", async ({ api, clock }) => {
    await prepareGroup(api, 5);
    const got = await receive(api);
    for (const at of [3, 0, 4, 2, 1]) {
      clock.advance(10);
      const receipt = got[at]?.receipt ?? "";
      await settle(api, { reject: [{ receipt }] });
    }
    const order = ["m3", "m0", "m4", "m2", "m1"];
    assert.deepEqual(await listDead(api), order);
    for (const limit of [1, 2, 4, 5]) {
      const pages: string[][] = [];
      let after: string | undefined;
      do {
        const page = await deadLetters(api, { limit, after });
        pages.push(deadIds(page.deadLetters));
        after = page.next;
      } while (after !== undefined);
      assert.deepEqual(pages.flat(), order);
      for (const page of pages.slice(0, -1)) assert.equal(page.length, limit);
      assert.equal(pages.length, Math.ceil(5 / limit), "the last page says that it is");
    }
  });

  test("deadLetters() lists those of one moment each once, over any number of queues", async ({
    api,
  }) => {
    await api.topics.put("orders", TOPIC);
    await api.groups.put("g", GROUP);
    const batch = names("m", 250).map((id) => message(id));
    await api.messages.publishBatch("orders", batch, { atomic: false });
    for (let i = 0; i < 3; i++) await rejectAll(api);
    const seen: string[] = [];
    let after: string | undefined;
    do {
      const page = await deadLetters(api, { limit: 7, after });
      seen.push(...deadIds(page.deadLetters));
      after = page.next;
    } while (after !== undefined);
    assert.equal(seen.length, 250);
    assert.equal(new Set(seen).size, 250);
  });

  test("a page of dead letters ends before maxBytes, but holds one", async ({ api }) => {
    await prepareGroup(api, 0);
    for (const id of names("m", 5)) {
      await api.messages.publish("orders", { id, body: new Uint8Array(1000) });
    }
    await rejectAll(api);
    const sizes: number[] = [];
    let after: string | undefined;
    do {
      const page = await deadLetters(api, { maxBytes: 2500, after });
      sizes.push(page.deadLetters.length);
      after = page.next;
    } while (after !== undefined);
    assert.deepEqual(sizes, [2, 2, 1]);
    assert.equal((await deadLetters(api, { maxBytes: 1 })).deadLetters.length, 1);
  });

  test("a page of dead letters goes on where the one before ended, whatever left since", async ({
    api,
    clock,
  }) => {
    await prepareGroup(api, 6);
    for (let i = 0; i < 6; i++) {
      const { receipt } = await receiveOne(api);
      await settle(api, { reject: [{ receipt }] });
      clock.advance(1);
    }
    const first = await deadLetters(api, { limit: 2 });
    await api.groups.purgeDeadLetters("g", { ids: ["m0", "m1", "m3"] });
    const rest = await deadLetters(api, { limit: 5, after: first.next });
    assert.deepEqual([deadIds(rest.deadLetters), rest.next], [["m2", "m4", "m5"], undefined]);
  });

  test("deadLetters() refuses a token it did not give", async ({ api }) => {
    await prepareGroup(api, 2);
    await rejectAll(api);
    for (const after of ["m0", "!", "no token"]) {
      await fails("invalid-cursor", deadLetters(api, { after }));
    }
  });

  test("the calls about dead letters fail for an unknown group", async ({ api }) => {
    await fails("group-not-found", deadLetters(api));
    await fails("group-not-found", api.groups.redrive("g", {}));
    await fails("group-not-found", api.groups.purgeDeadLetters("g", {}));
  });
}

function testPurge(test: Test): void {
  test("purgeDeadLetters() drops all, and nothing else happens", async ({ api, clock }) => {
    await prepareGroup(api, 5);
    await rejectAll(api);
    await publishEach(api, "orders", ["new"]);
    const before = await api.groups.lag("g");
    assert.equal(await api.groups.purgeDeadLetters("g", {}), 5);
    assert.deepEqual(await listDead(api), []);
    assert.deepEqual(await api.groups.lag("g"), before);
    assert.equal(await api.groups.purgeDeadLetters("g", {}), 0);
    assert.equal(await api.groups.redrive("g", {}), 0);
    clock.advance(1_000_000);
    assert.deepEqual(ids(await receive(api)), ["new"]);
    assert.deepEqual(decoded(await api.messages.get("orders", "m0")).id, "m0");
  });

  test("purgeDeadLetters() drops those it is told", async ({ api }) => {
    await prepareGroup(api, 4);
    await rejectAll(api);
    const purge = (ids: readonly string[]) => api.groups.purgeDeadLetters("g", { ids });
    assert.equal(await purge([]), 0);
    assert.equal(await purge(["nobody"]), 0);
    assert.equal(await purge(["m2", "nobody", "m0", "m0"]), 2);
    assert.deepEqual(await listDead(api), ["m1", "m3"]);
  });

  test("purgeDeadLetters() leaves those of other groups", async ({ api }) => {
    await prepareGroup(api, 2);
    await api.groups.put("other", GROUP);
    await rejectAll(api);
    const reject = receipts(await receive(api, { group: "other" })).map((receipt) => ({ receipt }));
    await settle(api, { reject }, "other");
    assert.equal(await api.groups.purgeDeadLetters("g", {}), 2);
    assert.deepEqual(await listDead(api, "other"), ["m0", "m1"]);
  });
}
