/**
 * The lives of a node: three of them in one process, over fake logs, with calls that
 * cross as bytes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { Prng } from "../../storage/base/prng.ts";
import type { BrokerGroupApi, NodeStatus } from "../../src/broker/api.ts";
import { BrokerNode } from "../../src/cluster/broker_node.ts";
import { EmbeddedCoordinator } from "../../src/cluster/coordinator_embedded.ts";
import { Directory } from "../../src/cluster/directory.ts";
import type { Entries } from "../../src/cluster/messages.ts";
import type { NodeLog } from "../../src/cluster/node_log.ts";
import type { LinkPeer } from "../../src/cluster/replica_links.ts";
import type { LogReplacement } from "../../src/cluster/node_ports.ts";
import { BEGINNING, FORCE, PIECE } from "../../src/cluster/replica_methods.ts";
import { ByteReader, ByteWriter, type CallMethod, type Codec } from "../../src/rpc/mod.ts";
import { MemoryLogDisk, MemoryReplicaLog } from "../fakes/replica_log.ts";

const GROUP = "g";

/** A log as a node asks for it: the broker of it publishes texts and does nothing else. */
function nodeLog(log: MemoryReplicaLog, started: () => Promise<void>): NodeLog {
  const api = {
    status: () => ({ ready: true }) as NodeStatus,
    messages: { publish: (_: string, { id }: { id: string }) => log.publish(id) },
  } as unknown as BrokerGroupApi;
  return {
    restored: log.restored,
    diskId: log.disk.id,
    metrics: () => [],
    trim: ({ start }) => void log.asked.push(`trim ${start}`),
    beginning: () => log.beginning(),
    async lead(epoch) {
      log.lead(epoch);
      return { api, started, drain() {} };
    },
    close: async () => log.close(),
    listen: (events) => log.listen(events),
    crcAt: (logOffset) => log.crcAt(logOffset),
    transfer: (wish) => log.transfer(wish),
    sound: (entries) => log.sound(entries),
    append: (entries) => log.append(entries),
    truncate: (to) => log.truncate(to),
    confirm: (confirmOffset) => log.confirm(confirmOffset),
    replicated: (end) => log.replicated(end),
    promise: (promised) => log.promise(promised),
    mend: (range) => log.mend(range),
    rewrite: (range, bytes) => log.rewrite(range, bytes),
  };
}

class Member {
  readonly name: string;
  readonly node: BrokerNode;
  disk: MemoryLogDisk;
  disks = 1;
  /** What is on the disk cannot be opened. */
  unusable = false;
  readonly logs: MemoryReplicaLog[] = [];
  /** Its broker shows all that was confirmed before it led. */
  started = Promise.resolve();

  constructor(world: World, name: string) {
    const { clock, coordinator } = world;
    this.name = name;
    this.disk = new MemoryLogDisk(`${name}-disk-1`);
    this.node = new BrokerNode(
      {
        clock,
        coordinator,
        journal: (_level, message, fields = {}) =>
          void world.logged.push(`${name}: ${message} ${JSON.stringify(fields)}`),
        entropy: (size) => Uint8Array.from({ length: size }, () => world.prng.below(256)),
        openLog: async () => {
          if (this.unusable) throw new TidegateError("data-damaged", "Cannot open the log");
          const log = new MemoryReplicaLog(this.disk, { clock, syncMs: () => 2 });
          this.logs.push(log);
          return nodeLog(log, () => this.started);
        },
        replaceLog: async () => this.#replaceLog(),
        connect({ node, address }) {
          world.connected.push(`${name} ${address}`);
          return world.peer(name, node);
        },
        fatal: (error) => void world.failed.push(error),
      },
      { group: GROUP, node: name, minSync: 2, catchUpRate: world.catchUpRate },
    );
  }

