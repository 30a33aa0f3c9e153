/**
 * The work of `loop.ts`: `bun bench/loop_work.ts DATA_DIR SEGMENT_BYTES SECONDS` prints one
 * line of JSON.
 *
 * A broker in this process publishes messages of 256 B to eight topics of 64 queues, a
 * twentieth of them later, a twentieth once; groups receive and acknowledge them; what is
 * older than ten seconds goes; a scrubber reads all there is once a minute. A timer of a
 * millisecond sees for how long the loop was held. What holds it is told by the functions
 * that run at seals and snapshots, timed one by one; of what is read in parts, each step.
 * Their times are the thread's own: that somebody else had the processor counts as a hold,
 * but not as theirs.
 *
 * @module
 */

import process from "node:process";
import { Worker } from "node:worker_threads";
import type { BrokerApi } from "../src/broker/api.ts";
import { BrokerFold } from "../src/broker/fold.ts";
import { ConsumeQueues } from "../storage/consume_queues.ts";
import { Flusher } from "../storage/flusher.ts";
import { DedupeStore } from "../storage/dedupe_store.ts";
import { Indexes } from "../storage/indexes.ts";
import { Sealer } from "../storage/sealer.ts";
import { openLocalBroker } from "./local_broker.ts";
import { threadTime } from "./thread_time.ts";

export interface Held {
  readonly segments: number;
  readonly perSecond: number;
  readonly p99: number;
  readonly p999: number;
  /** How often it was held for more than 5 ms. */
  readonly over: number;
  readonly longest: number;
  /** What of the longest hold was spent on seals and snapshots, by name. */
  readonly parts: string;
  /** The longest call of each of these, whenever. */
  readonly calls: string;
}

const TOPICS = 8;
const QUEUES = 64;
const BATCH = 40;
/** Between two batches. */
const EVERY_MS = 2;
const BODY = new Uint8Array(256).fill(0x78);
const SLOW_MS = 5;

const [dataDir = "", segmentBytes = "", secondsText = ""] = process.argv.slice(2);
const seconds = Number(secondsText);

const longestOf = new Map<string, number>();
/** Since the loop was last seen to go on. */
const spentOn = new Map<string, number>();

function timed<T>(name: string, run: () => T): T {
  const since = threadTime();
  try {
    return run();
  } finally {
    const took = threadTime() - since;
    longestOf.set(name, Math.max(took, longestOf.get(name) ?? 0));
    spentOn.set(name, took + (spentOn.get(name) ?? 0));
  }
}

/** Notes how long each call of a synchronous method takes, and each step of what it returns to be read. */
function time(target: object, name: string): void {
  const methods = target as Record<string, (...args: unknown[]) => unknown>;
  const method = methods[name];
  if (!method) throw new Error(`There is no ${name} to time`);
  methods[name] = function call(this: unknown, ...args: unknown[]) {
    const result = timed(name, () => method.apply(this, args));
    return isReadInParts(result) ? steps(name, result) : result;
  };
}

function isReadInParts(result: unknown): result is Iterator<unknown> {
  return typeof (result as { next?: unknown } | undefined)?.next === "function";
}

function* steps(name: string, source: Iterator<unknown>): Generator {
  for (;;) {
    const { done, value } = timed(name, () => source.next());
    if (done) return;
    yield value;
  }
}

time(BrokerFold.prototype, "takeChanges");
time(Sealer.prototype, "capture");
time(Sealer.prototype, "onConfirm");
time(ConsumeQueues.prototype, "takeMarks");
time(ConsumeQueues.prototype, "marksAt");
time(ConsumeQueues.prototype, "release");
time(Indexes.prototype, "release");
time(DedupeStore.prototype, "seal");
time(Flusher.prototype, "kick");
time(Worker.prototype, "postMessage");

