/**
 * A broker on a disk that fills up: publishes are refused and nothing of them is
 * stored, all else goes on; and where nothing can be stored, whoever waits is told
 * the truth in time.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TidegateError } from "../../storage/base/errors.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import {
  decoded,
  GROUP,
  ids,
  message,
  names,
  publishEach,
  readAll,
  receipts,
  receive,
  rejectAll,
  settle,
  TOPIC,
  turn,
} from "../suites/broker_api_kit.ts";
import { openTestBroker, type TestBroker } from "../suites/open_broker.ts";

const MiB = 1024 * 1024;
const HEADROOM = { highPercent: 85, fullPercent: 95, ballastBytes: 0 };
const PATIENCE_MS = 5000;

async function opened(): Promise<TestBroker> {
  const broker = await openTestBroker({ disk: new MemoryDisk(), headroom: HEADROOM });
  await broker.api.topics.put("orders", { ...TOPIC, queues: 1 });
  await broker.api.groups.put("g", GROUP);
  await publishEach(broker.api, "orders", names("m", 6));
  return broker;
}

async function pass({ clock }: TestBroker, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 250) {
    clock.advance(Math.min(left, 250));
    await turn();
  }
}

/** From now on the file system is so full, in percent. */
async function fill(broker: TestBroker, percent: number): Promise<void> {
  broker.disk.capacity = (broker.disk.used * 100) / percent;
  await pass(broker, 1000);
}

async function makeRoom(broker: TestBroker): Promise<void> {
  broker.disk.capacity = 64 * MiB;
  await pass(broker, 1500);
}

function codeOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => "answered",
    (error: unknown) => (error instanceof TidegateError ? error.code : String(error)),
  );
}

const SMALL = new Uint8Array(1);

/** Every way to publish. */
const PUBLISHES: readonly [
  name: string,
  publish: (broker: TestBroker, body?: Uint8Array) => Promise<unknown>,
][] = [
  ["a message", ({ api }, body = SMALL) => api.messages.publish("orders", message("x", { body }))],
  [
    "to a topic not there yet",
    ({ api }, body = SMALL) => api.messages.publish("others", message("x", { body })),
  ],
  [
    "later",
    ({ api }, body = SMALL) =>
      api.messages.publish("orders", message("x", { body, delayMs: 1000 })),
  ],
  [
    "once",
    ({ api }, body = SMALL) =>
      api.messages.publish("orders", message("x", { body, idempotencyKey: "k" })),
  ],
  [
    "in a sequence",
    ({ api }, body = SMALL) =>
      api.messages.publish(
        "orders",
        message("x", { body, producer: { id: "p", epoch: 0, seq: 0 } }),
      ),
  ],
  [
    "a batch",
    ({ api }, body = SMALL) =>
      api.messages.publishBatch("orders", [message("x", { body })], { atomic: false }),
  ],
  [
    "a unit",
    ({ api }, body = SMALL) =>
      api.messages.publishBatch("orders", [message("x", { body })], { atomic: true }),
  ],
  [
    "in a transaction",
    ({ api }, body = SMALL) =>
      api.transactions.begin({
        producerGroup: "p",
        messages: [{ topic: "orders", message: message("x", { body }) }],
        checkUrl: undefined,
      }),
  ],
];

