/**
 * SQL filters: from the checked tree to one closure per node.
 *
 * A message is judged over its row, the values of the variables that the
 * filter names, each looked up once. Judging visits each node at most once and
 * walks a text at most once per node that looks at it; nothing in it throws.
 *
 * @module
 */

import { unreachable } from "../../storage/base/assert.ts";
import { type AttributeName, AttributePicker } from "../../storage/base/attribute_picker.ts";
import { checkCondition } from "./check.ts";
import { type Comparison, type Expression, type Literal, typeOf } from "./expression.ts";
import type { CompiledFilter, Filterable } from "./filter.ts";
import { parse } from "./parser.ts";
import { matcher } from "./pattern.ts";
import { tagHashesOf } from "./tag_hashes.ts";
import { booleanOf, negated, type Numeric, numberOf, order, type Truth } from "./values.ts";

/** @throws `filter-invalid` */
export function compileSql(text: string): CompiledFilter {
  const expression = parse(text);
  checkCondition(expression);
  const variables = new Variables();
  const judge = condition(expression, variables);
  const picker = new AttributePicker(variables.attributes);
  return {
    all: false,
    tagHashes: tagHashesOf(expression),
    matches: (message) => judge(variables.row(message)) === true,
    matchesPayload: (payload) => {
      const row = picker.pick(payload);
      return row !== undefined && judge(row) === true;
    },
  };
}

/** The values of the variables; undefined where the message has none. */
type Row = readonly (string | undefined)[];

type Condition = (row: Row) => Truth;

/** What a filter names, each once: their order is that of the row. */
class Variables {
  readonly attributes: AttributeName[] = [];
  readonly #byName = new Map<string, number>();
  #tagIndex = -1;
  #keyIndex = -1;

  /** The place of an attribute in the row. */
  index(attribute: AttributeName): number {
    const known = this.#find(attribute);
    if (known >= 0) return known;
    const index = this.attributes.push(attribute) - 1;
    if (attribute.kind === "tag") this.#tagIndex = index;
    else if (attribute.kind === "key") this.#keyIndex = index;
    else this.#byName.set(attribute.name, index);
    return index;
  }

