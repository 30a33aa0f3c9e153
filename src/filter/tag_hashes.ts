/**
 * What an SQL filter says about the tag of a message it wants, so that the
 * ConsumeQueue unit alone rules most others out.
 *
 * Sound, not complete: the condition is never true of a message whose tagHash
 * is not in the set; undefined where the tree gives no such set.
 *
 * @module
 */

import { unreachable } from "../../storage/base/assert.ts";
import { stableHash } from "../../storage/base/hash.ts";
import type { Expression, Literal } from "./expression.ts";

/** In the unit of a message without a tag. */
const NO_TAG = 0;

export function tagHashesOf(expression: Expression): ReadonlySet<number> | undefined {
  switch (expression.kind) {
    case "compare": {
      const { comparison, left, right } = expression;
      if (comparison !== "=") return undefined;
      if (isTag(left)) return hashesOf([right]);
      return isTag(right) ? hashesOf([left]) : undefined;
    }
    case "in":
      return isTag(expression.value) ? hashesOf(expression.items) : undefined;
    case "is-null":
      return isTag(expression.value) ? new Set([NO_TAG]) : undefined;
    case "and":
      return expression.operands.map(tagHashesOf).reduce(both);
    case "or":
      return expression.operands.map(tagHashesOf).reduce(either);
    case "literal":
      return expression.value === true ? undefined : new Set();
    case "variable":
    case "not":
    case "between":
    case "like":
      return undefined;
    default:
      return unreachable(expression);
  }
}

function isTag(expression: Expression): boolean {
  return expression.kind === "variable" && expression.attribute.kind === "tag";
}

/** Of texts, and of NULL, which nothing equals; many tags may look like one number. */
function hashesOf(values: readonly (Expression | Literal)[]): ReadonlySet<number> | undefined {
  const hashes = new Set<number>();
  for (const one of values) {
    if (one.kind !== "literal") return undefined;
    if (typeof one.value === "string") hashes.add(stableHash(one.value));
    else if (one.value !== null) return undefined;
  }
  return hashes;
}

type Hashes = ReadonlySet<number> | undefined;

function both(a: Hashes, b: Hashes): Hashes {
  return a && b ? new Set([...a].filter((hash) => b.has(hash))) : (a ?? b);
}

function either(a: Hashes, b: Hashes): Hashes {
  return a && b ? new Set([...a, ...b]) : undefined;
}
