/**
 * The SyncStateSet as its leader keeps it: who counts, how far that confirms,
 * and who is to leave or to come.
 *
 *   applied   the set the coordinator is known to hold
 *   pending   sets the leader asked for at the same revision and cannot yet rule
 *             out: each may be the set already
 *
 * A record is confirmed when all members of all of these have synced it, so
 * whichever of them turns out to hold, its members have everything. A request of
 * unknown outcome is ruled out by a later revision only, not by a look that
 * still finds the old one: it may be on its way.
 *
 *   leaves   no durable progress for STALLED_MS, or bytes of it are damaged, or it
 *            says that it is about to stop; so does a leader that hands over to stop
 *   comes    has everything confirmed and the epoch's first record synced, lives
 *            in the boot that says so (asked for in the same swap)
 *
 * The set never shrinks below minSync: nothing is confirmed then anyway, and
 * each member that stays may still lead. So whoever stops then is waited for.
 *
 * @module
 */

import type { ReplicaContext } from "./context.ts";
import type { SwapOutcome } from "./effects.ts";
import { type GroupState, type Member, sameBoot } from "./group_state.ts";
import { type FollowerRecord, type FollowerRecords, STALLED_MS } from "./members.ts";

const RETRY_MS = 300;
/** Whoever comes fetched no longer ago. */
const CURRENT_MS = 500;

/** The leader leads no more: who should, and whether it is about to stop. */
export interface Handover {
  readonly heir: string | undefined;
  readonly leaves: boolean;
}

interface Pending {
  readonly revision: number;
  readonly states: GroupState[];
}

export class SyncSet {
  readonly #context: ReplicaContext;
  readonly #records: FollowerRecords;
  /** Members that never fetched are given time from here on. */
  #since: number;
  #pending: Pending | undefined;
  #asked: { readonly id: number; readonly at: number; readonly state: GroupState } | undefined;
  #retryAt = 0;

  constructor(context: ReplicaContext, records: FollowerRecords) {
    this.#context = context;
    this.#records = records;
    this.#since = context.now;
  }

  excuse(now: number): void {
    this.#since = now;
  }

