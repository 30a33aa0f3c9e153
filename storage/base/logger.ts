/**
 * The logging port. Messages are constants; what varies goes into `fields`, so
 * that logs can be searched and nothing a stranger sent becomes a log line.
 *
 * @module
 */

export type LogLevel = "debug" | "info" | "warn" | "error";

export type Log = (
  level: LogLevel,
  message: string,
  fields?: Readonly<Record<string, unknown>>,
) => void;
