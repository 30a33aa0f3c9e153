/**
 * Log reads of the real broker where the contract leaves off: bounded scans,
 * many queues, sealed segments, damage.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import type { MemoryDisk } from "../../storage/base/disk_memory.ts";
import {
  after,
  fails,
  GROUP,
  ids,
  lagOf,
  message,
  names,
  publishEach,
  read,
  readAll,
  receive,
  TOPIC,
  turn,
} from "../suites/broker_api_kit.ts";
import { openTestBroker, type TestBroker } from "../suites/open_broker.ts";

const BODY = new TextEncoder().encode("body");

/** Counts how often the broker let others work. */
class CountingClock extends ManualClock {
  deferred = 0;

  override defer(run: () => void): void {
    this.deferred++;
    super.defer(run);
  }
}

/** Changes a byte of the body of a message, wherever the log keeps it. */
async function damage(disk: MemoryDisk, id: string): Promise<void> {
  const body = new TextEncoder().encode(`body of ${id}|`);
  for (const name of (await disk.list("log")).filter((one) => one.endsWith(".log"))) {
    const bytes = disk.bytes(`log/${name}`);
    const at = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(body);
    if (at < 0) continue;
    bytes[at] = (bytes[at] as number) ^ 1;
    return;
  }
  assert.fail(`${id} is in no segment`);
}

async function withDamage(id: string): Promise<TestBroker> {
  const broker = await openTestBroker({ segmentBytes: 1024 });
  await broker.api.topics.put("orders", { ...TOPIC, queues: 1 });
  await broker.api.groups.put("g", GROUP);
  for (const [n, one] of names("m", 40).entries()) {
    const body = new TextEncoder().encode(`body of ${one}|`);
    const attributes = {
      id: one,
      tag: n % 2 ? "odd" : "even",
      properties: [["n", `${n}`]] as const,
    };
    await broker.api.messages.publish("orders", { ...attributes, body });
  }
  await broker.close(); // the snapshot covers the damage: no start looks there
  await damage(broker.disk, id);
  return broker.reopen(broker.disk);
}

