/**
 * `GET /v1/stream` as the route has it; how such streams work is in
 * test/gateway/topics_stream_test.ts.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Ask, problem, TestGateway } from "../fakes/gateway.ts";
import { StreamReader, until } from "../fakes/stream_reader.ts";

async function filled(): Promise<TestGateway> {
  const gateway = new TestGateway();
  for (const topic of ["a", "b", "a"]) await publish(gateway, topic);
  return gateway;
}

async function publish(gateway: TestGateway, topic: string, headers = {}): Promise<void> {
  const { length } = await seenIn(gateway, topic);
  const json = { method: "POST", json: { n: `${topic}${length}` }, headers, status: 201 };
  await gateway.json(`/v1/topics/${topic}/messages`, json);
}

async function seenIn(gateway: TestGateway, topic: string): Promise<unknown[]> {
  const answer = await gateway.ask(`/v1/topics/${topic}/messages`);
  if (answer.status !== 200) return [];
  return ((await answer.json()) as { messages: unknown[] }).messages;
}

async function open(gateway: TestGateway, path: string, ask: Ask = {}) {
  const response = await gateway.ask(path, ask);
  assert.equal(response.status, 200, path);
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  const reader = new StreamReader(response);
  const seen = () =>
    (reader.data("message") as { data: { n: string } }[]).map(({ data }) => data.n).toSorted();
  return { response, reader, seen };
}

describe("GET /v1/stream", () => {
  const position = "a=s-1-1,b=s-2-0";
  const starts: [name: string, query: string, headers: Record<string, string>, seen: string[]][] = [
    ["from the latest by default", "topics=a,b", {}, ["a2", "b1"]],
    ["whatever the Accept", "topics=a,b", { accept: "application/json" }, ["a2", "b1"]],
    ["from after", "topics=b,a&after=earliest", {}, ["a0", "a1", "a2", "b0", "b1"]],
    ["from a position in all", `topics=a,b&after=${position}`, {}, ["a1", "a2", "b0", "b1"]],
    ["from a position in some", "topics=a,b&after=a=s-1-1", {}, ["a1", "a2", "b1"]],
    ["from a time", "topics=a&after=time:2026-11-22T12:00:00Z", {}, ["a0", "a1", "a2"]],
    [
      "from lastEventId rather than after",
      `topics=a,b&after=earliest&lastEventId=b=s-2-1`,
      {},
      ["a0", "a1", "a2", "b1"],
    ],
    [
      "from Last-Event-ID rather than both",
      `topics=a,b&after=earliest&lastEventId=${position}`,
      { "last-event-id": "a=s-1-2,b=s-2-1" },
      ["a2", "b1"],
    ],
    [
      "from after when Last-Event-ID is empty",
      `topics=a&after=earliest`,
      { "last-event-id": "" },
      ["a0", "a1", "a2"],
    ],
  ];
  for (const [name, query, headers, expected] of starts) {
    it(`reads ${name}`, async () => {
      const gateway = await filled();
      const { response, reader, seen } = await open(gateway, `/v1/stream?${query}`, { headers });
      assert.equal(response.headers.get("x-content-type-options"), "nosniff");
      assert.notEqual(response.headers.get("x-request-id"), null);
      assert.equal(gateway.held, 1);
      await until(() => reader.events.length > 0, "it has begun");
      for (const topic of ["a", "b"]) await publish(gateway, topic);
      await until(() => seen().length >= expected.length, "all messages are there");
      assert.deepEqual(seen(), expected);
      await gateway.gateway.drain();
      await until(() => reader.ended === "closed", "the stream ends");
      assert.equal(reader.events.at(-1)?.event, "reconnect");
    });
  }

  const many = Array.from({ length: 33 }, (_, i) => `t${i}`).join(",");
  const refused: [name: string, query: string, pointer: string][] = [
    ["no topics", "", "/query/topics"],
    ["an empty list", "topics=", "/query/topics"],
    ["an empty name", "topics=a,", "/query/topics"],
    ["a name that cannot be one", "topics=a,b%20c", "/query/topics"],
    ["a topic named twice", "topics=a,b,a", "/query/topics"],
    ["more than 32 topics", `topics=${many}`, "/query/topics"],
    ["a cursor of one topic", "topics=a&after=s-1-1", "/query/after"],
    ["a position that cannot be one", "topics=a&after=a=*", "/query/after"],
    ["a time that is none", "topics=a&after=time:noon", "/query/after"],
    ["a lastEventId of one topic", "topics=a&lastEventId=s-1-1", "/query/lastEventId"],
  ];
  for (const [name, query, pointer] of refused) {
    it(`refuses ${name}`, async () => {
      const gateway = await filled();
      const answer = await gateway.ask(`/v1/stream?${query}`);
      const body = await problem(answer, { status: 400, code: "invalid-request" });
      assert.equal(body["errors"][0].pointer, pointer);
      assert.equal(gateway.held, 0);
    });
  }

  it("takes 32 topics", async () => {
    const gateway = new TestGateway();
    const topics = Array.from({ length: 32 }, (_, i) => `t${i}`);
    for (const topic of topics) await publish(gateway, topic);
    const path = `/v1/stream?topics=${topics.join(",")}&after=earliest`;
    const { reader, seen } = await open(gateway, path);
    await until(() => seen().length === 32, "a message of each arrived");
    await reader.cancel();
  });

  it("tells only what a filter wants, of every topic", async () => {
    const gateway = await filled();
    for (const topic of ["a", "b"]) await publish(gateway, topic, { "Message-Tag": "rare" });
    const path = "/v1/stream?topics=a,b&after=earliest&filter=rare";
    const { reader, seen } = await open(gateway, path);
    await until(() => seen().length === 2, "one of each arrived");
    await reader.cancel();
  });

  it("refuses a filter that is none, and two at once", async () => {
    const gateway = await filled();
    const bad = await gateway.ask("/v1/stream?topics=a&after=earliest&sql=x%3D");
    await problem(bad, { status: 422, code: "filter-invalid" });
    const two = await gateway.ask("/v1/stream?topics=a&filter=x&sql=x%3D1");
    await problem(two, { status: 400, code: "invalid-request" });
  });

  it("answers 404 when one of its topics is not there, and 204 when none is there any more", async () => {
    const gateway = await filled();
    const path = "/v1/stream?topics=a,nowhere";
    await problem(await gateway.ask(path), { status: 404, code: "topic-not-found" });
    const gone = { headers: { "last-event-id": "nowhere=s-9-1,elsewhere=s-8-1" } };
    assert.equal((await gateway.ask("/v1/stream?topics=nowhere,elsewhere", gone)).status, 204);
    const { reader } = await open(gateway, "/v1/stream?topics=a,nowhere", gone);
    await until(() => reader.events.length === 1, "it goes on with what is there");
    assert.deepEqual((reader.data("control")[0] as { ended: string[] }).ended, ["nowhere"]);
    await reader.cancel();
  });

  it("tells who comes while the node drains to come back, as a stream", async () => {
    const gateway = await filled();
    await gateway.gateway.drain();
    for (const accept of ["*/*", "text/event-stream"]) {
      const { reader } = await open(gateway, "/v1/stream?topics=a", { headers: { accept } });
      await until(() => reader.ended === "closed", "the stream ended");
      assert.deepEqual(reader.data("reconnect"), [{ reason: "draining" }]);
    }
  });
});

describe("HEAD /v1/stream", () => {
  it("tells where the topics end now, and holds nothing open", async () => {
    const gateway = await filled();
    const answer = await gateway.ask("/v1/stream?topics=a,b", { method: "HEAD" });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("content-type"), "text/event-stream");
    assert.equal(gateway.held, 0);
    const position = answer.headers.get("next-cursor") ?? "";
    await publish(gateway, "b");
    const { reader, seen } = await open(gateway, `/v1/stream?topics=a,b&after=${position}`);
    await until(() => seen().length === 1, "what came since arrived");
    assert.deepEqual(seen(), ["b1"]);
    await reader.cancel();
  });

  it("answers 404 as a GET would", async () => {
    const gateway = await filled();
    const answer = await gateway.ask("/v1/stream?topics=a,nowhere", { method: "HEAD" });
    assert.equal(answer.status, 404);
  });
});
