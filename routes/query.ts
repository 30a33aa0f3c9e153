/**
 * Query parameters. Raw values, as the contract has it: `+` is a space, `%xx`
 * is UTF-8, and what is not UTF-8 is refused rather than read as U+FFFD.
 *
 * @module
 */

import { malformed } from "./problem.ts";

const NONE: ReadonlyMap<string, string> = new Map();
const WHOLE = /^\d{1,15}$/;
const DECIMAL = /^\d{1,9}(?:\.\d{1,9})?$/;

/** The first value of each parameter. @throws `invalid-request` */
export function readQuery(url: string): ReadonlyMap<string, string> {
  const at = url.indexOf("?");
  if (at < 0) return NONE;
  const fragment = url.indexOf("#", at);
  const text = url.slice(at + 1, fragment < 0 ? undefined : fragment);
  if (text.includes("%")) {
    try {
      decodeURIComponent(text);
    } catch (cause) {
      throw malformed("/query", `the query is not percent-encoded UTF-8 (${String(cause)})`);
    }
  }
  const query = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(text)) {
    if (!query.has(name)) query.set(name, value);
  }
  return query;
}

/** A parameter that holds a decimal number from `min` to `max`. */
export function numberParameter(
  query: ReadonlyMap<string, string>,
  name: string,
  rule: { min: number; max: number; default: number; whole: boolean },
): number {
  const text = query.get(name);
  if (text === undefined) return rule.default;
  const value = (rule.whole ? WHOLE : DECIMAL).test(text) ? Number(text) : Number.NaN;
  if (value >= rule.min && value <= rule.max) return value;
  const kind = rule.whole ? "a whole number" : "a number";
  throw malformed(`/query/${name}`, `${name} must be ${kind} from ${rule.min} to ${rule.max}`);
}
