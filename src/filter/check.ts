/**
 * Proves that a tree makes sense before it is compiled: what is compared can
 * be, what is searched is a text, and conditions stand where they belong.
 *
 * Variables fit everywhere, since nobody knows what a message will have; a
 * literal does not, for what could never be true is most likely a mistake.
 *
 * @module
 */

import { type Expression, type ExpressionType, typeOf } from "./expression.ts";
import { filterInvalid } from "./filter.ts";

const WORDS: Readonly<Record<ExpressionType, string>> = {
  any: "a property",
  text: "a text",
  number: "a number",
  boolean: "a condition",
  null: "NULL",
};

/** That a message can be judged by it. @throws `filter-invalid` */
export function checkCondition(expression: Expression): void {
  const type = typeOf(expression);
  if (type === "text" || type === "number") {
    throw filterInvalid(`${WORDS[type]} is no condition`, expression.position);
  }
  check(expression);
}

function check(expression: Expression): void {
  switch (expression.kind) {
    case "literal":
    case "variable":
      return;
    case "and":
    case "or":
      return expression.operands.forEach(checkCondition);
    case "not":
      return checkCondition(expression.operand);
    case "compare": {
      const { comparison, left, right } = expression;
      const ordered = comparison !== "=" && comparison !== "<>";
      checkAll([left, right]);
      return checkComparable(left, right, { ordered });
    }
    case "between": {
      const { value, low, high } = expression;
      checkAll([value, low, high]);
      checkComparable(value, low, { ordered: true });
      checkComparable(value, high, { ordered: true });
      return checkComparable(low, high, { ordered: true });
    }
    case "in":
      check(expression.value);
      for (const item of expression.items) {
        checkComparable(expression.value, item, { ordered: false });
      }
      return;
    case "is-null":
      return check(expression.value);
    case "like": {
      check(expression.value);
      const type = typeOf(expression.value);
      if (type === "number" || type === "boolean") {
        throw filterInvalid(`${WORDS[type]} cannot be searched`, expression.value.position);
      }
    }
  }
}

function checkAll(expressions: readonly Expression[]): void {
  for (const expression of expressions) check(expression);
}

function checkComparable(
  left: Expression,
  right: Expression,
  { ordered }: { readonly ordered: boolean },
): void {
  const types = [typeOf(left), typeOf(right)] as const;
  const boolean = types.indexOf("boolean");
  if (ordered && boolean >= 0) {
    const { position } = boolean === 0 ? left : right;
    throw filterInvalid("a condition is neither less nor greater than anything", position);
  }
  const [a, b] = types;
  if (a === b || a === "any" || b === "any" || a === "null" || b === "null") return;
  throw filterInvalid(`${WORDS[a]} cannot be compared with ${WORDS[b]}`, right.position);
}
