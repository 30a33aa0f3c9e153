/**
 * A broker group under test: etcd, three brokers and the gateways in front of them,
 * each a process as an operator starts it, in a network of their own (cluster_net.ts).
 * Who leads, who counts and who lives is read from the coordinator, as anybody may.
 *
 * @module
 */

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { systemClock } from "../../storage/base/clock_node.ts";
import { EtcdCoordinator } from "../../src/cluster/coordinator_etcd.ts";
import { EtcdClient } from "../../src/cluster/etcd_client.ts";
import type { EtcdTransport } from "../../src/cluster/etcd_transport.ts";
import { openEtcdTransport } from "../../src/cluster/etcd_transport_node.ts";
import { sameBoot } from "../../src/cluster/group_state.ts";
import type { Sighting } from "../../src/cluster/coordinator.ts";
import { type RuntimeName, type Script, spawnScript, until } from "../e2e/server.ts";
import { request } from "../e2e/http.ts";
import { freePort } from "../fakes/etcd_server.ts";
import { faketimeLibrary } from "../fakes/faketime.ts";
import { EtcdNode, etcdUrl } from "./cluster_etcd.ts";
import type { ClusterNet } from "./cluster_net.ts";
import type { OwnDisk } from "./own_disk.ts";

export const NODES = ["n1", "n2", "n3"] as const;
export const CLUSTER = "faults";
export const GROUP = "g1";
const SECRET = "a secret of this campaign, of 32 bytes or more";
const READY_MS = 60_000;

export interface GroupOptions {
  readonly runtime: RuntimeName;
  readonly dir: string;
  readonly net: ClusterNet;
  readonly gateways: number;
  /** Three when absent. */
  readonly nodes?: readonly string[] | undefined;
  /** Each node's data on a disk of its own, made there. */
  readonly openDisk?: ((home: string) => OwnDisk) | undefined;
  /** Clocks of nodes can be set. */
  readonly clocks: boolean;
  /** More settings of a node, as flags. */
  readonly flags?: (name: string) => readonly string[];
}

/** Processes of Tidegate, one after the other, over one data directory. */
export class BrokerNode {
  readonly name: string;
  readonly dataDir: string;
  readonly disk: OwnDisk | undefined;
  readonly #options: GroupOptions;
  readonly #clockFile: string;
  #script: Script | undefined;
  #ended = false;
  #output = "";

  constructor(name: string, options: GroupOptions) {
    this.name = name;
    this.#options = options;
    const home = join(options.dir, name);
    mkdirSync(home, { recursive: true });
    this.disk = options.openDisk?.(home);
    this.dataDir = join(home, "disk", "data");
    this.#clockFile = join(home, "clock");
    this.setClock(0);
  }

  get running(): boolean {
    return this.#script !== undefined && !this.#ended;
  }

  get pid(): number {
    return this.#script?.child.pid ?? 0;
  }

  /** Resolves when the process that runs now is gone. */
  get exited(): Promise<unknown> {
    return this.#script?.exited ?? Promise.resolve();
  }

  /** What it wrote, over all its lives. */
  get output(): string {
    return this.#output + (this.#script?.output() ?? "");
  }

