/**
 * Delayed messages: how late they are when many come due, and what millions that
 * are far from due cost.
 *
 *   late      100,000 messages, each with a random delay up to 10 s, published in
 *             batches and followed by a long-poll. Early is by what elapsed at the
 *             client since it sent the message; late by the node's own stamp, and by the
 *             client's clock when the page has arrived
 *   pending   so many messages delayed by an hour to 39 days: how fast they are
 *             taken, resident memory above the empty node, and a start after kill -9
 *
 * @module
 */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import { Connection, type HttpAnswer, json, text } from "../test/e2e/http.ts";
import { type Server, startServer } from "../test/e2e/server.ts";
import { call, client, JSON_TYPE, putTopic } from "../test/e2e/wire.ts";
import { renderTable } from "./report.ts";
import { percentile } from "./statistics.ts";
import { type BenchRuntime, rssBytes } from "./subjects.ts";

export interface DelayOptions {
  readonly runtimes: readonly BenchRuntime[];
  /** Messages that come due within ten seconds. */
  readonly dueCount: number;
  readonly pendingCount: number;
  readonly dataRoot: string;
}

const MiB = 1024 * 1024;
const PATH = "/v1/topics/delay/messages";
const DUE_WITHIN_MS = 10_000;
const BATCH = 500;
const KEYS = 100;
const CONNECTIONS = 4;
const HOUR_MS = 3_600_000;
const SPREAD_MS = 39 * 24 * HOUR_MS;
/** For jobs in the background, their threads to end, and the collector. */
const SETTLE_MS = 30_000;

/** By how many ms a message came late: by the node's stamp, and at the reader. */
interface Late {
  readonly due: number;
  readonly atNode: number;
  readonly atReader: number;
}

interface Followed {
  readonly early: number;
  readonly outOfOrder: number;
  readonly late: readonly Late[];
}

interface Lateness extends Followed {
  readonly insertMs: number;
  /** By the wall clock: those due later found the node otherwise idle. */
  readonly insertedAt: number;
}

export async function delay(options: DelayOptions): Promise<string> {
  const late: string[][] = [];
  const pending: string[][] = [];
  for (const runtime of options.runtimes) {
    late.push(
      await onServer(runtime, options, async (server) =>
        lateCells(runtime, await lateness(server, options.dueCount)),
      ),
    );
    pending.push(await pendingCells(runtime, options));
  }
  const due = options.dueCount.toLocaleString("en-US");
  return [
    `${due} messages with random delays up to ${DUE_WITHIN_MS / 1000} s, late by ms (p50 / p99 / most),\nthose due after the last was published, and all:\n`,
    renderTable(
      [
        "on",
        "published in",
        "early",
        "out of order",
        "then idle: node's stamp",
        "at the reader",
        "all: node's stamp",
        "at the reader",
      ],
      late,
    ),
    "\nPending for an hour to 39 days:\n",
    renderTable(
      [
        "on",
        "pending",
        "taken",
        "empty RSS",
        "RSS above",
        "peak above",
        "start after kill -9",
        "RSS above, then",
      ],
      pending,
    ),
  ].join("\n");
}

async function onServer<T>(
  runtime: BenchRuntime,
  { dataRoot }: DelayOptions,
  body: (server: Server, dataDir: string) => Promise<T>,
): Promise<T> {
  const dataDir = mkdtempSync(join(dataRoot, "tidegate-delay-"));
  const server = await startServer({ runtime, dataDir });
  try {
    return await body(server, dataDir);
  } finally {
    await server.kill("SIGKILL");
    rmSync(dataDir, { recursive: true });
  }
}

// Late

async function lateness(server: Server, count: number): Promise<Lateness> {
  await putTopic(client(server.port), "delay");
  /** By id: before it was sent, on the clock that nobody sets, and its delay. */
  const sent = new Map<string, readonly [at: number, delayMs: number]>();
  const following = follow(server.port, { count, sent });
  const startedAt = performance.now();
  const publisher = await Connection.open(server.port);
  for (let from = 0; from < count; from += BATCH) {
    const messages = Array.from({ length: Math.min(BATCH, count - from) }, (_, i) => ({
      text: "m".repeat(64),
      id: `m${from + i}`,
      key: `k${(from + i) % KEYS}`,
      delayMs: Math.floor(Math.random() * DUE_WITHIN_MS),
    }));
    const body = JSON.stringify({ messages });
    const at = performance.now();
    for (const { id, delayMs } of messages) sent.set(id, [at, delayMs]);
    expectOk(
      await publisher.request({ method: "POST", path: `${PATH}/batch`, headers: JSON_TYPE, body }),
    );
  }
  const insertMs = performance.now() - startedAt;
  const insertedAt = Date.now();
  publisher.close();
  return { insertMs, insertedAt, ...(await following) };
}

