/**
 * The storage room without HTTP, and what a long log costs at a start.
 *
 *   append   messages of 256 B, group commit, synced
 *   read     the same, sequentially by queue, each frame verified: of 8 queues, where all but an
 *            eighth of what lies there is of others, and of one
 *   restart  a log of so many GiB, ended by kill -9: from spawning the node to its
 *            first answered read, with what the page cache has, and with none of it
 *
 * @module
 */

import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { spawnScript, startServer } from "../test/e2e/server.ts";
import { call, client } from "../test/e2e/wire.ts";
import { renderTable } from "./report.ts";
import { type BenchRuntime, rssBytes } from "./subjects.ts";

export interface StorageOptions {
  readonly runtimes: readonly BenchRuntime[];
  /** Messages appended and read. */
  readonly count: number;
  /** Messages in the log that is started on; about 400 B each. */
  readonly filled: number;
  readonly dataRoot: string;
}

const GiB = 1024 ** 3;
const MiB = 1024 ** 2;
/** Filling tens of millions takes minutes. */
const WORK_MAX_MS = 1_800_000;

export async function storage(options: StorageOptions): Promise<string> {
  const rows: string[][] = [];
  const starts: string[][] = [];
  for (const runtime of options.runtimes) {
    const dir = mkdtempSync(join(options.dataRoot, "tidegate-storage-"));
    try {
      const [plain, filled] = [join(dir, "plain"), join(dir, "filled")];
      const [eight, one] = [join(plain, "8"), join(plain, "1")];
      const append = await perSecond(runtime, ["append", eight, options.count, 8]);
      const read = await perSecond(runtime, ["read", eight, options.count, 8]);
      await perSecond(runtime, ["append", one, options.count, 1]);
      const readOne = await perSecond(runtime, ["read", one, options.count, 1]);
      const fill = await perSecond(runtime, ["fill", filled, options.filled, 8]);
      rows.push([runtime, append, read, readOne, fill]);
      starts.push(await restarts(runtime, filled));
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }
  const reads = ["read of 8 queues, msg/s", "of one"];
  const head = ["on", "append + sync, msg/s", ...reads, "publishBatch in process, msg/s"];
  const startHead = ["on", "log", "segments", "ready warm", "first read warm"];
  const tables = [
    `Storage alone, ${options.count.toLocaleString("en-US")} messages of 256 B:\n`,
    renderTable(head, rows),
    "\nA start after kill -9:\n",
    renderTable([...startHead, "ready cold", "first read cold", "RSS"], starts),
  ];
  return tables.join("\n");
}

async function perSecond(
  runtime: BenchRuntime,
  [work, dataDir, count, queues]: readonly [string, string, number, number],
): Promise<string> {
  const script = spawnScript(runtime, "bench/storage_work.ts", {
    args: [work, dataDir, String(count), String(queues)],
  });
  const patience = setTimeout(() => script.child.kill("SIGKILL"), WORK_MAX_MS);
  const { code } = await script.exited;
  clearTimeout(patience);
  const line = /^\{.*\}$/m.exec(script.output())?.[0];
  if (code !== 0 || line === undefined) throw new Error(`${work} failed:\n${script.output()}`);
  const { seconds } = JSON.parse(line) as { seconds: number };
  return Math.round(count / seconds).toLocaleString("en-US");
}

async function restarts(runtime: BenchRuntime, dataDir: string): Promise<string[]> {
  await start(runtime, dataDir); // the fill ended in order: this one is killed
  const warm = await start(runtime, dataDir);
  const cold = dropPageCache() ? await start(runtime, dataDir) : undefined;
  const logs = readdirSync(join(dataDir, "log")).filter((name) => name.endsWith(".log"));
  const bytes = logs.reduce((sum, name) => sum + statSync(join(dataDir, "log", name)).size, 0);
  const ms = (value: number | undefined) => (value === undefined ? "–" : `${value.toFixed(0)} ms`);
  return [
    runtime,
    `${(bytes / GiB).toFixed(1)} GiB`,
    String(logs.length),
    ms(warm.readyMs),
    ms(warm.readMs),
    ms(cold?.readyMs),
    ms(cold?.readMs),
    `${(warm.rss / MiB).toFixed(0)} MiB`,
  ];
}

interface Start {
  readonly readyMs: number;
  /** Until the oldest page of the topic had come. */
  readonly readMs: number;
  readonly rss: number;
}

/** Starts a node, reads from the beginning, leaves something unsynced to recover, and kills it. */
async function start(runtime: BenchRuntime, dataDir: string): Promise<Start> {
  const startedAt = performance.now();
  const server = await startServer({ runtime, dataDir, readyWithinMs: 300_000 });
  try {
    const path = "/v1/topics/filled/messages?after=earliest&limit=100";
    await call(client(server.port), { path }, 200);
    const readMs = performance.now() - startedAt;
    const message = { method: "POST", path: "/v1/topics/filled/messages", body: "one more" };
    await call(client(server.port), message, 201);
    return { readyMs: server.readyMs, readMs, rss: rssBytes(server.pid) };
  } finally {
    await server.kill("SIGKILL");
  }
}

/** Returns false where that is not allowed. */
function dropPageCache(): boolean {
  try {
    writeFileSync("/proc/sys/vm/drop_caches", "3");
    return true;
  } catch {
    return false; // only root may
  }
}
