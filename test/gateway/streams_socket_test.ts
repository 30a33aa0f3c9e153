/**
 * Streams from publish to reader: a real broker, a real server, a client that
 * reconnects as an EventSource does.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { ServedGateway } from "../fakes/served_gateway.ts";
import { StreamReader, until } from "../fakes/stream_reader.ts";

describe("an event stream over a socket", () => {
  let served: ServedGateway;
  let topics = 0;
  before(async () => {
    served = await ServedGateway.start();
  });
  after(() => served.stop());

  const newTopic = async (queues = 4): Promise<string> => {
    const path = `/v1/topics/streamed-${++topics}`;
    const body = JSON.stringify({ queues });
    const headers = { "content-type": "application/json" };
    const made = await fetch(served.url + path, { method: "PUT", body, headers });
    assert.equal(made.status, 201);
    await made.body?.cancel();
    return path;
  };
  const publish = async (topic: string, n: number, query = ""): Promise<void> => {
    const answer = await fetch(`${served.url}${topic}/messages${query}`, {
      method: "POST",
      body: JSON.stringify({ n }),
      headers: { "content-type": "application/json" },
    });
    assert.equal(answer.status, 201);
    await answer.body?.cancel();
  };
  const follow = (topic: string, query = "", lastEventId?: string): Promise<Response> => {
    const headers: Record<string, string> = { accept: "text/event-stream" };
    if (lastEventId !== undefined) headers["last-event-id"] = lastEventId;
    return fetch(`${served.url}${topic}/messages${query}`, { headers });
  };
  const open = async (topic: string, query = "", lastEventId?: string) => {
    const reader = new StreamReader(await follow(topic, query, lastEventId));
    await until(() => reader.events.length > 0, "the stream began");
    return reader;
  };

  it("keeps to the queue whose cursor it begins at, also once it has caught up", async () => {
    const topic = await newTopic(2);
    for (let n = 0; n < 6; n++) await publish(topic, n);
    const page = await fetch(`${served.url}${topic}/messages?queue=0&limit=1`);
    const [first] = ((await page.json()) as { messages: { cursor: string }[] }).messages;
    const reader = await open(topic, `?after=${first?.cursor}`);
    const queues = () => reader.data("message") as { queueId: number }[];
    await until(() => queues().length === 2, "the rest of the queue came");
    for (let n = 6; n < 12; n++) await publish(topic, n);
    await until(() => queues().length === 5, "what came since in the queue came");
    assert.deepEqual([...new Set(queues().map(({ queueId }) => queueId))], [0]);
    await reader.cancel();
  });

  it("has the headers of the contract on the wire", async () => {
    const response = await follow(await newTopic());
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    assert.equal(response.headers.get("cache-control"), "no-cache, no-transform");
    assert.equal(response.headers.get("x-accel-buffering"), "no");
    assert.equal(response.headers.get("incremental"), "?1");
    assert.equal(response.headers.get("content-encoding"), null);
    await response.body?.cancel();
  });

  it("loses nothing when its reader reconnects before the first message", async () => {
    const topic = await newTopic();
    const reader = await open(topic);
    await reader.cancel();
    await publish(topic, 1);
    const again = await open(topic, "", reader.lastEventId);
    await until(() => again.numbers.length === 1, "the message arrived");
    await again.cancel();
  });

  it("resumes while messages flow, with neither gap nor repeat", { timeout: 30_000 }, async () => {
    const topic = await newTopic();
    const count = 400;
    const publishing = (async () => {
      for (let n = 0; n < count; n += 4) {
        await Promise.all([0, 1, 2, 3].map((i) => publish(topic, n + i)));
      }
    })();
    const received: number[] = [];
    let lastEventId: string | undefined;
    while (received.length < count) {
      const reader = await open(topic, "?after=earliest", lastEventId);
      const goal = Math.min(count - received.length, 60);
      await until(() => reader.numbers.length >= goal, `${goal} more arrived`);
      await reader.cancel();
      received.push(...reader.numbers);
      ({ lastEventId } = reader);
    }
    await publishing;
    const expected = Array.from({ length: count }, (_, n) => n);
    assert.deepEqual(
      received.toSorted((a, b) => a - b),
      expected,
    );
  });

  it("gives all readers of a topic one order, whenever they began", async () => {
    const topic = await newTopic();
    const readers = [await open(topic, "?after=earliest")];
    for (let n = 0; n < 120; n += 8) {
      await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map((i) => publish(topic, n + i)));
      if (n % 24 === 0) readers.push(await open(topic, "?after=earliest"));
    }
    await until(() => readers.every(({ numbers }) => numbers.length === 120), "all have all");
    for (const { numbers } of readers) assert.deepEqual(numbers, readers[0]?.numbers);
    await Promise.all(readers.map((reader) => reader.cancel()));
  });

  it("follows one queue, or one key", async () => {
    const topic = await newTopic(2);
    const queues = [await open(topic, "?queue=0"), await open(topic, "?queue=1")];
    const key = await open(topic, "?key=a");
    for (let n = 0; n < 20; n++) await publish(topic, n, n % 2 ? "?key=a" : `?key=b${n}`);
    await until(() => key.numbers.length === 10, "the key's messages arrived");
    assert.deepEqual(key.numbers, [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
    const all = () => queues.flatMap(({ numbers }) => numbers);
    await until(() => all().length === 20, "the queues' messages arrived");
    assert.deepEqual(
      all().toSorted((a, b) => a - b),
      Array.from({ length: 20 }, (_, n) => n),
    );
    await Promise.all([...queues, key].map((reader) => reader.cancel()));
  });

  it("with a filter, goes on from any position with neither gap nor repeat", {
    timeout: 30_000,
  }, async () => {
    const topic = await newTopic();
    const wanted = (n: number) => n % 3 === 0;
    const queries = ["filter=rare", `sql=${encodeURIComponent("TAGS = 'rare' AND KEY = 'k'")}`];
    for (const query of queries) {
      const first = await open(topic, `?${query}`);
      let { lastEventId } = first;
      await first.cancel();
      const received: number[] = [];
      for (let n = 0; n < 30; n += 5) {
        const reader = await open(topic, `?${query}`, lastEventId);
        for (const i of [0, 1, 2, 3, 4]) {
          await publish(topic, n + i, `?key=k&tag=${wanted(n + i) ? "rare" : "common"}`);
        }
        const last = [4, 3, 2, 1, 0].map((i) => n + i).find(wanted);
        await until(() => reader.numbers.at(-1) === last, "what is wanted arrived");
        await reader.cancel();
        received.push(...reader.numbers);
        ({ lastEventId } = reader);
      }
      assert.deepEqual(received, Array.from({ length: 30 }, (_, n) => n).filter(wanted));
    }
  });

  it("takes every id it gave as a position, in the header and in the query", async () => {
    const topic = await newTopic();
    for (let n = 0; n < 5; n++) await publish(topic, n);
    const reader = await open(topic, "?after=earliest");
    await until(() => reader.data("control").length === 2, "it caught up");
    for (const { id = "" } of reader.events) {
      const before = reader.events.findIndex((event) => event.id === id);
      const seen = reader.events.slice(0, before + 1).filter(({ event }) => event === "message");
      for (const [query, header] of [[`?lastEventId=${id}`], ["", id]] as const) {
        const again = await open(topic, query, header);
        await until(() => again.numbers.length === 5 - seen.length, `it goes on from ${id}`);
        await again.cancel();
        assert.deepEqual(again.numbers, reader.numbers.slice(seen.length));
      }
    }
    await reader.cancel();
  });

  it("of a topic that is deleted ends, and then answers 204", async () => {
    const topic = await newTopic();
    const reader = await open(topic);
    await (await fetch(served.url + topic, { method: "DELETE" })).body?.cancel();
    await until(() => reader.ended === "closed", "the stream ended");
    const again = await follow(topic, "", reader.lastEventId);
    assert.equal(again.status, 204);
    const fresh = await follow(topic);
    assert.equal(fresh.status, 404);
    assert.equal(fresh.headers.get("content-type"), "application/problem+json");
    await fresh.body?.cancel();
  });

  it("of a topic that is made again tells of the gap", async () => {
    const topic = await newTopic();
    await publish(topic, 1);
    const reader = await open(topic, "?after=earliest");
    await until(() => reader.numbers.length === 1, "the message arrived");
    await reader.cancel();
    await (await fetch(served.url + topic, { method: "DELETE" })).body?.cancel();
    await publish(topic, 2);
    const again = await open(topic, "", reader.lastEventId);
    await until(() => again.numbers.length === 1, "the new topic's message arrived");
    assert.deepEqual(again.numbers, [2]);
    assert.equal(again.data("gap").length, 1);
    await again.cancel();
  });

  it("with a position that is none is a problem", async () => {
    const answer = await follow(await newTopic(), "", "nonsense");
    assert.equal(answer.status, 400);
    assert.equal(answer.headers.get("content-type"), "application/problem+json");
    await answer.body?.cancel();
  });

  it("is told to reconnect when the node drains", async () => {
    const node = await ServedGateway.start();
    const path = `${node.url}/v1/topics/drained/messages`;
    await (await fetch(path, { method: "POST", body: "x" })).body?.cancel();
    const headers = { accept: "text/event-stream" };
    const reader = new StreamReader(await fetch(path, { headers }));
    await until(() => reader.events.length === 1, "the stream began");
    await node.gateway.drain();
    await until(() => reader.ended === "closed", "the stream ended");
    await node.stop();
    assert.deepEqual(reader.data("reconnect"), [{ reason: "draining" }]);
    assert.deepEqual(node.reported, []);
  });
});
