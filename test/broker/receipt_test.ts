/**
 * Receipts: their bytes, and what is left of one with a letter changed.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { decodeReceipt, encodeReceipt, sameNonce } from "../../src/broker/receipt.ts";

const safe = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const receipt = fc.record(
  {
    brokerGroup: fc.nat({ max: 0xffff }),
    topicGen: safe,
    groupGen: safe,
    queueId: fc.nat({ max: 0xffff }),
    queueOffset: safe,
    grantSeq: fc.nat({ max: 2 ** 48 - 1 }),
    nonce: fc.uint8Array({ minLength: 8, maxLength: 8 }),
  },
  { noNullPrototype: true },
);

describe("receipts", () => {
  it("keep their bytes: consumers hold on to them over versions", () => {
    const nonce = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    const place = { queueId: 7, queueOffset: 8, grantSeq: 2 ** 33 + 9 };
    const fields = { brokerGroup: 0, topicGen: 5, groupGen: 6, ...place };
    assert.equal(
      encodeReceipt({ ...fields, nonce }),
      "AAAAAAAAAAAABQAAAAAAAAAGAAcAAAAAAAAACAACAAAACQECAwQFBgcI",
    );
  });

  it("are undone by decodeReceipt()", () => {
    fc.assert(
      fc.property(receipt, (one) => {
        const decoded = decodeReceipt(encodeReceipt(one));
        assert.deepEqual(decoded, one);
      }),
    );
  });

  it("of one batch, or of two in turn, are each their own", () => {
    const other = fc.record({
      receipt,
      queueOffset: safe,
      scope: fc.boolean(),
      secret: fc.boolean(),
    });
    fc.assert(
      fc.property(receipt, fc.array(other, { minLength: 1 }), (one, others) => {
        const batch = others.map(({ receipt: another, queueOffset, scope, secret }) => ({
          ...another,
          queueOffset,
          ...(scope ? { topicGen: one.topicGen, groupGen: one.groupGen } : {}),
          ...(secret ? { grantSeq: one.grantSeq, nonce: one.nonce } : {}),
        }));
        const texts = batch.map(encodeReceipt);
        assert.deepEqual(texts.map(decodeReceipt), batch);
        assert.deepEqual([...batch].reverse().map(encodeReceipt), [...texts].reverse());
      }),
    );
  });

  it("are another receipt, or none, with any letter changed", () => {
    const letter = fc.constantFrom(...Array.from("ABYZabyz0189-_+/=. é"));
    fc.assert(
      fc.property(receipt, fc.nat(), letter, (one, at, other) => {
        const text = encodeReceipt(one);
        const i = at % text.length;
        const changed = text.slice(0, i) + other + text.slice(i + 1);
        if (changed !== text) assert.notDeepEqual(decodeReceipt(changed), one);
      }),
    );
  });

  it("leave decodeReceipt() nothing to throw at", () => {
    const base64url = fc.string({
      unit: fc.constantFrom(
        ...Array.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
      ),
      minLength: 56,
      maxLength: 56,
    });
    fc.assert(fc.property(fc.oneof(fc.string(), base64url), (text) => void decodeReceipt(text)));
    assert.equal(decodeReceipt(""), undefined);
    assert.equal(decodeReceipt("A".repeat(55)), undefined);
    assert.equal(decodeReceipt("/".repeat(56)), undefined);
  });
});

describe("sameNonce()", () => {
  const nonce = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  const cases: [name: string, other: Uint8Array, same: boolean][] = [
    ["equal bytes", nonce.slice(), true],
    ["another first byte", Uint8Array.of(0, 2, 3, 4, 5, 6, 7, 8), false],
    ["another last byte", Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 0), false],
    ["a shorter one", nonce.subarray(0, 7), false],
    ["a longer one", Uint8Array.of(...nonce, 0), false],
    ["none", new Uint8Array(0), false],
  ];
  for (const [name, other, same] of cases) {
    it(`tells ${name}`, () => assert.equal(sameNonce(nonce, other), same));
  }
});
