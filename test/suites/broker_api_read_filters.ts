/**
 * {@linkcode BrokerApi}, log reads with a filter: the same messages in the same
 * order as without one, less those that are not wanted, and positions that
 * move over these too.
 *
 * What filters mean is tested in `test/filter`.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { BrokerApi, Filter, NewMessage, ReadRequest } from "../../src/broker/api.ts";
import { compileFilter } from "../../src/filter/mod.ts";
import { Prng } from "../../storage/base/prng.ts";
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
  read,
  readAll,
  type Test,
  TOPIC,
} from "./broker_api_kit.ts";

const TAGS = ["created", "paid", "shipped"] as const;

/** Every third of each tag, every tenth of none; `n` is its number, `even` whether it is. */
async function publishTagged(api: BrokerApi, count: number): Promise<string[]> {
  await api.topics.put("orders", TOPIC);
  const all = names("m", count).map((id, n): NewMessage => {
    const properties = [["n", String(n)] as const, ["even", String(n % 2 === 0)] as const];
    const tag = n % 10 === 9 ? undefined : TAGS[n % 3];
    return message(id, { tag, properties, ...(n % 4 === 0 && { key: `key-${n % 5}` }) });
  });
  await api.messages.publishBatch("orders", all, { atomic: false });
  return all.map(({ id }) => id);
}

export function testReadFilters(test: Test): void {
  testWanted(test);
  testPositions(test);
  testWaits(test);
}

function testWanted(test: Test): void {
  const cases: [filter: Filter, wants: (n: number) => boolean][] = [
    [{ tag: "*" }, () => true],
    [{ tag: "paid" }, (n) => n % 3 === 1 && n % 10 !== 9],
    [{ tag: " paid || created" }, (n) => n % 3 !== 2 && n % 10 !== 9],
    [{ tag: "nobody" }, () => false],
    [{ sql: "even" }, (n) => n % 2 === 0],
    [{ sql: "n BETWEEN 10 AND 19" }, (n) => n >= 10 && n <= 19],
    [{ sql: "TAGS IS NULL AND n > 20" }, (n) => n % 10 === 9 && n > 20],
    [{ sql: "TAGS = 'paid' AND NOT even" }, (n) => n % 3 === 1 && n % 10 !== 9 && n % 2 === 1],
    [
      { sql: "KEY IN ('key-1', 'key-2') OR n = 3" },
      (n) => n % 20 === 16 || n % 20 === 12 || n === 3,
    ],
    [{ sql: "missing = 1 OR NOT missing = 1" }, () => false],
  ];
  for (const [filter, wants] of cases) {
    test(`read() gives only what the filter wants: ${Object.values(filter)[0]}`, async ({
      api,
    }) => {
      const expected = (await publishTagged(api, 60)).filter((_, n) => wants(n));
      for (const limit of [1, 7, 1000]) {
        assert.deepEqual(ids(await readAll(api, { filter, limit })), expected);
      }
      const found: string[] = [];
      for (let queueId = 0; queueId < 4; queueId++) {
        const request = { filter, queueId, limit: 2, start: { kind: "earliest" } } as const;
        found.push(...ids(await readAll(api, request)));
      }
      assert.deepEqual(found.toSorted(), expected.toSorted());
    });
  }

  test("read() by tag is not fooled by another of the same hash", async ({ api }) => {
    const [one, other] = collidingKeys(); // words like any
    await api.topics.put("orders", TOPIC);
    for (const [i, id] of names("m", 10).entries()) {
      await api.messages.publish("orders", message(id, { tag: i % 2 ? one : other }));
    }
    const odd = names("m", 10).filter((_, i) => i % 2);
    assert.deepEqual(ids(await readAll(api, { filter: { tag: one }, limit: 2 })), odd);
  });

  test("read() of a key with a filter gives what is of both", async ({ api }) => {
    await publishTagged(api, 60);
    const request = { key: "key-0", filter: { sql: "n >= 20" }, limit: 2 };
    assert.deepEqual(ids(await readAll(api, request)), ["m20", "m40"]);
    assert.deepEqual(ids(await readAll(api, { ...request, filter: { tag: "*" } })).length, 3);
  });

  test("read() refuses a filter that is none, and says where", async ({ api }) => {
    await publishTagged(api, 3);
    for (const [filter, position] of [
      [{ sql: "n >" }, 3],
      [{ sql: "n = 'a' AND (even" }, 17],
      [{ tag: "a || " }, 4],
    ] as const) {
      for (const waitMs of [0, 60_000]) {
        const error = await fails("filter-invalid", read(api, { filter, waitMs }));
        assert.equal(error.details["position"], position);
      }
    }
  });

  test("any filter, any page size: the log, less what is not wanted", async ({ api }) => {
    const chance = new Prng(11);
    await publishTagged(api, 150);
    const all = (await readAll(api)).map(decoded);
    for (let round = 0; round < 40; round++) {
      const filter = chance.pick<Filter>([
        { tag: chance.pick(["paid", "paid || shipped", "*"]) },
        { sql: `n > ${chance.below(160)} AND n % 2` },
        { sql: `n > ${chance.below(160)}` },
        { sql: `TAGS IN ('paid', 'x') OR n < ${chance.below(160)}` },
        { sql: `n IN (${chance.below(150)}, ${chance.below(150)}, ${chance.below(150)})` },
      ]);
      if ("sql" in filter && filter.sql.includes("%")) {
        await fails("filter-invalid", read(api, { filter }));
        continue;
      }
      const { matches } = compileFilter(filter);
      const wanted = all.filter(matches).map(({ id }) => id);
      const limits = { limit: 1 + chance.below(50), maxBytes: 1 + chance.below(3000) };
      assert.deepEqual(ids(await readAll(api, { filter, ...limits })), wanted);
    }
  });
}

