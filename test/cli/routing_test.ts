/**
 * Who leads, as a gateway knows it: from the directory, by hints, by what brokers say.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { ClusterRouting, type Connection } from "../../src/cli/routing.ts";
import type { GroupView } from "../../src/cluster/mod.ts";
import { isAnswered, turn } from "../suites/broker_api_kit.ts";

const NODES = ["n1", "n2", "n3"];

function view(leader: string | undefined, more: Partial<GroupView> = {}): GroupView {
  const members = NODES.map((node) => ({ node, address: `${node}:9870`, live: true }));
  const leads = members.find(({ node }) => node === leader);
  return { group: "g", number: 1, epoch: 1, leader: leads, members, ...more };
}

async function open(first: readonly GroupView[]) {
  const opening = begin(first);
  await opening.started;
  return opening;
}

/** It may still be looking for the first time. */
function begin(first: readonly GroupView[], slow = Promise.resolve()) {
  const clock = new ManualClock();
  const world = {
    views: first,
    looks: 0,
    away: false,
    /** What is asked from now on is answered then, as of when it was asked. */
    slow,
    hint: () => {},
  };
  const connected: string[] = [];
  const closed: string[] = [];
  const routing = new ClusterRouting({
    clock,
    directory: {
      groups: () => {
        world.looks++;
        const { away, views, slow } = world;
        const lost = new TidegateError("outcome-unknown", "the coordinator is away");
        return slow.then(() => (away ? Promise.reject(lost) : views));
      },
      watch(onHint) {
        world.hint = onHint;
        return () => {};
      },
    },
    connect({ node }) {
      connected.push(node);
      const connection: Connection = {
        call: () => Promise.reject(new TidegateError("unavailable", node)),
        close: () => void closed.push(node),
      };
      return connection;
    },
    report() {},
  });
  const started = routing.start();
  const leader = () => routing.status().groups.map((one) => one.leader);
  return { clock, world, routing, connected, closed, leader, started };
}

const notLeading = (leader?: string) => new TidegateError("unavailable", "not here", { leader });

describe("the routing of a gateway", () => {
  it("knows who leads, and connects to nobody else", async () => {
    const { routing, connected, leader } = await open([
      view("n2"),
      view(undefined, { number: 2, group: "h" }),
    ]);
    assert.deepEqual(routing.known(), [1, 2]);
    assert.deepEqual(leader(), ["n2", undefined]);
    assert.equal(routing.leader(2), undefined);
    assert.deepEqual(connected, ["n2"]);
    routing.close();
  });

  it("looks when a watch hints, and ends calls to the leader before", async () => {
    const { clock, world, routing, closed, leader } = await open([view("n1")]);
    const waits = routing.changed(1, new AbortController().signal);
    assert.equal(await isAnswered(waits), false);
    world.views = [view("n2", { epoch: 2 })];
    world.hint();
    clock.advance(100);
    await turn();
    await waits;
    assert.deepEqual(leader(), ["n2"]);
    assert.deepEqual(closed, []);
    clock.advance(1000);
    assert.deepEqual(closed, ["n1"]);
    routing.close();
    assert.deepEqual(closed, ["n1", "n2"]);
  });

  for (const away of [false, true]) {
    const how = away ? "comes to nothing" : "is too early";
    it(`looks again when a watch hints during a look that ${how}`, async () => {
      const { clock, world, routing, leader } = await open([view(undefined)]);
      const look = Promise.withResolvers<void>();
      world.slow = look.promise;
      world.away = away;
      world.hint();
      clock.advance(100);
      world.views = [view("n2", { epoch: 2 })];
      world.away = false;
      world.hint();
      world.hint();
      const { looks } = world;
      look.resolve();
      await turn();
      assert.deepEqual(leader(), [undefined]);
      clock.advance(100);
      await turn();
      assert.deepEqual(leader(), ["n2"]);
      clock.advance(4000);
      await turn();
      assert.equal(world.looks, looks + 1, "once is enough");
      clock.advance(1000);
      await turn();
      assert.equal(world.looks, looks + 2, "and goes on looking");
      routing.close();
    });
  }

  it("looks again when a watch hints during the first look", async () => {
    const look = Promise.withResolvers<void>();
    const { clock, world, routing, leader, started } = begin([view("n1")], look.promise);
    world.views = [view("n2", { epoch: 2 })];
    world.hint();
    look.resolve();
    await started;
    assert.deepEqual(leader(), ["n1"]);
    clock.advance(100);
    await turn();
    assert.deepEqual(leader(), ["n2"]);
    routing.close();
  });

  it("tries whom a broker names before it has looked", async () => {
    const { clock, world, routing, leader } = await open([view("n1")]);
    const broker = routing.leader(1) ?? assert.fail("somebody leads");
    world.views = [view("n3", { epoch: 2 })];
    routing.lost(1, broker, notLeading("n3"));
    assert.deepEqual(leader(), ["n3"]);
    routing.lost(1, broker, notLeading("n2"));
    assert.deepEqual(leader(), ["n3"], "what the one before says is old");
    const { looks } = world;
    clock.advance(100);
    await turn();
    assert.equal(world.looks, looks + 1, "however many calls fail");
    assert.deepEqual(leader(), ["n3"]);
    routing.close();
  });

  it("has no leader where the one there was is gone", async () => {
    const { clock, world, routing, leader } = await open([view("n1")]);
    const gone = view("n1");
    world.views = [{ ...gone, leader: gone.leader && { ...gone.leader, live: false } }];
    clock.advance(5000);
    await turn();
    assert.deepEqual(leader(), [undefined]);
    routing.close();
  });

  it("goes on with what it knows while the coordinator is away", async () => {
    const { clock, world, routing, leader } = await open([view("n1")]);
    world.away = true;
    for (let i = 0; i < 3; i++) {
      clock.advance(5000);
      await turn();
    }
    assert.equal(world.looks, 4);
    assert.deepEqual(leader(), ["n1"]);
    world.away = false;
    world.views = [view("n2", { epoch: 2 })];
    clock.advance(5000);
    await turn();
    assert.deepEqual(leader(), ["n2"]);
    routing.close();
  });

  it("is not taken back by a look that was overtaken", async () => {
    const { clock, world, routing, leader } = await open([view("n2", { epoch: 5 })]);
    world.views = [view("n1", { epoch: 4 })];
    clock.advance(5000);
    await turn();
    assert.deepEqual(leader(), ["n2"]);
    routing.close();
  });
});
