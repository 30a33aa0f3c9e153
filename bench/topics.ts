/**
 * A node with a million topics of which one in a hundred is used, beside one with
 * ten: memory, files, and the latency of publishes that go round the used ones.
 *
 * @module
 */

import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Connection } from "../test/e2e/http.ts";
import { call, JSON_TYPE } from "../test/e2e/wire.ts";
import { renderTable } from "./report.ts";
import { percentile } from "./statistics.ts";
import { type BenchRuntime, rssBytes, startTidegate, type Subject } from "./subjects.ts";

export interface TopicsOptions {
  readonly runtimes: readonly BenchRuntime[];
  /** Topics of the large node. */
  readonly count: number;
  readonly seconds: number;
  readonly dataRoot: string;
}

const FEW = 10;
const USED_SHARE = 100;
const CREATORS = 64;
const PUBLISHERS = 16;
const BODY = "x".repeat(256);
const CONFIG = JSON.stringify({ queues: 1 });
const MiB = 1024 * 1024;

export async function topics(options: TopicsOptions): Promise<string> {
  const rows: string[][] = [];
  for (const runtime of options.runtimes) {
    for (const count of [FEW, options.count]) rows.push(await measure(runtime, count, options));
  }
  const head = ["on", "topics", "used", "created, topics/s", "RSS", "files"];
  const latencies = ["publish p50", "publish p99", "start after kill -9"];
  return `Many topics:\n\n${renderTable([...head, ...latencies], rows)}`;
}

async function measure(
  runtime: BenchRuntime,
  count: number,
  { dataRoot, seconds }: TopicsOptions,
): Promise<string[]> {
  const dataDir = mkdtempSync(join(dataRoot, "tidegate-topics-"));
  let subject = await startTidegate(runtime, dataDir);
  try {
    const createdPerSecond = await create(subject, count);
    const used = count <= FEW ? count : Math.floor(count / USED_SHARE);
    await publish(subject, { used, count, seconds: 1 }); // warms up, and touches each
    const latencies = await publish(subject, { used, count, seconds });
    const [rss, files] = [rssBytes(subject.pid), filesIn(dataDir)];
    await subject.stop();
    const startedAt = performance.now();
    subject = await startTidegate(runtime, dataDir);
    const startMs = performance.now() - startedAt;
    const ms = (share: number) => `${percentile(latencies, share).toFixed(1)} ms`;
    return [
      runtime,
      count.toLocaleString("en-US"),
      used.toLocaleString("en-US"),
      Math.round(createdPerSecond).toLocaleString("en-US"),
      `${(rss / MiB).toFixed(0)} MiB`,
      String(files),
      ms(50),
      ms(99),
      `${startMs.toFixed(0)} ms`,
    ];
  } finally {
    await subject.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

const nameOf = (index: number) => `topic-${index}`;

/** Topics per second. */
async function create({ port }: Subject, count: number): Promise<number> {
  const startedAt = performance.now();
  let next = 0;
  const creator = async () => {
    const connection = await Connection.open(port);
    while (next < count) {
      const path = `/v1/topics/${nameOf(next++)}`;
      await call(connection, { method: "PUT", path, headers: JSON_TYPE, body: CONFIG }, 201);
    }
    connection.close();
  };
  await Promise.all(Array.from({ length: CREATORS }, creator));
  return (count / (performance.now() - startedAt)) * 1000;
}

/** Latencies in ms, sorted, of publishes to the used topics in turn, which lie far apart. */
async function publish(
  { port }: Subject,
  work: { readonly used: number; readonly count: number; readonly seconds: number },
): Promise<number[]> {
  const latencies: number[] = [];
  const stride = Math.floor(work.count / work.used);
  const deadline = performance.now() + work.seconds * 1000;
  let next = 0;
  const publisher = async () => {
    const connection = await Connection.open(port);
    while (performance.now() < deadline || next < work.used) {
      const path = `/v1/topics/${nameOf(stride * (next++ % work.used))}/messages`;
      const sentAt = performance.now();
      await call(connection, { method: "POST", path, body: BODY }, 201);
      latencies.push(performance.now() - sentAt);
    }
    connection.close();
  };
  await Promise.all(Array.from({ length: PUBLISHERS }, publisher));
  return latencies.sort((a, b) => a - b);
}

function filesIn(dir: string): number {
  return readdirSync(dir, { recursive: true, withFileTypes: true }).filter((one) => one.isFile())
    .length;
}
