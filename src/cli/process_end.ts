/**
 * Every way a serving process comes to its end.
 *
 *   SIGTERM, SIGINT           a wish: the node drains, exit code 0
 *   the same again            a command: ends at once, 143 or 130
 *   a drain that hangs        ended after ten seconds, as if told again
 *   the log's disk failed     ends at once, 74: what is not safe by now never
 *                             will be, and nobody was told that it is
 *   an error nobody handles   ends at once, 70: the state is unknown, the log
 *                             is not; a restart brings the node back
 *
 * @module
 */

import { constants } from "node:os";
import process from "node:process";
import type { Log } from "../../storage/base/logger.ts";
import { EXIT } from "./exit.ts";

export type StopSignal = "SIGINT" | "SIGTERM";

/** One Ctrl-C may arrive twice: from the terminal and from the launcher that passes it on. */
const ECHO_MS = 250;
const DRAIN_MS_MAX = 10_000;

/** Ends the process when an error reaches nobody. */
export function endOnDefect(log: Log): void {
  for (const event of ["uncaughtException", "unhandledRejection"] as const) {
    process.on(event, (error: unknown) => {
      log("error", "Defect: nobody handled an error", { error });
      process.exit(EXIT.internal.code);
    });
  }
}

/** Ends the process when the log cannot be written; nothing may be answered after it. */
export function endOnDiskFailure(log: Log): (error: unknown) => never {
  return (error) => {
    log("error", "The disk failed", { error });
    process.exit(EXIT.io.code);
  };
}

/** Resolves at the first signal to stop; from then on the next one, or the time, ends the process. */
export function stopSignal(log: Log): Promise<StopSignal> {
  return new Promise((resolve) => {
    let first: number | undefined;
    const onSignal = (signal: StopSignal) => {
      const now = performance.now();
      if (first === undefined) {
        first = now;
        setTimeout(() => endNow(signal, { log, why: "Draining took too long" }), DRAIN_MS_MAX);
        log("info", "Draining", { signal });
        resolve(signal);
      } else if (now - first > ECHO_MS) {
        endNow(signal, { log, why: "Told to stop again" });
      }
    };
    process.on("SIGINT", () => onSignal("SIGINT"));
    process.on("SIGTERM", () => onSignal("SIGTERM"));
  });
}

function endNow(signal: StopSignal, { log, why }: { log: Log; why: string }): never {
  log("warn", why, { signal });
  process.exit(128 + constants.signals[signal]);
}
