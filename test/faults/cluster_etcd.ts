/**
 * The etcd of a broker group under test: a process of one node in a place of its own,
 * over one data directory, however often it is killed.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { etcdArguments, freePort } from "../fakes/etcd_server.ts";
import type { ClusterNet } from "./cluster_net.ts";

export const ETCD = "etcd";

export function etcdUrl(net: ClusterNet): string {
  const { host, port } = net.place(ETCD);
  return `http://${host}:${port}`;
}

export class EtcdNode {
  readonly #net: ClusterNet;
  readonly #folder: string;
  readonly #peerPort: number;
  #child: ChildProcess | undefined;

  private constructor(net: ClusterNet, folder: string, peerPort: number) {
    this.#net = net;
    this.#folder = folder;
    this.#peerPort = peerPort;
  }

  static async open(net: ClusterNet, folder: string): Promise<EtcdNode> {
    return new EtcdNode(net, folder, await freePort());
  }

  start(): void {
    const { host } = this.#net.place(ETCD);
    const peer = `http://${host}:${this.#peerPort}`;
    const args = etcdArguments({ url: etcdUrl(this.#net), peer, folder: this.#folder });
    const [program = "", ...more] = [...this.#net.under(ETCD), "etcd", ...args];
    this.#child = spawn(program, more, { stdio: "ignore" });
    const child = this.#child;
    const end = () => void child.kill("SIGKILL");
    process.on("exit", end);
    child.on("exit", () => void process.off("exit", end));
  }

  signal(name: NodeJS.Signals): void {
    process.kill(this.#child?.pid ?? 0, name);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }
}
