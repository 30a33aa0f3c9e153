import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TidegateError } from "../../storage/base/errors.ts";
import { type Ask, problem, TestGateway } from "../fakes/gateway.ts";
import { until } from "../fakes/stream_reader.ts";

const PATH = "/v1/topics/orders/messages";
const publish: Ask = { method: "POST", body: "x" };
const as = (authorization: string): Ask => ({ headers: { authorization } });

describe("every answer", () => {
  const asks: [path: string, ask?: Ask][] = [
    [PATH, publish],
    [PATH],
    [PATH, { method: "HEAD" }],
    [`${PATH}?after=latest`],
    [`${PATH}/batch`, { method: "POST", json: { messages: [{ data: 1 }] } }],
    ["/v1/topics"],
    ["/v1/topics/orders", { method: "DELETE" }],
    ["/nowhere"],
    ["/healthz"],
    ["/docs"],
    ["/openapi.json"],
    ["/v1/stream"],
    [PATH, { method: "OPTIONS" }],
  ];

  it("has nosniff and a request id", async () => {
    const gateway = new TestGateway();
    const ids = new Set<string>();
    for (const [path, ask] of asks) {
      const { headers } = await gateway.ask(path, ask);
      assert.equal(headers.get("x-content-type-options"), "nosniff", path);
      ids.add(headers.get("x-request-id") ?? "");
    }
    assert.equal(ids.size, asks.length);
    for (const id of ids) assert.match(id, /^[\w-]{5,40}$/);
  });

  it("echoes a request id that is printable, and makes another for one that is not", async () => {
    const gateway = new TestGateway();
    const echoed = async (id: string) =>
      (await gateway.ask("/healthz", { headers: { "x-request-id": id } })).headers.get(
        "x-request-id",
      );
    assert.equal(await echoed("a-1/~"), "a-1/~");
    assert.equal(await echoed("x".repeat(128)), "x".repeat(128));
    for (const id of ["x".repeat(129), "a b", "\u00e9"]) assert.notEqual(await echoed(id), id);
  });

  it("names the trace a failed request was part of, or else its id", async () => {
    const gateway = new TestGateway();
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const traced = await gateway.ask("/nowhere", { headers: { traceparent } });
    const named = await gateway.ask("/nowhere", { headers: { "x-request-id": "mine" } });
    const expected = { status: 404, code: "not-found" } as const;
    assert.equal((await problem(traced, expected))["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert.equal((await problem(named, expected))["traceId"], "mine");
  });
});

describe("an error nobody foresaw", () => {
  it("is reported, and its message is not sent", async () => {
    const gateway = new TestGateway();
    const cause = new Error("secret of the disk");
    gateway.broker.topics.get = () => Promise.reject(cause);
    const response = await gateway.ask("/v1/topics/orders");
    const body = await problem(response, { status: 500, code: "internal" });
    assert.equal(body["applied"], "unknown");
    assert.doesNotMatch(JSON.stringify(body), /secret/);
    assert.deepEqual(gateway.reported, [cause]);
  });

  it("is told from one that was foreseen, whose details become members", async () => {
    const gateway = new TestGateway();
    const details = { limit: 5, status: 200, code: "forged" };
    gateway.broker.topics.get = () =>
      Promise.reject(new TidegateError("overloaded", "Cannot wait: too many do", details));
    const response = await gateway.ask("/v1/topics/orders");
    assert.match(response.headers.get("retry-after") ?? "", /^[1-5]$/);
    const body = await problem(response, { status: 503, code: "overloaded" });
    assert.equal(body["limit"], 5);
    assert.equal(body["retryable"], true);
    assert.deepEqual(gateway.reported, []);
  });
});

describe("two Host headers", () => {
  it("are refused", async () => {
    const response = await new TestGateway().ask("/healthz", { headers: { host: "a, b" } });
    await problem(response, { status: 400, code: "invalid-request" });
  });
});

describe("API keys", () => {
  const keyed = () => new TestGateway({ apiKeys: ["first-key", "second-key"] });

  it("let in whoever has one, again and again", async () => {
    const gateway = keyed();
    for (const key of ["first-key", "second-key", "first-key", "second-key"]) {
      assert.equal((await gateway.ask("/v1/topics", as(`Bearer ${key}`))).status, 200, key);
    }
    assert.equal((await gateway.ask("/v1/topics", as("bearer  first-key"))).status, 200);
  });

  const others = [
    "",
    "Bearer",
    "Bearer ",
    "first-key",
    "Basic Zmlyc3Qta2V5",
    "Bearer first-ke",
    "Bearer first-keyy",
    "Bearer FIRST-KEY",
    "Bearer first-key second-key",
    "Bearer third",
  ];
  for (const authorization of [undefined, ...others]) {
    it(`keep out "${authorization}", with nothing stored`, async () => {
      const gateway = keyed();
      const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
      for (const path of [PATH, "/nowhere"]) {
        const response = await gateway.ask(path, { ...publish, headers });
        assert.equal(response.headers.get("www-authenticate"), "Bearer");
        await problem(response, { status: 401, code: "unauthorized" });
      }
      assert.equal(await gateway.stored("orders"), 0);
    });
  }

  it("are not asked for where anybody may look", async () => {
    const gateway = keyed();
    for (const path of [
      "/healthz",
      "/readyz",
      "/openapi.json",
      "/openapi.yaml",
      "/docs",
      "/docs/start.js",
      "/problems/internal",
    ]) {
      assert.equal((await gateway.ask(path)).status, 200, path);
    }
    assert.equal((await gateway.ask("/v1/topics", { method: "OPTIONS" })).status, 204);
  });

  it("are asked for before the body is read", async () => {
    const gateway = keyed();
    let pulled = 0;
    const body = new ReadableStream({ pull: () => void pulled++ }, { highWaterMark: 0 });
    assert.equal((await gateway.ask(PATH, { method: "POST", body })).status, 401);
    assert.equal(pulled, 0);
  });

  it("do not appear in what is answered or reported", async () => {
    const gateway = keyed();
    gateway.broker.topics.list = () => Promise.reject(new Error("boom"));
    const response = await gateway.ask("/v1/topics", as("Bearer first-key"));
    const text = JSON.stringify([await response.text(), [...response.headers], gateway.reported]);
    assert.doesNotMatch(text, /first-key/);
  });
});

describe("browsers on other origins", () => {
  const APP = "https://app.example";
  const from = (origin: string, more: Record<string, string> = {}): Ask => ({
    headers: { origin, ...more },
  });

  it("may read what they are allowed to, and its headers", async () => {
    const gateway = new TestGateway({ corsOrigins: [APP] });
    for (const [path, ask] of [
      [PATH, publish],
      [PATH, {}],
      ["/nowhere", {}],
    ] as const) {
      const { headers } = await gateway.ask(path, { ...ask, ...from(APP) });
      assert.equal(headers.get("access-control-allow-origin"), APP);
      assert.match(headers.get("access-control-expose-headers") ?? "", /Next-Cursor/);
      assert.match(headers.get("vary") ?? "", /\bOrigin\b/);
      assert.equal(headers.get("access-control-allow-credentials"), null);
    }
  });

  it("get no such headers from anywhere else, but caches are told", async () => {
    const gateway = new TestGateway({ corsOrigins: [APP] });
    for (const origin of ["https://evil.example", "null", "https://app.example.evil.example"]) {
      const { headers } = await gateway.ask("/v1/topics", from(origin));
      assert.equal(headers.get("access-control-allow-origin"), null);
      assert.equal(headers.get("vary"), "Origin");
    }
    assert.equal((await gateway.ask("/v1/topics")).headers.get("vary"), "Origin");
    assert.equal((await new TestGateway().ask("/v1/topics")).headers.get("vary"), null);
  });

  it("are told in a preflight what they may send", async () => {
    const gateway = new TestGateway({ corsOrigins: [APP], apiKeys: ["a"] });
    const asked = {
      "access-control-request-method": "POST",
      "access-control-request-headers":
        "authorization, message-key, message-property-region, x-evil",
    };
    const { status, headers } = await gateway.ask(PATH, { method: "OPTIONS", ...from(APP, asked) });
    assert.equal(status, 204);
    assert.equal(headers.get("access-control-allow-origin"), APP);
    assert.equal(headers.get("access-control-allow-methods"), "GET, POST, HEAD, OPTIONS");
    const allowed = (headers.get("access-control-allow-headers") ?? "").toLowerCase().split(", ");
    for (const name of [
      "authorization",
      "message-key",
      "message-property-region",
      "if-none-match",
    ]) {
      assert(allowed.includes(name), name);
    }
    assert(!allowed.includes("x-evil"));
    assert.equal(headers.get("access-control-max-age"), "7200");
  });

  it("get no preflight from anywhere else", async () => {
    const gateway = new TestGateway({ corsOrigins: [APP] });
    const asked = { "access-control-request-method": "POST" };
    const ask = { method: "OPTIONS", ...from("https://evil.example", asked) };
    const { headers } = await gateway.ask(PATH, ask);
    assert.equal(headers.get("access-control-allow-origin"), null);
    assert.equal(headers.get("access-control-allow-methods"), null);
  });

  it("may be all of them", async () => {
    const gateway = new TestGateway({ corsOrigins: ["*"] });
    const { status, headers } = await gateway.ask(PATH, {
      ...publish,
      ...from("https://any.example"),
    });
    assert.equal(status, 201);
    assert.equal(headers.get("access-control-allow-origin"), "*");
    assert.equal(headers.get("vary"), null);
  });

  const EVIL = "https://evil.example";
  const posts: [name: string, headers: Record<string, string>, status: number][] = [
    ["a page of another site", { origin: EVIL, "sec-fetch-site": "cross-site" }, 403],
    ["a page of another port", { origin: EVIL, "sec-fetch-site": "same-site" }, 403],
    ["an old browser on another site", { origin: EVIL, host: "gateway.test" }, 403],
    ["a sandboxed page", { origin: "null" }, 403],
    ["our own page", { origin: "http://gateway.test", "sec-fetch-site": "same-origin" }, 201],
    [
      "our own page in an old browser",
      { origin: "http://gateway.test", host: "gateway.test" },
      201,
    ],
    ["an allowed page", { origin: APP, "sec-fetch-site": "cross-site" }, 201],
    ["no browser", {}, 201],
  ];
  for (const [name, headers, status] of posts) {
    it(`${status === 201 ? "may" : "may not"} publish: ${name}`, async () => {
      const gateway = new TestGateway({ corsOrigins: [APP] });
      const response = await gateway.ask(PATH, { ...publish, headers });
      if (status === 403) await problem(response, { status, code: "forbidden" });
      assert.equal(response.status, status);
      assert.equal(await gateway.stored("orders"), status === 201 ? 1 : 0);
    });
  }
});

describe("drain()", () => {
  it("makes /readyz say no while /healthz says yes", async () => {
    const gateway = new TestGateway();
    assert.deepEqual(await gateway.json("/readyz"), { status: "ready", damaged: [] });
    await gateway.gateway.drain();
    const draining = { status: "draining", code: "draining", damaged: [] };
    assert.deepEqual(await gateway.json("/readyz", { status: 503 }), draining);
    assert.deepEqual(await gateway.json("/healthz"), { status: "ok" });
  });

  it("refuses new work, which may be tried again", async () => {
    const gateway = new TestGateway();
    await gateway.gateway.drain();
    const asks: [string, Ask?][] = [
      [PATH, publish],
      [PATH],
      ["/v1/groups/g/receive", { method: "POST" }],
    ];
    for (const [path, ask] of asks) {
      const response = await gateway.ask(path, ask);
      assert.match(response.headers.get("retry-after") ?? "", /^[1-5]$/);
      const body = await problem(response, { status: 503, code: "draining" });
      assert.equal(body["retryable"], true);
      assert.equal(body["applied"], false);
    }
    assert.equal(await gateway.stored("orders"), 0);
  });

  it("tells a new event stream to come back, in words it understands", async () => {
    const gateway = new TestGateway();
    await gateway.ask(PATH, publish);
    await gateway.gateway.drain();
    for (const [path, ask] of [
      [PATH, { headers: { accept: "text/event-stream" } }],
      [`${PATH}?format=sse`, {}],
    ] as const) {
      const response = await gateway.ask(path, ask);
      assert.equal(response.status, 200);
      assert.equal(response.headers.get("content-type"), "text/event-stream");
      assert.match(await response.text(), /^retry: \d+\n[^]*event: reconnect\n/m);
    }
  });

  it("resolves when the publish in flight is answered", async () => {
    const gateway = new TestGateway();
    const original = gateway.broker.messages.publish.bind(gateway.broker.messages);
    const gate = Promise.withResolvers<void>();
    gateway.broker.messages.publish = async (...message) => {
      await gate.promise;
      return original(...message);
    };
    const publishing = gateway.ask(PATH, publish);
    let drained = false;
    const draining = gateway.gateway.drain().then(() => {
      drained = true;
    });
    await gateway.ask("/healthz");
    assert.equal(drained, false);
    gate.resolve();
    assert.equal((await publishing).status, 201);
    await draining;
    assert.equal(await gateway.stored("orders"), 1);
  });

  it("may be asked for twice, and while nothing is going on", async () => {
    const gateway = new TestGateway();
    await Promise.all([gateway.gateway.drain(), gateway.gateway.drain()]);
  });

  it("ends waits of both kinds", async () => {
    const gateway = new TestGateway();
    await gateway.ask("/v1/topics/orders", { method: "PUT" });
    await gateway.ask("/v1/groups/g", {
      method: "PUT",
      json: { subscriptions: [{ topic: "orders" }] },
    });
    const waits = [
      gateway.ask(`${PATH}?wait=60`),
      gateway.ask("/v1/groups/g/receive", { method: "POST" }),
    ];
    await until(() => gateway.broker.waiting === 2, "it waits");
    await gateway.gateway.drain();
    for (const wait of waits) assert.equal((await wait).status, 204);
  });
});

describe("/readyz", () => {
  it("warns of a clock that was set", async () => {
    const gateway = new TestGateway();
    gateway.broker.node.clockSkewMs = -1000;
    assert.deepEqual(await gateway.json("/readyz"), { status: "ready", damaged: [] });
    gateway.broker.node.clockSkewMs = -3_600_000;
    const warned = { status: "ready", damaged: [], clockSkewMs: -3_600_000 };
    assert.deepEqual(await gateway.json("/readyz"), warned);
  });

  it("tells damaged ranges, and still takes traffic", async () => {
    const gateway = new TestGateway();
    gateway.broker.node.damaged.push({ from: 4096, to: 8192 });
    const damaged = [{ from: "4096", to: "8192" }];
    assert.deepEqual(await gateway.json("/readyz"), { status: "degraded", damaged });
  });

  it("says no when the broker does", async () => {
    const gateway = new TestGateway();
    gateway.broker.node.ready = false;
    assert.equal((await gateway.json("/readyz", { status: 503 }))["status"], "draining");
  });
});

describe("/v1/cluster", () => {
  it("shows a cluster of one", async () => {
    assert.deepEqual(await new TestGateway().json("/v1/cluster"), {
      mode: "serve",
      nodes: [{ id: "node-1", group: "group-0", alive: true, role: "leader", durableEnd: "4096" }],
      groups: [
        {
          id: "group-0",
          leader: "node-1",
          epoch: 1,
          syncSet: ["node-1"],
          minSync: 1,
          confirmOffset: "4096",
        },
      ],
      placement: [],
    });
  });
});

describe("a client that leaves", () => {
  const asks: [path: string, ask: Ask][] = [
    [`${PATH}?wait=60`, { method: "GET" }],
    ["/v1/groups/g/receive", { method: "POST" }],
  ];
  for (const [path, ask] of asks) {
    it(`ends its wait: ${ask.method} ${path}`, { timeout: 10_000 }, async () => {
      const gateway = new TestGateway();
      await gateway.ask("/v1/topics/orders", { method: "PUT" });
      const json = { subscriptions: [{ topic: "orders" }] };
      await gateway.ask("/v1/groups/g", { method: "PUT", json });
      const client = new AbortController();
      const asked = gateway.ask(path, { ...ask, signal: client.signal });
      await until(() => gateway.broker.waiting === 1, "it waits");
      client.abort();
      await until(() => gateway.broker.waiting === 0, "it waits no more");
      await asked;
    });
  }
});
