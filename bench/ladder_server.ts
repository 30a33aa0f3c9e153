/**
 * The rungs of a durable POST, from a handler that does nothing to the node as it is:
 * each a server of its own in this process, so that one run compares them.
 *
 *   empty        Hono; reads the body, answers a small JSON
 *   bare         the same without Hono
 *   headers      bare, with the four headers that an answer of ours has
 *   later        empty, answered a turn of the event loop later, all that came together
 *   hop          empty, answered when a thread of the runtime's pool has had its turn, all together
 *   synced       empty, answered when the body is written and synced, one fdatasync for all
 *                that came meanwhile: the least that a durable answer can cost here
 *   inline       the same on the event loop itself: nothing is handed to a thread, everything waits
 *   surface      our gateway over a broker that answers at once
 *   surface-later  over one that answers a turn later
 *   memory       over the real broker, with a disk that neither writes nor syncs
 *   written      the same, with a disk that writes and does not sync
 *   node         the same on the real disk
 *
 * `bun bench/ladder_server.ts DIR` prints their ports as JSON.
 *
 * @module
 */

import { closeSync, fdatasync, fdatasyncSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers";
import process from "node:process";
import { Hono } from "hono";
import type { BrokerApi, Published } from "../src/broker/api.ts";
import { currentRuntime } from "../src/cli/current_runtime.ts";
import { createGateway } from "../src/gateway/app.ts";
import { systemClock } from "../storage/base/clock_node.ts";
import type { Disk, DiskFile } from "../storage/base/disk.ts";
import { openNodeDisk } from "../storage/base/disk_node.ts";
import { openLocalBroker } from "./local_broker.ts";

type Fetch = (request: Request) => Response | Promise<Response>;

interface BunServe {
  serve(options: { port: number; hostname: string; idleTimeout: number; fetch: Fetch }): {
    readonly port: number;
  };
}

interface DenoServe {
  serve(
    options: { port: number; hostname: string; onListen: () => void },
    fetch: Fetch,
  ): { readonly addr: { readonly port: number } };
}

const SMALL = JSON.stringify({ id: "V1StGXR8_Z5jdHi6B", queueId: 3, queueOffset: "1234" });
const JSON_TYPE = { "Content-Type": "application/json" };
const hostname = "127.0.0.1";
const world = globalThis as { Bun?: BunServe; Deno?: DenoServe };

function serveBare(fetch: Fetch): number {
  if (world.Bun) return world.Bun.serve({ port: 0, hostname, idleTimeout: 0, fetch }).port;
  const server = world.Deno?.serve({ port: 0, hostname, onListen: () => {} }, fetch);
  return server?.addr.port ?? 0;
}

/** A Hono app that waits for `wait` between the body and its answer. */
function sink(wait?: (body: Uint8Array) => Promise<void>): Fetch {
  const app = new Hono();
  app.post("/v1/topics/:topic/messages", async (c) => {
    const body = await c.req.arrayBuffer();
    if (wait) await wait(new Uint8Array(body));
    return c.body(SMALL, 201, JSON_TYPE);
  });
  return (request) => app.fetch(request);
}

const bare: Fetch = async (request) => {
  await request.arrayBuffer();
  return new Response(SMALL, { status: 201, headers: JSON_TYPE });
};

let count = 0;
const withHeaders: Fetch = async (request) => {
  await request.arrayBuffer();
  const id = `1xk2-${(count++).toString(36)}`;
  const headers = {
    "content-type": "application/json",
    location: `/v1/topics/post/messages/${id}`,
    "x-content-type-options": "nosniff",
    "x-request-id": id,
  };
  return new Response(SMALL, { status: 201, headers });
};

/** Everybody who came before the turn ended waits for the same end of a turn. */
function later(): () => Promise<void> {
  let turn: Promise<void> | undefined;
  return () => {
    turn ??= new Promise((resolve) => {
      setImmediate(() => {
        turn = undefined;
        resolve();
      });
    });
    return turn;
  };
}

/** What is stored of a message of 256 bytes, about. */
const RECORD_SIZE = 400;
const PREPARED_SIZE = 256 * 1024 * 1024;

/** Group commit and nothing else, into a file of written zeros; or syncs alone, with nothing to sync. */
function groupCommit(
  path: string,
  { writes = true, inline = false } = {},
): (body: Uint8Array) => Promise<void> {
  const fd = openSync(path, "w+");
  const zeros = new Uint8Array(1 << 20);
  for (let at = 0; at < PREPARED_SIZE; at += zeros.length)
    writeSync(fd, zeros, 0, zeros.length, at);
  fdatasyncSync(fd);
  const pending = new Uint8Array(1 << 20);
  let filled = 0;
  let position = 0;
  let waiting: (() => void)[] = [];
  let running = false;
  const run = () => {
    if (filled === 0) {
      running = false;
      return;
    }
    if (writes) writeSync(fd, pending, 0, filled, position);
    position = (position + filled) % (PREPARED_SIZE - pending.length);
    filled = 0;
    const told = waiting;
    waiting = [];
    const synced = () => {
      if (inline) setImmediate(run);
      else run();
      for (const tell of told) tell();
    };
    if (inline) {
      fdatasyncSync(fd);
      synced();
      return;
    }
    fdatasync(fd, (error) => {
      if (error) throw error;
      synced();
    });
  };
  process.on("exit", () => closeSync(fd));
  return (body) => {
    pending.set(body, filled);
    filled += RECORD_SIZE;
    if (!running) {
      running = true;
      setImmediate(run);
    }
    return new Promise((resolve) => {
      waiting.push(resolve);
    });
  };
}

async function serveGateway(broker: BrokerApi): Promise<number> {
  const gateway = createGateway({
    broker,
    apiKeys: [],
    corsOrigins: [],
    version: "0.0.0",
    report: (error) => console.error(error),
    now: () => systemClock.now(),
    elapsed: () => systemClock.elapsed(),
  });
  const runtime = await currentRuntime();
  const where = { hostname, port: 0, exposed: false };
  const server = await runtime.serve(where, (request, host) => gateway.fetch(request, host));
  return server.port;
}

/** A broker that stores nothing. */
function shamBroker(wait: () => Promise<void> | undefined): BrokerApi {
  let queueOffset = 0;
  const answer = (id: string): Published => ({
    id,
    queueId: 1,
    queueOffset: queueOffset++,
    cursor: "q.000000010000000100000000000001",
    publishedAt: systemClock.now(),
  });
  const messages = {
    publish(_: string, { id }: { readonly id: string }) {
      const published = answer(id);
      return wait()?.then(() => published) ?? Promise.resolve(published);
    },
  };
  return { messages } as unknown as BrokerApi;
}

/** The real disk, but for what is left out. */
function lessDisk(dataDir: string, does: { readonly writes: boolean }): Disk {
  const disk = openNodeDisk(dataDir);
  const settled = later();
  const less = (file: DiskFile, path: string): DiskFile =>
    path.startsWith("log/")
      ? {
          size: () => file.size(),
          read: (target, position) => file.read(target, position),
          write: (bytes, position) => {
            if (does.writes) file.write(bytes, position);
          },
          sync: () => settled(),
          truncate: (size) => file.truncate(size),
          close: () => file.close(),
        }
      : file;
  return { ...disk, open: async (path, options) => less(await disk.open(path, options), path) };
}

const dataRoot = process.argv[2] ?? "";
const dirOf = (name: string) => join(dataRoot, name);
const open = async (name: string, disk?: Disk) =>
  (await openLocalBroker(dirOf(name), disk ? { disk } : {})).api;

const ports = {
  empty: serveBare(sink()),
  bare: serveBare(bare),
  headers: serveBare(withHeaders),
  later: serveBare(sink(later())),
  hop: serveBare(sink(groupCommit(dirOf("hop"), { writes: false }))),
  synced: serveBare(sink(groupCommit(dirOf("synced")))),
  inline: serveBare(sink(groupCommit(dirOf("inline"), { inline: true }))),
  surface: await serveGateway(shamBroker(() => undefined)),
  "surface-later": await serveGateway(shamBroker(later())),
  memory: await serveGateway(await open("memory", lessDisk(dirOf("memory"), { writes: false }))),
  written: await serveGateway(await open("written", lessDisk(dirOf("written"), { writes: true }))),
  node: await serveGateway(await open("node")),
};
console.log(`ladder ready on ${JSON.stringify(ports)}`);
