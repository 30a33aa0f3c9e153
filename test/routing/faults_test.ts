/**
 * A cluster with faults: a broker group that is away, fails, is slow, or has another
 * leader; a coordinator that does not answer; gateways that know different things.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TidegateError } from "../../storage/base/errors.ts";
import type { BrokerApi } from "../../src/broker/api.ts";
import type { DefinitionStore } from "../../src/routing/mod.ts";
import { LocalCluster, notLeading } from "../fakes/local_cluster.ts";
import {
  fails,
  GROUP,
  ids,
  isAnswered,
  message,
  names,
  publishEach,
  readAll,
  receipts,
  receive,
  read,
  settle,
  TOPIC,
  turn,
} from "../suites/broker_api_kit.ts";

async function open(groups = 3, options = {}) {
  const cluster = await LocalCluster.open({ groups, leaderWaitMs: 5000, ...options });
  return { cluster, api: cluster.gateway(), clock: cluster.clock };
}

/** Where messages of a topic lie: of each broker group, one of its keys. */
async function keysOf(cluster: LocalCluster, api: BrokerApi, topic: string) {
  const keys = await cluster.keysOf(api, topic);
  return (group: number) => keys.get(group) ?? assert.fail("it has a key");
}

/** Advances step by step, as time passes for whoever rests in between. */
async function pass(cluster: LocalCluster, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 100) {
    cluster.clock.advance(Math.min(100, left));
    await turn();
  }
}

