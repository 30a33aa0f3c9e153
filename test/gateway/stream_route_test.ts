/**
 * An event stream as the route asks for it; how streams work is in
 * feeds_test.ts.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Ask, problem, TestGateway } from "../fakes/gateway.ts";
import { StreamReader, until } from "../fakes/stream_reader.ts";

const PATH = "/v1/topics/orders/messages";
const STREAM = { accept: "text/event-stream" };

async function filled(count: number): Promise<TestGateway> {
  const gateway = new TestGateway();
  for (let i = 0; i < count; i++) await publish(gateway, i);
  return gateway;
}

async function publish(gateway: TestGateway, value: number, key = "k"): Promise<void> {
  const headers = { "content-type": "application/json", "message-key": key, "message-tag": key };
  const ask = { method: "POST", body: String(value), headers, status: 201 };
  await gateway.json(PATH, ask);
}

async function open(gateway: TestGateway, path: string, ask: Ask = {}) {
  const response = await gateway.ask(path, ask);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  const reader = new StreamReader(response);
  const seen = () =>
    reader.events
      .filter(({ event }) => event === "message")
      .map(({ data }) => (JSON.parse(data) as { data: number }).data);
  return { response, reader, seen };
}

describe("GET /v1/topics/{topic}/messages as an event stream", () => {
  const starts: [name: string, path: string, headers: Record<string, string>, seen: number[]][] = [
    ["from the latest by default", PATH, STREAM, [3, 9]],
    ["by ?format=sse", `${PATH}?format=sse`, {}, [3, 9]],
    ["from after", `${PATH}?after=earliest`, STREAM, [0, 1, 2, 3, 9]],
    ["from a cursor", `${PATH}?after=s-1-1`, STREAM, [1, 2, 3, 9]],
    [
      "from lastEventId rather than after",
      `${PATH}?after=earliest&lastEventId=s-1-2`,
      STREAM,
      [2, 3, 9],
    ],
    [
      "from Last-Event-ID rather than both",
      `${PATH}?after=earliest&lastEventId=s-1-0`,
      { ...STREAM, "last-event-id": "s-1-2" },
      [2, 3, 9],
    ],
    [
      "from after when Last-Event-ID is empty",
      `${PATH}?after=s-1-1`,
      { ...STREAM, "last-event-id": "" },
      [1, 2, 3, 9],
    ],
    ["of one key", `${PATH}?after=earliest&key=other`, STREAM, [9]],
    ["of one tag", `${PATH}?after=earliest&filter=other`, STREAM, [9]],
    ["what SQL wants", `${PATH}?after=earliest&sql=KEY%20%3C%3E%20'k'`, STREAM, [9]],
  ];
  for (const [name, path, headers, expected] of starts) {
    it(`reads ${name}`, async () => {
      const gateway = await filled(3);
      const { response, reader, seen } = await open(gateway, path, { headers });
      assert.equal(response.headers.get("x-content-type-options"), "nosniff");
      assert.notEqual(response.headers.get("x-request-id"), null);
      assert.equal(gateway.held, 1);
      await until(() => reader.events.some(({ event }) => event === "control"), "it has begun");
      await publish(gateway, 3);
      await publish(gateway, 9, "other");
      await until(() => seen().length >= expected.length, "all messages are there");
      assert.deepEqual(seen(), expected);
      await gateway.gateway.drain();
      await until(() => reader.ended !== undefined, "the stream ends");
    });
  }

  it("is a problem, not a stream, when its filter is none", async () => {
    const gateway = await filled(1);
    for (const after of ["", "after=earliest&"]) {
      const response = await gateway.ask(`${PATH}?${after}sql=KEY%20%3D`, { headers: STREAM });
      const body = await problem(response, { status: 422, code: "filter-invalid" });
      assert.equal(body["position"], 5);
    }
    assert.deepEqual(gateway.reported, []);
  });

  it("ends with reconnect when the node drains", async () => {
    const gateway = await filled(1);
    const { reader } = await open(gateway, PATH, { headers: STREAM });
    await until(() => reader.events.length > 0, "it has begun");
    await gateway.gateway.drain();
    await until(() => reader.ended !== undefined, "the stream ends");
    assert.equal(reader.ended, "closed");
    assert.equal(reader.events.at(-1)?.event, "reconnect");
  });

  it("answers 204 to one that comes back to a topic that is gone", async () => {
    const gateway = new TestGateway();
    const headers = { ...STREAM, "last-event-id": "s-1-0" };
    assert.equal((await gateway.ask(PATH, { headers })).status, 204);
  });
});
