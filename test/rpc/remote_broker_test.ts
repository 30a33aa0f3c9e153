/**
 * What a broker far away has beyond the contract of one that is here: its state as
 * told last, outcomes that are unknown, leases that cross an abort.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "../../storage/base/checksum_web.ts";
import { HttpCaller, HttpRpcServer, RemoteBroker, serveBroker } from "../../src/rpc/mod.ts";
import {
  fails,
  ids,
  message,
  names,
  prepareGroup,
  publishEach,
  readAll,
  receipts,
  receive,
  settle,
  TOPIC,
  turn,
} from "../suites/broker_api_kit.ts";
import { openTestBroker } from "../suites/open_broker.ts";
import { SECRET, World, type WorldOptions } from "./kit.ts";

async function open(options: WorldOptions = {}) {
  const world = new World(options);
  const broker = await openTestBroker({ clock: world.clock });
  serveBroker(world.services, broker);
  return { world, broker, api: new RemoteBroker(world.peer) };
}

describe("the state of a broker far away", () => {
  it("is what was told last, and not ready while nothing is heard", async () => {
    const { world, broker, api } = await open();
    const { clock, peer } = world;
    const abort = new AbortController();
    assert.deepEqual([api.status().ready, api.status().nodeId], [false, ""]);
    const watching = api.watch(peer, { clock, signal: abort.signal });
    await turn();
    assert.deepEqual(api.status(), broker.api.status());

    await broker.api.topics.put("orders", TOPIC);
    clock.advance(1000);
    await turn();
    assert.equal(api.status().confirmOffset, broker.api.status().confirmOffset);
    broker.drain();
    clock.advance(1000);
    await turn();
    assert.equal(api.status().ready, false);

    world.pipe.break();
    await turn();
    assert.deepEqual([api.status().ready, api.status().nodeId], [false, "test"]);
    abort.abort();
    await watching;
  });

  it("is heard again when the broker is", async () => {
    const { world, api } = await open();
    const { clock, peer } = world;
    const abort = new AbortController();
    const watching = api.watch(peer, { clock, signal: abort.signal });
    await turn();
    world.pipe.break();
    await turn();
    assert.equal(api.status().ready, false);
    for (let i = 0; i < 5; i++) {
      clock.advance(1000);
      await turn();
    }
    assert.equal(api.status().ready, true);
    abort.abort();
    await watching;
  });

  it("is told only when it changes", async () => {
    const { world, api } = await open({ limits: { pingMs: 1e12 } });
    const abort = new AbortController();
    const watching = api.watch(world.peer, { clock: world.clock, signal: abort.signal });
    await turn();
    const before = world.pipe.server.sentBytes;
    for (let i = 0; i < 20; i++) {
      world.clock.advance(1000);
      await turn();
    }
    assert.equal(world.pipe.server.sentBytes, before);
    abort.abort();
    await watching;
  });
});

describe("a publish to a broker far away", () => {
  it("whose answer is lost is unknown, and was stored once", async () => {
    const { world, broker, api } = await open();
    await api.topics.put("orders", TOPIC);
    world.clock.advance(1000);
    const publish = api.messages.publish("orders", message("m"));
    world.pipe.client.pause(); // it goes, and its answer does not come
    await turn();
    world.pipe.break();
    await fails("outcome-unknown", publish);
    assert.deepEqual(ids(await readAll(broker.api)), ["m"]);
  });

  it("with an idempotency key is sent again, and stored once", async () => {
    const { world, broker, api } = await open();
    await api.topics.put("orders", TOPIC);
    for (let round = 0; round < 20; round++) {
      world.clock.advance(1000);
      const one = message(`m${round}`, { idempotencyKey: `k${round}` });
      const publish = api.messages.publish("orders", one);
      for (let n = 0; n < round; n++) await Promise.resolve(); // breaks sooner or later
      world.pipe.break();
      assert.equal((await publish).id, `m${round}`);
      await turn(); // the next connection is open
    }
    const stored = ids(await readAll(broker.api)).sort();
    assert.deepEqual(stored, names("m", 20).sort());
  });

  it("of a batch reports each message's failure in its place", async () => {
    const { api } = await open();
    const large = { id: "large", body: new Uint8Array(4 * 1024 * 1024 + 1) };
    const results = await api.messages.publishBatch("orders", [message("a"), large, message("b")], {
      atomic: false,
    });
    assert.deepEqual(
      results.map((one) => ("code" in one ? one.code : one.id)),
      ["a", "message-too-large", "b"],
    );
  });
});

describe("a receive from a broker far away", () => {
  for (const attemptId of [undefined, "again"]) {
    const kept = attemptId === undefined ? "is given back" : "is kept for its next try";
    it(`whose answer crosses an abort ${kept}`, async () => {
      const { world, api } = await open();
      await prepareGroup(api, 1);
      world.pipe.client.pause(); // the answer stays on its way
      const abort = new AbortController();
      const gone = receive(api, { attemptId }, { signal: abort.signal });
      await turn();
      abort.abort();
      await turn();
      world.pipe.client.resume();
      assert.deepEqual(await gone, []);
      await turn();
      const again = await receive(api, { attemptId });
      assert.deepEqual(ids(again), ["m0"]);
      assert.equal(again[0]?.attempt, 1);
      assert.deepEqual(await settle(api, { ack: receipts(again) }), ["ok"]);
    });
  }

  it("that waits ends at the broker with the connection: nothing is leased to nobody", async () => {
    const { world, broker, api } = await open();
    await prepareGroup(api, 0);
    const wait = receive(api, { waitMs: 60_000 });
    await turn();
    world.pipe.break();
    await fails("outcome-unknown", wait);
    await publishEach(broker.api, "orders", ["m"]);
    assert.equal((await receive(broker.api))[0]?.attempt, 1);
  });
});

describe("a broker far away by HTTP", () => {
  it("publishes, reads, leases and settles", async () => {
    const broker = await openTestBroker();
    const { clock } = broker;
    const { services } = new World();
    const identity = { cluster: "c", secret: SECRET };
    const server = new HttpRpcServer(
      { clock, crc32, log() {} },
      { ...identity, services: serveBroker(services, broker) },
    );
    const entropy = (size: number) => crypto.getRandomValues(new Uint8Array(size));
    const api = new RemoteBroker(
      new HttpCaller(
        { clock, crc32, entropy, fetch: server.fetch },
        { ...identity, node: "edge", url: "http://broker.example/rpc" },
      ),
    );
    await prepareGroup(api, 3);
    assert.deepEqual(ids(await readAll(api)), names("m", 3));
    const got = await receive(api);
    assert.deepEqual(ids(got), names("m", 3));
    assert.deepEqual(await settle(api, { ack: receipts(got) }), ["ok", "ok", "ok"]);
    const error = await fails("topic-not-found", api.topics.get("none"));
    assert.deepEqual(error.details, { topic: "none" });
    server.close();
  });
});
