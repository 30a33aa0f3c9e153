/**
 * `tidegate serve` as a process: what it says, and why it does not start.
 *
 * @module
 */

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import manifest from "../../package.json" with { type: "json" };
import { EXIT } from "../../src/cli/exit.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { openNodeDisk } from "../../storage/base/disk_node.ts";
import { Identity } from "../../storage/identity.ts";
import {
  currentRuntime,
  spawnScript,
  startServer,
  until,
  withServer,
  withTempDir,
} from "../e2e/server.ts";
import { contentOf, writeDataDir } from "../fakes/data_dir.ts";
import { runCommand } from "../fakes/terminal.ts";

/** Runs `serve`, which is expected to end by itself, and returns how. */
async function refused(args: readonly string[], env: Record<string, string> = {}) {
  const script = spawnScript(currentRuntime, "src/main.ts", { args: ["serve", ...args], env });
  let code: number | null | undefined;
  void script.exited.then((exit) => {
    ({ code } = exit);
  });
  try {
    await until(() => code !== undefined, "it ends by itself", 30_000);
  } finally {
    await script.kill("SIGKILL");
  }
  await until(() => script.output().includes("tidegate:"), "it says why");
  const lines = script.output().trim().split("\n");
  return { code, said: lines.filter((line) => line.startsWith("tidegate:")), lines };
}

describe("tidegate serve", () => {
  it("says where it serves, on what, and where the data is", () =>
    withServer(async (server, dataDir) => {
      const adapter = { bun: "Bun.serve", deno: "Deno.serve", node: "node:http" }[currentRuntime];
      const line = `tidegate ${manifest.version} ready on ${server.origin} (${adapter}, data in ${dataDir})`;
      assert(server.output().split("\n").includes(line), server.output());
      assert.equal((await fetch(`${server.origin}/readyz`)).status, 200);
    }));

  it("takes its settings from variables, and keys from nowhere else", () =>
    withTempDir(async (dir) => {
      const env = { TIDEGATE_API_KEYS: "key-1,key-2", TIDEGATE_LOG_FORMAT: "json" };
      const server = await startServer({ dataDir: join(dir, "new", "data"), env });
      try {
        const url = `${server.origin}/v1/topics`;
        assert.equal((await fetch(url)).status, 401);
        const headers = { Authorization: "Bearer key-2" };
        assert.equal((await fetch(url, { headers })).status, 200);
        const logged =
          server
            .output()
            .split("\n")
            .find((line) => line.startsWith("{")) ?? "";
        assert.equal((JSON.parse(logged) as { message: string }).message, "Log opened");
      } finally {
        await server.kill("SIGKILL");
      }
    }));

  it("is what the other commands talk to", () =>
    withServer(async ({ origin }) => {
      const env = { TIDEGATE_URL: origin };
      const command = async (...args: string[]) => {
        const { exitCode, printed, warned } = await runCommand(args, { env });
        assert.equal(exitCode, 0, warned.join("\n"));
        return printed;
      };
      assert.deepEqual(await command("topic", "create", "orders", "--queues", "1"), [
        "created orders",
      ]);
      assert.deepEqual(await command("topic", "create", "orders", "--queues", "1"), [
        "orders is so already",
      ]);
      await command("publish", "orders", "héllo", "--key", "k 1", "--property", "region=eu");
      const [line = ""] = await command("tail", "orders", "--after", "earliest", "--no-follow");
      const { text, key, properties } = JSON.parse(line) as Record<string, unknown>;
      assert.deepEqual([text, key, properties], ["héllo", "k 1", { region: "eu" }]);
      assert.deepEqual(await command("topic", "list"), [
        "orders  1 queues  mixed  durable  1 messages so far",
      ]);
      assert.deepEqual(await command("topic", "delete", "orders"), ["deleted orders"]);
      assert.equal((await runCommand(["topic", "get", "orders"], { env })).exitCode, 1);
    }));

  it("leaves a data directory that check finds clean", () =>
    withTempDir(async (dataDir) => {
      const server = await startServer({ dataDir });
      try {
        const headers = { "Content-Type": "text/plain" };
        const url = `${server.origin}/v1/topics/orders/messages`;
        const signal = AbortSignal.timeout(10_000);
        const init = { method: "POST", headers, body: "kept", signal };
        assert.equal((await fetch(url, init)).status, 201);
        const busy = await runCommand(["check", dataDir]);
        assert.equal(busy.exitCode, EXIT.unavailable.code);
        assert.deepEqual(await server.kill("SIGTERM"), { code: 0, signal: null });
      } finally {
        await server.kill("SIGKILL");
      }
      const { exitCode, printed } = await runCommand(["check", dataDir]);
      assert.deepEqual([exitCode, printed.at(-1)], [0, "clean"]);
    }));
});

