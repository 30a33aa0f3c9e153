/**
 * The replication core: one node's part in keeping one log on several.
 *
 *                    state: another leads
 *              ┌─────────────────────────────────┐
 *              ▼                                 │
 *   start ▶ Following ──▶ Campaign ──▶ won ──▶ Leading
 *              ▲   learner or member    │
 *              └────────────────────────┘ another won, or it could not be
 *
 * Deterministic and without I/O: events and the time go in, effects come out
 * (effects.ts). The coordinator's state decides who leads; watches and messages
 * of others are reasons to look at it, never to believe.
 *
 * @module
 */

import { assert, unreachable } from "../../storage/base/assert.ts";
import { Campaign, standingOf } from "./campaign.ts";
import { ReplicaContext } from "./context.ts";
import type { Effect, ReplicaEvent, Restored, Sighting } from "./effects.ts";
import { Following } from "./following.ts";
import { type Member, sameBoot } from "./group_state.ts";
import { Leading } from "./leading.ts";
import type { LogFacts } from "./log_facts.ts";
import type { Message } from "./messages.ts";
import { NO_PLANTS, type Plants } from "./plants.ts";

/** A leader that did not answer for so long, and is not alive for the coordinator, is gone. */
const UNHEARD_MS = 1000;
/** How often a group without a leader is looked at. */
const LOOK_EVERY_MS = 300;

export class Replica {
  readonly #context: ReplicaContext;
  #following: Following | undefined;
  #leading: Leading | undefined;
  #campaign: Campaign | undefined;
  #campaignAt = 0;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #touchId = 0;
  #touchedAt = Number.NEGATIVE_INFINITY;

  constructor(options: {
    readonly self: Member;
    readonly restored: Restored;
    crcAt(logOffset: number): number | undefined;
    readonly plants?: Plants;
  }) {
    this.#context = new ReplicaContext({ plants: NO_PLANTS, ...options });
    this.#following = new Following(this.#context);
  }

  get log(): LogFacts {
    return this.#context.log;
  }

  get epoch(): number {
    return this.#leading?.epoch ?? this.#following?.epoch ?? 0;
  }

  get leads(): boolean {
    return this.#leading !== undefined;
  }

  /** The coordinator says that nobody leads. */
  get leaderless(): boolean {
    return !this.#leading && this.#context.leaderless(this.#context.sighting);
  }

  /** A publish appended now is likely to be confirmed; false: refuse it, nothing is applied. */
  get admits(): boolean {
    return this.#leading?.admits ?? false;
  }

  /** Nothing that was confirmed before can still turn up: positions and leases may be told of. */
  get serves(): boolean {
    return this.#leading?.serves ?? false;
  }

  /**
   * Whether what is confirmed here is all that was ever answered: for reads that must
   * see the latest. To be asked right before the answer leaves.
   */
  readsLatest(now: number): boolean {
    const alone = this.#leading?.alone ?? false;
    return alone && this.serves && this.#context.leaseHolds(now);
  }

  get leader(): Member | undefined {
    return this.#leading ? this.#context.self : this.#following?.leader;
  }

  get quarantined(): boolean {
    return this.#context.quarantined;
  }

  /** Whether what is of `epoch` may still be acknowledged by this node. */
  mayFollow(epoch: number): boolean {
    return this.#context.mayFollow(epoch);
  }

  get sighting(): Sighting {
    return this.#context.sighting;
  }

  /** Takes one event; what is to be done about it, in this order. */
  step(now: number, event: ReplicaEvent): readonly Effect[] {
    const context = this.#context;
    assert(now >= context.now, "time does not fall");
    context.now = now;
    context.out = [];
    this.#take(event);
    return context.out;
  }

  #take(event: ReplicaEvent): void {
    const context = this.#context;
    const { log } = context;
    switch (event.kind) {
      case "tick":
        return this.#onTick();
      case "message":
        return this.#onMessage(event.message, event.from);
      case "looked":
        if (context.takeLook(event.id, event.sighting)) this.#onSight();
        return;
      case "swapped":
        return this.#onSwapped(event);
      case "hint":
        return this.#onHint(event.sighting);
      case "leased":
        return context.leased(event.until, event.fresh);
      case "appended":
        assert(this.#leading, "only a leader appends");
        log.append(event.end, event.lastCrc);
        return this.#leading.onAppended();
      case "synced":
        return this.#onSynced(event.end);
      case "truncated":
        log.cut(event.end, event.lastCrc);
        context.damaged = context.damaged.filter(({ from }) => from < event.end);
        return this.#reshaped();
      case "promised":
        return this.#campaign?.onPromised(event.promised.epoch);
      case "trimmed":
        return log.trim(event.start);
      case "damaged":
        context.damaged = [...context.damaged, event.range];
        return;
      case "repaired": {
        const { from, to } = event.range;
        context.damaged = context.damaged.filter((one) => one.from !== from || one.to !== to);
        return this.#following?.fetch();
      }
      case "drain":
        context.draining = true;
        this.#leading?.onDrain();
        return this.#following?.fetch(); // which says so
      case "force":
        context.quarantined = false;
        this.#campaign = new Campaign(context, { yields: 0, forced: true });
        return;
      default:
        return unreachable(event);
    }
  }

