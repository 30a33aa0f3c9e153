/**
 * Three brokers of one group, each a process as an operator starts it, over a real
 * etcd: what was answered outlives its leader, and a leader that is told to stop
 * hands over first.
 *
 * @module
 */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { systemClock } from "../../storage/base/clock_node.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { decodeUtf8, encodeUtf8 } from "../../storage/base/bytes.ts";
import { Acquaintance, openCoordinator } from "../../src/cli/cluster.ts";
import { Directory, type EtcdCoordinator, type GroupView } from "../../src/cluster/mod.ts";
import type { TopicConfig } from "../../src/broker/api.ts";
import { readConfig } from "../../src/config.ts";
import { type Peer, RemoteBroker } from "../../src/rpc/mod.ts";
import { type EtcdServer, startEtcd } from "../fakes/etcd_server.ts";
import { needs } from "../fakes/needs.ts";
import { currentRuntime, type Script, spawnScript, until } from "./server.ts";

const skip = needs("etcd");
const NODES = ["n1", "n2", "n3"];
const SECRET = "a secret of this test, long enough";
const CLUSTER = "e2e";
const READY_MS = 60_000;
const TOPIC: TopicConfig = {
  queues: 1,
  messageType: "mixed",
  acks: "durable",
  retention: { timeMs: null, bytes: null },
  description: "",
};

describe("tidegate broker, three of them", { skip, timeout: 180_000 }, () => {
  let etcd: EtcdServer;
  let folder: string;
  let coordinator: EtcdCoordinator;
  let acquaintance: Acquaintance;
  const scripts = new Map<string, Script>();
  const peers = new Map<string, Peer>();
  let published = 0;
  const acked = new Set<string>();

  function start(node: string): void {
    const place = ["--node", node, "--data-dir", join(folder, node), "--rpc-port", "0"];
    const args = ["broker", "--cluster", CLUSTER, "--group", "g1", "--etcd", etcd.url, ...place];
    const env = { TIDEGATE_CLUSTER_SECRET: SECRET };
    scripts.set(node, spawnScript(currentRuntime, "src/main.ts", { args, env }));
  }

  const wrote = () =>
    [...scripts].map(([node, script]) => `---- ${node}\n${script.output()}`).join("\n");

  async function view(): Promise<GroupView | undefined> {
    return (await new Directory(coordinator).groups())[0];
  }

  async function whole(): Promise<void> {
    const all = async () => {
      const { state, live } = await coordinator.look("g1");
      const counts = (boot: string) => state?.syncSet.some((member) => member.boot === boot);
      return live.length === NODES.length && live.every(({ boot }) => counts(boot));
    };
    await until(all, "all three count", READY_MS).catch((error: Error) => {
      throw new Error(`${error.message}\n${wrote()}`);
    });
  }

  function brokerAt({ node, address }: { node: string; address: string }): RemoteBroker {
    const key = `${node} ${address}`;
    const peer = peers.get(key) ?? acquaintance.peer({ node, address });
    peers.set(key, peer);
    return new RemoteBroker(peer);
  }

  /** Calls whoever leads, as a gateway does: again where nothing took effect. */
  async function ask<T>(call: (broker: RemoteBroker) => Promise<T>): Promise<T> {
    for (const startedAt = performance.now(); ; ) {
      const leader = (await view())?.leader;
      try {
        if (leader) return await call(brokerAt(leader));
      } catch (error) {
        const known = error instanceof TidegateError;
        if (!known || !["unavailable", "draining", "outcome-unknown"].includes(error.code)) {
          throw error;
        }
      }
      assert(performance.now() - startedAt < 20_000, `somebody answers\n${wrote()}`);
      await new Promise<void>((resolve) => void systemClock.after(20, resolve));
    }
  }

  async function publish(): Promise<void> {
    const text = `m${published++}`;
    const message = { id: text, body: encodeUtf8(text) };
    await ask((broker) => broker.messages.publish("orders", message));
    acked.add(text);
  }

  before(async () => {
    if (skip) return;
    etcd = await startEtcd();
    folder = mkdtempSync(join(tmpdir(), "tidegate-group-"));
    const env = { TIDEGATE_CLUSTER_SECRET: SECRET };
    const flags = { cluster: CLUSTER, etcd: etcd.url, group: "g1", node: "n1" };
    const config = readConfig({ command: "broker", flags, env });
    coordinator = openCoordinator(config);
    acquaintance = new Acquaintance(config, { node: "a test" });
  });

  after(async () => {
    if (skip) return;
    for (const script of scripts.values()) await script.kill("SIGKILL");
    for (const peer of peers.values()) peer.close();
    await coordinator.close();
    await etcd.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it("found their group and take publishes", async () => {
    for (const node of NODES) start(node);
    await whole();
    await ask((broker) => broker.topics.put("orders", TOPIC));
    for (let i = 0; i < 50; i++) await publish();
  });

  it("elect another when the leader is killed, and lose nothing", async (context) => {
    for (let round = 0; round < 2; round++) {
      const leader = (await view())?.leader?.node as string;
      await scripts.get(leader)?.kill("SIGKILL");
      const startedAt = performance.now();
      await publish();
      const tookMs = Math.round(performance.now() - startedAt);
      context.diagnostic(`the next publish was answered after ${tookMs} ms`);
      assert(tookMs < 10_000, `it took ${tookMs} ms`);
      for (let i = 0; i < 20; i++) await publish();
      start(leader);
      await whole();
    }
    const page = await ask((broker) =>
      broker.messages.read({
        topic: "orders",
        start: { kind: "earliest" },
        limit: 1000,
        maxBytes: 1024 * 1024,
        waitMs: 0,
      }),
    );
    const held = page.messages.map(({ payload }) => decodeUtf8(payload));
    for (const text of acked) {
      assert(
        held.some((payload) => payload.endsWith(text)),
        `${text} was answered and is lost`,
      );
    }
  });

  it("hand over when the leader is told to stop", async (context) => {
    const leader = (await view())?.leader?.node as string;
    const startedAt = performance.now();
    const exited = scripts.get(leader)?.kill("SIGTERM");
    await publish();
    context.diagnostic(
      `the next publish was answered after ${Math.round(performance.now() - startedAt)} ms`,
    );
    const exit = await exited;
    assert.deepEqual(exit, { code: 0, signal: null });
    assert(performance.now() - startedAt < 10_000);
    start(leader);
    await whole();
  });
});
