/**
 * A real server whose wall clock is set by an hour, forward and back, while
 * delayed messages wait: libfaketime answers in place of the kernel when the
 * process asks for the time of day, and leaves alone what measures time.
 *
 * @module
 */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { join } from "node:path";
import { faketimeLibrary } from "../fakes/faketime.ts";
import { needs } from "../fakes/needs.ts";
import { Connection, json } from "./http.ts";
import { type Server, startServer, until, withTempDir } from "./server.ts";
import { call, client, putTopic, type WirePage } from "./wire.ts";

const PATH = "/v1/topics/orders/messages";
const HOUR_S = 3600;
/** A machine that is busy with other things may take so long. */
const LATE_MS_MAX = 10_000;

class SteppedServer {
  readonly #dir: string;
  readonly #offsetFile: string;
  #server!: Server;

  constructor(dir: string) {
    this.#dir = dir;
    this.#offsetFile = join(dir, "offset");
  }

  get port(): number {
    return this.#server.port;
  }

  /** What the process takes for the time of day is off by so much from now on. */
  setClock(seconds: number): void {
    writeFileSync(this.#offsetFile, `${seconds < 0 ? "" : "+"}${seconds}s\n`);
  }

  async start(): Promise<void> {
    const env = {
      LD_PRELOAD: faketimeLibrary(),
      FAKETIME_TIMESTAMP_FILE: this.#offsetFile,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    };
    this.#server = await startServer({ dataDir: join(this.#dir, "data"), env });
  }

  kill(): Promise<unknown> {
    return this.#server.kill("SIGKILL");
  }

  /** Waits until the server says that its clock is off, so the step has reached it. */
  async sawStep(seconds: number): Promise<void> {
    const isOff = async () => {
      const answer = await call(client(this.port), { path: "/readyz" }, 200);
      const { clockSkewMs = 0 } = json(answer) as { clockSkewMs?: number };
      return Math.abs(clockSkewMs + seconds * 1000) < 60_000;
    };
    await until(isOff, `the clock is off by ${seconds} s`);
  }
}

/** Messages as they arrive, each with how long after it was sent. */
class Follower {
  /** By id, on the clock of this process, which nobody sets. */
  readonly #sentAt = new Map<string, number>();
  readonly arrivedAfter = new Map<string, number>();
  readonly order: string[] = [];
  #cursor = "earliest";

  async publish(port: number, id: string, delayMs: number): Promise<void> {
    this.#sentAt.set(id, performance.now());
    const headers = { Delay: String(delayMs / 1000), "Message-Id": id, "Message-Key": "k" };
    await call(client(port), { method: "POST", path: PATH, headers, body: id }, 201);
  }

  /** Reads on until `count` messages have arrived. */
  async readTo(port: number, count: number): Promise<void> {
    const connection = await Connection.open(port);
    while (this.order.length < count) {
      const path = `${PATH}?after=${this.#cursor}&wait=20`;
      const answer = await call(connection, { path }, 200, 204);
      const now = performance.now();
      if (answer.status === 204) continue;
      const page = json(answer) as WirePage;
      this.#cursor = page.cursor;
      for (const { id } of page.messages) {
        this.order.push(id);
        this.arrivedAfter.set(id, now - (this.#sentAt.get(id) ?? 0));
      }
    }
    connection.close();
  }
}

describe("a server whose clock is set", { skip: needs("faketime") }, () => {
  it("delivers nothing early, loses nothing, and keeps the order", { timeout: 120_000 }, () =>
    withTempDir(async (dir) => {
      const server = new SteppedServer(dir);
      server.setClock(0);
      await server.start();
      try {
        await putTopic(client(server.port), "orders");
        const follower = new Follower();
        const delays = [4000, 1500, 3000, 2000, 5000, 3500];
        for (const delayMs of delays) await follower.publish(server.port, `d${delayMs}`, delayMs);
        server.setClock(HOUR_S);
        await server.sawStep(HOUR_S);
        await follower.readTo(server.port, 2);
        server.setClock(-HOUR_S);
        await server.sawStep(-HOUR_S);
        await follower.publish(server.port, "stepped-back", 10);
        await follower.readTo(server.port, 5);
        await server.kill();
        await server.start(); // an hour behind what the log has seen
        await follower.publish(server.port, "started", 5500);
        await follower.readTo(server.port, 8);

        const due = new Map(delays.map((delayMs) => [`d${delayMs}`, delayMs]));
        due.set("stepped-back", 10).set("started", 5500);
        for (const [id, delayMs] of due) {
          const took = follower.arrivedAfter.get(id) ?? Number.NaN;
          assert(took >= delayMs, `${id} came after ${took} ms`);
          assert(took < delayMs + LATE_MS_MAX, `${id} came after ${took} ms`);
        }
        assert.equal(follower.order.length, due.size, "each once");
        const ordered = follower.order.filter((id) => id.startsWith("d"));
        assert.deepEqual(
          ordered,
          delays.toSorted((a, b) => a - b).map((delayMs) => `d${delayMs}`),
        );
      } finally {
        await server.kill();
      }
    }),
  );
});
