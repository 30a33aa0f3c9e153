import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  formatTopicsPosition,
  parseTopicsPosition,
  TOPICS_MAX,
} from "../../routes/topics_position.ts";
import { encodeStreamCursor } from "../../src/broker/cursor.ts";
import { TidegateError } from "../../storage/base/errors.ts";

const farthest = { brokerGroup: 0, logOffset: Number.MAX_SAFE_INTEGER, index: 0xffff_ffff };
const longest = encodeStreamCursor({ topicGen: Number.MAX_SAFE_INTEGER, positions: [farthest] });

const topic = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,126}$/);
const position = fc.oneof(
  fc.constantFrom("earliest", "latest", "time:2026-11-22T08:00:00.123Z", longest),
  fc.stringMatching(/^[\w.~:=-]{1,60}$/),
);
const entries = fc.uniqueArray(fc.record({ topic, position }), {
  selector: (entry) => entry.topic,
  minLength: 1,
  maxLength: TOPICS_MAX,
});

describe("formatTopicsPosition()", () => {
  it("is undone by parseTopicsPosition()", () => {
    fc.assert(
      fc.property(entries, (given) => {
        fc.pre(
          given.every((one) => one.position !== "time:" && !/^time:(?!2026)/.test(one.position)),
        );
        const parsed = parseTopicsPosition(formatTopicsPosition(given), "/query/after");
        assert.deepEqual(
          [...parsed.keys()],
          given.map((one) => one.topic),
        );
        for (const one of given) {
          const start = parsed.get(one.topic);
          const text = start?.kind === "cursor" ? start.cursor : one.position;
          assert.equal(text, one.position);
        }
      }),
    );
  });

  it("is printable ASCII that stays as it is in a query", () => {
    fc.assert(
      fc.property(entries, (given) => {
        const text = formatTopicsPosition(given);
        assert.match(text, /^[\x21-\x7e]+$/);
        assert.equal(new URL(`http://h/?after=${text}`).search, `?after=${text}`);
      }),
    );
  });

  it("of as many and as long names as there may be fits the usual limit on a header", () => {
    const most = Array.from({ length: TOPICS_MAX }, (_, i) => ({
      topic: `${i}`.padStart(127, "t"),
      position: longest,
    }));
    assert(formatTopicsPosition(most).length <= 6 * 1024);
  });
});

describe("parseTopicsPosition()", () => {
  const many = (count: number) => Array.from({ length: count }, (_, i) => `t${i}=latest`).join(",");
  const refused: [name: string, text: string][] = [
    ["nothing", ""],
    ["a cursor of one topic", "0410abcdef"],
    ["a word", "earliest"],
    ["an entry without a topic", "=earliest"],
    ["an entry without a position", "a="],
    ["an empty entry", "a=earliest,"],
    ["a topic that cannot be one", "a b=earliest"],
    ["a topic named twice", "a=earliest,b=latest,a=earliest"],
    ["a position that cannot be one", "a=ear/liest"],
    ["a time that is none", "a=time:yesterday"],
    ["more topics than there may be", many(TOPICS_MAX + 1)],
  ];
  for (const [name, text] of refused) {
    it(`refuses ${name}`, () => {
      assert.throws(() => parseTopicsPosition(text, "/query/after"), { code: "invalid-request" });
    });
  }

  it("takes as many topics as there may be", () => {
    assert.equal(parseTopicsPosition(many(TOPICS_MAX), "/query/after").size, TOPICS_MAX);
  });

  it("refuses whatever it does not take as a request that cannot be read", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 60 }), (text) => {
        try {
          parseTopicsPosition(text, "/query/after");
        } catch (error) {
          assert(error instanceof TidegateError && error.code === "invalid-request");
        }
      }),
    );
  });
});
