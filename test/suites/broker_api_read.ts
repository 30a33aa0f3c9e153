/**
 * {@linkcode BrokerApi}, log reads: where they begin, what a page holds, how a
 * cursor goes on, and waiting.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { BrokerApi, StoredMessage } from "../../src/broker/api.ts";
import {
  after,
  collidingKeys,
  decoded,
  fails,
  ids,
  isAnswered,
  message,
  names,
  publishEach,
  publishNow,
  read,
  readAll,
  type Test,
  TOPIC,
  turn,
} from "./broker_api_kit.ts";

export function testReads(test: Test): void {
  testStarts(test);
  testPages(test);
  testKeys(test);
  testWaits(test);
}

/** Publishes with and without keys, so that the queues hold different numbers. */
async function publishMixed(api: BrokerApi, count: number): Promise<string[]> {
  const all = names("m", count);
  for (const [i, id] of all.entries()) {
    await api.messages.publish("orders", message(id, i % 3 === 0 ? { key: `key-${i % 5}` } : {}));
  }
  return all;
}

function testStarts(test: Test): void {
  test("read() of an empty topic is up to date at once", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    for (const kind of ["earliest", "latest"] as const) {
      const page = await read(api, { start: { kind } });
      assert.deepEqual([page.messages, page.upToDate], [[], true]);
      assert.deepEqual(ids((await read(api, after(page.cursor))).messages), []);
    }
  });

  test("read() from latest gives what comes later", async ({ api }) => {
    await publishMixed(api, 5);
    const page = await read(api, { start: { kind: "latest" } });
    assert.deepEqual([page.messages, page.upToDate], [[], true]);
    await publishEach(api, "orders", ["x", "y"]);
    const next = await read(api, after(page.cursor));
    assert.deepEqual([ids(next.messages), next.upToDate], [["x", "y"], true]);
  });

  test("read() from a time gives what became visible then or later", async ({ api, clock }) => {
    await api.topics.put("orders", TOPIC);
    const times: number[] = [];
    for (const id of names("m", 12)) {
      clock.advance(1000);
      times.push(clock.now());
      await api.messages.publish("orders", message(id));
    }
    const from = async (time: number) => ids(await readAll(api, { start: { kind: "time", time } }));
    for (const [i, time] of times.entries()) {
      assert.deepEqual(await from(time), names("m", 12).slice(i));
      assert.deepEqual(await from(time + 1), names("m", 12).slice(i + 1));
    }
    assert.deepEqual(await from(0), names("m", 12));
    const page = await read(api, { start: { kind: "time", time: clock.now() + 1e6 } });
    await publishEach(api, "orders", ["later"]);
    assert.deepEqual(ids((await read(api, after(page.cursor))).messages), ["later"]);
  });

  test("read() of one queue gives its messages in order of offset", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    await publishMixed(api, 30);
    const all = await readAll(api);
    for (let queueId = 0; queueId < 4; queueId++) {
      const mine = all.filter((one) => one.queueId === queueId);
      assert.deepEqual(await readAll(api, { queueId, limit: 3 }), mine);
      const start = { kind: "time", time: all[0]?.publishedAt ?? 0 } as const;
      assert.deepEqual(await readAll(api, { queueId, start }), mine);
      const [latest] = mine.slice(-1);
      const page = await read(api, { queueId, start: { kind: "latest" } });
      assert.deepEqual(page.messages, []);
      if (latest) assert.equal(page.cursor, latest.cursor);
    }
    await fails("invalid-request", read(api, { queueId: 4 }));
  });

  test("read() of one queue goes on from a cursor of the topic", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    await publishMixed(api, 20);
    const all = await readAll(api);
    const page = await read(api, { limit: 7 });
    for (let queueId = 0; queueId < 4; queueId++) {
      const rest = all.slice(7).filter((one) => one.queueId === queueId);
      assert.deepEqual(await readAll(api, { ...after(page.cursor), queueId }), rest);
    }
  });

  test("read() from a queue's cursor stays in that queue", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    await publishMixed(api, 20);
    const all = await readAll(api);
    const [first] = all;
    assert(first);
    const { queueId } = first;
    const rest = all.filter((one) => one.queueId === queueId).slice(1);
    assert.deepEqual(await readAll(api, { ...after(first.cursor), limit: 2 }), rest);
    assert.deepEqual(await readAll(api, { ...after(first.cursor), queueId }), rest);
    const other = (queueId + 1) % 4;
    await fails("invalid-cursor", read(api, { ...after(first.cursor), queueId: other }));
  });

  test("read() refuses what is no cursor", async ({ api }) => {
    const { cursor } = await publishNow(api, "orders", message("m"));
    const [first, last] = [cursor.slice(0, -1), cursor.slice(1)];
    for (const text of [
      "",
      "earliest",
      "!",
      first,
      last,
      `${cursor}0`,
      cursor.toUpperCase(),
      "é",
    ]) {
      if (text !== cursor) await fails("invalid-cursor", read(api, after(text)));
    }
  });

  test("read() refuses the cursor of another topic", async ({ api }) => {
    const { cursor } = await publishNow(api, "bills", message("m"));
    await api.messages.publish("orders", message("m"));
    await fails("cursor-generation", read(api, after(cursor)));
  });
}

