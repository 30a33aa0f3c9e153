import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { compileFilter, nominates } from "../../src/filter/mod.ts";
import { stableHash } from "../../storage/base/hash.ts";
import { faultOf, wants } from "./kit.ts";

const tagged = (tag?: string) => ({ tag, properties: [["TAGS", "a"] as const] });

describe("a tag expression", () => {
  const table: [expression: string, tags: readonly string[]][] = [
    ["a", ["a"]],
    [" a ", ["a"]],
    ["a||b", ["a", "b"]],
    ["a || b || c", ["a", "b", "c"]],
    ["a || a", ["a"]],
    ["two words || *b", ["two words", "*b"]],
    ["AND || 'x' || --", ["AND", "'x'", "--"]],
    ["ünï || 😀", ["ünï", "😀"]],
    ["t".repeat(128), ["t".repeat(128)]],
  ];
  for (const [expression, tags] of table) {
    it(`wants its tags only: ${expression.slice(0, 30)}`, () => {
      const filter = compileFilter({ tag: expression });
      assert.equal(filter.all, false);
      assert.deepEqual(filter.tagHashes, new Set(tags.map(stableHash)));
      for (const tag of tags) assert(wants(filter, tagged(tag)));
      for (const other of ["other", "A", "a b", "*", `${expression} `, undefined]) {
        assert.equal(wants(filter, tagged(other)), false);
      }
    });
  }

  it("* wants every message, and needs to look at none", () => {
    for (const tag of ["*", "  * "]) {
      const filter = compileFilter({ tag });
      assert.deepEqual([filter.all, filter.tagHashes], [true, undefined]);
      for (const one of ["a", "*", undefined]) assert(wants(filter, tagged(one)));
      assert(nominates(filter, 7));
    }
  });

  it("is not fooled by another tag of the same hash", () => {
    const [one, other] = colliding();
    const filter = compileFilter({ tag: one });
    assert(nominates(filter, stableHash(other)));
    assert.equal(wants(filter, tagged(other)), false);
  });

  const faults: [expression: string, position: number, says: RegExp][] = [
    ["", 0, /a tag is missing/],
    ["   ", 0, /a tag is missing/],
    ["a ||", 4, /a tag is missing/],
    ["|| a", 0, /a tag is missing/],
    ["a || || b", 4, /a tag is missing/],
    ["a | b", 0, /hold no \|/],
    ["a ||| b", 4, /hold no \|/],
    ["a || *", 5, /stands alone/],
    ["* || a", 0, /stands alone/],
    ["a || b\u0007", 5, /control/],
    ["a || \ud800", 5, /surrogate/],
    [`a ||  ${"t".repeat(129)}`, 6, /128 bytes/],
    [`a || ${"ü".repeat(65)}`, 5, /128 bytes/],
  ];
  for (const [expression, position, says] of faults) {
    it(`is refused: ${JSON.stringify(expression.slice(0, 30))}`, () => {
      const fault = faultOf({ tag: expression });
      assert.equal(fault.position, position);
      assert.match(fault.message, says);
    });
  }

  it("wants what is in its list, for any list", () => {
    const tag = fc.stringMatching(/^[a-c]{1,2}$/);
    const given = fc.property(fc.array(tag, { minLength: 1, maxLength: 5 }), tag, (tags, one) => {
      const filter = compileFilter({ tag: tags.join(" || ") });
      assert.equal(wants(filter, tagged(one)), tags.includes(one));
    });
    fc.assert(given);
  });
});

/** Two tags of one hash. */
function colliding(): readonly [string, string] {
  const byHash = new Map<number, string>();
  for (let i = 0; ; i++) {
    const tag = `tag-${i}`;
    const other = byHash.get(stableHash(tag));
    if (other !== undefined) return [other, tag];
    byHash.set(stableHash(tag), tag);
  }
}
