/**
 * `GET /v1/groups/{group}/stream` as the route has it; how such streams work is
 * in test/gateway/lease_stream_test.ts.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Deliveries } from "../../routes/group_schemas.ts";
import { type Ask, problem, TestGateway } from "../fakes/gateway.ts";
import { StreamReader, until } from "../fakes/stream_reader.ts";

const GROUP = "/v1/groups/billing";
const STREAM = `${GROUP}/stream`;

interface Lease {
  readonly receipt: string;
  readonly attempt: number;
  readonly leaseUntil: string;
  readonly topic: string;
  readonly data: { readonly n: number };
}

async function start(count: number, subscriptions = ["orders"]): Promise<TestGateway> {
  const gateway = new TestGateway();
  const json = {
    subscriptions: subscriptions.map((topic) => ({ topic })),
    startFrom: "earliest",
    leaseMs: 30_000,
  };
  await gateway.json(GROUP, { method: "PUT", json, status: 201 });
  for (let n = 0; n < count; n++) await publish(gateway, n);
  return gateway;
}

async function publish(gateway: TestGateway, n: number, topic = "orders"): Promise<void> {
  const path = `/v1/topics/${topic}/messages`;
  await gateway.json(path, { method: "POST", json: { n }, status: 201 });
}

async function settle(gateway: TestGateway, json: object): Promise<string[]> {
  const { results } = await gateway.json(`${GROUP}/settle`, { method: "POST", json });
  return (results as { status: string }[]).map(({ status }) => status);
}

async function open(gateway: TestGateway, query = "", ask: Ask = {}) {
  const response = await gateway.ask(`${STREAM}${query}`, ask);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  const reader = new StreamReader(response);
  const leases = () => reader.data("lease") as Lease[];
  const has = (count: number) => until(() => leases().length >= count, `${count} arrived`);
  await until(() => reader.events.length > 0, "it began");
  const consumerId = () => (reader.data("control")[0] as { consumerId: string }).consumerId;
  return { response, reader, leases, has, consumerId };
}

describe("GET /v1/groups/{group}/stream", () => {
  it("leases what is there and what comes, whatever the Accept", async () => {
    for (const headers of [{}, { accept: "text/event-stream" }, { accept: "application/json" }]) {
      const gateway = await start(2);
      const { response, leases, has, reader } = await open(gateway, "", { headers });
      assert.equal(response.headers.get("x-content-type-options"), "nosniff");
      assert.equal(response.headers.get("cache-control"), "no-cache, no-transform");
      assert.equal(gateway.held, 1);
      await has(2);
      await publish(gateway, 2);
      await has(3);
      assert.deepEqual(
        leases().map(({ data, attempt }) => [data.n, attempt]),
        [0, 1, 2].map((n) => [n, 1]),
      );
      assert(leases().every(({ leaseUntil }) => leaseUntil === "2026-11-22T12:00:30.000Z"));
      assert(reader.events.every(({ id }) => id === undefined));
      Deliveries.parse({ messages: leases() });
      assert.deepEqual(await settle(gateway, { ack: leases().map(({ receipt }) => receipt) }), [
        "ok",
        "ok",
        "ok",
      ]);
      await reader.cancel();
    }
  });

  it("makes a name for a consumer that has none, another each time", async () => {
    const gateway = await start(0);
    const streams = [await open(gateway), await open(gateway)];
    const names = streams.map(({ consumerId }) => consumerId());
    for (const name of names) assert.match(name, /^[\w-]{21}$/);
    assert.equal(new Set(names).size, 2);
    for (const { reader } of streams) await reader.cancel();
  });

  it("leases no more than maxInFlight, and one more for each that is settled", async () => {
    const gateway = await start(6);
    const { leases, has, reader } = await open(gateway, "?maxInFlight=2&consumerId=w");
    await has(2);
    for (let settled = 0; settled < 4; settled++) {
      await until(() => leases().length === settled + 2, "there is room for so many");
      const receipt = leases()[settled]?.receipt ?? "";
      await settle(gateway, { ack: [receipt] });
    }
    await has(6);
    assert.deepEqual(
      leases().map(({ data }) => data.n),
      [0, 1, 2, 3, 4, 5],
    );
    await reader.cancel();
  });

  it("gives a consumer that comes back what it holds, under the same receipts", async () => {
    const gateway = await start(5);
    const first = await open(gateway, "?maxInFlight=3&consumerId=w");
    await first.has(3);
    await first.reader.cancel();
    await settle(gateway, { ack: [first.leases()[1]?.receipt] });

    const second = await open(gateway, "?maxInFlight=3&consumerId=w");
    await second.has(3);
    const [a, , c] = first.leases();
    assert.deepEqual(second.leases().slice(0, 2), [a, c]);
    assert.equal(second.leases()[2]?.data.n, 3);
    const receipts = second.leases().map(({ receipt }) => receipt);
    assert.deepEqual(await settle(gateway, { ack: receipts }), ["ok", "ok", "ok"]);
    await second.reader.cancel();
  });

  it("does not give one consumer what another holds", async () => {
    const gateway = await start(4);
    const [one, other] = [
      await open(gateway, "?maxInFlight=2&consumerId=one"),
      await open(gateway, "?maxInFlight=2&consumerId=other"),
    ];
    await Promise.all([one.has(2), other.has(2)]);
    const all = [...one.leases(), ...other.leases()].map(({ data }) => data.n);
    assert.deepEqual(new Set(all), new Set([0, 1, 2, 3]));
    for (const { reader } of [one, other]) await reader.cancel();
  });

  it("leases for leaseMs, and from one topic only, when asked to", async () => {
    const gateway = await start(1, ["orders", "refunds"]);
    await publish(gateway, 7, "refunds");
    const { leases, has, reader } = await open(gateway, "?topic=refunds&leaseMs=5000");
    await has(1);
    assert.deepEqual(
      leases().map(({ topic, data, leaseUntil }) => [topic, data.n, leaseUntil]),
      [["refunds", 7, "2026-11-22T12:00:05.000Z"]],
    );
    await reader.cancel();
  });

  const refused: [name: string, query: string, pointer: string][] = [
    ["maxInFlight of none", "maxInFlight=0", "/query/maxInFlight"],
    ["maxInFlight of too many", "maxInFlight=10001", "/query/maxInFlight"],
    ["maxInFlight that is no number", "maxInFlight=ten", "/query/maxInFlight"],
    ["leaseMs too short", "leaseMs=99", "/query/leaseMs"],
    ["leaseMs too long", "leaseMs=43200001", "/query/leaseMs"],
    ["leaseMs that is no number", "leaseMs=5s", "/query/leaseMs"],
    ["a topic that cannot be one", "topic=a%20b", "/query/topic"],
    ["an empty consumerId", "consumerId=", "/query/consumerId"],
    ["a consumerId with a space", "consumerId=a%20b", "/query/consumerId"],
    ["a consumerId that is too long", `consumerId=${"x".repeat(129)}`, "/query/consumerId"],
  ];
  for (const [name, query, pointer] of refused) {
    it(`refuses ${name}`, async () => {
      const gateway = await start(1);
      const answer = await gateway.ask(`${STREAM}?${query}`);
      const body = await problem(answer, { status: 400, code: "invalid-request" });
      assert.equal(body["errors"][0].pointer, pointer);
      assert.equal(gateway.held, 0);
    });
  }

  it("answers 404 for a group that is not there, and 204 to a consumer that names itself", async () => {
    const gateway = new TestGateway();
    await problem(await gateway.ask(STREAM), { status: 404, code: "group-not-found" });
    assert.equal((await gateway.ask(`${STREAM}?consumerId=w`)).status, 204);
  });

  it("answers 404 for a topic that the group has no subscription to", async () => {
    const gateway = await start(1);
    for (const query of ["?topic=refunds", "?topic=refunds&consumerId=w"]) {
      const answer = await gateway.ask(`${STREAM}${query}`);
      await problem(answer, { status: 404, code: "topic-not-found" });
    }
  });

  it("tells who comes while the node drains to come back, as a stream", async () => {
    const gateway = await start(1);
    await gateway.gateway.drain();
    for (const accept of ["*/*", "text/event-stream"]) {
      const { reader } = await open(gateway, "", { headers: { accept } });
      await until(() => reader.ended === "closed", "the stream ended");
      assert.deepEqual(reader.data("reconnect"), [{ reason: "draining" }]);
    }
  });

  it("ends with reconnect when the node drains, and what was not sent is still ready", async () => {
    const gateway = await start(1);
    const { reader, has } = await open(gateway, "?maxInFlight=1&consumerId=w");
    await has(1);
    await publish(gateway, 1);
    await gateway.gateway.drain();
    await until(() => reader.ended === "closed", "the stream ended");
    assert.equal(reader.events.at(-1)?.event, "reconnect");
    const wish = { group: "billing", max: 10, maxBytes: 1000, waitMs: 0 };
    assert.equal((await gateway.broker.groups.receive(wish)).length, 1);
  });
});

describe("HEAD /v1/groups/{group}/stream", () => {
  it("leases nothing and holds nothing open", async () => {
    const gateway = await start(1);
    const answer = await gateway.ask(STREAM, { method: "HEAD" });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("content-type"), "text/event-stream");
    assert.equal(gateway.held, 0);
    const { topics } = await gateway.json(`${GROUP}/lag`);
    assert.equal(
      topics[0].queues.reduce((sum: number, one: { leased: number }) => sum + one.leased, 0),
      0,
    );
  });

  it("answers 404 as a GET would", async () => {
    const gateway = new TestGateway();
    assert.equal((await gateway.ask(STREAM, { method: "HEAD" })).status, 404);
  });
});
