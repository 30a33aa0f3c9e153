/**
 * A simulated node takes over the beginning of the leader's log, as a node does between
 * two lives (src/cluster/takeover.ts): it asks, sets its log aside, brings the keys of
 * what is gone piece by piece, and only then has a log again. Each step crosses the
 * network, and whatever fails has it ask anew, perhaps another leader. A stop in the
 * midst leaves a disk with nothing on it that counts.
 *
 * @module
 */

import type { Unit } from "./cluster_disk.ts";
import { MS } from "./cluster_kernel.ts";
import type { SimNode } from "./cluster_node.ts";
import type { ClusterWorld } from "./cluster_world.ts";

const AGAIN = 1000 * MS;
const PIECES = 4;
/** Of so many pieces one is the last that the node sees. */
const STOPS = 6;
/** A piece may be on its way for longer than a leader leads. */
const SLOW_MS = [0, 0, 300, 2500];

interface Given {
  readonly from: SimNode;
  /** The life of the leader that gives. */
  readonly life: number;
  readonly before: Unit | undefined;
  readonly keys: readonly number[];
}

export class SimTakeover {
  readonly #world: ClusterWorld;
  readonly #node: SimNode;
  #over = false;
  #askedOf: SimNode | undefined;

  constructor(world: ClusterWorld, node: SimNode) {
    this.#world = world;
    this.#node = node;
    this.#later(0, () => this.#ask());
  }

  /** The process is gone. */
  stop(): void {
    this.#over = true;
  }

  #later(delayUs: number, body: () => void): void {
    const { kernel } = this.#world;
    const run = (): void => {
      if (this.#over) return;
      if (this.#node.paused) kernel.at(this.#node.pausedUntil, run);
      else body();
    };
    kernel.after(delayUs, run);
  }

  #again(): void {
    this.#later(AGAIN, () => this.#ask());
  }

  #latency(): number {
    return 200 + this.#world.lateChance.below(this.#world.troubles.latencyUs);
  }

  #reaches(other: string): boolean {
    const { name } = this.#node;
    return this.#world.connected(name, other) && this.#world.connected(other, name);
  }

  #ask(): void {
    const { etcd } = this.#world;
    const leader = this.#reaches("etcd") && etcd.up ? etcd.state.leader?.node : undefined;
    if (leader === undefined || leader === this.#node.name) return this.#again();
    this.#later(this.#latency(), () => this.#answer(this.#world.node(leader)));
  }

  #answer(from: SimNode): void {
    if (!this.#gives(from)) return this.#again();
    if (this.#askedOf && this.#askedOf !== from) this.#world.saw("begun anew with another leader");
    this.#askedOf = from;
    const { before, keys } = from.disk;
    const { leavesKeys, usesHalf } = this.#world.standIn;
    this.#node.setLogAside();
    const { disk } = this.#node;
    if (usesHalf) disk.before = before;
    const given = { from, life: from.life, before, keys: leavesKeys ? [] : [...keys] };
    this.#bring(given, 0);
  }

  /** Whether it can confirm anything or not: the asker may be the one it lacks for that. */
  #gives({ replica, paused, name }: SimNode): boolean {
    return replica?.leads === true && !paused && this.#reaches(name);
  }

  #bring(given: Given, from: number): void {
    const { lateChance, isHealing } = this.#world;
    const slow = lateChance.below(1 + lateChance.pick(SLOW_MS) * MS);
    this.#later(this.#latency() + (isHealing ? 0 : slow), () => {
      if (!this.#world.isHealing && lateChance.below(STOPS) === 0) {
        this.#world.saw("stopped in a takeover");
        return this.#world.crash(this.#node);
      }
      if (!this.#gives(given.from) || given.from.life !== given.life) {
        this.#node.disk.keys.clear();
        return this.#again();
      }
      const to = from + Math.ceil((given.keys.length + 1) / PIECES);
      for (const key of given.keys.slice(from, to)) this.#node.disk.keys.add(key);
      if (to < given.keys.length) this.#bring(given, to);
      else this.#finish(given);
    });
  }

  #finish({ before }: Given): void {
    this.#over = true;
    this.#world.saw("snapshot taken");
    this.#node.begin(before);
  }
}
