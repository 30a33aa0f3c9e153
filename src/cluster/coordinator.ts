/**
 * What a cluster asks of whoever coordinates it: who is alive, the state of each
 * broker group, and what topics and groups there are. Little, and rarely: nothing
 * of it lies on the way of a message.
 *
 *   state        one key per broker group, changed by compare-and-swap
 *   live         nodes that hold a lease, each with its present boot
 *   definitions  topics, consumer groups, producer groups, placement: by name,
 *                changed by compare-and-swap, with a revision that rises
 *
 * Reads are linearizable. Watches are hints: one says that something may have
 * changed, also when it had to begin anew, and whoever cares looks.
 *
 * A request that fails says what may have come of it: `outcome-unknown` when it
 * may have been made, or may yet be. `changed` is a promise that it was not.
 *
 * @module
 */

import type { Sighting, Swap, SwapOutcome } from "./effects.ts";
import type { GroupState, Member } from "./group_state.ts";

export type { Sighting, Swap } from "./effects.ts";

/** Kinds of definitions; part of their keys. The last two are the directory's (directory.ts). */
export const DEFINITION_KINDS = [
  "topic",
  "group",
  "producer-group",
  "placement",
  "node",
  "broker-group",
] as const;
export type DefinitionKind = (typeof DEFINITION_KINDS)[number];

export interface Definition {
  readonly name: string;
  /** JSON of whoever wrote it. */
  readonly value: string;
  /** Rises with every change of it; 0 where there is none. */
  readonly revision: number;
}

export interface DefinitionChange {
  readonly kind: DefinitionKind;
  readonly name: string;
  /** Undefined removes it. */
  readonly value: string | undefined;
  /** What it has now; 0: there is none yet. */
  readonly revision: number;
}

export interface DefinitionPage {
  readonly kind: DefinitionKind;
  /** Names behind it, in order. */
  readonly after: string;
  readonly limit: number;
}

/** A node's lease, prolonged until it is ended. */
export interface Liveness {
  /** Ends it at once: others need not wait until it runs out. Resolves in bounded time. */
  end(): Promise<void>;
}

export interface LivenessEvents {
  /** The lease surely holds until then, by the own clock; `fresh`: it was granted anew. */
  onLease(lease: { readonly until: number; readonly fresh: boolean }): void;
}

export type DecidedOutcome = Exclude<SwapOutcome, { readonly kind: "unknown" }>;

/** All of it may throw `outcome-unknown`, in bounded time. */
export interface Coordinator {
  /** The state of a broker group and who of it is alive, as of this call or later. */
  look(group: string): Promise<Sighting>;
  /** Makes the state of a group that has none. */
  found(group: string, state: GroupState): Promise<DecidedOutcome>;
  swap(group: string, swap: Swap): Promise<DecidedOutcome>;
  /** Holds a lease for the member of the group, from now on. */
  live(group: string, member: Member, events: LivenessEvents): Liveness;
  /** Calls back when the group may have changed. The returned function ends it. */
  watch(group: string, onHint: () => void): () => void;

  definition(kind: DefinitionKind, name: string): Promise<Definition>;
  definitions(page: DefinitionPage): Promise<readonly Definition[]>;
  define(change: DefinitionChange): Promise<DecidedOutcome>;
  watchDefinitions(kind: DefinitionKind, onHint: () => void): () => void;
  /** A number that no other call in the cluster gets: for generations. */
  nextGeneration(): Promise<number>;

  close(): Promise<void>;
}
