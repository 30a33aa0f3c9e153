/**
 * A node of a broker group: the lives it leads, one after the other, in one process.
 *
 *              openLog        core: led, and does no more
 *   start ──▶ living ────────────────────────────────────▶ between ──▶ living …
 *               │  ▲   core: take a snapshot                  │  ▲
 *               │  └──────────────────────────────────────────┘  └─ the log is set aside, and
 *               │ core: this must not be                            the leader's is taken over
 *               ├────────▶ quarantined      serves nothing, keeps everything
 *               │ drain
 *               └────────▶ stopped          handed over, lease ended, files closed
 *
 * A life is a boot: what a member has acknowledged holds for one (group_state.ts). The
 * RPC of the node outlives them all; between two lives calls are answered as by a node
 * that does not lead, and messages are dropped.
 *
 * A group that has no state is founded by a node whose log is empty, for then nothing
 * can be lost by it. A node that has a log and finds no state waits: no word is no
 * reason to begin anew.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { NodeStatus } from "../broker/api.ts";
import { serveCalls, Services } from "../rpc/mod.ts";
import { BrokerGate } from "./broker_gate.ts";
import { Directory } from "./directory.ts";
import type { LifeEnd } from "./driver_ports.ts";
import type { Giving } from "./giving.ts";
import { LeaderlessWatch } from "./leaderless.ts";
import { Life } from "./life.ts";
import type { NodeLog } from "./node_log.ts";
import type { NodeOptions, NodePorts, NodeState } from "./node_ports.ts";
import type { Began } from "./messages.ts";
import { type LinkPeer, ReplicaLinks } from "./replica_links.ts";
import { BEGAN, BEGINNING, FORCE, PIECE, serveMessages } from "./replica_methods.ts";
import { Takeover } from "./takeover.ts";

const AGAIN_MS = 1000;
const FORCES = 5;
const REFRESH_MS = 5000;
const TELL_MS = 2000;
/** For calls that are to be answered before the node hands over. */
const WRITES_MS = 1500;

export class BrokerNode {
  readonly services = new Services();
  readonly gate: BrokerGate;
  readonly #ports: NodePorts;
  readonly #options: NodeOptions;
  readonly #directory: Directory;
  readonly #links: ReplicaLinks;
  readonly #leaderless: LeaderlessWatch;
  #number = 0;
  #state: NodeState = "starting";
  #life: Life | undefined;
  #draining = false;
  /** What follows a life that ended. */
  #next: Promise<void> = Promise.resolve();
  #refreshing = false;
  /** Where the others are may have changed since it was looked at. */
  #stale = false;
  readonly #ends = new Set<() => void>();
  /** How often it came to lead, and how often a life ended. */
  readonly counts = { led: 0, deposed: 0 };
  readonly #takeover: Takeover;

