/**
 * Some nodes of a broker group in one process, on one clock: the shell of
 * replication over a fake log, a network that is told what to do, and a
 * coordinator that may be out of reach. Messages cross as bytes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { Prng } from "../../storage/base/prng.ts";
import { EmbeddedCoordinator } from "../../src/cluster/coordinator_embedded.ts";
import type { Coordinator, Liveness } from "../../src/cluster/coordinator.ts";
import type { ReplicaEvent } from "../../src/cluster/effects.ts";
import { foundingState, type Member } from "../../src/cluster/group_state.ts";
import { LEASE_TTL_MS } from "../../src/cluster/lease.ts";
import type { Message } from "../../src/cluster/messages.ts";
import type { LifeEnd } from "../../src/cluster/driver_ports.ts";
import { ReplicaDriver } from "../../src/cluster/replica_driver.ts";
import { MESSAGE_METHODS } from "../../src/cluster/replica_methods.ts";
import { ByteReader, ByteWriter } from "../../src/rpc/mod.ts";
import { MemoryLogDisk, MemoryReplicaLog } from "../fakes/replica_log.ts";

export const GROUP = "g";

export function overTheWire(message: Message): Message {
  const { request } = MESSAGE_METHODS[message.kind];
  const writer = new ByteWriter();
  request.write(writer, message);
  const reader = ByteReader.of(writer.take());
  const read = request.read(reader);
  reader.end();
  return read;
}

export class DriverNode {
  readonly name: string;
  readonly #world: DriverWorld;
  disk: MemoryLogDisk;
  log: MemoryReplicaLog | undefined;
  driver: ReplicaDriver | undefined;
  liveness: Liveness | undefined;
  ended: LifeEnd | undefined;
  failed: unknown;
  boots = 0;
  leads = 0;
  syncMs = 2;
  /** Its coordinator does not answer, and its lease is not prolonged. */
  away = false;
  /** What the core was told, and what was promised on disk by then. */
  readonly told: { readonly event: ReplicaEvent; readonly promised: number | undefined }[] = [];

  constructor(world: DriverWorld, name: string) {
    this.#world = world;
    this.name = name;
    this.disk = new MemoryLogDisk(`${name}-disk`);
  }

  get member(): Member {
    return { node: this.name, boot: `${this.name}-${this.boots}`, disk: this.disk.id };
  }

  boot(): void {
    assert(!this.driver, "a node boots when it is down");
    this.boots++;
    this.ended = undefined;
    const { clock, journal, catchUpRate } = this.#world;
    const log = new MemoryReplicaLog(this.disk, { clock, syncMs: () => this.syncMs });
    this.log = log;
    const world = this.#world;
    const driver: ReplicaDriver = new ReplicaDriver(
      {
        clock,
        log,
        journal,
        coordinator: world.coordinatorOf(this),
        send: (to, message) => world.send(this.name, to, message),
        fatal: (error) => {
          this.failed = error;
        },
      },
      { group: GROUP, self: this.member, catchUpRate },
      {
        onLead: async (epoch) => {
          this.leads++;
          log.lead(epoch);
        },
        onChange: () => {},
        onEnd: (end) => {
          this.ended = end;
        },
      },
    );
    this.driver = driver;
    const { replica } = driver;
    const step = replica.step.bind(replica);
    replica.step = (now, event) => {
      this.told.push({ event, promised: this.disk.promised?.epoch });
      return step(now, event);
    };
    driver.start();
  }

  /** Its process is gone; its lease is left to run out. */
  kill({ power = false }: { readonly power?: boolean } = {}): void {
    const { liveness } = this;
    this.liveness = undefined;
    this.log?.close();
    void this.driver?.stop();
    this.driver = undefined;
    if (power) this.disk.losePower();
    this.#world.clock.after(LEASE_TTL_MS, () => void liveness?.end());
  }

  /** A life that ended is followed by the next one, as a node does it. */
  reboot(): void {
    this.log?.close();
    void this.driver?.stop();
    this.driver = undefined;
    void this.liveness?.end();
    this.boot();
  }
}