describe("a publish", () => {
  it("without a key goes elsewhere when a broker group is away", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    cluster.takeAway(2);
    const published = Promise.all(
      names("m", 12).map((id) => api.messages.publish("orders", message(id))),
    );
    await pass(cluster, 600);
    const queues = new Set((await published).map(({ queueId }) => queueId));
    assert.equal(queues.size, 4);
    cluster.bringBack(2);
    assert.equal((await readAll(api)).length, 12);
    await cluster.close();
  });

  it("without a key goes elsewhere when a broker group refuses, and avoids it for a while", async () => {
    const { cluster, api, clock } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    await publishEach(api, "orders", names("warm", 6));
    const { door } = cluster.member(1);
    door.keeper = () => Promise.reject(notLeading());
    await publishEach(api, "orders", names("m", 12));
    const asked = door.calls.filter((name) => name === "messages.publish").length;
    assert(asked <= 2 + 1, `it was asked ${asked} times`);
    door.keeper = ({ through }) => through();
    clock.advance(3001);
    await publishEach(api, "orders", names("n", 6));
    assert.equal((await readAll(api)).length, 24);
    assert(
      door.calls.filter((name) => name === "messages.publish").length > asked,
      "it is asked again",
    );
    await cluster.close();
  });

  it("avoids a broker group that was slow", async () => {
    const { cluster, api, clock } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    await publishEach(api, "orders", names("warm", 6));
    const { door } = cluster.member(3);
    door.keeper = async ({ through }) => {
      clock.advance(1200);
      return await through();
    };
    await publishEach(api, "orders", names("m", 12));
    assert.equal(door.calls.filter((name) => name === "messages.publish").length, 2 + 1);
    await cluster.close();
  });

  it("with a key waits for a leader, and is unavailable when there is none in time", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    const key = await keysOf(cluster, api, "orders");
    cluster.takeAway(2);
    const waits = api.messages.publish("orders", message("a", { key: key(2) }));
    assert.equal(await isAnswered(waits), false);
    cluster.bringBack(2);
    assert.equal((await waits).id, "a");
    cluster.takeAway(2);
    const lost = api.messages.publish("orders", message("b", { key: key(2) }));
    const refused = fails("unavailable", lost);
    await pass(cluster, 5100);
    await refused;
    cluster.bringBack(2);
    assert.deepEqual(ids(await readAll(api)), ["a"]);
    await cluster.close();
  });

  it("of unknown outcome is not sent again, but with an idempotency key to the same broker group", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    await publishEach(api, "orders", names("warm", 6));
    await api.topics.purge("orders");
    const lost = new TidegateError("outcome-unknown", "no answer came");
    let failures = 0;
    for (const { door } of cluster.members) {
      door.keeper = async ({ name, through }) => {
        const answer = await through();
        if (name !== "messages.publish" || failures-- <= 0) return answer;
        throw lost; // it was stored, and its answer lost
      };
    }
    failures = 1;
    await fails("outcome-unknown", api.messages.publish("orders", message("once")));
    failures = 2;
    const keyed = api.messages.publish("orders", message("keyed", { idempotencyKey: "k" }));
    await pass(cluster, 300);
    assert.equal((await keyed).replayed, true);
    assert.deepEqual(ids(await readAll(api)).sort(), ["keyed", "once"]);
    await cluster.close();
  });

  it("of unknown outcome stays so when no leader answers its repeat", async () => {
    const { cluster, api } = await open(1);
    await api.topics.put("orders", TOPIC);
    await publishEach(api, "orders", ["warm"]);
    const lost = new TidegateError("outcome-unknown", "no answer came");
    let first = true;
    cluster.member(1).door.keeper = async ({ through }) => {
      if (!first) throw notLeading();
      first = false;
      await through();
      throw lost;
    };
    const unknown = fails(
      "outcome-unknown",
      api.messages.publish("orders", message("m", { idempotencyKey: "k" })),
    );
    await pass(cluster, 5600);
    await unknown;
    await cluster.close();
  });

  it("follows a change of leader", async () => {
    const { cluster, api } = await open(1);
    await api.topics.put("orders", TOPIC);
    const { door } = cluster.member(1);
    const before = door.keeper;
    door.keeper = () => Promise.reject(notLeading());
    const waits = api.messages.publish("orders", message("m"));
    assert.equal(await isAnswered(waits), false);
    assert(cluster.routing.lostGroups.includes(1), "it is told that the leader does not lead");
    door.keeper = before;
    cluster.routing.lead(1, door.api);
    assert.equal((await waits).id, "m");
    await cluster.close();
  });

  it("of a batch tells of each message what became of it", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    const key = await keysOf(cluster, api, "orders");
    cluster.takeAway(2);
    const batch = [1, 2, 3].map((group) => message(`m${group}`, { key: key(group) }));
    const sent = api.messages.publishBatch("orders", batch, { atomic: false });
    await pass(cluster, 5100);
    const results = (await sent).map((one) => ("code" in one ? one.code : one.id));
    assert.deepEqual(results, ["m1", "unavailable", "m3"]);
    await cluster.close();
  });

  it("that is atomic, or a transaction, over two broker groups is refused by name", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    const key = await keysOf(cluster, api, "orders");
    const batch = [1, 2].map((group) => message(`m${group}`, { key: key(group) }));
    const refused = await fails(
      "not-implemented",
      api.messages.publishBatch("orders", batch, { atomic: true }),
    );
    assert.equal(refused.details["feature"], "atomic batch over broker groups");
    const halves = batch.map((one) => ({ topic: "orders", message: one }));
    const begun = api.transactions.begin({ producerGroup: "pay", messages: halves });
    await fails("not-implemented", begun);
    const near = [message("a", { key: key(3) }), message("b")];
    await api.messages.publishBatch("orders", near, { atomic: true });
    const { id } = await api.transactions.begin({
      producerGroup: "pay",
      messages: near.map((one) => ({ topic: "orders", message: { ...one, id: `half-${one.id}` } })),
    });
    assert.match(id, /^3-/);
    await api.transactions.commit(id);
    assert.deepEqual(ids(await readAll(api)), ["a", "b", "half-a", "half-b"]);
    await cluster.close();
  });
});

describe("a read", () => {
  it("gives what others have while a broker group is away, and not as if it were all", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    await publishEach(api, "orders", names("m", 12));
    cluster.takeAway(2);
    const page = await read(api);
    assert.deepEqual([page.messages.length, page.upToDate], [8, false]);
    const rest = read(api, { start: { kind: "cursor", cursor: page.cursor } });
    assert.equal(await isAnswered(rest), false);
    cluster.bringBack(2);
    const { messages, upToDate } = await rest;
    assert.deepEqual([messages.length, upToDate], [4, true]);
    await cluster.close();
  });

  it("is unavailable when a broker group is away and the others have nothing", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    cluster.takeAway(2);
    const refused = fails("unavailable", read(api));
    await pass(cluster, 5100);
    await refused;
    const waiting = read(api, { start: { kind: "latest" }, waitMs: 2000 });
    const late = fails("unavailable", waiting);
    await pass(cluster, 2100);
    await late;
    await cluster.close();
  });

  it("that waits is answered by any broker group", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    const key = await keysOf(cluster, api, "orders");
    for (const group of [3, 1, 2]) {
      const wait = read(api, { start: { kind: "latest" }, waitMs: 60_000 });
      assert.equal(await isAnswered(wait), false);
      await api.messages.publish("orders", message(`m${group}`, { key: key(group) }));
      assert.deepEqual(ids((await wait).messages), [`m${group}`]);
    }
    await cluster.close();
  });

  it("does not wait for a broker group that hangs", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    await publishEach(api, "orders", names("m", 12));
    cluster.member(2).door.keeper = () => new Promise(() => {});
    const page = read(api);
    await pass(cluster, 600);
    const { messages, upToDate } = await page;
    assert.deepEqual([messages.length, upToDate], [8, false]);
    await cluster.close();
  });
});

