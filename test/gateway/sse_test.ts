import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createParser, type EventSourceMessage } from "eventsource-parser";
import fc from "fast-check";
import type { StoredMessage } from "../../src/broker/api.ts";
import {
  encodeControl,
  encodeGap,
  encodeMessages,
  encodeOpening,
  encodeReconnect,
  eventOf,
  eventTail,
  HEARTBEAT,
} from "../../src/gateway/sse.ts";
import { encodeMessage, messageSizeMax } from "../../storage/base/message.ts";

const utf8 = new TextEncoder();
const text = new TextDecoder();

describe("encodeMessages()", () => {
  it("gives each message its position and one line of JSON", () => {
    const chunk = encodeMessages([stored({ body: '{"n":1}' })], ["c1"]);
    const lines = text.decode(chunk.bytes).split("\n");
    assert.deepEqual(lines.slice(0, 2), ["id: c1", "event: message"]);
    assert.match(lines[2] ?? "", /^data: \{"id":"m1",.*"data":\{"n":1\}.*\}$/);
    assert.deepEqual(lines.slice(3), ["", ""]);
  });

  it("is undone by a reader, whatever the body holds", () => {
    const types = ["application/json", "text/plain", "application/octet-stream", undefined];
    const messages = fc.array(
      fc.record({
        body: fc.oneof(
          fc.string({ unit: "binary" }),
          fc.json(),
          fc.constant('{"a":\r\n1,\r"b":\n2}'),
        ),
        contentType: fc.constantFrom(...types),
      }),
      { minLength: 1, maxLength: 5 },
    );
    fc.assert(
      fc.property(messages, (given) => {
        const all = given.map((message) => stored(message));
        const cursors = all.map((_, i) => `c${i}`);
        const events = parse(encodeMessages(all, cursors).bytes);
        assert.deepEqual(
          events.map(({ id, event }) => [id, event]),
          cursors.map((cursor) => [cursor, "message"]),
        );
        for (const [i, { body, contentType }] of given.entries()) {
          assert.deepEqual(bodyOf(events[i]?.data ?? ""), valueOf(body, contentType));
        }
      }),
    );
  });

  it("says where each event ends, so that a chunk can be cut", () => {
    const all = [stored({ body: "1" }), stored({ body: "22" }), stored({ body: "333" })];
    const { bytes, ends } = encodeMessages(all, ["a", "b", "c"]);
    assert.equal(ends.at(-1), bytes.length);
    const [first = 0, second = 0] = ends;
    const [event] = parse(bytes.subarray(first, second));
    assert.equal(event?.id, "b");
    assert.equal(parse(bytes.subarray(first, second)).length, 1);
  });

  it("can be cut into events of the same bytes", () => {
    const broken = { ...stored({ body: "2" }), payload: new Uint8Array(3) };
    const chunk = encodeMessages([stored({ body: "1" }), broken], ["a", "bb"]);
    for (const index of [0, 1]) {
      const event = eventOf(chunk, index);
      const [from, to] = [chunk.ends[index - 1] ?? 0, chunk.ends[index]];
      assert.deepEqual(event.bytes, chunk.bytes.subarray(from, to));
      assert.equal(event.bytes.buffer, chunk.bytes.buffer);
      assert.deepEqual(event.ends, [event.bytes.length]);
      assert.deepEqual(event.messages, [chunk.messages[index]]);
      assert.deepEqual([event.cursors, event.last], [[chunk.cursors[index]], chunk.cursors[index]]);
      assert.deepEqual(event.gaps.get(0), chunk.gaps.get(index));
      assert.equal(`id: ${text.decode(eventTail(chunk, index))}`, text.decode(event.bytes));
    }
  });

  it("tells a message that cannot be read as a gap", () => {
    const broken = { ...stored({ body: "2" }), payload: new Uint8Array(3) };
    const all = [stored({ body: "1" }), broken, stored({ body: "3" })];
    const events = parse(encodeMessages(all, ["a", "b", "c"]).bytes);
    assert.deepEqual(
      events.map(({ id, event }) => [id, event]),
      [
        ["a", "message"],
        ["b", "gap"],
        ["c", "message"],
      ],
    );
    assert.deepEqual(JSON.parse(events[1]?.data ?? ""), { requested: "a", earliest: "b" });
  });
});

