/**
 * Calling a broker group, whoever leads it.
 *
 *   no leader known ──▶ wait for one, until the call's time is up: `unavailable`
 *   unavailable, draining ──▶ nothing took effect: look who leads, try again
 *   outcome-unknown ──▶ tried again at the same group where twice is once
 *   lacks a definition that the coordinator has ──▶ give it that, try again
 *   anything else ──▶ the answer
 *
 * Once an outcome was unknown, only an answer makes it known: time that runs out
 * afterwards says `outcome-unknown`, never that nothing happened.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { BrokerGroupApi, ClusterStatus } from "../broker/api.ts";
import type { Routing } from "./ports.ts";

export interface CallWish<T> {
  readonly group: number;
  ask(broker: BrokerGroupApi): Promise<T>;
  /** Running twice is running once. */
  readonly repeatable?: boolean | undefined;
  /** By the elapsed clock: no try begins after it. Absent: the usual patience. */
  readonly deadline?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Between tries at a leader that does not answer as one: longer each time, until there is another. */
const REST_MS = { first: 20, most: 500 } as const;

const LEADER_WAIT_MS = 10_000;

/** Gives a broker group a definition it lacks. @returns whether it has something now that it had not. */
export type Supply = (group: number, error: TidegateError) => Promise<boolean>;

export class Members {
  readonly #routing: Routing;
  readonly #clock: Clock;
  readonly #leaderWaitMs: number;
  /** Set by whoever has the definitions. */
  supply: Supply = () => Promise.resolve(false);

  constructor(
    { routing, clock }: { readonly routing: Routing; readonly clock: Clock },
    { leaderWaitMs = LEADER_WAIT_MS }: { readonly leaderWaitMs?: number | undefined } = {},
  ) {
    this.#routing = routing;
    this.#clock = clock;
    this.#leaderWaitMs = leaderWaitMs;
  }

  /** Until when a call that begins now is patient. */
  deadline(): number {
    return this.#clock.elapsed() + this.#leaderWaitMs;
  }

  get clock(): Clock {
    return this.#clock;
  }

  leader(group: number): BrokerGroupApi | undefined {
    return this.#routing.leader(group);
  }

  /** As far as is known. */
  known(): readonly number[] {
    return this.#routing.known();
  }

  status(): ClusterStatus {
    return this.#routing.status();
  }

  groups(): Promise<readonly number[]> {
    return this.#routing.groups();
  }

  /** Tells that a call failed in a way another leader would not. */
  lost(group: number, broker: BrokerGroupApi, error: TidegateError): void {
    if (isAway(error)) this.#routing.lost(group, broker, error);
  }

  async call<T>(wish: CallWish<T>): Promise<T> {
    const { group, ask, repeatable = false, signal, deadline = this.deadline() } = wish;
    let unknown: TidegateError | undefined;
    let supplied = 0;
    let last: BrokerGroupApi | undefined;
    for (let restMs: number = REST_MS.first; ; restMs = Math.min(2 * restMs, REST_MS.most)) {
      const broker = await this.leaderBy(group, { deadline, signal });
      if (!broker) throw unknown ?? noLeader(group);
      if (broker !== last) restMs = REST_MS.first; // one that has just been elected serves soon
      last = broker;
      try {
        return await ask(broker);
      } catch (error) {
        if (!(error instanceof TidegateError)) throw error;
        if (lacks(error) && supplied++ < SUPPLIES_MAX && (await this.supply(group, error)))
          continue;
        if (!isAway(error)) throw error;
        this.#routing.lost(group, broker, error);
        if (error.code === "outcome-unknown") unknown ??= error;
        if (unknown && !repeatable) throw unknown;
        if (this.#clock.elapsed() + restMs >= deadline || signal?.aborted) throw unknown ?? error;
      }
      await this.rest(group, { ms: restMs, signal });
    }
  }

  /** Whoever leads by then; undefined when nobody does. */
  async leaderBy(
    group: number,
    { deadline, signal }: { readonly deadline: number; readonly signal?: AbortSignal | undefined },
  ): Promise<BrokerGroupApi | undefined> {
    for (;;) {
      const leader = this.#routing.leader(group);
      if (leader) return leader;
      const ms = deadline - this.#clock.elapsed();
      if (ms <= 0 || signal?.aborted) return undefined;
      await this.rest(group, { ms, signal });
    }
  }

  /** Until another may lead, or the time is up. */
  async rest(
    group: number,
    { ms, signal }: { readonly ms: number; readonly signal: AbortSignal | undefined },
  ): Promise<void> {
    const over = new AbortController();
    const end = () => over.abort();
    const cancel = this.#clock.after(ms, end);
    signal?.addEventListener("abort", end);
    await this.#routing.changed(group, over.signal);
    signal?.removeEventListener("abort", end);
    cancel();
  }
}

/** A definition, one more it rests on, and one that changed meanwhile. */
const SUPPLIES_MAX = 3;

/** The broker group may not know what the coordinator does. */
function lacks({ code, details }: TidegateError): boolean {
  return code === "topic-not-found" || code === "group-not-found" || details["misplaced"] === true;
}

/** Another try, perhaps at another leader, may have another answer. */
export function isAway({ code, details }: TidegateError): boolean {
  if (details["misplaced"] === true) return false;
  return code === "unavailable" || code === "draining" || code === "outcome-unknown";
}

function noLeader(group: number): TidegateError {
  const detail = `Cannot reach broker group ${group}: it has no leader at the moment`;
  return new TidegateError("unavailable", detail, { brokerGroup: group });
}
