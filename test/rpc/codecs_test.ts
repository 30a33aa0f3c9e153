/**
 * Payloads: what goes in comes out, bytes are frozen, and whatever else comes in
 * ends in a `ProtocolError`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { NewMessage, ReadPage } from "../../src/broker/api.ts";
import {
  batchArguments,
  publishArguments,
  publishedOne,
  readPage,
  settleArguments,
  settleResult,
} from "../../src/rpc/broker_codecs.ts";
import {
  entriesOf,
  GROUPS,
  MESSAGES,
  PRODUCERS,
  TOPICS,
  TRANSACTIONS,
  WATCH_STATUS,
} from "../../src/rpc/broker_methods.ts";
import { ByteReader } from "../../src/rpc/byte_reader.ts";
import { ByteWriter } from "../../src/rpc/byte_writer.ts";
import { type Codec, json, rawBytes } from "../../src/rpc/codec.ts";
import { errorCodec } from "../../src/rpc/error_codec.ts";
import { delivery, listOf, newMessage, published, stored } from "../../src/rpc/message_codecs.ts";
import { effectOf } from "../../src/rpc/method.ts";
import { ProtocolError } from "../../src/rpc/protocol_error.ts";
import { CODES, type ErrorCode, TidegateError } from "../../storage/base/errors.ts";
import { Prng } from "../../storage/base/prng.ts";
import { utf8 } from "../suites/broker_api_kit.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const writer = new ByteWriter();
  codec.write(writer, value);
  return writer.take();
}

function decode<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const reader = ByteReader.of(bytes);
  const value = codec.read(reader);
  reader.end();
  return value;
}

const text = fc.string({ unit: "grapheme", maxLength: 40 });
const number = fc.double({ noNaN: true });
const u32 = fc.nat({ max: 0xffff_ffff });
const bytes = fc.uint8Array({ maxLength: 200 });
const plain = { noNullPrototype: true } as const;
const optional: { noNullPrototype: true; requiredKeys: [] } = { ...plain, requiredKeys: [] };

/** Lists are there when they are read, empty or not. */
const anyMessage: fc.Arbitrary<NewMessage> = fc
  .tuple(
    fc.record(
      {
        id: text,
        index: fc.array(text, { maxLength: 3 }),
        properties: fc.array(fc.tuple(text, text), { maxLength: 3 }),
        body: bytes,
      },
      plain,
    ),
    fc.record(
      {
        key: text,
        tag: text,
        contentType: text,
        traceparent: text,
        tracestate: text,
        idempotencyKey: text,
        idGenerated: fc.constant(true),
        producer: fc.record({ id: text, epoch: number, seq: number }, plain),
        deliverAt: number,
        delayMs: number,
      },
      optional,
    ),
  )
  .map(([must, may]) => ({ ...must, ...may }));

const anyNow = fc.record(
  {
    id: text,
    queueId: u32,
    queueOffset: number,
    cursor: text,
    publishedAt: number,
  },
  plain,
);
const anyScheduled = fc.record(
  {
    state: fc.constant("scheduled" as const),
    id: text,
    queueId: u32,
    deliverAt: number,
    publishedAt: number,
    replayed: fc.constant(true as const),
  },
  plain,
);
const anyStored = fc.record(
  {
    topic: text,
    queueId: u32,
    queueOffset: number,
    cursor: text,
    publishedAt: number,
    payload: bytes,
  },
  plain,
);
const anyDelivery = fc
  .tuple(anyStored, fc.record({ receipt: text, attempt: u32, leaseUntil: number }, plain))
  .map(([message, lease]) => ({ ...message, ...lease }));
const anyPage: fc.Arbitrary<ReadPage> = fc
  .tuple(
    fc.record(
      {
        messages: fc.array(anyStored, { maxLength: 4 }),
        cursor: text,
        upToDate: fc.boolean(),
        generation: number,
      },
      plain,
    ),
    fc.record({ queueId: u32, cursors: fc.array(text, { maxLength: 4 }) }, optional),
  )
  .map(([must, may]) => ({ ...must, ...may }));
