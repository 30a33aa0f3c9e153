/**
 * The gateway runs where there is no Node, and so does what it calls brokers with:
 * bundled for a browser they ask for no built-in module of any runtime, so they
 * will run on edge isolates too.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { promisify } from "node:util";

const ROOT = join(import.meta.dirname, "..", "..");
const BUN = join(ROOT, "node_modules", ".bin", "bun");
const folder = mkdtempSync(join(tmpdir(), "tidegate-bundle-"));
const run = promisify(execFile);

async function bundle(entry: string): Promise<string> {
  const output = join(folder, "bundle.js");
  const external = ["node:*", "bun", "bun:*"].flatMap((name) => ["--external", name]);
  await run(BUN, ["build", "--target", "browser", ...external, `--outfile=${output}`, entry], {
    cwd: ROOT,
  });
  return readFileSync(output, "utf8");
}

/**
 * Signs of built-in modules: an import left as it is, a stand-in the bundler
 * wrote in (each file of a bundle has its name above it), an empty stub.
 */
const BUILT_INS =
  /(?:from|import|require) ?\(?"(?:node:|bun\b)[^"]*"|^\/\/ node:\w+|\(\(\) => \(\{\}\)\)/gm;

const GLOBALS = /\b(?:Bun|Deno)\.\w|\bprocess\.(?!env\b)\w/;

describe("what runs at the edge, bundled for a browser,", () => {
  after(() => rmSync(folder, { recursive: true }));

  for (const [entry, sizeMin] of [
    ["src/gateway/app.ts", 100_000],
    ["src/rpc/mod.ts", 40_000],
    ["src/routing/mod.ts", 60_000],
  ] as const) {
    it(`imports nothing of a runtime and speaks to none: ${entry}`, {
      timeout: 60_000,
    }, async () => {
      const code = await bundle(entry);
      assert(code.length > sizeMin, `the bundle is complete: ${code.length} bytes`);
      assert.deepEqual(code.match(BUILT_INS), null);
      assert.doesNotMatch(code.replaceAll(/typeof \w+[^\n]*/g, ""), GLOBALS);
    });
  }

  it("would be caught if it did", { timeout: 60_000 }, async () => {
    for (const [name, source] of [
      ["node", 'import { readFileSync } from "node:fs";\nexport const f = readFileSync;\n'],
      ["stub", 'import { readFileSync } from "fs";\nexport const f = readFileSync;\n'],
      ["stand-in", 'import { join } from "path";\nexport const f = join;\n'],
      ["bun", 'import { serve } from "bun";\nexport const f = serve;\n'],
    ] as const) {
      const entry = join(folder, `${name}.ts`);
      writeFileSync(entry, source);
      assert.notEqual((await bundle(entry)).match(BUILT_INS), null, name);
    }
  });
});
