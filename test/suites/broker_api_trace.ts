/**
 * {@linkcode BrokerApi}, traces: what happened to a message, as the log tells.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { BrokerApi, Trace, TraceEvent } from "../../src/broker/api.ts";
import {
  deadLetters,
  fails,
  GROUP,
  message,
  names,
  type Opened,
  prepareGroup,
  publishEach,
  receipts,
  receive,
  receiveOne,
  settle,
  type Test,
  turn,
} from "./broker_api_kit.ts";

/** What the fake broker keeps no trace of. */
export const RECORDED = "trace() tells";

async function trace(api: BrokerApi, id: string, limit = 100): Promise<Trace> {
  let whole: Trace | undefined;
  for (let after: string | undefined; ; ) {
    const page: Trace = await api.messages.trace({ topic: "orders", id, limit, after });
    assert(page.events.length <= limit);
    whole = { ...page, events: [...(whole?.events ?? []), ...page.events] };
    if (page.next === undefined) return whole;
    after = page.next;
  }
}

/** In words: `delivered g 1`. */
function words({ event, group, attempt, attempts, cause }: TraceEvent): string {
  return [event, group, attempt ?? attempts, cause].filter((one) => one !== undefined).join(" ");
}

async function story(api: BrokerApi, id: string, limit = 100): Promise<string[]> {
  return (await trace(api, id, limit)).events.map(words);
}

async function pass({ clock }: Pick<Opened, "clock">, ms: number): Promise<void> {
  clock.advance(ms);
  for (let turns = 0; turns < 5; turns++) await turn();
}