  constructor(ports: NodePorts, options: NodeOptions) {
    const { clock, coordinator } = ports;
    this.#ports = ports;
    this.#options = options;
    this.#directory = new Directory(coordinator);
    this.#links = new ReplicaLinks({ clock, connect: (entry) => ports.connect(entry) });
    this.#takeover = new Takeover({ ...ports, leader: () => this.#reachLeader() });
    this.#leaderless = new LeaderlessWatch(ports.journal);
    this.gate = new BrokerGate({
      clock,
      leader: () => this.#leader(),
      status: () => this.#status(),
    });
    serveMessages(this.services, (message, from) => {
      this.#links.heard(from);
      this.#life?.driver.receive(message, from);
    });
    this.services.call(BEGAN, async (began, { peer }) => this.#onBegan(began, peer));
    this.services.call(FORCE, async (_, { peer }) => this.force(peer));
    this.services.call(BEGINNING, async (_, { peer }) => this.#giving.begin(peer));
    this.services.call(PIECE, async (wish, { peer }) => this.#giving.piece(peer, wish));
    serveCalls(this.services, { calls: this.gate, clock });
  }

  get state(): NodeState {
    return this.#state;
  }

  get life(): Life | undefined {
    return this.#life;
  }

  /** In the coordinator's words: this boot counts. */
  get isMember(): boolean {
    return this.#state === "living" && !this.#draining && (this.#life?.isMember ?? false);
  }

  /**
   * Resolves when it takes part; waits for the coordinator as long as that takes.
   *
   * @param address `host:port`, as others reach its services.
   * @throws `validation-failed` when the name is a node's of another group.
   */
  async start(address: string): Promise<void> {
    const { group, node } = this.#options;
    this.#number = await this.#patiently(() => this.#directory.number(group));
    await this.#patiently(() => this.#directory.announce({ node, group, address }));
    this.#ends.add(this.#directory.watchNodes(() => void this.#refresh()));
    this.#every(REFRESH_MS, () => void this.#refresh());
    this.#every(TELL_MS, () => this.#tell());
    await this.#refresh();
    await this.#live();
  }

  /** Leads with what it has, as an operator says; what only others hold is lost. */
  async force(by: string): Promise<undefined> {
    const { journal } = this.#ports;
    journal("error", "Told to lead, whatever is lost by it", { by, state: this.#state });
    if (this.#state === "quarantined") await this.#live();
    for (let tries = 0; tries < FORCES && this.#life?.driver.replica.leads !== true; tries++) {
      this.#life?.driver.force(); // the state may change just then, and it comes to nothing
      await this.#pause(AGAIN_MS);
    }
    return undefined;
  }

  /**
   * Hands over what it leads, has others do without it, ends its lease and closes its files: in ten seconds, or
   * nearly, whatever the others do.
   */
  async drain(): Promise<void> {
    this.#draining = true;
    this.#takeover.stop();
    this.gate.drain();
    this.#life?.broker?.drain();
    for (let waited = 0; this.gate.writesUnderWay > 0 && waited < WRITES_MS; waited += 20) {
      await this.#pause(20);
    }
    await this.#life?.depart();
    await this.#stop();
  }

  async #stop(): Promise<void> {
    await this.#next;
    this.#state = "stopped";
    this.gate.close();
    for (const end of this.#ends) end();
    const life = this.#life;
    this.#life = undefined;
    await life?.close();
    this.#links.close();
  }

  // Lives

  async #live(): Promise<void> {
    const { journal } = this.#ports;
    const log = await this.#openLog();
    if (this.#draining) return await log?.close();
    if (!log) return;
    const life: Life = new Life(
      {
        ...this.#ports,
        log,
        gate: this.gate,
        send: (to, message) => this.#links.send(to, message),
      },
      this.#options,
      { onLead: () => void this.counts.led++, onEnd: (end) => this.#onEnd(life, end) },
    );
    this.#life = life;
    this.#state = "living";
    const { self, restored } = life;
    journal("info", "A life begins", { boot: self.boot, disk: self.disk, end: restored.end });
    life.start();
  }

  /** Undefined when the node drains before there is one that can be used. */
  async #openLog(): Promise<NodeLog | undefined> {
    while (!this.#draining) {
      try {
        return await this.#ports.openLog(this.#number);
      } catch (error) {
        const lost = error instanceof TidegateError && error.code === "data-damaged";
        if (!lost) throw error;
        this.#ports.journal("error", "The log cannot be used: it is begun anew", { error });
        await this.#takeover.run(undefined);
      }
    }
    return undefined;
  }

  #onEnd(life: Life, end: LifeEnd): void {
    this.gate.close();
    const reason = end.kind === "quarantined" ? { reason: end.reason } : {};
    const level = end.kind === "quarantined" ? "error" : "warn";
    this.#ports.journal(level, `A life ends: ${end.kind}`, { boot: life.self.boot, ...reason });
    this.#state = end.kind === "quarantined" ? "quarantined" : "between";
    this.#next = this.#afterwards(life, end).catch((error: unknown) => this.#ports.fatal(error));
  }

  async #afterwards(life: Life, end: LifeEnd): Promise<void> {
    if (end.kind === "deposed") this.counts.deposed++;
    await life.close();
    if (this.#life === life) this.#life = undefined;
    if (this.#draining || end.kind === "quarantined") return;
    if (end.kind === "snapshot") await this.#takeover.run(life.driver.replica.log.end);
    if (!this.#draining) await this.#live();
  }

  async #reachLeader(): Promise<{ readonly node: string; readonly peer: LinkPeer } | undefined> {
    const { state } = await this.#ports.coordinator.look(this.#options.group);
    const node = state?.leader?.node;
    const peer = node === undefined ? undefined : this.#links.peer(node);
    return node !== undefined && peer ? { node, peer } : undefined;
  }

  /** How often its log gave way to the leader's, and what came with that. */
  get takenOver(): Takeover["counts"] {
    return this.#takeover.counts;
  }

  // The others

  /** One at a time; what hints meanwhile is looked at afterwards. */
  async #refresh(): Promise<void> {
    this.#stale = true;
    if (this.#refreshing) return;
    this.#refreshing = true;
    while (this.#stale && this.#state !== "stopped") {
      this.#stale = false;
      await this.#lookAtOthers();
    }
    this.#refreshing = false;
  }

  async #lookAtOthers(): Promise<void> {
    const { group, node } = this.#options;
    try {
      const nodes = await this.#directory.nodesOf(group);
      this.#links.update(nodes.filter((entry) => entry.node !== node));
    } catch {
      // The coordinator is away: the others are where they were.
    }
  }

  #tell(): void {
    const { replica } = this.#life?.driver ?? {};
    if (replica) this.#leaderless.look(this.#ports.clock.elapsed(), replica);
    if (!replica?.leads || replica.log.start === 0) return;
    const { start, confirmOffset } = replica.log;
    this.#links.tell({ epoch: replica.epoch, start, confirmOffset });
  }

  /** @throws `unavailable` between two lives. */
  get #giving(): Giving {
    if (this.#life) return this.#life.giving;
    throw new TidegateError(
      "unavailable",
      "Cannot give the log's beginning: the node does not lead",
    );
  }

  #onBegan({ epoch, ...place }: Began, from: string): undefined {
    const { replica } = this.#life?.driver ?? {};
    const holds = replica && !replica.leads && replica.epoch === epoch;
    if (holds && replica.leader?.node === from) this.#life?.log.trim(place);
    return undefined;
  }

  // What is known

  #leader(): { readonly node: string | undefined; readonly epoch: number } {
    const { replica } = this.#life?.driver ?? {};
    const node = replica?.leader?.node;
    const other = node === this.#options.node ? undefined : node;
    return { node: other, epoch: Math.max(0, replica?.epoch ?? 0) };
  }

  #status(): NodeStatus {
    const { log, epoch } = this.#life?.driver.replica ?? {};
    return {
      nodeId: this.#options.node,
      group: String(this.#number),
      ready: false,
      epoch: Math.max(0, epoch ?? 0),
      durableEnd: log?.durableEnd ?? 0,
      confirmOffset: log?.confirmOffset ?? 0,
      clockSkewMs: 0,
      damaged: [],
      disk: "ample",
    };
  }

  // Time

  /** Until it succeeds; the coordinator may come later than this node. */
  async #patiently<T>(work: () => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof TidegateError) || error.code !== "outcome-unknown") throw error;
        const { journal } = this.#ports;
        if (tries % 10 === 0) journal("warn", "The coordinator does not answer", { error });
        await this.#pause(AGAIN_MS);
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#ports.clock.after(ms, resolve));
  }

  #every(ms: number, run: () => void): void {
    let cancel = () => {};
    const next = () => {
      cancel = this.#ports.clock.after(ms, () => {
        run();
        next();
      });
    };
    this.#ends.add(() => cancel());
    next();
  }
}
