/**
 * A file system that fills up under a running server: publishes are refused with
 * 507, consumers go on, a purge makes room, and publishes are taken again, all in
 * one process. And one that somebody else fills to the last byte.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { cannot } from "../faults/breakers.ts";
import { type HttpAnswer, json } from "./http.ts";
import { type Server, startServer, until, withTempDir } from "./server.ts";
import { client, post, putGroup, putTopic, receive, settle, type WireProblem } from "./wire.ts";

const MiB = 1024 * 1024;
const PATIENCE = { timeout: 90_000 };

function publish({ port }: Server, body: string | Uint8Array): Promise<HttpAnswer> {
  const headers = { "Content-Type": "application/octet-stream" };
  const path = "/v1/topics/orders/messages";
  return client(port).request({ method: "POST", path, headers, body });
}

function checkRefusal(answer: HttpAnswer): void {
  const problem = json(answer) as WireProblem & { type: string };
  assert.equal(answer.status, 507);
  assert.equal(answer.headers.get("content-type"), "application/problem+json");
  assert.match(answer.headers.get("retry-after") ?? "", /^[1-5]$/);
  const { code, type, retryable, applied } = problem;
  assert.deepEqual(
    { code, type, retryable, applied },
    { code: "disk-full", type: "/problems/disk-full", retryable: true, applied: false },
  );
}

async function readiness({ port }: Server) {
  const answer = await client(port).request({ path: "/readyz" });
  const { status, disk } = json(answer) as { status: string; disk?: string };
  return { answered: answer.status, status, disk };
}

async function figure({ port }: Server, name: string): Promise<string | undefined> {
  const { body } = await client(port).request({ path: "/metrics" });
  const lines = new TextDecoder().decode(body).split("\n");
  return lines.find((line) => line.startsWith(`${name} `))?.slice(name.length + 1);
}

function count(text: string, what: string): number {
  return text.split(what).length - 1;
}

/** A file system of its own. */
async function withDisk(size: number, body: (disk: string) => Promise<void>): Promise<void> {
  await withTempDir(async (dir) => {
    const disk = join(dir, "disk");
    mkdirSync(disk);
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", disk]);
    try {
      await body(disk);
    } finally {
      execFileSync("umount", [disk]);
    }
  });
}

describe("a disk past its watermark", () => {
  it("is told of in every answer, in the figures, and once in the log", PATIENCE, () =>
    withTempDir(async (dir) => {
      // Any disk is that full.
      const args = ["--disk-high", "1", "--disk-full", "1"];
      const server = await startServer({ dataDir: join(dir, "data"), args });
      try {
        for (let left = 20; left > 0; left--) checkRefusal(await publish(server, "x"));
        assert.deepEqual(await readiness(server), {
          answered: 200,
          status: "degraded",
          disk: "full",
        });
        assert.equal(await figure(server, 'tidegate_disk_level{level="full"}'), "1");
        assert.equal(await figure(server, "tidegate_disk_full_refusals_total"), "20");
        assert.equal(count(server.output(), "publishes are refused"), 1);
        const page = await client(server.port).request({ path: "/problems/disk-full" });
        assert.equal(page.status, 200);
      } finally {
        await server.kill("SIGTERM");
      }
    }),
  );
});

describe("a file system that fills up", { skip: cannot("full") }, () => {
  it("takes no publish until a purge has made room, and then without a restart", PATIENCE, () =>
    withDisk(160 * MiB, async (disk) => {
      const args = ["--segment-bytes", "32MiB"];
      const server = await startServer({ dataDir: join(disk, "data"), args });
      try {
        const sender = client(server.port);
        await putTopic(sender, "orders", { queues: 1 });
        await putGroup(sender, "g", {
          subscriptions: [{ topic: "orders" }],
          startFrom: "earliest",
        });
        const body = new Uint8Array(MiB).fill(0x61);
        let published = 0;
        let answer = await publish(server, body);
        for (; answer.status === 201; answer = await publish(server, body)) published++;
        checkRefusal(answer);
        assert(published > 80 && published < 160, `${published} MiB of 160 were published`);

        const messages = await receive(sender, "g", { max: 3 });
        const ack = messages.map(({ receipt }) => receipt);
        assert(ack.length > 0, "nothing was delivered");
        const settled = await settle(sender, "g", { ack });
        assert.deepEqual([...new Set(settled.map(({ status }) => status))], ["ok"]);

        const purged = await sender.request(post("/v1/topics/orders/purge", {}));
        assert.equal(purged.status, 202, new TextDecoder().decode(purged.body));
        await until(async () => (await publish(server, body)).status === 201, "it takes another");
        assert.equal((await readiness(server)).status, "ready");
      } finally {
        await server.kill("SIGTERM");
      }
    }),
  );

  it("to the last byte, by another, holds up nobody once there is room", PATIENCE, () =>
    withDisk(64 * MiB, async (disk) => {
      const args = ["--segment-bytes", "32MiB"];
      const server = await startServer({ dataDir: join(disk, "data"), args });
      const filler = join(disk, "others");
      const free = () => {
        const { bavail, bsize } = statfsSync(disk);
        return bavail * bsize;
      };
      try {
        for (let i = 0; i < 20; i++) assert.equal((await publish(server, `m${i}`)).status, 201);
        writeFileSync(filler, new Uint8Array(free()));
        // It may have met the end before it looked: then nobody knows, and it is stored later.
        const large = new Uint8Array(MiB);
        const statuses = new Set<number>();
        for (let i = 0; i < 3; i++) statuses.add((await publish(server, large)).status);
        assert([...statuses].every((status) => status === 504 || status === 507));
        rmSync(filler);
        await until(async () => (await publish(server, "after")).status === 201, "it goes on");
        const stored = await client(server.port).request({
          path: "/v1/topics/orders/messages?after=earliest&limit=1000&maxBytes=16777216",
        });
        const { messages } = json(stored) as { messages: { dataBase64?: string }[] };
        const least = 20 + (statuses.has(504) ? 1 : 0) + 1;
        assert(messages.length >= least, `${messages.length} are there, ${least} at least`);
      } finally {
        await server.kill("SIGTERM");
      }
    }),
  );
});
