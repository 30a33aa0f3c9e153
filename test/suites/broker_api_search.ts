/**
 * {@linkcode BrokerApi}, searching: by index key, by time, page by page.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { BrokerApi, SearchRequest } from "../../src/broker/api.ts";
import {
  collidingKeys,
  fails,
  ids,
  message,
  names,
  type Opened,
  type Test,
  TOPIC,
  turn,
} from "./broker_api_kit.ts";

type Wish = Partial<SearchRequest>;

function search(api: BrokerApi, wish: Wish) {
  return api.messages.search({ topic: "orders", limit: 100, maxBytes: 1 << 20, ...wish });
}

/** The ids of all that is found, through every page. */
async function found(api: BrokerApi, wish: Wish): Promise<string[]> {
  const all: string[] = [];
  for (let after = wish.after; ; ) {
    const page = await search(api, { ...wish, after });
    assert(page.messages.length <= (wish.limit ?? 100));
    all.push(...ids(page.messages));
    if (page.next === undefined) return all;
    assert.notEqual(page.next, after, "a token leads on");
    after = page.next;
  }
}

/** Publishes one after the other with these index keys. */
async function publish(
  api: BrokerApi,
  list: readonly string[],
  index: readonly string[],
): Promise<void> {
  for (const id of list) await api.messages.publish("orders", message(id, { index }));
}

async function pass({ clock }: Pick<Opened, "clock">, ms: number): Promise<void> {
  clock.advance(ms);
  for (let turns = 0; turns < 5; turns++) await turn();
}

