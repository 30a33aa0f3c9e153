import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { decodeJsonBytes, isJson, NESTING_MAX, parseJson } from "../../routes/json_text.ts";
import { TidegateError } from "../../storage/base/errors.ts";

const nested = (depth: number) => `${"[".repeat(depth)}1${"]".repeat(depth)}`;

describe("parseJson()", () => {
  it("agrees with JSON.parse on everything in bounds", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 8 }), (text) => {
        fc.pre(!/\d{16}/.test(text)); // may be an integer beyond 2^53
        assert.deepEqual(parseJson(text), JSON.parse(text));
      }),
    );
  });

  const taken: [name: string, text: string, value: unknown][] = [
    ["the greatest safe integer", "9007199254740991", 9007199254740991],
    ["the least safe integer", "-9007199254740991", -9007199254740991],
    ["a long fraction", "0.1234567890123456789", 0.12345678901234568],
    ["an exponent", "1.5E3", 1500],
    ["digits in a string", '"99999999999999999999"', "99999999999999999999"],
    ["brackets in a string", `"${"[".repeat(100)}"`, "[".repeat(100)],
    ["an escaped quote before brackets", `"\\"${"{".repeat(100)}"`, `"${"{".repeat(100)}`],
    ["a backslash at a string's end", `["\\\\", 1]`, ["\\", 1]],
  ];
  for (const [name, text, value] of taken) {
    it(`takes ${name}`, () => assert.deepEqual(parseJson(text), value));
  }

  it(`takes ${NESTING_MAX} levels, of brackets of both kinds`, () => {
    assert.equal(JSON.stringify(parseJson(nested(NESTING_MAX))), nested(NESTING_MAX));
  });

  const refused: [name: string, text: string, reason: RegExp][] = [
    ["one level more", nested(NESTING_MAX + 1), /nests deeper/],
    ["a depth bomb", "[".repeat(1_000_000), /nests deeper/],
    ["a depth bomb of objects", '{"a":'.repeat(100_000), /nests deeper/],
    ["the next integer", "9007199254740992", /beyond 2\^53/],
    ["a great integer", "[-123456789012345678901234567890]", /beyond 2\^53/],
    ["a number beyond all", "[1e999]", /out of range/],
    ["a number beyond all in capitals", "-1E400", /out of range/],
    ["an open string", '"abc', /Cannot read the JSON/],
    ["nothing", "", /Cannot read the JSON/],
    ["two values", "1 2", /Cannot read the JSON/],
    ["a lone minus", "-", /Cannot read the JSON/],
  ];
  for (const [name, text, reason] of refused) {
    it(`refuses ${name}`, () => {
      assert.throws(
        () => parseJson(text),
        (error) =>
          error instanceof TidegateError &&
          error.code === "invalid-request" &&
          reason.test(error.message),
      );
    });
  }

  it("throws nothing else, whatever it is given", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...'[]{}",:\\-+.eE0123456789 tfn'.split("")) }),
        (text) => {
          try {
            parseJson(text);
          } catch (error) {
            assert(error instanceof TidegateError);
          }
        },
      ),
    );
  });

  it("takes time in proportion to the text", () => {
    const scan = (length: number) => {
      const text = `[${"123,".repeat(length)}1]`;
      const start = performance.now();
      parseJson(text);
      return performance.now() - start;
    };
    scan(50_000); // warm
    const short = Math.min(...[1, 2, 3].map(() => scan(50_000)));
    const long = Math.min(...[1, 2, 3].map(() => scan(500_000)));
    assert(
      long < Math.max(short, 1) * 100,
      `ten times the text took ${long / short} times as long`,
    );
  });
});

describe("isJson()", () => {
  it("does not mind numbers, which are copied and not read", () => {
    assert(isJson("12345678901234567890"));
    assert(isJson("1e999"));
  });

  it("minds syntax and depth", () => {
    assert(!isJson("{"));
    assert(!isJson(""));
    assert(!isJson(nested(NESTING_MAX + 1)));
  });
});

describe("decodeJsonBytes()", () => {
  it("leaves a byte order mark out, and refuses what is not UTF-8", () => {
    assert.equal(decodeJsonBytes(Uint8Array.from([0xef, 0xbb, 0xbf, 0x31])), "1");
    assert.throws(() => decodeJsonBytes(Uint8Array.from([0x22, 0xc3, 0x22])), TidegateError);
  });
});
