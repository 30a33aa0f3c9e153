/**
 * The example of a serverless consumer, on the runtime that runs the tests,
 * against a real server.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  consume,
  consumer,
  Hopeless,
  type Message,
  type Report,
} from "../../docs/examples/serverless_consumer.ts";
import { commandLine, currentRuntime, ROOT, until, withServer } from "./server.ts";
import { client, lagOf, publishTexts, putGroup, putTopic, receive } from "./wire.ts";

const GROUP = "billing";
const FILE = join("docs", "examples", "serverless_consumer.ts");
const range = (count: number) => Array.from({ length: count }, (_, n) => `m${n}`);
const report = (some: Partial<Report>): Report => ({
  done: 0,
  later: 0,
  never: 0,
  lost: 0,
  ...some,
});

describe("the serverless consumer", () => {
  it("does and settles what is ready, and ends", () =>
    withGroup(25, async ({ url, left }) => {
      const seen: Message[] = [];
      const work = (message: Message) => void seen.push(message);
      assert.deepEqual(await consume({ url, group: GROUP, work }), report({ done: 25 }));
      assert.deepEqual(new Set(seen.map(({ text }) => text)), new Set(range(25)));
      assert.equal(seen.length, 25);
      assert.equal(await left(), 0);
      assert.deepEqual(await consume({ url, group: GROUP, work }), report({}));
    }));

  it("is a handler of requests that answers with what it did, or why not", () =>
    withGroup(2, async ({ url }) => {
      const request = new Request("http://function/");
      const answer = await consumer({ url, group: GROUP, work() {} }).fetch(request);
      assert.deepEqual([answer.status, await answer.json()], [200, report({ done: 2 })]);
      const lost = await consumer({ url, group: "nobody", work() {} }).fetch(request);
      assert.equal(lost.status, 503);
      assert.match(((await lost.json()) as { error: string }).error, /"nobody"/);
    }));

  it("shares the work with invocations at the same time", { timeout: 60_000 }, () =>
    withGroup(60, async ({ url, left }) => {
      const seen: string[] = [];
      const work = async ({ text = "" }: Message) => {
        seen.push(text);
        await Promise.resolve();
      };
      const reports = await Promise.all([1, 2, 3].map(() => consume({ url, group: GROUP, work })));
      assert.equal(
        reports.reduce((sum, { done }) => sum + done, 0),
        60,
      );
      assert.deepEqual(seen.toSorted(), range(60).toSorted());
      assert.equal(await left(), 0);
    }),
  );

  it("leaves what failed for later, and gives up what is hopeless", { timeout: 60_000 }, () =>
    withGroup(3, async ({ url, left }) => {
      const attempts: number[] = [];
      const work = ({ text, attempt }: Message) => {
        if (text === "m1") throw new Hopeless("no such customer");
        if (text !== "m2") return;
        attempts.push(attempt);
        if (attempt === 1) throw new Error("the bank is closed");
      };
      const first = await consume({ url, group: GROUP, work });
      const total = (one: Report) => one.done + one.never + one.later;
      assert.deepEqual([first.never, first.later, first.lost], [1, 1, 0]);
      let all = total(first);
      while (all < 4) all += total(await consume({ url, group: GROUP, work }));
      assert.deepEqual(attempts, [1, 2]);
      assert.equal(await left(), 0);
    }),
  );

  it("ends before its deadline, and leaves the rest to the next at once", { timeout: 60_000 }, () =>
    withGroup(
      4,
      async ({ url, left }) => {
        const work = ({ text }: Message, signal: AbortSignal) =>
          text === "m0"
            ? undefined
            : new Promise<void>((resolve) => {
                signal.addEventListener("abort", () => resolve());
              });
        const startedAt = performance.now();
        // Two seconds of it are kept for settling.
        const first = await consume({ url, group: GROUP, work, invocationMs: 4_000 });
        assert(performance.now() - startedAt < 4_000, "in time");
        assert.deepEqual(first, report({ done: 1, later: 3 }));
        const second = await consume({ url, group: GROUP, work() {} });
        assert.deepEqual(second, report({ done: 3 }), "without the backoff of a failure");
        assert.equal(await left(), 0);
      },
      60_000,
    ),
  );

  it("gets the same messages when an answer is lost", { timeout: 60_000 }, () =>
    withGroup(5, async ({ url, left }) => {
      await withLossyProxy(url, async (proxy, lost) => {
        const attempts: number[] = [];
        const work = ({ attempt }: Message) => void attempts.push(attempt);
        assert.deepEqual(await consume({ url: proxy, group: GROUP, work }), report({ done: 5 }));
        assert.deepEqual(attempts, [1, 1, 1, 1, 1]);
        assert.deepEqual(lost(), ["receive", "settle"]);
        assert.equal(await left(), 0);
      });
    }),
  );

  const serve = { bun: [FILE], deno: ["serve", "-A", "--no-check", "--port", "0", FILE] };
  const skip = currentRuntime === "node" ? "Node serves no such file by itself" : false;
  it("is served as it is", { skip, timeout: 60_000 }, () =>
    withGroup(3, async ({ url, left }) => {
      const [program] = commandLine(currentRuntime, FILE);
      const args = currentRuntime === "deno" ? serve.deno : serve.bun;
      const env = { ...process.env, TIDEGATE_URL: url, CONSUMER_GROUP: GROUP, BUN_PORT: "0" };
      const child = spawn(program, args, { cwd: ROOT, env, stdio: ["ignore", "pipe", "pipe"] });
      try {
        const answer = await fetch(await addressOf(child));
        assert.deepEqual(await answer.json(), report({ done: 3 }));
        assert.equal(await left(), 0);
      } finally {
        child.kill("SIGKILL");
      }
    }),
  );
});

/** A node with so many messages of a group ready. */
function withGroup(
  count: number,
  body: (node: { url: string; left: () => Promise<number> }) => Promise<void>,
  backoffMs = 100,
): Promise<void> {
  return withServer(async (server) => {
    const sender = client(server.port);
    await putTopic(sender, "orders");
    const backoff = { initialMs: backoffMs, multiplier: 1, maxMs: backoffMs };
    await putGroup(sender, GROUP, { subscriptions: [{ topic: "orders" }], backoff });
    await publishTexts(sender, "orders", range(count));
    await body({ url: server.origin, left: () => lagOf(sender, GROUP) });
    assert.deepEqual(await receive(sender, GROUP, { waitMs: 0 }), [], "nothing is left");
  });
}

