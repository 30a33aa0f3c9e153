import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Deliveries, Group, GroupPage, Lag, Settled } from "../../routes/group_schemas.ts";
import type { ErrorCode } from "../../storage/base/errors.ts";
import { type Ask, type JsonObject, problem, TestGateway } from "../fakes/gateway.ts";
import { until } from "../fakes/stream_reader.ts";

const PATH = "/v1/groups/billing";
const CONFIG = { subscriptions: [{ topic: "orders" }] };
const put = (json: unknown): Ask => ({ method: "PUT", json });
const post = (json: unknown): Ask => ({ method: "POST", json });

async function subscribed(count: number): Promise<TestGateway> {
  const gateway = new TestGateway();
  await gateway.json(PATH, { ...put(CONFIG), status: 201 });
  for (let i = 0; i < count; i++) await publish(gateway, i);
  return gateway;
}

async function publish(gateway: TestGateway, value: number): Promise<void> {
  const headers = { "content-type": "application/json" };
  const ask = { method: "POST", body: String(value), headers, status: 201 };
  await gateway.json("/v1/topics/orders/messages", ask);
}

async function receive(gateway: TestGateway, json: JsonObject = {}): Promise<JsonObject[]> {
  const body = await gateway.json(`${PATH}/receive`, post({ waitMs: 0, ...json }));
  return Deliveries.parse(body).messages;
}

