import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { RecordKind } from "../../storage/records/kind.ts";
import { describePayload, KINDS, type KindName, kindName } from "../../storage/records/mod.ts";
import { samples } from "./samples.ts";

const u16 = fc.nat({ max: 0xffff });
const u32 = fc.nat({ max: 0xffff_ffff });
const u64 = fc.maxSafeNat();
const offset = fc.oneof(fc.constant(-1), u64);
const text = (maxLength: number) => fc.string({ unit: "binary", maxLength });
const bytes = (size: number) => fc.uint8Array({ minLength: size, maxLength: size });
const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const record = <T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(fields, { noNullPrototype: true });

const queue = { groupGen: u64, topicGen: u64, queueId: u16 };
const range = record({ first: u64, count: u32 });

/** Any record of each kind but `message`, which has a test of its own. */
const ANY: Record<Exclude<KindName, "message">, fc.Arbitrary<unknown>> = {
  reveal: record({
    cause: fc.constantFrom("due", "commit"),
    txnId: maybe(text(40)),
    items: fc.array(
      record({
        bodyLogOffset: u64,
        size: u32,
        topicGen: u64,
        queueId: u16,
        queueOffset: u64,
        keyHash: u32,
        tagHash: u32,
      }),
    ),
  }),
  grant: record({
    ...queue,
    ranges: fc.array(range),
    grantSeq: u64,
    attempt: u16,
    until: u64,
    nonce: bytes(8),
    attemptId: maybe(text(40)),
    consumerId: maybe(text(40)),
  }),
  settle: record({
    ...queue,
    acked: fc.array(range),
    timed: fc.array(
      record({ op: fc.constantFrom("release", "extend", "undo"), queueOffset: u64, at: u64 }),
    ),
  }),
  skip: record({ ...queue, to: u64 }),
  dead: record({
    ...queue,
    items: fc.array(
      record({
        queueOffset: u64,
        attempts: u16,
        cause: fc.constantFrom("attempts", "rejected"),
        reason: text(300),
      }),
    ),
  }),
  redrive: record({
    ...queue,
    action: fc.constantFrom("ready", "drop"),
    offsets: fc.array(u64),
  }),
  seek: record({ ...queue, to: u64 }),
  prepare: record({
    txnId: text(40),
    producerGroup: text(40),
    checkUrl: maybe(text(400)),
    firstCheckMs: u32,
    checkIntervalMs: u32,
    maxChecks: u16,
    bodies: fc.array(u64),
  }),
  decide: record({
    txnId: text(40),
    decision: fc.constantFrom("commit", "rollback"),
    by: fc.constantFrom("producer", "check", "operator"),
  }),
  check: record({
    txnId: text(40),
    checkNumber: u16,
    outcome: fc.constantFrom("sent", "parked"),
    nextCheckAt: u64,
  }),
  recall: record({ topicGen: u64, bodyLogOffset: u64 }),
  define: record({
    entity: fc.constantFrom("topic", "group", "producerGroup"),
    generation: u64,
    version: u32,
    createdAt: u64,
    name: text(60),
    config: fc.uint8Array({ maxLength: 1000 }),
  }),
  drop: record({
    entity: fc.constantFrom("topic", "group", "producerGroup"),
    generation: u64,
    name: text(60),
  }),
  head: record({
    topicGen: u64,
    queueId: u16,
    firstOffset: u64,
    cause: fc.constantFrom("retention", "purge"),
  }),
  carry: record({
    oldBodyLogOffset: u64,
    topicGen: u64,
    queueId: u16,
    queueOffset: offset,
    visibleAt: u64,
    message: fc.uint8Array({ maxLength: 100 }),
  }),
  state: record({
    key: fc.uint8Array({ maxLength: 255 }),
    value: fc.uint8Array({ maxLength: 1000 }),
  }),
  "span-open": record({
    topicGen: u64,
    queueId: u16,
    firstOffset: u64,
    fromGroup: u16,
    blockedKeys: fc.array(u32),
  }),
  "span-close": record({ topicGen: u64, queueId: u16, endOffset: u64, toGroup: u16 }),
  sent: record({ target: u16, outSeq: u64 }),
  "epoch-start": record({ epoch: u32, leader: text(60), bootId: bytes(16) }),
};

const names = Object.keys(KINDS) as KindName[];
const kindOf = (name: KindName) => KINDS[name] as unknown as RecordKind<unknown>;

describe("a record kind", () => {
  for (const [name, any] of Object.entries(ANY) as [KindName, fc.Arbitrary<unknown>][]) {
    it(`${name} is read as it was written`, () => {
      const kind = kindOf(name);
      fc.assert(
        fc.property(any, (value) => assert.deepEqual(kind.decode(kind.encode(value)), value)),
        { numRuns: 50 },
      );
    });
  }

  for (const name of names) {
    const kind = kindOf(name);
    const payload = kind.encode(samples[name]);

    it(`${name} is undefined when cut anywhere, and never throws`, () => {
      // What runs to the end of its payload cannot be told from a shorter one.
      const openEnd = { message: samples.message.body.length, carry: samples.carry.message.length };
      const rest = openEnd[name as keyof typeof openEnd] ?? 0;
      for (let size = 0; size < payload.length; size++) {
        const decoded = kind.decode(payload.subarray(0, size));
        if (size < payload.length - rest) assert.equal(decoded, undefined, `cut to ${size}`);
      }
    });

    it(`${name} takes any bytes calmly`, () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => void kind.decode(noise)),
        { numRuns: 200 },
      );
      fc.assert(
        fc.property(fc.nat({ max: payload.length - 1 }), fc.nat({ max: 255 }), (at, byte) => {
          const damaged = payload.slice();
          damaged[at] = byte;
          kind.decode(damaged);
        }),
        { numRuns: 200 },
      );
    });

    it(`${name} describes itself in one line`, () => {
      const line = describePayload(kind.id, payload);
      assert.match(line, /^\w+=/);
      assert.doesNotMatch(line, /\n|\[object/);
    });
  }

  it("with bytes left over is none", () => {
    assert.equal(
      KINDS.seek.decode(new Uint8Array([...KINDS.seek.encode(samples.seek), 0])),
      undefined,
    );
  });

  it("refuses numbers that do not fit", () => {
    const tooLarge = { ...samples.seek, queueId: 0x1_0000 };
    assert.throws(() => KINDS.seek.encode(tooLarge), /a number fits 2 bytes/);
    const unsafe = { ...samples.seek, to: 2 ** 53 };
    assert.throws(() => KINDS.seek.encode(unsafe), /a number fits 8 bytes/);
    const longName = { ...samples.drop, name: "n".repeat(256) };
    assert.throws(() => KINDS.drop.encode(longName), /a number fits 1 bytes/);
  });

  it("that nobody knows is told as that", () => {
    assert.equal(kindName(200), undefined);
    assert.equal(describePayload(200, new Uint8Array(3)), "unknown kind 200, 3 bytes");
    assert.equal(describePayload(KINDS.seek.id, new Uint8Array(3)), "payload does not decode");
  });

  it("has a number of its own", () => {
    const ids = names.map((name) => KINDS[name].id);
    assert.equal(new Set(ids).size, names.length);
  });
});
