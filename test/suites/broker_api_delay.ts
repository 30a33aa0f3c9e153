/**
 * {@linkcode BrokerApi}, delayed messages: scheduled and out of sight until they
 * are due, in order of due time, recalled, found by id.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { BrokerApi, NewMessage, Scheduled, StoredMessage } from "../../src/broker/api.ts";
import { type ErrorCode, TidegateError } from "../../storage/base/errors.ts";
import {
  decoded,
  fails,
  GROUP,
  ids,
  isAnswered,
  message,
  names,
  type Opened,
  publishNow,
  read,
  readAll,
  receive,
  type Test,
  TOPIC,
  turn,
} from "./broker_api_kit.ts";

const DAY = 86_400_000;
const ONE_QUEUE = { ...TOPIC, queues: 1 };

async function schedule(api: BrokerApi, one: NewMessage, topic = "orders"): Promise<Scheduled> {
  const published = await api.messages.publish(topic, one);
  assert(published.state === "scheduled", "it is delayed");
  return published;
}

/** All that is visible, once `count` messages are: what is due takes a moment. */
async function visible({ api }: Opened, count: number): Promise<StoredMessage[]> {
  for (let turns = 0; ; turns++) {
    const all = await readAll(api);
    if (all.length >= count || turns === 100) {
      assert.equal(all.length, count);
      return all;
    }
    await turn();
  }
}

/** Time passes, and what is due then has had its moment. */
async function pass({ clock }: Opened, ms: number): Promise<void> {
  clock.advance(ms);
  for (let turns = 0; turns < 5; turns++) await turn();
}

export function testDelays(test: Test): void {
  testDue(test);
  testRecall(test);
  testIds(test);
  testRefusals(test);
}