  #find(attribute: AttributeName): number {
    if (attribute.kind === "tag") return this.#tagIndex;
    if (attribute.kind === "key") return this.#keyIndex;
    return this.#byName.get(attribute.name) ?? -1;
  }

  row({ tag, key, properties }: Filterable): Row {
    const row = this.attributes.map((): string | undefined => undefined);
    if (this.#tagIndex >= 0) row[this.#tagIndex] = tag;
    if (this.#keyIndex >= 0) row[this.#keyIndex] = key;
    for (const [name, value] of properties) {
      const index = this.#byName.get(name);
      if (index !== undefined) row[index] = value;
    }
    return row;
  }
}

/** An operand, as whatever its neighbour makes of it; undefined when it is not there, or not that. */
interface Operand {
  text(row: Row): string | undefined;
  number(row: Row): Numeric | undefined;
  truth: Condition;
}

const UNKNOWN = () => undefined;

function condition(expression: Expression, variables: Variables): Condition {
  const compile = (one: Expression) => condition(one, variables);
  switch (expression.kind) {
    case "and":
      return conjunction(expression.operands.map(compile));
    case "or":
      return disjunction(expression.operands.map(compile));
    case "not": {
      const operand = compile(expression.operand);
      return (row) => negated(operand(row));
    }
    case "compare":
      return comparing(expression, variables);
    case "between": {
      const { value: left, low, high } = expression;
      const least = comparing({ comparison: ">=", left, right: low }, variables);
      const most = comparing({ comparison: "<=", left, right: high }, variables);
      return conjunction([least, most]);
    }
    case "in":
      return membership(operandOf(expression.value, variables), expression.items);
    case "is-null":
      return isNull(expression.value, variables);
    case "like": {
      const { text } = operandOf(expression.value, variables);
      const matches = matcher(expression.pattern);
      return (row) => {
        const value = text(row);
        return value === undefined ? undefined : matches(value);
      };
    }
    case "literal":
    case "variable":
      return operandOf(expression, variables).truth;
    default:
      return unreachable(expression);
  }
}

/** False if any is false, else unknown if any is unknown. */
function conjunction(conditions: readonly Condition[]): Condition {
  return (row) => {
    let all: Truth = true;
    for (const condition of conditions) {
      const truth = condition(row);
      if (truth === false) return false;
      if (truth === undefined) all = undefined;
    }
    return all;
  };
}

/** True if any is true, else unknown if any is unknown. */
function disjunction(conditions: readonly Condition[]): Condition {
  return (row) => {
    let any: Truth = false;
    for (const condition of conditions) {
      const truth = condition(row);
      if (truth === true) return true;
      if (truth === undefined) any = undefined;
    }
    return any;
  };
}

function operandOf(expression: Expression, variables: Variables): Operand {
  if (expression.kind === "literal") return literalOperand(expression);
  if (expression.kind !== "variable") {
    return { text: UNKNOWN, number: UNKNOWN, truth: condition(expression, variables) };
  }
  const index = variables.index(expression.attribute);
  const seenAs =
    <T>(read: (text: string) => T) =>
    (row: Row) => {
      const text = row[index];
      return text === undefined ? undefined : read(text);
    };
  return { text: (row) => row[index], number: seenAs(numberOf), truth: seenAs(booleanOf) };
}

function literalOperand({ value }: Literal): Operand {
  const text = typeof value === "string" ? value : undefined;
  const truth = typeof value === "boolean" ? value : undefined;
  const number = typeof value === "number" || typeof value === "bigint" ? value : undefined;
  return { text: () => text, number: () => number, truth: () => truth };
}

function comparing(
  wanted: { comparison: Comparison; left: Expression; right: Expression },
  variables: Variables,
): Condition {
  const orderOf = ordering(wanted.left, wanted.right, variables);
  const holds = HOLDS[wanted.comparison];
  return (row) => {
    const order = orderOf(row);
    return order === undefined ? undefined : holds(order);
  };
}

const HOLDS: Readonly<Record<Comparison, (order: number) => boolean>> = {
  "=": (order) => order === 0,
  "<>": (order) => order !== 0,
  "<": (order) => order < 0,
  "<=": (order) => order <= 0,
  ">": (order) => order > 0,
  ">=": (order) => order >= 0,
};

/** How two operands compare, by the type that one of them has for sure. */
function ordering(
  left: Expression,
  right: Expression,
  variables: Variables,
): (row: Row) => number | undefined {
  const a = operandOf(left, variables);
  const b = operandOf(right, variables);
  const types = [typeOf(left), typeOf(right)];
  if (types.includes("null")) return UNKNOWN;
  if (types.includes("number")) return (row) => known(a.number(row), b.number(row));
  if (types.includes("text")) return (row) => known(a.text(row), b.text(row));
  if (types.includes("boolean")) return (row) => known(a.truth(row), b.truth(row));
  return (row) => known(a.number(row), b.number(row)) ?? known(a.text(row), b.text(row));
}

function known<T extends Numeric | string | boolean>(
  a: T | undefined,
  b: T | undefined,
): number | undefined {
  return a === undefined || b === undefined ? undefined : order(a, b);
}

/** As `value = item OR value = item …`, without asking one text after the other. */
function membership(value: Operand, items: readonly Literal[]): Condition {
  const values = items.map((item) => item.value);
  const texts = new Set(values.filter((one) => typeof one === "string"));
  const numbers = values.filter((one) => typeof one === "number" || typeof one === "bigint");
  const truths = values.filter((one) => typeof one === "boolean");
  const among: Condition[] = values.includes(null) ? [UNKNOWN] : [];
  const asked = <T>(read: (row: Row) => T | undefined, holds: (value: T) => boolean) =>
    among.push((row) => {
      const seen = read(row);
      return seen === undefined ? undefined : holds(seen);
    });
  if (texts.size > 0) asked(value.text, (text) => texts.has(text));
  if (truths.length > 0) asked(value.truth, (truth) => truths.includes(truth));
  if (numbers.length > 0) {
    asked(value.number, (number) => numbers.some((one) => order(number, one) === 0));
  }
  return disjunction(among);
}

function isNull(value: Expression, variables: Variables): Condition {
  const { text, truth } = operandOf(value, variables);
  if (value.kind === "literal") return () => value.value === null;
  if (value.kind === "variable") return (row) => text(row) === undefined;
  return (row) => truth(row) === undefined;
}
