/**
 * One life of a node: its log, the driver of its replica, and the broker for as long
 * as it leads.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { Log } from "../../storage/base/logger.ts";
import type { LentBeginning } from "../../storage/mod.ts";
import type { BrokerGate } from "./broker_gate.ts";
import type { Coordinator } from "./coordinator.ts";
import { within } from "./deadline.ts";
import type { LifeEnd } from "./driver_ports.ts";
import type { Restored } from "./effects.ts";
import { Giving } from "./giving.ts";
import { foundingState, type Member, memberOf, sameBoot } from "./group_state.ts";
import type { Message } from "./messages.ts";
import type { NodeBroker, NodeLog } from "./node_log.ts";
import { ReplicaDriver } from "./replica_driver.ts";

export interface LifePorts {
  readonly clock: Clock;
  readonly coordinator: Coordinator;
  readonly journal: Log;
  readonly log: NodeLog;
  readonly gate: BrokerGate;
  entropy(size: number): Uint8Array;
  send(to: string, message: Message): void;
  fatal(error: unknown): void;
}

export interface LifeOptions {
  readonly group: string;
  readonly node: string;
  readonly minSync: number;
  readonly catchUpRate: number;
}

export interface LifeEvents {
  onLead(): void;
  onEnd(end: LifeEnd): void;
}

const BOOT_BYTES = 16;
const FOUND_AGAIN_MS = 1000;
const HANDOVER_MS = 4000;
/** The leader answers within milliseconds, and the coordinator too; or one of them is away. */
const LEAVE_MS = 1500;
const LEAVE_POLL_MS = 5;

export class Life {
  readonly self: Member;
  readonly driver: ReplicaDriver;
  readonly log: NodeLog;
  /** To nodes that lack it, while this one leads. */
  readonly giving: Giving;
  /** Resolves when it ends by itself. */
  readonly ended: Promise<LifeEnd>;
  broker: NodeBroker | undefined;
  readonly #ports: LifePorts;
  readonly #options: LifeOptions;
  #leading: Promise<void> = Promise.resolve();
  #cancel = () => {};

  constructor(ports: LifePorts, options: LifeOptions, events: LifeEvents) {
    const { log, gate } = ports;
    this.#ports = ports;
    this.#options = options;
    this.log = log;
    const boot = hex(ports.entropy(BOOT_BYTES));
    this.self = { node: options.node, boot, disk: log.diskId };
    let resolve: (end: LifeEnd) => void = () => {};
    this.ended = new Promise((tell) => {
      resolve = tell;
    });
    const { group, catchUpRate } = options;
    this.driver = new ReplicaDriver(
      ports,
      { group, self: this.self, catchUpRate },
      {
        onLead: (epoch) => {
          events.onLead();
          this.#leading = this.#lead(epoch);
          return this.#leading;
        },
        onChange: () => gate.confirmed(),
        onEnd: (end) => {
          this.#cancel();
          events.onEnd(end);
          resolve(end);
        },
      },
    );
    this.giving = new Giving({
      clock: ports.clock,
      pace: this.driver.pace,
      beginning: () => this.#beginning(),
    });
  }

  get restored(): Restored {
    return this.log.restored;
  }

  /** Counts in the SyncStateSet, in this boot. */
  get isMember(): boolean {
    const { state } = this.driver.replica.sighting;
    return state !== undefined && sameBoot(memberOf(state, this.self.node), this.self);
  }

  /** Somebody else could lead. */
  get hasOthers(): boolean {
    return (this.driver.replica.sighting.state?.syncSet.length ?? 0) > 1;
  }

  start(): void {
    this.driver.start();
    void this.#foundIfNone();
  }

  /**
   * Hands over what it leads, or has the leader do without it, so that others wait for
   * neither when it stops. In bounded time: the group may have nobody to spare.
   */
  async depart(): Promise<void> {
    const { driver } = this;
    const { clock, journal } = this.#ports;
    const { group } = this.#options;
    if (this.isMember && this.hasOthers && !this.#isSpare) {
      journal("warn", "The group cannot spare this node: publishes wait for another", { group });
    }
    driver.drain();
    if (driver.replica.leads && this.hasOthers) {
      await within(clock, { ms: HANDOVER_MS, work: this.ended });
    } else if (this.#isSpare) await this.#leave();
  }

  /** The set may shrink by one. */
  get #isSpare(): boolean {
    const { syncSet = [], minSync = 0 } = this.driver.replica.sighting.state ?? {};
    return syncSet.length > minSync;
  }

  /** Until the set is without it, or nobody is there to leave it to. */
  async #leave(): Promise<void> {
    const { driver } = this;
    const { clock } = this.#ports;
    const until = clock.elapsed() + LEAVE_MS;
    while (this.isMember && !driver.isOver && !driver.replica.leaderless) {
      if (clock.elapsed() >= until) return;
      await new Promise<void>((resolve) => void clock.after(LEAVE_POLL_MS, resolve));
    }
  }

  /** Takes part no longer, lets the lease go and closes the log. */
  async close(): Promise<void> {
    this.#cancel();
    await this.driver.stop();
    await this.giving.end();
    await this.#leading.catch(() => {}); // told to the driver, which is over
    await this.log.close();
  }

  async #lead(epoch: number): Promise<void> {
    const { journal } = this.#ports;
    const { driver, log } = this;
    const broker = await log.lead(epoch);
    if (driver.isOver) return;
    this.broker = broker;
    journal("info", "This node leads", { epoch, end: driver.replica.log.end });
    // Not waited for: while nothing can be confirmed the life may have to end.
    void broker.started().then(
      () => this.#serve(broker),
      () => {},
    );
  }

  /** The core is ahead of what is shown, and an answer that lacks what was shown before would be a lie. */
  #serve({ api }: NodeBroker): void {
    const { driver } = this;
    if (driver.isOver) return;
    this.#ports.gate.open({
      api,
      replica: driver.replica,
      get readsLatest() {
        return driver.readsLatest;
      },
    });
  }

  /**
   * Also while it cannot confirm anything: whoever asks may be the one it lacks for that.
   *
   * @throws rejects: `unavailable` when it does not lead.
   */
  async #beginning(): Promise<LentBeginning> {
    if (this.driver.replica.leads) return await this.log.beginning();
    const detail = "Cannot give the log's beginning: the node does not lead";
    throw new TidegateError("unavailable", detail);
  }

  /** A group that has no state gets one: from whoever has nothing that it could contradict. */
  async #foundIfNone(): Promise<void> {
    const { coordinator, journal, clock } = this.#ports;
    const { group, minSync } = this.#options;
    try {
      const { state } = await coordinator.look(group);
      if (state || this.driver.isOver) return;
      if (this.restored.end === 0) {
        const outcome = await coordinator.found(group, foundingState(this.self, minSync));
        if (outcome.kind === "done")
          journal("info", "The broker group is founded", { group, minSync });
        return;
      }
      const { end } = this.restored;
      journal("error", "The coordinator knows nothing of the broker group: waiting", {
        group,
        end,
      });
    } catch {
      // The coordinator is away: it is asked again.
    }
    if (!this.driver.isOver) {
      this.#cancel = clock.after(FOUND_AGAIN_MS, () => void this.#foundIfNone());
    }
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
