/**
 * From the words of an SQL filter to its tree, by recursive descent.
 *
 *   or         and { OR and }
 *   and        not { AND not }
 *   not        NOT not | predicate
 *   predicate  value [ = | <> | != | < | <= | > | >=  value
 *                    | IS [NOT] NULL
 *                    | [NOT] BETWEEN value AND value
 *                    | [NOT] IN ( literal { , literal } )
 *                    | [NOT] LIKE text [ ESCAPE text ]
 *                    | [NOT] ( CONTAINS | STARTSWITH | ENDSWITH ) text ]
 *   value      literal | name | ( or )
 *   literal    text | [+|-] number | TRUE | FALSE | NULL
 *
 * What is not a condition may stand where one belongs, and the other way
 * round: `check.ts` tells them apart, with better words.
 *
 * @module
 */

import type { Comparison, Expression, Literal } from "./expression.ts";
import { FILTER_LIMITS, filterInvalid } from "./filter.ts";
import { type Token, tokensOf } from "./lexer.ts";
import { likePattern, type Pattern } from "./pattern.ts";
import { numberOf } from "./values.ts";

const COMPARISONS: Readonly<Record<string, Comparison>> = {
  "=": "=",
  "<>": "<>",
  "!=": "<>",
  "<": "<",
  "<=": "<=",
  ">": ">",
  ">=": ">=",
};

const ANYTHING: Pattern[number] = [];

/** Characters of a word that an error repeats. */
const SHOWN_MAX = 32;

