/** @module */

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { holdDataDir } from "../../src/cli/data_dir.ts";
import { EXIT } from "../../src/cli/exit.ts";
import { spawnScript, until, withTempDir } from "../e2e/server.ts";
import { currentRuntime } from "../e2e/server.ts";

const inUse = { name: "CliError", exitCode: EXIT.unavailable.code, message: /has it open/ };

describe("holdDataDir()", () => {
  it("makes the directory, with those above it", () =>
    withTempDir(async (dir) => {
      const path = join(dir, "a", "b");
      holdDataDir(path).release();
      writeFileSync(join(path, "file"), "");
    }));

  it("holds it against others until released", () =>
    withTempDir(async (dir) => {
      const held = holdDataDir(dir);
      assert.throws(() => holdDataDir(dir), inUse);
      held.release();
      holdDataDir(dir).release();
    }));

  it("holds it against other processes, and no longer than the process lives", () =>
    withTempDir(async (dir) => {
      const script = spawnScript(currentRuntime, "test/fakes/hold_data_dir.ts", { args: [dir] });
      await until(() => script.output().includes("held"), "the other process holds it");
      assert.throws(() => holdDataDir(dir), inUse);
      await script.kill("SIGKILL");
      holdDataDir(dir).release();
    }));

  it("says so when the directory cannot be made or written", () =>
    withTempDir(async (dir) => {
      const file = join(dir, "file");
      writeFileSync(file, "");
      const failed = { name: "CliError", exitCode: EXIT.io.code, message: /Cannot use the data/ };
      assert.throws(() => holdDataDir(join(file, "data")), failed);
      const taken = join(dir, "taken");
      mkdirSync(join(taken, "LOCK"), { recursive: true });
      assert.throws(() => holdDataDir(taken), failed);
    }));
});