  #replaceLog(): LogReplacement {
    const disk = new MemoryLogDisk(`${this.name}-disk-${++this.disks}`);
    let keys: Uint8Array[] = [];
    return {
      clear: async () => {
        keys = [];
      },
      put: async (_file, at, piece) => {
        assert.equal(
          at,
          keys.reduce((sum, { length }) => sum + length, 0),
        );
        assert.equal(crc32(piece.bytes), piece.crc);
        keys.push(piece.bytes.slice());
      },
      finish: async (beginning) => {
        this.unusable = false;
        if (beginning) disk.begin(beginning, new Uint8Array(Buffer.concat(keys)));
        this.disk = disk;
      },
    };
  }

  /** Its log lets go of the first half. @param keys of it, that are left. */
  trim(keys: Uint8Array): void {
    const { frames } = this.disk;
    this.disk.trim(frames[frames.length >> 1]?.from as number, keys);
    this.logs.at(-1)?.trimmed(this.disk.start);
  }

  get texts(): readonly string[] {
    return this.disk.texts(this.disk.confirmOffset).filter((text) => text !== "epoch-start");
  }

  publish(id: string): Promise<unknown> {
    return this.node.gate.run("once", (api) => api.messages.publish("t", { id } as never));
  }
}

function isHeartbeat(message: unknown): message is Entries {
  const { kind, from, to } = (message ?? {}) as Partial<Entries>;
  return kind === "entries" && from === to;
}

function overTheWire<T>(codec: Codec<T>, value: T): T {
  const writer = new ByteWriter();
  codec.write(writer, value);
  const reader = ByteReader.of(writer.take());
  const read = codec.read(reader);
  reader.end();
  return read;
}

class World {
  readonly clock = new ManualClock();
  readonly prng = new Prng(3);
  readonly coordinator = new EmbeddedCoordinator(this.clock);
  readonly members: readonly Member[];
  readonly logged: string[] = [];
  /** Who called whom, and what. */
  readonly called: string[] = [];
  /** Who made a line to which address. */
  readonly connected: string[] = [];
  readonly failed: unknown[] = [];
  readonly cuts = new Set<string>();
  readonly catchUpRate: number;
  /** What becomes of a heartbeat on its way. */
  tamper = (message: Entries): Entries => message;

  constructor(names: readonly string[], { catchUpRate = 64 * 1024 * 1024 } = {}) {
    this.catchUpRate = catchUpRate;
    this.members = names.map((name) => new Member(this, name));
  }

  member(name: string): Member {
    return this.members.find((one) => one.name === name) as Member;
  }

  get leader(): Member | undefined {
    return this.members.find(({ node }) => node.gate.status().ready);
  }

  /** A line between two nodes: a call crosses as bytes, in a turn of its own. */
  peer(from: string, to: string): LinkPeer {
    const call = async <Request, Response>(
      method: CallMethod<Request, Response>,
      request: Request,
    ): Promise<Response> => {
      await new Promise<void>((resolve) => void this.clock.after(1, resolve));
      const lost = this.cuts.has(`${from} ${to}`) || this.cuts.has(`${from} ${to} ${method.name}`);
      if (lost) throw new TidegateError("unavailable", "Cannot call: cut");
      this.called.push(`${from} ${to} ${method.name}`);
      let read: unknown = overTheWire(method.request, request);
      if (isHeartbeat(read)) read = this.tamper(read);
      const service = this.member(to).node.services.of(method.id);
      assert(service?.method.kind === "call");
      const context = { signal: AbortSignal.any([]), peer: from };
      const response = await service.handler(read, context as never);
      return overTheWire(method.response, response as Response);
    };
    const state = { isOpen: true, isResting: false };
    return { call, open() {}, close() {}, ...state, subscribe: () => assert.fail() };
  }

  async start(names = this.members.map(({ name }) => name)): Promise<void> {
    for (const name of names) await this.member(name).node.start(`${name}:1`);
    await this.until(() => this.setSize === names.length, "all count");
  }