function testPages(test: Test): void {
  test("read() of a topic gives its queues in log order", async ({ api }) => {
    await api.topics.put("orders", { ...TOPIC, queues: 7 });
    const all = await publishMixed(api, 100);
    for (const limit of [1, 3, 64, 1000]) assert.deepEqual(ids(await readAll(api, { limit })), all);
  });

  test("two readers see one order, while it grows", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    const reader = (limit: number) => {
      const seen: StoredMessage[] = [];
      let cursor: string | undefined;
      return {
        seen,
        async step() {
          const page = await read(api, { limit, ...(cursor === undefined ? {} : after(cursor)) });
          cursor = page.cursor;
          seen.push(...page.messages);
          return page.upToDate;
        },
      };
    };
    const readers = [reader(1), reader(5), reader(13)];
    for (let round = 0; round < 20; round++) {
      const publishes = names(`r${round}-`, 6).map((id, i) =>
        api.messages.publish("orders", message(id, i % 2 ? { key: id } : {})),
      );
      await Promise.all([...publishes, ...readers.map((one) => one.step())]);
    }
    for (const one of readers) while (!(await one.step()));
    const [a, b, c] = readers.map(({ seen }) => ids(seen));
    assert.equal(a?.length, 120);
    assert.deepEqual(b, a);
    assert.deepEqual(c, a);
  });

  test("read() can be taken up again behind any message", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    const all = await publishMixed(api, 25);
    const page = await read(api, { cursors: true });
    assert.equal(page.cursors?.length, all.length);
    for (const [i, cursor] of (page.cursors ?? []).entries()) {
      const rest = await read(api, { ...after(cursor), cursors: true });
      assert.deepEqual(ids(rest.messages), all.slice(i + 1));
      assert.deepEqual(rest.cursors, page.cursors?.slice(i + 1));
    }
    assert.equal((await read(api)).cursors, undefined);
  });

  test("the cursors of a queue sort as its messages do", async ({ api }) => {
    await api.topics.put("orders", { ...TOPIC, queues: 1 });
    await api.messages.publishBatch(
      "orders",
      names("m", 70).map((id) => message(id)),
      {
        atomic: true,
      },
    );
    const cursors = (await readAll(api)).map(({ cursor }) => cursor);
    assert.deepEqual(cursors.toSorted(), cursors);
    assert.equal(new Set(cursors.map(({ length }) => length)).size, 1);
  });

  test("a page says whether more was there", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    await publishMixed(api, 10);
    assert.equal((await read(api, { limit: 9 })).upToDate, false);
    assert.equal((await read(api, { limit: 10 })).upToDate, true);
    assert.equal((await read(api, { limit: 11 })).upToDate, true);
    const { generation } = await api.topics.get("orders");
    assert.equal((await read(api)).generation, generation);
  });

  for (const queueId of [undefined, 0]) {
    const where = queueId === undefined ? "a topic" : "a queue";
    test(`a page of ${where} ends before maxBytes, but holds a message`, async ({ api }) => {
      await api.topics.put("orders", { ...TOPIC, queues: 1 });
      for (const id of names("m", 6)) {
        await api.messages.publish("orders", { id, body: new Uint8Array(1000) });
      }
      const sizes = async (maxBytes: number) => {
        const page = await read(api, { queueId, maxBytes });
        return [page.messages.length, page.upToDate];
      };
      assert.deepEqual(await sizes(1), [1, false]);
      assert.deepEqual(await sizes(1500), [1, false]);
      assert.deepEqual(await sizes(3500), [3, false]);
      assert.deepEqual(await sizes(1 << 20), [6, true]);
      assert.deepEqual(ids(await readAll(api, { queueId, maxBytes: 2500 })), names("m", 6));
    });
  }

  test("what one reader is given, another may not change", async ({ api }) => {
    await publishEach(api, "orders", ["m"]);
    const [first] = await readAll(api);
    const [second] = await readAll(api);
    assert(first && second);
    assert.deepEqual(decoded(first), decoded(second));
  });
}

