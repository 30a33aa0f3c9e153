/**
 * Streams over several topics from publish to reader: a real broker, a real
 * server, a client that reconnects as an EventSource does.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { ServedGateway } from "../fakes/served_gateway.ts";
import { StreamReader, until } from "../fakes/stream_reader.ts";

describe("a stream over several topics, over a socket", () => {
  let served: ServedGateway;
  let made = 0;
  before(async () => {
    served = await ServedGateway.start();
  });
  after(() => served.stop());

  const ask = async (path: string, init: RequestInit, status: number): Promise<void> => {
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`${served.url}/v1/topics/${path}`, { headers, ...init });
    assert.equal(answer.status, status);
    await answer.body?.cancel();
  };
  const newTopics = async (count: number): Promise<string[]> => {
    const topics = Array.from({ length: count }, () => `many-${++made}`);
    for (const topic of topics) await ask(topic, { method: "PUT", body: "{}" }, 201);
    return topics;
  };
  const publish = (topic: string, n: number) =>
    ask(`${topic}/messages`, { method: "POST", body: JSON.stringify({ n }) }, 201);
  const follow = (topics: readonly string[], query = "", lastEventId?: string) => {
    const headers: Record<string, string> = { accept: "text/event-stream" };
    if (lastEventId !== undefined) headers["last-event-id"] = lastEventId;
    return fetch(`${served.url}/v1/stream?topics=${topics.join(",")}${query}`, { headers });
  };
  const open = async (topics: readonly string[], query = "", lastEventId?: string) => {
    const reader = new StreamReader(await follow(topics, query, lastEventId));
    await until(() => reader.events.length > 0, "the stream began");
    return reader;
  };

  it("resumes while messages flow, with neither gap nor repeat", { timeout: 60_000 }, async () => {
    const topics = await newTopics(3);
    const count = 120;
    const publishing = (async () => {
      for (let n = 0; n < count; n++) await Promise.all(topics.map((topic) => publish(topic, n)));
    })();
    const received: string[] = [];
    let lastEventId: string | undefined;
    while (received.length < 3 * count) {
      const reader = await open(topics, "&after=earliest", lastEventId);
      const goal = Math.min(3 * count - received.length, 50);
      await until(() => reader.numbers.length >= goal, `${goal} more arrived`);
      await reader.cancel();
      received.push(...seen(reader));
      ({ lastEventId } = reader);
    }
    await publishing;
    for (const topic of topics) {
      const numbers = received.filter((one) => one.startsWith(`${topic}:`));
      assert.deepEqual(
        numbers.toSorted(),
        Array.from({ length: count }, (_, n) => `${topic}:${n}`).toSorted(),
      );
    }
  });

  it("takes every id it gave as a position, in header, query and after", async () => {
    const topics = await newTopics(2);
    for (let n = 0; n < 3; n++) for (const topic of topics) await publish(topic, n);
    const reader = await open(topics, "&after=earliest");
    await until(() => reader.data("control").length === 2, "it caught up");
    const all = seen(reader).toSorted();
    for (const [index, { id = "" }] of reader.events.entries()) {
      const events = reader.events.slice(0, index + 1);
      const before = events.filter(({ event }) => event === "message").length;
      for (const [query, header] of [[`&lastEventId=${id}`], [`&after=${id}`], ["", id]] as const) {
        const again = await open(topics, query, header);
        await until(() => again.numbers.length === 6 - before, `it goes on from ${id}`);
        await again.cancel();
        assert.deepEqual([...seen(reader).slice(0, before), ...seen(again)].toSorted(), all);
      }
    }
    await reader.cancel();
  });

  it("keeps each topic's order, whatever the others do", async () => {
    const topics = await newTopics(2);
    const readers = [await open(topics, "&after=earliest")];
    for (let n = 0; n < 100; n += 10) {
      const batch = Array.from({ length: 10 }, (_, i) => n + i);
      await Promise.all(batch.flatMap((i) => topics.map((topic) => publish(topic, i))));
      if (n % 30 === 0) readers.push(await open(topics, "&after=earliest"));
    }
    await until(() => readers.every(({ numbers }) => numbers.length === 200), "all have all");
    for (const topic of topics) {
      const orders = readers.map((reader) =>
        seen(reader).filter((one) => one.startsWith(`${topic}:`)),
      );
      for (const order of orders) assert.deepEqual(order, orders[0]);
    }
    await Promise.all(readers.map((reader) => reader.cancel()));
  });

  it("outlives one of its topics, tells of a gap when it is made again, and ends with the last", async () => {
    const topics = await newTopics(2);
    const [first = "", second = ""] = topics;
    await publish(first, 0);
    const reader = await open(topics, "&after=earliest");
    await until(() => reader.numbers.length === 1, "the message arrived");
    await ask(first, { method: "DELETE" }, 204);
    const ended = () => (reader.data("control").at(-1) as { ended?: string[] }).ended;
    await until(() => ended()?.[0] === first, "the end of the topic was told");
    await publish(second, 1);
    await until(() => reader.numbers.length === 2, "the other goes on");
    await reader.cancel();

    await publish(first, 2);
    const again = await open(topics, "", reader.lastEventId);
    await until(() => again.numbers.length === 1, "the new topic's message arrived");
    assert.deepEqual(again.numbers, [2]);
    assert.equal((again.data("gap")[0] as { topic: string }).topic, first);

    for (const topic of topics) await ask(topic, { method: "DELETE" }, 204);
    await until(() => again.ended === "closed", "the stream ended");
    assert.equal((await follow(topics, "", again.lastEventId)).status, 204);
    const fresh = await follow(topics);
    assert.equal(fresh.status, 404);
    await fresh.body?.cancel();
  });
});

/** Topic and number of the messages, in order. */
function seen(reader: StreamReader): string[] {
  const messages = reader.data("message") as { topic: string; data: { n: number } }[];
  return messages.map(({ topic, data }) => `${topic}:${data.n}`);
}