describe("a receive", () => {
  it("gets no more than it asked for when two broker groups answer at once, and loses nothing", async () => {
    const { cluster, api, clock } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    await api.groups.put("g", GROUP);
    const key = await keysOf(cluster, api, "orders");
    const wait = receive(api, { max: 1, waitMs: 60_000 });
    await turn();
    await Promise.all(
      [1, 2, 3].map((group) =>
        api.messages.publish("orders", message(`m${group}`, { key: key(group) })),
      ),
    );
    const [first, ...others] = await wait;
    assert.equal(others.length, 0);
    await turn();
    const rest = await receive(api, { max: 10 });
    assert.deepEqual(ids([first ?? assert.fail(), ...rest]).sort(), ["m1", "m2", "m3"]);
    assert.deepEqual(
      rest.map(({ attempt }) => attempt),
      [1, 1],
      "what was given back counts no attempt",
    );
    assert.deepEqual(await settle(api, { ack: receipts([first ?? assert.fail(), ...rest]) }), [
      "ok",
      "ok",
      "ok",
    ]);
    clock.advance(60_000);
    assert.deepEqual(await receive(api), []);
    await cluster.close();
  });

  it("with an attemptId is repeated wherever its leases are", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    await api.groups.put("g", GROUP);
    const key = await keysOf(cluster, api, "orders");
    await api.messages.publish("orders", message("late", { key: key(3) }));
    const first = await receive(api, { max: 2, attemptId: "again" });
    await publishEach(api, "orders", names("m", 6));
    const again = await receive(cluster.gateway(), { max: 2, attemptId: "again" });
    assert.deepEqual(receipts(again), receipts(first));
    await cluster.close();
  });

  it("keeps a consumer's bound over all broker groups", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    await api.groups.put("g", GROUP);
    await publishEach(api, "orders", names("m", 12));
    const bound = { consumerId: "c", consumerMaxInFlight: 4 };
    const got = [...(await receive(api, { ...bound, max: 3 })), ...(await receive(api, bound))];
    assert.equal(got.length, 4);
    const wait = receive(api, { ...bound, waitMs: 20_000 });
    assert.equal(await isAnswered(wait), false);
    await settle(api, { ack: receipts(got.slice(0, 2)) });
    await pass(cluster, 2100);
    assert((await wait).length <= 2);
    const [consumer] = await api.groups.consumers("g");
    const inFlight = consumer?.inFlight ?? 0;
    assert(inFlight > 2 && inFlight <= 4, `${inFlight} are in flight`);
    const back = await receive(cluster.gateway(), { ...bound, reopen: true, max: 1 });
    assert.equal(back.length, inFlight, "a consumer that is back is given all that it holds");
    await cluster.close();
  });

  it("goes on with the others while a broker group is away", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    await api.groups.put("g", GROUP);
    await publishEach(api, "orders", names("m", 12));
    cluster.takeAway(1);
    const got = await receive(api);
    assert.equal(got.length, 8);
    assert.deepEqual(new Set(await settle(api, { ack: receipts(got) })), new Set(["ok"]));
    const wait = receive(api, { waitMs: 20_000 });
    assert.equal(await isAnswered(wait), false);
    cluster.bringBack(1);
    assert.equal((await wait).length, 4);
    await cluster.close();
  });

  it("that the caller leaves takes nothing with it", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    await api.groups.put("g", GROUP);
    const leaves = new AbortController();
    const gone = receive(api, { waitMs: 60_000 }, { signal: leaves.signal });
    await turn();
    leaves.abort();
    assert.deepEqual(await gone, []);
    await publishEach(api, "orders", names("m", 6));
    assert.deepEqual(
      (await receive(api)).map(({ attempt }) => attempt),
      [1, 1, 1, 1, 1, 1],
    );
    await cluster.close();
  });
});