function testDue(test: Test): void {
  test("a delayed message has no place until it is due, and then as any other", async (opened) => {
    const { api, clock } = opened;
    await api.topics.put("orders", ONE_QUEUE);
    const publishedAt = clock.now();
    const scheduled = await schedule(api, message("late", { delayMs: 1500, key: "k", tag: "t" }));
    const deliverAt = publishedAt + 1500;
    const told = { state: "scheduled", queueId: 0, deliverAt, publishedAt } as const;
    assert.deepEqual(scheduled, { id: "late", ...told });
    const { payload, ...shown } = await api.messages.get("orders", "late");
    assert.deepEqual(shown, { topic: "orders", ...told });
    assert.equal(decoded({ payload }).deliverAt, deliverAt);
    await publishNow(api, "orders", message("soon"));

    await pass(opened, 1499);
    assert.deepEqual(ids(await readAll(api)), ["soon"]);
    assert.equal((await api.messages.get("orders", "late")).state, "scheduled");
    assert.deepEqual((await api.topics.get("orders")).endOffsets, [1]);

    await pass(opened, 1);
    const [, late] = await visible(opened, 2);
    assert(late);
    assert.equal(late.queueOffset, 1);
    assert.equal(late.publishedAt, deliverAt);
    const { id, key, tag, deliverAt: said } = decoded(late);
    assert.deepEqual([id, key, tag, said], ["late", "k", "t", deliverAt]);
    assert.deepEqual(await api.messages.get("orders", "late"), late);
    assert.deepEqual((await api.topics.get("orders")).endOffsets, [2]);
  });

  test("a delayed message may have a time instead of a delay", async (opened) => {
    const { api, clock } = opened;
    const deliverAt = clock.now() + 70;
    assert.equal((await schedule(api, message("m", { deliverAt }))).deliverAt, deliverAt);
    await pass(opened, 69);
    assert.deepEqual(await readAll(api), []);
    await pass(opened, 1);
    await visible(opened, 1);
  });

  test("a delay of parts of a millisecond is never cut short", async (opened) => {
    const { api, clock } = opened;
    const { deliverAt } = await schedule(api, message("m", { delayMs: 10.001 }));
    assert.equal(deliverAt, clock.now() + 11);
  });

  test("a time in the past means now", async (opened) => {
    const { api, clock } = opened;
    await api.topics.put("orders", ONE_QUEUE);
    for (const [i, delay] of [
      { deliverAt: 0 },
      { deliverAt: clock.now() },
      { deliverAt: clock.now() - 1 },
      { delayMs: 0 },
    ].entries()) {
      const { queueOffset } = await publishNow(api, "orders", message(`m${i}`, delay));
      assert.equal(queueOffset, i);
      const stored = await api.messages.get("orders", `m${i}`);
      assert.deepEqual([stored.state, decoded(stored).deliverAt], [undefined, undefined]);
    }
  });

  test("delayed messages become visible in order of due time, then of call", async (opened) => {
    const { api } = opened;
    await api.topics.put("orders", ONE_QUEUE);
    const delays = [50, 20, 90, 20, 70, 10, 50, 20];
    for (const [i, delayMs] of delays.entries()) {
      await schedule(api, message(`${delayMs}-${i}`, { delayMs, key: `k${i % 2}` }));
    }
    const inOrder = ["10-5", "20-1", "20-3", "20-7", "50-0", "50-6", "70-4", "90-2"];
    await pass(opened, 60);
    assert.deepEqual(ids(await visible(opened, 6)), inOrder.slice(0, 6));
    await pass(opened, 60);
    const all = await visible(opened, 8);
    assert.deepEqual(ids(all), inOrder);
    assert.deepEqual(
      all.map(({ queueOffset }) => queueOffset),
      inOrder.map((_, i) => i),
    );
  });

  test("delayed messages that are late all at once keep their order", async (opened) => {
    const { api } = opened;
    await api.topics.put("orders", TOPIC);
    const count = 1200;
    const delay = (i: number) => 1 + ((i * 7919) % 1000);
    for (let from = 0; from < count; from += 400) {
      const batch = Array.from({ length: 400 }, (_, i) => {
        return message(`m${from + i}`, { delayMs: delay(from + i), key: `k${i % 20}` });
      });
      await api.messages.publishBatch("orders", batch, { atomic: from % 800 === 0 });
    }
    await pass(opened, 5000);
    const all = await visible(opened, count);
    const byKey = Map.groupBy(all, (one) => decoded(one).key);
    for (const messages of byKey.values()) {
      const due = messages.map((one) => decoded(one).deliverAt ?? 0);
      assert.deepEqual(
        due,
        due.toSorted((a, b) => a - b),
      );
    }
  });

  test("a delayed message stays in its queue when the topic grows", async (opened) => {
    const { api } = opened;
    await api.topics.put("orders", { ...TOPIC, queues: 2 });
    const told = new Map<string, number>();
    for (const id of names("m", 12)) {
      told.set(id, (await schedule(api, message(id, { delayMs: 10, key: id }))).queueId);
    }
    await api.topics.patch("orders", { queues: 7 });
    await pass(opened, 10);
    for (const one of await visible(opened, 12)) {
      assert.equal(one.queueId, told.get(decoded(one).id));
    }
  });

  test("delayed messages of a topic that was deleted come in no other", async (opened) => {
    const { api } = opened;
    await schedule(api, message("m", { delayMs: 10 }));
    await schedule(api, message("other", { delayMs: 10 }), "bills");
    await api.topics.delete("orders");
    await fails("topic-not-found", api.messages.get("orders", "m"));
    await api.topics.put("orders", TOPIC);
    await fails("message-not-found", api.messages.get("orders", "m"));
    await pass(opened, 20);
    await publishNow(api, "orders", message("new"));
    assert.deepEqual(ids(await readAll(api)), ["new"]);
    assert.deepEqual(ids(await readAll(api, { topic: "bills" })), ["other"]);
  });

  test("a delayed message is delivered to groups once, when it is due", async (opened) => {
    const { api } = opened;
    await schedule(api, message("m", { delayMs: 100 }));
    await api.groups.put("g", { ...GROUP, startFrom: "latest" });
    assert.deepEqual(await receive(api), []);
    await pass(opened, 100);
    await visible(opened, 1);
    assert.deepEqual(ids(await receive(api)), ["m"]);
    assert.deepEqual(await receive(api), []);
  });

  test("read() that waits is answered when a delayed message is due", async (opened) => {
    const { api } = opened;
    await schedule(api, message("m", { delayMs: 100 }));
    const waiting = read(api, { waitMs: 60_000 });
    await pass(opened, 99);
    assert(!(await isAnswered(waiting)));
    await pass(opened, 1);
    assert.deepEqual(ids((await waiting).messages), ["m"]);
  });

  test("receive() that waits is answered when a delayed message is due", async (opened) => {
    const { api } = opened;
    await schedule(api, message("m", { delayMs: 100 }));
    await api.groups.put("g", GROUP);
    const waiting = receive(api, { waitMs: 60_000 });
    await pass(opened, 99);
    assert(!(await isAnswered(waiting)));
    await pass(opened, 1);
    assert.deepEqual(ids(await waiting), ["m"]);
  });

  test("publishBatch() takes messages with and without delay", async (opened) => {
    const { api } = opened;
    await api.topics.put("orders", ONE_QUEUE);
    for (const atomic of [false, true]) {
      const name = atomic ? "b" : "a";
      const batch = [
        message(`${name}0`),
        message(`${name}1`, { delayMs: 30 }),
        message(`${name}2`),
        message(`${name}3`, { delayMs: 20 }),
      ];
      const results = await api.messages.publishBatch("orders", batch, { atomic });
      assert.deepEqual(
        results.map((one) => !(one instanceof TidegateError) && one.state),
        [undefined, "scheduled", undefined, "scheduled"],
      );
    }
    assert.deepEqual(ids(await readAll(api)), ["a0", "a2", "b0", "b2"]);
    await pass(opened, 30);
    const all = ids(await visible(opened, 8));
    assert.deepEqual(all.slice(4), ["a3", "b3", "a1", "b1"]);
  });
}

