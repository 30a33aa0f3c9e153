/**
 * Sets of queueOffsets, beside a plain `Set`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { offsetsOf, OffsetSet, toRanges } from "../../src/broker/offsets.ts";

const offset = fc.nat({ max: 60 });

describe("OffsetSet", () => {
  it("holds what a Set holds, whatever is added and passed", () => {
    const step = fc.oneof(
      fc.record({ add: offset }, { noNullPrototype: true }),
      fc.record({ passTo: offset }, { noNullPrototype: true }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const set = new OffsetSet();
        const model = new Set<number>();
        for (const one of steps) {
          if ("add" in one) {
            set.add(one.add);
            model.add(one.add);
          } else {
            let end = one.passTo;
            while (model.has(end)) end++;
            for (const known of [...model]) if (known < end) model.delete(known);
            assert.equal(set.passTo(one.passTo), end);
          }
          assert.equal(set.size, model.size);
          for (let at = 0; at <= 61; at++) assert.equal(set.has(at), model.has(at), `${at}`);
          const sorted = [...model].sort((a, b) => a - b);
          assert.deepEqual([...offsetsOf(set.ranges())], sorted);
          assert.deepEqual(set.ranges(), toRanges(sorted), "as few ranges as can be");
        }
      }),
      { numRuns: 300 },
    );
  });

  it("passTo() forgets what lies before a place inside of a range", () => {
    const set = new OffsetSet();
    for (const one of [1, 2, 3, 7]) set.add(one);
    assert.equal(set.passTo(2), 4);
    assert.deepEqual(set.ranges(), [{ first: 7, count: 1 }]);
    set.clear();
    assert.equal(set.size, 0);
  });
});