export function testSearch(test: Test): void {
  test("search() finds by index key, exactly, the last first", async ({ api }) => {
    const [one, other] = collidingKeys();
    await publish(api, ["a"], [one]);
    await publish(api, ["b"], [other, "x", other]);
    await publish(api, ["c"], []);
    await publish(api, ["d"], ["x", one, "é"]);
    assert.deepEqual(await found(api, { index: one }), ["d", "a"]);
    assert.deepEqual(await found(api, { index: other }), ["b"]);
    assert.deepEqual(await found(api, { index: "x" }), ["d", "b"]);
    assert.deepEqual(await found(api, { index: "é" }), ["d"]);
    assert.deepEqual(await found(api, { index: "X" }), []);
    assert.deepEqual(await found(api, { index: "a" }), []);
  });

  test("search() gives each message as a read does", async ({ api }) => {
    const { id: _, ...place } = await api.messages.publish(
      "orders",
      message("a", { index: ["k"] }),
    );
    const [{ payload, topic, ...rest } = assert.fail("one is found")] = (
      await search(api, { index: "k" })
    ).messages;
    assert.deepEqual([ids([{ payload }]), topic], [["a"], "orders"]);
    assert.deepEqual(rest, place);
  });

  test("search() is of one topic", async ({ api }) => {
    await publish(api, ["a"], ["k"]);
    await api.messages.publish("other", message("b", { index: ["k"] }));
    assert.deepEqual(await found(api, { index: "k" }), ["a"]);
    assert.deepEqual(await found(api, { topic: "other", index: "k" }), ["b"]);
    await fails("topic-not-found", search(api, { topic: "none", index: "k" }));
  });

  test("search() goes on where a page ended, by key and by time", async ({ api }) => {
    for (const name of names("m", 7)) {
      await publish(api, [name], ["k"]);
      await publish(api, [`${name}-other`], ["other"]);
    }
    const keyed = names("m", 7).toReversed();
    const all = keyed.flatMap((name) => [`${name}-other`, name]);
    for (const limit of [1, 2, 7, 8]) {
      assert.deepEqual(await found(api, { index: "k", limit }), keyed, `by key, ${limit}`);
      assert.deepEqual(await found(api, { from: 0, limit }), all, `by time, ${limit}`);
    }
    const oneByOne = { maxBytes: 1 };
    assert.deepEqual(await found(api, { index: "k", ...oneByOne }), keyed);
    assert.deepEqual(await found(api, { from: 0, ...oneByOne }), all);
    assert.equal((await search(api, { index: "k", ...oneByOne })).messages.length, 1);
  });

  test("search() goes on from a token below what came since", async ({ api }) => {
    await publish(api, ["a", "b", "c"], ["k"]);
    const byKey = await search(api, { index: "k", limit: 1 });
    const byTime = await search(api, { from: 0, limit: 1 });
    await publish(api, ["d"], ["k"]);
    assert.deepEqual(await found(api, { index: "k", after: byKey.next }), ["b", "a"]);
    assert.deepEqual(await found(api, { from: 0, after: byTime.next }), ["b", "a"]);
  });

  test("search() by time: from then on, and before", async ({ api, clock }) => {
    const times: number[] = [];
    for (const name of names("m", 6)) {
      times.push(clock.now());
      await publish(api, [name], Number(name.slice(1)) % 2 === 0 ? ["even"] : []);
      clock.advance(1000);
    }
    const [, second = 0, , fourth = 0] = times;
    assert.deepEqual(await found(api, { from: fourth }), ["m5", "m4", "m3"]);
    assert.deepEqual(await found(api, { to: fourth }), ["m2", "m1", "m0"]);
    assert.deepEqual(await found(api, { from: second, to: fourth, limit: 1 }), ["m2", "m1"]);
    assert.deepEqual(await found(api, { from: second, to: second }), []);
    assert.deepEqual(await found(api, { from: fourth + 1, index: "even" }), ["m4"]);
    assert.deepEqual(await found(api, { to: fourth + 1, index: "even", limit: 1 }), ["m2", "m0"]);
    assert.deepEqual(await found(api, { to: 1000 }), []);
    assert.deepEqual(await found(api, { from: clock.now() + 1000 }), []);
  });

  test("search() finds a delayed message once it is visible, at its time", async (opened) => {
    const { api, clock } = opened;
    const due = clock.now() + 60_000;
    await api.messages.publish("orders", message("late", { index: ["k"], deliverAt: due }));
    await publish(api, ["now"], ["k"]);
    assert.deepEqual(await found(api, { index: "k" }), ["now"]);
    assert.deepEqual(await found(api, { from: 0 }), ["now"]);
    await pass(opened, 60_000);
    await publish(api, ["later"], ["k"]);
    assert.deepEqual(await found(api, { index: "k", limit: 1 }), ["later", "late", "now"]);
    assert.deepEqual(await found(api, { from: due }), ["later", "late"]);
    assert.deepEqual(await found(api, { index: "k", to: due }), ["now"]);
  });

  test("search() finds the messages of a transaction when it is committed, page by page", async ({
    api,
  }) => {
    await api.topics.put("orders", { ...TOPIC, queues: 3 });
    const begin = async (prefix: string) => {
      const messages = names(prefix, 9).map((id) => ({
        topic: "orders",
        message: message(id, { index: ["k"] }),
      }));
      return (await api.transactions.begin({ producerGroup: "pay", messages })).id;
    };
    const [kept, dropped] = [await begin("kept-"), await begin("dropped-")];
    await publish(api, ["before"], ["k"]);
    assert.deepEqual(await found(api, { index: "k" }), ["before"]);
    await api.transactions.commit(kept);
    await api.transactions.rollback(dropped);
    await publish(api, ["after"], ["k"]);
    for (const limit of [1, 2, 4, 100]) {
      for (const wish of [{ index: "k" }, { from: 0 }]) {
        const all = await found(api, { ...wish, limit });
        assert.deepEqual([all.length, all[0], all.at(-1)], [11, "after", "before"]);
        assert.deepEqual(all.slice(1, -1).toSorted(), names("kept-", 9));
      }
    }
  });

  test("search() finds what was published with other keys before, in hundreds", async ({ api }) => {
    for (let i = 0; i < 4; i++) {
      const batch = names(`${i}-`, 100).map((id) => message(id, { index: ["common", id] }));
      await api.messages.publishBatch("orders", batch, { atomic: false });
    }
    assert.deepEqual(await found(api, { index: "1-77" }), ["1-77"]);
    const all = await found(api, { index: "common", limit: 60 });
    assert.equal(all.length, 400);
    assert.equal(new Set(all).size, 400);
    assert.deepEqual(await found(api, { from: 0, limit: 60 }), all);
  });

  test("search() takes only a token of the same search in the same topic", async ({ api }) => {
    await publish(api, ["a", "b"], ["k"]);
    const { next } = await search(api, { index: "k", limit: 1 });
    assert(next !== undefined);
    for (const wish of [{ index: "other" }, { index: "k", from: 1 }, { to: 5 }]) {
      await fails("invalid-cursor", search(api, { ...wish, after: next }));
    }
    for (const after of ["nonsense", "", `${next}0`, next.slice(1)]) {
      await fails("invalid-cursor", search(api, { index: "k", after }));
    }
    await api.topics.delete("orders");
    await fails("topic-not-found", search(api, { index: "k", after: next }));
    await publish(api, ["c"], ["k"]);
    await fails("cursor-generation", search(api, { index: "k", after: next }));
    assert.deepEqual(await found(api, { index: "k" }), ["c"]);
    assert.deepEqual(await found(api, { from: 0 }), ["c"]);
  });
}