interface Seen {
  readonly id: string;
  readonly key: string;
  readonly publishedAt: string;
  readonly deliverAt?: string;
}

async function follow(
  port: number,
  { count, sent }: { count: number; sent: ReadonlyMap<string, readonly [number, number]> },
): Promise<Followed> {
  const reader = await Connection.open(port);
  const late: Late[] = [];
  const lastDue = new Map<string, number>();
  let [early, outOfOrder, seen, after] = [0, 0, 0, "earliest"];
  while (seen < count) {
    const path = `${PATH}?after=${after}&wait=20&limit=1000&maxBytes=${16 * MiB}`;
    const answer = await reader.request({ path });
    const [now, wall] = [performance.now(), Date.now()];
    if (answer.status === 204) continue;
    expectOk(answer);
    const page = json(answer) as { messages: readonly Seen[]; cursor: string };
    after = page.cursor;
    for (const { id, key, publishedAt, deliverAt } of page.messages) {
      seen++;
      const [at, delayMs] = sent.get(id) ?? [0, 0];
      if (now - at < delayMs) early++;
      if (deliverAt === undefined) continue; // a delay of nothing
      const due = Date.parse(deliverAt);
      late.push({ due, atNode: Date.parse(publishedAt) - due, atReader: wall - due });
      if (due < (lastDue.get(key) ?? 0)) outOfOrder++;
      lastDue.set(key, due);
    }
  }
  reader.close();
  return { early, outOfOrder, late };
}

function expectOk(answer: HttpAnswer): void {
  if (answer.status >= 300) throw new Error(`${answer.status}: ${text(answer)}`);
}

function lateCells(runtime: BenchRuntime, seen: Lateness): string[] {
  const after = seen.late.filter(({ due }) => due > seen.insertedAt);
  return [
    runtime,
    `${(seen.insertMs / 1000).toFixed(1)} s`,
    String(seen.early),
    String(seen.outOfOrder),
    spread(after.map(({ atNode }) => atNode)),
    spread(after.map(({ atReader }) => atReader)),
    spread(seen.late.map(({ atNode }) => atNode)),
    spread(seen.late.map(({ atReader }) => atReader)),
  ];
}

function spread(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  return [percentile(sorted, 50), percentile(sorted, 99), sorted.at(-1) ?? 0].join(" / ");
}

// Pending

function pendingCells(runtime: BenchRuntime, options: DelayOptions): Promise<string[]> {
  const count = options.pendingCount;
  return onServer(runtime, options, async (server, dataDir) => {
    await putTopic(client(server.port), "delay");
    await sleep(2000);
    const empty = rssBytes(server.pid);
    const perSecond = await fill(server.port, count);
    await sleep(SETTLE_MS);
    const [above, peak] = [rssBytes(server.pid) - empty, peakBytes(server.pid) - empty];
    await server.kill("SIGKILL");
    const again = await startServer({ runtime, dataDir, readyWithinMs: 600_000 });
    try {
      await stillScheduled(again.port);
      await sleep(SETTLE_MS);
      return [
        runtime,
        count.toLocaleString("en-US"),
        `${Math.round(perSecond).toLocaleString("en-US")} msg/s`,
        mib(empty),
        mib(above),
        mib(peak),
        `${(again.readyMs / 1000).toFixed(1)} s`,
        mib(rssBytes(again.pid) - empty),
      ];
    } finally {
      await again.kill("SIGKILL");
    }
  });
}

/** Bodies are made beforehand and sent again and again: the client is not what is measured. */
async function fill(port: number, count: number): Promise<number> {
  const bodies = Array.from({ length: 20 }, () =>
    JSON.stringify({
      messages: Array.from({ length: BATCH }, () => ({
        text: "pending",
        delayMs: HOUR_MS + Math.floor(Math.random() * SPREAD_MS),
      })),
    }),
  );
  let left = Math.ceil(count / BATCH);
  const startedAt = performance.now();
  const publish = async () => {
    const connection = await Connection.open(port);
    while (left-- > 0) {
      const body = bodies[left % bodies.length] as string;
      const request = { method: "POST", path: `${PATH}/batch`, headers: JSON_TYPE, body };
      expectOk(await connection.request(request));
    }
    connection.close();
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, publish));
  return count / ((performance.now() - startedAt) / 1000);
}

/** The node that started answers for what it holds. */
async function stillScheduled(port: number): Promise<void> {
  const send = client(port);
  const headers = { Delay: "3600", "Message-Id": "last" };
  await call(send, { method: "POST", path: PATH, headers, body: "x" }, 201);
  const answer = await call(send, { path: `${PATH}/last` }, 200);
  if ((json(answer) as { state?: string }).state !== "scheduled") throw new Error(text(answer));
}

function peakBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
}

function mib(bytes: number): string {
  return `${Math.round(bytes / MiB)} MiB`;
}