function testKeys(test: Test): void {
  test("read() of a key gives its messages only", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    const keyed = names("m", 40).map((id, i) => message(id, { key: `key-${i % 7}` }));
    await api.messages.publishBatch("orders", keyed, { atomic: false });
    await publishEach(api, "orders", names("bare", 5));
    for (let k = 0; k < 7; k++) {
      const expected = names("m", 40).filter((_, i) => i % 7 === k);
      assert.deepEqual(ids(await readAll(api, { key: `key-${k}`, limit: 2 })), expected);
    }
  });

  test("read() of a key is not fooled by another of the same hash", async ({ api }) => {
    const [one, other] = collidingKeys();
    await api.topics.put("orders", TOPIC);
    for (const [i, id] of names("m", 10).entries()) {
      await api.messages.publish("orders", message(id, { key: i % 2 ? one : other }));
    }
    const odd = names("m", 10).filter((_, i) => i % 2);
    assert.deepEqual(ids(await readAll(api, { key: one, limit: 2 })), odd);
    const page = await read(api, { key: one, cursors: true });
    assert.equal(page.cursors?.length, 5);
    const rest = await read(api, { key: one, ...after(page.cursors?.[1] ?? "") });
    assert.deepEqual(ids(rest.messages), odd.slice(2));
  });

  test("read() of a key finds it on both sides of a growth", async ({ api }) => {
    await api.topics.put("orders", { ...TOPIC, queues: 1 });
    const put = (id: string, key: string) => api.messages.publish("orders", message(id, { key }));
    for (const id of names("a", 4)) await put(id, "k");
    await api.topics.patch("orders", { queues: 16 });
    for (const id of names("b", 4)) await put(id, "k");
    assert.deepEqual(ids(await readAll(api, { key: "k", limit: 3 })), [
      ...names("a", 4),
      ...names("b", 4),
    ]);
  });

  test("read() of a key nobody used moves on all the same", async ({ api }) => {
    await publishMixed(api, 20);
    const page = await read(api, { key: "nobody" });
    assert.deepEqual([page.messages, page.upToDate], [[], true]);
    await publishEach(api, "orders", ["next"]);
    assert.deepEqual(ids((await read(api, after(page.cursor))).messages), ["next"]);
  });
}

