/**
 * The network a cluster under test runs in: a namespace with an address of its own
 * for each node and for etcd, on a bridge; the clients and gateways are outside, at
 * the bridge's own address. Where that is not to be had, everything is on loopback
 * and nothing can be cut.
 *
 *   n1 ──┐
 *   n2 ──┼── bridge ── clients, gateways
 *   n3 ──┤
 *   etcd ┘
 *
 * A cut has a direction: from one to the other frames go to an address that nobody
 * has, which no end is told of. It takes nothing but `ip`: no packet filter.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import process from "node:process";
import { needs } from "../fakes/needs.ts";
import { freePort } from "../fakes/etcd_server.ts";
import { sh } from "./own_disk.ts";

/** Of whoever starts things and asks: the namespace this process is in. */
export const OUTSIDE = "outside";

export interface Place {
  readonly host: string;
  readonly port: number;
}

export interface ClusterNet {
  /** Whether links can be cut. */
  readonly cuts: boolean;
  /** Where `name` listens. */
  place(name: string): Place;
  /** What to start its program with. */
  under(name: string): readonly string[];
  /** From now on nothing comes from `from` to `to`. */
  cut(from: string, to: string): void;
  heal(from: string, to: string): void;
  /** Whether a connection between the two cannot be made, for want of an answer. */
  isCut(from: string, to: string): boolean;
  /** Resets the connections of `name`. @returns how many. */
  reset(name: string): number;
  /** Bounds what leaves `name`, in kilobits a second; 0: no more. @returns packets that had to wait. */
  throttle(name: string, kilobits: number): number;
  close(): void;
}

/** Why there are no namespaces here; false where there are. */
export function cannotNamespace(): string | false {
  if (process.getuid?.() !== 0) return "needs root, to make network namespaces";
  const missing = needs("ip", "nsenter", "bash", "timeout");
  if (missing !== false) return missing;
  const name = `tgtry${process.pid}`;
  const made = spawnSync("ip", ["netns", "add", name]);
  if (made.status !== 0) return `cannot make a network namespace: ${String(made.stderr).trim()}`;
  sh("ip", "netns", "del", name);
  return false;
}

const ETCD_PORT = 2379;
const NODE_PORT = 7001;
/** Of no card there is. */
const NOWHERE = "02:00:00:00:00:99";
/** What `timeout` ends with when it had to. */
const TIMED_OUT = 124;

/** Everything on loopback, each with a port of its own. */
export async function openLoopback(names: readonly string[]): Promise<ClusterNet> {
  const places = new Map<string, Place>();
  for (const name of names) places.set(name, { host: "127.0.0.1", port: await freePort() });
  const no = (): never => {
    throw new Error("Cannot cut a link: everything is on loopback");
  };
  return {
    cuts: false,
    place: (name) => places.get(name) as Place,
    under: () => [],
    cut: no,
    heal: no,
    isCut: no,
    reset: no,
    throttle: no,
    close: () => {},
  };
}

/** A namespace for each of `names`. */
export function openNamespaces(names: readonly string[]): ClusterNet {
  return new Namespaces(names);
}

class Namespaces implements ClusterNet {
  readonly cuts = true;
  readonly #id = process.pid % 62_000;
  readonly #names: readonly string[];
  readonly #bridge: string;
  readonly #atExit = () => this.close();
  #closed = false;

  constructor(names: readonly string[]) {
    this.#names = names;
    this.#bridge = `tgbr${this.#id}`;
    process.on("exit", this.#atExit);
    sh("ip", "link", "add", this.#bridge, "type", "bridge");
    sh("ip", "link", "set", this.#bridge, "up");
    sh("ip", "addr", "add", `${this.#address(OUTSIDE)}/24`, "dev", this.#bridge);
    for (const name of names) this.#add(name);
  }

  #add(name: string): void {
    const namespace = this.#namespace(name);
    const link = `tgv${this.#id}n${this.#names.indexOf(name)}`;
    sh("ip", "netns", "add", namespace);
    sh("ip", ...`link add ${link} type veth peer name eth0 netns ${namespace}`.split(" "));
    sh("ip", "link", "set", link, "master", this.#bridge, "up");
    sh("ip", "-n", namespace, "addr", "add", `${this.#address(name)}/24`, "dev", "eth0");
    sh("ip", "-n", namespace, "link", "set", "eth0", "up");
    sh("ip", "-n", namespace, "link", "set", "lo", "up");
  }

  #namespace(name: string): string {
    return `tg${this.#id}-${name}`;
  }

  #address(name: string): string {
    const last = name === OUTSIDE ? 254 : this.#names.indexOf(name) + 1;
    return `10.${10 + (this.#id >> 8)}.${this.#id & 255}.${last}`;
  }

  place(name: string): Place {
    return { host: this.#address(name), port: name === "etcd" ? ETCD_PORT : NODE_PORT };
  }

  /** Not `ip netns exec`: it would give each a view of the mounts too, and keep disks from being unmounted. */
  under(name: string): readonly string[] {
    return name === OUTSIDE ? [] : ["nsenter", `--net=/run/netns/${this.#namespace(name)}`];
  }

  /** `ip` in the namespace of `name`, and its device there. */
  #in(name: string): { readonly ip: readonly string[]; readonly device: string } {
    if (name === OUTSIDE) return { ip: [], device: this.#bridge };
    return { ip: ["-n", this.#namespace(name)], device: "eth0" };
  }

  cut(from: string, to: string): void {
    const { ip, device } = this.#in(from);
    const entry = [this.#address(to), "lladdr", NOWHERE, "dev", device, "nud", "permanent"];
    sh("ip", ...ip, "neigh", "replace", ...entry);
  }

  heal(from: string, to: string): void {
    const { ip, device } = this.#in(from);
    spawnSync("ip", [...ip, "neigh", "del", this.#address(to), "dev", device]); // it may be whole
  }

  isCut(from: string, to: string): boolean {
    const { host, port } = this.place(to);
    const connect = ["timeout", "0.4", "bash", "-c", `exec 3<>/dev/tcp/${host}/${port}`];
    const [program, ...args] = [...this.under(from), ...connect];
    return spawnSync(program as string, args).status === TIMED_OUT;
  }

  reset(name: string): number {
    const [program, ...args] = [
      ...this.under(name),
      "ss",
      "-K",
      "-H",
      "-t",
      "state",
      "established",
    ];
    const { stdout } = spawnSync(program, args, { encoding: "utf8" });
    return stdout.trim().split("\n").filter(Boolean).length;
  }

  throttle(name: string, kilobits: number): number {
    const tc = (...args: readonly string[]) =>
      spawnSync("tc", ["-n", this.#namespace(name), ...args], { encoding: "utf8" });
    const shown = tc("-s", "qdisc", "show", "dev", "eth0").stdout;
    tc("qdisc", "del", "dev", "eth0", "root");
    if (kilobits > 0) {
      const bound = `rate ${kilobits}kbit burst 16kb latency 400ms`.split(" ");
      const { status, stderr } = tc("qdisc", "add", "dev", "eth0", "root", "tbf", ...bound);
      if (status !== 0) throw new Error(`Cannot throttle ${name}: ${stderr}`);
    }
    return Number(/tbf[^]*overlimits (\d+)/.exec(shown)?.[1] ?? 0);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    process.off("exit", this.#atExit);
    for (const name of this.#names) spawnSync("ip", ["netns", "del", this.#namespace(name)]);
    spawnSync("ip", ["link", "del", this.#bridge]);
  }
}
