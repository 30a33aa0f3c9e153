/**
 * What holds of all SQL filters and all messages, and that they judge as a
 * plain model does.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { compileFilter, type Filterable, nominates } from "../../src/filter/mod.ts";
import { stableHash } from "../../storage/base/hash.ts";
import { truthOf, type TruthName, wants } from "./kit.ts";

/** A condition, and the truth a message gives it by the model below. */
interface Modelled {
  readonly sql: string;
  truth(message: Filterable): TruthName;
}

type Scalar = string | number | boolean | null;

/** What a side of a comparison is: a variable by its name, or a literal. */
type Side = { readonly name: string } | { readonly value: Scalar };

const WORDS = ["1", "2", "2.0", "-3", "a", "ab", "true", "FALSE", ""] as const;
const NAMES = ["a", "b", "TAGS", "KEY", '"x-y"'] as const;

const anyMessage: fc.Arbitrary<Filterable> = fc
  .record({
    tag: fc.option(fc.constantFrom("1", "a", "ab"), { nil: undefined }),
    key: fc.option(fc.constantFrom(...WORDS), { nil: undefined }),
    a: fc.option(fc.constantFrom(...WORDS), { nil: undefined }),
    b: fc.option(fc.constantFrom(...WORDS), { nil: undefined }),
    "x-y": fc.option(fc.constantFrom(...WORDS), { nil: undefined }),
  })
  .map(({ tag, key, ...rest }) => {
    const properties = Object.entries(rest).flatMap(([name, value]): [string, string][] =>
      value === undefined ? [] : [[name, value]],
    );
    return { tag, key, properties };
  });

const anyText = fc.constantFrom("1", "a", "ab", "true", "2");
const anyNumber = fc.constantFrom(1, 2, -3, 2.5);
const anyLiteral: fc.Arbitrary<Scalar> = fc.oneof(
  anyText,
  anyNumber,
  fc.boolean(),
  fc.constant(null),
);
const anyVariable = fc.constantFrom(...NAMES).map((name): Side => ({ name }));

const sqlOf = (side: Side) => ("name" in side ? side.name : literal(side.value));

function literal(value: Scalar): string {
  if (value === null) return "NULL";
  return typeof value === "string" ? `'${value}'` : String(value).toUpperCase();
}

function valueOf(side: Side, { tag, key, properties }: Filterable): Scalar {
  if ("value" in side) return side.value;
  if (side.name === "TAGS") return tag ?? null;
  if (side.name === "KEY") return key ?? null;
  const bare = side.name.replaceAll('"', "");
  return properties.find(([name]) => name === bare)?.[1] ?? null;
}

/** The truth of a comparison whose right side is a literal. */
function compared(left: Scalar, operator: string, right: Scalar): TruthName {
  const seen = typeof left === "string" ? as(left, right) : left;
  if (seen === null || right === null || seen === undefined) return "unknown";
  const results: Record<string, boolean> = {
    "=": seen === right,
    "<>": seen !== right,
    "<": seen < right,
    "<=": seen <= right,
    ">": seen > right,
    ">=": seen >= right,
  };
  return results[operator] ? "true" : "false";
}

/** A property's text as what it stands beside. */
function as(text: string, beside: Scalar): Scalar | undefined {
  if (typeof beside === "string") return text;
  if (typeof beside === "number") return /^-?[\d.]+$/.test(text) ? Number(text) : undefined;
  if (text.toLowerCase() === "true") return true;
  return text.toLowerCase() === "false" ? false : undefined;
}

const not = (truth: TruthName): TruthName =>
  truth === "unknown" ? truth : truth === "true" ? "false" : "true";
const all = (truths: readonly TruthName[]): TruthName =>
  truths.includes("false") ? "false" : truths.includes("unknown") ? "unknown" : "true";
const any = (truths: readonly TruthName[]): TruthName => not(all(truths.map(not)));

const anyComparison: fc.Arbitrary<Modelled> = fc
  .tuple(anyVariable, fc.constantFrom("=", "<>", "<", "<=", ">", ">="), anyLiteral)
  .filter(([, operator, value]) => typeof value !== "boolean" || /^(=|<>)$/.test(operator))
  .map(([variable, operator, value]) => ({
    sql: `${sqlOf(variable)} ${operator} ${literal(value)}`,
    truth: (message) => compared(valueOf(variable, message), operator, value),
  }));

