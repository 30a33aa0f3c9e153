/**
 * A broker group's share of a cluster: definitions it takes over, queues that are its
 * own, and what gateways ask beside the contract.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DefinitionCopy } from "../../src/broker/api.ts";
import { decodeCursor } from "../../src/broker/cursor.ts";
import { UNIT_BYTES_MAX, unitFault } from "../../src/broker/placing.ts";
import { decodeReceipt } from "../../src/broker/receipt.ts";
import { homeOf } from "../../src/broker/transaction_id.ts";
import { FRAME_HEADER_SIZE, UNIT_SIZE_MAX } from "../../storage/mod.ts";
import {
  fails,
  GROUP,
  ids,
  message,
  names,
  publishEach,
  publishNow,
  read,
  readAll,
  receipts,
  receive,
  receiveOne,
  settle,
  TOPIC,
  turn,
} from "../suites/broker_api_kit.ts";
import { openTestBroker, type TestBroker } from "../suites/open_broker.ts";

const NUMBER = 7;

function open(): Promise<TestBroker> {
  return openTestBroker({ brokerGroup: NUMBER, autoCreate: false });
}

function copy(kind: DefinitionCopy["kind"], more: Partial<DefinitionCopy> = {}): DefinitionCopy {
  const name = kind === "topic" ? "orders" : "g";
  const config = kind === "topic" ? TOPIC : { ...GROUP, paused: false };
  return { kind, name, generation: 10, version: 1, createdAt: 5, config, ...more };
}

/** Every third queue, from the second on. */
const SHARED = { ...TOPIC, queues: 8, share: { of: 3, index: 1 } };

describe("definitions from the coordinator", () => {
  it("are taken over with their generation, once, and survive a start", async () => {
    const broker = await open();
    await broker.api.share.define([copy("topic"), copy("group"), copy("group")]);
    const end = broker.api.status().confirmOffset;
    await broker.api.share.define([copy("topic"), copy("group")]);
    assert.equal(broker.api.status().confirmOffset, end, "what is known is not written again");
    const again = await broker.reopen();
    assert.equal((await again.api.topics.get("orders")).generation, 10);
    assert.equal((await again.api.groups.get("g")).createdAt, 5);
    await again.close();
    await broker.close();
  });

  it("change with a later version, never back", async () => {
    const broker = await open();
    const { share, topics } = broker.api;
    await share.define([copy("topic", { version: 3, config: { ...TOPIC, description: "new" } })]);
    await share.define([copy("topic", { version: 2, config: { ...TOPIC, description: "old" } })]);
    assert.equal((await topics.get("orders")).description, "new");
    await share.define([copy("topic", { version: 4, config: { ...TOPIC, queues: 9 } })]);
    assert.equal((await topics.get("orders")).queues, 9);
    await broker.close();
  });

  it("of a later generation end what there was; of an earlier one they say nothing", async () => {
    const broker = await open();
    const { share, topics } = broker.api;
    await share.define([copy("topic"), copy("group")]);
    await publishEach(broker.api, "orders", ["a"]);
    const held = await receiveOne(broker.api);
    await share.define([copy("topic", { generation: 11 })]);
    assert.deepEqual(ids(await readAll(broker.api)), []);
    assert.deepEqual(await settle(broker.api, { ack: [held.receipt] }), ["lost"]);
    await share.define([copy("topic"), copy("topic", { config: undefined })]);
    assert.equal((await topics.get("orders")).generation, 11);
    await share.define([copy("topic", { generation: 11, config: undefined })]);
    await fails("topic-not-found", topics.get("orders"));
    await share.define([copy("group", { config: undefined })]);
    await fails("group-not-found", broker.api.groups.get("g"));
    await broker.close();
  });

  it("of a topic that is gone wake who reads it, and roll back what waits for a decision", async () => {
    const broker = await open();
    const { share, transactions } = broker.api;
    await share.define([copy("topic")]);
    const half = { topic: "orders", message: message("half") };
    const { id } = await transactions.begin({ producerGroup: "pay", messages: [half] });
    assert.equal(await share.undecidedIn("orders"), 1);
    assert.equal(await share.undecidedIn("bills"), 0);
    const waits = read(broker.api, { waitMs: 60_000 });
    await turn();
    await share.define([copy("topic", { config: undefined })]);
    await fails("topic-not-found", waits);
    assert.equal((await transactions.get(id)).state, "rolledBack");
    await broker.close();
  });
});

