/**
 * The tree of an SQL filter: what the parser makes, `check.ts` proves to be
 * sensible and `sql.ts` compiles.
 *
 * NOT BETWEEN, NOT IN, IS NOT NULL and so on are the negation of what follows
 * NOT: in three-valued logic that is the same. Chains of AND and of OR are one
 * node however long, so the depth of the tree is the nesting of the text.
 *
 * @module
 */

import type { AttributeName } from "../../storage/base/attribute_picker.ts";
import type { Pattern } from "./pattern.ts";
import type { Numeric } from "./values.ts";

export type Comparison = "=" | "<>" | "<" | "<=" | ">" | ">=";

/** Where in the text it begins, counting characters from 0. */
interface Placed {
  readonly position: number;
}

export interface Literal extends Placed {
  readonly kind: "literal";
  readonly value: string | Numeric | boolean | null;
}

/** A property, `TAGS` or `KEY`. */
export interface Variable extends Placed {
  readonly kind: "variable";
  readonly attribute: AttributeName;
}

export type Expression =
  | Literal
  | Variable
  | (Placed & { readonly kind: "and" | "or"; readonly operands: readonly Expression[] })
  | (Placed & { readonly kind: "not"; readonly operand: Expression })
  | (Placed & {
      readonly kind: "compare";
      readonly comparison: Comparison;
      readonly left: Expression;
      readonly right: Expression;
    })
  | (Placed & {
      readonly kind: "between";
      readonly value: Expression;
      readonly low: Expression;
      readonly high: Expression;
    })
  | (Placed & {
      readonly kind: "in";
      readonly value: Expression;
      readonly items: readonly Literal[];
    })
  | (Placed & { readonly kind: "is-null"; readonly value: Expression })
  /** LIKE, CONTAINS, STARTSWITH and ENDSWITH. */
  | (Placed & { readonly kind: "like"; readonly value: Expression; readonly pattern: Pattern });

/** `any`: a variable, which is a text that may look like a number or a boolean. */
export type ExpressionType = "any" | "text" | "number" | "boolean" | "null";

export function typeOf(expression: Expression): ExpressionType {
  if (expression.kind === "variable") return "any";
  if (expression.kind !== "literal") return "boolean";
  const { value } = expression;
  if (value === null) return "null";
  if (typeof value === "string") return "text";
  return typeof value === "boolean" ? "boolean" : "number";
}
