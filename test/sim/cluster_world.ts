/**
 * A broker group of one to five nodes through power cuts, kills, pauses, clocks,
 * failing disks, and networks that lose, repeat, hold back and cut. One seed is
 * one history.
 *
 *   boot ▶ trouble, some seconds of it ▶ everything heals ▶ the group must be
 *   whole again ▶ one of them drains ▶ all logs are compared
 *
 * The real replication core (src/cluster/replica.ts) runs on each node, in a
 * simulated shell (cluster_node.ts); cluster_oracle.ts watches every step. Each
 * seed draws its own mix of troubles, so that rare pairs meet often somewhere.
 *
 * @module
 */

import assert from "node:assert/strict";
import { foundingState } from "../../src/cluster/group_state.ts";
import type { Effect, ReplicaEvent } from "../../src/cluster/effects.ts";
import type { Message } from "../../src/cluster/messages.ts";
import { NO_PLANTS, type Plants } from "../../src/cluster/plants.ts";
import { Prng } from "../../storage/base/prng.ts";
import { SimEtcd } from "./cluster_etcd.ts";
import { BrokerLoad } from "./cluster_load.ts";
import { Kernel, MS } from "./cluster_kernel.ts";
import { SimNode } from "./cluster_node.ts";
import { ClusterOracle } from "./cluster_oracle.ts";
import { Troubles } from "./cluster_troubles.ts";

/** What is worth seeing at least once in many seeds. */
export const SIGHTS = [
  "led",
  "acknowledged",
  "read",
  "kill",
  "power cut of one",
  "power cut of all",
  "stopped inside a step",
  "pause",
  "link cut",
  "node cut off",
  "node cut off from the coordinator",
  "coordinator down",
  "coordinator forgot the state",
  "message held back",
  "message twice",
  "outcome of a swap unknown",
  "slow disk",
  "sync failed",
  "bytes decayed",
  "bytes mended",
  "disk lost",
  "log cut",
  "log trimmed",
  "snapshot taken",
  "drained",
  "left",
  "lease ran out before a read",
  "published to two leaders",
  "set smaller than the group",
  "group of five",
] as const;

/** And where a broker is on it. */
export const BROKER_SIGHTS = [
  "granted",
  "granted again",
  "granted by another leader",
  "settled with another leader",
  "revealed",
  "committed",
  "clock set",
] as const;
export type Sight = (typeof SIGHTS)[number] | (typeof BROKER_SIGHTS)[number];

/** Mistakes of the stand-in for the broker: see cluster_plants.ts. */
export interface StandInPlants {
  readonly offsetsFromConfirm?: boolean;
  readonly positionsBeside?: boolean;
  /** Lets answers out that rest on nothing new, sure or not that it still leads. */
  readonly answersUnsure?: boolean;
}

export interface History {
  readonly trace: number;
  readonly seen: ReadonlySet<Sight>;
  readonly events: number;
}

/** As NTP leaves it. */
const SKEW_MS_MAX = 200;
const HOUR_MS = 3_600_000;
const ETCD_PATIENCE = 600 * MS;
const HEAL_WITHIN = 30_000 * MS;

/** Is told of every step: for replays. */
export type Tell = (node: string, event: ReplicaEvent, effects: readonly Effect[]) => void;

/** @throws an AssertionError that says what did not hold. */
export function simulate(
  seed: number,
  {
    plants = NO_PLANTS,
    tell,
    broker = false,
  }: { plants?: Plants & StandInPlants; tell?: Tell; broker?: boolean } = {},
): History {
  const world = new ClusterWorld(seed, { plants, broker });
  world.tell = tell;
  try {
    world.run();
  } catch (error) {
    const at = (world.kernel.now / MS).toFixed(1);
    throw new Error(`after ${at} ms: ${(error as Error).message}`, { cause: error });
  }
  return { trace: world.kernel.trace, seen: world.seen, events: world.kernel.events };
}

export class ClusterWorld {
  readonly chance: Prng;
  readonly kernel = new Kernel();
  readonly plants: Plants;
  readonly standIn: StandInPlants;
  readonly nodes: readonly SimNode[];
  readonly etcd: SimEtcd;
  readonly oracle: ClusterOracle;
  readonly seen = new Set<Sight>();
  readonly troubles: Troubles;
  tell: Tell | undefined;
  #nextValue = 0;
  #position = 0;
  #healing = false;

