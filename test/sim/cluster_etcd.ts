/**
 * The coordinator as a simulated node sees it: linearizable, and away at times.
 *
 * Requests and answers cross the network of the world, so either may be lost or
 * late: a swap may be made long after its asker gave up. A lease may live longer
 * than its time to live, never shorter; a restart gives all of them their whole
 * time again. A watch tells late, out of order, or not at all.
 *
 * @module
 */

import type { Sighting, Swap, SwapOutcome } from "../../src/cluster/effects.ts";
import { type GroupState, type Member, sameBoot } from "../../src/cluster/group_state.ts";
import type { Prng } from "../../storage/base/prng.ts";

export const LEASE_TTL_MS = 3000;
const GRACE_MS = 600;

interface Lease {
  readonly id: number;
  readonly member: Member;
  expiresAt: number;
}

export class SimEtcd {
  readonly #prng: Prng;
  readonly #leases = new Map<string, Lease>();
  #leaseIds = 0;
  revision = 1;
  state: GroupState;
  /** What it once was, for watches that tell it late. */
  readonly past: Sighting[] = [];
  up = true;
  /** The state was lost, until a person brings it back. */
  amnesia = false;
  /** Before it is changed. */
  onSwap: (swap: Swap, by: Member) => void = () => {};
  onChange: () => void = () => {};

  constructor(prng: Prng, state: GroupState) {
    this.#prng = prng;
    this.state = state;
  }

  #live(now: number): readonly Member[] {
    for (const [node, lease] of this.#leases) {
      if (lease.expiresAt < now) this.#leases.delete(node);
    }
    return [...this.#leases.values()].map(({ member }) => member);
  }

  look(now: number): Sighting {
    const live = this.#live(now);
    if (this.amnesia) return { revision: 0, state: undefined, live };
    return { revision: this.revision, state: this.state, live };
  }

  swap(swap: Swap, by: Member, now: number): SwapOutcome {
    const live = this.#live(now);
    const alive = (member: Member) => live.some((one) => sameBoot(one, member));
    const holds =
      !this.amnesia &&
      swap.revision === this.revision &&
      swap.alive.every(alive) &&
      !(swap.gone && alive(swap.gone));
    if (!holds) return { kind: "changed" };
    this.onSwap(swap, by);
    this.past.push({ revision: this.revision, state: this.state, live });
    this.revision += 1 + this.#prng.below(3);
    this.state = swap.state;
    this.onChange();
    return { kind: "done", revision: this.revision };
  }

  /** Prolongs a lease, or grants another where that one is gone; says which it is now. */
  keepAlive(member: Member, id: number, now: number): number {
    const expiresAt = now + LEASE_TTL_MS + this.#prng.below(GRACE_MS);
    this.#live(now);
    const held = this.#leases.get(member.node);
    const lease = held?.id === id ? held : { id: ++this.#leaseIds, member, expiresAt };
    lease.expiresAt = expiresAt;
    this.#leases.set(member.node, lease);
    return lease.id;
  }

  revoke(member: Member): void {
    if (sameBoot(this.#leases.get(member.node)?.member, member)) this.#leases.delete(member.node);
  }

  restart(now: number): void {
    for (const lease of this.#leases.values()) {
      lease.expiresAt = now + LEASE_TTL_MS + this.#prng.below(GRACE_MS);
    }
    this.up = true;
  }
}