function testRecall(test: Test): void {
  test("recall() takes a scheduled message back for good", async (opened) => {
    const { api } = opened;
    for (const id of ["a", "b", "c"]) await schedule(api, message(id, { delayMs: 50 }));
    await api.messages.recall("orders", "b");
    await fails("message-not-found", api.messages.get("orders", "b"));
    await fails("message-not-found", api.messages.recall("orders", "b"));
    await pass(opened, 50);
    assert.deepEqual(ids(await visible(opened, 2)).toSorted(), ["a", "c"]);
    await pass(opened, DAY);
    await visible(opened, 2);
    await fails("message-not-found", api.messages.get("orders", "b"));
    await fails("message-not-found", api.messages.recall("orders", "b"));
  });

  test("recall() refuses what was delivered, and what never was there", async (opened) => {
    const { api } = opened;
    await publishNow(api, "orders", message("now"));
    await schedule(api, message("due", { delayMs: 5 }));
    await pass(opened, 5);
    await visible(opened, 2);
    await fails("already-delivered", api.messages.recall("orders", "now"));
    await fails("already-delivered", api.messages.recall("orders", "due"));
    await fails("message-not-found", api.messages.recall("orders", "none"));
    await fails("topic-not-found", api.messages.recall("bills", "due"));
    assert.equal((await readAll(api)).length, 2);
  });

  test("recall() of one id at once from two sides succeeds once", async (opened) => {
    const { api } = opened;
    await schedule(api, message("m", { delayMs: 50 }));
    const outcomes = await Promise.allSettled([
      api.messages.recall("orders", "m"),
      api.messages.recall("orders", "m"),
    ]);
    assert.deepEqual(outcomes.map(({ status }) => status).toSorted(), ["fulfilled", "rejected"]);
  });

  test("recall() finds the scheduled one before an older one that is visible", async (opened) => {
    const { api } = opened;
    await publishNow(api, "orders", message("m"));
    await schedule(api, message("m", { delayMs: 50 }));
    assert.equal((await api.messages.get("orders", "m")).state, "scheduled");
    await api.messages.recall("orders", "m");
    assert.equal((await api.messages.get("orders", "m")).state, undefined);
    await fails("already-delivered", api.messages.recall("orders", "m"));
    await pass(opened, 50);
    assert.deepEqual(ids(await readAll(api)), ["m"]);
  });
}

