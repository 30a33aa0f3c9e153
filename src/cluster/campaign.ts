/**
 * A member of the SyncStateSet that finds the group without a leader, and runs.
 *
 *   looking ──▶ canvassing ──▶ promising ──▶ electing ──▶ leads
 *      │            │                          │  ▲
 *      ▼            ▼                          ▼  │ unknown, and the state
 *    ended    ended: another has more        ended│ has not changed: again
 *
 * The promise is on disk before the election is asked for: from then on this
 * node acknowledges nothing of the old epoch, and since that takes every member
 * nothing of it can be confirmed any more, however long its leader was away.
 * Clocks play no part in it.
 *
 * An election of unknown outcome may be made later. Only when the state has
 * changed is that certain not to happen, and only then may the node go back; so
 * it is asked for again until there is an answer.
 *
 * @module
 */

import { assert } from "../../storage/base/assert.ts";
import type { ReplicaContext } from "./context.ts";
import type { SwapOutcome } from "./effects.ts";
import { type GroupState, type Member, memberOf, sameBoot } from "./group_state.ts";
import type { Standing } from "./messages.ts";

/** Members that live answer sooner. */
const CANVASS_MS = 200;
/** For another that has more to go first. */
const YIELD_MS = 400;
/** Who yielded so often runs: the other cannot. */
const YIELDS_MAX = 3;
const RETRY_MS = 300;

type Phase = "looking" | "canvassing" | "promising" | "electing" | "unknown" | "ended";

export class Campaign {
  readonly #context: ReplicaContext;
  readonly #forced: boolean;
  phase: Phase = "looking";
  #since: number;
  #canvassId = 0;
  #swapId = 0;
  /** The state that would be made, of the revision it is based on. */
  #next: { readonly revision: number; readonly state: GroupState } | undefined;
  readonly #standings = new Map<string, Standing>();
  /** Some attempt at that revision may yet be made. */
  #uncertain = false;
  readonly #yields: number;

  constructor(
    context: ReplicaContext,
    { yields, forced = false }: { readonly yields: number; readonly forced?: boolean },
  ) {
    this.#context = context;
    this.#forced = forced;
    this.#yields = yields;
    this.#since = context.now;
    context.look();
  }

  /** How often in a row this node has left it to another. */
  get yields(): number {
    return this.#yielded ? this.#yields + 1 : this.#yields;
  }
  #yielded = false;

  /** Not before this time should the next one begin. */
  get retryAt(): number {
    return this.#since + (this.#yielded ? YIELD_MS : RETRY_MS);
  }