/** A proxy that loses the first answer of each operation, after the node has made it. */
async function withLossyProxy(
  url: string,
  body: (proxy: string, lost: () => string[]) => Promise<void>,
): Promise<void> {
  const lost: string[] = [];
  const proxy = createServer((request, answer) => {
    const operation = request.url?.split("/").at(-1) ?? "";
    const chunks: Uint8Array[] = [];
    const forward = async () => {
      const headers = { "content-type": "application/json" };
      const init = { method: "POST", headers, body: Buffer.concat(chunks) };
      const made = await fetch(url + request.url, init);
      const text = await made.text();
      if (lost.includes(operation)) {
        answer.writeHead(made.status, headers).end(text);
      } else {
        lost.push(operation);
        request.socket.destroy();
      }
    };
    request.on("data", (chunk: Uint8Array) => void chunks.push(chunk));
    request.on("end", () => void forward());
  });
  await new Promise<void>((resolve) => void proxy.listen(0, "127.0.0.1", resolve));
  try {
    await body(`http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, () => lost);
  } finally {
    proxy.closeAllConnections();
    proxy.close();
  }
}

/** Where a runtime says that it serves. */
async function addressOf(child: ChildProcess): Promise<string> {
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Uint8Array) => (said += new TextDecoder().decode(chunk)));
  }
  const address = () => /http:\/\/[^/\s]+:(\d+)/.exec(said)?.[1];
  await until(() => address() !== undefined, "it says where it serves", 20_000);
  return `http://127.0.0.1:${address()}/`;
}
