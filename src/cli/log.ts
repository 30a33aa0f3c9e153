/**
 * The node's own log: a line per event on stderr, as text for people or as a
 * JSON object for machines.
 *
 * A value never breaks a line: whatever a stranger sent is quoted and escaped.
 * The bytes go out before the call returns, so the last words of a dying
 * process are not lost.
 *
 * @module
 */

import { writeSync } from "node:fs";
import type { Log, LogLevel } from "../../storage/base/logger.ts";

const LEVELS = ["debug", "info", "warn", "error"] as const satisfies readonly LogLevel[];
const STDERR = 2;

export interface LogOptions {
  /** Events below it are dropped. */
  readonly level: LogLevel;
  readonly format: "text" | "json";
  /** Takes a line with its line break; stderr unless told otherwise. */
  readonly write?: (line: string) => void;
  readonly now?: () => number;
}

type Fields = Readonly<Record<string, unknown>>;

export function createLog(options: LogOptions): Log {
  const { level: least, format, write = writeStderr, now = Date.now } = options;
  const line = format === "json" ? jsonLine : textLine;
  return (level, message, fields = {}) => {
    if (LEVELS.indexOf(level) < LEVELS.indexOf(least)) return;
    write(`${line({ time: new Date(now()).toISOString(), level, message }, fields)}\n`);
  };
}

interface Event {
  readonly time: string;
  readonly level: LogLevel;
  readonly message: string;
}

function jsonLine(event: Event, fields: Fields): string {
  return JSON.stringify({ ...fields, ...event }, (_name, value: unknown) => plain(value));
}

function textLine({ time, level, message }: Event, fields: Fields): string {
  const pairs = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${quoted(plain(value))}`);
  return `${time} ${level.padEnd(5)} ${message}${pairs.join("")}`;
}

/** Values JSON has no words for. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (!(value instanceof Error)) return value;
  const { name, message, stack, cause } = value;
  const code = (value as { code?: unknown }).code;
  return {
    name,
    message,
    ...(code !== undefined && { code }),
    stack,
    ...(cause !== undefined && { cause }),
  };
}

function quoted(value: unknown): string {
  if (typeof value === "string" && /^[\w.:/@+-]+$/.test(value)) return value;
  return JSON.stringify(value, (_name, inner: unknown) => plain(inner)) ?? String(value);
}

function writeStderr(line: string): void {
  try {
    writeSync(STDERR, line);
  } catch {
    // Whoever read the log is gone, or does not keep up. Serving goes on without it.
  }
}