function testPositions(test: Test): void {
  test("read() with a filter can be taken up again behind any message", async ({ api }) => {
    await publishTagged(api, 43);
    for (const filter of [{ tag: "paid" }, { sql: "NOT even" }]) {
      const page = await read(api, { filter, cursors: true });
      const found = ids(page.messages);
      assert.equal(page.cursors?.length, found.length);
      for (const [i, cursor] of (page.cursors ?? []).entries()) {
        const rest = await read(api, { filter, ...after(cursor) });
        assert.deepEqual(ids(rest.messages), found.slice(i + 1));
        const others = await read(api, { ...after(cursor), limit: 1 });
        assert.equal(
          decoded(others.messages[0] ?? assert.fail()).properties[0]?.[1],
          next(found[i]),
        );
      }
    }
  });

  const next = (id: string | undefined) => String(Number(id?.slice(1)) + 1);

  test("read() whose filter wants nothing moves on all the same", async ({ api }) => {
    await publishTagged(api, 20);
    for (const filter of [{ tag: "nobody" }, { sql: "n < 0" }]) {
      const page = await read(api, { filter });
      assert.deepEqual([page.messages, page.upToDate], [[], true]);
      await publishEach(api, "orders", ["next"]);
      assert.deepEqual(ids((await read(api, after(page.cursor))).messages), ["next"]);
    }
  });

  test("a page with a filter ends at limit and at maxBytes, and the next goes on", async ({
    api,
  }) => {
    await api.topics.put("orders", { ...TOPIC, queues: 1 });
    for (const [n, id] of names("m", 12).entries()) {
      const properties = [["n", String(n)] as const];
      await api.messages.publish("orders", { id, body: new Uint8Array(1000), properties });
    }
    const filter = { sql: "n <> 1 AND n <> 4 AND n <> 11" };
    const wanted = names("m", 12).filter((_, n) => ![1, 4, 11].includes(n));
    const pages = async (request: Partial<ReadRequest>) => {
      const sizes: number[] = [];
      const found: string[] = [];
      let page = await read(api, { filter, ...request });
      for (; ; page = await read(api, { filter, ...request, ...after(page.cursor) })) {
        sizes.push(page.messages.length);
        found.push(...ids(page.messages));
        if (page.upToDate) break;
      }
      assert.deepEqual(found, wanted);
      return sizes.filter((size) => size > 0);
    };
    for (const queueId of [undefined, 0]) {
      assert.deepEqual(await pages({ queueId, limit: 4 }), [4, 4, 1]);
      assert.deepEqual(
        await pages({ queueId, maxBytes: 1 }),
        Array.from(wanted, () => 1),
      );
      assert.deepEqual(await pages({ queueId, maxBytes: 3500 }), [3, 3, 3]);
      assert.deepEqual(await pages({ queueId, maxBytes: 1 << 20 }), [9]);
    }
  });
}

function testWaits(test: Test): void {
  const latest = { start: { kind: "latest" }, waitMs: 60_000 } as const;

  for (const filter of [{ tag: "mine" }, { sql: "TAGS = 'mine' AND n = 1" }]) {
    const how = "tag" in filter ? "a tag" : "SQL";
    test(`a read that waits with ${how} passes over what is not wanted`, async ({ api }) => {
      await api.topics.put("orders", TOPIC);
      const wait = read(api, { ...latest, filter });
      await publishEach(api, "orders", names("m", 5));
      await api.messages.publish("orders", message("other", { tag: "yours" }));
      assert.equal(await isAnswered(wait), false);
      const wanted = message("yes", { tag: "mine", properties: [["n", "1"]] });
      await api.messages.publish("orders", wanted);
      assert.deepEqual(ids((await wait).messages), ["yes"]);
    });

    test(`a wait with ${how} at whose end nothing is lost stands behind what it passed over`, async ({
      api,
      clock,
    }) => {
      await api.topics.put("orders", TOPIC);
      const wait = read(api, { ...latest, waitMs: 1000, filter });
      await publishEach(api, "orders", names("m", 5));
      assert.equal(await isAnswered(wait), false);
      clock.advance(1000);
      const page = await wait;
      assert.deepEqual([page.messages, page.upToDate], [[], true]);
      await publishEach(api, "orders", ["after"]);
      assert.deepEqual(ids((await read(api, after(page.cursor))).messages), ["after"]);
    });
  }
}
