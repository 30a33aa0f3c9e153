/**
 * The launcher stands between `npm start` and the server and must not be felt.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { currentRuntime, RUNTIMES, spawnScript, until, withTempDir } from "../e2e/server.ts";

const launch = (...args: string[]) => spawnScript(currentRuntime, "deploy/launch.mjs", { args });

describe("deploy/launch.mjs", () => {
  for (const runtime of RUNTIMES) {
    it(`starts a program on ${runtime}, and ends as it ends`, async () => {
      const script = launch(runtime, "test/fakes/launched.ts", "exit", "7", "--port", "9000");
      assert.deepEqual(await script.exited, { code: 7, signal: null });
      await until(() => script.output().includes("exit 7 --port 9000"), "arguments are passed on");
    });
  }

  for (const runtime of RUNTIMES) {
    it(`serves on ${runtime} until it is told to stop`, () =>
      withTempDir(async (dir) => {
        const script = launch(runtime, "src/main.ts", "serve", "--port", "0", "--data-dir", dir);
        try {
          const origin = () => /ready on (\S+)/.exec(script.output())?.[1];
          await until(() => origin() !== undefined, "it is ready", 30_000);
          const url = `${origin()}/v1/topics/orders/messages`;
          const signal = AbortSignal.timeout(10_000);
          assert.equal((await fetch(url, { method: "POST", body: "hello", signal })).status, 201);
          assert.deepEqual(await script.kill("SIGTERM"), { code: 0, signal: null });
        } finally {
          await script.kill("SIGKILL");
        }
      }));
  }

  it("tells Bun to collect less often while it idles, unless it is told otherwise", async () => {
    const args = ["bun", "test/fakes/launched.ts", "print", "BUN_GC_TIMER_INTERVAL"];
    const told = launch(...args);
    await told.exited;
    assert.match(told.output(), /^BUN_GC_TIMER_INTERVAL=10000$/m);
    const env = { BUN_GC_TIMER_INTERVAL: "1000" };
    const other = spawnScript(currentRuntime, "deploy/launch.mjs", { args, env });
    await other.exited;
    assert.match(other.output(), /^BUN_GC_TIMER_INTERVAL=1000$/m);
  });

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