describe("a disk that is nearly full", () => {
  it("is a warning first", async () => {
    const broker = await opened();
    await fill(broker, 90);
    assert.equal(broker.api.status().disk, "high");
    await publishEach(broker.api, "orders", ["a"]);
    await broker.close();
  });

  for (const [name, publish] of PUBLISHES) {
    it(`takes no publish, ${name}, until there is room, and then without a restart`, async () => {
      const broker = await opened();
      await fill(broker, 96);
      assert.equal(broker.api.status().disk, "full");
      const { durableEnd } = broker.api.status();
      assert.equal(await codeOf(publish(broker)), "disk-full");
      assert.equal(broker.api.status().durableEnd, durableEnd, "something was stored");
      await makeRoom(broker);
      assert.equal(await codeOf(publish(broker)), "answered");
      await broker.close();
    });
  }

  it("lets consumers receive and settle, and topics be purged and deleted", async () => {
    const broker = await opened();
    const { api } = broker;
    await api.topics.put("others", TOPIC);
    await fill(broker, 96);
    const [first, second, ...others] = await receive(api, { max: 6 });
    assert(first && second && others.length === 4);
    const [acked, rejected] = await settle(api, {
      ack: [first.receipt],
      reject: [{ receipt: second.receipt }],
    });
    assert.deepEqual([acked, rejected], ["ok", "ok"]);
    await pass(broker, GROUP.leaseMs);
    assert.equal((await receive(api, { max: 6 })).length, 4);
    const { deadLetters } = await api.groups.deadLetters("g", { limit: 9, maxBytes: MiB });
    assert.equal(deadLetters.length, 1);
    assert.equal(await api.groups.redrive("g", { ids: undefined, toTopic: undefined }), 1);
    await api.topics.purge("orders");
    assert.deepEqual(await readAll(api), []);
    await api.topics.delete("others");
    await broker.close();
  });

  it("copies no dead letters to a topic", async () => {
    const broker = await opened();
    await rejectAll(broker.api);
    await fill(broker, 96);
    const redriven = broker.api.groups.redrive("g", { ids: undefined, toTopic: "orders" });
    assert.equal(await codeOf(redriven), "disk-full");
    await broker.close();
  });

  it("commits what was begun before", async () => {
    const broker = await opened();
    const begun = await broker.api.transactions.begin({
      producerGroup: "p",
      messages: [{ topic: "orders", message: message("half") }],
      checkUrl: undefined,
    });
    await fill(broker, 96);
    await broker.api.transactions.commit(begun.id);
    assert.equal(ids(await readAll(broker.api)).at(-1), "half");
    await broker.close();
  });
});

/** More than the room that the store can make by itself: what it prepared of the next segment. */
const LARGE = new Uint8Array(30_000);

/** Not a byte is left. */
async function stick(broker: TestBroker): Promise<void> {
  broker.disk.capacity = broker.disk.used;
}