export class DriverWorld {
  readonly clock = new ManualClock();
  readonly prng: Prng;
  readonly coordinator = new EmbeddedCoordinator(this.clock);
  readonly nodes: readonly DriverNode[];
  readonly cuts = new Set<string>();
  readonly logged: string[] = [];
  catchUpRate = 64 * 1024 * 1024;
  /** Of a hundred messages so many are lost, and as many come twice. */
  lossPercent = 0;
  delayMs = 1;
  /** What becomes of a message on its way. */
  tamper = (message: Message): Message => message;
  /** Of a hundred swaps so many are made without an answer. */
  silentPercent = 0;
  /** So many of the next swaps are made without an answer. */
  silentSwaps = 0;
  readonly journal = (_level: string, message: string, fields: object = {}) =>
    void this.logged.push(`${message} ${JSON.stringify(fields)}`);

  constructor(names: readonly string[], seed = 1) {
    this.prng = new Prng(seed);
    this.nodes = names.map((name) => new DriverNode(this, name));
  }

  node(name: string): DriverNode {
    const found = this.nodes.find((node) => node.name === name);
    assert(found);
    return found;
  }

  get leader(): DriverNode | undefined {
    return this.nodes.find(({ driver }) => driver?.replica.serves && driver.replica.admits);
  }

  async found(minSync = 2): Promise<void> {
    const [first] = this.nodes;
    assert(first);
    await this.coordinator.found(GROUP, foundingState({ ...first.member, boot: "none" }, minSync));
    for (const node of this.nodes) node.boot();
  }

  send(from: string, to: string, message: Message): void {
    if (this.cuts.has(`${from} ${to}`)) return;
    const copies = this.prng.below(100) < this.lossPercent ? [0, 2][this.prng.below(2)] : 1;
    const wired = this.tamper(overTheWire(message));
    for (let i = 0; i < (copies ?? 1); i++) {
      const delay = this.delayMs + (this.lossPercent > 0 ? this.prng.below(20) : 0);
      this.clock.after(delay, () => {
        if (!this.cuts.has(`${from} ${to}`)) this.node(to).driver?.receive(wired, from);
      });
    }
  }

  cut(a: string, b: string): void {
    this.cuts.add(`${a} ${b}`);
    this.cuts.add(`${b} ${a}`);
  }

  coordinatorOf(node: DriverNode): Coordinator {
    const { coordinator } = this;
    const never = () => new Promise<never>(() => {});
    const silent = () => node.away || this.prng.below(100) < this.silentPercent;
    return Object.assign(Object.create(coordinator) as Coordinator, {
      look: (group: string) => (silent() ? never() : coordinator.look(group)),
      swap: async (group: string, swap: Parameters<Coordinator["swap"]>[1]) => {
        if (node.away) return await never();
        const outcome = await coordinator.swap(group, swap);
        return silent() || this.silentSwaps-- > 0 ? await never() : outcome;
      },
      watch: (group: string, onHint: () => void) =>
        coordinator.watch(group, () => !node.away && onHint()),
      live: (group: string, member: Member, events: Parameters<Coordinator["live"]>[2]) => {
        const own = coordinator.live(group, member, {
          onLease: (lease) => {
            if (!node.away) events.onLease(lease);
          },
        });
        node.liveness = own;
        // Whoever is killed says no goodbye: the world ends its lease later.
        return { end: async () => void (node.liveness === own && (await own.end())) };
      },
    });
  }

  async run(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 5) {
      this.clock.advance(5);
      await new Promise((resolve) => setImmediate(resolve));
      for (const { failed } of this.nodes) if (failed) throw failed as Error;
    }
  }

  async until(
    holds: () => boolean,
    { ms = 20_000, what = "it comes to hold" } = {},
  ): Promise<void> {
    for (let waited = 0; !holds(); waited += 5) {
      assert(waited < ms, `${what}\n${this.logged.join("\n")}`);
      await this.run(5);
    }
  }

  /** Publishes at the leader; the texts that are answered go into `acked`. */
  publish(text: string, acked: Set<string>): boolean {
    const { leader } = this;
    if (!leader?.log) return false;
    void leader.log.publish(text).then(() => acked.add(text));
    return true;
  }
}
