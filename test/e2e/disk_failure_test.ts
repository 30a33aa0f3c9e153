/**
 * A disk that fails while the server runs: from the first fdatasync that the
 * system answers with EIO nothing may be acknowledged, and the process must end
 * with 74, so that whatever supervises it knows.
 *
 * The failure is put in from outside, by the tracer, into a process that was
 * started as any other.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { describe, it } from "node:test";
import { needs } from "../fakes/needs.ts";
import { startServer, withTempDir } from "./server.ts";

const EXIT_IO = 74;

async function publish(origin: string, body: string): Promise<number> {
  const answer = await fetch(`${origin}/v1/topics/t/messages`, {
    method: "POST",
    headers: { "content-type": "text/plain" },
    body,
  });
  await answer.arrayBuffer();
  return answer.status;
}

/** Makes every fdatasync of the process fail; resolves when it does. */
async function failSyncs(pid: number): Promise<void> {
  const inject = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO"];
  const tracer = spawn("strace", ["-f", "-o", "/dev/null", ...inject, "-p", String(pid)]);
  await new Promise<void>((resolve, reject) => {
    let said = "";
    tracer.stderr.setEncoding("utf8");
    tracer.stderr.on("data", (text: string) => {
      said += text;
      if (said.includes("attached")) resolve();
    });
    tracer.on("exit", (code) => reject(new Error(`The tracer ended with ${code}: ${said}`)));
  });
}

describe("a failed fdatasync", () => {
  it("ends the process with 74 and acknowledges nothing", { skip: needs("strace") }, () =>
    withTempDir(async (dir) => {
      const dataDir = join(dir, "data");
      const server = await startServer({ dataDir });
      assert.equal(await publish(server.origin, "before"), 201);
      await failSyncs(server.pid);
      const outcome = await publish(server.origin, "after").catch(() => "no answer");
      assert.equal(outcome, "no answer", "a publish was answered after its sync failed");
      assert.deepEqual(await server.exited, { code: EXIT_IO, signal: null });

      const again = await startServer({ dataDir });
      try {
        const page = await fetch(`${again.origin}/v1/topics/t/messages`);
        const { messages } = (await page.json()) as { messages: { text: string }[] };
        const texts = messages.map(({ text }) => text);
        assert.equal(texts[0], "before");
        assert(texts.length <= 2, "what was not answered is there once at most");
      } finally {
        await again.kill("SIGTERM");
      }
    }),
  );
});
