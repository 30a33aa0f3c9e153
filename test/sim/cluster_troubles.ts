/**
 * What goes wrong in a simulated cluster, and when. A seed draws which kinds of
 * trouble its history has; each then comes at moments of its own.
 *
 * The atlas: a disk is lost, harmed or fails only while all others are well and one
 * of them, a member of the SyncStateSet, has all that is confirmed: of what all
 * copies lost nothing can be kept.
 *
 * @module
 */

import type { Prng } from "../../storage/base/prng.ts";
import { MS } from "./cluster_kernel.ts";
import type { SimNode } from "./cluster_node.ts";
import type { ClusterWorld } from "./cluster_world.ts";

type Trouble = (world: ClusterWorld, troubles: Troubles) => void;

export class Troubles {
  readonly #world: ClusterWorld;
  readonly prng: Prng;
  readonly #kinds: readonly Trouble[];
  readonly #everyMs: number;
  #stopped = false;
  /** Directed links, and until when they are cut. */
  readonly #cuts = new Map<string, number>();
  /** In a thousand. */
  readonly loses: number;
  readonly repeats: number;
  readonly holdsBack: number;
  readonly losesWatch: number;
  readonly agesWatch: number;
  readonly latencyUs: number;
  readonly watchLagUs: number;
  readonly crashesInSteps: boolean;

  constructor(world: ClusterWorld, prng: Prng) {
    this.#world = world;
    this.prng = prng;
    this.loses = prng.pick([0, 0, 10, 100]);
    this.repeats = prng.pick([0, 0, 30]);
    this.holdsBack = prng.pick([0, 0, 5, 40, 150]);
    this.losesWatch = prng.pick([0, 0, 300]);
    this.agesWatch = prng.pick([0, 0, 300]);
    this.latencyUs = prng.pick([500, 2000, 20_000]);
    this.watchLagUs = prng.pick([5, 50, 2000]) * MS;
    this.crashesInSteps = prng.chance(30);
    this.#everyMs = prng.pick([150, 400, 1000]);
    const share = prng.pick([25, 50, 80]);
    this.#kinds = TROUBLES.filter(() => prng.chance(share));
  }