describe("read() of the real broker", () => {
  it("looks at a bounded number of messages for a key, and moves on", {
    timeout: 60_000,
  }, async () => {
    const { api, close } = await openTestBroker({ segmentBytes: 1 << 20 });
    await api.topics.put("orders", { ...TOPIC, queues: 2 });
    for (let i = 0; i < 50; i++) {
      const batch = names(`m${i}-`, 1000).map((id) => message(id, { key: `key-${i % 7}` }));
      await api.messages.publishBatch("orders", batch, { atomic: true });
    }
    await api.messages.publish("orders", message("rare", { key: "rare" }));
    for (const queueId of [undefined, 0, 1]) {
      let pages = 0;
      const found: string[] = [];
      let page = await read(api, { key: "rare", queueId });
      for (
        ;
        !page.upToDate;
        page = await read(api, { key: "rare", queueId, ...after(page.cursor) })
      ) {
        found.push(...ids(page.messages));
        pages++;
      }
      found.push(...ids(page.messages));
      if (queueId === undefined) assert.deepEqual([found, pages], [["rare"], 2]);
      else assert(found.length <= 1 && pages <= 2);
    }
    const wait = await read(api, { key: "rare", waitMs: 1000 });
    assert.deepEqual(ids(wait.messages), ["rare"]);
    await close();
  });

  it("passes over 100,000 messages for one, each once, and lets others work meanwhile", {
    timeout: 60_000,
  }, async () => {
    const clock = new CountingClock();
    const { api, close } = await openTestBroker({ segmentBytes: 4 << 20, clock });
    await api.topics.put("orders", { ...TOPIC, queues: 3 });
    const count = 100_000;
    for (let from = 0; from < 1.2 * count; from += 1000) {
      const batch = names("", 1000).map((i) => {
        const rare = from + Number(i) === count;
        const properties = [["total", rare ? "1000" : "5"]] as const;
        return {
          id: `m${from + Number(i)}`,
          body: BODY,
          tag: rare ? "rare" : "common",
          properties,
        };
      });
      await api.messages.publishBatch("orders", batch, { atomic: true });
    }
    const rare = `m${count}`;
    for (const filter of [{ sql: "total > 999" }, { tag: "rare" }]) {
      const found: string[] = [];
      const cursors: string[] = [];
      let page = await read(api, { filter });
      for (; ; page = await read(api, { filter, ...after(page.cursor) })) {
        found.push(...ids(page.messages));
        cursors.push(page.cursor);
        if (page.upToDate) break;
      }
      assert.deepEqual(found, [rare]);
      assert.equal(cursors.length, 6, "pages of 20,000");
      assert.deepEqual(cursors, [...new Set(cursors)].toSorted());

      const paused = clock.deferred;
      const wait = await read(api, { filter, waitMs: 60_000 });
      assert.deepEqual(ids(wait.messages), [rare]);
      const most = "sql" in filter ? 256 : 1000;
      assert(clock.deferred - paused > count / most, `${clock.deferred - paused} pauses`);
    }
    await close();
  });

  it("loads a bounded number of bytes for a page, and moves on", { timeout: 60_000 }, async () => {
    const { api, close } = await openTestBroker({ segmentBytes: 8 << 20 });
    await api.topics.put("orders", { ...TOPIC, queues: 1 });
    const body = new Uint8Array(1 << 20);
    for (const [n, id] of names("m", 40).entries()) {
      await api.messages.publish("orders", { id, body, properties: [["n", String(n)]] });
    }
    for (const queueId of [undefined, 0]) {
      const request = { filter: { sql: "n = 39" }, queueId };
      const positions: number[] = [];
      let page = await read(api, request);
      for (; !page.upToDate; page = await read(api, { ...request, ...after(page.cursor) })) {
        const [here] = (await read(api, { queueId, limit: 1, ...after(page.cursor) })).messages;
        positions.push(here?.queueOffset ?? -1);
      }
      assert.deepEqual(ids(page.messages), ["m39"]);
      assert.deepEqual(positions, [16, 32]);
    }
    await close();
  });

  it("merges a thousand queues in log order", async () => {
    const { api, close } = await openTestBroker();
    await api.topics.put("orders", { ...TOPIC, queues: 1024 });
    const batch = names("m", 3000).map((id) => message(id));
    await api.messages.publishBatch("orders", batch, { atomic: true });
    for (const limit of [100, 1000]) {
      assert.deepEqual(ids(await readAll(api, { limit })), names("m", 3000));
    }
    await close();
  });

  it("finds by id what lies in sealed segments, also after a restart", async () => {
    let broker = await openTestBroker({ segmentBytes: 1024 });
    await publishEach(broker.api, "orders", names("m", 100));
    for (let life = 0; life < 3; life++) {
      for (const id of ["m0", "m50", "m99"]) {
        assert.deepEqual(ids([await broker.api.messages.get("orders", id)]), [id]);
      }
      if (life === 1) await broker.close();
      broker = await broker.reopen();
    }
    assert((await broker.disk.list("log")).filter((name) => name.endsWith(".log")).length > 5);
    await broker.close();
  });

  it("shows nothing that is not confirmed", async () => {
    const broker = await openTestBroker();
    await broker.api.topics.put("orders", { ...TOPIC, acks: "leader" });
    const published = broker.api.messages.publish("orders", message("m"));
    const seen = ids(await readAll(broker.api));
    const survivor = await broker.reopen(broker.disk.crash());
    const kept = ids(await readAll(survivor.api));
    assert.deepEqual(seen, kept.slice(0, seen.length), "what was seen is kept");
    await published;
    await broker.close();
    await survivor.close();
  });

  for (const queueId of [undefined, 0]) {
    const where = queueId === undefined ? "a topic" : "a queue";
    it(`ends a page of ${where} before damage, then names it and the way on`, async () => {
      const { api, close } = await withDamage("m7");
      const page = await read(api, { queueId });
      assert.deepEqual([ids(page.messages), page.upToDate], [names("m", 7), false]);
      const error = await fails("data-damaged", read(api, { queueId, ...after(page.cursor) }));
      const { next, queueOffset } = error.details as { next: string; queueOffset: string };
      assert.equal(queueOffset, "7");
      const rest = await readAll(api, { queueId, ...after(next) });
      assert.deepEqual(ids(rest), names("m", 40).slice(8));
      await close();
    });
  }

  for (const [filter, wanted] of [
    [{ sql: "n <> 3" }, names("m", 40).toSpliced(3, 1)],
    [{ tag: "odd" }, names("m", 40).filter((_, n) => n % 2)],
  ] as const) {
    it(`ends a page that judges by ${Object.keys(filter)[0]} before damage, then names it`, async () => {
      const { api, close } = await withDamage("m7");
      for (const queueId of [undefined, 0]) {
        const page = await read(api, { queueId, filter });
        const before = wanted.indexOf("m7");
        assert.deepEqual([ids(page.messages), page.upToDate], [wanted.slice(0, before), false]);
        const rest = { queueId, filter, ...after(page.cursor) };
        const error = await fails("data-damaged", read(api, rest));
        const { next, queueOffset } = error.details as { next: string; queueOffset: string };
        assert.equal(queueOffset, "7");
        const left = await readAll(api, { queueId, filter, ...after(next) });
        assert.deepEqual(ids(left), wanted.slice(before + 1));
      }
      await close();
    });
  }

  it("reads past damage that the tag's hash rules out", async () => {
    const { api, close } = await withDamage("m7");
    const even = names("m", 40).filter((_, n) => n % 2 === 0);
    assert.deepEqual(ids(await readAll(api, { filter: { tag: "even" } })), even);
    assert.deepEqual(ids(await readAll(api, { filter: { sql: "TAGS = 'even'" } })), even);
    await close();
  });

  it("leaves a group with a damaged message going: it becomes a dead letter", async () => {
    const { api, close } = await withDamage("m7");
    const got = await receive(api);
    assert.deepEqual(ids(got), names("m", 40).toSpliced(7, 1));
    await turn();
    const { leased } = await lagOf(api);
    assert.equal(leased, 39);
    await close();
  });
});