describe("PUT /v1/groups/{group}", () => {
  it("creates with defaults, shown in full", async () => {
    const gateway = new TestGateway();
    const group = await gateway.json(PATH, { ...put(CONFIG), status: 201 });
    assert.deepEqual(group, {
      name: "billing",
      subscriptions: [{ topic: "orders" }],
      mode: "concurrent",
      leaseMs: 30_000,
      maxAttempts: 16,
      backoff: { initialMs: 1000, multiplier: 2, maxMs: 7_200_000 },
      startFrom: "latest",
      maxInFlight: 10_000,
      generation: "1",
      createdAt: "2026-11-22T12:00:00.000Z",
      paused: false,
    });
    Group.parse(group);
    assert.deepEqual(await gateway.json(PATH), group);
  });

  it("answers 200 to the same, 409 to another", async () => {
    const gateway = await subscribed(0);
    await gateway.json(PATH, {
      ...put({ ...CONFIG, mode: "concurrent", leaseMs: 30_000 }),
      status: 200,
    });
    const other = await gateway.ask(PATH, put({ ...CONFIG, leaseMs: 1000 }));
    await problem(other, { status: 409, code: "group-exists" });
  });

  it("takes a schedule as backoff", async () => {
    const gateway = new TestGateway();
    const backoff = { scheduleMs: [1000, 5000, 0] };
    const group = await gateway.json(PATH, { ...put({ ...CONFIG, backoff }), status: 201 });
    assert.deepEqual(group["backoff"], backoff);
  });

  const topics = (count: number) => Array.from({ length: count }, (_, i) => ({ topic: `t${i}` }));

  const filters: [name: string, filter: unknown][] = [
    ["empty", {}],
    ["both", { tag: "a", sql: "TRUE" }],
    ["text", "a"],
    ["null", null],
    ["misspelt", { tags: "a" }],
    ["no text", { tag: 1 }],
  ];

  const refused: (readonly [
    name: string,
    json: unknown,
    status: number,
    code: ErrorCode,
    pointer?: string,
  ])[] = [
    ["no subscriptions", {}, 422, "validation-failed", "/subscriptions"],
    ["an empty list of them", { subscriptions: [] }, 422, "validation-failed", "/subscriptions"],
    ["101 of them", { subscriptions: topics(101) }, 422, "validation-failed", "/subscriptions"],
    [
      "one topic twice",
      { subscriptions: [...topics(1), ...topics(1)] },
      422,
      "validation-failed",
      "/subscriptions",
    ],
    [
      "an odd topic",
      { subscriptions: [{ topic: "a b" }] },
      422,
      "validation-failed",
      "/subscriptions/0/topic",
    ],
    ["an unknown field", { ...CONFIG, lease: 1 }, 422, "validation-failed", "/lease"],
    [
      "an unknown field inside",
      { subscriptions: [{ topic: "a", from: 1 }] },
      422,
      "validation-failed",
      "/subscriptions/0/from",
    ],
    ["a lease too short", { ...CONFIG, leaseMs: 99 }, 422, "validation-failed", "/leaseMs"],
    ["a lease too long", { ...CONFIG, leaseMs: 43_200_001 }, 422, "validation-failed", "/leaseMs"],
    ["no attempt", { ...CONFIG, maxAttempts: 0 }, 422, "validation-failed", "/maxAttempts"],
    [
      "two backoffs",
      { ...CONFIG, backoff: { initialMs: 1, multiplier: 2, maxMs: 3, scheduleMs: [1] } },
      422,
      "validation-failed",
      "/backoff",
    ],
    [
      "half a backoff",
      { ...CONFIG, backoff: { initialMs: 1 } },
      422,
      "validation-failed",
      "/backoff",
    ],
    [
      "an odd startFrom",
      { ...CONFIG, startFrom: "middle" },
      422,
      "validation-failed",
      "/startFrom",
    ],
    ["nothing in flight", { ...CONFIG, maxInFlight: 0 }, 422, "validation-failed", "/maxInFlight"],
    ["an odd mode", { ...CONFIG, mode: "sorted" }, 422, "validation-failed", "/mode"],
    ["paused", { ...CONFIG, paused: true }, 422, "validation-failed", "/paused"],
    ...filters.map(
      ([name, filter]) =>
        [
          `a filter that is ${name}`,
          { subscriptions: [{ topic: "a" }, { topic: "b", filter }] },
          422,
          "validation-failed",
          "/subscriptions/1/filter",
        ] as const,
    ),
    [
      "a filter that does not compile",
      { subscriptions: [{ topic: "a" }, { topic: "b", filter: { tag: "a || " } }] },
      422,
      "filter-invalid",
      "/subscriptions/1/filter/tag",
    ],
  ];
  for (const [name, json, status, code, pointer] of refused) {
    it(`refuses ${name} and creates nothing`, async () => {
      const gateway = new TestGateway();
      const body = await problem(await gateway.ask(PATH, put(json)), { status, code });
      if (pointer !== undefined) assert.equal(body["errors"][0].pointer, pointer);
      assert.deepEqual((await gateway.json("/v1/groups"))["groups"], []);
    });
  }

  it("keeps mode and filters as they were given", async () => {
    const gateway = new TestGateway();
    const subscriptions = [{ topic: "orders", filter: { tag: " a||b " } }, { topic: "bills" }];
    const config = { subscriptions, mode: "ordered" };
    const group = await gateway.json(PATH, { ...put(config), status: 201 });
    assert.deepEqual([group["subscriptions"], group["mode"]], [subscriptions, "ordered"]);
    assert.deepEqual(await gateway.json(PATH), group);
    assert.deepEqual(await gateway.json(PATH, put(config)), group);
    const plain = await gateway.ask(PATH, put({ ...config, mode: "concurrent" }));
    await problem(plain, { status: 409, code: "group-exists" });
  });

  it("says where in which filter the fault is", async () => {
    const gateway = new TestGateway();
    const subscriptions = [{ topic: "a" }, { topic: "b", filter: { tag: "x || " } }];
    const expected = { status: 422, code: "filter-invalid" } as const;
    const body = await problem(await gateway.ask(PATH, put({ subscriptions })), expected);
    assert.deepEqual([body["topic"], body["position"]], ["b", 4]);
    assert.deepEqual(body["errors"], [
      { pointer: "/subscriptions/1/filter/tag", detail: body["detail"] },
    ]);
  });

  it("needs a body", async () => {
    const gateway = new TestGateway();
    const response = await gateway.ask(PATH, { method: "PUT" });
    await problem(response, { status: 415, code: "unsupported-media-type" });
  });

  it("says topic-not-found where auto-create is off", async () => {
    const gateway = new TestGateway({ fake: { autoCreate: false } });
    await problem(await gateway.ask(PATH, put(CONFIG)), { status: 404, code: "topic-not-found" });
  });
});

