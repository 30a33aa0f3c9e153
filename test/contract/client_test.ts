/**
 * A stranger's program: a client generated from openapi.yaml by a public
 * generator publishes and consumes over a socket, and compiles without a cast.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import createClient, { type Client } from "openapi-fetch";
import { ServedGateway } from "../fakes/served_gateway.ts";
import type { paths } from "./client/schema.d.ts";

/** A request that fails rather than hangs when there is no answer. */
function inTime(request: Request): Promise<Response> {
  const signal = AbortSignal.any([request.signal, AbortSignal.timeout(20_000)]);
  return fetch(request, { signal });
}

describe("the generated client", () => {
  let served: ServedGateway;
  let client: Client<paths>;

  before(async () => {
    served = await ServedGateway.start({ apiKeys: ["a-key"] });
    const headers = { Authorization: "Bearer a-key" };
    client = createClient<paths>({ baseUrl: served.url, headers, fetch: inTime });
  });
  after(() => served.stop());

  it("creates a topic, and is given typed problems", async () => {
    const params = { path: { topic: "orders" } };
    const created = await client.PUT("/v1/topics/{topic}", { params, body: { queues: 2 } });
    assert.equal(created.response.status, 201);
    assert.deepEqual(created.data?.endOffsets, ["0", "0"]);

    const again = await client.PUT("/v1/topics/{topic}", { params, body: { queues: 3 } });
    assert.equal(again.error?.code, "topic-exists");
    assert.equal(again.error?.retryable, false);
  });

  it("publishes one message as it is, and reads it", async () => {
    const published = await client.POST("/v1/topics/{topic}/messages", {
      params: { path: { topic: "orders" }, header: { "Message-Key": "order-17" } },
      body: JSON.stringify({ total: 12 }),
      bodySerializer: (body) => body,
      headers: { "Content-Type": "application/json" },
    });
    assert.equal(published.response.status, 201, JSON.stringify(published.error));
    assert(published.data && !("state" in published.data), "it is not delayed");
    assert.equal(published.data.queueOffset, "0");

    const read = await client.GET("/v1/topics/{topic}/messages", {
      params: { path: { topic: "orders" }, query: { limit: 10, after: "earliest" } },
    });
    const page = read.data;
    assert(typeof page === "object", "JSON was asked for");
    const [message] = page.messages;
    assert.equal(message?.id, published.data?.id);
    assert.equal(message?.key, "order-17");
    assert.deepEqual(message?.data, { total: 12 });
    assert.equal(page.upToDate, true);
  });

  it("publishes a batch, and consumes it by lease until nothing is left", async () => {
    const group = { path: { group: "billing" } };
    const subscriptions = [{ topic: "parcels" }];
    const made = await client.PUT("/v1/groups/{group}", { params: group, body: { subscriptions } });
    assert.equal(made.response.status, 201, JSON.stringify(made.error));

    const messages = [1, 2, 3].map((n) => ({ data: { n }, tag: "created" }));
    const published = await client.POST("/v1/topics/{topic}/messages/batch", {
      params: { path: { topic: "parcels" } },
      body: { messages },
    });
    assert.equal(published.data?.results.length, 3);

    const received = await client.POST("/v1/groups/{group}/receive", {
      params: group,
      body: { max: 10, waitMs: 5000 },
    });
    const deliveries = received.data?.messages ?? [];
    assert.deepEqual(
      deliveries.map(({ data }) => (data as { n: number }).n).toSorted((a, b) => a - b),
      [1, 2, 3],
    );

    const ack = deliveries.map(({ receipt }) => receipt);
    const settled = await client.POST("/v1/groups/{group}/settle", {
      params: group,
      body: { ack },
    });
    assert.deepEqual(
      settled.data?.results.map(({ status }) => status),
      ["ok", "ok", "ok"],
    );
    const lag = await client.GET("/v1/groups/{group}/lag", { params: group });
    assert.equal(lag.data?.topics[0]?.total, 0);
  });

  it("rejects a message, finds it among the dead letters, and sends it back", async () => {
    const group = { path: { group: "shipping" } };
    const subscriptions = [{ topic: "crates", filter: { tag: "created" } }];
    const body = { subscriptions, mode: "ordered", maxAttempts: 3 } as const;
    await client.PUT("/v1/groups/{group}", { params: group, body });
    await client.POST("/v1/topics/{topic}/messages/batch", {
      params: { path: { topic: "crates" } },
      body: { messages: [{ data: { n: 1 }, tag: "created", id: "c-1", key: "k" }] },
    });
    const peeked = await client.GET("/v1/groups/{group}/peek", { params: group });
    assert.equal(peeked.data?.messages[0]?.attempt, 1);

    const receive = async () => {
      const wish = { params: group, body: { waitMs: 0, consumerId: "worker-1" } };
      return (await client.POST("/v1/groups/{group}/receive", wish)).data?.messages ?? [];
    };
    const [delivery] = await receive();
    const consumers = await client.GET("/v1/groups/{group}/consumers", { params: group });
    assert.deepEqual(consumers.data?.consumers, [
      { consumerId: "worker-1", waiting: 0, inFlight: 1 },
    ]);
    const reject = [{ receipt: delivery?.receipt ?? "", reason: "too heavy" }];
    await client.POST("/v1/groups/{group}/settle", { params: group, body: { reject } });
    const list = await client.GET("/v1/groups/{group}/dead-letters", {
      params: { ...group, query: { limit: 10 } },
    });
    const [dead] = list.data?.deadLetters ?? [];
    assert(dead && "id" in dead.message, "its bytes are not damaged");
    assert.deepEqual([dead.message.id, dead.reason, dead.attempts], ["c-1", "too heavy", 1]);

    const redriven = await client.POST("/v1/groups/{group}/dead-letters/redrive", {
      params: group,
      body: { ids: [dead.message.id] },
    });
    assert.deepEqual([redriven.response.status, redriven.data], [202, { redriven: 1 }]);
    assert.equal((await receive())[0]?.attempt, 1);
    const sought = await client.POST("/v1/groups/{group}/seek", {
      params: group,
      body: { topic: "crates", to: { time: "2100-01-01T00:00:00Z" } },
    });
    assert.equal(sought.data?.queues.length, 4);
    const paused = await client.POST("/v1/groups/{group}/pause", { params: group });
    assert.equal(paused.data?.paused, true);
  });

  it("reads an event stream as far as it wants", async () => {
    const gone = new AbortController();
    const { data, response } = await client.GET("/v1/topics/{topic}/messages", {
      params: { path: { topic: "orders" }, query: { after: "earliest" } },
      headers: { Accept: "text/event-stream" },
      parseAs: "stream",
      signal: gone.signal,
    });
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    let text = "";
    const decoder = new TextDecoder();
    for await (const chunk of data ?? []) {
      text += decoder.decode(chunk, { stream: true });
      if (text.includes("event: message\n") && text.endsWith("\n\n")) break;
    }
    gone.abort();
    assert.match(text, /"key":"order-17"/);
  });

  it("is told that a key is missing", async () => {
    const stranger = createClient<paths>({ baseUrl: served.url, fetch: inTime });
    const { error, response } = await stranger.GET("/v1/topics", {});
    assert.equal(response.status, 401);
    assert.equal(error?.code, "unauthorized");
  });
});