  #onHint(sighting: Sighting | undefined): void {
    const context = this.#context;
    if (!context.plants.trustWatch || !sighting) return context.look();
    context.sighting = sighting;
    this.#onSight();
  }

  #onSynced(end: number): void {
    const { log } = this.#context;
    const before = log.durableEnd;
    log.synced(end);
    if (log.durableEnd === before) return;
    this.#leading?.onSynced();
    this.#following?.fetch();
  }

  #reshaped(): void {
    this.#context.reshaping = false;
    this.#following?.fetch();
  }

  #onTick(): void {
    this.#leading?.onTick();
    this.#following?.onTick();
    this.#campaign?.onTick();
    if (this.#following) this.#mindTheGroup(this.#following);
  }

  /** Looks where nobody leads, and runs where nobody else should. */
  #mindTheGroup(following: Following): void {
    const context = this.#context;
    const { now, sighting } = context;
    if (this.#campaign?.phase === "ended") this.#campaignOver(this.#campaign);
    if (this.#campaign || context.quarantined) return;
    const unheard = now - following.heardAt >= UNHEARD_MS;
    const headless = !following.leader || following.leader.node === context.self.node;
    if ((unheard || headless) && now - this.#lookedAt >= LOOK_EVERY_MS) {
      this.#lookedAt = now;
      context.look();
    }
    const { state } = sighting;
    if (!state || now < this.#campaignAt) return;
    const heir = state.heir === context.self.node;
    const due = headless ? heir || unheard || state.heir === undefined : unheard;
    if (due && context.leaderless(sighting) && context.able(state)) {
      this.#campaign = new Campaign(context, { yields: this.#yields });
    } else this.#ruleOut(following);
  }

  #yields = 0;

  #campaignOver(campaign: Campaign): void {
    this.#yields = campaign.yields === this.#yields ? 0 : campaign.yields;
    this.#campaignAt = campaign.retryAt;
    this.#campaign = undefined;
    this.#following?.fetch(); // if it may again
  }

  /** There is a leader to follow, and an election asked for that may yet be made: not any more. */
  #ruleOut({ leader, epoch }: Following): void {
    const context = this.#context;
    const { now, sighting } = context;
    if (!leader || context.mayFollow(epoch) || !sighting.state) return;
    if (now - this.#touchedAt < LOOK_EVERY_MS || context.promised?.revision !== sighting.revision) {
      return;
    }
    this.#touchedAt = now;
    this.#touchId = context.nextId();
    const { revision, state } = sighting;
    const swap = { revision, state, alive: [], gone: undefined };
    context.emit({ kind: "swap", id: this.#touchId, swap });
  }

  #onSwapped(event: ReplicaEvent & { readonly kind: "swapped" }): void {
    const { id, outcome } = event;
    if (id === this.#touchId) return this.#context.look();
    if (this.#campaign?.onSwapped(id, outcome)) {
      if (outcome.kind === "done") this.#onSight();
      return;
    }
    this.#leading?.onSwapped(id, outcome);
    if (this.#leading && !this.#leading.holds) this.#onSight();
  }

  /** What the coordinator says has been read: whose turn is it? */
  #onSight(): void {
    const context = this.#context;
    const { state } = context.sighting;
    if (this.#leading) {
      if (this.#leading.holds) return this.#leading.onSight();
      if (!state) return; // no word is no reason
      this.#leading = undefined;
      this.#following = new Following(context);
    } else if (state && sameBoot(state.leader, context.self)) return this.#lead(state.epoch);
    this.#following?.onSight();
    this.#campaign?.onSight();
    const isHeir = state?.leader === undefined && state?.heir === context.self.node;
    if (this.#following && isHeir) this.#mindTheGroup(this.#following); // nobody else will
  }

  #lead(epoch: number): void {
    const context = this.#context;
    if (epoch <= context.log.epochs.last) return; // resigned, and the state seen is from before
    this.#following = undefined;
    this.#campaign = undefined;
    this.#yields = 0;
    this.#leading = new Leading(context, epoch);
  }

  #onMessage(message: Message, from: string): void {
    const context = this.#context;
    switch (message.kind) {
      case "fetch":
        if (this.#leading) return this.#leading.onFetch(message);
        return context.send(from, { kind: "stale", epoch: Math.max(0, this.epoch) });
      case "mend":
        return this.#leading?.onMend(message, from);
      case "canvass":
        if (this.#leading) return;
        return context.send(from, standingOf(context, message.id));
      case "standing":
        return this.#campaign?.onStanding(message);
      case "entries":
        return this.#following?.onEntries(message);
      case "diverged":
        return this.#following?.onDiverged(message);
      case "behind":
        return this.#following?.onBehind(message);
      case "mended":
        return this.#following?.onMended(message);
      case "stale":
        return context.look();
      default:
        return unreachable(message);
    }
  }
}
