/**
 * What the router asks of the world: who leads each broker group, the coordinator's
 * definitions, and the time.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import type { TidegateError } from "../../storage/base/errors.ts";
import type { BrokerGroupApi, ClusterStatus } from "../broker/api.ts";

export interface Routing {
  /**
   * The numbers of all broker groups, ascending, as of this call or later.
   *
   * @throws `outcome-unknown` when the coordinator does not answer.
   */
  groups(): Promise<readonly number[]>;
  /** The same as far as is known, without asking. */
  known(): readonly number[];
  /** Whoever leads the group, as far as is known. */
  leader(group: number): BrokerGroupApi | undefined;
  /** `broker` does not answer as a leader, or not at all: it is looked who leads. */
  lost(group: number, broker: BrokerGroupApi, error: TidegateError): void;
  /** For people, and for load balancers. */
  status(): ClusterStatus;
  /** Resolves when another may lead the group, or when the signal aborts. */
  changed(group: number, signal: AbortSignal): Promise<void>;
}

export type StoredKind = "topic" | "group" | "producer-group";

/** One definition as it is kept; revision 0: there is none. */
export interface Stored {
  readonly name: string;
  /** JSON. */
  readonly value: string;
  readonly revision: number;
}

/** The part of the coordinator that has definitions. All of it may throw `outcome-unknown`. */
export interface DefinitionStore {
  definition(kind: StoredKind, name: string): Promise<Stored>;
  /** Names behind `after`, in order. */
  definitions(page: {
    readonly kind: StoredKind;
    readonly after: string;
    readonly limit: number;
  }): Promise<readonly Stored[]>;
  /** Made if it has that revision now; undefined removes it. */
  define(change: {
    readonly kind: StoredKind;
    readonly name: string;
    readonly value: string | undefined;
    readonly revision: number;
  }): Promise<{ readonly kind: "done"; readonly revision: number } | { readonly kind: "changed" }>;
  watchDefinitions(kind: StoredKind, onHint: () => void): () => void;
  nextGeneration(): Promise<number>;
}

/** What a checkUrl and a checkSecret may be; undefined: it is fine. */
export interface CheckRulesPort {
  urlFault(url: string): string | undefined;
  secretFault(secret: string): string | undefined;
}

export interface RoutedPorts {
  readonly routing: Routing;
  readonly definitions: DefinitionStore;
  readonly clock: Clock;
  readonly checks?: CheckRulesPort | undefined;
  /** A job beside the requests failed, and will be tried again. */
  report(error: Error): void;
}

export interface RoutedOptions {
  readonly nodeId: string;
  /** Publishing to an unknown topic creates it. */
  readonly autoCreate: boolean;
  /** The longest a message may be delayed: as the brokers have it. */
  readonly delayMaxMs: number;
  /** How long a call waits for a broker group to have a leader. */
  readonly leaderWaitMs?: number | undefined;
}
