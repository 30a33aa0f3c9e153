/**
 * A consumer group that comes back to a million messages: receives of 32 under a
 * lease and their acks, from many connections at once, until nothing is left.
 *
 * Each message must be delivered exactly once: what comes is ticked off by queue
 * and queueOffset, and a second tick, a lease not `ok`, or a message missing at the
 * end fails the run. Memory is watched from outside; what the drain holds must not
 * grow with what it has drained.
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Connection } from "../test/e2e/http.ts";
import { call, client, post, putGroup, putTopic } from "../test/e2e/wire.ts";
import { batchBody } from "./publish.ts";
import { renderTable } from "./report.ts";
import { median, slope } from "./statistics.ts";
import {
  type BenchRuntime,
  cpuSeconds,
  rssBytes,
  startTidegate,
  type Subject,
} from "./subjects.ts";

export interface BacklogOptions {
  readonly runtimes: readonly BenchRuntime[];
  /** Messages that wait. */
  readonly count: number;
  readonly dataRoot: string;
}

const TOPIC = "backlog";
const QUEUES = 8;
const RECEIVERS = 50;
const BATCH = 32;
const FILLERS = 4;
const FILL_BATCH = 500;
const LEASE_MS = 300_000;
const SAMPLE_MS = 500;
const MiB = 1024 * 1024;

export async function backlog(options: BacklogOptions): Promise<string> {
  const rows: string[][] = [];
  for (const runtime of options.runtimes) {
    const dataDir = mkdtempSync(join(options.dataRoot, "tidegate-backlog-"));
    const subject = await startTidegate(runtime, dataDir);
    try {
      rows.push([runtime, ...(await measure(subject, options.count))]);
    } finally {
      await subject.stop();
      rmSync(dataDir, { recursive: true, force: true });
    }
  }
  const title = `${options.count.toLocaleString("en-US")} messages of 256 B, drained by ${RECEIVERS} receivers in batches of ${BATCH}, each exactly once:\n`;
  const head = ["on", "msg/s", "seconds", "CPU µs each", "RSS idle / filled", "first third"];
  return [title, renderTable([...head, "last third", "greatest", "slope"], rows)].join("\n");
}

async function measure({ port, pid }: Subject, count: number): Promise<string[]> {
  const idleRss = rssBytes(pid);
  await putTopic(client(port), TOPIC, { queues: QUEUES });
  await fill(port, count);
  await putGroup(client(port), TOPIC, {
    subscriptions: [{ topic: TOPIC }],
    startFrom: "earliest",
    maxInFlight: 2 * RECEIVERS * BATCH,
  });
  const filledRss = rssBytes(pid);
  const samples: { x: number; y: number }[] = [];
  const [startedAt, cpuBefore] = [performance.now(), cpuSeconds(pid)];
  const seconds = () => (performance.now() - startedAt) / 1000;
  const watch = setInterval(() => samples.push({ x: seconds(), y: rssBytes(pid) }), SAMPLE_MS);
  const ticks = new Ticks(count);
  await Promise.all(Array.from({ length: RECEIVERS }, () => drain(port, ticks)));
  clearInterval(watch);
  const took = seconds();
  ticks.check();
  const third = Math.max(1, Math.floor(samples.length / 3));
  const rss = (part: typeof samples) => mib(median(part.map(({ y }) => y)));
  return [
    Math.round(count / took).toLocaleString("en-US"),
    took.toFixed(1),
    (((cpuSeconds(pid) - cpuBefore) / count) * 1e6).toPrecision(3),
    `${mib(idleRss)} / ${mib(filledRss)}`,
    rss(samples.slice(0, third)),
    rss(samples.slice(-third)),
    mib(Math.max(...samples.map(({ y }) => y))),
    samples.length < 6 ? "–" : `${mib(slope(samples.slice(third)) * 60)} / min`,
  ];
}

async function fill(port: number, count: number): Promise<void> {
  const request = {
    ...post(`/v1/topics/${TOPIC}/messages/batch`, undefined),
    body: batchBody(FILL_BATCH),
  };
  let left = count;
  const filler = async () => {
    const connection = await Connection.open(port);
    for (; left > 0; ) {
      left -= FILL_BATCH;
      await call(connection, request, 200);
    }
    connection.close();
  };
  await Promise.all(Array.from({ length: FILLERS }, filler));
}

async function drain(port: number, ticks: Ticks): Promise<void> {
  const connection = await Connection.open(port);
  const wish = post(`/v1/groups/${TOPIC}/receive`, { max: BATCH, waitMs: 0, leaseMs: LEASE_MS });
  while (ticks.left > 0) {
    const got = await call(connection, wish, 200, 204);
    if (got.status === 204) break; // what is left is under way to others
    const receipts = ticks.take(Buffer.from(got.body).toString("latin1"));
    const ack = post(`/v1/groups/${TOPIC}/settle`, { ack: receipts });
    const done = await call(connection, ack, 200);
    const settled = Buffer.from(done.body).toString("latin1").split('"status":"ok"').length - 1;
    if (settled !== receipts.length)
      throw new Error(`${receipts.length - settled} acks were not ok`);
  }
  connection.close();
}

/** Which messages have come, by queue and queueOffset. */
class Ticks {
  readonly #queues = Array.from({ length: QUEUES }, () => new Set<number>());
  left: number;

  constructor(count: number) {
    this.left = count;
  }

  /** The receipts in a page of deliveries, found without parsing what lies around them. */
  take(page: string): string[] {
    const receipts: string[] = [];
    for (let at = page.indexOf(QUEUE_ID); at >= 0; at = page.indexOf(QUEUE_ID, at)) {
      const queueId = Number.parseInt(
        page.slice(at + QUEUE_ID.length, at + QUEUE_ID.length + 5),
        10,
      );
      at = page.indexOf(QUEUE_OFFSET, at) + QUEUE_OFFSET.length;
      this.#tick(queueId, Number.parseInt(page.slice(at, at + 16), 10));
      at = page.indexOf(RECEIPT, at) + RECEIPT.length;
      receipts.push(page.slice(at, page.indexOf('"', at)));
    }
    return receipts;
  }

  #tick(queueId: number, queueOffset: number): void {
    const queue = this.#queues[queueId];
    if (!queue || !(queueOffset >= 0)) throw new Error(`No such place: ${queueId}/${queueOffset}`);
    if (queue.has(queueOffset)) throw new Error(`Delivered twice: ${queueId}/${queueOffset}`);
    queue.add(queueOffset);
    this.left--;
  }

  /** @throws when one is missing; offsets have no gaps, so counting tells. */
  check(): void {
    if (this.left !== 0) throw new Error(`${this.left} messages were never delivered`);
    for (const [queueId, queue] of this.#queues.entries()) {
      for (let queueOffset = 0; queueOffset < queue.size; queueOffset++) {
        if (!queue.has(queueOffset)) throw new Error(`Never delivered: ${queueId}/${queueOffset}`);
      }
    }
  }
}

const QUEUE_ID = '"queueId":';
const QUEUE_OFFSET = '"queueOffset":"';
const RECEIPT = '"receipt":"';

const mib = (bytes: number) => `${(bytes / MiB).toFixed(0)} MiB`;