  /** @param under a program that starts it in its own place: a tracer. */
  start(under: readonly string[] = []): void {
    assert(!this.running, `${this.name} runs already`);
    const { net, runtime, clocks, flags = () => [] } = this.#options;
    const { host, port } = net.place(this.name);
    const place = ["--data-dir", this.dataDir, "--rpc-host", host, "--rpc-port", `${port}`];
    this.#output = this.output;
    this.#ended = false;
    const script = spawnScript(runtime, "src/main.ts", {
      args: ["broker", "--cluster", CLUSTER, "--group", GROUP, "--node", this.name].concat(
        place,
        ["--etcd", etcdUrl(net)],
        this.#options.nodes?.length === 1 ? ["--min-sync", "1"] : [],
        flags(this.name),
      ),
      env: { ...SETTINGS, ...(clocks ? this.#clock() : {}) },
      under: [...net.under(this.name), ...under],
    });
    this.#script = script;
    void script.exited.then(() => {
      if (this.#script === script) this.#ended = true;
    });
  }

  #clock(): Record<string, string> {
    return {
      LD_PRELOAD: faketimeLibrary(),
      FAKETIME_TIMESTAMP_FILE: this.#clockFile,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    };
  }

  /** What it takes for the time of day is off by so much from now on, and goes at that rate. */
  setClock(seconds: number, rate = 1): void {
    const speed = rate === 1 ? "" : ` x${rate}`;
    writeFileSync(this.#clockFile, `${seconds < 0 ? "" : "+"}${seconds}s${speed}\n`);
  }

  /** Whether its clock is one that can be set. */
  get hasOwnClock(): boolean {
    return readFileSync(`/proc/${this.pid}/maps`, "utf8").includes("libfaketime");
  }

  signal(name: NodeJS.Signals): void {
    if (this.running) process.kill(this.pid, name);
  }

  /** Stopped, as the system sees it. */
  get isPaused(): boolean {
    const status = readFileSync(`/proc/${this.pid}/stat`, "utf8");
    return status.slice(status.lastIndexOf(")")).startsWith(") T");
  }

  /** Resolves when it is gone. */
  async kill(): Promise<void> {
    if (!this.running) return;
    this.signal("SIGKILL");
    await this.exited;
  }
}

const SETTINGS: Readonly<Record<string, string>> = { TIDEGATE_CLUSTER_SECRET: SECRET };

export class BrokerGroup {
  readonly nodes: readonly BrokerNode[];
  readonly net: ClusterNet;
  readonly etcd: EtcdNode;
  readonly #options: GroupOptions;
  readonly #coordinator: EtcdCoordinator;
  readonly #transport: EtcdTransport;
  readonly #gateways: { readonly script: Script; readonly port: number }[] = [];
  #lastLeader: string | undefined;

  private constructor(options: GroupOptions, etcd: EtcdNode) {
    this.#options = options;
    this.net = options.net;
    this.etcd = etcd;
    this.nodes = (options.nodes ?? NODES).map((name) => new BrokerNode(name, options));
    const transport = openEtcdTransport({ urls: [etcdUrl(options.net)], callMs: 1000 });
    this.#transport = transport;
    const settings = { clock: systemClock, cluster: CLUSTER };
    this.#coordinator = new EtcdCoordinator(new EtcdClient(transport), settings);
  }

  /** Starts everything, and resolves when a gateway says that it is ready. */
  static async open(options: GroupOptions): Promise<BrokerGroup> {
    const etcd = await EtcdNode.open(options.net, join(options.dir, "etcd"));
    const group = new BrokerGroup(options, etcd);
    try {
      etcd.start();
      await until(async () => (await group.look()) !== undefined, "etcd answers", READY_MS);
      for (const node of group.nodes) node.start();
      await group.whole(READY_MS);
      for (let left = options.gateways; left > 0; left--) await group.#startGateway();
      return group;
    } catch (error) {
      const wrote = group.describe();
      await group.close();
      const why = `Cannot start a group: ${(error as Error).message}\n${wrote}`;
      throw new Error(why, { cause: error });
    }
  }

  async #startGateway(): Promise<void> {
    const port = await freePort();
    const place = ["--host", "127.0.0.1", "--port", String(port)];
    const script = spawnScript(this.#options.runtime, "src/main.ts", {
      args: ["gateway", "--cluster", CLUSTER, "--etcd", etcdUrl(this.net), ...place],
      env: SETTINGS,
    });
    this.#gateways.push({ script, port });
    const ready = async () => {
      const answer = await request(port, { path: "/readyz" }).catch(() => undefined);
      return answer?.status === 200;
    };
    await until(ready, "a gateway is ready", READY_MS);
  }

  /** Lets go of what etcd remembers of the past. @returns whether it did. */
  async compact(): Promise<boolean> {
    const body = { key: btoa("/"), limit: "1" };
    try {
      const { header } = (await this.#transport.call("/v3/kv/range", body)) as {
        readonly header: { readonly revision: string };
      };
      await this.#transport.call("/v3/kv/compaction", {
        revision: header.revision,
        physical: true,
      });
      return true;
    } catch {
      return false; // compacted up to there already, or away
    }
  }

