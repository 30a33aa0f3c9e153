/**
 * What lies ahead of a group in one queue, beside lists of what was offered.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Candidate, Lookahead } from "../../src/broker/lookahead.ts";

function filled(ordered: boolean, keys: readonly number[]): Lookahead {
  const lookahead = new Lookahead(0, { ordered });
  keys.forEach((keyHash, queueOffset) => lookahead.offer({ queueOffset, keyHash }));
  lookahead.scanned = keys.length;
  lookahead.sought = keys.length;
  return lookahead;
}

const offsets = (candidates: readonly Candidate[]) =>
  candidates.map(({ queueOffset }) => queueOffset);

describe("Lookahead", () => {
  it("gives a concurrent group everything, in order", () => {
    const lookahead = filled(false, [5, 5, 5]);
    assert.equal(lookahead.ready, 3);
    assert.deepEqual(offsets(lookahead.take(2)), [0, 1]);
    assert.equal(lookahead.passedTo(0), 2);
    assert.deepEqual(offsets(lookahead.take(9)), [2]);
    assert.equal(lookahead.passedTo(0), 3);
  });

  it("gives an ordered group one message of each key", () => {
    const lookahead = filled(true, [5, 5, 6, 5, 7]);
    assert.equal(lookahead.ready, 3);
    assert.deepEqual(offsets(lookahead.peek(9)), [0, 2, 4]);
    assert.deepEqual(offsets(lookahead.take(9)), [0, 2, 4]);
    assert.deepEqual(lookahead.take(9), []);
    lookahead.free(5);
    assert.deepEqual(offsets(lookahead.peek(9)), [1]);
    assert.deepEqual(offsets(lookahead.take(9)), [1]);
    assert.equal(lookahead.waiting, 1);
  });

  it("lets what is on its way go first", () => {
    const lookahead = new Lookahead(10, { ordered: true });
    lookahead.hold(5);
    lookahead.offer({ queueOffset: 3, keyHash: 5 });
    lookahead.offer({ queueOffset: 10, keyHash: 6 });
    assert.deepEqual(offsets(lookahead.take(9)), [10]);
    lookahead.free(5);
    assert.deepEqual(offsets(lookahead.take(9)), [3]);
  });

  it("tells what was passed over, whatever was sent back to below the head", () => {
    const lookahead = new Lookahead(10, { ordered: true });
    lookahead.hold(5);
    lookahead.offer({ queueOffset: 3, keyHash: 5 });
    lookahead.offer({ queueOffset: 14, keyHash: 5 });
    lookahead.scanned = 20;
    lookahead.sought = 20;
    assert.equal(lookahead.passedTo(10), 14);
    assert.equal(lookahead.passedTo(15), 20);
  });

  it("tells nothing passed over that no receive looked at", () => {
    const lookahead = new Lookahead(10, { ordered: true });
    lookahead.offer({ queueOffset: 14, keyHash: 5 });
    lookahead.scanned = 20;
    assert.equal(lookahead.passedTo(10), 10);
    lookahead.take(1);
    assert.equal(lookahead.passedTo(10), 15, "one that was given passes over what lies before it");
  });

  it("frees what is not held without harm", () => {
    const lookahead = filled(true, [5]);
    lookahead.free(5);
    lookahead.free(99);
    assert.deepEqual(offsets(lookahead.take(9)), [0]);
    lookahead.free(5);
    lookahead.free(5);
    lookahead.offer({ queueOffset: 1, keyHash: 5 });
    assert.deepEqual(offsets(lookahead.take(9)), [1]);
  });

  it("keeps every key's order and gives each message once, whatever the steps", () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.constant("offer" as const) },
      { weight: 2, arbitrary: fc.constant("take" as const) },
      { weight: 3, arbitrary: fc.constant("free" as const) },
    );
    const walk = fc.array(fc.tuple(step, fc.nat({ max: 4 })), { maxLength: 300 });
    fc.assert(
      fc.property(walk, (steps) => {
        const lookahead = new Lookahead(0, { ordered: true });
        const lanes = new Map<number, number[]>();
        const held = new Set<number>();
        let next = 0;
        for (const [what, value] of steps) {
          if (what === "offer") {
            lookahead.offer({ queueOffset: next, keyHash: value });
            lanes.set(value, [...(lanes.get(value) ?? []), next]);
            lookahead.scanned = ++next;
            lookahead.sought = next;
          } else if (what === "free") {
            lookahead.free(value);
            held.delete(value);
          } else {
            const may = [...lanes]
              .filter(([key, waiting]) => !held.has(key) && waiting.length > 0)
              .map(([key, waiting]) => ({ queueOffset: waiting[0] as number, keyHash: key }))
              .sort((a, b) => a.queueOffset - b.queueOffset);
            assert.equal(lookahead.ready, may.length);
            assert.deepEqual(lookahead.peek(value), may.slice(0, value));
            const taken = lookahead.take(value);
            assert.deepEqual(taken, may.slice(0, value));
            for (const { keyHash } of taken) {
              held.add(keyHash);
              lanes.get(keyHash)?.shift();
            }
          }
          const waiting = [...lanes.values()].flat();
          assert.equal(lookahead.waiting, waiting.length);
          assert.equal(lookahead.passedTo(0), Math.min(next, ...waiting));
        }
      }),
    );
  });
});
