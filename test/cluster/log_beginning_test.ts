/**
 * A broker group whose log has lost its beginning, as it runs: three nodes on real
 * disks, over sockets. One of them loses its disk, another is away for too long; both
 * come back by themselves, lead, and know what was published with a key long ago.
 *
 * @module
 */

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { systemClock } from "../../storage/base/clock_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { segmentBases } from "../../storage/segment.ts";
import type { BrokerGroupApi, TopicConfig } from "../../src/broker/api.ts";
import { RPC_PORTS } from "../../src/cli/cluster.ts";
import { type DataDir, holdDataDir } from "../../src/cli/data_dir.ts";
import { NodeLogs } from "../../src/cli/node_logs.ts";
import { BrokerNode, EmbeddedCoordinator } from "../../src/cluster/mod.ts";
import { readConfig } from "../../src/config.ts";
import { dialer } from "../../src/rpc/dial_node.ts";
import { listen, type Listener } from "../../src/rpc/listen_node.ts";
import { Peer, RpcServer } from "../../src/rpc/mod.ts";
import { checkMembersAlike } from "../broker/fold_dump.ts";
import { until } from "../e2e/server.ts";
import { ids, message, readAll } from "../suites/broker_api_kit.ts";

const SECRET = new Uint8Array(32).fill(3);
const NAMES = ["a", "b", "c"] as const;
const KEYS = 30;
/** A segment holds some messages only, so that the log can lose its beginning. */
const SEGMENT_BYTES = 4096;
const TOPIC: TopicConfig = {
  queues: 2,
  messageType: "mixed",
  acks: "durable",
  retention: { timeMs: null, bytes: null },
  description: "",
};

/** One life of a node's process, but for the process. */
class Running {
  readonly node: BrokerNode;
  readonly #dataDir: DataDir;
  readonly #logs: NodeLogs;
  readonly #server: RpcServer;
  #listener: Listener | undefined;

  constructor(
    name: string,
    parts: { dir: string; coordinator: EmbeddedCoordinator; log: string[] },
  ) {
    const { dir, coordinator } = parts;
    const log = (_level: string, text: string, fields: object = {}) =>
      void parts.log.push(`${name}: ${text} ${JSON.stringify(fields)}`);
    const fatal = (error: unknown): never => {
      parts.log.push(`${name}: fatal ${String(error)}`);
      throw error;
    };
    const flags = { cluster: "c", etcd: "http://127.0.0.1:1", group: "g", node: name };
    const read = readConfig({ command: "broker", flags: { ...flags, dataDir: dir }, env: {} });
    const config = { ...read, segmentBytes: SEGMENT_BYTES };
    this.#dataDir = holdDataDir(dir);
    this.#logs = new NodeLogs(this.#dataDir, { config, log, fatal });
    const self = { cluster: "c", node: name, secret: SECRET };
    const expects = { authenticated: false };
    this.node = new BrokerNode(
      {
        clock: systemClock,
        coordinator,
        journal: log,
        entropy: RPC_PORTS.entropy,
        openLog: (number) => this.#logs.open(number),
        replaceLog: () => this.#logs.replace(),
        connect({ node, address }) {
          const port = Number(address.split(":")[1]);
          const dial = dialer({ host: "127.0.0.1", port });
          return new Peer({ ...RPC_PORTS, dial }, { self, expects: { ...expects, node } });
        },
        fatal,
      },
      { group: "g", node: name, minSync: 2, catchUpRate: 64 * 1024 * 1024 },
    );
    this.#server = new RpcServer({ ...RPC_PORTS, log }, { self, services: this.node.services });
  }

  async start(): Promise<void> {
    this.#listener = await listen(this.#server, { host: "127.0.0.1", port: 0 });
    await this.node.start(`127.0.0.1:${this.#listener.port}`);
  }

  async stop(): Promise<void> {
    await this.node.drain();
    this.#listener?.close();
    this.#server.close();
    await this.#logs.close();
  }
}

/** Publishes one message after the other, until it is told to end. */
class Load {
  readonly #answered: string[] = [];
  readonly #running: Promise<void>;
  #ended = false;

  constructor(publish: (id: string) => Promise<void>) {
    this.#running = this.#run(publish);
    this.#running.catch(() => {}); // `end` tells
  }

  async #run(publish: (id: string) => Promise<void>): Promise<void> {
    for (let i = 0; !this.#ended; i++) {
      await publish(`load-${i}`);
      this.#answered.push(`load-${i}`);
    }
  }

  /** @returns what was answered. */
  async end(): Promise<readonly string[]> {
    this.#ended = true;
    await this.#running;
    return this.#answered;
  }
}

