/**
 * The data directory of a node: made when missing, and held by one process at
 * a time, because two writers would destroy the log.
 *
 * The hold is a lock of the operating system on the file `LOCK`, taken through
 * SQLite, the one thing all three runtimes have that locks files. The system
 * lets go when the process ends, however it ends: a killed node leaves nothing
 * behind that blocks the next start.
 *
 * @module
 */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { CliError } from "./exit.ts";

const SQLITE_BUSY = /database is locked/;

export interface DataDir {
  readonly path: string;
  /** Lets another process have it. */
  release(): void;
}

/** @throws {CliError} `io` when it cannot be made or written, `unavailable` when another process holds it. */
export function holdDataDir(path: string): DataDir {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    throw cannotUse(path, error);
  }
  const lock = lockFile(path);
  return { path, release: () => lock.close() };
}

function lockFile(path: string): DatabaseSync {
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(join(path, "LOCK"));
    lock.exec("PRAGMA busy_timeout = 0; PRAGMA journal_mode = OFF; BEGIN EXCLUSIVE");
    return lock;
  } catch (error) {
    lock?.close();
    if (SQLITE_BUSY.test((error as Error).message)) {
      const message = `Cannot use the data directory "${path}": another process has it open`;
      throw new CliError("unavailable", message, error);
    }
    throw cannotUse(path, error);
  }
}

function cannotUse(path: string, error: unknown): CliError {
  const reason = (error as Error).message;
  return new CliError("io", `Cannot use the data directory "${path}": ${reason}`, error);
}