function testIds(test: Test): void {
  test("the id of a scheduled message is taken in its topic, until it is due", async (opened) => {
    const { api } = opened;
    await schedule(api, message("m", { delayMs: 50 }));
    await fails("id-in-use", api.messages.publish("orders", message("m")));
    await fails("id-in-use", api.messages.publish("orders", message("m", { delayMs: 9 })));
    await publishNow(api, "bills", message("m"));
    await pass(opened, 50);
    await visible(opened, 1);
    await schedule(api, message("m", { delayMs: 50 }));
    await pass(opened, 50);
    await visible(opened, 2);
  });

  test("the id of a recalled message is free", async (opened) => {
    const { api } = opened;
    await schedule(api, message("m", { delayMs: 50 }));
    await api.messages.recall("orders", "m");
    await publishNow(api, "orders", message("m"));
    await pass(opened, 50);
    assert.deepEqual(ids(await readAll(api)), ["m"]);
  });

  test("publishBatch() gives an id of a scheduled message to no other", async (opened) => {
    const { api } = opened;
    await api.topics.put("orders", ONE_QUEUE);
    await schedule(api, message("m", { delayMs: 50 }));
    const batch = [
      message("a"),
      message("m"),
      message("b", { delayMs: 10 }),
      message("b", { delayMs: 10 }),
      message("a"),
    ];
    const results = await api.messages.publishBatch("orders", batch, { atomic: false });
    assert.deepEqual(
      results.map((one) => (one instanceof TidegateError ? one.code : (one.state ?? "stored"))),
      ["stored", "id-in-use", "scheduled", "id-in-use", "stored"],
    );
    await pass(opened, 60);
    assert.deepEqual(ids(await visible(opened, 4)), ["a", "a", "b", "m"]);
  });

  test("publishBatch() stores nothing of an atomic batch with a taken id", async (opened) => {
    const { api } = opened;
    await api.topics.put("orders", TOPIC);
    await schedule(api, message("m", { delayMs: 50 }));
    for (const batch of [
      [message("a"), message("m")],
      [message("b", { delayMs: 10 }), message("b")],
    ]) {
      await fails("id-in-use", api.messages.publishBatch("orders", batch, { atomic: true }));
    }
    await pass(opened, 60);
    assert.deepEqual(ids(await visible(opened, 1)), ["m"]);
  });

  test("publish() keeps the order of calls whether or not an id has to be looked for", async (opened) => {
    const { api } = opened;
    await api.topics.put("orders", ONE_QUEUE);
    await schedule(api, message("taken", { delayMs: DAY }));
    const calls = names("m", 20).flatMap((id, i) => [
      api.messages.publish("orders", message(id)),
      ...(i % 4 === 0
        ? [fails("id-in-use", api.messages.publish("orders", message("taken")))]
        : []),
    ]);
    await Promise.all(calls);
    assert.deepEqual(ids(await readAll(api)), names("m", 20));
  });
}

function testRefusals(test: Test): void {
  test("a delay beyond the longest is refused with the limit", async (opened) => {
    const { api, clock } = opened;
    for (const delay of [
      { delayMs: 40 * DAY + 1 },
      { deliverAt: clock.now() + 40 * DAY + 1 },
      { delayMs: Number.MAX_VALUE },
    ]) {
      const error = await fails(
        "delay-too-long",
        api.messages.publish("orders", message("m", delay)),
      );
      assert.equal(error.details["limitMs"], 40 * DAY);
    }
    await schedule(api, message("longest", { delayMs: 40 * DAY }));
    const batch = [message("a"), message("b", { delayMs: 41 * DAY })];
    await fails("delay-too-long", api.messages.publishBatch("orders", batch, { atomic: true }));
    const [stored, refused] = await api.messages.publishBatch("orders", batch, { atomic: false });
    assert(!(stored instanceof TidegateError) && refused instanceof TidegateError);
    assert.equal(refused.code, "delay-too-long");
  });

  test("a topic's type says whether messages have a delay", async (opened) => {
    const { api, clock } = opened;
    const late = { delayMs: 10 };
    const cases: [type: "delay" | "normal" | "fifo", one: NewMessage, code?: ErrorCode][] = [
      ["delay", message("m", late)],
      ["delay", message("k", { ...late, key: "k" })],
      ["delay", message("past", { deliverAt: clock.now() - 1 })],
      ["delay", message("none"), "message-type-mismatch"],
      ["normal", message("m")],
      ["normal", message("late", late), "message-type-mismatch"],
      ["normal", message("past", { deliverAt: 1 }), "message-type-mismatch"],
      ["fifo", message("m", { key: "k" })],
      ["fifo", message("late", { ...late, key: "k" }), "message-type-mismatch"],
    ];
    for (const [messageType, one, code] of cases) {
      await api.topics.put(messageType, { ...TOPIC, messageType });
      const published = api.messages.publish(messageType, one);
      if (code) await fails(code, published);
      else await published;
    }
  });
}
