/**
 * The entries of a snapshot: their bytes, and reading what was written.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  decodeConfig,
  Definition,
  encodeConfig,
  keyOf,
  Letter,
  Offsets,
  parseKey,
  Place,
  read,
  write,
} from "../../src/broker/entities.ts";
import { GROUP, TOPIC } from "../suites/broker_api_kit.ts";

const safe = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const u16 = fc.nat({ max: 0xffff });
const bytes = fc.uint8Array({ maxLength: 64 });
const record = <T>(shape: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(shape, { noNullPrototype: true }) as fc.Arbitrary<T>;
/** UTF-8 has no lone surrogates. */
const text = fc.string({ unit: "grapheme", maxLength: 40 });

describe("the entries of a snapshot", () => {
  it("keep their bytes: the next build reads them", () => {
    const hex = (value: Uint8Array) => Buffer.from(value).toString("hex");
    const definition = { name: "t", version: 1, createdAt: 2, config: Uint8Array.of(0x7b, 0x7d) };
    assert.equal(hex(write(Definition, definition)), "0174000000010000000000000002000000027b7d");
    assert.equal(hex(write(Offsets, [1, 256])), "0000000200000000000000010000000000000100");
    assert.equal(hex(keyOf("P", [1, 2], 3)), "50000000000000000100000000000000020003");
    const grant = {
      seq: 1,
      nonce: new Uint8Array(8).fill(9),
      attemptId: "a",
      consumerId: undefined,
    };
    const open = { queueOffset: 4, grantSeq: 1, attempt: 2, at: 5, state: "released" } as const;
    const taken = [{ first: 7, count: 2 }];
    const place = {
      head: 5,
      expiredUnread: 6,
      taken,
      grantSeq: 1,
      voidedSeq: 2,
      grants: [grant],
      open: [open],
    };
    assert.equal(
      hex(write(Place, place)),
      "0000000000000005" +
        "0000000000000006" +
        "00000001000000000000000700000002" +
        "0000000000000001" +
        "0000000000000002" +
        "0000000100000000000000010909090909090909010161" +
        "00" +
        "0000000100000000000000040000000000000001000200000000000000" +
        "0501",
    );
    const letter = {
      attempts: 2,
      cause: "rejected",
      reason: "r",
      deadAt: 6,
      grantSeq: 7,
      logOffset: 8,
    } as const;
    assert.equal(
      hex(write(Letter, letter)),
      "000202000172000000000000000600000000000000070000000000000008",
    );
  });

  it("are undone by read()", () => {
    const definition = record({ name: text, version: fc.nat(), createdAt: safe, config: bytes });
    fc.assert(
      fc.property(definition, (one) =>
        assert.deepEqual(read(Definition, write(Definition, one)), one),
      ),
    );
    fc.assert(
      fc.property(fc.array(safe), (one) =>
        assert.deepEqual(read(Offsets, write(Offsets, one)), one),
      ),
    );
    const nonce = fc.uint8Array({ minLength: 8, maxLength: 8 });
    const id = fc.option(text, { nil: undefined });
    const state = fc.constantFrom("leased" as const, "released" as const, "redriven" as const);
    const cause = fc.constantFrom("attempts" as const, "rejected" as const);
    const place = record({
      head: safe,
      expiredUnread: safe,
      grantSeq: safe,
      voidedSeq: safe,
      grants: fc.array(record({ seq: safe, nonce, attemptId: id, consumerId: id })),
      taken: fc.array(record({ first: safe, count: fc.nat() })),
      open: fc.array(record({ queueOffset: safe, grantSeq: safe, attempt: u16, at: safe, state })),
    });
    fc.assert(fc.property(place, (one) => assert.deepEqual(read(Place, write(Place, one)), one)));
    const letter = record({
      attempts: u16,
      cause,
      reason: text,
      deadAt: safe,
      grantSeq: safe,
      logOffset: safe,
    });
    fc.assert(
      fc.property(letter, (one) => assert.deepEqual(read(Letter, write(Letter, one)), one)),
    );
  });

  it("have keys that parseKey() undoes", () => {
    const prefix = fc.constantFrom("A", "D", "G", "L", "N", "P");
    const generations = fc.array(safe, { maxLength: 3 });
    fc.assert(
      fc.property(
        prefix,
        generations,
        fc.option(u16, { nil: undefined }),
        (letter, gens, queueId) => {
          const parsed = parseKey(keyOf(letter, gens, queueId));
          assert.deepEqual(parsed, { prefix: letter, generations: gens, queueId: queueId ?? -1 });
        },
      ),
    );
  });

  it("hold configurations as they are", () => {
    for (const config of [TOPIC, GROUP, { ...GROUP, backoff: { scheduleMs: [1, 2] } }]) {
      assert.deepEqual(decodeConfig(encodeConfig(config)), config);
    }
  });
});