const anySettle = fc.record(
  {
    ack: fc.array(text, { maxLength: 3 }),
    release: fc.array(
      fc.record({ receipt: text, delayMs: number }, { ...plain, requiredKeys: ["receipt"] }),
      { maxLength: 3 },
    ),
    extend: fc.array(fc.record({ receipt: text, leaseMs: number }, plain), { maxLength: 3 }),
    reject: fc.array(
      fc.record({ receipt: text, reason: text }, { ...plain, requiredKeys: ["receipt"] }),
      { maxLength: 3 },
    ),
  },
  plain,
);
const anyResult = fc.record(
  {
    receipt: text,
    status: fc.constantFrom("ok", "late", "lost", "invalid"),
    leaseUntil: number,
  },
  { ...plain, requiredKeys: ["receipt", "status"] },
);

/** A codec, what it carries, and one such value with its bytes. */
interface Row<T> {
  readonly name: string;
  readonly codec: Codec<T>;
  readonly any: fc.Arbitrary<T>;
  readonly sample: T;
  readonly bytes: string;
}

const row = <T>(one: Row<T>) => one as unknown as Row<unknown>;

const SAMPLE: NewMessage = {
  id: "m1",
  key: "k",
  index: ["i"],
  properties: [["p", "v"]],
  body: utf8.encode("hi"),
};
const NOW = { id: "m1", queueId: 3, queueOffset: 9, cursor: "c", publishedAt: 5 };
const STORED = {
  topic: "t",
  queueId: 3,
  queueOffset: 9,
  cursor: "c",
  publishedAt: 5,
  payload: Uint8Array.of(1, 2),
};

const ROWS: Row<unknown>[] = [
  row({
    name: "publish",
    codec: publishArguments,
    any: fc.tuple(text, anyMessage),
    sample: ["t", { ...SAMPLE, idempotencyKey: "once", delayMs: 1000 }],
    bytes:
      "00000001740009000000140100026d310200016b0400016905000400017076000000046f6e6365408f400000000000000000026869",
  }),
  row({
    name: "publish in a sequence",
    codec: newMessage,
    any: anyMessage,
    sample: { ...SAMPLE, producer: { id: "p", epoch: 1, seq: 2 }, deliverAt: 7, idGenerated: true },
    bytes:
      "0016000000140100026d310200016b040001690500040001707600000001703ff00000000000004000000000000000401c000000000000000000026869",
  }),
  row({
    name: "published",
    codec: publishedOne,
    any: fc.oneof(anyNow, anyScheduled),
    sample: NOW,
    bytes: "00000000026d3100000003402200000000000000000001634014000000000000",
  }),
  row({
    name: "publishBatch",
    codec: batchArguments,
    any: fc.tuple(
      text,
      fc.array(anyMessage, { maxLength: 3 }),
      fc.record({ atomic: fc.boolean() }, plain),
    ),
    sample: ["t", [SAMPLE], { atomic: true }],
    bytes: "000000017401000000010000000000140100026d310200016b0400016905000400017076000000026869",
  }),
  row({
    name: "published in a batch",
    codec: listOf(published),
    any: fc.array(fc.oneof(anyNow, anyScheduled), { maxLength: 4 }),
    sample: [
      { state: "scheduled", id: "m", queueId: 1, deliverAt: 2, publishedAt: 3, replayed: true },
    ],
    bytes: "0000000181000000016d0000000140000000000000004008000000000000",
  }),
  row({
    name: "a page",
    codec: readPage,
    any: anyPage,
    sample: {
      messages: [STORED],
      cursor: "d",
      upToDate: true,
      generation: 4,
      queueId: 3,
      cursors: ["e"],
    },
    bytes:
      "07000000016440100000000000000000000300000001000000016500000001000000017400000003402200000000000000000001634014000000000000000000020102",
  }),
  row({
    name: "deliveries",
    codec: listOf(delivery),
    any: fc.array(anyDelivery, { maxLength: 4 }),
    sample: [{ ...STORED, receipt: "r", attempt: 1, leaseUntil: 6 }],
    bytes:
      "000000010000000174000000034022000000000000000000016340140000000000000000000201020000000172000000014018000000000000",
  }),
  row({
    name: "settle",
    codec: settleArguments,
    any: fc.tuple(text, anySettle),
    sample: [
      "g",
      {
        ack: ["a"],
        release: [{ receipt: "b" }, { receipt: "c", delayMs: 1 }],
        extend: [{ receipt: "d", leaseMs: 2 }],
        reject: [{ receipt: "e" }, { receipt: "f", reason: "bad" }],
      },
    ],
    bytes:
      "00000001670000000100000001610000000200000001627ff800000000000000000001633ff00000000000000000000100000001644000000000000000000000020000000165000000000000000001660100000003626164",
  }),
  row({
    name: "settled",
    codec: listOf(settleResult),
    any: fc.array(anyResult, { maxLength: 4 }),
    sample: [
      { receipt: "a", status: "late" },
      { receipt: "b", status: "ok", leaseUntil: 8 },
    ],
    bytes: "000000020000000161017ff80000000000000000000162004020000000000000",
  }),
  row({
    name: "JSON",
    codec: json(),
    any: fc.jsonValue({ maxDepth: 3 }).map((value) => JSON.parse(JSON.stringify(value)) as unknown),
    sample: ["t", { body: Uint8Array.of(1, 2), more: [Uint8Array.of(3), null] }],
    bytes:
      "0000003e5b2274222c7b22626f6479223a7b22246279746573223a5b302c325d7d2c226d6f7265223a5b7b22246279746573223a5b322c335d7d2c6e756c6c5d7d5d010203",
  }),
  row({ name: "bytes", codec: rawBytes, any: bytes, sample: Uint8Array.of(1), bytes: "01" }),
];

