/**
 * What a node of a broker group asks of the world, and what it is told about itself.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import type { Log } from "../../storage/base/logger.ts";
import type { ReplacedLog } from "../../storage/mod.ts";
import type { Coordinator } from "./coordinator.ts";
import type { NodeLog } from "./node_log.ts";
import type { LinkEntry, LinkPeer } from "./replica_links.ts";

/** What takes the place of a log. A crash in the midst leaves nothing at all. */
export type LogReplacement = Pick<ReplacedLog, "clear" | "put" | "finish">;

export interface NodePorts {
  readonly clock: Clock;
  readonly coordinator: Coordinator;
  readonly journal: Log;
  entropy(size: number): Uint8Array;
  /** Opens what the data directory holds; `number` is the broker group's. */
  openLog(number: number): Promise<NodeLog>;
  /** Moves what the data directory holds out of the way; it holds nothing until `finish`. */
  replaceLog(): Promise<LogReplacement>;
  connect(entry: LinkEntry): LinkPeer;
  /** The log cannot be written: must not return. */
  fatal(error: unknown): void;
}

export interface NodeOptions {
  readonly group: string;
  readonly node: string;
  /** Of a group that this node founds. */
  readonly minSync: number;
  readonly catchUpRate: number;
}

export type NodeState = "starting" | "living" | "between" | "quarantined" | "stopped";
