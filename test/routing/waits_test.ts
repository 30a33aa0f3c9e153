/**
 * Waits at several broker groups, of which one gets another leader, or hangs: what becomes
 * visible later ends the wait all the same, wherever it does.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TidegateError } from "../../storage/base/errors.ts";
import type { BrokerApi } from "../../src/broker/api.ts";
import { type Doorkeeper, LocalCluster } from "../fakes/local_cluster.ts";
import {
  fails,
  GROUP,
  ids,
  isAnswered,
  message,
  read,
  receive,
  TOPIC,
  turn,
} from "../suites/broker_api_kit.ts";

const WAIT_MS = 30_000;
/** What a gateway rests in between is far less than a wait. */
const SOON_MS = 500;
const CHECK_MS = 6000;

interface World {
  readonly cluster: LocalCluster;
  readonly api: BrokerApi;
  /** A key of which messages lie in that broker group. */
  readonly key: (group: number) => string;
}

async function open(): Promise<World> {
  const cluster = await LocalCluster.open({ groups: 3, leaderWaitMs: 5000 });
  const api = cluster.gateway();
  await api.topics.put("orders", { ...TOPIC, queues: 6 });
  await api.groups.put("g", GROUP);
  const keys = await cluster.keysOf(api, "orders");
  return { cluster, api, key: (group) => keys.get(group) ?? assert.fail("it has a key") };
}

/** Time passes in small steps, for whoever rests in between. */
async function pass({ cluster }: World, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 50) {
    cluster.clock.advance(Math.min(50, left));
    await turn();
  }
}

interface Wait {
  /** As the contract names it. */
  readonly call: string;
  /** What a caller is told whose leader is gone. */
  readonly lost: "unavailable" | "outcome-unknown";
  begin(api: BrokerApi): Promise<readonly string[]>;
  /** Before it begins: what will end it in a while, if that cannot be done at any time. */
  prepare?(world: World): Promise<unknown>;
  /** What ends it, in broker group 2. */
  end(world: World): Promise<unknown>;
}

const WAITS: readonly Wait[] = [
  {
    call: "messages.read",
    lost: "unavailable",
    async begin(api) {
      const page = await read(api, { start: { kind: "latest" }, waitMs: WAIT_MS });
      return ids(page.messages);
    },
    end: ({ api, key }) => api.messages.publish("orders", message("m2", { key: key(2) })),
  },
  {
    call: "groups.receive",
    lost: "outcome-unknown",
    begin: async (api) => ids(await receive(api, { waitMs: WAIT_MS })),
    end: ({ api, key }) => api.messages.publish("orders", message("m2", { key: key(2) })),
  },
  {
    call: "transactions.receiveChecks",
    lost: "outcome-unknown",
    async begin(api) {
      const checks = await api.transactions.receiveChecks("pay", { max: 100, waitMs: WAIT_MS });
      return checks.flatMap(({ messages }) => messages.map(({ id }) => id));
    },
    prepare: ({ api, key }) =>
      api.transactions.begin({
        producerGroup: "pay",
        messages: [{ topic: "orders", message: message("m2", { key: key(2) }) }],
      }),
    end: (world) => pass(world, CHECK_MS),
  },
];

/** Calls under way are told that their connection broke; returns who says so. */
function breakable({ cluster }: World, { call, lost }: Wait): () => void {
  const broken = Promise.withResolvers<never>();
  broken.promise.catch(() => {});
  const keeper: Doorkeeper = ({ name, through }) =>
    name === call ? Promise.race([through(), broken.promise]) : through();
  cluster.member(2).door.keeper = keeper;
  return () => broken.reject(new TidegateError(lost, "the connection broke"));
}

for (const wait of WAITS) {
  describe(`${wait.call}(), waiting at several broker groups`, () => {
    for (const how of ["drains", "is killed"] as const) {
      it(`is ended by what comes under the next leader, when the one there was ${how}`, async () => {
        const world = await open();
        const { cluster, api } = world;
        const kill = breakable(world, wait);
        await wait.prepare?.(world);
        const waiting = wait.begin(api);
        assert.equal(await isAnswered(waiting), false);
        if (how === "is killed") kill();
        await turn();
        await cluster.handOver(2);
        await pass(world, SOON_MS);
        assert.equal(await isAnswered(waiting), false, "nothing came");
        await wait.end(world);
        await pass(world, SOON_MS);
        assert.equal(await isAnswered(waiting), true, "something came");
        assert.deepEqual(await waiting, ["m2"]);
        await cluster.close();
      });
    }

    it("is over in time when the next leader does not come", async () => {
      const world = await open();
      const waiting = wait.begin(world.api);
      await turn();
      world.cluster.member(2).broker.drain();
      await pass(world, WAIT_MS - SOON_MS);
      assert.equal(await isAnswered(waiting), false);
      await pass(world, 2 * SOON_MS);
      assert.deepEqual(await waiting, []);
      await world.cluster.close();
    });
  });
}

describe("a wait of which one broker group hangs", () => {
  /** Answers that come from now on are lost. */
  function hang({ cluster }: World): void {
    const { door } = cluster.member(2);
    door.keeper = () => new Promise(() => {});
  }

  it("is over in time for a reader, who is told", async () => {
    const world = await open();
    const { cursor } = await read(world.api);
    hang(world);
    const start = { kind: "cursor", cursor } as const;
    const waiting = fails("unavailable", read(world.api, { start, waitMs: WAIT_MS }));
    await pass(world, WAIT_MS);
    assert.equal(await isAnswered(waiting), false);
    await pass(world, 2 * SOON_MS);
    assert.equal(await isAnswered(waiting), true);
    await waiting;
    await world.cluster.close();
  });

  it("is ended by what comes elsewhere", async () => {
    const world = await open();
    const { cluster, api, key } = world;
    const { cursor } = await read(api);
    hang(world);
    const waiting = read(api, { start: { kind: "cursor", cursor }, waitMs: WAIT_MS });
    await pass(world, 2 * SOON_MS);
    await api.messages.publish("orders", message("m1", { key: key(1) }));
    await pass(world, 2 * SOON_MS);
    assert.equal(await isAnswered(waiting), true);
    assert.deepEqual(ids((await waiting).messages), ["m1"]);
    await cluster.close();
  });
});
