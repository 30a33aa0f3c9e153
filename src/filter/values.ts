/**
 * The values of a filter's expressions, and how they compare.
 *
 * A variable is a text. Beside a number it counts as the number it looks like,
 * beside TRUE or FALSE as the boolean it looks like; beside a text it is one.
 * Two variables compare as numbers when both look like numbers, else as texts.
 * What does not look like what is asked for is unknown, as what is not there:
 * neither equal nor different.
 *
 * Numbers: whole ones beyond 2^53 are exact, so that long ids are told apart;
 * what has a point or an exponent is a double. Texts are ordered by UTF-16
 * units.
 *
 * @module
 */

/** A double, or a whole number that none can hold. */
export type Numeric = number | bigint;

/** Undefined: unknown. */
export type Truth = boolean | undefined;

const NUMBER = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;
const WHOLE = /^[+-]?\d+$/;

/** Longer texts are no numbers: what a look at a value may cost. */
const NUMBER_LENGTH_MAX = 64;

/** Undefined when `text` does not look like a number, or exceeds a double. */
export function numberOf(text: string): Numeric | undefined {
  if (text.length > NUMBER_LENGTH_MAX || !NUMBER.test(text)) return undefined;
  const number = Number(text);
  if (Number.isSafeInteger(number) || !WHOLE.test(text)) {
    return Number.isFinite(number) ? number : undefined;
  }
  return BigInt(text.startsWith("+") ? text.slice(1) : text);
}

/** Undefined when `text` is neither `true` nor `false`, in upper or lower case. */
export function booleanOf(text: string): Truth {
  if (text.length > 5) return undefined;
  const word = text.toLowerCase();
  return word === "true" ? true : word === "false" ? false : undefined;
}

/** Below 0, 0 or above 0, as `a` is less than, equal to or greater than `b`. */
export function order<T extends Numeric | string | boolean>(a: T, b: T): number {
  if (a < b) return -1;
  return a > b ? 1 : 0;
}

export function negated(truth: Truth): Truth {
  return truth === undefined ? undefined : !truth;
}
