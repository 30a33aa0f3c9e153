/**
 * What waiting costs: 2,000 idle SSE readers and 2,000 parked long-polls, held
 * by the gateway and by an empty handler, watched from outside through /proc.
 * And one reader that never reads while messages flow.
 *
 *   memory   resident, median of the last third, and above the process with
 *            no connection; its slope over the last two thirds
 *   CPU      of one core, heartbeats and the renewal of ended holds included
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { EventStream } from "../test/e2e/event_stream.ts";
import { encodeRequest } from "../test/e2e/http.ts";
import { call, client, post, putTopic } from "../test/e2e/wire.ts";
import { renderTable } from "./report.ts";
import { median, slope } from "./statistics.ts";
import {
  type BenchRuntime,
  cpuSeconds,
  rssBytes,
  startEmpty,
  startTidegate,
  type Subject,
} from "./subjects.ts";

export interface IdleOptions {
  readonly runtimes: readonly BenchRuntime[];
  readonly seconds: number;
  /** Of SSE readers, and again of long-polls. */
  readonly count: number;
  readonly dataRoot: string;
}

interface Soak {
  readonly emptyRss: number;
  readonly rss: number;
  readonly perClient: number;
  readonly slopePer10Min: number;
  readonly cpuPercent: number;
}

interface Flood {
  readonly sentBytes: number;
  readonly grownBytes: number;
  readonly closed: boolean;
}

const KiB = 1024;
const MiB = 1024 * KiB;
const HOLD_SECONDS = 60;
/** Connections opened at once, so that the accept queue never overflows. */
const OPENING = 50;
/** For the collector to clear away what opening left behind. */
const SETTLE_SECONDS = 5;
const FLOOD_BATCHES = 200;
const FLOOD_BATCH = 16;
const FLOOD_BODY_BYTES = 64 * 1024;

export async function idle(options: IdleOptions): Promise<string> {
  const soaks: string[][] = [];
  const floods: string[][] = [];
  for (const runtime of options.runtimes) {
    const empty = await withSubject(startEmpty(runtime), (subject) =>
      soak(subject, { ...options, stream: "/stream", hold: `/hold/${HOLD_SECONDS}` }),
    );
    const dataDir = mkdtempSync(join(options.dataRoot, "tidegate-idle-"));
    try {
      await withSubject(startTidegate(runtime, dataDir), async (subject) => {
        await putTopic(client(subject.port), "idle");
        const path = "/v1/topics/idle/messages";
        const hold = `${path}?after=latest&wait=${HOLD_SECONDS}`;
        const held = await soak(subject, { ...options, stream: path, hold });
        soaks.push(soakCells(`${runtime}, empty handler`, empty, empty));
        soaks.push(soakCells(`${runtime}, Tidegate`, held, empty));
      });
      await withSubject(startTidegate(runtime, dataDir), async (subject) => {
        floods.push(floodCells(runtime, await flood(subject)));
      });
    } finally {
      rmSync(dataDir, { recursive: true });
    }
  }
  const held = `${options.count} SSE readers and ${options.count} long-polls, ${options.seconds} s`;
  return [
    `${held}:\n`,
    renderTable(["held by", "RSS", "without", "ratio", "per client", "slope", "CPU"], soaks),
    "\nA reader that never reads while messages flow:\n",
    renderTable(["on", "sent past it", "RSS grew by", "was it closed"], floods),
  ].join("\n");
}

async function withSubject<T>(
  starting: Promise<Subject>,
  body: (subject: Subject) => Promise<T>,
): Promise<T> {
  const subject = await starting;
  try {
    return await body(subject);
  } finally {
    await subject.stop();
  }
}

