/**
 * Operating a consumer group over HTTP: pause, resume, seek, peek, consumers.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Consumers, Peeked, Sought } from "../../routes/group_operation_schemas.ts";
import { Group } from "../../routes/group_schemas.ts";
import type { ErrorCode } from "../../storage/base/errors.ts";
import { type Ask, type JsonObject, NOON, problem, TestGateway } from "../fakes/gateway.ts";
import { until } from "../fakes/stream_reader.ts";

const PATH = "/v1/groups/billing";
const post = (json?: unknown): Ask => ({ method: "POST", ...(json === undefined ? {} : { json }) });

/** A topic of one queue, a group on it, and `count` messages a second apart. */
async function subscribed(count: number): Promise<TestGateway> {
  const gateway = new TestGateway();
  await gateway.json("/v1/topics/orders", { method: "PUT", json: { queues: 1 }, status: 201 });
  const json = { subscriptions: [{ topic: "orders" }] };
  await gateway.json(PATH, { method: "PUT", json, status: 201 });
  for (let i = 0; i < count; i++) {
    await publish(gateway, `{"n": ${i}, "big": 12345678901234567890}`);
    gateway.clock.advance(1000);
  }
  return gateway;
}

async function publish(gateway: TestGateway, body: string): Promise<JsonObject> {
  const headers = { "content-type": "application/json" };
  return gateway.json("/v1/topics/orders/messages", { method: "POST", body, headers, status: 201 });
}

async function receive(gateway: TestGateway, json: JsonObject = {}): Promise<JsonObject[]> {
  const response = await gateway.ask(`${PATH}/receive`, post({ waitMs: 0, ...json }));
  if (response.status === 204) return [];
  return ((await response.json()) as JsonObject)["messages"];
}

const numbers = (messages: readonly JsonObject[]) => messages.map(({ data }) => data.n as number);

describe("POST /v1/groups/{group}/pause and resume", () => {
  it("answer with the group, and stop and start deliveries", async () => {
    const gateway = await subscribed(2);
    const before = await gateway.json(PATH);
    const paused = await gateway.json(`${PATH}/pause`, post());
    assert.deepEqual(Group.parse(paused), { ...before, paused: true });
    assert.deepEqual(await gateway.json(`${PATH}/pause`, post()), paused);
    assert.deepEqual(await gateway.json(PATH), paused);
    assert.deepEqual(await receive(gateway), []);
    assert.deepEqual(await gateway.json(`${PATH}/resume`, post()), before);
    assert.deepEqual(numbers(await receive(gateway)), [0, 1]);
  });

  it("know only groups that are there", async () => {
    const gateway = new TestGateway();
    for (const verb of ["pause", "resume"]) {
      const response = await gateway.ask(`${PATH}/${verb}`, post());
      await problem(response, { status: 404, code: "group-not-found" });
    }
  });
});

describe("POST /v1/groups/{group}/seek", () => {
  const seek = (gateway: TestGateway, to: unknown) =>
    gateway.json(`${PATH}/seek`, post({ topic: "orders", to }));

  it("goes to the earliest and the latest, and says where in decimal strings", async () => {
    const gateway = await subscribed(3);
    await receive(gateway);
    const earliest = Sought.parse(await seek(gateway, "earliest"));
    assert.deepEqual(earliest, { queues: [{ queueId: 0, position: "0" }] });
    assert.deepEqual(numbers(await receive(gateway)), [0, 1, 2]);
    assert.deepEqual(await seek(gateway, "latest"), { queues: [{ queueId: 0, position: "3" }] });
    assert.deepEqual(await receive(gateway), []);
  });

  it("goes to a time, of any offset", async () => {
    const gateway = await subscribed(3);
    const times: [time: string, position: string][] = [
      [new Date(NOON + 1000).toISOString(), "1"],
      [new Date(NOON + 1001).toISOString(), "2"],
      ["2026-11-22T14:00:02+02:00", "2"],
      ["2000-01-01T00:00:00Z", "0"],
      ["2100-01-01T00:00:00Z", "3"],
    ];
    for (const [time, position] of times) {
      assert.deepEqual((await seek(gateway, { time }))["queues"], [{ queueId: 0, position }], time);
    }
  });

  it("goes behind the cursor of a message", async () => {
    const gateway = await subscribed(2);
    const { cursor } = await publish(gateway, '{"n": 2}');
    await publish(gateway, '{"n": 3}');
    await seek(gateway, { cursor });
    assert.deepEqual(numbers(await receive(gateway)), [3]);
  });

  const refused: [
    name: string,
    json: unknown,
    code: ErrorCode,
    status: number,
    pointer?: string,
  ][] = [
    ["no topic", { to: "earliest" }, "validation-failed", 422, "/topic"],
    ["no place", { topic: "orders" }, "validation-failed", 422, "/to"],
    ["another word", { topic: "orders", to: "middle" }, "validation-failed", 422, "/to"],
    ["no time", { topic: "orders", to: { time: "noon" } }, "validation-failed", 422, "/to/time"],
    ["a number", { topic: "orders", to: { time: NOON } }, "validation-failed", 422, "/to"],
    [
      "two places",
      { topic: "orders", to: { time: "2026-11-22T08:00:00Z", cursor: "c" } },
      "validation-failed",
      422,
      "/to",
    ],
    [
      "an empty cursor",
      { topic: "orders", to: { cursor: "" } },
      "validation-failed",
      422,
      "/to/cursor",
    ],
    [
      "an unknown field",
      { topic: "orders", to: "latest", queue: 1 },
      "validation-failed",
      422,
      "/queue",
    ],
    ["what is no cursor", { topic: "orders", to: { cursor: "c" } }, "invalid-cursor", 400],
    ["a topic it does not read", { topic: "bills", to: "latest" }, "topic-not-found", 404],
  ];
  for (const [name, json, code, status, pointer] of refused) {
    it(`refuses ${name} and moves nothing`, async () => {
      const gateway = await subscribed(2);
      await receive(gateway, { max: 1 });
      const lag = await gateway.json(`${PATH}/lag`);
      const body = await problem(await gateway.ask(`${PATH}/seek`, post(json)), { status, code });
      assert.equal(body["errors"]?.[0].pointer, pointer);
      assert.deepEqual(await gateway.json(`${PATH}/lag`), lag);
    });
  }

  it("says that a cursor is of an earlier topic", async () => {
    const gateway = await subscribed(0);
    const { cursor } = await publish(gateway, "1");
    await gateway.ask("/v1/topics/orders", { method: "DELETE" });
    await publish(gateway, "2");
    const response = await gateway.ask(`${PATH}/seek`, post({ topic: "orders", to: { cursor } }));
    await problem(response, { status: 410, code: "cursor-generation" });
  });
});

