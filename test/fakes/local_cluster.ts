/**
 * A cluster in one process: real brokers on disks in memory, the embedded coordinator,
 * and a router over them, on one clock that moves when told to.
 *
 * Each broker group can be taken away and come back, be slow, or fail in ways of the
 * test's own: between the router and each broker lies a `Door`.
 *
 * @module
 */

import { ManualClock } from "../../storage/base/clock_manual.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { Prng } from "../../storage/base/prng.ts";
import type { BrokerApi, BrokerGroupApi, ClusterStatus } from "../../src/broker/api.ts";
import { EmbeddedCoordinator } from "../../src/cluster/mod.ts";
import {
  type DefinitionStore,
  RoutedBroker,
  type RoutedOptions,
  type Routing,
} from "../../src/routing/mod.ts";
import { openTestBroker, type TestBroker, type TestOptions } from "../suites/open_broker.ts";
import { testUrlFault } from "./transactions.ts";

type Call = (...args: unknown[]) => Promise<unknown>;

/** What happens to a call at the door of a broker: by default it goes through. */
export type Doorkeeper = (call: {
  readonly name: string;
  through(): Promise<unknown>;
}) => Promise<unknown>;

const OPEN: Doorkeeper = ({ through }) => through();

export class Door {
  readonly api: BrokerGroupApi;
  keeper: Doorkeeper = OPEN;
  /** Names of calls, in order. */
  readonly calls: string[] = [];

  constructor(broker: BrokerGroupApi) {
    const { topics, messages, groups, transactions, share } = broker;
    this.api = {
      topics: this.#guard("topics", topics),
      messages: this.#guard("messages", messages),
      groups: this.#guard("groups", groups),
      transactions: {
        ...this.#guard("transactions", transactions),
        producers: this.#guard("producers", transactions.producers),
      },
      share: this.#guard("share", share),
      status: () => broker.status(),
    };
  }

  #guard<Api extends object>(section: string, api: Api): Api {
    const guarded = Object.entries(api).map(([name, call]) => {
      if (typeof call !== "function") return [name, call];
      const through = call as Call;
      const passed: Call = (...args) => {
        this.calls.push(`${section}.${name}`);
        return this.keeper({ name: `${section}.${name}`, through: () => through(...args) });
      };
      return [name, passed];
    });
    return Object.fromEntries(guarded) as Api;
  }
}

export interface LocalMember {
  readonly number: number;
  readonly broker: TestBroker;
  readonly door: Door;
}

/** Who leads is what the test says. */
export class TestRouting implements Routing {
  readonly #leaders = new Map<number, BrokerGroupApi | undefined>();
  readonly #waiting = new Map<number, Set<() => void>>();
  readonly #lost: number[] = [];

  /** Broker groups whose leader did not answer as one, in order. */
  get lostGroups(): readonly number[] {
    return this.#lost;
  }

