/**
 * The broker of a member of a group: follows the log of whoever leads, and leads itself
 * when it is told to.
 *
 *   openStandby ──▶ follows ──lead(epoch)──▶ leads ──close──▶ the node begins a new life
 *                     │ what is confirmed is folded: state, queues, indexes, timers,
 *                     │ idempotency keys are as warm as the leader's
 *                     └ nothing is decided: no lease ends, nothing falls due or expires
 *
 * To lead it folds the little that is not confirmed yet, and appends the record that
 * begins the epoch. Its answers wait until the group has confirmed what they rest on.
 *
 * It is what the replication core needs of a log (`ReplicaLog`, in the cluster's room);
 * who calls it does what the core says, in its order.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { Collect } from "../../storage/base/metrics.ts";
import {
  type AnnouncedUnits,
  type DamagedRange,
  type EpochStart,
  endReplacement,
  HeldBeginning,
  Identity,
  type LentBeginning,
  MessageStore,
  type Promised,
  storeMetrics,
  type UnitBytes,
  type UnitsWish,
} from "../../storage/mod.ts";
import {
  type Broker,
  type BrokerOptions,
  type BrokerPorts,
  Reports,
  storeOptions,
  storePorts,
} from "./broker.ts";
import { BrokerFold } from "./fold.ts";
import { type StartedBroker, startBroker } from "./start.ts";

interface LogPlace {
  readonly end: number;
  readonly lastCrc: number;
}

/** In the order in which it happened. */
export interface StandbyEvents {
  /** The leading broker appended whole units. */
  appended(tail: LogPlace): void;
  /** The bytes below `end` survive power loss. */
  synced(end: number): void;
  /** Nothing before `start` is there any more. */
  trimmed(start: number): void;
  damaged(range: DamagedRange): void;
}

/** What a start found. */
export interface RestoredLog extends LogPlace {
  readonly start: number;
  readonly epochs: readonly EpochStart[];
  /** The greatest one any frame, the checkpoint or a snapshot speaks of. */
  readonly confirmOffset: number;
  readonly promised: Promised | undefined;
  readonly damaged: readonly DamagedRange[];
  /** Always: a disk that may hold less than it said has got another name instead. */
  readonly vouches: boolean;
}

const SILENT: StandbyEvents = { appended() {}, synced() {}, trimmed() {}, damaged() {} };

export class Standby {
  readonly restored: RestoredLog;
  readonly #ports: BrokerPorts;
  readonly #options: BrokerOptions;
  readonly #store: MessageStore;
  readonly #fold: BrokerFold;
  readonly #identity: Identity;
  readonly #reports: Reports;
  #events = SILENT;
  #broker: StartedBroker | undefined;
  /** The leader's log begins there, and this one may, once so much is confirmed here. */
  #trim = { start: 0, confirmOffset: 0 };
  #trimming = false;
  #closed = false;

  /** @throws `data-damaged` when the log ends before what its snapshot tells of: begin anew from another's. */
  static async open(ports: BrokerPorts, options: BrokerOptions): Promise<Standby> {
    const fold = new BrokerFold();
    const reports = new Reports(ports.log);
    await endReplacement(ports.disk);
    const identity = await Identity.open(ports);
    let standby: Standby | undefined;
    const own = storePorts(ports, reports);
    const store = await MessageStore.open(
      {
        ...own,
        fatal(error) {
          identity.markFailed();
          ports.fatal(error);
        },
        damaged(range, by) {
          own.damaged?.(range, by);
          if (standby) standby.#events.damaged(range);
        },
      },
      { ...storeOptions(options, fold), replication: { lost: () => identity.renew() } },
    );
    standby = new Standby(ports, options, { store, fold, identity, reports });
    return standby;
  }

  private constructor(
    ports: BrokerPorts,
    options: BrokerOptions,
    parts: {
      readonly store: MessageStore;
      readonly fold: BrokerFold;
      readonly identity: Identity;
      readonly reports: Reports;
    },
  ) {
    const { store, identity } = parts;
    this.#ports = ports;
    this.#options = options;
    this.#store = store;
    this.#fold = parts.fold;
    this.#identity = identity;
    this.#reports = parts.reports;
    const { log } = store;
    this.restored = {
      start: log.start,
      end: log.end,
      lastCrc: log.tail.lastCrc,
      epochs: [...log.tail.epochs.starts],
      confirmOffset: log.toldConfirm,
      promised: identity.promised,
      damaged: log.damage.ranges,
      vouches: true,
    };
    this.#fold.forgetBefore(log.start);
    store.replica?.listen({
      appended: (tail) => this.#events.appended(tail),
      synced: (end) => this.#events.synced(end),
      trimmed: (start) => {
        this.#fold.forgetBefore(start);
        this.#events.trimmed(start);
      },
    });
  }

