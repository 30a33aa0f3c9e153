/**
 * Rules about the code itself, checked as a test: the rule of arrows, where
 * clock and chance come in, headers, sizes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path/posix";
import { describe, it } from "node:test";

const ROOT = join(import.meta.dirname, "..");

/** Think twice before widening a row: this table is the architecture. A row ending in .ts is one file. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  "storage/base": [],
  "storage/records": ["storage/base"],
  storage: ["storage/base", "storage/records"],
  "src/filter": ["storage/base"],
  "src/broker": ["storage/mod.ts", "storage/base", "src/filter/mod.ts"],
  "src/cluster": [
    "storage/mod.ts",
    "storage/base",
    "src/rpc/mod.ts",
    "src/broker/api.ts",
    "src/broker/ports.ts",
  ],
  "src/webhook": ["storage/base"],
  "src/rpc": ["storage/base", "src/broker/api.ts"],
  // The rules and tokens it shares with brokers are files of theirs that know nothing of a log.
  "src/routing": [
    "storage/base",
    "src/broker/api.ts",
    "src/broker/cursor.ts",
    "src/broker/definitions.ts",
    "src/broker/placing.ts",
    "src/broker/receipt.ts",
    "src/broker/transaction_id.ts",
  ],
  routes: ["src/broker/api.ts", "storage/base/errors.ts", "storage/base/message.ts"],
  "src/gateway": [
    "routes",
    "src/broker/api.ts",
    "storage/base/errors.ts",
    "storage/base/message.ts",
    "storage/base/metrics.ts",
  ],
  "src/runtime": [],
};

/** Packages a room may use; the gateway side must run on web standards alone. */
const PACKAGES: Record<string, readonly string[]> = {
  routes: ["hono", "@hono/zod-openapi", "nanoid", "yaml"],
  "src/gateway": ["hono", "@hono/zod-openapi"],
  "src/runtime": ["@hono/node-server"],
};

/** Clock, chance and the process enter through the ports only. */
const WORLD =
  /\b(Date\.now|new Date\(\)|Math\.random|setTimeout|setInterval|setImmediate|process\.|Bun\.|Deno\.)/;
const PURE_ROOMS = [
  "storage/base",
  "storage/records",
  "storage",
  "src/filter",
  "src/webhook",
  "src/cluster",
  "src/rpc",
  "src/routing",
  "src/broker",
];

/** Past this, a file tells two stories. */
const LINES_MAX = 350;

const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
const bare = (source: string) => source.replaceAll(/\/\*[^]*?\*\/|(?<!:)\/\/.*/g, "");
const filesOf = (room: string) =>
  readdirSync(join(ROOT, room)).filter((name) => name.endsWith(".ts"));
const importsOf = (code: string) =>
  [
    ...code.matchAll(/^\s*(?:(?:import|export)\b[^"\n]*\bfrom|import|\}\s*from)\s*"([^"\n]+)"/gm),
    ...code.matchAll(/\bimport\(\s*"([^"\n]+)"/g),
  ].map((match) => match[1] as string);

for (const [room, allowed] of Object.entries(MAY_IMPORT)) {
  describe(`the room ${room}`, () => {
    for (const name of filesOf(room)) {
      const path = join(room, name);
      const source = read(path);
      const code = bare(source);
      const shell = name.endsWith("_node.ts");

      it(`${path} keeps to its room`, () => {
        for (const specifier of importsOf(code)) {
          if (specifier.startsWith(".")) {
            const target = join(room, specifier);
            const ok = [room, ...allowed].includes(dirname(target)) || allowed.includes(target);
            assert(ok, `imports ${target}`);
          } else if (specifier.startsWith("node:")) {
            assert(shell || room === "src/runtime", `imports ${specifier}`);
          } else {
            const packages = PACKAGES[room] ?? [];
            const ok = packages.some((one) => specifier === one || specifier.startsWith(`${one}/`));
            assert(ok, `imports ${specifier}`);
          }
        }
      });

      it(`${path} says what it is for`, () => assert(source.startsWith("/**"), "has no header"));

      if (PURE_ROOMS.includes(room) && !shell) {
        it(`${path} is told the time`, () => assert.doesNotMatch(code, WORLD));
      }
    }
  });
}

describe("every source file", () => {
  const rooms = [...Object.keys(MAY_IMPORT), "src", "src/cli"];
  for (const path of rooms.flatMap((room) => filesOf(room).map((name) => join(room, name)))) {
    it(`${path} tells one story`, () => {
      assert(
        read(path).trimEnd().split("\n").length <= LINES_MAX,
        `has more than ${LINES_MAX} lines`,
      );
    });
  }
});

describe("the top level", () => {
  const allowed = new Set(
    "deno.json package.json src routes storage test openapi.yaml README.md docs bench deploy".split(
      " ",
    ),
  );
  const tooling = new Set(
    "package-lock.json tsconfig.json biome.json deno.lock node_modules data LICENSE".split(" "),
  );
  it("is the fixed one", () => {
    const others = readdirSync(ROOT).filter(
      (name) => !name.startsWith(".") && !allowed.has(name) && !tooling.has(name),
    );
    assert.deepEqual(others, []);
  });
});
