/**
 * Filters that are none: refused, and where.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { compileFilter, FILTER_LIMITS } from "../../src/filter/mod.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { faultOf, wants } from "./kit.ts";

/** Where the fault lies: under the caret. */
const FAULTS: readonly (readonly [sql: string, caret: string, says: RegExp])[] = [
  ["", "^", /needs a name or a value and not the end/],
  ["  ", "  ^", /needs a name or a value/],
  ["-- only a comment", "                 ^", /needs a name or a value/],
  ["a = ", "    ^", /not the end/],
  ["= 5", "^", /not =/],
  ["a 5", "  ^", /needs AND, OR or the end and not 5/],
  ["a = 1 b", "      ^", /needs AND, OR or the end/],
  ["a = 1 = 1", "      ^", /needs AND, OR or the end/],
  ["a == 1", "   ^", /needs a name or a value and not =/],
  ["a = 1 AND", "         ^", /not the end/],
  ["AND a = 1", "^", /not AND/],
  ["a = 1 OR OR b", "         ^", /not OR/],
  ["NOT", "   ^", /not the end/],
  ["(a = 1", "      ^", /needs \) and not the end/],
  ["a = 1)", "     ^", /needs AND, OR or the end/],
  ["()", " ^", /not \)/],
  ["a BETWEEN 1", "           ^", /needs AND/],
  ["a BETWEEN 1 OR 2", "            ^", /needs AND and not OR/],
  ["a NOT 5", "      ^", /needs BETWEEN, IN, LIKE or the like and not 5/],
  ["a NOT = 5", "      ^", /needs BETWEEN/],
  ["a IS 5", "     ^", /needs NULL and not 5/],
  ["a IS NOT TRUE", "         ^", /needs NULL and not TRUE/],
  ["a IN 5", "     ^", /needs \(/],
  ["a IN ()", "      ^", /needs a text, a number/],
  ["a IN (1, )", "         ^", /needs a text, a number/],
  ["a IN (b)", "      ^", /needs a text, a number/],
  ["a IN (1 2)", "        ^", /needs \)/],
  ["a IN (1", "       ^", /needs \)/],
  ["a LIKE 5", "       ^", /needs a text in single quotes and not 5/],
  ["a LIKE b", "       ^", /needs a text/],
  ["a CONTAINS NULL", "           ^", /needs a text/],
  ["a LIKE 'x' ESCAPE", "                 ^", /needs a text/],
  ["a LIKE 'x' ESCAPE 'ab'", "                  ^", /ESCAPE takes one character/],
  ["a LIKE 'x' ESCAPE ''", "                  ^", /ESCAPE takes one character/],
  ["a LIKE 'a!b' ESCAPE '!'", "       ^", /the escape character stands before/],
  ["a LIKE 'ab!' ESCAPE '!'", "       ^", /nothing follows the escape character/],
  [`a LIKE '%_${"b".repeat(32)}%'`, "       ^", /at most 32 characters where one is _/],
  ["a = -b", "     ^", /needs a number and not b/],
  ["a = - - 5", "      ^", /needs a number and not -/],
  ["a = -'5'", "     ^", /needs a number and not '5'/],
  ["a = 5x", "     ^", /a number runs into/],
  ["a = 1.2.3", "       ^", /a number runs into/],
  ["a = 5L", "     ^", /a number runs into/],
  ["a = 1e400", "    ^", /too long or too large/],
  [`a = ${"1".repeat(65)}`, "    ^", /too long or too large/],
  ["a = 'x", "    ^", /the closing ' is missing/],
  ["a = 'it''s", "    ^", /the closing ' is missing/],
  ['"a = 5', "^", /the closing " is missing/],
  ['"" = 5', "^", /a name is missing/],
  ["a = 5 /* no end", "      ^", /the comment has no end/],
  ["a = 5 /*/", "      ^", /the comment has no end/],
  ["a = 5 ; b", "      ^", /";" means nothing/],
  ["a.b = 5", " ^", /"\." means nothing/],
  ["a = 5 & b", "      ^", /"&" means nothing/],
  ["ü = 5", "^", /"ü" means nothing/],
  ["a = 😀", "    ^", /"😀" means nothing/],
  ["a = 5 \u0000", "      ^", /means nothing/],
  ["a = 5 !", "      ^", /"!" means nothing/],
  ["like = 5", "^", /not LIKE/],
  // What parses and makes no sense.
  ["5", "^", /a number is no condition/],
  ["'abc'", "^", /a text is no condition/],
  ["a = 1 AND 5", "          ^", /a number is no condition/],
  ["NOT 'x'", "    ^", /a text is no condition/],
  ["'x' OR a = 1", "^", /a text is no condition/],
  ["1 = 'a'", "    ^", /a number cannot be compared with a text/],
  ["'a' <> 1", "       ^", /a text cannot be compared with a number/],
  ["TRUE = 1", "       ^", /a condition cannot be compared with a number/],
  ["(a = 1) = 'x'", "          ^", /a condition cannot be compared with a text/],
  ["a > TRUE", "    ^", /neither less nor greater/],
  ["(a = 1) < b", " ^", /neither less nor greater/],
  ["a BETWEEN 1 AND 'x'", "                ^", /a number cannot be compared with a text/],
  ["a BETWEEN FALSE AND TRUE", "          ^", /neither less nor greater/],
  ["5 BETWEEN 'a' AND 'b'", "          ^", /a number cannot be compared with a text/],
  ["5 IN (1, 'a')", "         ^", /a number cannot be compared with a text/],
  ["'a' IN (TRUE)", "        ^", /a text cannot be compared with a condition/],
  ["5 LIKE 'a'", "^", /a number cannot be searched/],
  ["TRUE CONTAINS 'a'", "^", /a condition cannot be searched/],
  ["(a = 1) STARTSWITH 'a'", " ^", /a condition cannot be searched/],
  ["a = (5 IN (1, 'x'))", "              ^", /a number cannot be compared with a text/],
];

describe("SQL that is none", () => {
  for (const [sql, caret, says] of FAULTS) {
    it(`is refused: ${sql.slice(0, 60)}`, () => {
      const { position, message } = faultOf({ sql });
      assert.equal(position, caret.indexOf("^"), message);
      assert.match(message, says);
      assert(message.length < 200);
    });
  }

  it("repeats little of what it refuses", () => {
    const { message } = faultOf({ sql: `a = 1 '${"x".repeat(4000)}'` });
    assert(message.length < 200, message);
  });
});

describe("a filter's bounds", () => {
  const { length, depth } = FILTER_LIMITS;
  const nested = (levels: number, open: string, close: string) =>
    `${open.repeat(levels)}a = 1${close.repeat(levels)}`;
  const flat = (text: string) => text.slice(0, length).padEnd(length);

  it("is as long as may be, and no longer", () => {
    for (const word of ["sql", "tag"] as const) {
      const text = word === "sql" ? flat("a = 1") : flat("a || b");
      assert.equal(compileFilter({ [word]: text } as { tag: string }).all, false);
      const longer = { [word]: `${text} ` } as { tag: string };
      assert.equal(faultOf(longer).position, length);
    }
  });

  it("is nested as deep as may be, and no deeper", () => {
    for (const [open, close] of [
      ["(", ")"],
      ["NOT ", ""],
    ] as const) {
      compileFilter({ sql: nested(depth, open, close) });
      const { position, message } = faultOf({ sql: nested(depth + 1, open, close) });
      assert.equal(position, depth * open.length);
      assert.match(message, /nested more than/);
    }
    // Side by side, as many as fit.
    compileFilter({ sql: Array.from({ length: 300 }, () => "(a = 1)").join(" OR ") });
  });

  it("is a fault and no overflow when it is nothing but depth", () => {
    for (const one of ["(", "NOT ", "a = (", "a BETWEEN (", "NOT (", "(NOT ", "a IN ("]) {
      faultOf({ sql: one.repeat(Math.floor(length / one.length)) });
    }
  });

  it("judges the widest there are", () => {
    const message = { tag: "t", key: "k", properties: [["a", "x"] as const] };
    const fill = (first: string, more: string) =>
      first + more.repeat(Math.floor((length - first.length - 1) / more.length));
    for (const [sql, wanted] of [
      [fill("a='y'", " OR a='x'"), true],
      [fill("a='x'", " AND a='x'"), true],
      [`${fill("a IN('x'", ",'y'")})`, true],
      [`${fill("a IN(1", ",2")})`, false],
      [fill("a='x'", " AND b"), false],
    ] as const) {
      assert.equal(wants(compileFilter({ sql }), message), wanted);
    }
  });
});

/** Texts that get past the first word more often than arbitrary ones do. */
const soup = fc
  .array(
    fc.constantFrom(
      ..."AND OR NOT BETWEEN IN IS NULL LIKE ESCAPE CONTAINS STARTSWITH ENDSWITH TRUE FALSE".split(
        " ",
      ),
      ..."a b TAGS KEY 'x' '' 'it''s' '!%' \"q-r\" 1 -2 .5 1e9 9007199254740993 ( ) ( ) , = <> < >= ! ' \" /* */ --".split(
        " ",
      ),
    ),
    { maxLength: 24 },
  )
  .map((words) => words.join(" "));

describe("compileFilter()", () => {
  const messages = [
    { properties: [] },
    { tag: "x", key: "!%", properties: [["a", "1"] as const, ["b", "TRUE"] as const] },
  ];
  const compiles = (text: string) => {
    for (const filter of [{ sql: text }, { tag: text }]) {
      try {
        const compiled = compileFilter(filter);
        for (const message of messages) wants(compiled, message);
      } catch (error) {
        assert(error instanceof TidegateError, `throws ${String(error)}`);
        assert.equal(error.code, "filter-invalid");
        const { position } = error.details as { position: number };
        assert(Number.isInteger(position) && position >= 0 && position <= text.length);
      }
    }
  };

  it("throws nothing but filter-invalid at any text, and what it made judges", () => {
    const anyText = fc.oneof(
      fc.string({ unit: "binary", maxLength: 60 }),
      fc.string({ unit: "grapheme", maxLength: 60 }),
    );
    fc.assert(fc.property(anyText, compiles), { numRuns: 1000 });
    fc.assert(fc.property(soup, compiles), { numRuns: 3000 });
  });
});
