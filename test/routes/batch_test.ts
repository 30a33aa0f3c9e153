import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ErrorCode } from "../../storage/base/errors.ts";
import { LIMITS } from "../../storage/base/message.ts";
import { type Ask, type JsonObject, problem, TestGateway } from "../fakes/gateway.ts";

const PATH = "/v1/topics/orders/messages/batch";
const ATOMIC = `${PATH}?atomic=true`;
const batch = (...messages: unknown[]): Ask => ({ method: "POST", json: { messages } });
const raw = (body: string, type = "application/json"): Ask => ({
  method: "POST",
  body,
  headers: { "content-type": type },
});

async function published(gateway: TestGateway): Promise<JsonObject[]> {
  const page = await gateway.json("/v1/topics/orders/messages?limit=1000");
  return page["messages"] as JsonObject[];
}

describe("POST /v1/topics/{topic}/messages/batch", () => {
  it("answers 200 with a result for each message, in order", async () => {
    const gateway = new TestGateway();
    const { results } = await gateway.json(
      PATH,
      batch({ data: 1, id: "a" }, { text: "b", id: "b" }),
    );
    assert.deepEqual(results, [
      { id: "a", queueId: 0, queueOffset: "0", cursor: "q-1-0-1" },
      { id: "b", queueId: 1, queueOffset: "0", cursor: "q-1-1-1" },
    ]);
  });

  it("stores data as JSON, text as text, dataBase64 as bytes, with their types", async () => {
    const gateway = new TestGateway();
    await gateway.json(
      PATH,
      batch(
        { data: { total: 12, list: [null, "é\ud83d\ude00"] } },
        { data: null },
        { text: "grüß" },
        { dataBase64: "AP8Q" },
        { dataBase64: "" },
        { text: "<a/>", contentType: "application/xml" },
      ),
    );
    const shown = (await published(gateway)).map(({ contentType, data, text, dataBase64 }) => ({
      contentType,
      ...(data === undefined ? {} : { data }),
      ...(text === undefined ? {} : { text }),
      ...(dataBase64 === undefined ? {} : { dataBase64 }),
    }));
    assert.deepEqual(shown, [
      { contentType: "application/json", data: { total: 12, list: [null, "é😀"] } },
      { contentType: "application/json", data: null },
      { contentType: "text/plain; charset=utf-8", text: "grüß" },
      { contentType: "application/octet-stream", dataBase64: "AP8Q" },
      { contentType: "application/octet-stream", dataBase64: "" },
      { contentType: "application/xml", text: "<a/>" },
    ]);
  });

  it("keeps attributes, the case of property names, and the request's trace", async () => {
    const gateway = new TestGateway();
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const properties = { Region: "eu", __proto__x: "1" };
    const message = { data: 1, key: "k", tag: "t", index: ["a", "b,c"], properties };
    await gateway.json(PATH, { ...batch(message), headers: { traceparent } });
    const [stored] = await published(gateway);
    assert.equal(stored?.["key"], "k");
    assert.equal(stored?.["tag"], "t");
    assert.deepEqual(stored?.["index"], ["a", "b,c"]);
    assert.deepEqual(stored?.["properties"], properties);
    assert.equal(stored?.["traceparent"], traceparent);
  });

  it("reads NDJSON, a message a line, with empty lines and CRLF between", async () => {
    const gateway = new TestGateway();
    const lines = '{"data":1}\r\n\n{"data":2}\n';
    const { results } = await gateway.json(PATH, raw(lines, "application/x-ndjson; charset=utf-8"));
    assert.equal(results.length, 2);
    assert.deepEqual(
      (await published(gateway)).map(({ data }) => data),
      [1, 2],
    );
  });

  it("keeps a __proto__ inside data as data", async () => {
    const gateway = new TestGateway();
    await gateway.json(PATH, raw('{"messages":[{"data":{"__proto__":{"admin":true}}}]}'));
    const page = await (await gateway.ask("/v1/topics/orders/messages")).text();
    assert.match(page, /"data":\{"__proto__":\{"admin":true\}\}/);
    assert.equal("admin" in {}, false);
  });

  const faulty: [name: string, message: unknown, pointer: string, code?: ErrorCode][] = [
    ["no body", { key: "k" }, "/messages/1/data"],
    ["two bodies", { data: 1, text: "a" }, "/messages/1/data"],
    ["a text that is no string", { text: 1 }, "/messages/1/text"],
    ["half a surrogate pair", { text: "\ud800" }, "/messages/1/text"],
    ["base64 that is none", { dataBase64: "a*==" }, "/messages/1/dataBase64"],
    ["base64 without padding", { dataBase64: "AP8" }, "/messages/1/dataBase64"],
    ["base64 with white space", { dataBase64: "AP 8" }, "/messages/1/dataBase64"],
    ["an unknown field", { data: 1, kye: "k" }, "/messages/1/kye"],
    ["an unknown field with a slash", { data: 1, "a/b~c": "k" }, "/messages/1/a~1b~0c"],
    ["a key that is no string", { data: 1, key: 1 }, "/messages/1/key"],
    ["an empty key", { data: 1, key: "" }, "/messages/1/key"],
    ["a key too long", { data: 1, key: "é".repeat(129) }, "/messages/1/key"],
    ["a key with half a surrogate pair", { data: 1, key: "\udc00" }, "/messages/1/key"],
    ["a tag with |", { data: 1, tag: "a|b" }, "/messages/1/tag"],
    ["an odd id", { data: 1, id: "a/b" }, "/messages/1/id"],
    ["an index that is no list", { data: 1, index: "a" }, "/messages/1/index"],
    ["an index of numbers", { data: 1, index: [1] }, "/messages/1/index"],
    ["nine index keys", { data: 1, index: "123456789".split("") }, "/messages/1/index"],
    ["properties that are no object", { data: 1, properties: ["a"] }, "/messages/1/properties"],
    ["properties that are no strings", { data: 1, properties: { a: 1 } }, "/messages/1/properties"],
    ["a property with a line end", { data: 1, properties: { a: "b\n" } }, "/messages/1/properties"],
    [
      "properties too large",
      { data: 1, properties: { a: "x".repeat(16_384) } },
      "/messages/1/properties",
    ],
    [
      "a content type with a line end",
      { data: 1, contentType: "a\r\nb" },
      "/messages/1/contentType",
    ],
    ["a number", 7, "/messages/1"],
    ["null", null, "/messages/1"],
    ["a list", [], "/messages/1"],
  ];
  for (const [name, message, pointer] of faulty) {
    it(`gives ${name} a problem of its own and stores the others`, async () => {
      const gateway = new TestGateway();
      const { results } = await gateway.json(PATH, batch({ data: 0 }, message, { data: 2 }));
      assert.equal(results.length, 3);
      assert.equal(results[1].problem.code, "validation-failed");
      assert.equal(results[1].problem.status, 422);
      assert.equal(results[1].problem.errors[0].pointer, pointer);
      assert.deepEqual(
        (await published(gateway)).map(({ data }) => data),
        [0, 2],
      );
    });

    it(`stores nothing of an atomic batch with ${name}`, async () => {
      const gateway = new TestGateway();
      const response = await gateway.ask(ATOMIC, batch({ data: 0 }, message, { data: 2 }));
      const body = await problem(response, { status: 422, code: "validation-failed" });
      assert.equal(body["errors"][0].pointer, pointer);
      assert.equal(await gateway.stored("orders"), 0);
    });
  }

  it("refuses a __proto__ beside data as an unknown field", async () => {
    const gateway = new TestGateway();
    const { results } = await gateway.json(
      PATH,
      raw('{"messages":[{"data":1,"__proto__":{"key":"k"}}]}'),
    );
    assert.equal(results[0].problem.errors[0].pointer, "/messages/0/__proto__");
    assert.equal(await gateway.stored("orders"), 0);
  });

  it("gives a line that is no JSON a problem of its own", async () => {
    const gateway = new TestGateway();
    const { results } = await gateway.json(
      PATH,
      raw('{"data":0}\n{"data":\n{"data":2}', "application/x-ndjson"),
    );
    assert.equal(results[1].problem.code, "invalid-request");
    assert.deepEqual(
      (await published(gateway)).map(({ data }) => data),
      [0, 2],
    );
  });

  it("gives a message too large and a CloudEvent problems of their own", async () => {
    const gateway = new TestGateway();
    const large = { text: "x".repeat(LIMITS.bodyBytes + 1) };
    const event = { data: {}, contentType: "application/cloudevents+json" };
    const { results } = await gateway.json(PATH, batch(large, event, { data: 2 }));
    assert.equal(results[0].problem.code, "message-too-large");
    assert.equal(results[0].problem.limit, LIMITS.bodyBytes);
    assert.equal(results[1].problem.code, "unsupported-media-type");
    assert.deepEqual(
      (await published(gateway)).map(({ data }) => data),
      [2],
    );
  });

  it("gives what the broker refuses a problem of its own", async () => {
    const gateway = new TestGateway();
    await gateway.json("/v1/topics/orders", {
      method: "PUT",
      json: { messageType: "fifo" },
      status: 201,
    });
    const { results } = await gateway.json(PATH, batch({ data: 0 }, { data: 1, key: "k" }));
    assert.equal(results[0].problem.code, "message-type-mismatch");
    assert.equal(results[1].queueOffset, "0");
    const response = await gateway.ask(ATOMIC, batch({ data: 0 }, { data: 1, key: "k" }));
    await problem(response, { status: 422, code: "message-type-mismatch" });
    assert.equal(await gateway.stored("orders"), 1);
  });

  it("answers 201 to an atomic batch", async () => {
    const gateway = new TestGateway();
    const { results } = await gateway.json(ATOMIC, {
      ...batch({ data: 1 }, { data: 2 }),
      status: 201,
    });
    assert.equal(results.length, 2);
    assert.equal(await gateway.stored("orders"), 2);
  });

  it("lists every fault of an atomic batch", async () => {
    const gateway = new TestGateway();
    const response = await gateway.ask(ATOMIC, batch({ text: 1 }, { data: 1, tag: "" }));
    const body = await problem(response, { status: 422, code: "validation-failed" });
    const pointers = body["errors"].map(({ pointer }: JsonObject) => pointer);
    assert.deepEqual(pointers, ["/messages/0/text", "/messages/1/tag"]);
  });

  it("takes 1000 messages", async () => {
    const gateway = new TestGateway();
    const messages = Array.from({ length: 1000 }, (_, i) => ({ data: i }));
    const { results } = await gateway.json(PATH, batch(...messages));
    assert.equal(results.length, 1000);
    assert.deepEqual(
      (await published(gateway)).map(({ data }) => data),
      messages.map(({ data }) => data),
    );
  });

  const refused: [name: string, path: string, ask: Ask, status: number, code: ErrorCode][] = [
    [
      "1001 messages",
      PATH,
      batch(...Array.from({ length: 1001 }, () => ({ data: 1 }))),
      422,
      "validation-failed",
    ],
    ["no message", PATH, batch(), 422, "validation-failed"],
    ["no line", PATH, raw("\n", "application/x-ndjson"), 422, "validation-failed"],
    [
      "an unknown field beside messages",
      PATH,
      raw('{"messages":[{"data":1}],"x":1}'),
      422,
      "validation-failed",
    ],
    ["messages that are no list", PATH, raw('{"messages":{}}'), 422, "validation-failed"],
    ["a list", PATH, raw("[]"), 422, "validation-failed"],
    ["null", PATH, raw("null"), 422, "validation-failed"],
    ["an empty body", PATH, raw(""), 400, "invalid-request"],
    ["broken JSON", PATH, raw('{"messages":[{"data":1}'), 400, "invalid-request"],
    [
      "JSON that is not UTF-8",
      PATH,
      { ...raw(""), body: new Uint8Array([0x22, 0xff, 0x22]) },
      400,
      "invalid-request",
    ],
    [
      "an integer beyond 2^53",
      PATH,
      raw('{"messages":[{"data":9007199254740993}]}'),
      400,
      "invalid-request",
    ],
    ["a number beyond all", PATH, raw('{"messages":[{"data":1e999}]}'), 400, "invalid-request"],
    [
      "deep nesting",
      PATH,
      raw(`{"messages":[{"data":${"[".repeat(200_000)}${"]".repeat(200_000)}}]}`),
      400,
      "invalid-request",
    ],
    [
      "no content type",
      PATH,
      { method: "POST", body: new TextEncoder().encode("{}") },
      415,
      "unsupported-media-type",
    ],
    ["another content type", PATH, raw("{}", "text/plain"), 415, "unsupported-media-type"],
    [
      "a CloudEvents batch",
      PATH,
      raw("[]", "application/cloudevents-batch+json"),
      415,
      "unsupported-media-type",
    ],
    ["an odd atomic", `${PATH}?atomic=yes`, batch({ data: 1 }), 400, "invalid-request"],
    ["an odd topic", "/v1/topics/_/messages/batch", batch({ data: 1 }), 400, "invalid-request"],
  ];
  for (const [name, path, ask, status, code] of refused) {
    it(`refuses ${name} and stores nothing`, async () => {
      const gateway = new TestGateway();
      await problem(await gateway.ask(path, ask), { status, code });
      assert.deepEqual((await gateway.broker.topics.list({ limit: 10 })).topics, []);
    });
  }

  it("refuses more than 16 MiB by the declared length alone", async () => {
    const gateway = new TestGateway();
    const headers = { "content-type": "application/json", "content-length": "16777217" };
    const response = await gateway.ask(PATH, { method: "POST", body: "{}", headers });
    const body = await problem(response, { status: 413, code: "body-too-large" });
    assert.equal(body["limit"], 16_777_216);
  });
});
