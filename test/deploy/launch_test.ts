/**
 * The launcher stands between `npm start` and the server and must not be felt.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { currentRuntime, RUNTIMES, spawnScript, until } from "../e2e/server.ts";

const launch = (...args: string[]) => spawnScript(currentRuntime, "deploy/launch.mjs", { args });

describe("deploy/launch.mjs", () => {
  for (const runtime of RUNTIMES) {
    it(`starts a program on ${runtime}, and ends as it ends`, async () => {
      const script = launch(runtime, "test/fakes/launched.ts", "exit", "7", "--port", "9000");
      assert.deepEqual(await script.exited, { code: 7, signal: null });
      await until(() => script.output().includes("exit 7 --port 9000"), "arguments are passed on");
    });
  }

  it("passes a signal on, and waits for the program to end", async () => {
    const script = launch(currentRuntime, "test/fakes/launched.ts", "wait");
    await until(() => script.output().includes("started"), "the program runs");
    assert.deepEqual(await script.kill("SIGTERM"), { code: 7, signal: null });
    await until(() => script.output().includes("got SIGTERM"), "the program got the signal");
  });

  it("refuses a runtime it does not know", async () => {
    const script = launch("python", "test/fakes/launched.ts");
    assert.equal((await script.exited).code, 64);
    await until(() => /Usage: launch.mjs <bun\|deno\|node>/.test(script.output()), "it says how");
  });
});