  readonly hasBroker: boolean;
  readonly #brokerChance: Prng;
  readonly #load: BrokerLoad;

  constructor(
    seed: number,
    { plants, broker }: { plants: Plants & StandInPlants; broker: boolean },
  ) {
    this.chance = new Prng(seed);
    this.hasBroker = broker;
    this.#brokerChance = new Prng(seed ^ 0xb20ce2);
    this.plants = plants;
    this.standIn = plants;
    const size = this.chance.pick([1, 2, 3, 3, 3, 3, 3, 3, 5, 5]);
    const minSync = this.chance.pick(size === 5 ? [2, 2, 3] : [Math.min(2, size)]);
    this.nodes = Array.from({ length: size }, (_, i) => new SimNode(this, `n${i + 1}`));
    const founder = this.nodes[0] as SimNode;
    this.etcd = new SimEtcd(new Prng(this.chance.word()), foundingState(founder.member, minSync));
    this.oracle = new ClusterOracle({ holders: () => this.nodes, state: () => this.etcd.state });
    this.#load = new BrokerLoad(this.#brokerChance, this.oracle.broker);
    this.troubles = new Troubles(this, new Prng(this.chance.word()));
    if (size === 5) this.saw("group of five");
    this.etcd.onSwap = (swap, by) => this.oracle.swapping(swap, { by, before: this.etcd.state });
    this.etcd.onChange = () => this.#stateChanged();
  }

  get crashesInSteps(): boolean {
    return !this.#healing && this.troubles.crashesInSteps;
  }

  /** How far a node's wall clock is off. */
  skew(): number {
    return this.#brokerChance.below(2 * SKEW_MS_MAX) - SKEW_MS_MAX;
  }

  saw(sight: Sight): void {
    this.seen.add(sight);
  }

  node(name: string): SimNode {
    const found = this.nodes.find((node) => node.name === name);
    assert(found, `there is a node ${name}`);
    return found;
  }

  run(): void {
    for (const node of this.nodes) {
      this.kernel.after(this.chance.below(500 * MS), () => this.boot(node));
    }
    this.#clients();
    this.troubles.start();
    this.kernel.runUntil((3000 + this.chance.below(7000)) * MS);
    this.#heal();
    if (this.nodes.length > 1 && this.chance.chance(50)) this.#drain();
    else if (this.nodes.length > 1) this.#leave();
    if (this.hasBroker) this.#checkBroker();
    this.oracle.finish();
    if (this.oracle.acks > 0) this.saw("acknowledged");
    if (this.oracle.reads > 0) this.saw("read");
  }

  boot(node: SimNode): void {
    if (!node.up) node.boot();
  }

  /** A node went down, for whatever reason: it comes back. */
  stopped(node: SimNode): void {
    const pause = this.chance.pick([0, 200, 1500, 4000]);
    this.kernel.after((pause + this.chance.below(1000)) * MS, () => this.boot(node));
  }

  crash(node: SimNode): void {
    if (this.chance.chance(50)) node.kill();
    else node.losePower();
    this.oracle.diskChanged(`a crash of ${node.name}`);
  }

  // Clients