describe("a share of a topic", () => {
  it("is filled in turn, and takes nothing of other queues", async () => {
    const broker = await open();
    const { api } = broker;
    await api.share.define([copy("topic", { config: SHARED })]);
    const queues = [];
    for (const id of names("m", 6))
      queues.push((await publishNow(api, "orders", message(id))).queueId);
    assert.deepEqual(queues, [1, 4, 7, 1, 4, 7]);
    const all = names("k", 40).map((key) => message(key, { key }));
    const results = await api.messages.publishBatch("orders", all, { atomic: false });
    for (const one of results) {
      if ("code" in one)
        assert.deepEqual([one.code, one.details["misplaced"]], ["unavailable", true]);
      else assert.equal(one.queueId % 3, 1);
    }
    const refused = results.findIndex((one) => "code" in one);
    const stray = all[refused] ?? assert.fail("some are of other queues");
    await fails("unavailable", api.messages.publish("orders", stray));
    await fails(
      "unavailable",
      api.messages.publishBatch("orders", [message("x"), stray], { atomic: true }),
    );
    const half = { topic: "orders", message: stray };
    await fails("unavailable", api.transactions.begin({ producerGroup: "p", messages: [half] }));
    const stored = results.filter((one) => !("code" in one)).length;
    assert.equal((await readAll(api)).length, 6 + stored, "nothing of what was refused is there");
    assert.deepEqual(Object.keys(await api.topics.get("orders")).includes("share"), false);
    const [ends] = await api.share.endsOf(["bills", "orders"]);
    assert.deepEqual([ends?.name, ends?.endOffsets.length], ["orders", 8]);
    await broker.close();
  });

  it("names its broker group in positions, receipts and transactions", async () => {
    const broker = await open();
    const { api } = broker;
    await api.share.define([copy("topic"), copy("group")]);
    await publishEach(api, "orders", ["a", "b"]);
    const page = await read(api, { cursors: true });
    const cursor = decodeCursor(page.cursor);
    assert(cursor.kind === "stream");
    assert.deepEqual(
      cursor.positions.map(({ brokerGroup }) => brokerGroup),
      [NUMBER],
    );
    const from = await read(api, { start: { kind: "cursor", cursor: page.from ?? "" } });
    assert.deepEqual(ids(from.messages), ["a", "b"]);
    const { receipt } = await receiveOne(api);
    assert.equal(decodeReceipt(receipt)?.brokerGroup, NUMBER);
    const half = { topic: "orders", message: message("half") };
    const { id } = await api.transactions.begin({ producerGroup: "p", messages: [half] });
    assert.equal(homeOf(id), NUMBER);
    for (const none of [
      "",
      "7",
      "7-",
      "07-" + "0".repeat(32),
      "99999-" + "0".repeat(32),
      `${id}0`,
    ]) {
      assert.equal(homeOf(none), undefined, none);
    }
    await broker.close();
  });

  it("refuses receipts and positions of another broker group", async () => {
    const [mine, other] = [
      await open(),
      await openTestBroker({ brokerGroup: 8, autoCreate: false }),
    ];
    for (const { api } of [mine, other]) {
      await api.share.define([copy("topic"), copy("group")]);
      await publishEach(api, "orders", ["a"]);
    }
    const { receipt } = await receiveOne(other.api);
    await receiveOne(mine.api);
    assert.deepEqual(await settle(mine.api, { ack: [receipt] }), ["invalid"]);
    const { cursor } = await read(other.api);
    await fails("invalid-cursor", read(mine.api, { start: { kind: "cursor", cursor } }));
    await mine.close();
    await other.close();
  });
});

describe("leases that did not reach their consumer", () => {
  it("are given back without counting an attempt, and nobody else's are", async () => {
    const broker = await open();
    const { api } = broker;
    await api.share.define([copy("topic"), copy("group")]);
    await publishEach(api, "orders", names("m", 3));
    const [a, b, c] = receipts(await receive(api)) as [string, string, string];
    await settle(api, { ack: [a] });
    const forged = `${b.slice(0, -4)}AAAA`;
    await api.share.giveBack("g", [a, forged, "none", c]);
    assert.equal(await api.share.openIn("g"), 2);
    const again = await receive(api);
    assert.deepEqual(
      again.map(({ attempt, receipt }) => [attempt, receipt === c]),
      [[1, false]],
    );
    assert.deepEqual(await settle(api, { ack: [b, c] }), ["ok", "lost"]);
    await broker.close();
  });

  it("are repeated to their attempt alone, and then kept", async () => {
    const broker = await open();
    const { api } = broker;
    await api.share.define([copy("topic"), copy("group")]);
    await publishEach(api, "orders", names("m", 3));
    const first = await receive(api, { max: 2, attemptId: "one" });
    const wish = { attemptId: "one", maxBytes: 1 << 20 };
    assert.deepEqual(receipts(await api.share.repeat("g", wish)), receipts(first));
    assert.deepEqual(await api.share.repeat("g", { ...wish, attemptId: "two" }), []);
    await api.share.giveBack("g", receipts(first));
    assert.deepEqual(receipts(await api.share.repeat("g", wish)), receipts(first));
    await fails("group-not-found", api.share.repeat("none", wish));
    await broker.close();
  });
});

describe("a unit of the log", () => {
  it("is as large for whoever routes messages as for the log", () => {
    assert.equal(UNIT_BYTES_MAX, UNIT_SIZE_MAX);
    const body = new Uint8Array(UNIT_SIZE_MAX - FRAME_HEADER_SIZE);
    assert.equal(unitFault("store it", [{ body }]), undefined);
    assert.equal(
      unitFault("store it", [{ body }, { body: body.subarray(0, 0) }])?.code,
      "body-too-large",
    );
  });
});