describe("GET /v1/groups/{group}/peek", () => {
  it("shows what would be delivered, body and all, without a lease", async () => {
    const gateway = await subscribed(2);
    const response = await gateway.ask(`${PATH}/peek`);
    assert.equal(response.headers.get("content-type"), "application/json");
    assert.equal(response.headers.get("cache-control"), "no-store");
    const text = await response.text();
    assert(text.includes('"data":{"n": 0, "big": 12345678901234567890}'), "the bytes as published");
    const { messages } = Peeked.parse(JSON.parse(text));
    assert.deepEqual(numbers(messages as JsonObject[]), [0, 1]);
    const members = Object.keys((JSON.parse(text) as JsonObject)["messages"][0]);
    assert(!members.includes("receipt") && !members.includes("leaseUntil"));
    assert.equal(await (await gateway.ask(`${PATH}/peek`)).text(), text);
    assert.equal((await receive(gateway))[0]?.["attempt"], 1);
    gateway.clock.advance(30_000);
    assert.equal((await gateway.json(`${PATH}/peek`))["messages"][1].attempt, 2);
  });

  it("shows no more than was asked for", async () => {
    const gateway = await subscribed(3);
    const peek = async (query: string) =>
      (await gateway.json(`${PATH}/peek?${query}`))["messages"].length as number;
    assert.equal(await peek("limit=2"), 2);
    assert.equal(await peek("maxBytes=1"), 1);
    assert.equal(await peek("topic=orders&limit=1000"), 3);
  });

  it("shows an empty list when nothing is ready", async () => {
    const gateway = await subscribed(0);
    assert.deepEqual(await gateway.json(`${PATH}/peek`), { messages: [] });
  });

  const refused: [query: string, status: number, code: ErrorCode][] = [
    ["limit=0", 400, "invalid-request"],
    ["limit=1001", 400, "invalid-request"],
    ["limit=1.5", 400, "invalid-request"],
    ["maxBytes=0", 400, "invalid-request"],
    ["maxBytes=16777217", 400, "invalid-request"],
    ["topic=a%20b", 400, "invalid-request"],
    ["topic=bills", 404, "topic-not-found"],
  ];
  for (const [query, status, code] of refused) {
    it(`refuses ${query}`, async () => {
      const gateway = await subscribed(1);
      await problem(await gateway.ask(`${PATH}/peek?${query}`), { status, code });
    });
  }

  it("knows only groups that are there", async () => {
    const response = await new TestGateway().ask(`${PATH}/peek`);
    await problem(response, { status: 404, code: "group-not-found" });
  });
});

describe("GET /v1/groups/{group}/consumers", () => {
  it("lists who waits and who holds leases", async () => {
    const gateway = await subscribed(3);
    assert.deepEqual(await gateway.json(`${PATH}/consumers`), { consumers: [] });
    await receive(gateway, { max: 2, consumerId: "worker-2" });
    await receive(gateway);
    const waiting = gateway.ask(`${PATH}/receive`, post({ consumerId: "worker-1" }));
    await until(() => gateway.broker.waiting === 1, "it waits");
    const listed = await gateway.json(`${PATH}/consumers`);
    assert.deepEqual(listed, {
      consumers: [
        { consumerId: "worker-1", waiting: 1, inFlight: 0 },
        { consumerId: "worker-2", waiting: 0, inFlight: 2 },
        { waiting: 0, inFlight: 1 },
      ],
    });
    Consumers.parse(listed);
    await publish(gateway, "{}");
    assert.equal((await waiting).status, 200);
  });

  it("knows only groups that are there", async () => {
    const response = await new TestGateway().ask(`${PATH}/consumers`);
    await problem(response, { status: 404, code: "group-not-found" });
  });
});
