/**
 * A broker that closes while calls are under way: what is decided before is kept and
 * answered, what comes later is refused and changes nothing. Never is anything
 * appended to a log whose files are being closed.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { GROUP, ids, publishEach, readAll, TOPIC, turn } from "../suites/broker_api_kit.ts";
import { openTestBroker } from "../suites/open_broker.ts";

async function open() {
  const broker = await openTestBroker();
  await broker.api.topics.put("orders", TOPIC);
  await broker.api.groups.put("g", { ...GROUP, subscriptions: [{ topic: "orders" }] });
  return broker;
}

describe("a broker that closes", () => {
  it("refuses what comes meanwhile, and keeps what came before", async () => {
    const broker = await open();
    const before = publishEach(broker.api, "orders", ["before"]);
    const closing = broker.close();
    const later = publishEach(broker.api, "orders", ["later"]);
    await assert.rejects(later, { code: "draining" });
    await Promise.all([before, closing]);
    const next = await broker.reopen();
    assert.deepEqual(ids(await readAll(next.api)), ["before"]);
    await next.close();
  });

  it("logs nothing afterwards of what it passed over", async () => {
    const broker = await open();
    const subscriptions = [{ topic: "orders", filter: { tag: "wanted" } }];
    await broker.api.groups.put("picky", { ...GROUP, subscriptions });
    const request = { group: "picky", max: 1, maxBytes: 1 << 20, waitMs: 60_000 };
    const waiting = broker.api.groups.receive(request);
    await publishEach(broker.api, "orders", ["a", "b", "c"]);
    for (let turns = 0; turns < 5; turns++) await turn(); // they are looked at
    await broker.close();
    broker.clock.advance(60_000); // none of its timers has anything to log
    assert.deepEqual(await waiting, []);
  });

  it("grants nothing to who waits", async () => {
    const broker = await open();
    const request = { group: "g", max: 1, maxBytes: 1 << 20, waitMs: 1000 };
    const waiting = broker.api.groups.receive(request);
    const published = publishEach(broker.api, "orders", ["m"]);
    await Promise.all([published, broker.close()]);
    broker.clock.advance(1000);
    assert.deepEqual(await waiting, []);
    const next = await broker.reopen();
    const deliveries = await next.api.groups.receive({ ...request, waitMs: 0 });
    assert.deepEqual(ids(deliveries), ["m"]);
    assert.equal(deliveries[0]?.attempt, 1);
    await next.close();
  });
});