describe("tidegate serve refuses", () => {
  it("a port that is taken", () =>
    withServer(({ port }) =>
      withTempDir(async (dir) => {
        const args = ["--port", String(port), "--data-dir", dir];
        const { code, said } = await refused(args);
        assert.equal(code, EXIT.unavailable.code);
        const why = `tidegate: Cannot listen on 127.0.0.1:${port}: the address is in use`;
        assert.deepEqual(said, [why]);
        // It let go of the data directory: the next start has it.
        await (await startServer({ dataDir: dir })).kill("SIGKILL");
      }),
    ));

  it("a data directory that another node has open", () =>
    withServer(async (_server, dataDir) => {
      const { code, lines } = await refused(["--port", "0", "--data-dir", dataDir]);
      assert.equal(code, EXIT.unavailable.code);
      const why = `Cannot use the data directory "${dataDir}": another process has it open`;
      assert.deepEqual(lines, [`tidegate: ${why}`]);
    }));

  it("a data directory that cannot be made", () =>
    withTempDir(async (dir) => {
      const file = join(dir, "file");
      writeFileSync(file, "");
      const { code, lines } = await refused(["--port", "0", "--data-dir", join(file, "data")]);
      assert.equal(code, EXIT.io.code);
      assert.match(lines.join("\n"), /^tidegate: Cannot use the data directory ".*": .*$/);
    }));

  it("a member's data directory, and serves a copy of what it has", () =>
    withTempDir(async (dir) => {
      const [member, backup, own] = [join(dir, "m"), join(dir, "backup"), join(dir, "own")];
      mkdirSync(member);
      await writeDataDir(member, { count: 5 });
      const entropy = (size: number) => new Uint8Array(size).fill(7);
      await (await Identity.open({ disk: openNodeDisk(member), crc32, entropy })).close();
      const before = contentOf(member);
      const { code, lines } = await refused(["--port", "0", "--data-dir", member]);
      assert.equal(code, EXIT.config.code);
      assert.match(
        lines.join("\n"),
        /^tidegate: Cannot serve ".*": it is that of a member of a broker group, which "tidegate broker" runs\. .* "tidegate backup", then "tidegate restore"$/,
      );
      assert.deepEqual(contentOf(member), before, "it changed nothing");

      assert.equal((await runCommand(["backup", member, backup])).exitCode, EXIT.ok.code);
      assert.equal((await runCommand(["restore", backup, own])).exitCode, EXIT.ok.code);
      await (await startServer({ dataDir: own })).kill("SIGKILL");
    }));

  it("a data directory whose log is giving way to its group's", () =>
    withTempDir(async (dir) => {
      await writeDataDir(dir, { count: 5 });
      writeFileSync(join(dir, "replacing"), "TIDEREP1");
      const before = contentOf(dir);
      const { code, lines } = await refused(["--port", "0", "--data-dir", dir]);
      assert.equal(code, EXIT.config.code);
      assert.match(
        lines.join("\n"),
        /^tidegate: Cannot serve ".*": its log is giving way to that of its broker group, .* "tidegate broker" goes on with that; what the node had before is kept in ".*set-aside"$/,
      );
      assert.deepEqual(contentOf(dir), before, "it changed nothing");
    }));

  it("an address that others can reach, without a key, before it touches anything", () =>
    withTempDir(async (dir) => {
      const args = ["--host", "0.0.0.0", "--port", "0", "--data-dir", join(dir, "data")];
      const { code, lines } = await refused(args);
      assert.equal(code, EXIT.config.code);
      assert.match(
        lines.join("\n"),
        /^tidegate: Cannot serve on 0\.0\.0\.0 without authentication/,
      );
    }));
});