export function testTraces(test: Test): void {
  test("trace() begins with the publish", async ({ api, clock }) => {
    const at = clock.now();
    const { queueId, queueOffset } = (await api.messages.publish("orders", message("a"))) as {
      queueId: number;
      queueOffset: number;
    };
    const { since, events, ...told } = await trace(api, "a");
    assert.deepEqual([told.topic, told.id], ["orders", "a"]);
    assert.deepEqual([told.queueId, told.queueOffset], [queueId, queueOffset]);
    assert(since <= at);
    assert.deepEqual(events.map(words), ["published"]);
    assert.equal(events[0]?.queueOffset, queueOffset);
    assert(Math.abs((events[0]?.at ?? 0) - at) < 1000);
  });

  test("trace() of a delayed message, before and after it is due, page by page", async (opened) => {
    const { api, clock } = opened;
    const deliverAt = clock.now() + 60_000;
    await api.messages.publish("orders", message("a", { deliverAt }));
    const before = await trace(api, "a");
    assert.deepEqual(before.events.map(words), ["scheduled"]);
    assert.equal(before.events[0]?.deliverAt, deliverAt);
    assert.equal(before.queueOffset, undefined);
    await pass(opened, 60_000);
    const after = await trace(api, "a", 1);
    assert.deepEqual(after.events.map(words), ["scheduled", "revealed"]);
    assert.equal(after.queueOffset, 0);
    assert.equal(after.events[1]?.queueOffset, 0);
  });

  test("trace() takes only a token of its own", async (opened) => {
    const { api } = opened;
    const wish = { topic: "orders", id: "a", limit: 1 };
    await fails("topic-not-found", api.messages.trace(wish));
    await api.messages.publish("orders", message("a", { deliverAt: opened.clock.now() + 1000 }));
    await fails("message-not-found", api.messages.trace({ ...wish, id: "b" }));
    await pass(opened, 1000);
    const { next } = await api.messages.trace(wish);
    assert(next !== undefined);
    for (const after of ["nonsense", "", `${next}!`]) {
      await fails("invalid-cursor", api.messages.trace({ ...wish, after }));
    }
    await api.topics.delete("orders");
    await api.messages.publish("orders", message("a"));
    await fails("cursor-generation", api.messages.trace({ ...wish, after: next }));
  });

  test("trace() tells deliveries and how they went, of this message alone", async (opened) => {
    const { api, clock } = opened;
    await prepareGroup(api, 0);
    await api.groups.put("h", GROUP);
    await publishEach(api, "orders", names("m", 3));
    const [, second] = await receive(api, { consumerId: "worker-1" });
    assert(second);
    await settle(api, { extend: [{ receipt: second.receipt, leaseMs: 60_000 }] });
    await settle(api, { release: [{ receipt: second.receipt, delayMs: 0 }] });
    const again = await receiveOne(api);
    await settle(api, { ack: [again.receipt] });
    await receive(api, { group: "h" });
    clock.advance(30_000);
    await settle(api, { ack: receipts(await receive(api, { group: "h" })) }, "h");
    const { events } = await trace(api, "m1");
    assert.deepEqual(events.map(words), [
      "published",
      "delivered g 1",
      "extended g",
      "released g",
      "delivered g 2",
      "acked g",
      "delivered h 1",
      "delivered h 2",
      "acked h",
    ]);
    const [, delivered, extended, released] = events;
    assert.equal(delivered?.consumerId, "worker-1");
    assert.equal(delivered?.leaseUntil, second.leaseUntil);
    assert.equal((extended?.leaseUntil ?? 0) - (extended?.at ?? 0), 60_000);
    assert(released?.readyAt !== undefined);
    assert.equal(events[4]?.consumerId, undefined);
    for (const limit of [1, 2, 5]) {
      assert.deepEqual(await story(api, "m1", limit), events.map(words), `pages of ${limit}`);
    }
  });

  test("trace() tells of a token of another message that it is none", async ({ api }) => {
    await prepareGroup(api, 2);
    await receive(api);
    const wish = { topic: "orders", limit: 1 };
    const { next } = await api.messages.trace({ ...wish, id: "m0" });
    await fails("invalid-cursor", api.messages.trace({ ...wish, id: "m1", after: next }));
  });

  test("trace() tells of dead letters, redrives and purges", async ({ api, clock }) => {
    await prepareGroup(api, 2, { maxAttempts: 2 });
    const [first] = await receive(api, { max: 1 });
    assert(first);
    await settle(api, { reject: [{ receipt: first.receipt, reason: "no address" }] });
    await api.groups.redrive("g", {});
    for (let attempt = 0; attempt < 2; attempt++) {
      await receive(api);
      clock.advance(30_000);
    }
    assert.equal((await deadLetters(api)).deadLetters.length, 2);
    await api.groups.purgeDeadLetters("g", { ids: ["m0"] });
    assert.deepEqual(await story(api, "m0"), [
      "published",
      "delivered g 1",
      "deadLettered g 1 rejected",
      "redriven g",
      "delivered g 1",
      "delivered g 2",
      "deadLettered g 2 attempts",
      "dropped g",
    ]);
    const { events } = await trace(api, "m0");
    assert.deepEqual([events[2]?.reason, events[6]?.reason], ["no address", undefined]);
    assert.deepEqual(await story(api, "m1"), [
      "published",
      "delivered g 1",
      "delivered g 2",
      "deadLettered g 2 attempts",
    ]);
  });

  test("trace() tells of seeks; a group that is gone has no name", async ({ api }) => {
    await prepareGroup(api, 2);
    await receive(api);
    await api.groups.seek("g", { topic: "orders", to: { kind: "earliest" } });
    await receive(api);
    await api.groups.delete("g");
    const { events } = await trace(api, "m1");
    assert.deepEqual(events.map(words), ["published", "delivered 1", "sought", "delivered 1"]);
    assert.equal(events[2]?.position, 0);
  });

  test("trace() tells of a recall", async (opened) => {
    const { api, clock } = opened;
    await api.messages.publish("orders", message("a", { deliverAt: clock.now() + 60_000 }));
    await api.messages.recall("orders", "a");
    await pass(opened, 60_000);
    assert.deepEqual(await story(api, "a"), ["scheduled", "recalled"]);
  });

  test("trace() tells of a transaction: checks, decision, and what came of it", async (opened) => {
    const { api } = opened;
    const begin = async (id: string) => {
      const messages = [{ topic: "orders", message: message(id) }];
      const wish = { producerGroup: "pay", messages, firstCheckMs: 1000 };
      return (await api.transactions.begin(wish)).id;
    };
    await prepareGroup(api, 0);
    await api.messages.publish("others", message("first")); // or the log might begin later by then
    const [kept, dropped] = [await begin("kept"), await begin("dropped")];
    assert.deepEqual(await story(api, "kept"), ["prepared"]);
    await pass(opened, 1000);
    const asked = { max: 10, waitMs: 0 };
    assert.equal((await api.transactions.receiveChecks("pay", asked)).length, 2);
    await api.transactions.commit(kept);
    await api.transactions.rollback(dropped);
    await receive(api);
    const { events, queueOffset } = await trace(api, "kept");
    assert.equal(queueOffset, 0);
    assert.deepEqual(events.map(words), [
      "prepared",
      "checked",
      "committed",
      "revealed",
      "delivered g 1",
    ]);
    const [prepared, checked, committed] = events;
    assert.deepEqual([prepared?.producerGroup, prepared?.transactionId], ["pay", kept]);
    assert.equal(checked?.checkNumber, 1);
    assert(committed?.by !== undefined);
    assert.deepEqual(await story(api, "dropped"), ["prepared", "checked", "rolledBack"]);
    assert.deepEqual(await story(api, "dropped", 1), ["prepared", "checked", "rolledBack"]);
  });
}