const anyIn: fc.Arbitrary<Modelled> = fc
  .tuple(anyVariable, fc.array(anyLiteral, { minLength: 1, maxLength: 4 }))
  .map(([variable, values]) => ({
    sql: `${sqlOf(variable)} IN (${values.map(literal).join(", ")})`,
    truth: (message) =>
      any(values.map((value) => compared(valueOf(variable, message), "=", value))),
  }));

const anyNullTest: fc.Arbitrary<Modelled> = fc
  .tuple(anyVariable, fc.boolean())
  .map(([variable, negated]) => ({
    sql: `${sqlOf(variable)} IS ${negated ? "NOT " : ""}NULL`,
    truth: (message) => ((valueOf(variable, message) === null) === negated ? "false" : "true"),
  }));

const SEARCHES = { CONTAINS: "includes", STARTSWITH: "startsWith", ENDSWITH: "endsWith" } as const;

const anySearch: fc.Arbitrary<Modelled> = fc
  .tuple(anyVariable, fc.constantFrom("CONTAINS", "STARTSWITH", "ENDSWITH"), anyText)
  .map(([variable, word, text]) => ({
    sql: `${sqlOf(variable)} ${word} '${text}'`,
    truth: (message) => {
      const value = valueOf(variable, message);
      if (typeof value !== "string") return "unknown";
      return value[SEARCHES[word]](text) ? "true" : "false";
    },
  }));

const anyLeaf = fc.oneof(anyComparison, anyIn, anyNullTest, anySearch);

const { anyCondition } = fc.letrec<{ anyCondition: Modelled }>((tie) => ({
  anyCondition: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    anyLeaf,
    tie("anyCondition").map((one) => ({
      sql: `NOT (${one.sql})`,
      truth: (message: Filterable) => not(one.truth(message)),
    })),
    fc
      .tuple(
        fc.constantFrom("AND", "OR"),
        fc.array(tie("anyCondition"), { minLength: 2, maxLength: 3 }),
      )
      .map(([word, parts]) => ({
        sql: parts.map(({ sql }) => `(${sql})`).join(` ${word} `),
        truth: (message: Filterable) =>
          (word === "AND" ? all : any)(parts.map(({ truth }) => truth(message))),
      })),
  ),
}));

/** That two conditions have one truth whatever the message is. */
function same(a: string, b: string, message: Filterable): void {
  assert.equal(truthOf(a, message), truthOf(b, message), `${a}  ≡  ${b}`);
}

function law(says: string, holds: (x: string, y: string, message: Filterable) => void): void {
  it(says, () => {
    const given = fc.property(anyCondition, anyCondition, anyMessage, (x, y, message) =>
      holds(`(${x.sql})`, `(${y.sql})`, message),
    );
    fc.assert(given, { numRuns: 400 });
  });
}

