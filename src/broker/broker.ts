/**
 * A running broker: opens the store, folds it, and answers.
 *
 *   openBroker ──▶ store and fold restored ──▶ epoch-start appended ──▶ api
 *   drain      waits end now and none begins
 *   close      what was appended is flushed and snapshotted
 *
 * Of a node alone: what is synced is confirmed. A member of a group leads for a while
 * only; how it comes to, and what it does until then, is standby.ts.
 *
 * @module
 */

import type { Log } from "../../storage/base/logger.ts";
import type { Collect } from "../../storage/base/metrics.ts";
import {
  DerivedDamage,
  type HeadroomOptions,
  MessageStore,
  type Recovery,
  type StorePorts,
} from "../../storage/mod.ts";
import type { BrokerGroupApi } from "./api_share.ts";
import { BrokerFold } from "./fold.ts";
import { startBroker } from "./start.ts";
import type { ShellPorts } from "./shell.ts";

export interface BrokerPorts
  extends Omit<StorePorts, "report" | "damaged">,
    Omit<ShellPorts, "report"> {
  readonly log: Log;
}

export interface BrokerOptions {
  readonly nodeId: string;
  /** Its number in the cluster, for all time; 0 when absent: the only one. At most 65,535. */
  readonly brokerGroup?: number | undefined;
  /** Size at which a segment is sealed. */
  readonly segmentBytes: number;
  /** Publishing to an unknown topic creates it. */
  readonly autoCreate: boolean;
  /** The longest a message may be delayed. */
  readonly delayMaxMs: number;
  /** A message is kept no longer, whatever its topic says. */
  readonly retentionMaxMs: number;
  /** Long-polls and receives waiting at once. */
  readonly waitersMax: number;
  /** How long an idempotency key is remembered. */
  readonly idempotencyWindowMs: number;
  /** Half messages that wait for a decision, at most: some hundred bytes of memory each. */
  readonly halvesMax?: number | undefined;
  /** In so long all that is stored is read once, to find damage; undefined: it is not. */
  readonly scrubIntervalMs?: number | undefined;
  /** From where on a disk is too full, and what is set aside on it. */
  readonly headroom?: HeadroomOptions | undefined;
}

export interface Broker {
  readonly api: BrokerGroupApi;
  /** What the start found. */
  readonly recovery: Recovery;
  readonly metrics: Collect;
  /** Resolves once the record that begins the epoch is confirmed, and all before it is shown. */
  started(): Promise<void>;
  /** Ends all waits, as if their time was up; those that come return at once. */
  drain(): void;
  /** Makes everything durable and closes the files. No call may follow. */
  close(): Promise<void>;
}

/** @throws when the data directory cannot be read or is of a later build. */
export async function openBroker(ports: BrokerPorts, options: BrokerOptions): Promise<Broker> {
  const fold = new BrokerFold();
  const reports = new Reports(ports.log);
  const store = await MessageStore.open(storePorts(ports, reports), storeOptions(options, fold));
  const epoch = store.log.tail.epoch + 1;
  const broker = startBroker(ports, { store, fold, options, epoch, reports });
  await broker.started();
  return broker;
}

/** What background jobs have to say goes to the log, and is counted. */
export class Reports {
  readonly #log: Log;
  /** Derived files that were found damaged. */
  derived = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  readonly report = (error: Error): void => {
    const damaged = error instanceof DerivedDamage;
    if (damaged) this.derived++;
    const what = damaged ? "A derived file is built again" : "A background job failed";
    this.#log(damaged ? "warn" : "error", what, { error: error.message });
  };
}

export function storePorts(ports: BrokerPorts, { report }: Reports): StorePorts {
  return {
    ...ports,
    report,
    damaged: (range, by) =>
      ports.log("error", "Stored data is damaged: the range is stepped over", { ...range, by }),
  };
}

export function storeOptions(options: BrokerOptions, fold: BrokerFold) {
  const { segmentBytes, idempotencyWindowMs: windowMs, scrubIntervalMs, headroom } = options;
  return { segmentBytes, fold, dedupe: { windowMs }, scrubIntervalMs, headroom };
}
