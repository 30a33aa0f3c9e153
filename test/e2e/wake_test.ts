/**
 * Waiting for messages over real HTTP: a parked reader wakes by a publish, by
 * a lease that ends, and an SSE reader goes on where it stopped.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EventStream } from "./event_stream.ts";
import { Connection, json } from "./http.ts";
import { withServer, withServerOver, withTempDir } from "./server.ts";
import {
  call,
  client,
  publish,
  putGroup,
  putTopic,
  receive,
  settle,
  type WireMessage,
  type WirePage,
} from "./wire.ts";

/** The promise is 50 ms; this only has to tell a wake-up from a timer. */
const WAKE_MS_MAX = 1000;
const ROUNDS = 20;

const textOf = (event: { data: string }) => (JSON.parse(event.data) as WireMessage).text;

describe("a parked reader", () => {
  it("wakes from a long-poll when a message is published", () =>
    withServer(async ({ port }) => {
      const [reader, writer] = [await Connection.open(port), await Connection.open(port)];
      await putTopic(writer, "orders");
      const wakeMs: number[] = [];
      let cursor = "earliest";
      for (let round = 0; round < ROUNDS; round++) {
        const path = `/v1/topics/orders/messages?wait=30&after=${encodeURIComponent(cursor)}`;
        const parked = call(reader, { path }, 200);
        parked.catch(() => {}); // Told below, unless something fails before.
        await parkedUntilIdle(writer);
        const publishedAt = performance.now();
        await publish(writer, "orders", { body: `m${round}` });
        const page = json(await parked) as WirePage;
        wakeMs.push(performance.now() - publishedAt);
        assert.deepEqual(
          page.messages.map((message) => message.text),
          [`m${round}`],
        );
        cursor = page.cursor;
      }
      tell("long-poll", wakeMs);
    }));

  it("wakes from a receive when a message is published", () =>
    withServer(async ({ port }) => {
      const [consumer, writer] = [await Connection.open(port), await Connection.open(port)];
      await putTopic(writer, "orders");
      await putGroup(writer, "billing", { subscriptions: [{ topic: "orders" }] });
      const wakeMs: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const parked = receive(consumer, "billing", { max: 10, waitMs: 30_000, leaseMs: 30_000 });
        parked.catch(() => {});
        await parkedUntilIdle(writer);
        const publishedAt = performance.now();
        await publish(writer, "orders", { body: `m${round}` });
        const messages = await parked;
        wakeMs.push(performance.now() - publishedAt);
        assert.deepEqual(
          messages.map((message) => message.text),
          [`m${round}`],
        );
      }
      tell("receive", wakeMs);
    }));

  it("gets a message again, as attempt 2, when its lease has ended", () =>
    withServer(async ({ port }) => {
      const sender = client(port);
      await putTopic(sender, "orders");
      await putGroup(sender, "billing", { subscriptions: [{ topic: "orders" }] });
      await publish(sender, "orders", { body: "once" });
      const [first] = await receive(sender, "billing", { max: 10, waitMs: 5000, leaseMs: 300 });
      assert.equal(first?.attempt, 1);
      const [second] = await receive(sender, "billing", {
        max: 10,
        waitMs: 20_000,
        leaseMs: 30_000,
      });
      const againAt = Date.now();
      assert.equal(second?.attempt, 2);
      assert.equal(second.id, first.id);
      assert(againAt >= Date.parse(first.leaseUntil), "not before the lease ended");
      assert(againAt < Date.parse(first.leaseUntil) + WAKE_MS_MAX, "soon after it ended");
      const [late] = await settle(sender, "billing", { ack: [first.receipt] });
      assert.equal(late?.status, "lost");
      const [ok] = await settle(sender, "billing", { ack: [second.receipt] });
      assert.equal(ok?.status, "ok");
      assert.deepEqual(await receive(sender, "billing", { max: 10, waitMs: 0 }), []);
    }));
});

