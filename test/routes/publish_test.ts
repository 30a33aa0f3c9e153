import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ErrorCode } from "../../storage/base/errors.ts";
import { decodeMessage, LIMITS } from "../../storage/base/message.ts";
import { type Ask, NOON, problem, TestGateway } from "../fakes/gateway.ts";

const PATH = "/v1/topics/orders/messages";
const post = (body: BodyInit, headers: Record<string, string> = {}): Ask => ({
  method: "POST",
  body,
  headers,
});

describe("POST /v1/topics/{topic}/messages", () => {
  it("answers 201 with the place of the message", async () => {
    const gateway = new TestGateway();
    const response = await gateway.ask(PATH, post("hello", { "Message-Id": "m:1.a-b_c" }));
    assert.equal(response.status, 201);
    assert.equal(response.headers.get("location"), "/v1/topics/orders/messages/m:1.a-b_c");
    assert.equal(response.headers.get("content-type"), "application/json");
    assert.deepEqual(await response.json(), {
      id: "m:1.a-b_c",
      topic: "orders",
      queueId: 0,
      queueOffset: "0",
      cursor: "q-1-0-1",
      publishedAt: "2026-11-22T12:00:00.000Z",
    });
  });

  it("makes ids that begin with the time, so that they sort by it", async () => {
    const gateway = new TestGateway();
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) {
      const { id } = await gateway.json(PATH, { ...post("x"), status: 201 });
      ids.push(id as string);
      gateway.clock.advance(1);
    }
    for (const id of ids) assert.match(id, /^[\w-]{21}$/);
    assert.deepEqual(ids, ids.toSorted());
  });

  it("keeps the body as it came, whatever its type says", async () => {
    const gateway = new TestGateway();
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    const headers = { "content-type": "application/json", "content-length": "256" };
    await gateway.json(PATH, { ...post(bytes, headers), status: 201 });
    const { messages } = await gateway.broker.messages.read({
      topic: "orders",
      start: { kind: "earliest" },
      limit: 1,
      maxBytes: 1024,
      waitMs: 0,
    });
    const message = decodeMessage(messages[0]?.payload ?? new Uint8Array());
    assert.deepEqual(message?.body, bytes);
    assert.equal(message?.contentType, "application/json");
  });

  it("takes each request for what it says itself, whatever the one before said", async () => {
    const gateway = new TestGateway();
    const asked: [path: string, type: string | undefined, status: number][] = [
      ["orders", "text/plain", 201],
      ["orders", "text/plain", 201],
      ["parcels", "text/plain", 201],
      ["orders", "image/png", 201],
      ["orders", undefined, 201],
      ["parcels", "text/pläin", 400],
      ["parcels", "text/pläin", 400],
      ["-", "text/plain", 400],
      ["-", "text/plain", 400],
      ["parcels", "text/plain", 201],
    ];
    const body = new Uint8Array(1); // text would bring a type of its own
    for (const [topic, type, status] of asked) {
      const path = `/v1/topics/${topic}/messages`;
      const response = await gateway.ask(path, post(body, type ? { "content-type": type } : {}));
      assert.equal(response.status, status, `${topic} ${type}`);
      if (status !== 201) continue;
      const { id, topic: told } = (await response.json()) as Record<string, string>;
      assert.equal(told, topic);
      assert.equal(response.headers.get("location"), `${path}/${id}`);
      assert.equal((await gateway.json(`${path}/${id}`))["contentType"], type);
    }
    const event = { "content-type": "text/plain", "ce-specversion": "1.0" };
    assert.equal((await gateway.ask(PATH, post(body, event))).status, 415);
    assert.deepEqual([await gateway.stored("orders"), await gateway.stored("parcels")], [4, 2]);
  });

  it("takes an empty body", async () => {
    const gateway = new TestGateway();
    assert.equal((await gateway.ask(PATH, post(""))).status, 201);
    assert.equal((await gateway.ask(PATH, { method: "POST" })).status, 201);
    assert.equal(await gateway.stored("orders"), 2);
  });

  it("takes attributes from headers, percent-decoded", async () => {
    const gateway = new TestGateway();
    const headers = {
      "Message-Key": "caf%C3%A9",
      "Message-Tag": "created",
      "Message-Index": "a%2Cb, c",
      "Message-Property-Region": "eu%20west",
      traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
      tracestate: "vendor=1",
    };
    const { id } = await gateway.json(PATH, { ...post("x", headers), status: 201 });
    const message = await gateway.json(`${PATH}/${id}`);
    assert.equal(message["key"], "café");
    assert.equal(message["tag"], "created");
    assert.deepEqual(message["index"], ["a,b", "c"]);
    assert.deepEqual(message["properties"], { region: "eu west" });
    assert.equal(message["traceparent"], headers.traceparent);
    assert.equal(message["tracestate"], "vendor=1");
  });

  it("takes attributes from the query, where a header wins", async () => {
    const gateway = new TestGateway();
    const ask = { ...post("x", { "Message-Tag": "header" }), status: 201 };
    await gateway.json(`${PATH}?key=caf%C3%A9+1&tag=query&index=a,b&id=mine`, ask);
    const message = await gateway.json(`${PATH}/mine`);
    assert.equal(message["key"], "café 1");
    assert.equal(message["tag"], "header");
    assert.deepEqual(message["index"], ["a", "b"]);
  });

  it("drops a traceparent that is none, and its tracestate", async () => {
    const gateway = new TestGateway();
    for (const traceparent of [
      "nonsense",
      "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
      "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
      "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ]) {
      const headers = { traceparent, tracestate: "vendor=1" };
      const { id } = await gateway.json(PATH, { ...post("x", headers), status: 201 });
      const message = await gateway.json(`${PATH}/${id}`);
      assert.equal("traceparent" in message, false, traceparent);
      assert.equal("tracestate" in message, false, traceparent);
    }
  });

  it("answers 204 to Prefer: return=minimal", async () => {
    const gateway = new TestGateway();
    const headers = { Prefer: "respond-async, return=minimal", "Message-Id": "a" };
    const response = await gateway.ask(PATH, post("x", headers));
    assert.equal(response.status, 204);
    assert.equal(response.headers.get("location"), `${PATH}/a`);
    assert.equal(response.headers.get("preference-applied"), "return=minimal");
    assert.equal(await response.text(), "");
  });

  const long = (bytes: number) => "x".repeat(bytes);
  const properties = (count: number, value = "v"): Record<string, string> =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`Message-Property-p${i}`, value]));

  const refused: [
    name: string,
    path: string,
    ask: Ask,
    status: number,
    code: ErrorCode,
    pointer?: string,
  ][] = [
    [
      "a topic with an odd name",
      "/v1/topics/-x/messages",
      post("x"),
      400,
      "invalid-request",
      "/path/topic",
    ],
    [
      "a topic name too long",
      `/v1/topics/${long(128)}/messages`,
      post("x"),
      400,
      "invalid-request",
      "/path/topic",
    ],
    [
      "a topic that climbs",
      "/v1/topics/..%2Fx/messages",
      post("x"),
      400,
      "invalid-request",
      "/path/topic",
    ],
    [
      "a topic that is not UTF-8",
      "/v1/topics/%FF/messages",
      post("x"),
      400,
      "invalid-request",
      "/path/topic",
    ],
    ["a query that is not UTF-8", `${PATH}?key=%FF`, post("x"), 400, "invalid-request", "/query"],
    [
      "a key that is not UTF-8",
      PATH,
      post("x", { "Message-Key": "%FF" }),
      400,
      "invalid-request",
      "/header/Message-Key",
    ],
    [
      "a key with raw bytes",
      PATH,
      post("x", { "Message-Key": "\u00e9" }),
      400,
      "invalid-request",
      "/header/Message-Key",
    ],
    ["an empty key", `${PATH}?key=`, post("x"), 400, "invalid-request", "/query/key"],
    [
      "a key with a line end",
      PATH,
      post("x", { "Message-Key": "a%0D%0Ab" }),
      400,
      "invalid-request",
      "/header/Message-Key",
    ],
    ["a key with a NUL", `${PATH}?key=a%00`, post("x"), 400, "invalid-request", "/query/key"],
    [
      "a key too long",
      PATH,
      post("x", { "Message-Key": long(257) }),
      400,
      "invalid-request",
      "/header/Message-Key",
    ],
    [
      "a key too long in bytes",
      `${PATH}?key=${"%C3%A9".repeat(129)}`,
      post("x"),
      400,
      "invalid-request",
      "/query/key",
    ],
    [
      "a tag with |",
      PATH,
      post("x", { "Message-Tag": "a|b" }),
      400,
      "invalid-request",
      "/header/Message-Tag",
    ],
    [
      "a tag too long",
      PATH,
      post("x", { "Message-Tag": long(129) }),
      400,
      "invalid-request",
      "/header/Message-Tag",
    ],
    [
      "an odd id",
      PATH,
      post("x", { "Message-Id": "a b" }),
      400,
      "invalid-request",
      "/header/Message-Id",
    ],
    ["an id too long", `${PATH}?id=${long(129)}`, post("x"), 400, "invalid-request", "/query/id"],
    [
      "nine index keys",
      PATH,
      post("x", { "Message-Index": "1,2,3,4,5,6,7,8,9" }),
      400,
      "invalid-request",
      "/header/Message-Index",
    ],
    [
      "an empty index key",
      PATH,
      post("x", { "Message-Index": "a,,b" }),
      400,
      "invalid-request",
      "/header/Message-Index",
    ],
    [
      "an index key too long",
      `${PATH}?index=${long(129)}`,
      post("x"),
      400,
      "invalid-request",
      "/query/index",
    ],
    [
      "129 properties",
      PATH,
      post("x", properties(129)),
      400,
      "invalid-request",
      "/header/Message-Property",
    ],
    [
      "17 KiB of properties",
      PATH,
      post("x", properties(17, long(1024))),
      400,
      "invalid-request",
      "/header/Message-Property",
    ],
    [
      "a property that is not UTF-8",
      PATH,
      post("x", { "Message-Property-a": "%C3" }),
      400,
      "invalid-request",
      "/header/Message-Property-a",
    ],
    [
      "a content type too long",
      PATH,
      post("x", { "content-type": long(257) }),
      400,
      "invalid-request",
      "/header/Content-Type",
    ],
    [
      "a content length that is none",
      PATH,
      post("x", { "content-length": "5, 5" }),
      400,
      "invalid-request",
      "/header/Content-Length",
    ],
    [
      "a compressed body",
      PATH,
      post("x", { "content-encoding": "gzip" }),
      415,
      "unsupported-media-type",
    ],
    [
      "a structured CloudEvent",
      PATH,
      post("{}", { "content-type": "application/cloudevents+json" }),
      415,
      "unsupported-media-type",
    ],
    [
      "a CloudEvents batch",
      PATH,
      post("[]", { "content-type": "application/cloudevents-batch+json; charset=utf-8" }),
      415,
      "unsupported-media-type",
    ],
    [
      "a binary CloudEvent",
      PATH,
      post("x", { "ce-specversion": "1.0" }),
      415,
      "unsupported-media-type",
    ],
    [
      "another namespace",
      PATH,
      post("x", { "Tidegate-Namespace": "other" }),
      501,
      "not-implemented",
    ],
    ["another ?namespace", `${PATH}?namespace=other`, post("x"), 501, "not-implemented"],
  ];
  for (const [name, path, ask, status, code, pointer] of refused) {
    it(`refuses ${name} and stores nothing`, async () => {
      const gateway = new TestGateway();
      const body = await problem(await gateway.ask(path, ask), { status, code });
      if (pointer !== undefined) assert.equal(body["errors"][0].pointer, pointer);
      assert.equal(body["applied"], false);
      assert.deepEqual((await gateway.broker.topics.list({ limit: 10 })).topics, []);
      assert.deepEqual(gateway.reported, []);
    });
  }

  it("takes 4 MiB and not a byte more, by the declared length alone", async () => {
    const gateway = new TestGateway();
    const most = new Uint8Array(LIMITS.bodyBytes);
    const fits = post(most, { "content-length": String(most.length) });
    assert.equal((await gateway.ask(PATH, fits)).status, 201);

    let pulled = 0;
    const endless = new ReadableStream(
      {
        pull(controller) {
          pulled++;
          controller.enqueue(new Uint8Array(1024));
        },
      },
      { highWaterMark: 0 },
    );
    const over = post(endless, { "content-length": String(most.length + 1) });
    const body = await problem(await gateway.ask(PATH, over), {
      status: 413,
      code: "message-too-large",
    });
    assert.equal(body["limit"], LIMITS.bodyBytes);
    assert.equal(pulled, 0);
    assert.equal(await gateway.stored("orders"), 1);
  });

  it("says topic-not-found where auto-create is off, and stores nothing", async () => {
    const gateway = new TestGateway({ fake: { autoCreate: false } });
    await problem(await gateway.ask(PATH, post("x")), { status: 404, code: "topic-not-found" });
  });

  it("says message-type-mismatch to a message without a key for a fifo topic", async () => {
    const gateway = new TestGateway();
    await gateway.json("/v1/topics/orders", {
      method: "PUT",
      json: { messageType: "fifo" },
      status: 201,
    });
    const response = await gateway.ask(PATH, post("x"));
    await problem(response, { status: 422, code: "message-type-mismatch" });
    assert.equal(await gateway.stored("orders"), 0);
    assert.equal((await gateway.ask(PATH, post("x", { "Message-Key": "k" }))).status, 201);
  });

  it("stamps by the clock it was given", async () => {
    const gateway = new TestGateway();
    gateway.clock.advance(1500);
    const { publishedAt } = await gateway.json(PATH, { ...post("x"), status: 201 });
    assert.equal(publishedAt, new Date(NOON + 1500).toISOString());
  });
});
