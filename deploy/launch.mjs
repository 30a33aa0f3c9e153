/**
 * Starts a program of the project on a runtime of choice, installing first
 * what is missing. Runs on Node 20, Bun and Deno.
 *
 *   node deploy/launch.mjs <bun|deno|node> <file.ts> [argument …]
 *
 * Signals are passed on and the exit code is the program's, so that stopping
 * `npm start` is stopping the server. That is also why the scripts begin with
 * `exec` in package.json: the shell npm starts would end and leave the server
 * behind. In deno.json they begin with `env`, because `deno task` takes a plain
 * `deno` for the package of that name and runs its binary as a script.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { constants } from "node:os";
import process from "node:process";
import { ensureInstalled } from "./install.mjs";
import { needRuntime, RUNTIMES, runArguments, runEnvironment } from "./runtimes.mjs";

const [name, file, ...args] = process.argv.slice(2);
if (!RUNTIMES.includes(name) || file === undefined) {
  console.error(`Usage: launch.mjs <${RUNTIMES.join("|")}> <file.ts> [argument …]`);
  process.exit(64);
}
ensureInstalled();
const runtime = needRuntime(name);

const child = spawn(runtime.program, [...runArguments(runtime, file), ...args], {
  stdio: "inherit",
  env: runEnvironment(runtime),
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => passOn(signal));
}
child.on("error", (error) => {
  console.error(`Cannot start ${runtime.program}: ${error.message}`);
  process.exit(69);
});
child.on("exit", (code, signal) => {
  process.exit(code ?? 128 + (constants.signals[signal] ?? 0));
});

/** Not `child.kill()`: after it Deno reports the signal as the end of a program that exited. */
function passOn(signal) {
  try {
    process.kill(child.pid, signal);
  } catch (error) {
    if (error.code !== "ESRCH") throw error; // It has just ended by itself.
  }
}