const broker = await openLocalBroker(dataDir, {
  segmentBytes: Number(segmentBytes),
  scrubIntervalMs: 60_000,
});
const { api } = broker;
await prepare(api);
const ends = Date.now() + seconds * 1000;
const holds: number[] = [];
let longest = { ms: 0, parts: "" };
let published = 0;
watch();
await Promise.all([publish(api), ...Array.from({ length: TOPICS }, (_, i) => consume(api, i))]);
const segments = Number(
  /tidegate_log_segments (\d+)/.exec(await textOf())?.[1] ?? api.status().durableEnd / 1e6,
);
await broker.close();
holds.sort((a, b) => a - b);
const at = (share: number) => holds[Math.floor(holds.length * share)] ?? 0;
const held: Held = {
  segments,
  perSecond: published / seconds,
  p99: at(0.99),
  p999: at(0.999),
  over: holds.filter((ms) => ms > SLOW_MS).length,
  longest: longest.ms,
  parts: longest.parts,
  calls: told(longestOf),
};
console.log(JSON.stringify(held));
process.exit(0);

/** The four that took longest, in ms. */
function told(times: ReadonlyMap<string, number>): string {
  return [...times]
    .sort(([, a], [, b]) => b - a)
    .slice(0, 4)
    .map(([name, ms]) => `${name} ${ms.toFixed(1)}`)
    .join(", ");
}

async function textOf(): Promise<string> {
  const families = await broker.metrics();
  const family = families.find(({ name }) => name === "tidegate_log_segments");
  return `tidegate_log_segments ${JSON.stringify(family).match(/"value":(\d+)/)?.[1] ?? ""}`;
}

async function prepare({ topics, groups }: BrokerApi): Promise<void> {
  const retention = { timeMs: 10_000, bytes: null };
  const about = { messageType: "mixed", acks: "durable", description: "" } as const;
  for (let i = 0; i < TOPICS; i++) {
    await topics.put(`t${i}`, { queues: QUEUES, retention, ...about });
    await groups.put(`g${i}`, {
      subscriptions: [{ topic: `t${i}` }],
      mode: "concurrent",
      leaseMs: 30_000,
      maxAttempts: 16,
      backoff: { initialMs: 1000, multiplier: 2, maxMs: 60_000 },
      startFrom: "earliest",
      maxInFlight: 10_000,
    });
  }
}

function watch(): void {
  let dueAt = performance.now() + 1;
  const tick = () => {
    const now = performance.now();
    const ms = Math.max(0, now - dueAt);
    holds.push(ms);
    if (ms > longest.ms) longest = { ms, parts: told(spentOn) };
    spentOn.clear();
    dueAt = now + 1;
    if (Date.now() < ends) setTimeout(tick, 1);
  };
  setTimeout(tick, 1);
}

async function publish({ messages }: BrokerApi): Promise<void> {
  const answers = new Set<Promise<unknown>>();
  for (let turn = 0; Date.now() < ends; turn++) {
    const batch = Array.from({ length: BATCH }, (_, i) => {
      const id = `m-${turn}-${i}`;
      const message = { id, body: BODY, index: [`customer-${(turn * BATCH + i) % 5000}`] };
      if (i % 20 === 0) return { ...message, delayMs: 1000 + (turn % 9000) };
      return i % 20 === 1 ? { ...message, idempotencyKey: id } : message;
    });
    const answer = messages.publishBatch(`t${turn % TOPICS}`, batch, { atomic: false });
    answers.add(answer);
    void answer.then(() => answers.delete(answer));
    published += BATCH;
    if (answers.size > 100) await Promise.race(answers);
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
  await Promise.all(answers);
}

async function consume({ groups }: BrokerApi, i: number): Promise<void> {
  const group = `g${i}`;
  const request = { group, max: 200, maxBytes: 1 << 20, waitMs: 500 };
  while (Date.now() < ends) {
    const deliveries = await groups.receive({ ...request, topic: undefined });
    const ack = deliveries.map(({ receipt }) => receipt);
    if (ack.length > 0) await groups.settle(group, { ack, release: [], extend: [], reject: [] });
  }
}
