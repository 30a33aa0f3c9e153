/**
 * Reading JSON from strangers.
 *
 * `JSON.parse` alone is not enough: it rounds integers beyond 2^53 in silence,
 * turns 1e999 into Infinity (and that into null when written again), and nests
 * as deep as its stack goes, which the next reader's may not. One scan over the
 * text bounds all three before the parser sees it; the parser then judges the
 * syntax, so the scan may be lenient about everything else.
 *
 * @module
 */

import { TidegateError } from "../storage/base/errors.ts";

/** Deeper than any honest message, shallower than any reader's stack. */
export const NESTING_MAX = 64;

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const MINUS = 0x2d;

/** The text of a JSON document. @throws `invalid-request` when it is not UTF-8 */
export function decodeJsonBytes(bytes: Uint8Array): string {
  try {
    const text = strictUtf8.decode(bytes);
    return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text; // RFC 8259 §8.1 lets us ignore it
  } catch (cause) {
    throw unreadable("it is not UTF-8", cause);
  }
}

/** Parses `text`. @throws `invalid-request` saying why not */
export function parseJson(text: string): unknown {
  const fault = boundsFault(text, { numbers: true });
  if (fault !== undefined) throw unreadable(fault);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw unreadable(cause instanceof Error ? cause.message : "it is not JSON", cause);
  }
}

/** Whether `text` is JSON that any reader can parse; large numbers are its reader's business. */
export function isJson(text: string): boolean {
  if (boundsFault(text, { numbers: false }) !== undefined) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false; // the answer to the question
  }
}

function unreadable(reason: string, cause?: unknown): TidegateError {
  const errors = [{ pointer: "", detail: reason }];
  return new TidegateError("invalid-request", `Cannot read the JSON: ${reason}`, { errors }, cause);
}

/** What breaks a bound; undefined when nothing does. */
function boundsFault(text: string, check: { numbers: boolean }): string | undefined {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit === QUOTE) {
      at = endOfString(text, at);
    } else if (unit === 0x7b || unit === 0x5b) {
      if (++depth > NESTING_MAX) return `it nests deeper than ${NESTING_MAX} levels`;
    } else if (unit === 0x7d || unit === 0x5d) {
      depth--;
    } else if (check.numbers && (unit === MINUS || isDigit(unit))) {
      const end = endOfNumber(text, at);
      const fault = numberFault(text, at, end);
      if (fault !== undefined) return fault;
      at = end - 1;
    }
  }
  return undefined;
}

/** The closing quote of the string that opens at `at`, or the end of the text. */
function endOfString(text: string, at: number): number {
  for (let close = at; ; ) {
    close = text.indexOf('"', close + 1); // far faster than looking at each unit
    if (close < 0) return text.length;
    if (!isEscaped(text, close)) return close;
  }
}

/** Whether an odd number of backslashes stands before `at`. */
function isEscaped(text: string, at: number): boolean {
  let first = at;
  while (text.charCodeAt(first - 1) === BACKSLASH) first--;
  return (at - first) % 2 === 1;
}

function endOfNumber(text: string, at: number): number {
  let end = at + 1;
  while (end < text.length && isNumberUnit(text.charCodeAt(end))) end++;
  return end;
}

/** Fifteen digits are always exact, and few numbers are longer: only those are looked at. */
function numberFault(text: string, at: number, end: number): string | undefined {
  let fraction = false;
  let exponent = false;
  for (let i = at; i < end; i++) {
    const unit = text.charCodeAt(i);
    if (unit === 0x2e) fraction = true;
    else if (unit === 0x65 || unit === 0x45) exponent = true;
  }
  if (!exponent && end - at <= 15) return undefined;
  const literal = text.slice(at, Math.min(end, at + 40));
  const value = Number(text.slice(at, end));
  if (!Number.isFinite(value)) return `${literal} is out of range`;
  if (fraction || exponent || Number.isSafeInteger(value)) return undefined;
  return `${literal} is beyond 2^53: send large integers as strings`;
}

function isDigit(unit: number): boolean {
  return unit >= 0x30 && unit <= 0x39;
}

/** `0-9 + - . e E` */
function isNumberUnit(unit: number): boolean {
  return (
    isDigit(unit) || unit === 0x2b || unit === MINUS || unit === 0x2e || (unit | 0x20) === 0x65
  );
}
