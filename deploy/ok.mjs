/**
 * `npm run ok`: everything that must hold before a change is done. A check
 * that fails shows what it said; the last line adds up checks and tests.
 *
 *   node deploy/ok.mjs [--without-tests]
 *
 * @module
 */

import { join } from "node:path";
import process from "node:process";
import { ensureInstalled } from "./install.mjs";
import { run } from "./run.mjs";
import { needRuntime, runArguments } from "./runtimes.mjs";
import { runTests } from "./tests.mjs";
import { conclude } from "./verdict.mjs";

const LIMIT_SECONDS = 180;

ensureInstalled();
const bun = needRuntime("bun");
const deno = needRuntime("deno");
const script = (file, ...args) => [bun.program, ...runArguments(bun, file), ...args];

const CHECKS = [
  ["lock file", script("deploy/complete_lock.mjs", "--check")],
  ["format", script(bin("@biomejs/biome", "biome"), "format", "--error-on-warnings")],
  ["lint", script(bin("oxlint", "oxlint"), "--type-aware", "--deny-warnings", "--format=unix")],
  ["types", script(bin("typescript", "tsc"), "-p", "tsconfig.json")],
  ["types of the Bun adapter", script(bin("typescript", "tsc"), "-p", "src/runtime/tsconfig.json")],
  ["types of the Deno adapter", [deno.program, "check", "--no-lock", "src/runtime/deno.ts"]],
  ["openapi.yaml is current", script("deploy/openapi.ts", "--check")],
];

/** Tools are started by the file their package names, so that no Node is needed. */
function bin(name, command) {
  return join("node_modules", name, "bin", command);
}

async function check([title, command]) {
  const { code, output, seconds, late } = await run(command, { limitSeconds: LIMIT_SECONDS });
  if (code === 0) {
    console.log(`ok      ${title} (${seconds.toFixed(1)} s)`);
    return { passed: 1, failed: 0 };
  }
  console.log(output.trimEnd());
  console.log(`FAILED  ${title}${late ? `: not done within ${LIMIT_SECONDS} s` : ""}`);
  return { passed: 0, failed: 1 };
}

const total = { passed: 0, failed: 0, skipped: 0 };
const add = (result) => {
  for (const [key, count] of Object.entries(result)) total[key] += count;
};
for (const one of CHECKS) add(await check(one));
if (!process.argv.includes("--without-tests")) add(await runTests());
conclude(total);