  listen(events: StandbyEvents): void {
    this.#events = events;
  }

  /** The name of the disk; another one where it may hold less than it once said. */
  get diskId(): string {
    return this.#identity.diskId;
  }

  get #replica() {
    const { replica } = this.#store;
    if (!replica) throw new Error("The store of a standby is replicated");
    return replica;
  }

  /** So far all is confirmed and folded here. */
  get confirmOffset(): number {
    return this.#store.log.confirmOffset;
  }

  readonly metrics: Collect = async () =>
    this.#broker ? this.#broker.metrics() : storeMetrics(this.#store);

  crcAt(logOffset: number): number | undefined {
    return this.#store.log.tail.crcAt(logOffset);
  }

  transfer(wish: UnitsWish & { readonly epoch: number }): Promise<UnitBytes | undefined> {
    return this.#replica.transfer(wish);
  }

  sound(entries: AnnouncedUnits): boolean {
    return this.#replica.isSound(entries);
  }

  append(entries: AnnouncedUnits): void {
    this.#replica.append(entries);
  }

  /**
   * @throws rejects: `data-damaged` when `to` lies below what was folded here, which an
   * operator's word alone makes happen: begin anew from another's log.
   */
  async truncate(to: number): Promise<LogPlace> {
    const { log } = this.#store;
    if (to < log.confirmOffset) {
      const detail = `Cannot cut the log at ${to}: it is folded up to ${log.confirmOffset}`;
      throw new TidegateError("data-damaged", detail, { from: to, to: log.confirmOffset });
    }
    await this.#replica.cut(to);
    return { end: log.end, lastCrc: log.tail.lastCrc };
  }

  confirm(confirmOffset: number): void {
    this.#replica.confirm(confirmOffset);
    this.#trimIfDue();
  }

  replicated(end: number): void {
    this.#replica.replicatedEnd = end;
    this.#broker?.replicated();
  }

  async promise(promised: Promised): Promise<void> {
    await this.#identity.promise(promised).catch((error: unknown) => this.#fail(error));
  }

  mend(range: DamagedRange): Promise<Uint8Array | undefined> {
    return this.#replica.mendingBytes(range);
  }

  /** Where the bytes are a part of the range, what is left of it is told of as damaged. */
  async rewrite(range: DamagedRange, bytes: Uint8Array): Promise<boolean> {
    try {
      const left = await this.#replica.mend(range, bytes);
      if (left && left.from < left.to) this.#events.damaged(left);
      return left !== undefined;
    } catch (error) {
      return this.#fail(error);
    }
  }

  /** For a node that lacks it, of one that leads. */
  beginning(): Promise<LentBeginning> {
    return HeldBeginning.of(this.#store, this.#ports);
  }

  /** As after a failed sync of the log: nothing is to be relied on. */
  #fail(error: unknown): never {
    this.#identity.markFailed();
    this.#ports.fatal(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }

  /**
   * The leader's log begins at `start`, and began there when it had confirmed so much.
   * Segments before are let go of as soon as all that describes them is folded here.
   */
  trim(leader: { readonly start: number; readonly confirmOffset: number }): void {
    if (leader.start > this.#trim.start) this.#trim = { ...leader };
    this.#trimIfDue();
  }

  #trimIfDue(): void {
    const { log, dedupe } = this.#store;
    const { start, confirmOffset } = this.#trim;
    if (this.#trimming || this.#broker || this.#closed) return;
    if (start <= log.start || log.confirmOffset < confirmOffset) return;
    let to = log.start;
    for (const { base, end = Infinity } of log.closedSegments) {
      if (end > start || dedupe.needs({ base, end })) break;
      to = end;
    }
    if (to === log.start) return;
    this.#trimming = true;
    this.#store
      .dropBefore(to)
      .catch((error: unknown) => this.#reports.report(error as Error))
      .finally(() => {
        this.#trimming = false;
      });
  }

  /** Resolves once the record that begins the epoch is appended. */
  async lead(epoch: number): Promise<Broker> {
    await this.#store.lead();
    this.#broker = startBroker(this.#ports, {
      store: this.#store,
      fold: this.#fold,
      options: this.#options,
      epoch,
      reports: this.#reports,
    });
    this.#replica.appended();
    return { ...this.#broker, close: () => this.close() };
  }

  /** Makes everything durable and closes the files. No call may follow. */
  async close(): Promise<void> {
    this.#closed = true;
    await (this.#broker ?? this.#store).close();
    await this.#identity.close();
  }
}

/** As {@linkcode Standby.open}. */
export function openStandby(ports: BrokerPorts, options: BrokerOptions): Promise<Standby> {
  return Standby.open(ports, options);
}
