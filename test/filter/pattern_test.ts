/**
 * LIKE beside a naive model, and what its matching costs.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { compileFilter, FILTER_LIMITS } from "../../src/filter/mod.ts";
import { likePattern, matcher } from "../../src/filter/pattern.ts";
import { LIMITS } from "../../storage/base/message.ts";
import { wants } from "./kit.ts";

/** Tries everything. */
function naive(text: readonly string[], pattern: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return text.length === 0;
  if (first === "%") return text.some((_, i) => naive(text.slice(i), rest)) || naive([], rest);
  return text.length > 0 && (first === "_" || first === text[0]) && naive(text.slice(1), rest);
}

function matches(text: string, pattern: string, escape?: string): boolean {
  const made = likePattern(pattern, escape);
  assert("pattern" in made, pattern);
  return matcher(made.pattern)(text);
}

const from = (units: readonly string[], maxLength: number) =>
  fc.array(fc.constantFrom(...units), { maxLength }).map((parts) => parts.join(""));

describe("LIKE", () => {
  it("matches as the naive model does", () => {
    const given = fc.property(
      from(["a", "b", "😀"], 12),
      from(["a", "b", "😀", "%", "_"], 9),
      (text, pattern) =>
        assert.equal(matches(text, pattern), naive(Array.from(text), Array.from(pattern))),
    );
    fc.assert(given, { numRuns: 20_000 });
  });

  it("matches as the model does where pieces are long", () => {
    const long = fc.tuple(
      fc.constantFrom("", "%", "_", "b%", "_%"),
      fc.nat({ max: 100 }),
      fc.constantFrom("", "b", "%", "%a_a%", "%ab_"),
      fc.nat({ max: 28 }),
      fc.constantFrom("", "%", "_", "%a", "b%"),
    );
    const given = fc.property(
      from(["a", "a", "a", "a", "a", "a", "a", "a", "a", "b"], 160),
      long,
      (text, [start, count, middle, more, end]) => {
        const pattern = start + "a".repeat(count) + middle + "a".repeat(more) + end;
        const expression = pattern.replaceAll("%", "[^]*").replaceAll("_", "[^]");
        assert.equal(matches(text, pattern), new RegExp(`^${expression}$`).test(text));
      },
    );
    fc.assert(given, { numRuns: 3000 });
  });

  it("finds a piece with blanks of any size there may be, wherever it lies", () => {
    for (const size of [1, 2, 31, 32]) {
      const piece = Array.from({ length: size }, (_, i) => (i % 7 === 0 ? "_" : `${i % 5}`)).join(
        "",
      );
      const filled = piece.replaceAll("_", "😀");
      for (const before of [0, 1, 30, 31, 32, 33, 100]) {
        const text = `${"z".repeat(before)}${filled}y`;
        assert(matches(text, `%${piece}%`));
        assert(matches(text, `%${piece}y`));
        assert(matches(`${text}y`, `%${piece}%y`));
        assert.equal(matches(text, `%${piece}%yy`), false);
        if (size > 1) assert.equal(matches(text.replace("1", "x"), `%${piece}%`), false);
      }
    }
  });

  it("finds a long piece among its own beginnings, where it comes first", () => {
    const piece = from(["a", "b"], 24).filter((one) => one.length > 8);
    const cuts = fc.array(fc.nat({ max: 24 }), { maxLength: 8 });
    const given = fc.property(piece, cuts, fc.boolean(), (wanted, sizes, there) => {
      const beginnings = sizes.map((size) => wanted.slice(0, size % wanted.length)).join("");
      const text = beginnings + (there ? wanted : "") + beginnings;
      assert.equal(matches(text, `%${wanted}%`), text.includes(wanted));
      const behind = text.slice(text.indexOf(wanted) + wanted.length);
      const twice = text.includes(wanted) && behind.includes(wanted);
      assert.equal(matches(text, `%${wanted}%${wanted}%`), twice);
    });
    fc.assert(given, { numRuns: 5000 });
  });

  it("takes escaped characters as they are", () => {
    const given = fc.property(
      from(["a", "%", "_", "!"], 8),
      from(["a", "%", "_", "!"], 8),
      (a, b) => {
        const escaped = a.replaceAll(/[%_!]/g, "!$&");
        assert.equal(matches(b, escaped, "!"), a === b);
      },
    );
    fc.assert(given, { numRuns: 5000 });
  });
});

/** A text that counts how often it was looked into. */
function counted(text: string): { text: string; reads: () => number } {
  let reads = 0;
  const counting = <T>(look: (at: number) => T) => {
    return (at: number) => {
      reads++;
      return look(at);
    };
  };
  const looks = {
    length: text.length,
    charCodeAt: counting((at) => text.charCodeAt(at)),
    codePointAt: counting((at) => text.codePointAt(at)),
    indexOf: (wanted: string, from: number) => {
      const found = text.indexOf(wanted, from);
      reads += (found < 0 ? text.length : found + wanted.length) - from;
      return found;
    },
    startsWith: (start: string) => text.startsWith(start),
    endsWith: (end: string) => text.endsWith(end),
  };
  return { text: looks as unknown as string, reads: () => reads };
}

describe("matching", () => {
  it("looks at each character of a text once, whatever the pieces are", () => {
    const size = LIMITS.propertyBytes;
    for (const pattern of [
      `%${"a".repeat(4000)}b%`,
      `%${"aab".repeat(1000)}%`,
      `%${"a_".repeat(15)}b%`,
      `%b${"_".repeat(31)}%`,
      `%${"aaaa%".repeat(500)}ab%`,
      `%${`${"a".repeat(9)}%`.repeat(400)}${"a".repeat(9)}b%`,
      `%${"a_aa%".repeat(500)}ab%`,
    ]) {
      const made = likePattern(pattern, undefined);
      assert("pattern" in made);
      const { text, reads } = counted("a".repeat(size));
      assert.equal(matcher(made.pattern)(text), false);
      assert.equal(reads(), size, pattern.slice(0, 20));
    }
  });

  it("answers the worst there is: patterns and texts at their limits, made to go back", () => {
    const text = "a".repeat(LIMITS.propertyBytes - 1);
    const message = { properties: [["a", text] as const] };
    const fill = (unit: string) =>
      unit.repeat(Math.floor((FILTER_LIMITS.length - 100) / unit.length));
    for (const pattern of [
      `${fill("a%")}b`,
      `%${fill("a")}b`,
      `%${fill("a_")}b`,
      `%${fill(`${"a_".repeat(15)}b%`)}`,
      `%${fill("_a%")}b`,
      `%${fill("%")}b`,
      `${fill("_")}%b`,
      `%${"a".repeat(31)}b${fill("%aaaaaaaaaaaaaaab")}`,
    ]) {
      assert.equal(wants(compileFilter({ sql: `a LIKE '${pattern}'` }), message), false);
    }
    // As many searches as fit, each of the whole text.
    const each = `a CONTAINS '${"a".repeat(33)}b' OR `;
    const many = each.repeat(Math.floor((FILTER_LIMITS.length - 10) / each.length));
    assert.equal(wants(compileFilter({ sql: `${many}FALSE` }), message), false);
  });
});
