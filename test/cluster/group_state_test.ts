import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { TidegateError } from "../../storage/base/errors.ts";
import {
  decodeGroupState,
  encodeGroupState,
  foundingState,
  type GroupState,
} from "../../src/cluster/group_state.ts";
import { leaseDeadline } from "../../src/cluster/lease.ts";

const member = fc.record(
  { node: fc.string(), boot: fc.string(), disk: fc.string() },
  { noNullPrototype: true },
);
const state: fc.Arbitrary<GroupState> = fc.record(
  {
    epoch: fc.nat(),
    leader: fc.option(member, { nil: undefined }),
    heir: fc.option(fc.string(), { nil: undefined }),
    syncSet: fc.array(member),
    minSync: fc.nat(),
    confirmHint: fc.maxSafeNat(),
    unclean: fc.array(fc.nat()),
  },
  { noNullPrototype: true },
);

describe("the group's state", () => {
  it("is read as it was written", () => {
    fc.assert(
      fc.property(state, (one) => assert.deepEqual(decodeGroupState(encodeGroupState(one)), one)),
    );
  });

  const good = JSON.parse(
    encodeGroupState(foundingState({ node: "a", boot: "b", disk: "c" }, 2)),
  ) as Record<string, unknown>;
  const bad: [name: string, text: string, code: string][] = [
    ["no JSON", "{", "data-damaged"],
    ["no object", "[]", "data-damaged"],
    ["null", "null", "data-damaged"],
    ["an epoch that is none", JSON.stringify({ ...good, epoch: -1 }), "data-damaged"],
    ["a number too large", JSON.stringify({ ...good, confirmHint: 2 ** 60 }), "data-damaged"],
    ["a leader that is none", JSON.stringify({ ...good, leader: "a" }), "data-damaged"],
    ["a set that is none", JSON.stringify({ ...good, syncSet: [{ node: "a" }] }), "data-damaged"],
    ["unclean epochs that are none", JSON.stringify({ ...good, unclean: ["1"] }), "data-damaged"],
    ["a later format", JSON.stringify({ ...good, format: 2 }), "not-implemented"],
  ];
  for (const [name, text, code] of bad) {
    it(`is not read from ${name}`, () => {
      assert.throws(
        () => decodeGroupState(text),
        (error: unknown) => error instanceof TidegateError && error.code === code,
      );
    });
  }
});

describe("leaseDeadline()", () => {
  it("is counted from the sending, less drift and margin", () => {
    assert.equal(leaseDeadline({ sentAt: 1000, ttlMs: 3000 }), 1000 + 2970 - 300);
  });
});
