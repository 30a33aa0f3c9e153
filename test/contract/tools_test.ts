/**
 * openapi.yaml before public judges: a linter, and a client generator whose
 * output is committed in client/.
 *
 * The tools have a package of their own, as they need another TypeScript than
 * the product: `npm ci --ignore-scripts --prefix test/contract` installs them.
 * Where they are not installed, a stale client is still found.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { promisify } from "node:util";

const HERE = import.meta.dirname;
const CONTRACT = join(HERE, "..", "..", "openapi.yaml");
const run = promisify(execFile);

/** As in package.json beside this: a member with a default may be left out of a request. */
const GENERATOR_OPTIONS = ["--default-non-nullable", "false"];

const MODULES = join(HERE, "node_modules");
const skip = existsSync(MODULES)
  ? false
  : "needs the contract tools: npm ci --ignore-scripts --prefix test/contract";

/** Runs a tool by the file its package names, on whatever runs this test. */
async function tool(file: string, ...args: readonly string[]): Promise<void> {
  const runner = "Deno" in globalThis ? ["run", "-A"] : [];
  const environment = { ...process.env, REDOCLY_TELEMETRY: "off" };
  const options = { cwd: HERE, env: environment };
  await run(process.execPath, [...runner, join(MODULES, file), ...args], options);
}

describe("openapi.yaml", () => {
  it("passes the linter, warnings being errors", { skip, timeout: 60_000 }, async () => {
    await tool("@redocly/cli/bin/cli.js", "lint", "--config", "redocly.yaml", CONTRACT);
  });
});

describe("the generated client", () => {
  it("is of this openapi.yaml", () => {
    const digest = createHash("sha256").update(readFileSync(CONTRACT)).digest("hex");
    const from = readFileSync(join(HERE, "client", "generated_from.txt"), "utf8").trim();
    assert.equal(from, digest, "run npm run generate --prefix test/contract");
  });

  it("is what the generator makes of it", { skip, timeout: 60_000 }, async () => {
    const output = join(HERE, "client", "schema.d.ts");
    await tool(
      "openapi-typescript/bin/cli.js",
      CONTRACT,
      ...GENERATOR_OPTIONS,
      "-o",
      output,
      "--check",
    );
  });
});