  async publish(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const answer = this.leader?.publish(`m${i}`);
      await this.run(20);
      await answer;
    }
  }

  callsOf(name: string): number {
    return this.called.filter((call) => call.endsWith(` ${name}`)).length;
  }

  get setSize(): number {
    return this.leader?.node.life?.driver.replica.sighting.state?.syncSet.length ?? 0;
  }

  async run(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 5) {
      this.clock.advance(5);
      await new Promise((resolve) => setImmediate(resolve));
      assert.deepEqual(this.failed, []);
    }
  }

  async until(holds: () => boolean, what: string, ms = 20_000): Promise<void> {
    for (let waited = 0; !holds(); waited += 5) {
      assert(waited < ms, `${what}\n${this.logged.join("\n")}`);
      await this.run(5);
    }
  }
}

describe("BrokerNode", () => {
  it("founds a group, is numbered and announced, and publishes once two keep up", async () => {
    const world = new World(["a", "b"]);
    await world.start();
    const [view] = await new Directory(world.coordinator).groups();
    assert.equal(view?.number, 1);
    assert.deepEqual(
      view?.members.map(({ address }) => address),
      ["a:1", "b:1"],
    );
    const answer = world.leader?.publish("m");
    await world.run(100);
    await answer;
    await world.until(
      () => world.members.every(({ texts }) => texts.includes("m")),
      "both have it",
    );
  });

  it("does not found a group over a log that holds something", async () => {
    const world = new World(["a"]);
    const log = new MemoryReplicaLog(world.member("a").disk, {
      clock: world.clock,
      syncMs: () => 1,
    });
    log.lead(1);
    await world.run(10);
    await world.member("a").node.start("a:1");
    await world.run(3000);
    assert.equal((await world.coordinator.look(GROUP)).state, undefined);
    assert(world.logged.some((line) => line.includes("knows nothing of the broker group")));
  });

  it("serves once its broker shows what was confirmed before it led", async () => {
    const world = new World(["a", "b"]);
    const started = Promise.withResolvers<void>();
    for (const member of world.members) member.started = started.promise;
    for (const { name, node } of world.members) await node.start(`${name}:1`);
    const leader = () => world.members.find(({ node }) => node.life?.driver.replica.serves);
    await world.until(() => leader() !== undefined, "the core would serve");
    await world.run(1000);
    const { node } = leader() as Member;
    assert.equal(node.gate.status().ready, false);
    await assert.rejects(
      node.gate.run("none", (api) => api.messages.publish("t", {} as never)),
      {
        code: "unavailable",
      },
    );
    started.resolve();
    await world.until(() => node.gate.status().ready, "it serves");
  });

  it("ends a life whose broker never came to serve", async () => {
    const world = new World(["a"]);
    const [a] = world.members as [Member];
    a.started = new Promise(() => {});
    await a.node.start("a:1");
    await world.until(() => a.node.counts.led === 1, "it leads");
    const drained = a.node.drain();
    await world.run(12_000);
    await drained;
    assert.equal(a.node.state, "stopped");
  });

  it("answers elsewhere with who leads", async () => {
    const world = new World(["a", "b"]);
    await world.start();
    const follower = world.members.find((one) => one !== world.leader) as Member;
    await assert.rejects(follower.publish("m"), (error: unknown) => {
      assert(error instanceof TidegateError);
      assert.equal(error.code, "unavailable");
      return error.details["leader"] === world.leader?.name;
    });
  });

  it("begins another life when it is deposed, and what it had not confirmed ends unknown", async () => {
    const world = new World(["a", "b", "c"]);
    await world.start();
    const old = world.leader as Member;
    for (const { name } of world.members) {
      world.cuts.add(`${old.name} ${name}`).add(`${name} ${old.name}`);
    }
    const lost = old.publish("lost").catch((error: TidegateError) => error.code);
    const { state, revision } = await world.coordinator.look(GROUP);
    assert(state);
    const other = world.members.find((one) => one !== old) as Member;
    const next = state.syncSet.find(({ node }) => node === other.name);
    const elected = { ...state, epoch: state.epoch + 1, leader: next };
    await world.coordinator.swap(GROUP, { revision, state: elected, alive: [], gone: undefined });
    await world.until(() => old.logs.length === 2, "a second life");
    assert.equal(await lost, "outcome-unknown");
    assert.equal(old.node.counts.deposed, 1);
    world.cuts.clear();
    await world.until(() => world.setSize === 3, "all count again");
    assert(!old.disk.texts().includes("lost"));
  });

  it("finds a node where it came to be while it looked where the others are", async () => {
    const world = new World(["a", "b"]);
    await world.start();
    const { coordinator } = world;
    const directory = new Directory(coordinator);
    const look = coordinator.definitions.bind(coordinator);
    const slow = Promise.withResolvers<void>();
    coordinator.definitions = async (page) => {
      const found = await look(page);
      await slow.promise;
      return found;
    };
    await directory.announce({ node: "c", group: GROUP, address: "c:1" });
    await world.run(50); // everybody looks
    await directory.announce({ node: "b", group: GROUP, address: "b:2" });
    await world.run(50);
    slow.resolve();
    await world.run(50);
    assert(world.connected.includes("a b:2"), world.connected.join(", "));
  });

  it("hands over when it drains, ends its lease, and takes no more", async () => {
    const world = new World(["a", "b", "c"]);
    await world.start();
    const old = world.leader as Member;
    const before = world.clock.elapsed();
    let stopped = false;
    void old.node.drain().then(() => {
      stopped = true;
    });
    await assert.rejects(old.publish("m"), { code: "draining" });
    await world.until(() => stopped, "it has stopped");
    await world.until(() => world.leader !== undefined && world.leader !== old, "another leads");
    assert(world.clock.elapsed() - before < 2000, "nobody waited for a lease");
    assert.equal(old.node.counts.deposed, 1, "it handed over before it left");
    const { live } = await world.coordinator.look(GROUP);
    assert(live.every(({ node }) => node !== old.name));
    assert.equal(old.node.state, "stopped");
  });

  it("is done without before it stops, where the group can: nobody waits for it", async () => {
    const world = new World(["a", "b", "c"]);
    await world.start();
    await world.run(1000); // the set has just changed, and changes again only after a while
    const leader = world.leader as Member;
    const follower = world.members.find((one) => one !== leader) as Member;
    const before = world.clock.elapsed();
    let stopped = false;
    void follower.node.drain().then(() => {
      stopped = true;
    });
    await world.until(() => stopped, "it has stopped");
    assert(world.clock.elapsed() - before < 100, `${world.clock.elapsed() - before} ms`);
    const { state } = await world.coordinator.look(GROUP);
    assert(!state?.syncSet.some(({ node }) => node === follower.name));
    for (const { name } of world.members) {
      world.cuts.add(`${follower.name} ${name}`).add(`${name} ${follower.name}`);
    }
    const answer = leader.publish("m");
    await world.run(50);
    await answer;
    assert(!world.logged.some((line) => line.includes("cannot spare")));
  });

  it("stops all the same where the group needs it, and says so", async () => {
    const world = new World(["a", "b"]);
    await world.start();
    const follower = world.members.find((one) => one !== world.leader) as Member;
    let stopped = false;
    void follower.node.drain().then(() => {
      stopped = true;
    });
    await world.until(() => stopped, "it has stopped", 2000);
    assert(world.logged.some((line) => line.includes("The group cannot spare this node")));
    assert.equal((await world.coordinator.look(GROUP)).state?.syncSet.length, 2);
  });

  it("tells people once that nobody leads, and that somebody does again", async () => {
    const world = new World(["a", "b"]);
    await world.start();
    const [gone, left] = [world.leader, world.members.find((one) => one !== world.leader)];
    const alone = { syncSet: [] as readonly { node: string; boot: string; disk: string }[] };
    const { state, revision } = await world.coordinator.look(GROUP);
    assert(gone && left && state);
    // As if the other had been out of the set for long.
    alone.syncSet = state.syncSet.filter(({ node }) => node === gone.name);
    const next = { ...state, ...alone, leader: undefined, heir: gone.name };
    await world.coordinator.swap(GROUP, { revision, state: next, alive: [], gone: undefined });
    void gone.node.drain();
    const told = () => world.logged.filter((line) => line.startsWith(`${left.name}: Nobody leads`));
    await world.until(() => told().length > 0, "it says so");
    assert.match(told()[0] as string, /"counts":"\w","alive":"\w".*tidegate elect/);
    await world.run(20_000);
    assert.equal(told().length, 1);
    void left.node.force("nobody");
    await world.until(
      () => world.logged.includes(`${left.name}: The broker group is led again {}`),
      "it is led again",
    );
  });

  it("serves nothing once its log must not be believed, until it is told to lead", async () => {
    const world = new World(["a", "b"]);
    await world.start();
    const follower = world.members.find((one) => one !== world.leader) as Member;
    world.tamper = (message) => ({ ...message, prevCrc: message.prevCrc ^ 1 });
    await world.until(() => follower.node.state === "quarantined", "it stops");
    world.tamper = (message) => message;
    await world.run(3000);
    assert.equal(follower.logs.length, 1, "no other life begins");
    assert.equal(follower.node.isMember, false);
    assert.equal((await world.coordinator.look(GROUP)).live.length, 1, "its lease is gone");
    assert.deepEqual(follower.texts, world.leader?.texts ?? [], "its log stays as it is");
    void follower.node.force("nobody");
    await world.until(() => follower.node.counts.led > 0, "it leads");
    const { state } = await world.coordinator.look(GROUP);
    assert.equal(state?.unclean.length, 1);
    assert(world.logged.some((line) => line.includes("Told to lead")));
  });

  describe("whose group has a log that lost its beginning", () => {
    /** Two that have it, and a third that has nothing. */
    async function shortened(): Promise<World> {
      const world = new World(["a", "b", "c"], { catchUpRate: 640 * 1024 });
      await world.start(["a", "b"]);
      await world.publish(10);
      for (const [i, name] of ["a", "b"].entries()) {
        world.member(name).trim(new Uint8Array(200_000).fill(i + 1));
      }
      await world.run(50);
      return world;
    }

    it("begins where the leader's log does, with what is left of before, and comes to count", async () => {
      const world = await shortened();
      const { leader } = world;
      const c = world.member("c");
      const before = world.clock.elapsed();
      await c.node.start("c:1");
      await world.until(() => world.setSize === 3, "all count");
      assert.equal(c.disk.start, leader?.disk.start);
      assert.deepEqual(c.disk.keys, leader?.disk.keys);
      assert.deepEqual(c.node.takenOver, { done: 1, bytes: 200_000 });
      assert.equal(world.callsOf("replica.piece"), 4, "in pieces of what the rate allows");
      assert(world.clock.elapsed() - before >= 200, "at the rate of those that catch up");
      assert(leader?.logs.at(-1)?.asked.includes("release") === false, "held for a minute");
      await world.run(61_000);
      assert(leader?.logs.at(-1)?.asked.includes("release"));
      await world.publish(1);
      await world.until(() => c.texts.includes("m0"), "it follows");
      void leader?.node.drain();
      await world.until(() => world.leader !== undefined && world.leader !== leader, "one leads");
    });

    it("begins anew with another leader, and mixes nothing", async () => {
      const world = await shortened();
      const [first, c] = [world.leader as Member, world.member("c")];
      await c.node.start("c:1");
      await world.until(() => world.callsOf("replica.piece") === 2, "some is brought");
      const other = world.member(first.name === "a" ? "b" : "a");
      void first.node.drain();
      await world.until(() => first.node.state === "stopped", "it has left");
      await world.until(() => c.node.isMember && other.node.isMember, "the others go on");
      assert.deepEqual(c.disk.keys, other.disk.keys);
      assert(world.logged.some((line) => line.includes("could not be taken over")));
      assert.equal(c.disks, 2, "the log was set aside once");
    });

    it("begins anew, after a rest, where the log has moved on meanwhile", async () => {
      const world = await shortened();
      const [leader, c] = [world.leader as Member, world.member("c")];
      world.cuts.add(`${leader.name} c replica.entries`);
      await c.node.start("c:1");
      await world.until(() => c.disk.start > 0, "it has a beginning");
      leader.trim(new Uint8Array(50_000).fill(7));
      const before = world.clock.elapsed();
      world.cuts.clear();
      await world.until(() => world.setSize === 3, "all count");
      assert.equal(c.disk.start, leader.disk.start);
      assert.equal(c.disk.keys.length, 50_000);
      assert.equal(c.node.takenOver.done, 2);
      assert(world.clock.elapsed() - before < 20_000);
      const told = world.logged.filter((line) => line.includes("gives way to the leader's"));
      assert(told[1]?.includes(`"start":${leader.disk.start}`), told.join());
    });

    it("has an empty log where the leader's begins at 0 and its own cannot be opened", async () => {
      const world = new World(["a", "b", "c"]);
      await world.start(["a", "b"]);
      await world.publish(3);
      const c = world.member("c");
      c.unusable = true;
      void c.node.start("c:1");
      await world.until(() => world.setSize === 3, "all count");
      assert.deepEqual([c.disk.start, c.disks, c.node.takenOver.done], [0, 2, 1]);
      await world.until(() => c.texts.length === 3, "it has all");
    });

    it("leaves alone what cannot be opened while nobody leads, and stops when it is told to", async () => {
      const world = new World(["a", "b", "c"]);
      const c = world.member("c");
      c.unusable = true;
      let ended = false;
      void c.node.start("c:1").then(() => {
        ended = true;
      });
      await world.run(5000);
      assert.deepEqual([ended, c.disks], [false, 1]);
      const stopped = c.node.drain();
      await world.run(2000);
      await stopped;
      assert.equal(ended, true);
    });

    it("comes back by itself when it was away for too long", async () => {
      const world = new World(["a", "b", "c"]);
      await world.start();
      const c = world.members.find((one) => one !== world.leader) as Member;
      for (const { name } of world.members) {
        world.cuts.add(`${c.name} ${name}`).add(`${name} ${c.name}`);
      }
      await world.until(() => world.setSize === 2, "it counts no longer");
      await world.publish(10);
      const { leader } = world;
      leader?.trim(new Uint8Array(1000).fill(1));
      world.cuts.clear();
      await world.until(() => world.setSize === 3, "all count");
      assert.deepEqual([c.disk.start, c.disks], [leader?.disk.start, 2]);
    });

    it("is stopped while it takes over, and gives up at once", async () => {
      const world = await shortened();
      const c = world.member("c");
      await c.node.start("c:1");
      await world.until(() => world.callsOf("replica.piece") === 2, "some is brought");
      let stopped = false;
      void c.node.drain().then(() => {
        stopped = true;
      });
      await world.until(() => stopped, "it has stopped", 5000);
      assert.equal(c.disk.start, 0);
    });

    it("is not given anything by a node that does not lead", async () => {
      const world = await shortened();
      const follower = world.members.find((one) => one !== world.leader) as Member;
      const asked = world.peer("c", follower.name).call(BEGINNING, undefined);
      const refused = assert.rejects(asked, { code: "unavailable" });
      await world.run(50);
      await refused;
      const wish = { id: 99, file: 0, at: 0 };
      const piece = world.peer("c", world.leader?.name as string).call(PIECE, wish);
      const unknown = assert.rejects(piece, { code: "unavailable" });
      await world.run(50);
      await unknown;
    });
  });

  it("takes an operator's word over a line", async () => {
    const world = new World(["a", "b"]);
    await world.start();
    const follower = world.members.find((one) => one !== world.leader) as Member;
    const told = world.peer("operator", follower.name).call(FORCE, undefined);
    await world.run(1500);
    await told;
    assert(follower.node.counts.led > 0);
  });
});