/** @throws `filter-invalid` */
export function parse(text: string): Expression {
  const parser = new Parser(tokensOf(text));
  const expression = parser.or();
  parser.expectEnd();
  return expression;
}

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  or(): Expression {
    return this.#chain("OR", () => this.#chain("AND", () => this.#not()));
  }

  expectEnd(): void {
    if (this.#next.kind !== "end") throw this.#unexpected("AND, OR or the end");
  }

  #chain(word: "AND" | "OR", operand: () => Expression): Expression {
    const first = operand();
    const operands = [first];
    while (this.#takes("keyword", word)) operands.push(operand());
    if (operands.length === 1) return first;
    return { kind: word === "AND" ? "and" : "or", operands, position: first.position };
  }

  #not(): Expression {
    const { position } = this.#next;
    if (!this.#takes("keyword", "NOT")) return this.#predicate();
    const operand = this.#deeper(position, () => this.#not());
    return { kind: "not", operand, position };
  }

  #predicate(): Expression {
    const value = this.#value();
    const { position } = value;
    const comparison = this.#next.kind === "symbol" ? COMPARISONS[this.#next.value] : undefined;
    if (comparison) {
      this.#at++;
      return { kind: "compare", comparison, left: value, right: this.#value(), position };
    }
    if (this.#takes("keyword", "IS")) return this.#isNull(value);
    const not = this.#takes("keyword", "NOT");
    const operand = this.#wordPredicate(value);
    if (not && !operand) throw this.#unexpected("BETWEEN, IN, LIKE or the like");
    return not && operand ? { kind: "not", operand, position } : (operand ?? value);
  }

  #isNull(value: Expression): Expression {
    const { position } = value;
    const not = this.#takes("keyword", "NOT");
    this.#expect("keyword", "NULL");
    const operand: Expression = { kind: "is-null", value, position };
    return not ? { kind: "not", operand, position } : operand;
  }

  #wordPredicate(value: Expression): Expression | undefined {
    const { position } = value;
    if (this.#takes("keyword", "BETWEEN")) {
      const low = this.#value();
      this.#expect("keyword", "AND");
      return { kind: "between", value, low, high: this.#value(), position };
    }
    if (this.#takes("keyword", "IN")) return { kind: "in", value, items: this.#items(), position };
    const pattern = this.#pattern();
    return pattern && { kind: "like", value, pattern, position };
  }

  #items(): Literal[] {
    const items: Literal[] = [];
    this.#expect("symbol", "(");
    do items.push(this.#literal() ?? this.#missing("a text, a number, TRUE, FALSE or NULL"));
    while (this.#takes("symbol", ","));
    this.#expect("symbol", ")");
    return items;
  }

  #pattern(): Pattern | undefined {
    if (this.#takes("keyword", "LIKE")) return this.#like();
    if (this.#takes("keyword", "CONTAINS")) return [ANYTHING, this.#piece(), ANYTHING];
    if (this.#takes("keyword", "STARTSWITH")) return [this.#piece(), ANYTHING];
    if (this.#takes("keyword", "ENDSWITH")) return [ANYTHING, this.#piece()];
    return undefined;
  }

  #like(): Pattern {
    const text = this.#text();
    const escape = this.#takes("keyword", "ESCAPE") ? this.#text() : undefined;
    if (escape && Array.from(escape.value).length !== 1) {
      throw filterInvalid("ESCAPE takes one character", escape.position);
    }
    const made = likePattern(text.value, escape?.value);
    if ("fault" in made) throw filterInvalid(made.fault, text.position);
    return made.pattern;
  }

  #piece(): Pattern[number] {
    return Array.from(this.#text().value);
  }

  #text(): Token {
    const token = this.#next;
    if (token.kind !== "text") throw this.#unexpected("a text in single quotes");
    this.#at++;
    return token;
  }

  #value(): Expression {
    const { kind, value, quoted, position } = this.#next;
    if (this.#takes("symbol", "(")) {
      const inner = this.#deeper(position, () => this.or());
      this.#expect("symbol", ")");
      return inner;
    }
    if (kind !== "name") return this.#literal() ?? this.#missing("a name or a value");
    this.#at++;
    if (!quoted && value === "TAGS") {
      return { kind: "variable", attribute: { kind: "tag" }, position };
    }
    if (!quoted && value === "KEY") {
      return { kind: "variable", attribute: { kind: "key" }, position };
    }
    return { kind: "variable", attribute: { kind: "property", name: value }, position };
  }

  #literal(): Literal | undefined {
    const { kind, value, position } = this.#next;
    const literal = (value: Literal["value"]): Literal => {
      this.#at++;
      return { kind: "literal", value, position };
    };
    if (kind === "text") return literal(value);
    if (kind === "keyword" && value === "NULL") return literal(null);
    if (kind === "keyword" && value === "TRUE") return literal(true);
    if (kind === "keyword" && value === "FALSE") return literal(false);
    const sign = this.#takes("symbol", "-") ? "-" : this.#takes("symbol", "+") ? "+" : "";
    if (kind === "number" || sign !== "") return literal(this.#number(sign));
    return undefined;
  }

  #number(sign: string) {
    const { kind, value, position } = this.#next;
    if (kind !== "number") throw this.#unexpected("a number");
    const number = numberOf(sign + value);
    if (number === undefined) throw filterInvalid("the number is too long or too large", position);
    return number;
  }

  #deeper<T>(position: number, parse: () => T): T {
    if (++this.#depth > FILTER_LIMITS.depth) {
      throw filterInvalid(`it is nested more than ${FILTER_LIMITS.depth} deep`, position);
    }
    const parsed = parse();
    this.#depth--;
    return parsed;
  }

  get #next(): Token {
    return this.#tokens[this.#at] as Token; // the last is `end`, and nothing takes it
  }

  #takes(kind: Token["kind"], value: string): boolean {
    const taken = this.#next.kind === kind && this.#next.value === value;
    if (taken) this.#at++;
    return taken;
  }

  #expect(kind: Token["kind"], value: string): void {
    if (!this.#takes(kind, value)) throw this.#unexpected(value);
  }

  #missing(expected: string): never {
    throw this.#unexpected(expected);
  }

  #unexpected(expected: string) {
    const { kind, value, position } = this.#next;
    const shown = value.length > SHOWN_MAX ? `${value.slice(0, SHOWN_MAX)}…` : value;
    const found = kind === "end" ? "the end" : kind === "text" ? `'${shown}'` : shown;
    return filterInvalid(`it needs ${expected} and not ${found}`, position);
  }
}