describe("a disk without a byte left", () => {
  it("tells who published that nobody knows, in time, and stores it when there is room", async () => {
    const broker = await opened();
    await stick(broker);
    const asked = codeOf(broker.api.messages.publish("orders", message("late", { body: LARGE })));
    let answered = false;
    void asked.then(() => {
      answered = true;
    });
    await pass(broker, PATIENCE_MS - 500);
    assert.equal(broker.api.status().disk, "stuck");
    assert.equal(answered, false, "it is given up too early");
    await pass(broker, 1000);
    assert.equal(await asked, "outcome-unknown");
    assert.deepEqual(ids(await readAll(broker.api)), names("m", 6), "nobody sees it");
    await makeRoom(broker);
    assert.deepEqual(ids(await readAll(broker.api)), [...names("m", 6), "late"]);
    assert.equal(broker.api.status().disk, "ample");
    await broker.close();
  });

  for (const [name, publish] of PUBLISHES) {
    it(`tells the truth of ${name} that it holds`, async () => {
      const broker = await opened();
      await stick(broker);
      const { durableEnd } = broker.api.status();
      const asked = codeOf(publish(broker, LARGE));
      await pass(broker, PATIENCE_MS + 500);
      const results = await asked;
      assert.equal(results, "outcome-unknown");
      assert.equal(broker.api.status().durableEnd, durableEnd);
      await makeRoom(broker);
      assert(broker.api.status().durableEnd > durableEnd + LARGE.length, "it was not stored");
      await broker.close();
    });
  }

  it("refuses everything that would be stored, at once, and what is visible can be read", async () => {
    const broker = await opened();
    const { api } = broker;
    const held = await receive(api, { max: 1 });
    await stick(broker);
    const first = codeOf(api.messages.publish("orders", message("late", { body: LARGE })));
    await pass(broker, 500);
    const { durableEnd } = api.status();
    for (const [name, publish] of PUBLISHES) {
      assert.equal(await codeOf(publish(broker)), "disk-full", name);
    }
    assert.equal(await codeOf(receive(api)), "disk-full");
    assert.equal(await codeOf(settle(api, { ack: receipts(held) })), "disk-full");
    assert.equal(await codeOf(api.topics.purge("orders")), "disk-full");
    assert.equal(ids(await readAll(api)).length, 6);
    assert.equal(api.status().durableEnd, durableEnd);
    await pass(broker, PATIENCE_MS);
    assert.equal(await first, "outcome-unknown");
    await makeRoom(broker);
    const [result] = await settle(api, { ack: receipts(held) });
    assert.equal(result, "ok");
    assert.equal(ids(await readAll(api)).length, 7, "a refused one is there");
    await broker.close();
  });

  it("says of a decision that stored nothing that it stored nothing", async () => {
    const broker = await opened();
    const { api } = broker;
    await stick(broker);
    const publish = codeOf(api.messages.publish("orders", message("late", { body: LARGE })));
    // In the turn of the publish: it rests on what is not safe, and appends nothing.
    const looked = codeOf(api.topics.get("orders"));
    const missing = codeOf(api.messages.get("orders", "nothing"));
    await pass(broker, PATIENCE_MS + 500);
    assert.deepEqual(
      [await publish, await looked, await missing],
      ["outcome-unknown", "disk-full", "disk-full"],
    );
    await makeRoom(broker);
    await broker.close();
  });

  it("grants to those who waited, when there is room", async () => {
    const broker = await opened();
    const { api } = broker;
    await settle(api, { ack: receipts(await receive(api, { max: 9 })) });
    const waiting = receive(api, { waitMs: 60_000 });
    await turn();
    await stick(broker);
    const asked = codeOf(api.messages.publish("orders", message("late", { body: LARGE })));
    await pass(broker, PATIENCE_MS + 500);
    assert.equal(await asked, "outcome-unknown");
    await makeRoom(broker);
    assert.deepEqual(
      (await waiting).map((one) => decoded(one).id),
      ["late"],
    );
    await broker.close();
  });

  it("loses nothing that was answered when it is killed, and starts again with room", async () => {
    const broker = await opened();
    await stick(broker);
    const asked = codeOf(broker.api.messages.publish("orders", message("late", { body: LARGE })));
    await pass(broker, PATIENCE_MS + 500);
    assert.equal(await asked, "outcome-unknown");
    const left = broker.disk.crash();
    left.capacity = undefined;
    const again = await broker.reopen(left);
    assert.deepEqual(ids(await readAll(again.api)).slice(0, 6), names("m", 6));
    await again.close();
  });
});

describe("the ballast of a broker", () => {
  it("lets consumers go on when others take the rest of the disk", async () => {
    const headroom = { ...HEADROOM, ballastBytes: 64 * 1024 };
    const broker = await openTestBroker({ disk: new MemoryDisk(), headroom });
    const { api } = broker;
    await api.topics.put("orders", { ...TOPIC, queues: 1 });
    await api.groups.put("g", GROUP);
    broker.disk.capacity = 64 * MiB;
    const body = new Uint8Array(1000);
    for (const id of names("m", 80)) await api.messages.publish("orders", message(id, { body }));
    await pass(broker, 2000);
    assert(broker.disk.has("ballast"));
    broker.disk.capacity = broker.disk.used;
    await pass(broker, 1000);
    const lost: string[] = [];
    for (let left = 80; left > 0; left--) {
      const [one] = await receive(api, { max: 1 });
      assert(one);
      const [result] = await settle(api, { ack: [one.receipt] });
      if (result !== "ok") lost.push(decoded(one).id);
    }
    assert.deepEqual(lost, []);
    assert.equal(await codeOf(api.messages.publish("orders", message("x"))), "disk-full");
    await makeRoom(broker);
    assert.equal(await codeOf(api.messages.publish("orders", message("x"))), "answered");
    assert(broker.disk.has("ballast"), "it is not made again");
    await broker.close();
  });
});
