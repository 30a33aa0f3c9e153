/**
 * Retention in bytes, and what a node does about retention that the contract does
 * not tell: when it looks, what it costs.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Core } from "../../src/broker/core.ts";
import { Expiry } from "../../src/broker/expiry.ts";
import { BrokerFold } from "../../src/broker/fold.ts";
import { StoredBytes } from "../../src/broker/stored_bytes.ts";
import { newTopic } from "../../src/broker/topics.ts";
import type { Unit } from "../../storage/mod.ts";
import { message, names, publishEach, readAll, TOPIC, turn } from "../suites/broker_api_kit.ts";
import { openTestBroker, type TestBroker } from "../suites/open_broker.ts";

const HOUR_MS = 3_600_000;

async function pass({ clock }: TestBroker, ms: number): Promise<void> {
  clock.advance(ms);
  for (let turns = 0; turns < 30; turns++) await turn();
}

function unit(size: number, visibleLogOffset: number): Unit {
  const rest = { bodyLogOffset: visibleLogOffset, tagHash: 0, keyHash: 0, visibleAt: 0 };
  return { ...rest, size, visibleLogOffset };
}

describe("stored bytes", () => {
  it("a cut leaves the bound at least, and little more", () => {
    const sizes = fc.array(
      fc.record({ queueId: fc.nat(3), size: fc.integer({ min: 1, max: 500 }) }),
      { maxLength: 400 },
    );
    fc.assert(
      fc.property(sizes, fc.integer({ min: 100, max: 20_000 }), (messages, limit) => {
        const stored = new StoredBytes({ limit, firsts: [0, 0, 0, 0] });
        const units: { queueId: number; unit: Unit }[] = [];
        const offsets = [0, 0, 0, 0];
        for (const [i, { queueId, size }] of messages.entries()) {
          const one = unit(size, 1000 * (i + 1));
          units.push({ queueId, unit: one });
          stored.count(queueId, { firstOffset: offsets[queueId] as number, units: [one] });
          offsets[queueId] = (offsets[queueId] as number) + 1;
        }
        const all = messages.reduce((sum, { size }) => sum + size, 0);
        const cut = stored.cutFor(limit) ?? 0;
        const left = units
          .filter((one) => one.unit.visibleLogOffset >= cut)
          .reduce((sum, one) => sum + one.unit.size, 0);
        assert(left >= Math.min(all, limit), `${left} of ${all} is less than ${limit}`);
        const slack = 5 * (limit / 256 + 500);
        assert(left <= limit + slack, `${left} of ${all} is much more than ${limit}`);
      }),
    );
  });

  it("counts on behind what it has counted", () => {
    const stored = new StoredBytes({ limit: 1000, firsts: [7] });
    assert.equal(stored.counted(0), 7);
    stored.count(0, { firstOffset: 7, units: [unit(400, 1), unit(400, 2)] });
    assert.deepEqual([stored.counted(0), stored.total], [9, 800]);
    assert.equal(stored.cutFor(1000), undefined);
    stored.count(0, { firstOffset: 9, units: [unit(400, 3), unit(400, 4)] });
    assert.equal(stored.cutFor(1000), 2);
    assert.equal(stored.total, 1200);
  });
});

describe("retention in bytes", () => {
  it("keeps the newest, and the bound again after a restart", async () => {
    let broker = await openTestBroker({ segmentBytes: 4096 });
    const { api } = broker;
    await api.topics.put("orders", { ...TOPIC, retention: { timeMs: null, bytes: 8000 } });
    await publishEach(api, "orders", names("m", 100));
    await pass(broker, 20_000);
    const first = await readAll(api);
    assert(first.length < 100 && first.length > 40, `${first.length} are left`);
    broker = await broker.reopen();
    await pass(broker, 20_000);
    assert.deepEqual(
      (await readAll(broker.api)).map(({ cursor }) => cursor),
      first.map(({ cursor }) => cursor),
      "a restart removes nothing",
    );
    await publishEach(broker.api, "orders", names("n", 50));
    await pass(broker, 20_000);
    const second = await readAll(broker.api);
    assert(second.length <= first.length + 10, `${second.length} are left`);
    await broker.close();
  });

  it("a node keeps nothing longer than it is told, whatever the topic says", async () => {
    const broker = await openTestBroker({ retentionMaxMs: HOUR_MS });
    await broker.api.topics.put("orders", { ...TOPIC, retention: { timeMs: null, bytes: null } });
    await broker.api.messages.publish("orders", message("m"));
    await pass(broker, HOUR_MS);
    assert.equal((await readAll(broker.api)).length, 1);
    await pass(broker, 60_000);
    assert.deepEqual(await readAll(broker.api), []);
    await broker.close();
  });

  it("a topic that keeps everything is not scheduled, however much it gets", () => {
    const about = { name: "orders", generation: 1, createdAt: 0, version: 1 };
    const config = { ...TOPIC, retention: { timeMs: null, bytes: null } };
    const topic = newTopic({ ...about, config, definedAt: 1, describedAt: 1 });
    const core = { fold: new BrokerFold() } as unknown as Core;
    const ports = { now: () => 0, retentionMaxMs: Infinity };
    const expiry = new Expiry(core, ports as unknown as ConstructorParameters<typeof Expiry>[1]);
    for (let batches = 0; batches < 10; batches++) expiry.stored(topic);
    assert.equal(expiry.size, 0);
  });

  it("a topic that kept everything and is told not to loses what is too old", async () => {
    const broker = await openTestBroker({ retentionMaxMs: Infinity });
    await broker.api.topics.put("orders", { ...TOPIC, retention: { timeMs: null, bytes: null } });
    await broker.api.messages.publish("orders", message("m"));
    await pass(broker, 2 * HOUR_MS);
    await broker.api.topics.patch("orders", { retention: { timeMs: HOUR_MS, bytes: null } });
    await pass(broker, 60_000);
    assert.deepEqual(await readAll(broker.api), []);
    await broker.close();
  });

  it("topics that have nothing to remove cost no timer, and nothing is written", async () => {
    const broker = await openTestBroker();
    await broker.api.topics.put("orders", {
      ...TOPIC,
      retention: { timeMs: HOUR_MS, bytes: null },
    });
    await broker.api.messages.publish("orders", message("m"));
    for (let checkpoints = 0; checkpoints < 3; checkpoints++) await pass(broker, 2 * HOUR_MS);
    const { syncs } = broker.disk;
    for (let hours = 0; hours < 50; hours++) await pass(broker, HOUR_MS);
    assert.equal(broker.disk.syncs, syncs);
    await broker.close();
  });
});
