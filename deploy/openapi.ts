/**
 * Writes openapi.yaml, the contract as the routes define it; with `--check`
 * compares instead, and fails when the file is not what they say.
 *
 *   bun deploy/openapi.ts [--check]
 *
 * @module
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import manifest from "../package.json" with { type: "json" };
import { contract, toYaml } from "../routes/mod.ts";

const PATH = join(import.meta.dirname, "..", "openapi.yaml");
const HEADER = "# Generated from routes/ by deploy/openapi.ts: change those, not this.\n";

const wanted = HEADER + (await toYaml(contract(manifest.version)));

if (!process.argv.includes("--check")) {
  writeFileSync(PATH, wanted);
} else if (readFileSync(PATH, "utf8") !== wanted) {
  process.stderr.write("openapi.yaml is not what the routes say: run deploy/openapi.ts\n");
  process.exitCode = 1;
}