  get #applied(): GroupState | undefined {
    return this.#context.sighting.state;
  }

  /** All sets that may hold now. */
  #sets(): readonly (readonly Member[])[] {
    const applied = this.#applied?.syncSet ?? [];
    const pending = this.#pending?.states ?? [];
    if (this.#context.plants.assumeSwap) return [pending.at(-1)?.syncSet ?? applied];
    return [applied, ...pending.map((state) => state.syncSet)];
  }

  /** The least end over all that count; undefined when that confirms nothing. */
  #least(endOf: (record: FollowerRecord) => number, own: number): number | undefined {
    const { self, plants, now } = this.#context;
    const { minSync = 0, syncSet = [] } = this.#applied ?? {};
    if (syncSet.length < minSync && !plants.lastReplica) return undefined;
    let least = own;
    for (const set of this.#sets()) {
      for (const member of set) {
        if (member.node === self.node) continue;
        const record = this.#records.find(member);
        if (plants.confirmConnected && (!record || now - record.seenAt > CURRENT_MS)) continue;
        if (!record?.matched) return undefined;
        least = Math.min(least, endOf(record));
      }
    }
    return least;
  }

  confirmable(): number | undefined {
    const { log, plants } = this.#context;
    return this.#least(
      (record) => record.durableEnd,
      plants.ackBeforeSync ? log.end : log.durableEnd,
    );
  }

  replicated(): number | undefined {
    return this.#least((record) => record.writtenEnd, this.#context.log.end);
  }

  /** Whether the set is large enough and everyone in it keeps up. */
  confirms(): boolean {
    const { syncSet = [], minSync = 0 } = this.#applied ?? {};
    if (syncSet.length < minSync) return false;
    return this.#sets().every((set) => set.every((member) => !this.#stalled(member)));
  }

  #stalled(member: Member): boolean {
    const { now, self } = this.#context;
    if (sameBoot(member, self)) return false;
    const record = this.#records.find(member);
    if (record && !record.whole) return true;
    return now - (record?.progressAt ?? this.#since) >= STALLED_MS;
  }

  /** Whether the set is to do without it, if it can. */
  #leaves(member: Member): boolean {
    return this.#stalled(member) || (this.#records.find(member)?.leaving ?? false);
  }

  /** Asks for what is to change, unless that is under way. */
  propose(wish: {
    /** Whoever comes has this much synced. */
    readonly atLeast: number;
    readonly handover: Handover | undefined;
  }): void {
    const { now, sighting } = this.#context;
    const applied = this.#applied;
    if (!applied || this.#asked || now < this.#retryAt) return;
    const state = wish.handover
      ? this.#handedOver(applied, wish.handover)
      : this.#nextState(applied, wish.atLeast);
    if (!state && !this.#pending) return;
    // What may be pending is ruled out by any change, so the same state will do.
    this.#ask({ ...(state ?? applied), confirmHint: this.#hint(applied) }, sighting.revision);
  }

  #handedOver(applied: GroupState, { heir, leaves }: Handover): GroupState {
    const others = applied.syncSet.filter((member) => !sameBoot(member, this.#context.self));
    const syncSet = leaves && others.length >= this.#floor ? others : applied.syncSet;
    return { ...applied, leader: undefined, heir, syncSet };
  }

  get #floor(): number {
    const { minSync = 0 } = this.#applied ?? {};
    return this.#context.plants.lastReplica ? 0 : minSync;
  }

  #hint(applied: GroupState): number {
    return Math.max(applied.confirmHint, this.#context.log.confirmOffset);
  }

  #nextState(applied: GroupState, atLeast: number): GroupState | undefined {
    const { syncSet } = applied;
    const coming = this.#coming(syncSet, atLeast);
    const isComing = ({ node }: Member) => coming.some((one) => one.node === node);
    const staying = syncSet.filter((member) => !this.#leaves(member) && !isComing(member));
    const leaving = syncSet.filter((member) => this.#leaves(member) && !isComing(member));
    const kept = leaving.slice(0, Math.max(0, this.#floor - staying.length - coming.length));
    if (coming.length === 0 && kept.length === leaving.length) return undefined;
    return { ...applied, syncSet: [...staying, ...kept, ...coming] };
  }

  /** Learners that hold all there is, and members that came back in another boot. */
  #coming(syncSet: readonly Member[], atLeast: number): readonly Member[] {
    const { now, log, sighting, plants } = this.#context;
    const needed = Math.max(log.confirmOffset, atLeast);
    const found: Member[] = [];
    for (const record of this.#records.all()) {
      const { member, matched, whole, leaving, durableEnd, seenAt } = record;
      const inSet = syncSet.some((one) =>
        plants.anyBoot ? one.node === member.node : sameBoot(one, member),
      );
      const alive = plants.anyBoot || sighting.live.some((one) => sameBoot(one, member));
      const has = matched && whole && durableEnd >= needed && now - seenAt < CURRENT_MS;
      if (!inSet && alive && has && !leaving) found.push(member);
    }
    return found;
  }

  #ask(state: GroupState, revision: number): void {
    const context = this.#context;
    if (this.#pending?.revision !== revision) this.#pending = { revision, states: [] };
    this.#pending.states.push(state);
    this.#asked = { id: context.nextId(), at: context.now, state };
    this.#retryAt = context.now + RETRY_MS;
    const comes = (member: Member) => !this.#applied?.syncSet.some((one) => sameBoot(one, member));
    const alive = context.plants.anyBoot ? [] : state.syncSet.filter(comes);
    const swap = { revision, state, alive, gone: undefined };
    context.emit({ kind: "swap", id: this.#asked.id, swap });
  }

  onSwapped(id: number, outcome: SwapOutcome): void {
    const asked = this.#asked;
    if (!asked || asked.id !== id) return;
    this.#asked = undefined;
    const context = this.#context;
    if (outcome.kind === "done") {
      context.made(outcome.revision, asked.state);
      this.onSight();
      return;
    }
    if (outcome.kind === "changed" && this.#pending) {
      const states = this.#pending.states.filter((state) => state !== asked.state);
      this.#pending = states.length > 0 ? { ...this.#pending, states } : undefined;
    }
    context.look();
  }

  /** A later revision rules out what was asked for at an earlier one. */
  onSight(): void {
    const { revision } = this.#context.sighting;
    if (this.#pending && revision > this.#pending.revision) this.#pending = undefined;
  }

  /** The group was asked to be made leaderless, and may be by now. */
  get mayBeOver(): boolean {
    return this.#pending?.states.some(({ leader }) => leader === undefined) ?? false;
  }

  /** Whether anybody else could lead. */
  get others(): boolean {
    return (this.#applied?.syncSet.length ?? 0) > 1;
  }

  /** The member that has everything confirmed and most of the rest. */
  heir(): Member | undefined {
    const { log, now, self } = this.#context;
    const able = (this.#applied?.syncSet ?? [])
      .filter((member) => !sameBoot(member, self))
      .map((member) => this.#records.find(member))
      .filter((record) => record !== undefined)
      .filter(({ matched, whole, leaving }) => matched && whole && !leaving)
      .filter(({ seenAt }) => now - seenAt < CURRENT_MS)
      .filter(({ durableEnd }) => durableEnd >= log.confirmOffset)
      .toSorted((a, b) => b.durableEnd - a.durableEnd);
    return able[0]?.member;
  }
}
