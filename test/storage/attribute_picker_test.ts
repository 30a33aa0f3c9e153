import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { AttributePicker } from "../../storage/base/attribute_picker.ts";
import { decodeMessage, encodeMessage, messageSizeMax } from "../../storage/base/message.ts";

const NAMES = ["", "a", "b", "ab", "ba", "ünï", "__proto__"] as const;
const word = fc.oneof(fc.constantFrom(...NAMES), fc.string({ maxLength: 6 }));

const anyPayload = fc
  .record(
    {
      id: word,
      key: word,
      tag: word,
      index: fc.array(word, { maxLength: 2 }),
      properties: fc.array(fc.tuple(word, word), { maxLength: 6 }),
      contentType: word,
      tracestate: word,
      deliverAt: fc.nat(),
      txnId: word,
    },
    { requiredKeys: ["id"] },
  )
  .map(({ deliverAt, txnId, ...attributes }) => {
    const body = new Uint8Array([7, 7]);
    const target = new Uint8Array(messageSizeMax(attributes, body.length));
    const place = { topicGen: 1, queueId: 0, queueOffset: 0, keyHash: 0, tagHash: 0, bornAt: 1 };
    const envelope = { ...place, deliverAt, txnId };
    return target.subarray(0, encodeMessage(target, 0, { envelope, attributes, body }));
  });

const names = [
  { kind: "property", name: "b" },
  { kind: "tag" },
  ...["a", "", "ab", "ünï", "missing"].map((name) => ({ kind: "property", name }) as const),
  { kind: "key" },
] as const;

/** The same by decoding all of it. */
function decoded(payload: Uint8Array): (string | undefined)[] | undefined {
  const message = decodeMessage(payload);
  return (
    message &&
    names.map((one) =>
      one.kind === "property"
        ? message.properties.findLast(([name]) => name === one.name)?.[1]
        : message[one.kind],
    )
  );
}

describe("AttributePicker", () => {
  const picker = new AttributePicker(names);

  it("picks what decoding the whole message gives", () => {
    fc.assert(
      fc.property(anyPayload, (payload) =>
        assert.deepEqual(picker.pick(payload), decoded(payload)),
      ),
      { numRuns: 1000 },
    );
  });

  it("picks nothing when nothing is asked for", () => {
    fc.assert(
      fc.property(anyPayload, (payload) =>
        assert.deepEqual(new AttributePicker([]).pick(payload), []),
      ),
    );
  });

  it("tells what is no message, as decoding does, and throws at nothing", () => {
    const bent = fc.tuple(anyPayload, fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 }))), fc.nat());
    const given = fc.property(bent, ([payload, changes, cut]) => {
      const bytes = payload.slice(0, payload.length - (cut % 9 === 0 ? cut % payload.length : 0));
      for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
      assert.deepEqual(picker.pick(bytes), decoded(bytes));
    });
    fc.assert(given, { numRuns: 5000 });
    assert.equal(picker.pick(new Uint8Array(0)), undefined);
  });
});