describe("the other operations on groups", () => {
  it("patch what is given and nothing else", async () => {
    const gateway = await subscribed(0);
    const group = await gateway.json(PATH, { method: "PATCH", json: { maxAttempts: 3 } });
    assert.equal(group["maxAttempts"], 3);
    assert.equal(group["leaseMs"], 30_000);
    assert.deepEqual(group["subscriptions"], [{ topic: "orders" }]);
    const subscriptions = [{ topic: "other" }];
    const moved = await gateway.json(PATH, { method: "PATCH", json: { subscriptions } });
    assert.deepEqual(moved["subscriptions"], subscriptions);
  });

  it("patch mode and filters, unless they are wrong or messages are leased", async () => {
    const gateway = await subscribed(1);
    const patch = (json: unknown): Ask => ({ method: "PATCH", json });
    const subscriptions = [{ topic: "orders", filter: { tag: "*" } }];
    const group = await gateway.json(PATH, patch({ subscriptions }));
    assert.deepEqual(group["subscriptions"], subscriptions);
    await receive(gateway);
    const busy = await gateway.ask(PATH, patch({ mode: "ordered" }));
    await problem(busy, { status: 409, code: "group-busy" });
    const wrong = { subscriptions: [{ topic: "orders", filter: { tag: "" } }] };
    const body = await problem(await gateway.ask(PATH, patch(wrong)), {
      status: 422,
      code: "filter-invalid",
    });
    assert.equal(body["errors"][0].pointer, "/subscriptions/0/filter/tag");
    const paused = await gateway.ask(PATH, patch({ paused: true }));
    const refused = await problem(paused, { status: 422, code: "validation-failed" });
    assert.equal(refused["errors"][0].pointer, "/paused");
    assert.deepEqual(await gateway.json(PATH), group);
  });

  it("list in pages, by name", async () => {
    const gateway = new TestGateway();
    for (const name of ["c", "a", "b"]) await gateway.ask(`/v1/groups/${name}`, put(CONFIG));
    const first = GroupPage.parse(await gateway.json("/v1/groups?limit=2"));
    assert.deepEqual(
      first.groups.map(({ name }) => name),
      ["a", "b"],
    );
    const rest = await gateway.json(`/v1/groups?pageToken=${first.nextPageToken}`);
    assert.deepEqual(
      rest["groups"].map(({ name }: JsonObject) => name),
      ["c"],
    );
  });

  it("delete with 204, and then know nobody of that name", async () => {
    const gateway = await subscribed(0);
    assert.equal((await gateway.ask(PATH, { method: "DELETE" })).status, 204);
    const gone = { status: 404, code: "group-not-found" } as const;
    await problem(await gateway.ask(PATH, { method: "DELETE" }), gone);
    await problem(await gateway.ask(PATH), gone);
    await problem(await gateway.ask(PATH, { method: "PATCH", json: {} }), gone);
    await problem(await gateway.ask(`${PATH}/lag`), gone);
    await problem(await gateway.ask(`${PATH}/receive`, post({ waitMs: 0 })), gone);
    await problem(await gateway.ask(`${PATH}/settle`, post({ ack: ["r"] })), gone);
  });
});

describe("POST /v1/groups/{group}/receive", () => {
  it("leases messages until leaseUntil", async () => {
    const gateway = await subscribed(3);
    const messages = await receive(gateway, { max: 2, leaseMs: 5000 });
    assert.deepEqual(
      messages.map(({ data }) => data),
      [0, 1],
    );
    for (const message of messages) {
      assert.equal(message["attempt"], 1);
      assert.equal(message["leaseUntil"], "2026-11-22T12:00:05.000Z");
      assert.equal(typeof message["receipt"], "string");
    }
    assert.deepEqual(
      (await receive(gateway)).map(({ data }) => data),
      [2],
    );
  });

  it("delivers again with attempt 2 once the lease is over", async () => {
    const gateway = await subscribed(1);
    await receive(gateway);
    assert.equal((await gateway.ask(`${PATH}/receive`, post({ waitMs: 0 }))).status, 204);
    gateway.clock.advance(30_000);
    const [again] = await receive(gateway);
    assert.equal(again?.["attempt"], 2);
  });

  it("gives an attempt the same leases again", async () => {
    const gateway = await subscribed(2);
    const first = await receive(gateway, { max: 1, attemptId: "a-1" });
    assert.deepEqual(await receive(gateway, { max: 1, attemptId: "a-1" }), first);
  });

  it("waits for the first message, with no body at all for the defaults", async () => {
    const gateway = await subscribed(0);
    const waiting = gateway.ask(`${PATH}/receive`, { method: "POST" });
    await until(() => gateway.broker.waiting === 1, "it waits");
    assert.equal(gateway.held, 1);
    await publish(gateway, 7);
    const response = await waiting;
    assert.equal(response.headers.get("cache-control"), "no-store");
    const { messages } = (await response.json()) as { messages: JsonObject[] };
    assert.deepEqual(
      messages.map(({ data }) => data),
      [7],
    );
  });

  it("ends with 204 when its time is up or the node drains", async () => {
    const gateway = await subscribed(0);
    assert.equal((await gateway.ask(`${PATH}/receive`, post({ waitMs: 10 }))).status, 204);
    const waiting = gateway.ask(`${PATH}/receive`, post({ waitMs: 20_000 }));
    await until(() => gateway.broker.waiting === 1, "it waits");
    await gateway.gateway.drain();
    assert.equal((await waiting).status, 204);
  });

  it("leases nothing to a client that has gone", async () => {
    const gateway = await subscribed(0);
    const client = new AbortController();
    const ask = { ...post({ waitMs: 20_000 }), signal: client.signal };
    const waiting = gateway.ask(`${PATH}/receive`, ask);
    await until(() => gateway.broker.waiting === 1, "it waits");
    client.abort();
    await waiting;
    await publish(gateway, 1);
    const [message] = await receive(gateway);
    assert.equal(message?.["attempt"], 1);
  });

  const refused: [name: string, json: unknown, status: number, code: ErrorCode][] = [
    ["max 0", { max: 0 }, 422, "validation-failed"],
    ["max 1001", { max: 1001 }, 422, "validation-failed"],
    ["waitMs 60001", { waitMs: 60_001 }, 422, "validation-failed"],
    ["leaseMs 99", { leaseMs: 99 }, 422, "validation-failed"],
    ["an empty attemptId", { attemptId: "" }, 422, "validation-failed"],
    ["a consumerId with a space", { consumerId: "a b" }, 422, "validation-failed"],
    ["a consumerId of 129 letters", { consumerId: "c".repeat(129) }, 422, "validation-failed"],
    ["an unknown field", { wait: 1 }, 422, "validation-failed"],
    ["a topic nobody subscribed to", { topic: "other", waitMs: 0 }, 404, "topic-not-found"],
  ];
  for (const [name, json, status, code] of refused) {
    it(`refuses ${name} and leases nothing`, async () => {
      const gateway = await subscribed(1);
      await problem(await gateway.ask(`${PATH}/receive`, post(json)), { status, code });
      assert.equal((await receive(gateway))[0]?.["attempt"], 1);
    });
  }
});