  lead(group: number, broker: BrokerGroupApi | undefined): void {
    this.#leaders.set(group, broker);
    for (const tell of [...(this.#waiting.get(group) ?? [])]) tell();
  }

  groups(): Promise<readonly number[]> {
    return Promise.resolve(this.known());
  }

  known(): readonly number[] {
    return [...this.#leaders.keys()].sort((a, b) => a - b);
  }

  leader(group: number): BrokerGroupApi | undefined {
    return this.#leaders.get(group);
  }

  lost(group: number): void {
    this.#lost.push(group);
  }

  status(): ClusterStatus {
    const groups = this.known().map((number) => {
      const leads = this.#leaders.get(number) !== undefined;
      return { id: `g${number}`, number, epoch: 1, ...(leads && { leader: `n${number}` }) };
    });
    return { groups, nodes: [] };
  }

  changed(group: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = this.#waiting.get(group) ?? new Set();
    this.#waiting.set(group, waiting);
    waiting.add(resolve);
    signal.addEventListener("abort", () => resolve());
    return promise.finally(() => waiting.delete(resolve));
  }
}

export interface LocalClusterOptions extends TestOptions, Partial<Omit<RoutedOptions, "nodeId">> {
  readonly groups: number;
}

export class LocalCluster {
  readonly clock: ManualClock;
  readonly coordinator: EmbeddedCoordinator;
  readonly routing = new TestRouting();
  readonly members: LocalMember[] = [];
  readonly reports: Error[] = [];
  readonly #options: LocalClusterOptions;
  readonly #gateways: RoutedBroker[] = [];

  private constructor(options: LocalClusterOptions) {
    this.#options = options;
    this.clock = options.clock ?? new ManualClock();
    this.coordinator = new EmbeddedCoordinator(this.clock);
  }

  static async open(options: LocalClusterOptions): Promise<LocalCluster> {
    const cluster = new LocalCluster(options);
    for (let i = 0; i < options.groups; i++) await cluster.addGroup();
    return cluster;
  }

  /** One more broker group, which leads. */
  async addGroup(): Promise<LocalMember> {
    const number = this.members.length + 1;
    const { clock } = this;
    const broker = await openTestBroker({
      ...this.#options,
      clock,
      autoCreate: false,
      brokerGroup: number,
      chance: new Prng(7 + number),
    });
    const member = { number, broker, door: new Door(broker.api) };
    this.members.push(member);
    this.routing.lead(number, member.door.api);
    return member;
  }

  /** One more router; each knows only what it has seen. */
  gateway(ports: { readonly definitions?: DefinitionStore } = {}): RoutedBroker {
    const { autoCreate = true, delayMaxMs = 40 * 86_400_000, leaderWaitMs } = this.#options;
    const gateway = new RoutedBroker(
      {
        routing: this.routing,
        definitions: ports.definitions ?? this.coordinator,
        clock: this.clock,
        checks: { urlFault: testUrlFault, secretFault: () => undefined },
        report: (error) => this.reports.push(error),
      },
      { nodeId: `gateway-${this.#gateways.length}`, autoCreate, delayMaxMs, leaderWaitMs },
    );
    this.#gateways.push(gateway);
    return gateway;
  }

  member(number: number): LocalMember {
    const member = this.members[number - 1];
    if (!member) throw new Error(`there is no broker group ${number}`);
    return member;
  }

  /** Nobody leads the group. */
  takeAway(number: number): void {
    this.routing.lead(number, undefined);
  }

  bringBack(number: number): void {
    this.routing.lead(number, this.member(number).door.api);
  }

  /** The leader of the group drains, as before a planned stop, and is closed; another leads over the same log. */
  async handOver(number: number): Promise<void> {
    const { broker } = this.member(number);
    this.takeAway(number);
    broker.drain();
    await broker.close();
    const next = await broker.reopen();
    this.members[number - 1] = { number, broker: next, door: new Door(next.api) };
    this.bringBack(number);
  }

  /** Of each broker group a key whose messages lie there; the topic is empty afterwards. */
  async keysOf(api: BrokerApi, topic: string): Promise<ReadonlyMap<number, string>> {
    const keys = new Map<number, string>();
    for (let i = 0; keys.size < this.members.length; i++) {
      for (const { door } of this.members) door.calls.length = 0;
      const probe = { id: `probe-${i}`, key: `k${i}`, body: new Uint8Array(1) };
      await api.messages.publish(topic, probe);
      const owner = this.members.find(({ door }) => door.calls.includes("messages.publish"));
      if (owner) keys.set(owner.number, `k${i}`);
    }
    await api.topics.purge(topic);
    return keys;
  }

  drain(): void {
    for (const gateway of this.#gateways) gateway.drain();
  }

  async close(): Promise<void> {
    for (const gateway of this.#gateways) gateway.close();
    for (const { broker } of this.members) await broker.close();
    await this.coordinator.close();
  }
}

/** As a broker says it that does not lead any more. */
export function notLeading(): TidegateError {
  return new TidegateError("unavailable", "Cannot answer: this node does not lead");
}
