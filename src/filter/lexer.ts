/**
 * The words of an SQL filter.
 *
 *   keyword   AND, OR, NOT … in any case
 *   name      [a-zA-Z_$][a-zA-Z0-9_$]*, or anything between double quotes
 *   text      'between single quotes', '' for a quote
 *   number    digits with a point or an exponent or neither; signs are symbols
 *   symbol    = <> != < <= > >= ( ) , + -
 *
 * White space and comments, `-- to the end of the line` and `/* between these`,
 * part words and mean nothing.
 *
 * @module
 */

import { filterInvalid } from "./filter.ts";

export interface Token {
  readonly kind: "keyword" | "name" | "text" | "number" | "symbol" | "end";
  /** A keyword in upper case; what is between the quotes of a text or a name. */
  readonly value: string;
  /** A name in double quotes: a property, whatever it is called. */
  readonly quoted: boolean;
  /** Where it begins. */
  readonly position: number;
}

const KEYWORDS = new Set(
  "AND OR NOT BETWEEN IN IS NULL LIKE ESCAPE CONTAINS STARTSWITH ENDSWITH TRUE FALSE".split(" "),
);

// Sticky, and none can match in two ways: each is tried once at a place.
const SPACE = /[ \t\r\n\f]+/y;
const LINE_COMMENT = /--[^\n]*/y;
const WORD = /[a-zA-Z_$][\w$]*/y;
const NUMBER = /(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/y;
const SYMBOL = /<>|!=|<=|>=|[=<>(),+-]/y;

/** The words, the last of kind `end`. @throws `filter-invalid` */
export function tokensOf(text: string): readonly Token[] {
  const tokens: Token[] = [];
  for (let at = 0; ; ) {
    at = skipBlank(text, at);
    const token = tokenAt(text, at);
    tokens.push(token.token);
    if (token.token.kind === "end") return tokens;
    at = token.end;
  }
}

function skipBlank(text: string, from: number): number {
  let at = from;
  for (;;) {
    const start = at;
    at += (matchAt(SPACE, text, at) ?? matchAt(LINE_COMMENT, text, at) ?? "").length;
    if (text.startsWith("/*", at)) at = behindComment(text, at);
    if (at === start) return at;
  }
}

function behindComment(text: string, at: number): number {
  const end = text.indexOf("*/", at + 2);
  if (end < 0) throw filterInvalid("the comment has no end", at);
  return end + 2;
}

function tokenAt(text: string, position: number): { token: Token; end: number } {
  const first = text[position];
  const made = (kind: Token["kind"], value: string, end = position + value.length) => ({
    token: { kind, value, quoted: first === '"', position },
    end,
  });
  if (first === undefined) return made("end", "");
  if (first === "'") return made("text", ...quotedAt(text, position));
  if (first === '"') return made("name", ...nameAt(text, position));
  const word = matchAt(WORD, text, position);
  if (word !== undefined) {
    const keyword = word.toUpperCase();
    return KEYWORDS.has(keyword) ? made("keyword", keyword) : made("name", word);
  }
  const number = matchAt(NUMBER, text, position);
  if (number !== undefined) return made("number", checkedNumber(text, { number, position }));
  const symbol = matchAt(SYMBOL, text, position);
  if (symbol !== undefined) return made("symbol", symbol);
  const character = String.fromCodePoint(text.codePointAt(position) ?? 0);
  throw filterInvalid(`${JSON.stringify(character)} means nothing here`, position);
}

/** `5x` and `1.2.3` are more likely misspelt than meant as two words. */
function checkedNumber(
  text: string,
  { number, position }: { number: string; position: number },
): string {
  const end = position + number.length;
  if (/[\w$.]/.test(text[end] ?? "")) throw filterInvalid("a number runs into what follows", end);
  return number;
}

function nameAt(text: string, position: number): [value: string, end: number] {
  const [name, end] = quotedAt(text, position);
  if (name === "") throw filterInvalid("a name is missing between the quotes", position);
  return [name, end];
}

/** What is between the quotes, and the position behind them. A doubled quote stands for one. */
function quotedAt(text: string, position: number): [value: string, end: number] {
  const quote = text[position] as string;
  let value = "";
  for (let from = position + 1; ; ) {
    const end = text.indexOf(quote, from);
    if (end < 0) throw filterInvalid(`the closing ${quote} is missing`, position);
    value += text.slice(from, end);
    if (text[end + 1] !== quote) return [value, end + 1];
    value += quote;
    from = end + 2;
  }
}

function matchAt(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
}
