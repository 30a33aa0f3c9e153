import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { StoredMessage } from "../../src/broker/api.ts";
import { encodeMessages } from "../../src/gateway/sse.ts";
import { encodeSlice } from "../../src/gateway/topics_events.ts";
import { encodeMessage, messageSizeMax } from "../../storage/base/message.ts";

const utf8 = new TextEncoder();
const text = new TextDecoder();
const about = { topic: "b", before: "a=c0,c=c9,b=" };

describe("encodeSlice()", () => {
  it("writes ids anew, and leaves the rest as it is", () => {
    const chunk = encodeMessages(["1", "22", "333"].map(stored), ["x", "yy", "zzz"]);
    const { chunks, next } = encodeSlice(chunk, { ...about, from: 1 });
    const lines = text.decode(chunk.bytes).split("\n");
    const expected = [
      "id: a=c0,c=c9,b=yy",
      ...lines.slice(5, 8),
      "id: a=c0,c=c9,b=zzz",
      ...lines.slice(9, 12),
      "",
    ];
    assert.equal(joined(chunks), expected.join("\n"));
    assert.equal(next, 3);
  });

  it("copies short events together, and shares the bytes of long ones", () => {
    const long = "x".repeat(5000);
    const chunk = encodeMessages(["1", "2", long, "4"].map(stored), ["w", "x", "y", "z"]);
    const { chunks } = encodeSlice(chunk, { ...about, from: 0 });
    assert.deepEqual(
      chunks.map(({ buffer }) => buffer === chunk.bytes.buffer),
      [false, true, false],
    );
  });

  it("ends once there is enough, with one event at least", () => {
    const large = ["x".repeat(20_000), "x".repeat(20_000), "x".repeat(100_000)];
    const chunk = encodeMessages(large.map(stored), ["x", "y", "z"]);
    const first = encodeSlice(chunk, { ...about, from: 0 });
    assert.equal(first.next, 2);
    assert.equal(encodeSlice(chunk, { ...about, from: first.next }).next, 3);
  });

  it("counts the ids: many topics make a slice of fewer events", () => {
    const chunk = encodeMessages(
      Array.from({ length: 100 }, (_, n) => stored(`${n}`)),
      Array.from({ length: 100 }, (_, n) => `c${n}`),
    );
    const { next } = encodeSlice(chunk, { ...about, before: "x".repeat(5000), from: 0 });
    assert(next < 10, `${next} events`);
  });

  it("tells a message that cannot be read as a gap of its topic", () => {
    const broken = { ...stored("2"), payload: new Uint8Array(3) };
    const chunk = encodeMessages([stored("1"), broken], ["x", "y"]);
    const { chunks } = encodeSlice(chunk, { ...about, from: 1 });
    const data = '{"topic":"b","requested":"x","earliest":"y"}';
    assert.equal(joined(chunks), `id: a=c0,c=c9,b=y\nevent: gap\ndata: ${data}\n\n`);
  });
});

function joined(chunks: readonly Uint8Array[]): string {
  return chunks.map((chunk) => text.decode(chunk)).join("");
}

function stored(body: string): StoredMessage {
  const bytes = utf8.encode(body);
  const attributes = { id: "m1", contentType: "text/plain" };
  const envelope = { topicGen: 1, queueId: 0, queueOffset: 7, keyHash: 0, tagHash: 0, bornAt: 1 };
  const target = new Uint8Array(messageSizeMax(attributes, bytes.length));
  const end = encodeMessage(target, 0, { envelope, attributes, body: bytes });
  const at = { topic: "orders", queueId: 0, queueOffset: 7, cursor: "q0.8", publishedAt: 1 };
  return { ...at, payload: target.subarray(0, end) };
}
