import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { messageJson } from "../../routes/message_json.ts";
import type { StoredMessage } from "../../src/broker/api.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import {
  encodeMessage,
  type MessageAttributes,
  messageSizeMax,
} from "../../storage/base/message.ts";

const utf8 = new TextEncoder();
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function stored(
  body: Uint8Array | string,
  attributes: Partial<MessageAttributes> = {},
): StoredMessage {
  const bytes = typeof body === "string" ? utf8.encode(body) : body;
  const all = { id: "m1", ...attributes };
  const payload = new Uint8Array(messageSizeMax(all, bytes.length));
  const envelope = { topicGen: 1, queueId: 3, queueOffset: 7, keyHash: 0, tagHash: 0, bornAt: 1 };
  const end = encodeMessage(payload, 0, { envelope, attributes: all, body: bytes });
  return {
    topic: "orders",
    queueId: 3,
    queueOffset: 7,
    cursor: "0abc",
    publishedAt: Date.UTC(2026, 10, 22, 8, 0, 0, 123),
    payload: payload.subarray(0, end),
  };
}

const line = (one: StoredMessage) => text.decode(messageJson(one));
const shown = (one: StoredMessage) => JSON.parse(line(one)) as Record<string, unknown>;

describe("messageJson()", () => {
  it("has the members of the contract, in its order", () => {
    const attributes = {
      key: 'k"1',
      tag: "t",
      index: ["a", "b"],
      properties: [
        ["region", "eu"],
        ["__proto__", "p"],
      ] as const,
      contentType: "application/json",
      traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
      tracestate: "v=1",
    };
    assert.equal(
      line(stored('{"total":12}', attributes)),
      '{"id":"m1","topic":"orders","queueId":3,"queueOffset":"7","cursor":"0abc","key":"k\\"1","tag":"t",' +
        '"index":["a","b"],"properties":{"region":"eu","__proto__":"p"},"contentType":"application/json",' +
        '"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","tracestate":"v=1",' +
        '"data":{"total":12},"publishedAt":"2026-11-22T08:00:00.123Z"}',
    );
  });

  it("leaves out what is not there", () => {
    assert.equal(
      line(stored("hi", { contentType: "text/plain" })),
      '{"id":"m1","topic":"orders","queueId":3,"queueOffset":"7","cursor":"0abc","contentType":"text/plain",' +
        '"text":"hi","publishedAt":"2026-11-22T08:00:00.123Z"}',
    );
  });

  it("adds the members of a lease at the end", () => {
    const lease = { receipt: "r1", attempt: 2, leaseUntil: Date.UTC(2026, 0, 1) };
    const json = text.decode(messageJson(stored("", { contentType: "text/plain" }), lease));
    assert(json.endsWith(',"receipt":"r1","attempt":2,"leaseUntil":"2026-01-01T00:00:00.000Z"}'));
  });

  const bytes = (...values: number[]) => Uint8Array.from(values);
  const cases: [
    name: string,
    contentType: string | undefined,
    body: Uint8Array | string,
    member: string,
    value: unknown,
  ][] = [
    ["JSON", "application/json", ' {"a":[1]} ', "data", { a: [1] }],
    ["JSON with a charset", "application/json; charset=UTF-8", "1", "data", 1],
    ["+json", "application/vnd.x+json", '"a"', "data", "a"],
    ["text/json", "text/json", "null", "data", null],
    ["JSON in capitals", "Application/JSON", "true", "data", true],
    ["broken JSON", "application/json", '{"a":', "text", '{"a":'],
    ["two JSON values", "application/json", "1 2", "text", "1 2"],
    ["JSON that would close the page", "application/json", '1},{"x":2', "text", '1},{"x":2'],
    ["no JSON at all", "application/json", "", "text", ""],
    ["JSON behind a byte order mark", "application/json", "\ufeff1", "text", "\ufeff1"],
    ["JSON that is not UTF-8", "application/json", bytes(0x22, 0xff, 0x22), "dataBase64", "Iv8i"],
    [
      "JSON too deep for its readers",
      "application/json",
      `${"[".repeat(65)}${"]".repeat(65)}`,
      "text",
      `${"[".repeat(65)}${"]".repeat(65)}`,
    ],
    ["text", "text/plain", "grüß\n", "text", "grüß\n"],
    ["text with a quote", "text/plain", 'say "hi"', "text", 'say "hi"'],
    ["text with a backslash", "text/plain", "C:\\temp", "text", "C:\\temp"],
    ["text with control characters", "text/plain", "a\u0001\tb\u007f", "text", "a\u0001\tb\u007f"],
    ["text that is not UTF-8", "text/plain", bytes(0xe9), "dataBase64", "6Q=="],
    ["text in another encoding", "text/plain; charset=iso-8859-1", "abc", "dataBase64", "YWJj"],
    ["a form", "application/x-www-form-urlencoded", "a=1&b=2", "text", "a=1&b=2"],
    ["XML", "application/xml", "<a/>", "text", "<a/>"],
    ["+xml", "image/svg+xml", "<svg/>", "text", "<svg/>"],
    ["JavaScript", "application/javascript", "x", "text", "x"],
    ["NDJSON", "application/x-ndjson", "1\n2\n", "text", "1\n2\n"],
    ["anything else", "application/octet-stream", bytes(0, 1, 2, 3), "dataBase64", "AAECAw=="],
    ["no type", undefined, "abcd", "dataBase64", "YWJjZA=="],
  ];
  for (const [name, contentType, body, member, value] of cases) {
    it(`shows ${name} as ${member}`, () => {
      const message = shown(stored(body, contentType === undefined ? {} : { contentType }));
      assert.deepEqual(message[member], value);
      const forms = ["data", "text", "dataBase64"].filter((form) => form in message);
      assert.deepEqual(forms, [member]);
    });
  }

  it("neither rounds nor reorders what it splices in", () => {
    const body = '{"b":9007199254740993,"a":1.0,"a":1e400}';
    assert(line(stored(body, { contentType: "application/json" })).includes(`"data":${body},`));
  });

  it("is one line, whatever lines its JSON has", () => {
    const json = line(
      stored('{\r\n"a": "x\\ny",\n"b":\r1\n}', { contentType: "application/json" }),
    );
    assert.doesNotMatch(json, /[\r\n]/);
    assert.deepEqual((JSON.parse(json) as { data: unknown }).data, { a: "x\ny", b: 1 });
  });

  it("throws data-damaged when the payload is no message", () => {
    assert.throws(
      () => messageJson({ ...stored("x"), payload: new Uint8Array(10) }),
      (error) => error instanceof TidegateError && error.code === "data-damaged",
    );
  });

  it("is always one line of JSON, and gives the bytes back", () => {
    const anyText = fc.string({ unit: "binary" });
    const anyBody = fc.oneof(
      fc.uint8Array(),
      fc.json().map((json) => utf8.encode(json)),
    );
    const types = [
      "application/json",
      "text/plain",
      "application/x-ndjson",
      "image/png",
      "a/b+json",
    ];
    fc.assert(
      fc.property(anyBody, fc.constantFrom(...types), anyText, (body, contentType, key) => {
        const json = line(stored(body, { contentType, key }));
        assert.doesNotMatch(json, /[\r\n]/);
        const message = JSON.parse(json) as Record<string, string>;
        assert.equal(message["key"], key);
        if (message["dataBase64"] !== undefined) {
          const back = Uint8Array.from(atob(message["dataBase64"]), (char) => char.charCodeAt(0));
          assert.deepEqual(back, Uint8Array.from(body));
        } else if (message["text"] !== undefined) {
          assert.deepEqual(utf8.encode(message["text"]), Uint8Array.from(body));
        } else {
          assert.deepEqual(message["data"], JSON.parse(text.decode(body)));
        }
      }),
    );
  });
});
