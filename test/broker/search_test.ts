/**
 * Searching the real broker: what a page may cost, and what damage does to it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  SEGMENT_HEADER_SIZE,
  segmentBases,
  segmentPath,
  sidecarPath,
} from "../../storage/segment.ts";
import { ids, message, names } from "../suites/broker_api_kit.ts";
import { openTestBroker, type TestBroker } from "../suites/open_broker.ts";

async function publish(
  { api }: TestBroker,
  list: readonly string[],
  index?: readonly string[],
): Promise<void> {
  for (const id of list) {
    await api.messages.publish("orders", message(id, { index, body: new Uint8Array(200) }));
  }
}

function search({ api }: TestBroker, wish: { index?: string; from?: number; after?: string }) {
  return api.messages.search({ topic: "orders", limit: 10, maxBytes: 1 << 20, ...wish });
}

describe("search() of many segments", () => {
  it("looks into some of them, and goes on with the next page", async () => {
    const broker = await openTestBroker({ segmentBytes: 512 });
    await publish(broker, ["first"], ["k"]);
    await publish(broker, names("m", 700));
    const first = await search(broker, { index: "k" });
    assert.deepEqual(first.messages, []);
    assert(first.next !== undefined);
    let page = first;
    for (let pages = 1; page.messages.length === 0; pages++) {
      assert(pages < 5 && page.next !== undefined, "each page comes nearer");
      page = await search(broker, { index: "k", after: page.next });
    }
    assert.deepEqual(ids(page.messages), ["first"]);
    assert.equal(page.next, undefined);
    await broker.close();
  });

  it("does not look into those before the topic, or before `from`", async () => {
    const broker = await openTestBroker({ segmentBytes: 512 });
    await broker.api.topics.put("early", {
      queues: 1,
      messageType: "mixed",
      acks: "durable",
      retention: { timeMs: null, bytes: null },
      description: "",
    });
    await publish(broker, names("m", 700));
    broker.clock.advance(1000);
    const now = broker.clock.now();
    const recent = await search(broker, { index: "k", from: now });
    assert.deepEqual([recent.messages, recent.next], [[], undefined]);
    const all = await search(broker, { index: "k" });
    assert(all.next !== undefined, "there are too many for one page");
    await broker.close();
  });
});

describe("search() of a damaged log", () => {
  it("leaves out what cannot be read, and finds the rest", async () => {
    let broker = await openTestBroker({ segmentBytes: 2048 });
    await publish(broker, names("m", 40), ["k"]);
    await broker.close();
    const all = names("m", 40).toReversed();
    const disk = broker.disk.clone();
    const bases = segmentBases(await disk.list("log"));
    broker = await broker.reopen(disk);
    disk.damage(segmentPath(bases[2] as number), (bytes) => {
      bytes.fill(0xff, SEGMENT_HEADER_SIZE + 10, SEGMENT_HEADER_SIZE + 20);
    });
    for (const wish of [{ index: "k" }, { from: 0 }]) {
      const found: string[] = [];
      for (let after: string | undefined, more = true; more; more = after !== undefined) {
        const page = await search(broker, { ...wish, ...(after !== undefined && { after }) });
        found.push(...ids(page.messages));
        after = page.next;
      }
      const lost = all.filter((id) => !found.includes(id));
      assert.equal(lost.length, 1);
      assert.deepEqual(
        found,
        all.filter((id) => id !== lost[0]),
      );
    }
    await broker.close();
  });

  it("does not rest on sidecars: damaged and lost ones are built again", async () => {
    let broker = await openTestBroker({ segmentBytes: 2048 });
    await publish(broker, names("m", 60), ["k"]);
    await broker.close();
    const disk = broker.disk.clone();
    const bases = segmentBases(await disk.list("log")).filter((base) =>
      disk.has(sidecarPath(base)),
    );
    assert(bases.length >= 5);
    await disk.remove(sidecarPath(bases[1] as number));
    for (const base of bases.slice(2)) {
      disk.damage(sidecarPath(base), (bytes) => {
        for (let at = 100; at < bytes.length - 200; at += 50) bytes[at] = (bytes[at] ?? 0) ^ 1;
      });
    }
    broker = await broker.reopen(disk);
    const found: string[] = [];
    for (let page = await search(broker, { index: "k" }); ; ) {
      found.push(...ids(page.messages));
      if (page.next === undefined) break;
      page = await search(broker, { index: "k", after: page.next });
    }
    assert.deepEqual(found, names("m", 60).toReversed());
    await broker.close();
  });
});