  start(): void {
    if (this.#kinds.length === 0) return;
    const again = () => {
      if (this.#stopped) return;
      this.prng.pick(this.#kinds)(this.#world, this);
      this.#world.kernel.after(this.prng.below(2 * this.#everyMs) * MS, again);
    };
    this.#world.kernel.after(this.prng.below(1500) * MS, again);
  }

  stop(): void {
    this.#stopped = true;
    this.#cuts.clear();
    for (const node of this.#world.nodes) {
      node.slowUntil = 0;
      node.failSync = false;
    }
  }

  cuts(from: string, to: string): boolean {
    return (this.#cuts.get(`${from}>${to}`) ?? 0) > this.#world.kernel.now;
  }

  cut(from: string, to: string, forMs: number): void {
    this.#cuts.set(`${from}>${to}`, this.#world.kernel.now + forMs * MS);
  }

  /** Some while: mostly short, at times longer than any patience in the core. */
  while(): number {
    return this.prng.below(this.prng.pick([300, 1500, 7000, 7000]));
  }

  victim(): SimNode {
    const { nodes } = this.#world;
    const leader = nodes.find(({ replica }) => replica?.leads);
    return leader && this.prng.chance(50) ? leader : this.prng.pick(nodes);
  }

  /** Whether a copy may go: another member has everything. */
  spares(victim: SimNode): boolean {
    const { nodes, etcd, oracle } = this.#world;
    const { last } = oracle;
    if (nodes.some((node) => node !== victim && node.tainted)) return false;
    return nodes.some((node) => {
      const entry = etcd.state.syncSet.find((member) => member.node === node.name);
      if (node === victim || node.tainted) return false;
      return entry?.disk === node.disk.id && (!last || node.disk.keeps(last));
    });
  }
}

function kill(world: ClusterWorld, troubles: Troubles): void {
  const victim = troubles.victim();
  if (!victim.up) return;
  world.saw("kill");
  victim.kill();
  world.oracle.diskChanged(`a kill of ${victim.name}`);
}

function cutPower(world: ClusterWorld, troubles: Troubles): void {
  const victim = troubles.victim();
  if (!victim.up) return;
  world.saw("power cut of one");
  victim.losePower();
  world.oracle.diskChanged(`a power cut of ${victim.name}`);
}

function cutAllPower(world: ClusterWorld, troubles: Troubles): void {
  if (troubles.prng.chance(60)) return;
  world.saw("power cut of all");
  for (const node of world.nodes) node.losePower();
  world.oracle.diskChanged("a power cut of all");
}

function pause(world: ClusterWorld, troubles: Troubles): void {
  world.saw("pause");
  const victim = troubles.victim();
  const until = world.kernel.now + troubles.while() * MS;
  victim.pausedUntil = Math.max(victim.pausedUntil, until); // what waits for its end waits for this one
}

function cutLink(world: ClusterWorld, troubles: Troubles): void {
  const { prng } = troubles;
  const [one, other] = [troubles.victim().name, prng.pick(world.nodes).name];
  if (one === other) return;
  world.saw("link cut");
  const forMs = troubles.while();
  troubles.cut(one, other, forMs);
  if (prng.chance(70)) troubles.cut(other, one, forMs);
}

function isolate(world: ClusterWorld, troubles: Troubles): void {
  const victim = troubles.victim().name;
  const peersMs = troubles.while();
  const etcdMs = troubles.prng.pick([0, peersMs, troubles.while()]);
  world.saw("node cut off");
  for (const name of [...world.nodes.map(({ name }) => name), "etcd"]) {
    const forMs = name === "etcd" ? etcdMs : peersMs;
    troubles.cut(victim, name, forMs);
    troubles.cut(name, victim, forMs);
  }
}

function cutFromEtcd(world: ClusterWorld, troubles: Troubles): void {
  world.saw("node cut off from the coordinator");
  const victim = troubles.victim().name;
  const forMs = troubles.while();
  if (troubles.prng.chance(70)) troubles.cut(victim, "etcd", forMs);
  if (troubles.prng.chance(70)) troubles.cut("etcd", victim, forMs);
}

function stopEtcd(world: ClusterWorld, troubles: Troubles): void {
  if (!world.etcd.up) return;
  world.saw("coordinator down");
  world.etcd.up = false;
  world.kernel.after(troubles.while() * MS, () => world.etcd.restart(world.kernel.now / MS));
}

function forget(world: ClusterWorld, troubles: Troubles): void {
  if (world.etcd.amnesia || troubles.prng.chance(60)) return;
  world.saw("coordinator forgot the state");
  world.etcd.amnesia = true;
  world.kernel.after(troubles.while() * MS, () => {
    world.etcd.amnesia = false;
  });
}

function slowDisk(world: ClusterWorld, troubles: Troubles): void {
  world.saw("slow disk");
  troubles.victim().slowUntil = world.kernel.now + troubles.while() * MS;
}

function failDisk(_world: ClusterWorld, troubles: Troubles): void {
  const victim = troubles.victim();
  if (victim.up) victim.failSync = true;
}

function decay(_world: ClusterWorld, troubles: Troubles): void {
  const victim = troubles.victim();
  if (!victim.disk.failed && troubles.spares(victim)) victim.decay();
}

function loseDisk(world: ClusterWorld, troubles: Troubles): void {
  const victim = troubles.victim();
  if (!troubles.spares(victim)) return;
  world.saw("disk lost");
  victim.wipe();
}

function trim(_world: ClusterWorld, troubles: Troubles): void {
  troubles.victim().trim();
}

/** The leader hands over, stops and comes back. */
function drain(world: ClusterWorld, troubles: Troubles): void {
  const victim = troubles.victim();
  if (!victim.up || victim.draining || victim.paused) return;
  victim.drain();
  const { life } = victim;
  world.kernel.after(troubles.prng.below(2000) * MS, () => {
    if (victim.life === life) victim.leave();
  });
}

const TROUBLES: readonly Trouble[] = [
  kill,
  kill,
  cutPower,
  cutAllPower,
  pause,
  pause,
  cutLink,
  cutLink,
  isolate,
  isolate,
  cutFromEtcd,
  stopEtcd,
  forget,
  slowDisk,
  failDisk,
  decay,
  loseDisk,
  trim,
  drain,
];
