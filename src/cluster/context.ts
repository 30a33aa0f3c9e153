/**
 * What the roles of a replica share: who it is, its log, what it last saw of the
 * coordinator, what it promised, and where effects go.
 *
 * @module
 */

import type { Effect, LogRange, Promised, Restored, Sighting } from "./effects.ts";
import { type GroupState, type Member, memberOf, sameBoot } from "./group_state.ts";
import { LogFacts } from "./log_facts.ts";
import type { Message } from "./messages.ts";
import type { Plants } from "./plants.ts";

/** A look that was not answered for so long is asked again. */
const LOOK_PATIENCE_MS = 1000;

export interface ReplicaOptions {
  readonly self: Member;
  readonly restored: Restored;
  /** crc32 of the frame that ends at a logOffset; undefined where that is not at hand. */
  crcAt(logOffset: number): number | undefined;
  readonly plants: Plants;
}

export class ReplicaContext {
  readonly self: Member;
  readonly plants: Plants;
  readonly crcAt: (logOffset: number) => number | undefined;
  now = 0;
  out: Effect[] = [];
  readonly log: LogFacts;
  sighting: Sighting = { revision: 0, state: undefined, live: [] };
  promised: Promised | undefined;
  damaged: readonly LogRange[];
  vouches: boolean;
  draining = false;
  quarantined = false;
  /** A cut of the log is under way, or a snapshot that ends this life. */
  reshaping = false;
  #leaseUntil = Number.NEGATIVE_INFINITY;
  /** The state was looked at since the lease was granted, and has held ever since. */
  #leaseProven = false;
  /** Looks from this one on were asked for under the present lease. */
  #leasedFrom = 0;
  #ids = 0;
  #looking: { readonly id: number; readonly at: number } | undefined;
  #lookAgain = false;
  #lastLook = 0;

  constructor(options: ReplicaOptions) {
    const { self, restored, plants } = options;
    this.self = self;
    this.plants = plants;
    this.crcAt = options.crcAt;
    this.log = new LogFacts(restored);
    this.promised = restored.promised;
    this.damaged = restored.damaged;
    this.vouches = restored.vouches;
  }

  nextId(): number {
    return ++this.#ids;
  }

  emit(effect: Effect): void {
    this.out.push(effect);
  }

  send(to: string, message: Message): void {
    this.emit({ kind: "send", to, message });
  }

  quarantine(reason: string): void {
    this.quarantined = true;
    this.emit({ kind: "quarantine", reason });
  }

  /** Asks for the group's state as it is now or later; at most one question at a time. */
  look(): void {
    if (this.#looking && this.now - this.#looking.at < LOOK_PATIENCE_MS) {
      this.#lookAgain = true;
      return;
    }
    this.#lookAgain = false;
    this.#looking = { id: this.nextId(), at: this.now };
    this.emit({ kind: "look", id: this.#looking.id });
  }

  /** @returns whether it says anything, and nothing older than what is known. */
  takeLook(id: number, sighting: Sighting | undefined): boolean {
    if (this.#looking?.id === id) this.#looking = undefined;
    const fresh = id > this.#lastLook && this.#see(sighting);
    if (fresh) this.#lastLook = id;
    if (fresh && id > this.#leasedFrom) this.#leaseProven = true;
    if (this.#lookAgain && sighting) this.look();
    return fresh;
  }

  leased(until: number, fresh: boolean): void {
    this.#leaseUntil = until;
    if (!fresh) return;
    this.#leaseProven = false;
    this.#leasedFrom = this.#ids;
    this.look();
  }

  /**
   * Whether nobody can have been elected since the state was last looked at: this
   * node was alive for the coordinator all the time. A lease that was lost and
   * granted again proves nothing of the time between.
   */
  leaseHolds(now: number): boolean {
    return this.#leaseProven && now < this.#leaseUntil;
  }

  #see(sighting: Sighting | undefined): boolean {
    if (!sighting || sighting.revision < this.sighting.revision) return false;
    this.sighting = sighting;
    return true;
  }

  /** A swap of ours was made: the state is known without looking. */
  made(revision: number, state: GroupState): boolean {
    return this.#see({ revision, state, live: this.sighting.live });
  }

  /**
   * Whether this node may acknowledge what is of `epoch`. Having asked to be
   * elected it may not, for the election may yet be made, until the state has
   * changed since: then it never will.
   */
  mayFollow(epoch: number): boolean {
    const { promised } = this;
    if (!promised || epoch >= promised.epoch || this.plants.noPromise) return true;
    return this.sighting.revision > promised.revision;
  }

  /** Whether this node holds all that was ever confirmed, and may lead. */
  able(state: GroupState): boolean {
    const whole = this.damaged.length === 0 && !this.quarantined && !this.reshaping;
    if (!whole || this.draining || this.log.durableEnd < state.confirmHint) return false;
    return this.#counts(memberOf(state, this.self.node));
  }

  #counts(entry: Member | undefined): boolean {
    if (!entry) return false;
    if (sameBoot(entry, this.self) || this.plants.anyBoot) return true;
    if (this.plants.trustRestart) return entry.disk === this.self.disk;
    return this.vouches && entry.disk === this.self.disk;
  }

  /** Whether the coordinator says that nobody leads. */
  leaderless({ state, live }: Sighting): boolean {
    if (!state) return false;
    const { leader } = state;
    if (!leader || leader.node === this.self.node) return true;
    return !live.some((member) => sameBoot(member, leader));
  }
}
