import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { viewOf } from "../../storage/base/bytes.ts";
import { stableHash } from "../../storage/base/hash.ts";
import {
  decodeMessage,
  encodeMessage,
  type Message,
  MessageFields,
  messageIdHash,
  messageSizeMax,
} from "../../storage/base/message.ts";
import { indexKeyHashes } from "../../storage/base/message_keys.ts";
import { KINDS } from "../../storage/records/mod.ts";
import { fullMessage } from "./samples.ts";

const u32 = fc.nat({ max: 0xffff_ffff });
const text = (maxLength: number) =>
  fc.oneof(fc.string({ maxLength }), fc.string({ unit: "grapheme", maxLength }));
const bytes = (size: number) => fc.uint8Array({ minLength: size, maxLength: size });
const strict = { noNullPrototype: true };

/** Optional fields are left out, never present and undefined. */
const anyMessage: fc.Arbitrary<Message> = fc.record(
  {
    topicGen: fc.maxSafeNat(),
    queueId: fc.nat({ max: 0xffff }),
    queueOffset: fc.oneof(fc.constant(-1), fc.maxSafeNat()),
    keyHash: u32,
    tagHash: u32,
    bornAt: fc.maxSafeNat(),
    deliverAt: fc.maxSafeNat(),
    txnId: text(60),
    dedupe: fc.record({ keyHash: bytes(16), fingerprint: bytes(8) }, strict),
    producer: fc.record({ id: text(60), epoch: u32, seq: fc.maxSafeNat() }, strict),
    origin: fc.record({ brokerGroup: fc.nat({ max: 0xffff }), outSeq: fc.maxSafeNat() }, strict),
    id: text(128),
    key: text(80),
    tag: text(40),
    index: fc.array(text(40), { maxLength: 8 }),
    properties: fc.array(fc.tuple(text(20), text(200)), { maxLength: 10 }),
    contentType: text(60),
    traceparent: text(60),
    tracestate: text(100),
    body: fc.uint8Array({ maxLength: 300 }),
  },
  {
    noNullPrototype: true,
    requiredKeys: [
      ...(["topicGen", "queueId", "queueOffset", "keyHash", "tagHash", "bornAt"] as const),
      ...(["id", "index", "properties", "body"] as const),
    ],
  },
);

/** With bytes around it, which must not be looked at. */
function idHash(payload: Uint8Array): number | undefined {
  const bytes = new Uint8Array(payload.length + 7).fill(1);
  bytes.set(payload, 3);
  return messageIdHash({ bytes, view: viewOf(bytes) }, { at: 3, end: 3 + payload.length });
}

function keyHashes(payload: Uint8Array) {
  const bytes = new Uint8Array(3 + payload.length);
  bytes.set(payload, 3);
  return indexKeyHashes({ bytes, view: viewOf(bytes) }, { at: 3, end: 3 + payload.length });
}

describe("the message codec", () => {
  it("reads what it wrote", () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        const payload = KINDS.message.encode(message);
        assert.deepEqual(decodeMessage(payload), message);
      }),
      { numRuns: 300 },
    );
  });

  it("never writes beyond messageSizeMax(), wherever it begins", () => {
    fc.assert(
      fc.property(anyMessage, fc.nat({ max: 50 }), (message, at) => {
        const sizeMax = messageSizeMax(message, message.body.length);
        const target = new Uint8Array(at + sizeMax);
        const parts = { envelope: message, attributes: message, body: message.body };
        const end = encodeMessage(target, at, parts);
        assert(end <= at + sizeMax);
        assert.deepEqual(decodeMessage(target.subarray(at, end)), message);
      }),
    );
  });

  it("lets the fixed fields and the id be read in place", () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        const payload = KINDS.message.encode(message);
        const view = viewOf(payload);
        assert.equal(idHash(payload), stableHash(message.id));
        assert.deepEqual(keyHashes(payload), [...new Set(message.index.map(stableHash))]);
        for (const [name, read] of Object.entries(MessageFields)) {
          assert.equal(read(view, 0), message[name as keyof typeof MessageFields], name);
        }
      }),
    );
  });

  it("turns lone surrogates into U+FFFD, in the id and in its hash alike", () => {
    const payload = KINDS.message.encode({ ...fullMessage, id: "a\ud800" });
    assert.equal(decodeMessage(payload)?.id, "a\ufffd");
    assert.equal(idHash(payload), stableHash("a\ud800"));
  });

  it("skips attributes of later builds", () => {
    const payload = KINDS.message.encode(fullMessage);
    const bodyAt = payload.length - fullMessage.body.length;
    const later = [200, 0, 2, 1, 2];
    const extended = new Uint8Array([
      ...payload.subarray(0, bodyAt),
      ...later,
      ...payload.subarray(bodyAt),
    ]);
    viewOf(extended).setUint32(36, viewOf(payload).getUint32(36) + later.length);
    assert.deepEqual(decodeMessage(extended), fullMessage);
  });

  it("takes any bytes calmly", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        decodeMessage(noise);
        idHash(noise);
        keyHashes(noise);
      }),
      { numRuns: 1000 },
    );
    const payload = KINDS.message.encode(fullMessage);
    for (let at = 0; at < payload.length; at++) {
      for (const byte of [0, 0x7f, 0xff]) {
        const damaged = payload.slice();
        damaged[at] = byte;
        decodeMessage(damaged);
        idHash(damaged);
        keyHashes(damaged);
      }
    }
  });

  it("refuses what does not fit its fields", () => {
    const with_ = (change: Partial<Message>) => () =>
      KINDS.message.encode({ ...fullMessage, ...change });
    assert.throws(with_({ queueId: 0x1_0000 }), /queueId fits 16 bits/);
    assert.throws(with_({ topicGen: 2 ** 53 }), /safe integer/);
    assert.throws(with_({ txnId: "t".repeat(256) }), /a short text fits 255 bytes/);
    assert.throws(with_({ tag: "t".repeat(0x1_0000) }), /an attribute fits 65 535 bytes/);
    assert.throws(with_({ properties: [["n", "v".repeat(0x1_0000)]] }), /a property fits/);
  });
});
