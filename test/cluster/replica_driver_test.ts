/**
 * The shell of replication: it does what the core says, in order, and tells it what
 * became of it. Several of them keep one log through random troubles.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import process from "node:process";
import { LEASE_TTL_MS } from "../../src/cluster/lease.ts";
import { type DriverNode, DriverWorld, GROUP } from "./driver_world.ts";

async function three(seed = 1): Promise<DriverWorld> {
  const world = new DriverWorld(["a", "b", "c"], seed);
  await world.found();
  await world.until(() => setSize(world) === 3, { what: "all three are in the set" });
  return world;
}

function setSize(world: DriverWorld): number {
  return world.leader?.driver?.replica.sighting.state?.syncSet.length ?? 0;
}

function texts(node: DriverNode): readonly string[] {
  return node.disk.texts(node.disk.confirmOffset).filter((text) => text !== "epoch-start");
}

describe("ReplicaDriver", () => {
  it("brings a group from nothing to three members that hold the same", async () => {
    const world = await three();
    const acked = new Set<string>();
    for (let i = 0; i < 50; i++) {
      assert(world.publish(`m${i}`, acked));
      await world.run(5);
    }
    await world.until(() => acked.size === 50);
    await world.until(() => world.nodes.every((node) => texts(node).length === 50));
    for (const node of world.nodes) assert.deepEqual(texts(node), texts(world.node("a")));
  });

  it("answers nothing while a member is cut off, and goes on without it", async () => {
    const world = await three();
    const acked = new Set<string>();
    world.cut("a", "c");
    world.publish("m", acked);
    await world.run(500);
    assert.equal(acked.size, 0, "c has not synced it");
    await world.until(() => acked.size === 1, { ms: 3000 });
    assert.equal(setSize(world), 2);
  });

  it("elects another when the leader is killed, and keeps what was answered", async () => {
    const world = await three();
    const acked = new Set<string>();
    for (let i = 0; i < 20; i++) {
      world.publish(`m${i}`, acked);
      await world.run(5);
    }
    const killed = world.leader as DriverNode;
    killed.kill();
    await world.until(() => world.leader !== undefined, { ms: 5000 });
    const { leader } = world;
    assert(leader && leader !== killed);
    for (const text of acked) assert(texts(leader).includes(text), `${text} is there`);
    killed.boot();
    await world.until(() => setSize(world) === 3);
  });

  it("hands over when it drains, without waiting for a lease", async () => {
    const world = await three();
    const { leader } = world;
    assert(leader?.driver);
    leader.driver.drain();
    await world.until(() => leader.ended !== undefined, { ms: 1000 });
    assert.deepEqual(leader.ended, { kind: "deposed" });
    await world.until(() => world.leader !== undefined && world.leader !== leader, { ms: 1500 });
  });

  it("ends the life of a leader that is deposed, and tells it nothing any more", async () => {
    const world = await three();
    const old = world.leader as DriverNode;
    const acked = new Set<string>();
    for (const { name } of world.nodes) if (name !== old.name) world.cut(old.name, name);
    old.away = true;
    world.publish("lost", acked);
    await world.run(LEASE_TTL_MS);
    await old.liveness?.end(); // it has run out
    const others = world.nodes.filter((node) => node !== old);
    await world.until(() => others.some(({ driver }) => driver?.replica.serves), { ms: 5000 });
    assert.equal(acked.size, 0, "what nobody else has is not answered");
    assert.equal(old.driver?.readsLatest, false);
    world.cuts.clear();
    old.away = false;
    await world.until(() => old.ended?.kind === "deposed", { ms: 5000 });
    const asked = old.log?.asked.length;
    await world.run(1000);
    assert.equal(old.log?.asked.length, asked);
    old.reboot();
    await world.until(() => setSize(world) === 3);
    assert(!old.disk.texts().includes("lost"), "its end was cut");
    assert(world.logged.some((line) => line.startsWith("The log is cut")));
  });

  it("says that a swap is unknown when no answer comes, and goes on", async () => {
    const world = await three();
    world.silentSwaps = 2;
    const acked = new Set<string>();
    world.leader?.kill();
    await world.until(() => world.publish("m", acked), { ms: 30_000 });
    await world.until(() => acked.size === 1, { ms: 30_000 });
    await world.run(3000);
    const outcomes = world.nodes.flatMap(({ told }) =>
      told.flatMap(({ event }) => (event.kind === "swapped" ? [event.outcome.kind] : [])),
    );
    assert(outcomes.includes("unknown"));
  });

  it("tells nothing of frames that are not what their header says", async () => {
    const world = await three();
    world.tamper = (message) => {
      if (message.kind !== "entries" || !(message.bytes instanceof Uint8Array)) return message;
      const bytes = message.bytes.slice();
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
      return { ...message, bytes };
    };
    const acked = new Set<string>();
    world.publish("m", acked);
    await world.run(300);
    assert(world.logged.some((line) => line.startsWith("Frames of the leader are not sound")));
    assert.equal(acked.size, 0);
    world.tamper = (message) => message;
    await world.until(() => acked.size === 1);
  });

  it("goes on publishing while the coordinator is away, but reads no latest", async () => {
    const world = await three();
    for (const node of world.nodes) node.away = true;
    await world.run(10_000);
    const acked = new Set<string>();
    assert(world.publish("m", acked));
    await world.until(() => acked.size === 1, { ms: 1000 });
    assert.equal(world.leader?.driver?.readsLatest, false);
    for (const node of world.nodes) node.away = false;
    await world.until(() => world.leader?.driver?.readsLatest === true, { ms: 3000 });
  });

  it("tells of a promise once it is on disk", async () => {
    const world = await three();
    world.leader?.kill();
    await world.until(() => world.leader !== undefined);
    const told = world.nodes.flatMap((node) => node.told);
    const promises = told.flatMap(({ event, promised }) =>
      event.kind === "promised" ? [[event.promised.epoch, promised]] : [],
    );
    assert(promises.length >= 2);
    for (const [epoch, promised] of promises) assert.equal(epoch, promised);
  });

  it("heals bytes that are damaged, from the leader's", async () => {
    const world = await three();
    const acked = new Set<string>();
    for (let i = 0; i < 10; i++) world.publish(`m${i}`, acked);
    await world.until(() => acked.size === 10);
    const follower = world.nodes.find((node) => node !== world.leader) as DriverNode;
    follower.log?.decay(4);
    await world.until(() => follower.disk.damaged.length === 0);
    await world.until(() => setSize(world) === 3);
  });

  it("lets a learner catch up at a rate, and members at once", async () => {
    const world = new DriverWorld(["a", "b", "c"]);
    world.catchUpRate = 1024 * 1024;
    await world.coordinator.found(GROUP, {
      epoch: 0,
      leader: undefined,
      heir: undefined,
      syncSet: [{ ...world.node("a").member, boot: "none" }],
      minSync: 1,
      confirmHint: 0,
      unclean: [],
    });
    world.node("a").boot();
    await world.until(() => world.leader !== undefined);
    const acked = new Set<string>();
    for (let i = 0; i < 64; i++) world.publish("x".repeat(64 * 1024), acked);
    await world.run(100);
    const startedAt = world.clock.elapsed();
    world.node("b").boot();
    await world.until(() => setSize(world) === 2, { ms: 30_000 });
    const tookMs = world.clock.elapsed() - startedAt;
    assert(tookMs > 3500 && tookMs < 8000, `4 MiB at 1 MiB/s took ${tookMs} ms`);
  });

  it("ends a life that a snapshot must replace", async () => {
    const world = await three();
    const acked = new Set<string>();
    for (let i = 0; i < 10; i++) world.publish(`m${i}`, acked);
    const behind = world.nodes.find((node) => node !== world.leader) as DriverNode;
    behind.kill();
    behind.disk.frames.length = 1;
    behind.disk.confirmOffset = behind.disk.end;
    await world.until(() => acked.size === 10);
    const { leader } = world;
    assert(leader?.log && leader.driver);
    const start = leader.disk.frames[5]?.from ?? 0;
    leader.disk.start = start;
    leader.disk.frames.splice(0, 5);
    leader.disk.syncedCount -= 5;
    leader.log.trimmed(start);
    behind.boot();
    await world.until(() => behind.ended !== undefined);
    assert.equal(behind.ended?.kind, "snapshot");
  });

  it("gives up when the log cannot be written", async () => {
    const world = await three();
    const follower = world.nodes.find((node) => node !== world.leader) as DriverNode;
    const { log } = follower;
    assert(log);
    log.append = () => {
      throw new Error("no disk");
    };
    world.publish("m", new Set());
    await assert.rejects(
      world.until(() => false, { ms: 1000 }),
      /no disk/,
    );
    assert(follower.driver?.isOver);
  });
});

describe("some ReplicaDrivers", () => {
  const seeds = Number(process.env["SEEDS"] ?? 12);
  for (let seed = 1; seed <= seeds; seed++) {
    it(`lose nothing that was answered, whatever happens: seed ${seed}`, async () => {
      const world = await three(seed);
      const acked = new Set<string>();
      let published = 0;
      world.lossPercent = 10;
      world.silentPercent = 10;
      for (let round = 0; round < 30; round++) {
        trouble(world);
        for (let i = 0; i < 20; i++) {
          world.publish(`m${published++}`, acked);
          await world.run(5 * world.prng.below(20));
          mourn(world);
        }
      }
      world.lossPercent = 0;
      world.silentPercent = 0;
      heal(world);
      await world.until(
        () => {
          mourn(world);
          return setSize(world) === 3;
        },
        { ms: 60_000, what: "all are back" },
      );
      const final = new Set<string>();
      for (let tries = 0; final.size === 0; tries++) {
        assert(tries < 10, "somebody answers in the end");
        mourn(world);
        world.publish(`last ${tries}`, final); // it may lead no more, and not know it
        await world.run(2000);
      }
      const last = [...final][0] as string;
      await world.until(() => world.nodes.every((node) => texts(node).includes(last)));
      assert(acked.size > 20, `only ${acked.size} were answered`);
      const held = texts(world.nodes[0] as DriverNode);
      for (const node of world.nodes) assert.deepEqual(texts(node), held);
      assert.equal(new Set(held).size, held.length, "nothing is there twice");
      for (const text of acked) assert(held.includes(text), `${text} was answered and is lost`);
    });
  }
});

/** A life that ended is followed by another. */
function mourn(world: DriverWorld): void {
  for (const node of world.nodes) {
    if (!node.ended) continue;
    assert.equal(node.ended.kind, "deposed");
    node.reboot();
  }
}

function heal(world: DriverWorld): void {
  world.cuts.clear();
  for (const node of world.nodes) {
    node.away = false;
    node.syncMs = 2;
    if (!node.driver) node.boot();
  }
}

function trouble(world: DriverWorld): void {
  const { prng } = world;
  heal(world);
  const node = world.nodes[prng.below(3)] as DriverNode;
  const other = world.nodes[prng.below(3)] as DriverNode;
  switch (prng.below(7)) {
    case 0:
      return node.kill();
    case 1:
      return node.kill({ power: true });
    case 2:
      return world.cut(node.name, other.name);
    case 3:
      return void world.cuts.add(`${node.name} ${other.name}`);
    case 4:
      node.away = true;
      return;
    case 5:
      node.syncMs = 300;
      return;
    default:
      for (const one of world.nodes) one.kill({ power: true });
      return heal(world);
  }
}