async function soak(
  subject: Subject,
  work: { count: number; seconds: number; stream: string; hold: string },
): Promise<Soak> {
  const emptyRss = rssBytes(subject.pid);
  const crowd = new Crowd(subject.port);
  const accept = { Accept: "text/event-stream" };
  await crowd.add(work.count, encodeRequest({ path: work.stream, headers: accept }));
  await crowd.add(work.count, encodeRequest({ path: work.hold }));
  await seconds(SETTLE_SECONDS);
  const samples: { x: number; y: number }[] = [];
  const [cpuBefore, startedAt] = [cpuSeconds(subject.pid), performance.now()];
  while (samples.length <= work.seconds) {
    await seconds(1);
    samples.push({ x: samples.length, y: rssBytes(subject.pid) });
  }
  const elapsed = (performance.now() - startedAt) / 1000;
  const cpu = cpuSeconds(subject.pid) - cpuBefore;
  crowd.close();
  if (crowd.lost > 0) throw new Error(`${crowd.lost} waiting readers were dropped: ${crowd.why}`);
  const rss = median(samples.slice(-Math.ceil(samples.length / 3)).map(({ y }) => y));
  return {
    emptyRss,
    rss,
    perClient: (rss - emptyRss) / (2 * work.count),
    slopePer10Min: slope(samples.slice(-Math.ceil((samples.length * 2) / 3))) * 600,
    cpuPercent: (cpu / elapsed) * 100,
  };
}

/** Readers that wait. A hold that ends in peace is asked for again, as a client would. */
class Crowd {
  readonly #port: number;
  readonly #sockets: Socket[] = [];
  #closing = false;
  lost = 0;
  why = "";

  constructor(port: number) {
    this.#port = port;
  }

  async add(count: number, request: Uint8Array): Promise<void> {
    for (let opened = 0; opened < count; opened += OPENING) {
      const some = Math.min(OPENING, count - opened);
      await Promise.all(Array.from({ length: some }, () => this.#join(request)));
    }
  }

  close(): void {
    this.#closing = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(request: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port: this.#port });
      this.#sockets.push(socket);
      socket.on("connect", () => {
        socket.write(request);
        resolve();
      });
      socket.on("error", reject);
      socket.on("close", () => this.#drop("closed"));
      socket.on("data", (chunk) => {
        const head = String(chunk).slice(0, 100);
        if (head.startsWith("HTTP/1.1 204")) socket.write(request);
        else if (/^HTTP\/1\.1 (?!200)/.test(head)) this.#drop(head);
      });
    });
  }

  #drop(why: string): void {
    if (this.#closing) return;
    this.lost++;
    this.why ||= why;
  }
}

/** Publishes past a paused reader and watches what that costs. */
async function flood(subject: Subject): Promise<Flood> {
  const sender = client(subject.port);
  await putTopic(sender, "flood", { queues: 1 });
  const path = "/v1/topics/flood/messages";
  const text = "x".repeat(FLOOD_BODY_BYTES);
  const messages = Array.from({ length: FLOOD_BATCH }, () => ({ text }));
  const send = () => call(sender, post(`${path}/batch`, { messages }), 200);
  // The heap grows by the publishing alone: let it do so before the reader comes.
  for (let batch = 0; batch < FLOOD_BATCHES; batch++) await send();
  const lazy = await EventStream.open(subject.port, path);
  await lazy.next();
  lazy.pause();
  const before = rssBytes(subject.pid);
  for (let batch = 0; batch < FLOOD_BATCHES; batch++) await send();
  const grownBytes = rssBytes(subject.pid) - before;
  lazy.resume();
  let got = 0;
  while (await lazy.next((event) => event.event === "message", 3000).catch(() => undefined)) got++;
  const sent = FLOOD_BATCHES * FLOOD_BATCH;
  lazy.close();
  return { sentBytes: sent * FLOOD_BODY_BYTES, grownBytes, closed: lazy.ended && got < sent };
}

const seconds = (count: number) => new Promise((resolve) => setTimeout(resolve, count * 1000));
const mib = (bytes: number) => `${(bytes / MiB).toFixed(1)} MiB`;

function soakCells(name: string, soak: Soak, empty: Soak): string[] {
  return [
    name,
    mib(soak.rss),
    mib(soak.emptyRss),
    (soak.rss / empty.rss).toFixed(2),
    `${(soak.perClient / KiB).toFixed(1)} KiB`,
    `${mib(soak.slopePer10Min)} / 10 min`,
    `${soak.cpuPercent.toFixed(2)} %`,
  ];
}

function floodCells(runtime: string, { sentBytes, grownBytes, closed }: Flood): string[] {
  return [runtime, mib(sentBytes), mib(grownBytes), closed ? "yes" : "no"];
}