describe("SQL filters", () => {
  it("judge as the model does", () => {
    const given = fc.property(anyCondition, anyMessage, ({ sql, truth }, message) => {
      assert.equal(truthOf(sql, message), truth(message), sql);
    });
    fc.assert(given, { numRuns: 4000 });
  });

  law("NOT NOT x ≡ x", (x, _, message) => same(`NOT NOT ${x}`, x, message));
  law("NOT (x AND y) ≡ NOT x OR NOT y", (x, y, message) =>
    same(`NOT (${x} AND ${y})`, `NOT ${x} OR NOT ${y}`, message),
  );
  law("NOT (x OR y) ≡ NOT x AND NOT y", (x, y, message) =>
    same(`NOT (${x} OR ${y})`, `NOT ${x} AND NOT ${y}`, message),
  );
  law("x AND y ≡ y AND x, x OR y ≡ y OR x", (x, y, message) => {
    same(`${x} AND ${y}`, `${y} AND ${x}`, message);
    same(`${x} OR ${y}`, `${y} OR ${x}`, message);
  });
  law("x AND (x OR y) ≡ x", (x, y, message) => same(`${x} AND (${x} OR ${y})`, x, message));
  law("x OR NOT x is never false", (x, _, message) =>
    assert.notEqual(truthOf(`${x} OR NOT ${x}`, message), "false"),
  );

  it("v IN (…) ≡ v = … OR v = …", () => {
    const given = fc.property(
      fc.constantFrom(...NAMES),
      fc.array(anyLiteral, { minLength: 1, maxLength: 5 }),
      anyMessage,
      (name, values, message) => {
        const list = values.map(literal);
        const chain = list.map((one) => `${name} = ${one}`);
        same(`${name} IN (${list.join(",")})`, chain.join(" OR "), message);
        same(`${name} NOT IN (${list.join(",")})`, `NOT (${chain.join(" OR ")})`, message);
      },
    );
    fc.assert(given, { numRuns: 1000 });
  });

  it("v BETWEEN l AND h ≡ v >= l AND v <= h", () => {
    const given = fc.property(
      fc.constantFrom(...NAMES),
      fc.oneof(fc.tuple(anyNumber, anyNumber), fc.tuple(anyText, anyText)),
      anyMessage,
      (name, [low, high], message) => {
        const [l, h] = [literal(low), literal(high)];
        same(`${name} BETWEEN ${l} AND ${h}`, `${name} >= ${l} AND ${name} <= ${h}`, message);
        same(`${name} NOT BETWEEN ${l} AND ${h}`, `${name} < ${l} OR ${name} > ${h}`, message);
      },
    );
    fc.assert(given, { numRuns: 1000 });
  });

  it("v op w ≡ w op' v ≡ NOT (v op'' w), also of two properties", () => {
    const mirrored = { "=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<=" };
    const opposite = { "=": "<>", "<>": "=", "<": ">=", ">": "<=", "<=": ">", ">=": "<" };
    const given = fc.property(
      fc.constantFrom(...NAMES),
      fc.constantFrom(...NAMES, "1", "'a'", "-3"),
      fc.constantFrom(...(Object.keys(mirrored) as (keyof typeof mirrored)[])),
      anyMessage,
      (v, w, operator, message) => {
        same(`${v} ${operator} ${w}`, `${w} ${mirrored[operator]} ${v}`, message);
        same(`${v} ${operator} ${w}`, `NOT (${v} ${opposite[operator]} ${w})`, message);
      },
    );
    fc.assert(given, { numRuns: 2000 });
  });

  it("nominate by the tag's hash what they want, and say so when only the tag counts", () => {
    const given = fc.property(anyCondition, anyMessage, ({ sql }, message) => {
      wants(compileFilter({ sql }), message); // checks the nomination
    });
    fc.assert(given, { numRuns: 2000 });
    const table: [sql: string, tags: readonly (string | undefined)[] | undefined][] = [
      ["TAGS = 'a'", ["a"]],
      ["'a' = TAGS", ["a"]],
      ["TAGS IN ('a', 'b')", ["a", "b"]],
      ["TAGS IN ('a', NULL)", ["a"]],
      ["TAGS IS NULL", [undefined]],
      ["TAGS = 'a' OR TAGS IS NULL", ["a", undefined]],
      ["TAGS = 'a' AND x > 5", ["a"]],
      ["(TAGS = 'a' AND x = 1) OR (TAGS = 'b' AND x = 2)", ["a", "b"]],
      ["TAGS IN ('a', 'b') AND TAGS IN ('b', 'c')", ["b"]],
      ["TAGS = 'a' OR x = 1", undefined],
      ["TAGS = NULL", []],
      ["FALSE", []],
      ["TRUE", undefined],
      ["TAGS <> 'a'", undefined],
      ["NOT TAGS = 'a'", undefined],
      ["TAGS > 'a'", undefined],
      ["TAGS = 5", undefined],
      ["TAGS IN ('a', 5)", undefined],
      ["TAGS = TRUE", undefined],
      ["TAGS = x", undefined],
      ["TAGS", undefined],
      ["TAGS LIKE 'a'", undefined],
      ["TAGS BETWEEN 'a' AND 'a'", undefined],
      ["KEY = 'a'", undefined],
      ["\"TAGS\" = 'a'", undefined],
      ["KEY IS NULL", undefined],
    ];
    for (const [sql, tags] of table) {
      const compiled = compileFilter({ sql });
      const hashes = tags?.map((tag) => (tag === undefined ? 0 : stableHash(tag)));
      assert.deepEqual(compiled.tagHashes, hashes && new Set(hashes), sql);
      assert.equal(nominates(compiled, 12_345), hashes === undefined, sql);
    }
  });
});