  onTick(): void {
    const { now } = this.#context;
    if (this.phase === "looking" && now - this.#since > 2 * RETRY_MS) this.#end();
    if (this.phase === "canvassing" && now - this.#since >= CANVASS_MS) this.#counted();
    if (this.phase === "unknown" && now - this.#since >= RETRY_MS) {
      this.#since = now;
      this.#context.look();
    }
  }

  /** The state was looked at. It is not ours, or the replica would lead by now. */
  onSight(): void {
    const context = this.#context;
    const { sighting } = context;
    if (this.phase === "looking") {
      const { state } = sighting;
      const may = state && (this.#forced || (context.able(state) && this.#leaderless()));
      return may ? this.#canvass(state) : this.#end();
    }
    if (this.#next && sighting.revision > this.#next.revision) return this.#end();
    if (this.phase === "unknown") this.#elect();
  }

  #canvass(state: GroupState): void {
    const context = this.#context;
    this.phase = "canvassing";
    this.#since = context.now;
    this.#canvassId = context.nextId();
    const others = state.syncSet.filter(({ node }) => node !== context.self.node);
    const question = { kind: "canvass", id: this.#canvassId } as const;
    for (const { node } of others) context.send(node, question);
    if (others.length === 0 || this.#forced) this.#counted();
  }

  onStanding(standing: Standing): void {
    if (this.phase !== "canvassing" || standing.id !== this.#canvassId) return;
    this.#standings.set(standing.member.node, standing);
    const { state } = this.#context.sighting;
    if (state && this.#standings.size >= state.syncSet.length - 1) this.#counted();
  }

  #counted(): void {
    const { sighting, log, self } = this.#context;
    const { state } = sighting;
    const may = state && (this.#forced || (this.#context.able(state) && this.#leaderless()));
    if (!may) return this.#end();
    const own = { member: self, lastEpoch: log.epochs.last, durableEnd: log.durableEnd };
    const better = [...this.#standings.values()].some((one) => one.able && goesBefore(one, own));
    // The leader before chose its heir, and nobody else runs for a while.
    const yields = !this.#forced && state.heir !== self.node;
    if (better && yields && this.#yields < YIELDS_MAX) {
      this.#yielded = true;
      return this.#end();
    }
    this.#next = { revision: sighting.revision, state: this.#stateWon(state) };
    this.#promise(this.#next.state.epoch);
  }

  #leaderless(): boolean {
    return this.#context.leaderless(this.#context.sighting);
  }

  #stateWon(state: GroupState): GroupState {
    const { self, log } = this.#context;
    const epoch = state.epoch + 1;
    return {
      epoch,
      leader: self,
      heir: undefined,
      syncSet: this.#forced ? [self] : this.#setWon(state),
      minSync: state.minSync,
      confirmHint: this.#forced
        ? log.confirmOffset
        : Math.max(state.confirmHint, log.confirmOffset),
      unclean: this.#forced ? [...state.unclean, epoch] : state.unclean,
    };
  }

  /**
   * This node and the members that answered. All members hold what was confirmed,
   * so others stay as well where the set would be too small to confirm anything:
   * nothing is without them, and should this node fail each of them may lead.
   */
  #setWon(state: GroupState): readonly Member[] {
    const { self } = this.#context;
    const others = state.syncSet.filter(({ node }) => node !== self.node);
    const answered = (member: Member) =>
      sameBoot(this.#standings.get(member.node)?.member, member) &&
      this.#standings.get(member.node)?.able === true;
    const silent = others.filter((member) => !answered(member));
    const set = [self, ...others.filter(answered)];
    return [...set, ...silent.slice(0, Math.max(0, state.minSync - set.length))];
  }

  #promise(epoch: number): void {
    const context = this.#context;
    const revision = this.#next?.revision ?? 0;
    if (context.plants.noPromise) return this.#elect();
    this.#uncertain = context.promised?.revision === revision; // asked for in an earlier life
    context.promised = { epoch, revision };
    this.phase = "promising";
    if (context.plants.promiseInMemory) this.#elect();
    else context.emit({ kind: "promise", promised: context.promised });
  }

  onPromised(epoch: number): void {
    if (this.phase === "promising" && epoch === this.#next?.state.epoch) this.#elect();
  }

  #elect(): void {
    const context = this.#context;
    assert(this.#next, "an election is based on a revision");
    this.phase = "electing";
    this.#since = context.now;
    this.#swapId = context.nextId();
    const { leader } = context.sighting.state ?? {};
    const gone = this.#forced || leader?.node === context.self.node ? undefined : leader;
    const swap = { ...this.#next, alive: [], gone };
    context.emit({ kind: "swap", id: this.#swapId, swap });
  }

  /** @returns whether the swap was this campaign's. */
  onSwapped(id: number, outcome: SwapOutcome): boolean {
    if (id !== this.#swapId || this.phase !== "electing") return false;
    const context = this.#context;
    if (outcome.kind === "done" && this.#next) {
      context.made(outcome.revision, this.#next.state);
      this.#end();
    } else if (outcome.kind === "unknown") {
      this.#uncertain = true;
      this.phase = "unknown";
      this.#since = context.now;
      context.look();
    } else {
      if (!this.#uncertain) context.promised = undefined; // it was asked for once, and refused
      this.#end();
      context.look();
    }
    return true;
  }

  #end(): void {
    this.phase = "ended";
    this.#since = this.#context.now;
  }
}

interface Claim {
  readonly member: Member;
  readonly lastEpoch: number;
  readonly durableEnd: number;
}

/** Whoever has the most runs first: the least is lost of what was not confirmed. */
function goesBefore(a: Claim, b: Claim): boolean {
  if (a.lastEpoch !== b.lastEpoch) return a.lastEpoch > b.lastEpoch;
  if (a.durableEnd !== b.durableEnd) return a.durableEnd > b.durableEnd;
  return a.member.node < b.member.node;
}

/** How far this node's log goes, for whoever asks. */
export function standingOf(context: ReplicaContext, id: number): Standing {
  const { self, log, sighting } = context;
  const entry = sighting.state && memberOf(sighting.state, self.node);
  const able = entry !== undefined && sighting.state !== undefined && context.able(sighting.state);
  const { durableEnd } = log;
  return { kind: "standing", id, member: self, lastEpoch: log.epochs.last, durableEnd, able };
}