describe("a settle", () => {
  it("of which a part is done is of unknown outcome, and can be repeated", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    await api.groups.put("g", GROUP);
    await publishEach(api, "orders", names("m", 6));
    const ack = receipts(await receive(api));
    cluster.takeAway(3);
    const unknown = fails("outcome-unknown", settle(api, { ack }));
    await pass(cluster, 5100);
    await unknown;
    cluster.bringBack(3);
    assert.deepEqual(new Set(await settle(api, { ack })), new Set(["ok"]));
    await cluster.close();
  });

  it("answers in the order of its receipts, and knows those that are none", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    await api.groups.put("g", GROUP);
    await publishEach(api, "orders", names("m", 6));
    const [a = "", b = "", c = ""] = receipts(await receive(api));
    const results = await api.groups.settle("g", {
      ack: [c, "none", a],
      release: [],
      extend: [{ receipt: b, leaseMs: 1000 }],
      reject: [],
    });
    assert.deepEqual(
      results.map(({ receipt, status }) => [receipt, status]),
      [
        [c, "ok"],
        ["none", "invalid"],
        [a, "ok"],
        [b, "ok"],
      ],
    );
    await cluster.close();
  });
});

/** A coordinator that can be away. */
function mayBeAway(store: DefinitionStore) {
  const state = { away: false, lostAnswers: 0 };
  const check = () => {
    if (state.away) throw new TidegateError("outcome-unknown", "the coordinator is away");
  };
  const through = async <T>(ask: () => Promise<T>): Promise<T> => {
    check();
    return await ask();
  };
  const definitions: DefinitionStore = {
    definition: (kind, name) => through(() => store.definition(kind, name)),
    definitions: (page) => through(() => store.definitions(page)),
    define: (change) =>
      through(async () => {
        const outcome = await store.define(change);
        if (state.lostAnswers-- > 0) throw new TidegateError("outcome-unknown", "no answer came");
        return outcome;
      }),
    watchDefinitions: (kind, onHint) => store.watchDefinitions(kind, onHint),
    nextGeneration: () => through(() => store.nextGeneration()),
  };
  return { state, definitions };
}