describe("a payload", () => {
  for (const { name, codec, any, sample, bytes: golden } of ROWS) {
    it(`has the bytes it always had: ${name}`, () => {
      assert.equal(hex(encode(codec, sample)), golden);
    });

    it(`is what it was: ${name}`, () => {
      // Views come back as they are: a Uint8Array.
      assert.deepEqual(decode(codec, encode(codec, sample)), sample);
      fc.assert(
        fc.property(any, (value) => assert.deepEqual(decode(codec, encode(codec, value)), value)),
      );
    });

    it(`garbled is a ProtocolError, or another value: ${name}`, () => {
      const prng = new Prng(5);
      const whole = encode(codec, sample);
      for (let round = 0; round < 3000; round++) {
        const garbled = Buffer.from(whole);
        for (let n = prng.below(3); n >= 0 && garbled.length > 0; n--) {
          if (prng.chance(50)) garbled[prng.below(garbled.length)] = prng.below(256);
          else if (garbled.length >= 4) {
            garbled.writeUInt32BE(prng.word(), prng.below(garbled.length - 3));
          }
        }
        const cut = prng.chance(30) ? garbled.subarray(0, prng.below(garbled.length + 1)) : garbled;
        attempt(codec, new Uint8Array(cut));
      }
      fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (any) => attempt(codec, any)));
    });
  }

  it("that says it holds more than came allocates nothing for it", () => {
    const much = new ByteWriter();
    much.u32(0xffff_ffff);
    const start = much.take();
    for (const codec of [listOf(stored), listOf(newMessage), listOf(published)]) {
      assert.throws(() => decode<unknown>(codec, start), ProtocolError);
    }
  });

  it("of JSON leaves out members that are undefined, and keeps null", () => {
    const read = decode(json(), encode(json(), { a: undefined, b: null }));
    assert.deepEqual(read, { b: null });
    assert.equal(decode(json(), encode(json(), undefined)), undefined);
  });

  it("of JSON takes Buffers for the bytes they are", () => {
    const read = decode(json<unknown>(), encode(json<unknown>(), { body: Buffer.from("hi") }));
    assert.deepEqual(read, { body: utf8.encode("hi") });
  });

  it("of JSON whose bytes lie outside of it is refused", () => {
    for (const range of ["[0,3]", "[1,0]", "[-1,0]", "[0.5,1]", '"x"', "[0]", "[null,1]"]) {
      const writer = new ByteWriter();
      writer.text(`{"$bytes":${range}}`);
      writer.raw(Uint8Array.of(1, 2));
      assert.throws(() => decode(json(), writer.take()), ProtocolError, range);
    }
  });
});

function attempt(codec: Codec<unknown>, garbled: Uint8Array): void {
  try {
    decode(codec, garbled);
  } catch (error) {
    assert(error instanceof ProtocolError, String(error));
  }
}

