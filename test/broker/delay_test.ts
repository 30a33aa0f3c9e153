/**
 * Delayed messages of a real broker through what a suite cannot do to every
 * implementation: clocks that are set, downtime, stops between any two steps.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { decoded, ids, message, names, readAll, TOPIC, turn } from "../suites/broker_api_kit.ts";
import { openTestBroker, type TestBroker } from "../suites/open_broker.ts";

const HOUR = 3_600_000;
const PATIENCE = { timeout: 60_000 };

async function pass({ clock }: TestBroker, ms: number): Promise<void> {
  clock.advance(ms);
  for (let turns = 0; turns < 5; turns++) await turn();
}

async function schedule({ api }: TestBroker, delays: Record<string, number>): Promise<void> {
  for (const [id, delayMs] of Object.entries(delays)) {
    await api.messages.publish("orders", message(id, { delayMs }));
  }
}

const seen = async ({ api }: TestBroker) => ids(await readAll(api));

describe("a clock that is set", () => {
  it("forward makes nothing early", async () => {
    const broker = await openTestBroker();
    await schedule(broker, { a: 1000 });
    broker.clock.step(HOUR);
    await pass(broker, 999);
    assert.deepEqual(await seen(broker), []);
    assert.equal(broker.api.status().clockSkewMs, -HOUR);
    await pass(broker, 1);
    assert.deepEqual(await seen(broker), ["a"]);
    await broker.close();
  });

  it("back makes nothing late, and no time falls", async () => {
    const broker = await openTestBroker();
    await schedule(broker, { a: 1000 });
    broker.clock.step(-HOUR);
    await schedule(broker, { b: 1000 });
    await pass(broker, 1000);
    const [first, second] = await readAll(broker.api);
    assert(first && second && first.publishedAt <= second.publishedAt);
    assert.deepEqual(ids([first, second]), ["a", "b"]);
    await broker.close();
  });

  it("back before a start neither loses nor hurries what is scheduled", async () => {
    const broker = await openTestBroker();
    await schedule(broker, { a: 1000, b: 5000 });
    await pass(broker, 1000);
    await broker.close();
    broker.clock.step(-HOUR);
    const later = await broker.reopen(broker.disk);
    assert.equal(later.api.status().clockSkewMs, HOUR);
    await schedule(later, { c: 1 });
    await pass(later, 3999);
    assert.deepEqual(await seen(later), ["a", "c"]);
    await pass(later, 1);
    assert.deepEqual(await seen(later), ["a", "c", "b"]);
    await later.close();
  });

  it("back after timers passed without a record does not lose the next one", async () => {
    const broker = await openTestBroker();
    await schedule(broker, { gone: HOUR });
    await broker.api.messages.recall("orders", "gone");
    await pass(broker, HOUR); // passed, and nothing was written since
    await broker.close();
    const behind = new ManualClock(broker.clock.now() - HOUR / 2);
    const later = await openTestBroker({ disk: broker.disk, clock: behind });
    await schedule(later, { a: 1000 });
    await pass(later, 1000);
    assert.deepEqual(await seen(later), ["a"]);
    await later.close();
  });

  it("forward before a start is the time from then on", async () => {
    const broker = await openTestBroker();
    await schedule(broker, { a: HOUR });
    await broker.close();
    broker.clock.step(HOUR);
    const later = await broker.reopen(broker.disk);
    await pass(later, 0);
    assert.deepEqual(await seen(later), ["a"]);
    await later.close();
  });
});

describe("after a downtime", () => {
  it("what is late comes in due order, and publishes are not held up", PATIENCE, async () => {
    const broker = await openTestBroker({ segmentBytes: 1 << 20 });
    const { api, disk, clock } = broker;
    await api.topics.put("orders", { ...TOPIC, queues: 1 });
    await api.topics.put("bills", { ...TOPIC, queues: 1 });
    const count = 6000;
    const batch = Array.from({ length: count }, (_, i) =>
      message(`m${i}`, { delayMs: 1 + ((i * 7919) % 5000) }),
    );
    for (let from = 0; from < count; from += 1000) {
      await api.messages.publishBatch("orders", batch.slice(from, from + 1000), { atomic: false });
    }
    await broker.close();
    clock.advance(HOUR);

    const later = await broker.reopen(disk);
    // One turn of the disk at a time, there is always room for a publish between reveals.
    let [between, ends] = [0, 0];
    for (let i = 0; ends < count && i < 1000; i++) {
      await later.api.messages.publish("bills", message(`b${i}`));
      const end = (await later.api.topics.get("orders")).endOffsets[0] ?? 0;
      if (end > 0 && end < count) between++;
      ends = end;
    }
    assert.equal(ends, count);
    assert(between >= 2, `${between} publishes were answered meanwhile`);
    const due = (await readAll(later.api)).map((one) => decoded(one).deliverAt ?? 0);
    assert.equal(due.length, count);
    assert.deepEqual(
      due,
      due.toSorted((a, b) => a - b),
    );
    await later.close();
  });

  it("leaves the disk alone once it is closed", PATIENCE, async () => {
    const broker = await openTestBroker({ segmentBytes: 16 * 1024 });
    for (let from = 0; from < 3000; from += 500) {
      const batch = names(`m${from}-`, 500).map((id) => message(id, { delayMs: HOUR }));
      await broker.api.messages.publishBatch("orders", batch, { atomic: false });
    }
    await broker.close(); // with timer files that wait to be merged
    const left = broker.disk.names("timers");
    for (let turns = 0; turns < 50; turns++) await turn();
    assert.deepEqual(broker.disk.names("timers"), left);
  });

  it("a kill amid the late ones doubles and loses none", PATIENCE, async () => {
    let broker = await openTestBroker({ segmentBytes: 16 * 1024 });
    const count = 3000;
    const batch = names("m", count).map((id, i) => message(id, { delayMs: 1 + (i % 97) }));
    for (let from = 0; from < count; from += 1000) {
      await broker.api.messages.publishBatch("orders", batch.slice(from, from + 1000), {
        atomic: false,
      });
    }
    await broker.close();
    broker.clock.advance(HOUR);
    let { disk } = broker;
    for (let life = 0; life < 40; life++) {
      broker = await broker.reopen(disk);
      for (let left = 3 * life; left > 0; left--) await Promise.resolve();
      disk = life % 2 === 0 ? broker.disk.clone() : broker.disk.crash();
    }
    broker = await broker.reopen(disk);
    await pass(broker, 0);
    for (let turns = 0; (await seen(broker)).length < count; turns++) {
      assert(turns < 1000, "all come");
      await turn();
    }
    assert.deepEqual((await seen(broker)).toSorted(), names("m", count).toSorted());
    await broker.close();
  });
});

describe("an idle broker", () => {
  it("has one timer for any number of scheduled messages", async () => {
    class CountingClock extends ManualClock {
      timers = 0;
      override after(delayMs: number, run: () => void): () => void {
        this.timers++;
        return super.after(delayMs, run);
      }
    }
    const clock = new CountingClock();
    const broker = await openTestBroker({ clock });
    await schedule(broker, { far: HOUR });
    for (const id of names("m", 100)) await schedule(broker, { [id]: HOUR + 1 });
    await pass(broker, 10_000); // the checkpoint is written
    clock.timers = 0;
    await pass(broker, HOUR - 20_000);
    assert.equal(clock.timers, 1, "the next look at the disk's room"); // the clock moved once
    await broker.close();
  });
});
