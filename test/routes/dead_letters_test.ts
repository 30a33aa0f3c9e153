/**
 * Dead letters over HTTP: the list, redrive, purge.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DeadLetterPage } from "../../routes/group_operation_schemas.ts";
import type { DeadLetter } from "../../src/broker/api.ts";
import type { ErrorCode } from "../../storage/base/errors.ts";
import { type Ask, type JsonObject, problem, TestGateway } from "../fakes/gateway.ts";

const PATH = "/v1/groups/billing";
const LIST = `${PATH}/dead-letters`;
const post = (json?: unknown): Ask => ({ method: "POST", ...(json === undefined ? {} : { json }) });

/** A group that has rejected `count` messages, m0 and so on, a second apart. */
async function rejected(count: number): Promise<TestGateway> {
  const gateway = new TestGateway();
  await gateway.json("/v1/topics/orders", { method: "PUT", json: { queues: 1 }, status: 201 });
  const json = { subscriptions: [{ topic: "orders" }] };
  await gateway.json(PATH, { method: "PUT", json, status: 201 });
  for (let i = 0; i < count; i++) {
    const headers = { "content-type": "application/json", "message-id": `m${i}` };
    const body = `{"big": 12345678901234567890}`;
    const ask = { method: "POST", body, headers, status: 201 };
    await gateway.json("/v1/topics/orders/messages", ask);
    const { receipt } = (await receive(gateway))[0] ?? {};
    const reject = [{ receipt, reason: `no ${i}` }];
    await gateway.json(`${PATH}/settle`, post({ reject }));
    gateway.clock.advance(1000);
  }
  return gateway;
}

async function receive(gateway: TestGateway): Promise<JsonObject[]> {
  const response = await gateway.ask(`${PATH}/receive`, post({ waitMs: 0 }));
  if (response.status === 204) return [];
  return ((await response.json()) as JsonObject)["messages"];
}

const listed = async (gateway: TestGateway, query = "") =>
  (await gateway.json(`${LIST}${query}`))["deadLetters"].map(
    ({ message }: JsonObject) => message["id"] as string,
  );

describe("GET /v1/groups/{group}/dead-letters", () => {
  it("shows the message, body and all, and why it is dead", async () => {
    const gateway = await rejected(1);
    const response = await gateway.ask(LIST);
    assert.equal(response.headers.get("content-type"), "application/json");
    assert.equal(response.headers.get("cache-control"), "no-store");
    const text = await response.text();
    assert(text.includes('"data":{"big": 12345678901234567890}'), "the bytes as published");
    const page = JSON.parse(text) as JsonObject;
    DeadLetterPage.parse(page);
    const [{ message, ...rest }] = page["deadLetters"];
    assert.deepEqual(Object.keys(page), ["deadLetters"]);
    assert.deepEqual(rest, {
      cause: "rejected",
      reason: "no 0",
      attempts: 1,
      deadAt: "2026-11-22T12:00:00.000Z",
    });
    const one = await gateway.json("/v1/topics/orders/messages/m0");
    assert.deepEqual(message, one);
  });

  it("pages, oldest first", async () => {
    const gateway = await rejected(5);
    const first = await gateway.json(`${LIST}?limit=2`);
    assert.deepEqual(first["deadLetters"].length, 2);
    const token = encodeURIComponent(String(first["nextPageToken"]));
    assert.deepEqual(await listed(gateway, `?pageToken=${token}`), ["m2", "m3", "m4"]);
    assert.deepEqual(await listed(gateway, "?maxBytes=1"), ["m0"]);
    assert.deepEqual(await listed(gateway), ["m0", "m1", "m2", "m3", "m4"]);
  });

  it("shows of damaged messages where they lie, and the others in full", async () => {
    const gateway = await rejected(3);
    const { groups } = gateway.broker;
    const list = groups.deadLetters.bind(groups);
    groups.deadLetters = async (name, page) => {
      const { deadLetters } = await list(name, page);
      return { deadLetters: deadLetters.map(damage) };
    };
    const damage = (letter: DeadLetter, at: number): DeadLetter => {
      const { message } = letter;
      if (at === 0) return { ...letter, message: undefined };
      if (at === 1 && message)
        return { ...letter, message: { ...message, payload: new Uint8Array(9) } };
      return letter;
    };
    const page = await gateway.json(LIST);
    DeadLetterPage.parse(page);
    const [first, second, third] = page["deadLetters"];
    assert.deepEqual(first.message, { topic: "orders", queueId: 0, queueOffset: "0" });
    assert.deepEqual(second.message, { topic: "orders", queueId: 0, queueOffset: "1" });
    assert.deepEqual([first.reason, second.reason], ["no 0", "no 1"]);
    assert.equal(third.message.id, "m2");
  });

  it("is empty where nothing died", async () => {
    assert.deepEqual(await (await rejected(0)).json(LIST), { deadLetters: [] });
  });

  const refused: [query: string, code: ErrorCode][] = [
    ["limit=0", "invalid-request"],
    ["limit=1001", "invalid-request"],
    ["maxBytes=x", "invalid-request"],
    ["pageToken=a%20b", "invalid-request"],
    ["pageToken=nobodys", "invalid-cursor"],
  ];
  for (const [query, code] of refused) {
    it(`refuses ${query}`, async () => {
      const gateway = await rejected(1);
      await problem(await gateway.ask(`${LIST}?${query}`), { status: 400, code });
    });
  }
});