describe("an event id", () => {
  const refused = ["", "a\nb", "a\rb", "a\0b", "a b", "é"];
  for (const cursor of refused) {
    it(`is never ${JSON.stringify(cursor)}`, () => {
      assert.throws(() => encodeControl({ cursor, upToDate: true }), TypeError);
      assert.throws(() => encodeGap({ requested: "a", earliest: cursor }), TypeError);
      assert.throws(() => encodeMessages([stored({ body: "1" })], [cursor]), TypeError);
    });
  }
});

describe("the other events", () => {
  const cases: [name: string, bytes: Uint8Array, expected: string][] = [
    [
      "opening",
      encodeOpening(2137.4, { cursor: "c1", upToDate: false }),
      'retry: 2137\nid: c1\nevent: control\ndata: {"cursor":"c1","upToDate":false}\n\n',
    ],
    [
      "control",
      encodeControl({ cursor: "c1", upToDate: true }),
      'id: c1\nevent: control\ndata: {"cursor":"c1","upToDate":true}\n\n',
    ],
    [
      "gap",
      encodeGap({ requested: "c1", earliest: "c5" }),
      'id: c5\nevent: gap\ndata: {"requested":"c1","earliest":"c5"}\n\n',
    ],
    [
      "reconnect",
      encodeReconnect("draining", 2500),
      'retry: 2500\nevent: reconnect\ndata: {"reason":"draining"}\n\n',
    ],
    [
      "control of topics, some of which ended",
      encodeControl({ cursor: "a=c1", upToDate: true, ended: ["a"] }),
      'id: a=c1\nevent: control\ndata: {"cursor":"a=c1","upToDate":true,"ended":["a"]}\n\n',
    ],
    [
      "gap of a topic",
      encodeGap({ topic: "a", requested: "c1", earliest: "c5" }, "a=c5,b=c0"),
      'id: a=c5,b=c0\nevent: gap\ndata: {"topic":"a","requested":"c1","earliest":"c5"}\n\n',
    ],
    ["heartbeat", HEARTBEAT, ":\n\n"],
  ];
  for (const [name, bytes, expected] of cases) {
    it(`${name} is as the contract says`, () => assert.equal(text.decode(bytes), expected));
  }
});

function stored(message: { body: string; contentType?: string | undefined }): StoredMessage {
  const body = utf8.encode(message.body);
  const attributes = { id: "m1", contentType: message.contentType ?? "application/json" };
  const envelope = { topicGen: 1, queueId: 0, queueOffset: 7, keyHash: 0, tagHash: 0, bornAt: 1 };
  const target = new Uint8Array(messageSizeMax(attributes, body.length));
  const end = encodeMessage(target, 0, { envelope, attributes, body });
  const at = { topic: "orders", queueId: 0, queueOffset: 7, cursor: "q0.8", publishedAt: 1 };
  return { ...at, payload: target.subarray(0, end) };
}

function parse(bytes: Uint8Array): EventSourceMessage[] {
  const events: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (event) => void events.push(event), onError: fail });
  parser.feed(text.decode(bytes));
  return events;
}

function fail(error: Error): never {
  throw error;
}

/** The value of the body, by way of whichever member holds it. */
function bodyOf(json: string): unknown {
  const message = JSON.parse(json) as { data?: unknown; text?: string; dataBase64?: string };
  if (message.dataBase64 !== undefined) return Buffer.from(message.dataBase64, "base64").toString();
  return message.text ?? message.data;
}

/** What a reader should find: JSON that is JSON as its value, all else as it was. */
function valueOf(body: string, contentType = "application/json"): unknown {
  if (contentType !== "application/json") return body;
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}
