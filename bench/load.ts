/**
 * A closed loop of one request over N connections, as fast as it is answered.
 *
 * `wrk` drives it where it is installed: it is C and leaves a core to the
 * server. Elsewhere a loader over raw sockets: the request's bytes are made
 * once, of an answer only status and length are looked at.
 *
 * @module
 */

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeRequest } from "../test/e2e/http.ts";
import { percentile } from "./statistics.ts";

export interface LoadRequest {
  readonly port: number;
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** A header with another value in every request. */
  readonly uniqueHeader?: string;
}

export interface LoadOptions {
  readonly connections: number;
  readonly seconds: number;
}

export interface LoadResult {
  /** Requests answered. */
  readonly count: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export const hasWrk = spawnSync("wrk", ["-v"]).error === undefined;

/** @throws when an answer was not a 2xx: a fast error is no throughput. */
export function load(request: LoadRequest, options: LoadOptions): Promise<LoadResult> {
  return hasWrk ? loadWithWrk(request, options) : loadWithSockets(request, options);
}

async function loadWithWrk(request: LoadRequest, options: LoadOptions): Promise<LoadResult> {
  const dir = mkdtempSync(join(tmpdir(), "tidegate-wrk-"));
  try {
    writeFileSync(join(dir, "body"), request.body ?? "");
    writeFileSync(join(dir, "request.lua"), luaOf(request, join(dir, "body")));
    const output = await run("wrk", [
      "-t1",
      `-c${options.connections}`,
      `-d${options.seconds}s`,
      "--timeout=20s",
      `-s${join(dir, "request.lua")}`,
      `http://127.0.0.1:${request.port}${request.path}`,
    ]);
    const figures = JSON.parse(/^RESULT (.*)$/m.exec(output)?.[1] ?? "null") as {
      requests: number;
      errors: number;
      us: number;
      p50: number;
      p99: number;
    } | null;
    if (!figures || figures.errors > 0) throw new Error(`wrk met errors:\n${output}`);
    return {
      count: figures.requests,
      perSecond: (figures.requests / figures.us) * 1e6,
      p50Ms: figures.p50 / 1000,
      p99Ms: figures.p99 / 1000,
    };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function luaOf(request: LoadRequest, bodyPath: string): string {
  const headers = Object.entries(request.headers ?? {}).map(
    ([name, value]) => `wrk.headers[${JSON.stringify(name)}] = ${JSON.stringify(value)}`,
  );
  return `wrk.method = "${request.method}"
${request.body ? `wrk.body = io.open("${bodyPath}", "rb"):read("*a")` : ""}
${headers.join("\n")}
${request.uniqueHeader === undefined ? "" : luaUnique(request.uniqueHeader)}
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"errors":%d,"us":%d,"p50":%d,"p99":%d}\\n',
    summary.requests, e.connect + e.read + e.write + e.status + e.timeout,
    summary.duration, latency:percentile(50), latency:percentile(99)))
end
`;
}

function luaUnique(header: string): string {
  return `local count = 0
request = function()
  count = count + 1
  wrk.headers["${header}"] = "${uniquePrefix()}" .. count
  return wrk.format()
end`;
}

/** Of one run of the loader: no two runs share a value. */
function uniquePrefix(): string {
  return `${crypto.randomUUID()}-`;
}

function run(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += String(chunk);
    });
    child.on("error", reject);
    child.on("close", () => resolve(output));
  });
}

export async function loadWithSockets(
  request: LoadRequest,
  options: LoadOptions,
): Promise<LoadResult> {
  const nextBytes = encoderOf(request);
  const latenciesMs: number[] = [];
  const startedAt = performance.now();
  const deadline = startedAt + options.seconds * 1000;
  const loop = () => repeat(request.port, { nextBytes, deadline, latenciesMs });
  await Promise.all(Array.from({ length: options.connections }, loop));
  const seconds = (performance.now() - startedAt) / 1000;
  const sorted = latenciesMs.sort((a, b) => a - b);
  return {
    count: sorted.length,
    perSecond: sorted.length / seconds,
    p50Ms: percentile(sorted, 50),
    p99Ms: percentile(sorted, 99),
  };
}

/** The bytes of each request in turn: the same ones, but for a header that is unique. */
function encoderOf(request: LoadRequest): () => Uint8Array {
  const { uniqueHeader, headers } = request;
  const bytes = encodeRequest(request);
  if (uniqueHeader === undefined) return () => bytes;
  const prefix = uniquePrefix();
  let count = 0;
  return () =>
    encodeRequest({ ...request, headers: { ...headers, [uniqueHeader]: `${prefix}${count++}` } });
}

const EMPTY = Buffer.alloc(0);
const HEAD_SIZE_MAX = 16 * 1024;

/** Sends the next request whenever an answer is complete, until the deadline. */
function repeat(
  port: number,
  work: { nextBytes: () => Uint8Array; deadline: number; latenciesMs: number[] },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port });
    let sentAt = 0;
    let missing = 0; // bytes of the present body that are still to come
    let begun: Buffer = EMPTY; // a head that has not come whole
    const send = () => {
      sentAt = performance.now();
      if (sentAt >= work.deadline) socket.destroy();
      else socket.write(work.nextBytes());
    };
    socket.setNoDelay(true);
    socket.on("connect", send);
    socket.on("error", reject);
    socket.on("close", () => resolve());
    socket.on("data", (data) => {
      const chunk = begun.length > 0 ? Buffer.concat([begun, data as Buffer]) : (data as Buffer);
      begun = EMPTY;
      if (missing > 0) missing -= chunk.length;
      else if (chunk.length < HEAD_SIZE_MAX && !chunk.includes("\r\n\r\n")) {
        begun = chunk;
        return;
      } else {
        const bodyAt = chunk.indexOf("\r\n\r\n") + 4;
        const head = chunk.toString("latin1", 0, bodyAt);
        const length = /content-length: (\d+)/i.exec(head)?.[1];
        if (bodyAt < 4 || !head.startsWith("HTTP/1.1 2") || length === undefined) {
          socket.destroy(new Error(`Cannot measure with this answer: ${head.slice(0, 200)}`));
          return;
        }
        missing = Number(length) - (chunk.length - bodyAt);
      }
      if (missing > 0) return;
      work.latenciesMs.push(performance.now() - sentAt);
      send();
    });
  });
}