describe("definitions", () => {
  it("go on being served while the coordinator is away; making some is unavailable", async () => {
    const { cluster } = await open();
    const { state, definitions } = mayBeAway(cluster.coordinator);
    const api = cluster.gateway({ definitions });
    await api.topics.put("orders", TOPIC);
    await api.groups.put("g", GROUP);
    state.away = true;
    cluster.clock.advance(120_000);
    await publishEach(api, "orders", names("m", 8));
    assert.equal((await readAll(api)).length, 8);
    assert.equal((await receive(api)).length, 8);
    assert.equal((await api.topics.get("orders")).queues, 4);
    assert.equal((await api.groups.get("g")).mode, "concurrent");
    for (const call of [
      () => api.topics.put("bills", TOPIC),
      () => api.messages.publish("bills", message("m")),
      () => api.groups.put("h", GROUP),
      () => api.topics.patch("orders", { description: "x" }),
      () => api.topics.list({ limit: 10 }),
    ]) {
      await fails("unavailable", call());
    }
    state.away = false;
    await fails("topic-not-found", api.topics.get("bills"));
    await cluster.close();
  });

  it("are made once, whoever makes them at the same time", async () => {
    const { cluster } = await open();
    const gateways = [cluster.gateway(), cluster.gateway(), cluster.gateway()];
    const made = await Promise.all(gateways.map((api) => api.topics.put("orders", TOPIC)));
    assert.equal(made.filter(({ created }) => created).length, 1);
    assert.equal(new Set(made.map(({ topic }) => topic.generation)).size, 1);
    const others = await Promise.allSettled(
      gateways.map((api, i) => api.groups.put("g", { ...GROUP, leaseMs: 1000 + i })),
    );
    assert.equal(others.filter(({ status }) => status === "fulfilled").length, 1);
    await cluster.close();
  });

  it("whose answer was lost are found to be made", async () => {
    const { cluster } = await open();
    const { state, definitions } = mayBeAway(cluster.coordinator);
    const api = cluster.gateway({ definitions });
    state.lostAnswers = 1;
    assert.equal((await api.topics.put("orders", TOPIC)).created, true);
    state.lostAnswers = 1;
    await api.topics.delete("orders");
    await fails("topic-not-found", api.topics.get("orders"));
    await cluster.close();
  });

  it("of a group count when every broker group has them; the same request completes what was halfway", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    cluster.takeAway(2);
    const halfway = fails(
      "outcome-unknown",
      api.groups.put("g", { ...GROUP, startFrom: "latest" }),
    );
    await pass(cluster, 5100);
    await halfway;
    cluster.bringBack(2);
    const again = await api.groups.put("g", { ...GROUP, startFrom: "latest" });
    assert.equal(again.created, false);
    await publishEach(api, "orders", names("m", 6));
    assert.equal((await receive(api)).length, 6);
    cluster.takeAway(2);
    assert.equal((await api.groups.put("g", { ...GROUP, startFrom: "latest" })).created, false);
    await cluster.close();
  });

  it("that another gateway changed are noticed when they are used", async () => {
    const { cluster, api } = await open();
    const other = cluster.gateway();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    await publishEach(other, "orders", names("old", 6));
    await api.topics.delete("orders");
    await api.topics.put("orders", { ...TOPIC, queues: 1 });
    await publishEach(other, "orders", names("new", 3));
    assert.deepEqual(ids(await readAll(api)), names("new", 3));
    assert.deepEqual(ids(await readAll(other)), names("new", 3));
    await cluster.close();
  });

  it("of an earlier topic, in a broker group that was away, take nothing of the new one", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    await publishEach(api, "orders", names("old", 6));
    cluster.takeAway(2);
    await api.topics.delete("orders", { force: true });
    cluster.bringBack(2);
    const { door } = cluster.member(2);
    door.keeper = () => Promise.reject(notLeading());
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    door.keeper = ({ through }) => through();
    const other = cluster.gateway();
    await publishEach(other, "orders", names("new", 6));
    assert.deepEqual(ids(await readAll(api)).sort(), names("new", 6));
    assert.deepEqual(ids(await readAll(other)).sort(), names("new", 6));
    await cluster.close();
  });

  it("of consumer groups are known to a broker group before the first topic is placed there", async () => {
    const { cluster, api } = await open(2);
    await api.groups.put("g", { ...GROUP, startFrom: "latest" });
    await cluster.addGroup();
    const other = cluster.gateway();
    await other.topics.put("orders", { ...TOPIC, queues: 3 });
    await publishEach(other, "orders", names("m", 6));
    assert.equal((await receive(other)).length, 6);
    await cluster.close();
  });

  it("that are gone are told to a broker group that was away", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    await publishEach(api, "orders", names("m", 6));
    cluster.takeAway(2);
    await api.topics.delete("orders", { force: true });
    const { broker } = cluster.member(2);
    assert.equal((await broker.api.topics.list({ limit: 10 })).topics.length, 1);
    cluster.bringBack(2);
    await pass(cluster, 5100);
    assert.equal((await broker.api.topics.list({ limit: 10 })).topics.length, 0);
    await cluster.close();
  });
});

describe("a topic that is made while a broker group is away", () => {
  it("is placed on the others", async () => {
    const { cluster, api } = await open();
    cluster.takeAway(2);
    await publishEach(api, "orders", names("m", 8));
    assert.equal((await readAll(api)).length, 8);
    cluster.bringBack(2);
    const { door } = cluster.member(2);
    await publishEach(api, "orders", names("n", 8));
    assert.equal(door.calls.includes("messages.publish"), false);
    await cluster.close();
  });
});

describe("a topic that grows", () => {
  it("keeps what makes repeats known: no key changes its broker group", async () => {
    const { cluster, api } = await open();
    await api.topics.put("orders", { ...TOPIC, queues: 6 });
    const keyed = (id: string) => message(id, { idempotencyKey: id });
    for (const id of names("m", 20)) await api.messages.publish("orders", keyed(id));
    await fails("not-implemented", api.topics.patch("orders", { queues: 7 }));
    assert.equal((await api.topics.patch("orders", { queues: 9 })).queues, 9);
    for (const id of names("m", 20)) {
      assert.equal((await api.messages.publish("orders", keyed(id))).replayed, true);
    }
    await cluster.close();
  });
});
