/**
 * Streams of leases from publish to settle: a real broker, a real server.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { ServedGateway } from "../fakes/served_gateway.ts";
import { StreamReader, until } from "../fakes/stream_reader.ts";

interface Lease {
  readonly receipt: string;
  readonly attempt: number;
  readonly data: { readonly n: number };
}

describe("a stream of leases over a socket", () => {
  let served: ServedGateway;
  let made = 0;
  before(async () => {
    served = await ServedGateway.start();
  });
  after(() => served.stop());

  const ask = async (path: string, init: RequestInit, status: number): Promise<unknown> => {
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`${served.url}/v1/${path}`, { headers, ...init });
    const text = await answer.text();
    assert.equal(answer.status, status, text);
    return text === "" ? undefined : JSON.parse(text);
  };
  const newGroup = async (leaseMs = 30_000) => {
    const name = `leased-${++made}`;
    const subscriptions = [{ topic: name }];
    const config = { subscriptions, leaseMs, startFrom: "earliest" };
    await ask(`groups/${name}`, { method: "PUT", body: JSON.stringify(config) }, 201);
    return name;
  };
  const publish = async (topic: string, from: number, to: number) => {
    const messages = Array.from({ length: to - from }, (_, i) => ({ data: { n: from + i } }));
    const body = JSON.stringify({ messages });
    await ask(`topics/${topic}/messages/batch`, { method: "POST", body }, 200);
  };
  const settle = async (group: string, wish: object): Promise<string[]> => {
    const init = { method: "POST", body: JSON.stringify(wish) };
    const { results } = (await ask(`groups/${group}/settle`, init, 200)) as {
      results: { status: string }[];
    };
    return results.map(({ status }) => status);
  };
  const ack = (group: string, leases: readonly Lease[]) =>
    settle(group, { ack: leases.map(({ receipt }) => receipt) });
  const follow = (group: string, query = "") =>
    fetch(`${served.url}/v1/groups/${group}/stream${query}`, {
      headers: { accept: "text/event-stream" },
    });
  const open = async (group: string, query = "") => {
    const response = await follow(group, query);
    assert.equal(response.status, 200);
    const reader = new StreamReader(response);
    await until(() => reader.events.length > 0, "the stream began");
    const leases = () => reader.data("lease") as Lease[];
    const has = (count: number) => until(() => leases().length >= count, `${count} arrived`);
    return { reader, leases, has, numbers: () => leases().map(({ data }) => data.n) };
  };
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
  const sorted = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b);

  it("has the headers of the contract on the wire", async () => {
    const response = await follow(await newGroup());
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    assert.equal(response.headers.get("cache-control"), "no-cache, no-transform");
    assert.equal(response.headers.get("x-accel-buffering"), "no");
    await response.body?.cancel();
  });

  it("leases what is there and what comes, until it is acked", async () => {
    const group = await newGroup();
    await publish(group, 0, 50);
    const stream = await open(group);
    await stream.has(50);
    await publish(group, 50, 60);
    await stream.has(60);
    assert.deepEqual(sorted(stream.numbers()), range(0, 60));
    assert(stream.leases().every(({ attempt }) => attempt === 1));
    const statuses = await ack(group, stream.leases());
    assert.deepEqual(new Set(statuses), new Set(["ok"]));
    await stream.reader.cancel();
    assert.deepEqual(((await ask(`groups/${group}/lag`, {}, 200)) as Lag).topics[0]?.total, 0);
  });

  it("has no more than maxInFlight on its way, and more when something is settled", async () => {
    const group = await newGroup();
    await publish(group, 0, 10);
    const stream = await open(group, "?maxInFlight=3&consumerId=w");
    await stream.has(3);
    for (let settled = 0; settled < 7; settled++) {
      assert.equal(stream.leases().length, settled + 3);
      await ack(group, stream.leases().slice(settled, settled + 1));
      await stream.has(settled + 4);
    }
    const last = stream.leases().slice(7);
    const wish = {
      release: [{ receipt: last[0]?.receipt, delayMs: 0 }],
      reject: [{ receipt: last[1]?.receipt }],
    };
    assert.deepEqual(await settle(group, wish), ["ok", "ok"]);
    await stream.has(11);
    assert.equal(stream.leases()[10]?.data.n, last[0]?.data.n, "what was released came again");
    assert.equal(stream.leases()[10]?.attempt, 2);
    await stream.reader.cancel();
  });

  it("gives who comes back what it holds, under the same receipts, and then more", async () => {
    const group = await newGroup();
    await publish(group, 0, 6);
    const first = await open(group, "?maxInFlight=4&consumerId=w");
    await first.has(4);
    await first.reader.cancel();
    const [done, ...held] = first.leases();
    await ack(group, done ? [done] : []);

    const second = await open(group, "?maxInFlight=4&consumerId=w");
    await second.has(4);
    const sortedByNumber = (leases: readonly Lease[]) =>
      leases.toSorted((a, b) => a.data.n - b.data.n);
    assert.deepEqual(sortedByNumber(second.leases().slice(0, 3)), sortedByNumber(held));
    assert.deepEqual(new Set(await ack(group, second.leases())), new Set(["ok"]));
    await second.has(5);
    assert.deepEqual(sorted([...second.numbers(), done?.data.n ?? -1]), range(0, 6));
    await second.reader.cancel();
  });

  it("shares the work with other streams and receives: each message is with one", async () => {
    const group = await newGroup();
    const streams = await Promise.all(
      range(0, 4).map((n) => open(group, `?maxInFlight=50&consumerId=w${n}`)),
    );
    for (let n = 0; n < 200; n += 20) await publish(group, n, n + 20);
    const all = () => streams.flatMap(({ numbers }) => numbers());
    await until(() => all().length === 200, "all were given out");
    assert.deepEqual(sorted(all()), range(0, 200));
    for (const { leases } of streams) await ack(group, leases());
    await Promise.all(streams.map(({ reader }) => reader.cancel()));
  });

  it("that was cut leaves what it was not sent to the others", async () => {
    const group = await newGroup();
    const gone = await open(group, "?consumerId=gone");
    await gone.reader.cancel();
    await publish(group, 0, 20);
    const stream = await open(group, "?consumerId=here");
    await stream.has(20);
    assert(stream.leases().every(({ attempt }) => attempt === 1));
    await stream.reader.cancel();
  });

  it("that was cut gives what it was sent to the others when the lease ends", async () => {
    const group = await newGroup(300);
    await publish(group, 0, 5);
    const gone = await open(group, "?consumerId=gone");
    await gone.has(5);
    await gone.reader.cancel();
    const stream = await open(group, "?consumerId=here");
    await stream.has(5);
    assert.deepEqual(sorted(stream.numbers()), range(0, 5));
    assert(stream.leases().every(({ attempt }) => attempt === 2));
    assert.deepEqual(new Set(await ack(group, gone.leases())), new Set(["lost"]));
    await stream.reader.cancel();
  });

  it("is ended by another one of the same consumer", async () => {
    const group = await newGroup();
    const first = await open(group, "?consumerId=w");
    const second = await open(group, "?consumerId=w");
    await until(() => first.reader.ended === "closed", "the first ended");
    assert.deepEqual(first.reader.data("reconnect"), [{ reason: "replaced" }]);
    await publish(group, 0, 1);
    await second.has(1);
    await second.reader.cancel();
  });

  it("of a group that is deleted ends, and then answers 204 or 404", async () => {
    const group = await newGroup();
    const stream = await open(group, "?consumerId=w");
    await ask(`groups/${group}`, { method: "DELETE" }, 204);
    await until(() => stream.reader.ended === "closed", "the stream ended");
    assert.deepEqual(stream.reader.data("reconnect"), []);
    assert.equal((await follow(group, "?consumerId=w")).status, 204);
    const fresh = await follow(group);
    assert.equal(fresh.status, 404);
    assert.equal(fresh.headers.get("content-type"), "application/problem+json");
    await fresh.body?.cancel();
  });

  it("is told to reconnect when the node drains, and nothing is left behind", async () => {
    const node = await ServedGateway.start();
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ subscriptions: [{ topic: "drained" }] });
    const made = await fetch(`${node.url}/v1/groups/g`, { method: "PUT", headers, body });
    await made.body?.cancel();
    const reader = new StreamReader(await fetch(`${node.url}/v1/groups/g/stream`));
    await until(() => reader.events.length === 1, "the stream began");
    await node.gateway.drain();
    await until(() => reader.ended === "closed", "the stream ended");
    await node.stop();
    assert.deepEqual(reader.data("reconnect"), [{ reason: "draining" }]);
    assert.deepEqual(node.reported, []);
  });
});

interface Lag {
  readonly topics: readonly { readonly total: number }[];
}