describe("a broker group whose log has lost its beginning", { timeout: 120_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-beginning-"));
  const coordinator = new EmbeddedCoordinator(systemClock);
  const running = new Map<string, Running>();
  const logged: string[] = [];
  const answers = new Map<string, unknown>();
  let published = 0;

  const dirOf = (name: string) => join(folder, name);
  const basesOf = (name: string) => segmentBases(readdirSync(join(dirOf(name), "log")));

  async function start(name: string): Promise<Running> {
    const one = new Running(name, { dir: dirOf(name), coordinator, log: logged });
    running.set(name, one);
    await one.start();
    return one;
  }

  async function stop(name: string): Promise<void> {
    await running.get(name)?.stop();
    running.delete(name);
  }

  const leader = () => [...running].find(([, { node }]) => node.gate.status().ready)?.[0];

  async function whole(): Promise<string> {
    const all = () =>
      leader() !== undefined && [...running.values()].every((one) => one.node.isMember);
    await until(all, "all count", 30_000).catch((error: Error) => {
      throw new Error(`${error.message}\n${logged.join("\n")}`);
    });
    return leader() as string;
  }

  /** At whoever leads, again where that changes. */
  async function ask<T>(call: (api: BrokerGroupApi) => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      await until(() => leader() !== undefined, "one leads", 30_000);
      const gate = running.get(leader() ?? "")?.node.gate;
      try {
        if (gate) return (await gate.run("idempotent", call)) as T;
      } catch (error) {
        const code = error instanceof TidegateError ? error.code : "";
        if (tries > 20 || !["unavailable", "outcome-unknown"].includes(code)) throw error;
      }
    }
  }

  const wish = (key: string) =>
    message(key, { idempotencyKey: key, body: new Uint8Array(400).fill(1) });

  async function publishKeyed(): Promise<void> {
    for (let i = 0; i < KEYS; i++) {
      const key = `k${i}`;
      const answer = await ask((api) => api.messages.publish("keyed", wish(key)));
      const first = answers.get(key);
      const told = { ...answer, replayed: undefined };
      if (first) assert.deepEqual(told, first, `the first answer of ${key}`);
      answers.set(key, told);
    }
  }

  /** All there is goes, and what comes behind fills some segments. */
  async function moveOn(): Promise<void> {
    const name = leader() as string;
    const end = basesOf(name).at(-1) as number;
    for (let tries = 0; (basesOf(leader() ?? name)[0] as number) <= end; tries++) {
      assert(tries < 100, `the log loses its beginning\n${logged.join("\n")}`);
      for (let i = 0; i < 10; i++) {
        const id = `m${published++}`;
        const body = new Uint8Array(400).fill(2);
        await ask((api) => api.messages.publish("passing", message(id, { body })));
      }
      for (const topic of ["keyed", "passing", "kept"]) await ask((api) => api.topics.purge(topic));
      await new Promise<void>((resolve) => void systemClock.after(300, resolve));
    }
  }

  before(async () => {
    for (const name of NAMES) await start(name);
    await whole();
    await ask((api) => api.topics.put("keyed", TOPIC));
    await ask((api) => api.topics.put("passing", TOPIC));
    await ask((api) => api.topics.put("kept", TOPIC));
    await publishKeyed();
  });

  after(async () => {
    for (const name of running.keys()) await stop(name);
    await coordinator.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it("takes in a node that lost its disk, which then leads and knows the keys of before", async () => {
    const first = await whole();
    await moveOn();
    const [lost, other] = NAMES.filter((name) => name !== first) as [string, string];
    const load = new Load(async (id) => {
      await ask((api) => api.messages.publish("kept", message(id, { idempotencyKey: id })));
    });
    await stop(lost);
    rmSync(dirOf(lost), { recursive: true });
    const again = await start(lost);
    await whole();
    assert(again.node.takenOver.done > 0);
    assert(again.node.takenOver.bytes > 0, "keys came along");
    assert((basesOf(lost)[0] as number) > 0);
    await stop(other);
    await stop(first); // hands over, and nobody else is there
    const back = start(first);
    assert.equal(await whole(), lost);
    await back;
    await publishKeyed();
    const answered = await load.end();
    assert(answered.length > 0, "some were published meanwhile");
    const stored = ids(await readAll(await api(), { topic: "kept" }));
    assert.deepEqual(stored.toSorted(), answered.toSorted(), "each is there once");
  });

  it("has a node back by itself that was away for too long", async () => {
    const away = NAMES.find((name) => !running.has(name)) as string;
    await moveOn();
    const end = (basesOf(away).at(-1) as number) + SEGMENT_BYTES;
    assert((basesOf(leader() as string)[0] as number) >= end, "the log begins behind its end");
    const back = await start(away);
    await whole();
    assert(back.node.takenOver.done > 0, "more than once where the log moves on meanwhile");
    assert(readdirSync(join(dirOf(away), "set-aside", "log")).length > 0);
    await publishKeyed();
  });

  it("has the same state on all of them, from its snapshots and from its log alone", async () => {
    const last = await whole();
    const { end } = running.get(last)?.node.life?.driver.replica.log ?? { end: 0 };
    const level = () =>
      [...running.values()].every(({ node }) => {
        const log = node.life?.driver.replica.log;
        return log?.durableEnd === end && log.confirmOffset === end;
      });
    await until(level, "all is confirmed everywhere", 20_000);
    for (const name of NAMES) if (name !== last) await stop(name);
    await stop(last);
    const disks = await Promise.all(NAMES.map((name) => copyOf(dirOf(name))));
    const [one, two, three] = disks;
    await checkMembersAlike([one as MemoryDisk, two as MemoryDisk]);
    await checkMembersAlike([two as MemoryDisk, three as MemoryDisk]);
  });

  async function api(): Promise<BrokerGroupApi> {
    return await ask(async (broker) => broker);
  }
});

async function copyOf(dir: string): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  for (const name of readdirSync(dir, { recursive: true, encoding: "utf8" })) {
    const path = name.replaceAll("\\", "/");
    if (!/^(checkpoint|identity|(log|snapshots|dedupe|timers)\/[^/]+)$/.test(path)) continue;
    const file = await disk.open(path, { create: true });
    file.write(readFileSync(join(dir, path)), 0);
  }
  return disk;
}
