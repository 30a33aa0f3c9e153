import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Topic, TopicPage } from "../../routes/topic_schemas.ts";
import type { ErrorCode } from "../../storage/base/errors.ts";
import { type Ask, type JsonObject, problem, TestGateway } from "../fakes/gateway.ts";

const PATH = "/v1/topics/orders";
const DEFAULTS = {
  queues: 4,
  messageType: "mixed",
  acks: "durable",
  retention: { timeMs: 259_200_000, bytes: null },
  description: "",
};
const put = (json: unknown): Ask => ({ method: "PUT", json });
const patch = (json: unknown): Ask => ({ method: "PATCH", json });

describe("PUT /v1/topics/{topic}", () => {
  it("creates with defaults, shown in full", async () => {
    const gateway = new TestGateway();
    const topic = await gateway.json(PATH, { ...put({}), status: 201 });
    assert.deepEqual(topic, {
      name: "orders",
      ...DEFAULTS,
      generation: "1",
      createdAt: "2026-11-22T12:00:00.000Z",
      endOffsets: ["0", "0", "0", "0"],
    });
    Topic.parse(topic);
    assert.deepEqual(await gateway.json(PATH), topic);
  });

  it("takes no body for the defaults", async () => {
    const gateway = new TestGateway();
    assert.equal((await gateway.ask(PATH, { method: "PUT" })).status, 201);
  });

  it("answers 200 to the same configuration, compared after defaults", async () => {
    const gateway = new TestGateway();
    await gateway.json(PATH, { ...put({ queues: 4 }), status: 201 });
    await gateway.json(PATH, { ...put(DEFAULTS), status: 200 });
    await gateway.json(PATH, { ...put({ retention: { bytes: null } }), status: 200 });
  });

  it("answers 409 to another one, and changes nothing", async () => {
    const gateway = new TestGateway();
    const before = await gateway.json(PATH, { ...put({}), status: 201 });
    await problem(await gateway.ask(PATH, put({ queues: 8 })), {
      status: 409,
      code: "topic-exists",
    });
    assert.deepEqual(await gateway.json(PATH), before);
  });
});

describe("PATCH /v1/topics/{topic}", () => {
  it("changes what is given and nothing else", async () => {
    const gateway = new TestGateway();
    await gateway.json(PATH, { ...put({ description: "a" }), status: 201 });
    const headers = { "content-type": "application/merge-patch+json" };
    const changed = await gateway.json(PATH, {
      ...patch({ queues: 6, retention: { bytes: 8_388_608 } }),
      headers,
    });
    assert.equal(changed["queues"], 6);
    assert.deepEqual(changed["retention"], { timeMs: 259_200_000, bytes: 8_388_608 });
    assert.equal(changed["description"], "a");
    const unbounded = await gateway.json(PATH, patch({ retention: { timeMs: null, bytes: null } }));
    assert.deepEqual(unbounded["retention"], { timeMs: null, bytes: null });
  });

  const refused: [name: string, json: unknown, status: number, code: ErrorCode][] = [
    ["another messageType", { messageType: "fifo" }, 409, "immutable-field"],
    ["fewer queues", { queues: 3 }, 409, "key-order"],
    ["a null that removes", { description: null }, 422, "validation-failed"],
    ["an unknown field", { name: "other" }, 422, "validation-failed"],
  ];
  for (const [name, json, status, code] of refused) {
    it(`refuses ${name}`, async () => {
      const gateway = new TestGateway();
      const before = await gateway.json(PATH, { ...put({}), status: 201 });
      await problem(await gateway.ask(PATH, patch(json)), { status, code });
      assert.deepEqual(await gateway.json(PATH), before);
    });
  }

  it("keeps the number of queues of a fifo topic", async () => {
    const gateway = new TestGateway();
    await gateway.json(PATH, { ...put({ messageType: "fifo" }), status: 201 });
    await problem(await gateway.ask(PATH, patch({ queues: 8 })), {
      status: 409,
      code: "key-order",
    });
  });
});

