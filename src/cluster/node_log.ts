/**
 * What a node of a broker group asks of its data directory, for one life: the log that
 * replication keeps (replica_log.ts), and the broker over it for as long as it leads.
 * Types only, as the storage and the broker fulfil it.
 *
 * @module
 */

import type { Collect } from "../../storage/base/metrics.ts";
import type { LentBeginning } from "../../storage/mod.ts";
import type { BrokerGroupApi } from "../broker/api.ts";
import type { ReplicaLog } from "./replica_log.ts";

export interface NodeBroker {
  readonly api: BrokerGroupApi;
  /**
   * Resolves once all that was confirmed before it led is shown, the beginning of its epoch included:
   * that comes after the core has confirmed it, where much of it is on disk. Rejects, or never does,
   * where it ends before.
   */
  started(): Promise<void>;
  /** Ends all waits, as if their time was up; those that come return at once. */
  drain(): void;
}

export interface NodeLog extends ReplicaLog {
  /** The disk's name; another one where it may hold less than it once said. */
  readonly diskId: string;
  readonly metrics: Collect;
  /** The own log may begin where the leader's does, once it has confirmed as much. */
  trim(leader: { readonly start: number; readonly confirmOffset: number }): void;
  /** What another log is to know of before this one's first frame, while it leads. */
  beginning(): Promise<LentBeginning>;
  /** Resolves once the record that begins the epoch is appended. */
  lead(epoch: number): Promise<NodeBroker>;
  /** Makes durable what was appended and closes the files. */
  close(): Promise<void>;
}