  /** Runs a command of Tidegate to its end. @throws what it wrote, when it fails. */
  async tidegate(...args: readonly string[]): Promise<void> {
    const script = spawnScript(this.#options.runtime, "src/main.ts", { args });
    const { code } = await script.exited;
    assert.equal(code, 0, `tidegate ${args.join(" ")}\n${script.output()}`);
  }

  /** Runs `tidegate elect` as an operator would. */
  elect(...args: readonly string[]): Script {
    const group = ["--cluster", CLUSTER, "--group", GROUP, "--etcd", etcdUrl(this.net)];
    return spawnScript(this.#options.runtime, "src/main.ts", {
      args: ["elect", ...group, ...args],
      env: SETTINGS,
    });
  }

  get ports(): readonly number[] {
    return this.#gateways.map(({ port }) => port);
  }

  node(name: string): BrokerNode {
    const found = this.nodes.find((node) => node.name === name);
    assert(found, `there is a node ${name}`);
    return found;
  }

  /** Undefined when the coordinator does not answer. */
  async look(): Promise<Sighting | undefined> {
    try {
      const sighting = await this.#coordinator.look(GROUP);
      this.#lastLeader = sighting.state?.leader?.node ?? this.#lastLeader;
      return sighting;
    } catch {
      return undefined;
    }
  }

  /** Who leads, or led when that was last known. */
  async leader(): Promise<BrokerNode> {
    await this.look();
    assert(this.#lastLeader !== undefined, "somebody has led");
    return this.node(this.#lastLeader);
  }

  async followers(): Promise<readonly BrokerNode[]> {
    const leader = await this.leader();
    return this.nodes.filter((node) => node !== leader);
  }

  /** Everybody lives, and all that live count. */
  async isWhole(): Promise<boolean> {
    const sighting = await this.look();
    const { state, live = [] } = sighting ?? {};
    if (!state?.leader || live.length !== this.nodes.length) return false;
    const counts = (one: (typeof live)[number]) =>
      state.syncSet.some((member) => sameBoot(member, one));
    return live.every(counts) && live.some((one) => sameBoot(one, state.leader));
  }

  /** @returns how long it took. */
  async whole(withinMs: number): Promise<number> {
    const startedAt = performance.now();
    await until(() => this.isWhole(), "the group is whole", withinMs);
    return performance.now() - startedAt;
  }

  /** The ends of what everybody wrote. */
  describe(size = 2000): string {
    const parts = this.nodes.map(({ name, output }) => [name, output] as const);
    const gateways = this.#gateways.map(
      ({ script }, i) => [`gateway ${i}`, script.output()] as const,
    );
    return [...parts, ...gateways]
      .map(([name, output]) => `---- ${name} wrote\n${output.slice(-size)}`)
      .join("\n");
  }

  /** Keeps what each wrote beside its data. */
  keepOutput(): void {
    for (const { name, output } of this.nodes) {
      writeFileSync(join(this.#options.dir, `${name}.log`), output);
    }
    for (const [i, { script }] of this.#gateways.entries()) {
      writeFileSync(join(this.#options.dir, `gateway-${i}.log`), script.output());
    }
  }

  async close(): Promise<void> {
    await this.#coordinator.close();
    await Promise.all(this.#gateways.map(({ script }) => script.kill("SIGKILL")));
    for (const node of this.nodes) await node.kill();
    await this.etcd.kill();
    for (const { disk } of this.nodes) {
      await disk?.unmount();
      disk?.close();
    }
  }
}