describe("a body that is not a topic", () => {
  const refused: [name: string, ask: Ask, status: number, code: ErrorCode, pointer?: string][] = [
    ["0 queues", put({ queues: 0 }), 422, "validation-failed", "/queues"],
    ["1025 queues", put({ queues: 1025 }), 422, "validation-failed", "/queues"],
    ["half a queue", put({ queues: 1.5 }), 422, "validation-failed", "/queues"],
    ["queues as text", put({ queues: "4" }), 422, "validation-failed", "/queues"],
    [
      "an unknown messageType",
      put({ messageType: "lifo" }),
      422,
      "validation-failed",
      "/messageType",
    ],
    ["unknown acks", put({ acks: "none" }), 422, "validation-failed", "/acks"],
    ["an unknown field", put({ queue: 4 }), 422, "validation-failed", "/queue"],
    [
      "an unknown field inside",
      put({ retention: { time: 1 } }),
      422,
      "validation-failed",
      "/retention/time",
    ],
    [
      "no retention at all",
      put({ retention: { timeMs: 0 } }),
      422,
      "validation-failed",
      "/retention/timeMs",
    ],
    [
      "a long description",
      put({ description: "x".repeat(1025) }),
      422,
      "validation-failed",
      "/description",
    ],
    [
      "half a surrogate pair",
      put({ description: "\ud800" }),
      422,
      "validation-failed",
      "/description",
    ],
    [
      "a __proto__",
      {
        method: "PUT",
        body: '{"__proto__":{"queues":9}}',
        headers: { "content-type": "application/json" },
      },
      422,
      "validation-failed",
      "/__proto__",
    ],
    [
      "a constructor",
      { method: "PUT", body: '{"constructor":1}', headers: { "content-type": "application/json" } },
      422,
      "validation-failed",
      "/constructor",
    ],
    ["a list", put([]), 422, "validation-failed", ""],
    ["null", put(null), 422, "validation-failed", ""],
    [
      "broken JSON",
      { method: "PUT", body: "{", headers: { "content-type": "application/json" } },
      400,
      "invalid-request",
      "",
    ],
    [
      "a great integer",
      {
        method: "PUT",
        body: '{"queues":9007199254740993}',
        headers: { "content-type": "application/json" },
      },
      400,
      "invalid-request",
    ],
    [
      "text",
      { method: "PUT", body: "{}", headers: { "content-type": "text/plain" } },
      415,
      "unsupported-media-type",
    ],
    [
      "a form",
      {
        method: "PUT",
        body: "queues=4",
        headers: { "content-type": "application/x-www-form-urlencoded" },
      },
      415,
      "unsupported-media-type",
    ],
    [
      "a compressed body",
      {
        method: "PUT",
        body: "{}",
        headers: { "content-type": "application/json", "content-encoding": "br" },
      },
      415,
      "unsupported-media-type",
    ],
    [
      "3 MiB",
      {
        method: "PUT",
        body: `{"description":"${"x".repeat(3 << 20)}"}`,
        headers: { "content-type": "application/json" },
      },
      413,
      "body-too-large",
    ],
    [
      "another namespace",
      { ...put({}), headers: { "Tidegate-Namespace": "other" } },
      501,
      "not-implemented",
    ],
  ];
  for (const [name, ask, status, code, pointer] of refused) {
    it(`refuses ${name} and creates nothing`, async () => {
      const gateway = new TestGateway();
      const body = await problem(await gateway.ask(PATH, ask), { status, code });
      if (pointer !== undefined) assert.equal(body["errors"][0].pointer, pointer);
      assert.deepEqual((await gateway.json("/v1/topics"))["topics"], []);
    });
  }

  it("is told every fault", async () => {
    const gateway = new TestGateway();
    const response = await gateway.ask(PATH, put({ queues: 0, acks: 1, x: 1, y: 2 }));
    const body = await problem(response, { status: 422, code: "validation-failed" });
    const pointers = body["errors"].map(({ pointer }: JsonObject) => pointer).toSorted();
    assert.deepEqual(pointers, ["/acks", "/queues", "/x", "/y"]);
  });
});

describe("GET /v1/topics", () => {
  it("pages in order of name", async () => {
    const gateway = new TestGateway();
    for (const name of ["c", "a", "b"]) await gateway.ask(`/v1/topics/${name}`, put({}));
    const first = await gateway.json("/v1/topics?limit=2");
    TopicPage.parse(first);
    assert.deepEqual(
      first["topics"].map(({ name }: JsonObject) => name),
      ["a", "b"],
    );
    const second = await gateway.json(`/v1/topics?limit=2&pageToken=${first["nextPageToken"]}`);
    assert.deepEqual(
      second["topics"].map(({ name }: JsonObject) => name),
      ["c"],
    );
    assert.equal("nextPageToken" in second, false);
  });

  for (const query of [
    "limit=0",
    "limit=1001",
    "limit=x",
    "limit=1e2",
    "limit=0x10",
    "limit=+5",
    "limit=",
    "pageToken=%20",
  ]) {
    it(`refuses ?${query}`, async () => {
      const gateway = new TestGateway();
      const response = await gateway.ask(`/v1/topics?${query}`);
      const body = await problem(response, { status: 400, code: "invalid-request" });
      assert.equal(body["errors"][0].pointer, `/query/${query.split("=")[0]}`);
    });
  }
});

describe("DELETE /v1/topics/{topic}", () => {
  it("answers 204, then 404", async () => {
    const gateway = new TestGateway();
    await gateway.json(PATH, { ...put({}), status: 201 });
    const response = await gateway.ask(PATH, { method: "DELETE" });
    assert.equal(response.status, 204);
    assert.equal(await response.text(), "");
    for (const method of ["DELETE", "GET"]) {
      await problem(await gateway.ask(PATH, { method }), { status: 404, code: "topic-not-found" });
    }
  });
});

describe("POST /v1/topics/{topic}/purge", () => {
  it("answers 202 with how many messages went", async () => {
    const gateway = new TestGateway();
    await gateway.json(PATH, { ...put({}), status: 201 });
    for (let i = 0; i < 3; i++) {
      await gateway.ask(`${PATH}/messages`, { method: "POST", json: { i } });
    }
    assert.deepEqual(await gateway.json(`${PATH}/purge`, { method: "POST", status: 202 }), {
      purged: 3,
    });
    assert.equal((await gateway.ask(`${PATH}/messages`)).status, 204, "nothing is left to read");
  });

  it("answers 404 where there is no topic", async () => {
    const answer = await new TestGateway().ask(`${PATH}/purge`, { method: "POST" });
    await problem(answer, { status: 404, code: "topic-not-found" });
  });
});
