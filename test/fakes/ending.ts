/**
 * A process that meets one of the ends of `src/cli/process_end.ts`.
 *
 * @module
 */

import process from "node:process";
import { createLog } from "../../src/cli/log.ts";
import { endOnDefect, endOnDiskFailure, stopSignal } from "../../src/cli/process_end.ts";

const log = createLog({ level: "info", format: "text" });
endOnDefect(log);

const ends: Record<string, () => void> = {
  rejection: () => void Promise.reject(new Error("nobody caught this")),
  exception: () => {
    throw new Error("nobody caught this");
  },
  disk: () => endOnDiskFailure(log)(new Error("EIO: i/o error, fdatasync")),
  // Draining that never ends.
  signal() {
    void stopSignal(log).then((signal) => console.log(`told to stop by ${signal}`));
    console.log("listening");
  },
};

setTimeout(() => {}, 60_000);
setTimeout(() => ends[process.argv[2] ?? ""]?.(), 0);
