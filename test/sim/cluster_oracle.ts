/**
 * Sees everything in a simulated cluster and says at once what must not be. The
 * numbers are those of the rule book: each names the rule that was broken.
 *
 *   confirmed   the units some leader has confirmed, in order, for all time
 *   acked       what a client was told; refused: what it was told is not there
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Swap } from "../../src/cluster/effects.ts";
import { type GroupState, type Member, memberOf, sameBoot } from "../../src/cluster/group_state.ts";
import type { Prng } from "../../storage/base/prng.ts";
import { BrokerOracle } from "./cluster_broker_oracle.ts";
import type { SimDisk, Unit } from "./cluster_disk.ts";
import { MS } from "./cluster_kernel.ts";

export interface Holder {
  readonly name: string;
  readonly disk: SimDisk;
  /** Its disk was lost or harmed, and it has not been a member since. */
  readonly tainted: boolean;
}

export class ClusterOracle {
  readonly confirmed: Unit[] = [];
  readonly broker = new BrokerOracle();
  readonly #winners = new Map<number, Member>();
  readonly #places = new Map<string, Unit>();
  readonly #acked = new Set<number>();
  readonly #refused = new Set<number>();
  readonly #values = new Set<number>();
  #ackedEnd = 0;
  #readEnd = 0;
  #position = 0;
  #nextQueueOffset = 0;
  #reads = 0;
  elections = 0;
  readonly #holders: () => readonly Holder[];
  readonly #state: () => GroupState;

  constructor(world: { holders(): readonly Holder[]; state(): GroupState }) {
    this.#holders = () => world.holders();
    this.#state = () => world.state();
  }

  get last(): Unit | undefined {
    return this.confirmed.at(-1);
  }

  get end(): number {
    return this.last?.to ?? 0;
  }

  get acks(): number {
    return this.#acked.size;
  }

  get reads(): number {
    return this.#reads;
  }

  // Elections

  /** Before the coordinator makes a change. */
  swapping(swap: Swap, facts: { readonly by: Member; readonly before: GroupState }): void {
    const { before, by } = facts;
    const { state } = swap;
    assert(
      state.epoch === before.epoch || state.epoch === before.epoch + 1,
      "I1: epochs rise by one",
    );
    if (state.epoch === before.epoch) return;
    const entry = memberOf(before, by.node);
    assert(entry?.disk === by.disk, `I2: ${by.node} was elected, not of the set`);
    assert(state.leader && sameBoot(state.leader, by), "I2: a node elects itself");
    this.#winners.set(state.epoch, by);
    this.elections++;
  }

  /** After it. */
  swapped(): void {
    this.#membersHold("I12: the new set");
  }

  asksToLead(node: Holder, swap: Swap, before: GroupState): void {
    if (swap.state.epoch === before.epoch) return;
    const epoch = node.disk.promised?.epoch ?? 0;
    assert(epoch >= swap.state.epoch, `I15b: ${node.name} asks before its promise is on disk`);
  }

  // The log