  #clients(): void {
    const pace = this.chance.pick([8, 20, 60]);
    const again = () => {
      this.#act();
      this.kernel.after(this.chance.below(2 * pace * MS), again);
    };
    again();
  }

  #act(): void {
    const leaders = this.nodes.filter(({ replica }) => replica?.leads);
    if (leaders.length > 1) this.saw("published to two leaders");
    for (const node of leaders) {
      if (this.hasBroker) this.#serve(node);
      // Where there is a broker the stand-in does little, so that at times nothing is on its way.
      if (!this.hasBroker || this.#brokerChance.chance(20)) this.#standInActs(node);
    }
    const { syncSet } = this.etcd.state;
    if (this.etcd.state.epoch > 1 && syncSet.length < this.nodes.length) {
      this.saw("set smaller than the group");
    }
  }

  #serve(node: SimNode): void {
    for (let left = 2; left > 0; left--) node.serve(this.#load);
    if (this.#brokerChance.below(200) > 0 || this.#healing) return;
    this.saw("clock set");
    node.clockSetBy = this.#brokerChance.pick([HOUR_MS, -HOUR_MS, 0]);
  }

  /** All that was ever given out and not acknowledged the last leader still knows of, and nothing else. */
  #checkBroker(): void {
    const { broker } = this.oracle;
    if (broker.grants > 0) this.saw("granted");
    if (broker.regrants > 0) this.saw("granted again");
    if (broker.takenOver > 0) this.saw("granted by another leader");
    if (broker.settledAcross > 0) this.saw("settled with another leader");
    if (broker.reveals > 0) this.saw("revealed");
    if (broker.commits > 0) this.saw("committed");
    const leader = this.nodes.find(({ replica }) => replica?.leads && replica.serves);
    if (!leader?.open || leader.unanswered > 0) return;
    assert.deepEqual([...leader.open].toSorted(), [...broker.open].toSorted(), "I24: what is out");
  }

  #standInActs(node: SimNode): void {
    const roll = this.chance.below(10);
    if (roll < 6) node.publish(this.#nextValue++);
    else if (roll < 7) node.storePosition(++this.#position);
    else node.read();
  }

  // Network

  connected(from: string, to: string): boolean {
    return this.#healing || !this.troubles.cuts(from, to);
  }

  send(from: SimNode, to: string, message: Message): void {
    const target = this.node(to);
    const deliver = () => {
      if (target.up) target.receive(message, from.name);
    };
    const { loses, repeats } = this.troubles;
    if (!this.connected(from.name, to) || (!this.#healing && this.chance.below(1000) < loses))
      return;
    this.kernel.after(this.#latency(), deliver);
    if (this.#healing || this.chance.below(1000) >= repeats) return;
    this.saw("message twice");
    this.kernel.after(this.#latency(), deliver);
  }

  #latency(): number {
    const usual = 100 + this.chance.below(this.troubles.latencyUs);
    if (this.#healing || this.chance.below(1000) >= this.troubles.holdsBack) return usual;
    this.saw("message held back");
    return usual + this.chance.below(8000 * MS);
  }

  // The coordinator

  /** @param answer is given undefined when none came in time: it may yet be done. */
  askEtcd<T>(
    node: SimNode,
    ask: (etcd: SimEtcd, now: number) => T,
    answer: (value: T | undefined) => void,
  ): void {
    const { life, name } = node;
    let answered = false;
    const done = (value: T | undefined) => {
      if (answered) return;
      answered = true;
      answer(value);
    };
    node.later(ETCD_PATIENCE, () => done(undefined), life);
    const lost = () => !this.#healing && this.chance.below(1000) < this.troubles.loses;
    if (!this.connected(name, "etcd") || lost()) return;
    this.kernel.after(this.#latency(), () => {
      if (!this.etcd.up) return;
      const value = ask(this.etcd, Math.floor(this.kernel.now / MS));
      if (!this.connected("etcd", name) || lost()) return;
      this.kernel.after(this.#latency(), () => node.later(0, () => done(value), life));
    });
  }

  #stateChanged(): void {
    this.oracle.swapped();
    for (const node of this.nodes) {
      this.settle(node);
      if (!this.#healing && this.chance.below(1000) < this.troubles.losesWatch) continue;
      const old = this.chance.below(1000) < this.troubles.agesWatch;
      const sighting = (old && this.etcd.past.at(-1)) || this.etcd.look(this.kernel.now / MS);
      const lag = this.troubles.watchLagUs;
      this.kernel.after(this.chance.below(lag), () => {
        if (!node.up || !this.connected("etcd", node.name)) return;
        node.later(0, () => node.step({ kind: "hint", sighting }));
      });
    }
  }

  /** A node that was harmed is well again when it is a member, whole, in its present life. */
  settle(node: SimNode): void {
    if (!node.tainted || node.disk.damaged.size > 0) return;
    const member = this.etcd.state.syncSet.find(({ boot }) => boot === node.member.boot);
    if (!member || !node.up) return;
    node.tainted = false;
    node.disk.failed = false;
  }

  // The end

  #heal(): void {
    this.#healing = true;
    this.troubles.stop();
    this.etcd.amnesia = false;
    if (!this.etcd.up) this.etcd.restart(this.kernel.now / MS);
    const deadline = this.kernel.now + HEAL_WITHIN;
    while (!this.#whole()) {
      assert(this.kernel.now < deadline, `the group does not heal: ${this.describe()}`);
      this.kernel.runUntil(this.kernel.now + 50 * MS);
    }
  }

  #whole(): boolean {
    const leaders = this.nodes.filter(({ replica }) => replica?.leads);
    const [leader] = leaders;
    if (leaders.length !== 1 || !leader?.replica?.admits || !leader.replica.serves) return false;
    const { syncSet, minSync } = this.etcd.state;
    const current = this.nodes.every((node) => {
      this.settle(node);
      return (
        node.up &&
        !node.paused &&
        !node.draining && // it will leave soon
        !node.tainted &&
        syncSet.some(({ boot }) => boot === node.member.boot)
      );
    });
    if (!current || this.nodes.some(({ disk }) => disk.syncedEnd < disk.end)) return false;
    if (syncSet.length !== this.nodes.length || syncSet.length < minSync) return false;
    return this.nodes.every(({ disk }) => disk.holds(this.oracle.last ?? (disk.last as never)));
  }

  describe(): string {
    const nodes = this.nodes.map(({ name, replica, disk, tainted, member }) => {
      const role = !replica ? "down" : replica.leads ? "leads" : "follows";
      const log = `${disk.start}-${disk.syncedEnd}-${disk.end}`;
      const more = `${tainted ? " tainted" : ""}${disk.damaged.size > 0 ? " damaged" : ""}`;
      const promise = disk.promised
        ? ` promised ${disk.promised.epoch}@${disk.promised.revision}`
        : "";
      return `${name} ${role} epoch ${replica?.epoch} ${log}${more}${promise} ${member.boot}`;
    });
    const { epoch, leader, syncSet } = this.etcd.state;
    const set = syncSet.map(({ boot }) => boot).join(" ");
    const state = `epoch ${epoch} of ${leader?.boot} set [${set}] revision ${this.etcd.revision}`;
    return `${state}; ${nodes.join("; ")}; confirmed ${this.oracle.end}`;
  }

  /** I36: a planned handover costs one election and leaves no answer owing. */
  #drain(): void {
    const leader = this.nodes.find(({ replica }) => replica?.leads) as SimNode;
    const before = this.oracle.elections;
    leader.drain();
    this.saw("drained");
    const deadline = this.kernel.now + 5000 * MS;
    while (leader.replica?.leads) {
      assert(this.kernel.now < deadline, "I36: a drained leader hands over");
      this.kernel.runUntil(this.kernel.now + 5 * MS);
    }
    assert.equal(leader.unanswered, 0, "I36: a drain leaves no answer owing");
    const led = () =>
      this.nodes.some((node) => node !== leader && node.replica?.leads && node.replica.serves);
    while (!led()) {
      assert(this.kernel.now < deadline, "I36: another leads after a drain");
      this.kernel.runUntil(this.kernel.now + 5 * MS);
    }
    assert.equal(this.oracle.elections, before + 1, "I36: a drain is one election");
  }

  /** A follower that is to stop is done without first, by a group that can; publishes go on. */
  #leave(): void {
    const leader = this.nodes.find(({ replica }) => replica?.leads) as SimNode;
    const follower = this.chance.pick(this.nodes.filter((node) => node !== leader));
    const { boot } = follower.member;
    const spared = this.etcd.state.syncSet.length > this.etcd.state.minSync;
    const before = this.oracle.elections;
    follower.drain();
    const deadline = this.kernel.now + 3000 * MS;
    const counts = () => this.etcd.state.syncSet.some((member) => member.boot === boot);
    while (counts() && this.kernel.now < deadline) {
      this.kernel.runUntil(this.kernel.now + 5 * MS);
      assert(leader.replica?.admits, "I36: publishes are taken while a follower leaves");
    }
    assert.equal(counts(), !spared, "I36: the set is without who left, unless it needs it");
    assert.equal(this.oracle.elections, before, "I36: a follower leaves without an election");
    if (spared) this.saw("left");
  }
}