describe("an error on its way", () => {
  for (const code of Object.keys(CODES) as ErrorCode[]) {
    it(`keeps its code, its words and its details: ${code}`, () => {
      const error = new TidegateError(code, "Cannot do it", { at: 1, list: ["a"] });
      const read = decode(errorCodec, encode(errorCodec, error));
      assert.deepEqual(
        [read.code, read.message, read.details],
        [code, "Cannot do it", { at: 1, list: ["a"] }],
      );
    });
  }

  it("of a code that is not known here is internal", () => {
    const bytes = encode(json(), { code: "of-tomorrow", message: "Cannot", details: {} });
    const read = decode(errorCodec, bytes);
    assert.equal(read.code, "internal");
    assert.match(read.message, /of-tomorrow/);
    assert.throws(() => decode(errorCodec, encode(json(), { code: 1 })), ProtocolError);
  });

  it("stands in a batch among those that succeeded", () => {
    const list = [NOW, new TidegateError("id-in-use", "Cannot", { id: "m" }), NOW];
    const read = decode(listOf(published), encode(listOf(published), list));
    assert(read[1] instanceof TidegateError);
    assert.deepEqual([read[0], read[1].code, read[2]], [NOW, "id-in-use", NOW]);
  });
});

describe("the methods of a broker", () => {
  const all = [TOPICS, MESSAGES, GROUPS, TRANSACTIONS, PRODUCERS].flatMap((section) =>
    entriesOf(section as typeof TOPICS).map(([, { method }]) => method),
  );

  it("have numbers that stay as they are", () => {
    const numbers = Object.fromEntries(
      [...all, WATCH_STATUS].map(({ id, name }) => [name, id] as const),
    );
    assert.deepEqual(numbers, {
      "topics.put": 1,
      "topics.get": 2,
      "topics.patch": 3,
      "topics.delete": 4,
      "topics.list": 5,
      "topics.purge": 6,
      "messages.publish": 20,
      "messages.publishBatch": 21,
      "messages.read": 22,
      "messages.get": 23,
      "messages.recall": 24,
      "messages.search": 25,
      "messages.trace": 26,
      "groups.put": 40,
      "groups.get": 41,
      "groups.patch": 42,
      "groups.delete": 43,
      "groups.list": 44,
      "groups.receive": 45,
      "groups.settle": 46,
      "groups.lag": 47,
      "groups.pause": 48,
      "groups.resume": 49,
      "groups.peek": 50,
      "groups.consumers": 51,
      "groups.seek": 52,
      "groups.deadLetters": 53,
      "groups.redrive": 54,
      "groups.purgeDeadLetters": 55,
      "transactions.begin": 70,
      "transactions.commit": 71,
      "transactions.rollback": 72,
      "transactions.get": 73,
      "transactions.list": 74,
      "transactions.receiveChecks": 75,
      "producers.put": 80,
      "producers.get": 81,
      "producers.patch": 82,
      "producers.delete": 83,
      "producers.list": 84,
      "status.watch": 90,
    });
  });

  it("that are called again by themselves are those for which twice is once", () => {
    const reads = all.filter(({ effect }) => effect === "none").map(({ name }) => name);
    assert.deepEqual(reads, [
      "topics.get",
      "topics.list",
      "messages.read",
      "messages.get",
      "messages.search",
      "messages.trace",
      "groups.get",
      "groups.list",
      "groups.lag",
      "groups.peek",
      "groups.consumers",
      "groups.deadLetters",
      "transactions.get",
      "transactions.list",
      "producers.get",
      "producers.list",
    ]);
    const twice = all.filter(({ effect }) => effect === "idempotent").map(({ name }) => name);
    assert.deepEqual(twice, [
      "groups.pause",
      "groups.resume",
      "transactions.commit",
      "transactions.rollback",
    ]);
    const keyed = { ...SAMPLE, idempotencyKey: "k" };
    const sequenced = { ...SAMPLE, producer: { id: "p", epoch: 0, seq: 0 } };
    const { publish, publishBatch } = MESSAGES;
    for (const [one, effect] of [
      [SAMPLE, "once"],
      [keyed, "idempotent"],
      [sequenced, "idempotent"],
    ] as const) {
      assert.equal(effectOf(publish.method, ["t", one]), effect);
      const batch = [keyed, one];
      assert.equal(effectOf(publishBatch.method, ["t", batch, { atomic: false }]), effect);
    }
  });
});