describe("POST /v1/groups/{group}/settle", () => {
  it("answers for each receipt: ack, release, extend, reject, in that order", async () => {
    const gateway = await subscribed(5);
    const [a, b, c, d, e] = (await receive(gateway)).map(({ receipt }) => String(receipt));
    const body = await gateway.json(
      `${PATH}/settle`,
      post({
        reject: [{ receipt: d, reason: "bad" }],
        extend: [{ receipt: c, leaseMs: 60_000 }],
        release: [{ receipt: b, delayMs: 0 }],
        ack: [a, "nobody's", e],
      }),
    );
    assert.deepEqual(Settled.parse(body).results, [
      { receipt: a, status: "ok" },
      { receipt: "nobody's", status: "invalid" },
      { receipt: e, status: "ok" },
      { receipt: b, status: "ok" },
      { receipt: c, status: "ok", leaseUntil: "2026-11-22T12:01:00.000Z" },
      { receipt: d, status: "ok" },
    ]);
  });

  it("tells late from lost", async () => {
    const gateway = await subscribed(2);
    const [first, second] = (await receive(gateway)).map(({ receipt }) => String(receipt));
    gateway.clock.advance(30_000);
    const late = await gateway.json(`${PATH}/settle`, post({ ack: [first] }));
    assert.equal(late["results"][0].status, "late");
    await receive(gateway);
    const lost = await gateway.json(`${PATH}/settle`, post({ ack: [second] }));
    assert.equal(lost["results"][0].status, "lost");
  });

  const refused: [name: string, json: unknown][] = [
    ["an unknown field", { nack: ["r"] }],
    ["a receipt that is no string", { ack: [1] }],
    ["an empty receipt", { ack: [""] }],
    ["extend without leaseMs", { extend: [{ receipt: "r" }] }],
    ["a negative delay", { release: [{ receipt: "r", delayMs: -1 }] }],
    ["10001 receipts", { ack: Array.from({ length: 10_001 }, () => "r") }],
  ];
  for (const [name, json] of refused) {
    it(`refuses ${name} and settles nothing`, async () => {
      const gateway = await subscribed(1);
      const [{ receipt } = {}] = await receive(gateway);
      const both = { ack: [receipt], ...(json as object) };
      const response = await gateway.ask(`${PATH}/settle`, post(both));
      await problem(response, { status: 422, code: "validation-failed" });
      const lag = await gateway.json(`${PATH}/lag`);
      assert.equal(lag["topics"][0].total, 1);
    });
  }
});

describe("GET /v1/groups/{group}/lag", () => {
  it("counts by topic and queue", async () => {
    const gateway = await subscribed(5);
    await receive(gateway, { max: 2 });
    const lag = Lag.parse(await gateway.json(`${PATH}/lag`));
    assert.equal(lag.group, "billing");
    const [orders] = lag.topics;
    assert.equal(orders?.topic, "orders");
    assert.equal(orders?.total, 5);
    assert.equal(orders?.queues.length, 4);
    assert.equal(
      orders?.queues.reduce((sum, { leased }) => sum + leased, 0),
      2,
    );
    assert.equal(
      orders?.queues.reduce((sum, { ready }) => sum + ready, 0),
      3,
    );
  });
});
