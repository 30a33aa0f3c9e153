/**
 * Transactions and producer groups over HTTP.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  Checks,
  ProducerGroup,
  Transaction,
  TransactionBegun,
  TransactionOutcome,
  TransactionPage,
} from "../../routes/transaction_schemas.ts";
import type { ErrorCode } from "../../storage/base/errors.ts";
import { type Ask, type JsonObject, problem, TestGateway } from "../fakes/gateway.ts";
import { until } from "../fakes/stream_reader.ts";

const PATH = "/v1/transactions";
const PRODUCER = "/v1/producers/pay";
const HALF = { topic: "orders", data: { paid: true } };
const post = (json?: unknown): Ask => ({ method: "POST", json });
const put = (json: unknown): Ask => ({ method: "PUT", json });

async function begin(gateway: TestGateway, more: JsonObject = {}): Promise<string> {
  const json = { producerGroup: "pay", messages: [HALF], ...more };
  return (await gateway.json(PATH, { ...post(json), status: 201 }))["id"] as string;
}

async function read(gateway: TestGateway, topic = "orders"): Promise<JsonObject[]> {
  const response = await gateway.ask(`/v1/topics/${topic}/messages`);
  if (response.status === 204) return [];
  return ((await response.json()) as JsonObject)["messages"] as JsonObject[];
}

describe("POST /v1/transactions", () => {
  it("stores messages that nobody sees, and says where it is", async () => {
    const gateway = new TestGateway();
    const messages = [
      { topic: "orders", data: { a: 1 }, key: "k", id: "one" },
      { topic: "bills", text: "b", tag: "t" },
    ];
    const response = await gateway.ask(PATH, post({ producerGroup: "pay", messages }));
    assert.equal(response.status, 201);
    const begun = TransactionBegun.parse(await response.json());
    assert.equal(response.headers.get("location"), `${PATH}/${begun.id}`);
    assert.equal(begun.messages[0]?.id, "one");
    assert.deepEqual(await read(gateway), []);
    await problem(await gateway.ask("/v1/topics/orders/messages/one"), {
      status: 404,
      code: "message-not-found",
    });
  });

  it("gives the messages all their attributes once it is committed", async () => {
    const gateway = new TestGateway();
    const half = {
      topic: "orders",
      data: { a: 1 },
      key: "k",
      tag: "t",
      index: ["i"],
      properties: { P: "v" },
      id: "one",
    };
    const id = await begin(gateway, { messages: [half, { ...HALF, topic: "bills" }] });
    await gateway.json(`${PATH}/${id}/commit`, post());
    const [message] = await read(gateway);
    const { key, tag, index, properties, data } = message ?? {};
    assert.deepEqual({ topic: "orders", id: "one", key, tag, index, properties, data }, half);
    assert.equal((await read(gateway, "bills")).length, 1);
  });

  const bad: [name: string, more: JsonObject, pointer: string][] = [
    ["no messages", { messages: [] }, "/messages"],
    ["101 messages", { messages: Array.from({ length: 101 }, () => HALF) }, "/messages"],
    ["a message without topic", { messages: [HALF, { data: 1 }] }, "/messages/1/topic"],
    ["a topic that is no name", { messages: [{ ...HALF, topic: "a b" }] }, "/messages/0/topic"],
    ["a topic that is no text", { messages: [{ ...HALF, topic: 1 }] }, "/messages/0/topic"],
    ["an unknown member", { messages: [{ ...HALF, x: 1 }] }, "/messages/0/x"],
    ["two bodies", { messages: [{ ...HALF, text: "a" }] }, "/messages/0/data"],
    ["a message that is none", { messages: [1] }, "/messages/0"],
    ["a delay", { messages: [{ ...HALF, delayMs: 5 }] }, "/messages/0/delayMs"],
    [
      "a time of delivery",
      { messages: [{ ...HALF, deliverAt: "2030-01-01T00:00:00Z" }] },
      "/messages/0/deliverAt",
    ],
    ["no producer group", { producerGroup: undefined }, "/producerGroup"],
    ["a first check too soon", { firstCheckMs: 999 }, "/firstCheckMs"],
    ["an interval too long", { checkIntervalMs: 86_400_001 }, "/checkIntervalMs"],
    ["no checks", { maxChecks: 0 }, "/maxChecks"],
    ["too many checks", { maxChecks: 101 }, "/maxChecks"],
    ["another member", { x: 1 }, "/x"],
  ];
  for (const [name, more, pointer] of bad) {
    it(`refuses ${name} and stores nothing`, async () => {
      const gateway = new TestGateway();
      const json = { producerGroup: "pay", messages: [HALF], ...more };
      const response = await gateway.ask(PATH, post(json));
      const body = await problem(response, { status: 422, code: "validation-failed" });
      assert.equal(body["errors"][0].pointer, pointer);
      assert.deepEqual((await gateway.json(PATH))["transactions"], []);
      assert.deepEqual((await gateway.json("/v1/topics"))["topics"], []);
    });
  }

  it("refuses a checkUrl that may not be called", async () => {
    const json = { producerGroup: "pay", messages: [HALF], checkUrl: "http://127.0.0.1/" };
    const response = await new TestGateway().ask(PATH, post(json));
    await problem(response, { status: 422, code: "check-url-refused" });
  });

  it("refuses a topic of another type", async () => {
    const gateway = new TestGateway();
    await gateway.json("/v1/topics/orders", { ...put({ messageType: "normal" }), status: 201 });
    const response = await gateway.ask(PATH, post({ producerGroup: "pay", messages: [HALF] }));
    await problem(response, { status: 422, code: "message-type-mismatch" });
  });

  for (const headers of [
    { "idempotency-key": "k" },
    { "producer-id": "p", "producer-epoch": "0", "producer-seq": "0" },
  ] as Record<string, string>[]) {
    it(`does not ignore ${Object.keys(headers)[0]}`, async () => {
      const gateway = new TestGateway();
      const ask = { ...post({ producerGroup: "pay", messages: [HALF] }), headers };
      await problem(await gateway.ask(PATH, ask), { status: 501, code: "not-implemented" });
      assert.deepEqual((await gateway.json(PATH))["transactions"], []);
    });
  }

  it("takes bodies of up to 16 MiB together", async () => {
    const gateway = new TestGateway();
    const half = { topic: "orders", text: "x".repeat(3 << 20) };
    await begin(gateway, { messages: [half, half, half] });
    const messages = Array.from({ length: 6 }, () => half);
    const response = await gateway.ask(PATH, post({ producerGroup: "pay", messages }));
    await problem(response, { status: 413, code: "body-too-large" });
  });
});

describe("deciding a transaction", () => {
  const decisions = [
    ["commit", "committed", "rollback"],
    ["rollback", "rolledBack", "commit"],
  ] as const;
  for (const [word, state, opposite] of decisions) {
    it(`${word} is answered alike when repeated, ${opposite} is refused then`, async () => {
      const gateway = new TestGateway();
      const id = await begin(gateway);
      for (let i = 0; i < 2; i++) {
        const body = await gateway.json(`${PATH}/${id}/${word}`, post());
        assert.deepEqual(TransactionOutcome.parse(body), { id, state });
      }
      const response = await gateway.ask(`${PATH}/${id}/${opposite}`, post());
      const body = await problem(response, { status: 409, code: "transaction-decided" });
      assert.equal(body["state"], state);
      assert.equal((await read(gateway)).length, word === "commit" ? 1 : 0);
    });
  }

  it("needs one that there is", async () => {
    const gateway = new TestGateway();
    const asks: [path: string, ask: Ask][] = [
      [`${PATH}/0-nobody/commit`, post()],
      [`${PATH}/0-nobody/rollback`, post()],
      [`${PATH}/0-nobody`, {}],
    ];
    for (const [path, ask] of asks) {
      await problem(await gateway.ask(path, ask), { status: 404, code: "transaction-not-found" });
    }
  });
});

describe("GET /v1/transactions", () => {
  it("shows one, before and after its decision", async () => {
    const gateway = new TestGateway();
    const id = await begin(gateway, { messages: [{ ...HALF, id: "one", key: "k" }] });
    const shown = {
      id,
      producerGroup: "pay",
      state: "prepared",
      messages: [{ id: "one", topic: "orders", key: "k" }],
      checksSent: 0,
      nextCheckAt: "2026-11-22T12:00:06.000Z",
      createdAt: "2026-11-22T12:00:00.000Z",
    };
    const prepared = await gateway.json(`${PATH}/${id}`);
    assert.deepEqual(prepared, shown);
    Transaction.parse(prepared);
    await gateway.json(`${PATH}/${id}/commit`, post());
    const { nextCheckAt: _, ...rest } = shown;
    assert.deepEqual(await gateway.json(`${PATH}/${id}`), { ...rest, state: "committed" });
  });

  it("lists them in pages, by state and producer group", async () => {
    const gateway = new TestGateway();
    const all = [await begin(gateway), await begin(gateway), await begin(gateway)];
    await gateway.json(`${PATH}/${all[1]}/commit`, post());
    const idsOf = async (query: string) => {
      const page = TransactionPage.parse(await gateway.json(`${PATH}?${query}`));
      return { ids: page.transactions.map(({ id }) => id), next: page.nextPageToken };
    };
    const first = await idsOf("limit=2");
    assert.deepEqual(first.ids, all.slice(0, 2));
    const second = await idsOf(`limit=2&pageToken=${first.next}`);
    assert.deepEqual(second, { ids: all.slice(2), next: undefined });
    assert.deepEqual((await idsOf("state=prepared")).ids, [all[0], all[2]]);
    assert.deepEqual((await idsOf("state=committed&producerGroup=pay")).ids, [all[1]]);
    assert.deepEqual((await idsOf("producerGroup=other")).ids, []);
    const code: ErrorCode = "invalid-request";
    await problem(await gateway.ask(`${PATH}?state=open`), { status: 400, code });
    const token = await gateway.ask(`${PATH}?pageToken=x`);
    await problem(token, { status: 400, code: "invalid-cursor" });
  });
});

describe("DELETE /v1/topics/{topic} with transactions that are not decided", () => {
  it("is refused, and with force rolls them back", async () => {
    const gateway = new TestGateway();
    const id = await begin(gateway);
    const path = "/v1/topics/orders";
    const refused = await gateway.ask(path, { method: "DELETE" });
    const body = await problem(refused, { status: 409, code: "topic-busy" });
    assert.equal(body["transactions"], 1);
    const odd = await gateway.ask(`${path}?force=yes`, { method: "DELETE" });
    await problem(odd, { status: 400, code: "invalid-request" });
    assert.equal((await gateway.ask(`${path}?force=true`, { method: "DELETE" })).status, 204);
    assert.equal((await gateway.json(`${PATH}/${id}`))["state"], "rolledBack");
  });
});

describe("/v1/producers/{producerGroup}", () => {
  const CONFIG = { checkUrl: "https://pay.example/check", checkSecret: "whsec_MfKQ9r8GKYqr" };
  const SHOWN = {
    name: "pay",
    checkUrl: CONFIG.checkUrl,
    checkSecretSet: true,
    firstCheckMs: 6000,
    checkIntervalMs: 30_000,
    maxChecks: 15,
    generation: "1",
    createdAt: "2026-11-22T12:00:00.000Z",
  };

  it("is created with defaults and never shows its secret", async () => {
    const gateway = new TestGateway();
    const created = await gateway.json(PRODUCER, { ...put(CONFIG), status: 201 });
    assert.deepEqual(created, SHOWN);
    ProducerGroup.parse(created);
    assert.deepEqual(await gateway.json(PRODUCER, put(CONFIG)), SHOWN);
    assert.deepEqual(await gateway.json(PRODUCER), SHOWN);
    const other = await gateway.ask(PRODUCER, put({ ...CONFIG, maxChecks: 1 }));
    await problem(other, { status: 409, code: "producer-group-exists" });
  });

  it("is changed member by member; null takes one away", async () => {
    const gateway = new TestGateway();
    await gateway.json(PRODUCER, { ...put(CONFIG), status: 201 });
    const patch = (json: unknown) => gateway.json(PRODUCER, { method: "PATCH", json });
    assert.deepEqual(await patch({ maxChecks: 3 }), { ...SHOWN, maxChecks: 3 });
    const { checkUrl: _, ...rest } = SHOWN;
    const gone = { ...rest, maxChecks: 3, checkSecretSet: false };
    assert.deepEqual(await patch({ checkUrl: null, checkSecret: null }), gone);
  });

  it("is deleted", async () => {
    const gateway = new TestGateway();
    await gateway.json(PRODUCER, { ...put({}), status: 201 });
    assert.equal((await gateway.ask(PRODUCER, { method: "DELETE" })).status, 204);
    for (const ask of [{}, { method: "DELETE" }, { method: "PATCH", json: {} }]) {
      const response = await gateway.ask(PRODUCER, ask);
      await problem(response, { status: 404, code: "producer-group-not-found" });
    }
  });

  const bad: [name: string, json: unknown, code: ErrorCode][] = [
    ["an address that may not be called", { checkUrl: "https://localhost/" }, "check-url-refused"],
    ["an empty secret", { checkSecret: "" }, "validation-failed"],
    ["no address at all", { checkUrl: null }, "validation-failed"],
    ["an unknown member", { secret: "x" }, "validation-failed"],
  ];
  for (const [name, json, code] of bad) {
    it(`refuses ${name}`, async () => {
      const gateway = new TestGateway();
      await problem(await gateway.ask(PRODUCER, put(json)), { status: 422, code });
      assert.equal((await gateway.ask(PRODUCER)).status, 404);
    });
  }
});

describe("POST /v1/producers/{producerGroup}/checks", () => {
  const now = post({ waitMs: 0 });

  it("gives a check that is due, to one", async () => {
    const gateway = new TestGateway();
    const id = await begin(gateway, { messages: [{ ...HALF, id: "one", key: "k" }] });
    assert.equal((await gateway.ask(`${PRODUCER}/checks`, now)).status, 204);
    gateway.clock.advance(6000);
    const body = Checks.parse(await gateway.json(`${PRODUCER}/checks`, now));
    const messages = [{ id: "one", topic: "orders", key: "k" }];
    assert.deepEqual(body, { checks: [{ transactionId: id, messages, checkNumber: 1 }] });
    assert.equal((await gateway.ask(`${PRODUCER}/checks`, now)).status, 204);
    await gateway.json(`${PATH}/${id}/commit`, post());
  });

  it("waits for one, holding the connection open, and takes no body", async () => {
    const gateway = new TestGateway();
    const id = await begin(gateway);
    const waiting = gateway.json(`${PRODUCER}/checks`, { method: "POST" });
    await until(() => gateway.broker.waiting === 1, "it waits");
    assert.equal(gateway.held, 1);
    gateway.clock.advance(6000);
    gateway.broker.messages.wakeups.wake();
    assert.equal((await waiting)["checks"][0].transactionId, id);
  });

  for (const json of [{ max: 0 }, { max: 1001 }, { waitMs: 60_001 }, { x: 1 }]) {
    it(`refuses ${JSON.stringify(json)}`, async () => {
      const response = await new TestGateway().ask(`${PRODUCER}/checks`, post(json));
      await problem(response, { status: 422, code: "validation-failed" });
    });
  }
});