describe("POST /v1/groups/{group}/dead-letters/redrive", () => {
  const redrive = (gateway: TestGateway, json?: unknown) =>
    gateway.json(`${LIST}/redrive`, { ...post(json), status: 202 });

  it("sends all back when nothing is said", async () => {
    const gateway = await rejected(3);
    assert.deepEqual(await redrive(gateway), { redriven: 3 });
    assert.deepEqual(await listed(gateway), []);
    const again = await receive(gateway);
    assert.deepEqual(
      again.map(({ id, attempt }) => [id, attempt]),
      [
        ["m0", 1],
        ["m1", 1],
        ["m2", 1],
      ],
    );
    assert.deepEqual(await redrive(gateway, {}), { redriven: 0 });
  });

  it("sends back those that are named, and none for no name", async () => {
    const gateway = await rejected(3);
    assert.deepEqual(await redrive(gateway, { ids: [] }), { redriven: 0 });
    assert.deepEqual(await redrive(gateway, { ids: ["m1", "m9"] }), { redriven: 1 });
    assert.deepEqual(await listed(gateway), ["m0", "m2"]);
  });

  it("publishes copies to another topic", async () => {
    const gateway = await rejected(2);
    assert.deepEqual(await redrive(gateway, { toTopic: "mended" }), { redriven: 2 });
    assert.equal(await gateway.stored("mended"), 2);
    assert.deepEqual(await receive(gateway), []);
  });

  it("says why copies cannot be published, and keeps the list", async () => {
    const gateway = await rejected(2);
    await gateway.json("/v1/topics/keyed", {
      method: "PUT",
      json: { messageType: "fifo" },
      status: 201,
    });
    const response = await gateway.ask(`${LIST}/redrive`, post({ toTopic: "keyed" }));
    await problem(response, { status: 422, code: "message-type-mismatch" });
    assert.deepEqual(await listed(gateway), ["m0", "m1"]);
  });

  const refused: [name: string, json: unknown, pointer: string][] = [
    ["an unknown field", { id: "m0" }, "/id"],
    ["ids that are none", { ids: ["a b"] }, "/ids/0"],
    ["one id", { ids: "m0" }, "/ids"],
    ["10001 ids", { ids: Array.from({ length: 10_001 }, () => "m0") }, "/ids"],
    ["an odd topic", { toTopic: "a b" }, "/toTopic"],
  ];
  for (const [name, json, pointer] of refused) {
    it(`refuses ${name} and sends nothing back`, async () => {
      const gateway = await rejected(1);
      const response = await gateway.ask(`${LIST}/redrive`, post(json));
      const body = await problem(response, { status: 422, code: "validation-failed" });
      assert.equal(body["errors"][0].pointer, pointer);
      assert.deepEqual(await listed(gateway), ["m0"]);
    });
  }

  it("does not take a body it cannot read for none", async () => {
    const gateway = await rejected(1);
    const text = await gateway.ask(`${LIST}/redrive`, { method: "POST", body: '{"ids":[]}' });
    await problem(text, { status: 415, code: "unsupported-media-type" });
    const headers = { "content-type": "application/json" };
    const broken = await gateway.ask(`${LIST}/redrive`, { method: "POST", body: "{", headers });
    await problem(broken, { status: 400, code: "invalid-request" });
    assert.deepEqual(await listed(gateway), ["m0"]);
  });
});

describe("POST /v1/groups/{group}/dead-letters/purge", () => {
  const purge = (gateway: TestGateway, json?: unknown) => gateway.json(`${LIST}/purge`, post(json));

  it("drops all when nothing is said", async () => {
    const gateway = await rejected(3);
    assert.deepEqual(await purge(gateway), { purged: 3 });
    assert.deepEqual(await listed(gateway), []);
    assert.deepEqual(await receive(gateway), []);
    assert.equal(await gateway.stored("orders"), 3);
  });

  it("drops those that are named, and none for no name", async () => {
    const gateway = await rejected(3);
    assert.deepEqual(await purge(gateway, { ids: [] }), { purged: 0 });
    assert.deepEqual(await purge(gateway, { ids: ["m0", "m2"] }), { purged: 2 });
    assert.deepEqual(await listed(gateway), ["m1"]);
  });

  it("takes no topic", async () => {
    const gateway = await rejected(1);
    const response = await gateway.ask(`${LIST}/purge`, post({ toTopic: "a" }));
    await problem(response, { status: 422, code: "validation-failed" });
    assert.deepEqual(await listed(gateway), ["m0"]);
  });
});

describe("the operations on dead letters", () => {
  it("know only groups that are there", async () => {
    const gateway = new TestGateway();
    const gone = { status: 404, code: "group-not-found" } as const;
    await problem(await gateway.ask(LIST), gone);
    await problem(await gateway.ask(`${LIST}/redrive`, post()), gone);
    await problem(await gateway.ask(`${LIST}/purge`, post()), gone);
  });
});
