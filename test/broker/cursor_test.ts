/**
 * Cursors: their bytes, their order as text, and what is none.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  decodeCursor,
  encodeQueueCursor,
  encodeStreamCursor,
  type QueueCursor,
} from "../../src/broker/cursor.ts";
import { TidegateError } from "../../storage/base/errors.ts";

const safe = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const noNullPrototype = { noNullPrototype: true };
const queueCursor = fc.record(
  {
    kind: fc.constant("queue" as const),
    topicGen: safe,
    queueId: fc.nat({ max: 1023 }),
    queueOffset: safe,
  },
  noNullPrototype,
);
const positions = fc
  .uniqueArray(
    fc.record(
      {
        brokerGroup: fc.nat({ max: 0xffff }),
        logOffset: safe,
        index: fc.nat({ max: 0xffff_ffff }),
      },
      noNullPrototype,
    ),
    { minLength: 1, maxLength: 255, selector: ({ brokerGroup }) => brokerGroup, size: "xlarge" },
  )
  .map((all) => all.sort((a, b) => a.brokerGroup - b.brokerGroup));
const streamCursor = fc.record(
  {
    kind: fc.constant("stream" as const),
    topicGen: safe,
    positions,
  },
  noNullPrototype,
);

function order(a: QueueCursor, b: QueueCursor): number {
  return a.topicGen - b.topicGen || a.queueId - b.queueId || a.queueOffset - b.queueOffset;
}

function isRefused(text: string): boolean {
  try {
    decodeCursor(text);
    return false;
  } catch (error) {
    return error instanceof TidegateError && error.code === "invalid-cursor";
  }
}

describe("cursors", () => {
  it("keep their bytes: readers hold on to them over versions", () => {
    const position = { brokerGroup: 0, logOffset: 123_456_789, index: 3 };
    const stream = { topicGen: 1_740_800_000_000_001, positions: [position] };
    const queue = { topicGen: 1_740_800_000_000_001, queueId: 3, queueOffset: 1234 };
    assert.equal(encodeQueueCursor(queue), "0400cbpvimg000800c00000000009kg");
    assert.equal(encodeStreamCursor(stream), "0800cbpvimg0008100000000003lnj8l000000o");
  });

  it("of few topics in turn are each their own", () => {
    const place = fc.record(
      {
        topicGen: fc.constantFrom(7, 2 ** 40 + 7),
        queueId: fc.nat({ max: 600 }),
        queueOffset: safe,
      },
      noNullPrototype,
    );
    fc.assert(
      fc.property(fc.array(place), (places) => {
        const texts = places.map(encodeQueueCursor);
        assert.deepEqual(
          texts.map(decodeCursor),
          places.map((one) => ({ kind: "queue", ...one })),
        );
      }),
    );
  });

  it("are undone by decodeCursor()", () => {
    fc.assert(
      fc.property(queueCursor, (cursor) =>
        assert.deepEqual(decodeCursor(encodeQueueCursor(cursor)), cursor),
      ),
    );
    fc.assert(
      fc.property(streamCursor, (cursor) =>
        assert.deepEqual(decodeCursor(encodeStreamCursor(cursor)), cursor),
      ),
    );
  });

  it("of a queue sort as text in the order of its messages", () => {
    const near = queueCursor.chain((a) =>
      fc.tuple(
        fc.constant(a),
        fc.oneof(
          queueCursor,
          queueCursor.map((b) => ({ ...a, queueOffset: b.queueOffset })),
        ),
      ),
    );
    fc.assert(
      fc.property(near, ([a, b]) => {
        const [textA, textB] = [encodeQueueCursor(a), encodeQueueCursor(b)];
        assert.equal(Math.sign(order(a, b)), textA < textB ? -1 : textA > textB ? 1 : 0);
      }),
    );
  });

  it("are safe in a URL, a header and an SSE id", () => {
    fc.assert(
      fc.property(streamCursor, (cursor) =>
        assert.match(encodeStreamCursor(cursor), /^[0-9a-v]+$/),
      ),
    );
  });

  it("have one text each: any other that decodes is another cursor", () => {
    const letter = fc.constantFrom(...Array.from("0123456789abcdefghijklmnopqrstuvwA=é"));
    fc.assert(
      fc.property(queueCursor, fc.nat(), letter, (cursor, at, other) => {
        const text = encodeQueueCursor(cursor);
        const i = at % text.length;
        const changed = text.slice(0, i) + other + text.slice(i + 1);
        if (changed === text || isRefused(changed)) return;
        assert.notDeepEqual(decodeCursor(changed), cursor);
      }),
    );
  });

  it("are refused when they are none", () => {
    const text = encodeQueueCursor({ topicGen: 1, queueId: 2, queueOffset: 3 });
    for (const bad of ["", "0", text.slice(1), `${text}0`, text.toUpperCase(), ` ${text}`]) {
      if (bad !== text) assert(isRefused(bad), bad);
    }
    fc.assert(fc.property(fc.string({ maxLength: 31 }), (garbage) => assert(isRefused(garbage))));
  });

  it("leave decodeCursor() nothing but invalid-cursor to throw", () => {
    const letters = fc.string({
      unit: fc.constantFrom(...Array.from("0123456789abcdefghijklmnopqrstuv")),
    });
    const sized = fc.oneof(fc.constant(31), fc.constant(39)).chain((length) =>
      fc.array(fc.constantFrom(...Array.from("0123456789abcdefghijklmnopqrstuv")), {
        minLength: length,
        maxLength: length,
      }),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          letters,
          sized.map((all) => all.join("")),
          fc.string(),
        ),
        (text) => {
          try {
            decodeCursor(text);
          } catch (error) {
            assert(error instanceof TidegateError);
          }
        },
      ),
    );
  });
});
