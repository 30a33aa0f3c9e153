/**
 * The scout at length: a filter that wants one message in a hundred thousand
 * gets on, keeps what it has seen through a kill, and lets others work.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  GROUP,
  ids,
  lagOf,
  message,
  names,
  receive,
  settle,
  receipts,
  TOPIC,
  turn,
} from "../suites/broker_api_kit.ts";
import type { GroupConfig } from "../../src/broker/api.ts";
import { openTestBroker, type TestBroker } from "../suites/open_broker.ts";

const COUNT = 100_000;
const SEGMENT = 8 << 20;

/** One message in `COUNT` is wanted, the last. */
async function prepare(mode: GroupConfig["mode"] = "concurrent"): Promise<TestBroker> {
  const broker = await openTestBroker({ segmentBytes: SEGMENT });
  const { topics, groups, messages } = broker.api;
  await topics.put("orders", { ...TOPIC, queues: 1 });
  const subscriptions = [{ topic: "orders", filter: { sql: "TAGS = 'rare' AND n = 7" } }];
  await groups.put("g", { ...GROUP, mode, subscriptions });
  for (let sent = 0; sent < COUNT; sent += 1000) {
    const batch = names(`m${sent}-`, 1000).map((id) => message(id, { tag: "rare" }));
    await messages.publishBatch("orders", batch, { atomic: true });
  }
  const wanted = message("wanted", { tag: "rare", properties: [["n", "7"]] });
  await messages.publish("orders", wanted);
  return broker;
}

describe("a group that wants one message in a hundred thousand", () => {
  it("gets on with every receive, through a kill, and never starts over", async () => {
    let broker = await prepare();
    let calls = 0;
    let passed = 0;
    for (let found: string[] = []; found.length === 0; calls++) {
      const got = await receive(broker.api);
      found = ids(got);
      const { committedOffset } = await lagOf(broker.api);
      if (found.length > 0) {
        assert.deepEqual(found, ["wanted"]);
        assert.deepEqual(await settle(broker.api, { ack: receipts(got) }), ["ok"]);
        break;
      }
      assert(committedOffset >= passed + 20_000, "a receive looks at 20,000 messages");
      passed = committedOffset;
      broker = await broker.reopen();
      const { committedOffset: kept } = await lagOf(broker.api);
      assert.equal(kept, passed, "what was passed over is not looked at again");
    }
    assert(calls < COUNT / 20_000 + 1);
    assert.equal((await lagOf(broker.api)).committedOffset, COUNT + 1);
    await broker.close();
  });

  it("answers a receive that waits, and others meanwhile", async () => {
    const broker = await prepare();
    const waiting = receive(broker.api, { waitMs: 60_000 });
    let answered = 0;
    const done = waiting.then(() => true);
    while (!(await Promise.race([done, broker.api.topics.get("orders").then(() => false)]))) {
      answered++;
    }
    assert.deepEqual(ids(await waiting), ["wanted"]);
    assert(answered > 50, "the scout pauses between its chunks");
    await broker.close();
  });

  for (const mode of ["concurrent", "ordered"] as const) {
    it(`is looked at further by every peek, and passes nothing over: ${mode}`, async () => {
      const broker = await prepare(mode);
      const { api, clock } = broker;
      let peeks = 0;
      for (let found: string[] = []; found.length === 0; peeks++) {
        found = ids(await peek(broker));
        clock.advance(10_000);
        assert.equal((await lagOf(api)).committedOffset, 0);
      }
      assert.equal(peeks, Math.ceil((COUNT + 1) / 20_000), "a peek looks at 20,000 messages");
      const got = await receive(api);
      assert.deepEqual(ids(got), ["wanted"]);
      await settle(api, { ack: receipts(got) });
      const next = message("next", { tag: "rare", properties: [["n", "7"]] });
      await api.messages.publish("orders", next);
      assert.deepEqual(ids(await receive(api)), ["next"], "the window is open");
      assert.equal((await lagOf(api)).committedOffset, COUNT + 1);
      await broker.close();
    });
  }
});

describe("a peek while a receive waits", () => {
  it("looks for that receive, too, whenever it comes: what is passed over is logged", async () => {
    for (let steps = 0; steps < 60; steps++) {
      const broker = await openTestBroker();
      const { api, clock } = broker;
      await api.topics.put("orders", { ...TOPIC, queues: 1 });
      const subscriptions = [{ topic: "orders", filter: { tag: "wanted" } }];
      await api.groups.put("g", { ...GROUP, subscriptions });
      const batch = names("m", 150).map((id) => message(id, { tag: "other" }));
      await api.messages.publishBatch("orders", batch, { atomic: true });
      const peeked = peek(broker);
      for (let step = 0; step < steps; step++) await Promise.resolve();
      const waiting = receive(api, { waitMs: 60_000 });
      assert.deepEqual(await peeked, []);
      await turn();
      const { committedOffset } = await lagOf(api);
      assert.equal(committedOffset, batch.length, `a receive ${steps} steps after the peek`);
      clock.advance(60_000);
      assert.deepEqual(await waiting, []);
      await broker.close();
    }
  });
});

function peek({ api }: TestBroker) {
  return api.groups.peek("g", { limit: 10, maxBytes: 1 << 20 });
}
