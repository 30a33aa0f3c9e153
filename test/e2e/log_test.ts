/**
 * The log of a real node: what it says of requests, and that a reader who does
 * not read it cannot hold the node up.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Connection, request } from "./http.ts";
import { commandLine, currentRuntime, ROOT, until, withServer, withTempDir } from "./server.ts";

describe("the log of a node", () => {
  it("has a line for each request at debug, and none at info", { timeout: 60_000 }, async () => {
    for (const level of ["debug", "info"]) {
      await withServer(
        async (server) => {
          const headers = { "X-Request-Id": "mine" };
          await request(server.port, { path: "/v1/topics/none", headers });
          await server.kill("SIGTERM");
          const lines = server
            .output()
            .split("\n")
            .filter((line) => line.includes('"requestId":"mine"'));
          assert.equal(lines.length, level === "debug" ? 1 : 0);
          if (level === "info") return;
          const { status, route, durationMs } = JSON.parse(lines[0] ?? "") as Record<
            string,
            unknown
          >;
          assert.equal(status, 404);
          assert.equal(route, "/v1/topics/{topic}");
          assert(typeof durationMs === "number" && durationMs >= 0);
        },
        { args: ["--log-level", level, "--log-format", "json"] },
      );
    }
  });

  for (const kind of ["socket", "pipe"] as const) {
    it(`does not hold the node up when nobody reads it, on a ${kind}`, { timeout: 60_000 }, () =>
      withTempDir((dataDir) => serveUnread(kind, dataDir)),
    );
  }
});

/** Requests are answered, though a quarter of a megabyte is logged and nobody reads it. */
async function serveUnread(kind: "socket" | "pipe", dataDir: string): Promise<void> {
  const [program, ...before] = commandLine(currentRuntime, join(ROOT, "src/main.ts"));
  const serve = ["serve", "--port", "0", "--data-dir", dataDir, "--log-level", "debug"];
  const line = [program, ...before, ...serve];
  // A shell's pipe is one; what a runtime gives its child is a pair of sockets.
  const script = '"$@" 2> >(exec sleep 10 >/dev/null)';
  const child =
    kind === "socket"
      ? spawn(program, line.slice(1), { stdio: ["ignore", "pipe", "pipe"] })
      : spawn("bash", ["-c", `exec ${script}`, "bash", ...line], {
          stdio: ["ignore", "pipe", "ignore"],
        });
  child.stderr?.pause();
  let printed = "";
  child.stdout?.on("data", (chunk: Uint8Array) => (printed += Buffer.from(chunk).toString()));
  try {
    const port = () => Number(/127\.0\.0\.1:(\d+)/.exec(printed)?.[1] ?? 0);
    await until(() => port() > 0, "the node is ready");
    const connection = await Connection.open(port());
    const path = `/v1/topics/${"t".repeat(120)}`;
    for (let i = 0; i < 1500; i++) {
      const answer = await connection.request({ path, timeoutMs: 5000 });
      assert.equal(answer.status, 404);
    }
    connection.close();
  } finally {
    child.kill("SIGKILL");
  }
}
