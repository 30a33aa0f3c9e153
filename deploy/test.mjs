/**
 * `npm test`: all tests on Bun, on Deno, and on Node where there is one that
 * can run the source. The last line says how many passed and failed.
 *
 *   node deploy/test.mjs [--on bun,deno,node] [part of a path …]
 *
 * Skipped tests are listed. With TEST_SKIPS=deny, for machines that have all a
 * test may need, a test that was skipped everywhere is a failure; one that ran
 * on another runtime is not.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { ensureInstalled } from "./install.mjs";
import { RUNTIMES } from "./runtimes.mjs";
import { runTests } from "./tests.mjs";
import { conclude } from "./verdict.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { on: { type: "string", default: RUNTIMES.join(",") } },
});
const on = values.on.split(",");
const unknown = on.find((name) => !RUNTIMES.includes(name));
if (unknown !== undefined) {
  console.error(`Unknown runtime "${unknown}": expected ${RUNTIMES.join(", ")}`);
  process.exit(64);
}

ensureInstalled();
conclude(await runTests({ on, parts: positionals }));
