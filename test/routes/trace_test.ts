/**
 * Traces over HTTP.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Trace } from "../../routes/trace.ts";
import type { Trace as BrokerTrace } from "../../src/broker/api.ts";
import { problem, TestGateway } from "../fakes/gateway.ts";

const PATH = "/v1/topics/orders/messages/a:1/trace";

async function published(headers: Record<string, string> = {}): Promise<TestGateway> {
  const gateway = new TestGateway();
  const ask = {
    method: "POST",
    body: "x",
    headers: { "message-id": "a:1", ...headers },
    status: 201,
  };
  await gateway.json("/v1/topics/orders/messages", ask);
  return gateway;
}

describe("GET /v1/topics/{topic}/messages/{id}/trace", () => {
  it("tells what happened, page by page", async () => {
    const gateway = await published({ delay: "1.5" });
    const before = await gateway.json(PATH);
    Trace.parse(before);
    assert.deepEqual(Object.keys(before), ["id", "topic", "queueId", "since", "events"]);
    assert.deepEqual([before["id"], before["topic"]], ["a:1", "orders"]);
    assert.deepEqual(Object.keys(before["events"][0]), ["event", "at", "deliverAt"]);
    gateway.clock.advance(1500);
    const first = await gateway.json(`${PATH}?limit=1`);
    assert.deepEqual([first["events"].length, first["queueOffset"]], [1, "0"]);
    const second = await gateway.json(`${PATH}?limit=1&pageToken=${first["nextPageToken"]}`);
    Trace.parse(second);
    assert.equal(second["nextPageToken"], undefined);
    assert.equal(second["events"][0]["event"], "revealed");
    assert.equal(second["events"][0]["queueOffset"], "0");
  });

  it("writes every fact of an event as the contract has it", async () => {
    const gateway = await published();
    const at = Date.UTC(2026, 10, 22, 8);
    const told: BrokerTrace = {
      topic: "orders",
      id: "a:1",
      queueId: 2,
      queueOffset: 2 ** 40,
      since: at,
      events: [
        { event: "prepared", at, transactionId: "0-1", producerGroup: "pay" },
        { event: "checked", at, transactionId: "0-1", checkNumber: 2 },
        { event: "committed", at, transactionId: "0-1", by: "check" },
        { event: "delivered", at, group: "g", attempt: 3, leaseUntil: at + 1, consumerId: "c" },
        { event: "released", at, group: "g", readyAt: at + 2 },
        { event: "deadLettered", at, cause: "rejected", reason: "no", attempts: 3 },
        { event: "sought", at, group: "g", position: 2 ** 41 },
      ],
    };
    gateway.broker.messages.trace = () => Promise.resolve(told);
    const page = await gateway.json(PATH);
    Trace.parse(page);
    const time = "2026-11-22T08:00:00.000Z";
    assert.deepEqual(page, {
      ...told,
      queueOffset: "1099511627776",
      since: time,
      events: [
        { ...told.events[0], at: time },
        { ...told.events[1], at: time },
        { ...told.events[2], at: time },
        { ...told.events[3], at: time, leaseUntil: "2026-11-22T08:00:00.001Z" },
        { ...told.events[4], at: time, readyAt: "2026-11-22T08:00:00.002Z" },
        { ...told.events[5], at: time },
        { ...told.events[6], at: time, position: "2199023255552" },
      ],
    });
  });

  it("knows what is not there, and what is no token", async () => {
    const gateway = await published();
    const other = await gateway.ask("/v1/topics/orders/messages/b/trace");
    await problem(other, { status: 404, code: "message-not-found" });
    const none = await gateway.ask("/v1/topics/none/messages/a/trace");
    await problem(none, { status: 404, code: "topic-not-found" });
    const token = await gateway.ask(`${PATH}?pageToken=nonsense`);
    await problem(token, { status: 400, code: "invalid-cursor" });
    const limit = await gateway.ask(`${PATH}?limit=1001`);
    await problem(limit, { status: 400, code: "invalid-request" });
  });
});