function testWaits(test: Test): void {
  const latest = { start: { kind: "latest" }, waitMs: 60_000 } as const;

  test("a waiting read is answered by the next publish", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    const waits = [
      read(api, latest),
      read(api, latest),
      read(api, { ...latest, start: { kind: "earliest" } }),
    ];
    for (const wait of waits) assert.equal(await isAnswered(wait), false);
    await publishEach(api, "orders", ["m"]);
    for (const wait of waits) assert.deepEqual(ids((await wait).messages), ["m"]);
  });

  test("a read that finds something does not wait", async ({ api }) => {
    await publishEach(api, "orders", ["m"]);
    const page = await read(api, { waitMs: 60_000 });
    assert.deepEqual(ids(page.messages), ["m"]);
  });

  test("a waiting read ends when its time is up, at the same place", async ({ api, clock }) => {
    await publishEach(api, "orders", ["before"]);
    const wait = read(api, { ...latest, waitMs: 20_000 });
    assert.equal(await isAnswered(wait), false);
    clock.advance(19_999);
    assert.equal(await isAnswered(wait), false);
    clock.advance(1);
    const page = await wait;
    assert.deepEqual([page.messages, page.upToDate], [[], true]);
    await publishEach(api, "orders", ["after"]);
    assert.deepEqual(ids((await read(api, after(page.cursor))).messages), ["after"]);
  });

  test("a waiting read passes over messages of other keys", async ({ api, clock }) => {
    await api.topics.put("orders", TOPIC);
    const wait = read(api, { ...latest, key: "mine" });
    for (const id of names("m", 5)) await api.messages.publish("orders", message(id, { key: id }));
    assert.equal(await isAnswered(wait), false);
    clock.advance(30_000);
    await api.messages.publish("orders", message("yes", { key: "mine" }));
    assert.deepEqual(ids((await wait).messages), ["yes"]);
  });

  test("a waiting read of one queue passes over the others", async ({ api }) => {
    await api.topics.put("orders", { ...TOPIC, queues: 2 });
    const { queueId } = await api.messages.publish("orders", message("a", { key: "a" }));
    const wait = read(api, { ...latest, queueId: 1 - queueId });
    await api.messages.publish("orders", message("b", { key: "a" }));
    assert.equal(await isAnswered(wait), false);
    await api.messages.publishBatch("orders", [message("c"), message("d")], { atomic: false });
    assert.equal((await wait).messages.length, 1);
  });

  test("an aborted read ends without a message", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    const abort = new AbortController();
    const wait = read(api, latest, { signal: abort.signal });
    assert.equal(await isAnswered(wait), false);
    abort.abort();
    assert.deepEqual((await wait).messages, []);
    const late = await read(api, latest, { signal: abort.signal });
    assert.deepEqual(late.messages, []);
  });

  test(
    "waits beyond the bound are refused, and a wait that ended makes room",
    async ({ api, clock }) => {
      await api.topics.put("orders", TOPIC);
      const abort = new AbortController();
      const waits = [read(api, latest), read(api, latest, { signal: abort.signal })];
      await turn();
      await fails("overloaded", read(api, latest));
      assert.deepEqual((await read(api, { start: { kind: "latest" } })).messages, []);
      abort.abort();
      await waits[1];
      const third = read(api, latest);
      assert.equal(await isAnswered(third), false);
      clock.advance(60_000);
      assert.deepEqual(
        (await Promise.all([waits[0], third])).map((page) => page?.messages),
        [[], []],
      );
    },
    { waitersMax: 2 },
  );

  test("drain ends waits and lets none begin", async ({ api, drain }) => {
    await publishEach(api, "orders", ["m"]);
    const wait = read(api, latest);
    assert.equal(await isAnswered(wait), false);
    drain();
    const page = await wait;
    assert.deepEqual([page.messages, page.upToDate], [[], true]);
    const [next, late] = [read(api, after(page.cursor)), read(api, latest)];
    assert.deepEqual((await next).messages, []);
    assert.deepEqual((await late).messages, []);
  });
}
