/**
 * Who leads each broker group, by the coordinator's directory, and a connection to it.
 *
 *   a watch hints, a call failed, some time passed ──▶ look ──▶ leaders, by number
 *
 * A look is never far behind and never believed too long: brokers that do not lead say
 * so, and name who does, which is tried before the coordinator has been asked. When
 * another node leads, the connection to the one before is closed soon, so that calls it
 * may never answer end: what may have run is said to be unknown.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import type { TidegateError } from "../../storage/base/errors.ts";
import type { BrokerGroupApi, ClusterStatus } from "../broker/api.ts";
import type { Directory, GroupView, NodeView } from "../cluster/mod.ts";
import type { Routing } from "../routing/mod.ts";
import { type Caller, RemoteBroker } from "../rpc/mod.ts";

/** A node that can be called, until it is closed. */
export interface Connection extends Caller {
  close(): void;
}

export interface RoutingPorts {
  readonly directory: Pick<Directory, "groups" | "watch">;
  readonly clock: Clock;
  connect(node: Pick<NodeView, "node" | "address">): Connection;
  /** The coordinator does not answer. */
  report(error: Error): void;
}

/** Without a hint it is looked so often. */
const LOOK_MS = 5000;
/** Two looks are so far apart, however many calls fail. */
const REST_MS = 100;
/** For answers of a node that does not lead any more. */
const FAREWELL_MS = 1000;

interface Leader {
  readonly node: string;
  readonly address: string;
  readonly connection: Connection;
  readonly broker: BrokerGroupApi;
}

interface Known {
  view: GroupView;
  leader: Leader | undefined;
}

export class ClusterRouting implements Routing {
  readonly #ports: RoutingPorts;
  readonly #groups = new Map<number, Known>();
  readonly #waiting = new Map<number, Set<() => void>>();
  #unwatch: () => void = () => {};
  #cancel: () => void = () => {};
  #looking = false;
  /** Something hinted since the look under way began. */
  #again = false;
  #lookedAt = -Infinity;
  #closed = false;

  constructor(ports: RoutingPorts) {
    this.#ports = ports;
  }

  /** Looks for the first time, and goes on looking; what is not known then will be later. */
  async start(firstAgainMs = LOOK_MS): Promise<void> {
    this.#unwatch = this.#ports.directory.watch(() => this.#lookSoon());
    await this.#look(firstAgainMs);
  }

  close(): void {
    this.#closed = true;
    this.#unwatch();
    this.#cancel();
    for (const [number, { leader }] of this.#groups) {
      leader?.connection.close();
      this.#tell(number);
    }
    this.#groups.clear();
  }

  async groups(): Promise<readonly number[]> {
    const views = await this.#ports.directory.groups();
    this.#take(views);
    return this.known();
  }

  known(): readonly number[] {
    return [...this.#groups.keys()].sort((a, b) => a - b);
  }

  leader(group: number): BrokerGroupApi | undefined {
    return this.#groups.get(group)?.leader?.broker;
  }

  lost(group: number, broker: BrokerGroupApi, error: TidegateError): void {
    const known = this.#groups.get(group);
    if (!known || known.leader?.broker !== broker) return; // there is another one by now
    const hint = known.view.members.find(({ node }) => node === error.details["leader"]);
    if (hint && hint.node !== known.leader.node) this.#lead(group, hint);
    this.#lookSoon();
  }

  changed(group: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#closed) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = this.#waiting.get(group) ?? new Set();
    this.#waiting.set(group, waiting.add(resolve));
    signal.addEventListener("abort", () => resolve(), { once: true });
    return promise.finally(() => waiting.delete(resolve));
  }

  status(): ClusterStatus {
    const known = this.known().map((number) => this.#groups.get(number) as Known);
    return {
      groups: known.map(({ view, leader }) => {
        const { group: id, number, epoch } = view;
        return { id, number, epoch, ...(leader && { leader: leader.node }) };
      }),
      nodes: known.flatMap(({ view }) =>
        view.members.map(({ node: id, live: alive }) => ({ id, group: view.group, alive })),
      ),
    };
  }

  #arm(ms: number): void {
    this.#cancel();
    if (this.#closed) return;
    this.#cancel = this.#ports.clock.after(ms, () => void this.#look(LOOK_MS));
  }

  #failed(error: unknown): void {
    if (this.#closed) return;
    this.#ports.report(error instanceof Error ? error : new Error(String(error)));
  }

  #lookSoon(): void {
    if (this.#closed) return;
    const since = this.#ports.clock.elapsed() - this.#lookedAt;
    if (this.#looking) this.#again = true;
    else this.#arm(Math.max(0, REST_MS - since));
  }

  /** One at a time; what hinted meanwhile is looked for afterwards, else again in a while. */
  async #look(failedAgainMs: number): Promise<void> {
    this.#looking = true;
    let againMs = LOOK_MS;
    try {
      await this.#lookNow();
    } catch (error) {
      this.#failed(error);
      againMs = failedAgainMs;
    }
    this.#looking = false;
    if (this.#again) this.#lookSoon();
    else this.#arm(againMs);
    this.#again = false;
  }

  async #lookNow(): Promise<void> {
    this.#lookedAt = this.#ports.clock.elapsed();
    this.#take(await this.#ports.directory.groups());
  }

  #take(views: readonly GroupView[]): void {
    if (this.#closed) return;
    for (const view of views) {
      const known = this.#groups.get(view.number);
      if (known && known.view.epoch > view.epoch) continue; // overtaken by a later look
      if (known) known.view = view;
      else this.#groups.set(view.number, { view, leader: undefined });
      this.#lead(view.number, view.leader?.live ? view.leader : undefined);
    }
  }

  #lead(number: number, node: Pick<NodeView, "node" | "address"> | undefined): void {
    const known = this.#groups.get(number) as Known;
    const before = known.leader;
    if (before && node?.node === before.node && node.address === before.address) return;
    if (!before && !node) return;
    known.leader = node && this.#connect(node);
    if (before) this.#ports.clock.after(FAREWELL_MS, () => before.connection.close());
    this.#tell(number);
  }

  #connect({ node, address }: Pick<NodeView, "node" | "address">): Leader {
    const connection = this.#ports.connect({ node, address });
    return { node, address, connection, broker: new RemoteBroker(connection) };
  }

  #tell(group: number): void {
    for (const tell of [...(this.#waiting.get(group) ?? [])]) tell();
  }
}
