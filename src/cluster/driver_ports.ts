/**
 * What the driver of a replica asks of its node, and what it tells it.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import type { Log } from "../../storage/base/logger.ts";
import type { Coordinator } from "./coordinator.ts";
import type { Member } from "./group_state.ts";
import type { Message } from "./messages.ts";
import type { ReplicaLog } from "./replica_log.ts";

/** How the life of a replica ends, but for the end of the process. */
export type LifeEnd =
  /** It led, and does no more. */
  | { readonly kind: "deposed" }
  | { readonly kind: "snapshot"; readonly from: string; readonly epoch: number }
  | { readonly kind: "quarantined"; readonly reason: string };

export interface DriverPorts {
  readonly clock: Clock;
  readonly coordinator: Coordinator;
  readonly log: ReplicaLog;
  readonly journal: Log;
  /** Lets a message go to another node; it may be lost. */
  send(to: string, message: Message): void;
  /** The log cannot be written: must not return. */
  fatal(error: unknown): void;
}

export interface DriverEvents {
  /** From now on this node decides: appends the epoch's first record. Rejects only if it cannot go on. */
  onLead(epoch: number): Promise<void>;
  /** The confirmOffset moved, or what the replica is to others did. */
  onChange(): void;
  onEnd(end: LifeEnd): void;
}

export interface DriverOptions {
  readonly group: string;
  readonly self: Member;
  /** Bytes a second for those that are not of the SyncStateSet. */
  readonly catchUpRate: number;
}