  appendedByLeader(node: Member, unit: Unit): void {
    const winner = this.#winners.get(unit.epoch);
    assert(winner && sameBoot(winner, node), `I3: ${node.node} appended in epoch ${unit.epoch}`);
    const place = `${unit.epoch}@${unit.from}`;
    assert(!this.#places.has(place), `I4: two units at ${place}`);
    this.#places.set(place, unit);
    const { record } = unit;
    if (record.kind !== "value") return;
    assert(!this.#values.has(record.value), "a value is appended once");
    this.#values.add(record.value);
  }

  appendedByFollower(disk: SimDisk, unit: Unit): void {
    assert.equal(unit.from, disk.end, "I5: a unit lies where it says");
    assert.equal(unit.prev, disk.last, "I4: a unit follows the one it names");
  }

  /** A leader says that everything below `offset` is confirmed. */
  confirmedByLeader(node: Holder, offset: number): void {
    const { disk } = node;
    const known = disk.endingAt(Math.min(offset, this.end));
    const expected = this.#confirmedAt(Math.min(offset, this.end));
    assert(known === expected, `I6: ${node.name} confirms other units than were confirmed`);
    if (offset <= this.end) return;
    const units = disk.units.slice(disk.countBelow(this.end), disk.countBelow(offset));
    for (const unit of units) this.#take(unit);
    assert.equal(this.end, offset, "a confirmOffset lies between units");
    this.#membersHold(`I9: ${node.name} confirmed ${offset}`);
    const { minSync, syncSet } = this.#state();
    const copies = this.#holders().filter((one) => this.#keeps(one, syncSet));
    assert(copies.length >= minSync, `I18: confirmed with ${copies.length} of ${minSync} copies`);
  }

  /** A member may be harmed between its word and this: then it had it. */
  #keeps({ name, disk, tainted }: Holder, syncSet: readonly Member[]): boolean {
    if (tainted) return syncSet.some(({ node }) => node === name);
    return !this.last || disk.keeps(this.last);
  }

  #take(unit: Unit): void {
    assert.equal(unit.prev, this.last, "I6: what is confirmed goes on from what was");
    this.confirmed.push(unit);
    const { record } = unit;
    if (record.kind === "broker") {
      this.broker.confirmed(record.frames, { at: record.at / MS, epoch: unit.epoch });
    }
    if (record.kind !== "value") return;
    assert(!this.#refused.has(record.value), `I22: ${record.value} was refused and is there`);
    assert.equal(record.queueOffset, this.#nextQueueOffset, "queueOffsets are consecutive");
    this.#nextQueueOffset++;
  }

  #confirmedAt(offset: number): Unit | undefined {
    let low = 0;
    let high = this.confirmed.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.confirmed[middle] as Unit).to <= offset) low = middle + 1;
      else high = middle;
    }
    const unit = this.confirmed[low - 1];
    return unit?.to === offset ? unit : undefined;
  }

  confirmedByFollower(node: Holder, offset: number): void {
    assert(offset <= this.end, `I11: ${node.name} takes ${offset} for confirmed`);
    const unit = this.#confirmedAt(offset);
    assert(node.disk.endingAt(offset) === unit, `I6: ${node.name} confirms other units`);
  }

  /** What is cut, by whatever argument, was not confirmed. */
  truncating(node: Holder, cut: { readonly to: number; readonly confirmOffset: number }): void {
    const { to, confirmOffset } = cut;
    assert(to >= confirmOffset, `I7: ${node.name} cuts at ${to}, below ${confirmOffset}`);
    const first = node.disk.units[node.disk.countBelow(to)];
    const confirmed = first && this.#confirmedAt(first.to) === first;
    assert(!confirmed, `I7: ${node.name} cuts what is confirmed, at ${to}`);
  }

  /** Some disk changed other than by appending. */
  diskChanged(why: string): void {
    this.#membersHold(`I12: after ${why}`);
  }

  #membersHold(when: string): void {
    const { last } = this;
    if (!last) return;
    const { syncSet } = this.#state();
    for (const holder of this.#holders()) {
      const entry = syncSet.find(({ node }) => node === holder.name);
      if (!entry || holder.tainted || entry.disk !== holder.disk.id) continue;
      assert(holder.disk.keeps(last), `${when}: ${holder.name} lacks what is confirmed`);
    }
  }

  // Clients

  acked(value: number, end: number): void {
    assert(end <= this.end, `I9: ${value} was answered before it was confirmed`);
    this.#acked.add(value);
    this.#ackedEnd = Math.max(this.#ackedEnd, end);
  }

  /** A leader is asked for what was published with the key of `value`, which was answered once. */
  keyAsked(node: Holder, value: number): void {
    const who = `${node.name} takes the key of ${value} for new`;
    assert(node.disk.knows(value), `I21: ${who}, which was answered before`);
  }

  /** One of the values that were answered. */
  anyAcked(prng: Prng): number | undefined {
    const { size } = this.#acked;
    return size > 0 ? [...this.#acked][prng.below(size)] : undefined;
  }

  refused(value: number): void {
    this.#refused.add(value);
  }

  /** A leader answered that everything below `offset` is there to be read. */
  read(node: Holder, offset: number): void {
    this.#reads++;
    const who = `${node.name} reads up to ${offset}`;
    assert(offset <= this.end, `I10: ${who}, more than is confirmed`);
    assert(offset >= this.#ackedEnd, `I14: ${who}, ${this.#ackedEnd} was answered before`);
    assert(offset >= this.#readEnd, `I10: ${who}, ${this.#readEnd} was read before`);
    this.#readEnd = offset;
  }

  positionAcked(position: number): void {
    this.#position = Math.max(this.#position, position);
  }

  positionRead(node: Holder, position: number): void {
    const who = `${node.name} has position ${position}`;
    assert(position >= this.#position, `I10: ${who}, ${this.#position} was stored`);
  }

  /** At the end: everything that was answered is there, once. */
  finish(): void {
    const there = new Set<number>();
    for (const { record } of this.confirmed) if (record.kind === "value") there.add(record.value);
    for (const value of this.#acked)
      assert(there.has(value), `I9: ${value} was answered and is lost`);
  }
}