describe("an SSE reader", () => {
  it("resumes behind any event with neither gap nor repeat", () =>
    withServer(async (server) => {
      const topic = "resume";
      const sender = client(server.port);
      const all = Array.from({ length: 24 }, (_, index) => `m${index}`);
      await putTopic(sender, topic, { queues: 3 });
      for (const body of all) await publish(sender, topic, { body });
      const path = `/v1/topics/${topic}/messages`;
      const whole = await EventStream.open(server.port, `${path}?after=earliest`);
      const ids: string[] = [];
      for (const body of all) {
        const event = await whole.next((one) => one.event === "message");
        assert(event?.id, "a message carries its position");
        assert.equal(textOf(event), body);
        ids.push(event.id);
      }
      whole.close();
      for (const [index, lastEventId] of ids.slice(0, -1).entries()) {
        const resumed = await EventStream.open(server.port, path, { lastEventId });
        for (const body of all.slice(index + 1)) {
          const event = await resumed.next((one) => one.event === "message");
          assert.equal(event && textOf(event), body);
        }
        resumed.close();
      }
    }));

  it("misses nothing when it reconnects before its first message", () =>
    withServer(async (server) => {
      const topic = "early";
      const sender = client(server.port);
      await putTopic(sender, topic);
      await publish(sender, topic, { body: "before" });
      const path = `/v1/topics/${topic}/messages`;
      const first = await EventStream.open(server.port, path);
      const control = await first.next();
      assert.equal(control?.event, "control");
      assert(control.id, "the first event carries a position");
      assert(first.retryMs !== undefined && first.retryMs > 0, "and says how soon to come back");
      first.close();
      for (const body of ["one", "two"]) await publish(sender, topic, { body });
      const second = await EventStream.open(server.port, path, { lastEventId: control.id });
      for (const body of ["one", "two"]) {
        const event = await second.next((one) => one.event === "message");
        assert.equal(event && textOf(event), body);
      }
      second.close();
    }));
});

describe("an SSE reader of a server that is killed", () => {
  it("goes on at the next one with neither gap nor repeat", () =>
    withTempDir(async (dataDir) => {
      const all = Array.from({ length: 30 }, (_, index) => `m${index}`);
      let lastEventId: string | undefined;
      const seen: (string | undefined)[] = [];
      for (let life = 0; life < 3; life++) {
        await withServerOver({ dataDir }, async (server) => {
          const sender = client(server.port);
          if (life === 0) await putTopic(sender, "orders");
          const path = "/v1/topics/orders/messages?after=earliest";
          const stream = await EventStream.open(server.port, path, { lastEventId });
          const bodies = all.slice(life * 10, life * 10 + 10);
          for (const body of bodies) await publish(sender, "orders", { body });
          // In the first two lives it leaves some unread, for the next life.
          for (let read = 0; read < (life === 2 ? 16 : 7); read++) {
            const event = await stream.next((one) => one.event === "message");
            if (event) seen.push(textOf(event));
            lastEventId = event?.id;
          }
          stream.close();
        });
      }
      assert.deepEqual(seen, all);
    }));
});

/** Two answers later the server has taken up what was sent before on another connection. */
async function parkedUntilIdle(sender: Connection): Promise<void> {
  await call(sender, { path: "/healthz" }, 200);
  await call(sender, { path: "/healthz" }, 200);
}

function tell(what: string, wakeMs: readonly number[]): void {
  const sorted = wakeMs.toSorted((a, b) => a - b);
  const median = sorted[sorted.length >> 1] as number;
  const worst = sorted.at(-1) as number;
  console.log(
    `${what}: publish to answer, median ${median.toFixed(1)} ms, worst ${worst.toFixed(1)} ms`,
  );
  assert(worst < WAKE_MS_MAX, `it wakes within ${WAKE_MS_MAX} ms: ${worst}`);
}
