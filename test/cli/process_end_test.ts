/** @module */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EXIT } from "../../src/cli/exit.ts";
import { currentRuntime, spawnScript, until } from "../e2e/server.ts";

const ending = (how: string) =>
  spawnScript(currentRuntime, "test/fakes/ending.ts", { args: [how] });

describe("a serving process", () => {
  const ends: [how: string, exitCode: number, said: RegExp][] = [
    ["rejection", EXIT.internal.code, /error Defect: nobody handled an error .*nobody caught this/],
    ["exception", EXIT.internal.code, /error Defect: nobody handled an error .*nobody caught this/],
    ["disk", EXIT.io.code, /error The disk failed .*EIO/],
  ];
  for (const [how, exitCode, said] of ends) {
    it(`ends with ${exitCode} after: ${how}`, async () => {
      const script = ending(how);
      assert.deepEqual(await script.exited, { code: exitCode, signal: null });
      await until(() => said.test(script.output()), `${said} is told`);
    });
  }

  const signals: [signal: NodeJS.Signals, exitCode: number][] = [
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ];
  for (const [signal, exitCode] of signals) {
    it(`drains at ${signal} and its echo, and ends at the next one with ${exitCode}`, async () => {
      const script = ending("signal");
      await until(() => script.output().includes("listening"), "it listens");
      const toldAt = performance.now();
      void script.kill(signal);
      void script.kill(signal); // Ctrl-C reaches a server directly and through its launcher.
      await until(() => script.output().includes(`told to stop by ${signal}`), "it drains");
      await until(() => performance.now() - toldAt > 1000, "the echo is long over");
      assert.equal(script.child.exitCode, null);
      assert.deepEqual(await script.kill(signal), { code: exitCode, signal: null });
      await until(() => script.output().includes("Told to stop again"), "it says why");
    });
  }
});
