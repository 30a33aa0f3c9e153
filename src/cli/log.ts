/**
 * The node's own log: a line per event on stderr, as text for people or as a
 * JSON object for machines; text in colour where it is a terminal.
 *
 * LogTape decides what is logged and hands it to our sink; the lines are ours,
 * because its own formats lose the code of an error, which is most of what a
 * failed disk has to say. A value never breaks a line: whatever a stranger sent is
 * quoted and escaped.
 *
 * LogTape's configuration is one for the process, and so is this log: the one that
 * was made last.
 *
 * @module
 */

import {
  configureSync,
  getAnsiColorFormatter,
  getLogger,
  type LogLevel as TapeLevel,
  type LogRecord,
  type TextFormatter,
} from "@logtape/logtape";
import type { Log, LogLevel } from "../../storage/base/logger.ts";
import { LogWriter, stderrOutput } from "./log_writer.ts";

const LEVELS = {
  debug: "debug",
  info: "info",
  warn: "warning",
  error: "error",
} as const satisfies Record<LogLevel, TapeLevel>;

export interface LogOptions {
  /** Events below it are dropped. */
  readonly level: LogLevel;
  readonly format: "text" | "json";
  /** Text is for a terminal. */
  readonly colors?: boolean;
  /** Takes a line with its line break; stderr unless told otherwise. */
  readonly write?: (line: string) => void;
  readonly now?: () => number;
}

type Fields = Readonly<Record<string, unknown>>;

export function createLog(options: LogOptions): Log {
  const { level: least, now = Date.now } = options;
  const line = formatterOf(options);
  const write = options.write ?? boundedStderr(line, now);
  configureSync({
    reset: true,
    sinks: { out: (record: LogRecord) => write(line(record)) },
    loggers: [
      { category: "tidegate", lowestLevel: LEVELS[least], sinks: ["out"] },
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["out"] },
    ],
  });
  const logger = getLogger("tidegate");
  // As a record: a text with braces in it would be taken for a template.
  return (level, message, properties = {}) =>
    logger.emit({
      level: LEVELS[level],
      message: [message],
      rawMessage: message,
      timestamp: now(),
      properties,
    });
}

function boundedStderr(line: TextFormatter, now: () => number): (line: string) => void {
  const message = "Lines of the log were dropped: nobody read them in time";
  const writer = new LogWriter(stderrOutput(), (count) =>
    line({
      category: ["tidegate"],
      level: "warning",
      message: [message],
      rawMessage: message,
      timestamp: now(),
      properties: { count },
    }),
  );
  return (text) => writer.write(text);
}

function formatterOf({ format, colors }: LogOptions): TextFormatter {
  if (format === "json") return jsonLine;
  if (!colors) return textLine;
  return getAnsiColorFormatter({
    timestamp: (time) => new Date(time).toISOString(),
    level: (level) => nameOf(level).padEnd(5),
    format: ({ timestamp, level, message, record }) =>
      `${timestamp} ${level} ${message}${pairsOf(record.properties)}`,
  });
}

/** LogTape says `warning`. */
function nameOf(level: TapeLevel): string {
  return level === "warning" ? "warn" : level;
}

function jsonLine({ timestamp, level, message, properties }: LogRecord): string {
  const time = new Date(timestamp).toISOString();
  const event = { ...properties, time, level: nameOf(level), message: message.join("") };
  return `${JSON.stringify(event, (_name, value: unknown) => plain(value))}\n`;
}

function textLine({ timestamp, level, message, properties }: LogRecord): string {
  const time = new Date(timestamp).toISOString();
  return `${time} ${nameOf(level).padEnd(5)} ${message.join("")}${pairsOf(properties)}\n`;
}

function pairsOf(fields: Fields): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${quoted(plain(value))}`)
    .join("");
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
