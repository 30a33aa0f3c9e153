/**
 * Lists in parts, merged: whole, in order, and on from any page, however short the pages
 * of the parts are.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { TidegateError } from "../../storage/base/errors.ts";
import { mergePages, type PartPage } from "../../src/routing/merged_pages.ts";
import { LocalCluster } from "../fakes/local_cluster.ts";
import {
  deadIds,
  deadLetters,
  decoded,
  fails,
  GROUP,
  ids,
  message,
  names,
  publishEach,
  rejectAll,
  TOPIC,
} from "../suites/broker_api_kit.ts";

/** A list whose tokens are places in it; the first page at a place may be empty though there is more. */
function partOf(all: readonly number[], { short, empty }: { short: number; empty: boolean }) {
  const asked = new Set<number>();
  return (after: string | undefined, limit: number): PartPage<number> => {
    const from = Number(after ?? 0);
    const isEmpty = empty && !asked.has(from);
    asked.add(from);
    const to = isEmpty ? from : Math.min(all.length, from + Math.min(limit, short));
    const cursors = all.slice(from, to).map((_, i) => String(from + i + 1));
    const next = to < all.length ? { next: String(to) } : {};
    return { items: all.slice(from, to), cursors, from: String(from), ...next };
  };
}

const numbers = fc
  .array(fc.nat({ max: 50 }), { maxLength: 20 })
  .map((all) => all.sort((a, b) => a - b));

describe("mergePages()", () => {
  it("gives every item once, in order, page by page", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(numbers, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 7 }),
        fc.integer({ min: 1, max: 5 }),
        fc.boolean(),
        async (lists, limit, short, empty) => {
          const parts = lists.map((all) => partOf(all, { short, empty }));
          const seen: number[] = [];
          let after: string | undefined;
          do {
            const { items, next } = await mergePages<number>({
              groups: lists.keys().toArray(),
              after,
              limit,
              page: (group, wish) =>
                Promise.resolve(parts[group]?.(wish.after, wish.limit) ?? assert.fail()),
              compare: (a, b) => a - b,
            });
            assert(items.length <= limit);
            seen.push(...items);
            after = next;
          } while (after !== undefined);
          assert.deepEqual(
            seen,
            lists.flat().sort((a, b) => a - b),
          );
        },
      ),
    );
  });

  it("refuses tokens that are none", async () => {
    for (const after of ["", "x", "1", "9~0", "1~0_", "1~%", "1~0.2~0 "]) {
      const page = () => assert.fail("nobody is asked");
      const wish = { groups: [1, 2], after, limit: 1, page, compare: () => 0 };
      await assert.rejects(mergePages(wish), (error) => {
        return error instanceof TidegateError && error.code === "invalid-cursor";
      });
    }
  });
});

async function open() {
  const cluster = await LocalCluster.open({ groups: 3 });
  const api = cluster.gateway();
  await api.topics.put("orders", { ...TOPIC, queues: 6 });
  return { cluster, api };
}

/** Page by page, whatever is listed. */
async function pages<T>(
  page: (after: string | undefined) => Promise<{ items: readonly T[]; next?: string | undefined }>,
) {
  const all: T[] = [];
  let after: string | undefined;
  do {
    const { items, next } = await page(after);
    all.push(...items);
    after = next;
  } while (after !== undefined);
  return all;
}

describe("lists over three broker groups", () => {
  it("of a search are whole, the newest first, also while messages come", async () => {
    const { cluster, api } = await open();
    for (const id of names("m", 17)) {
      cluster.clock.advance(1);
      await api.messages.publish("orders", message(id, { index: ["i"] }));
    }
    for (const limit of [1, 4, 100]) {
      const found = await pages(async (after) => {
        const page = await api.messages.search({
          topic: "orders",
          index: "i",
          limit,
          maxBytes: 1 << 20,
          after,
        });
        if (limit === 4) await publishEach(api, "orders", ["later"]);
        return { items: page.messages, next: page.next };
      });
      assert.deepEqual(ids(found), names("m", 17).reverse());
    }
    await cluster.close();
  });

  it("of dead letters are whole, the oldest first, and go by id", async () => {
    const { cluster, api } = await open();
    await api.groups.put("g", GROUP);
    for (const id of names("m", 11)) {
      cluster.clock.advance(1);
      await publishEach(api, "orders", [id]);
      await rejectAll(api);
    }
    for (const limit of [1, 3, 100]) {
      const found = await pages(async (after) => {
        const page = await deadLetters(api, { limit, after });
        return { items: page.deadLetters, next: page.next };
      });
      assert.deepEqual(deadIds(found), names("m", 11));
    }
    assert.equal(await api.groups.redrive("g", { ids: ["m0", "m1", "m2", "none"] }), 3);
    assert.equal(await api.groups.purgeDeadLetters("g", {}), 8);
    await cluster.close();
  });

  it("of transactions are whole, in the order they began, each at its home", async () => {
    const { cluster, api } = await open();
    const begun: string[] = [];
    for (const id of names("m", 9)) {
      cluster.clock.advance(1);
      const messages = [{ topic: "orders", message: message(id, { key: id }) }];
      begun.push((await api.transactions.begin({ producerGroup: "pay", messages })).id);
    }
    assert.equal(new Set(begun.map((id) => id.split("-")[0])).size, 3);
    const found = await pages(async (after) => {
      const page = await api.transactions.list({ limit: 2, after, state: "prepared" });
      return { items: page.transactions, next: page.next };
    });
    assert.deepEqual(
      found.map(({ id }) => id),
      begun,
    );
    await fails("transaction-not-found", api.transactions.commit(`9-${"0".repeat(32)}`));
    await cluster.close();
  });

  it("of what happened to a message go on in its broker group", async () => {
    const { cluster, api } = await open();
    await api.groups.put("g", { ...GROUP, backoff: { scheduleMs: [0] } });
    await publishEach(api, "orders", ["a"]);
    for (let i = 0; i < 3; i++) {
      const [lease] = await api.groups.receive({ group: "g", max: 1, maxBytes: 1000, waitMs: 0 });
      const release = [{ receipt: lease?.receipt ?? "", delayMs: 0 }];
      await api.groups.settle("g", { ack: [], release, extend: [], reject: [] });
    }
    const events = await pages(async (after) => {
      const page = await api.messages.trace({ topic: "orders", id: "a", limit: 2, after });
      return { items: page.events, next: page.next };
    });
    assert.deepEqual(
      events.map(({ event }) => event),
      ["published", "delivered", "released", "delivered", "released", "delivered", "released"],
    );
    assert.equal(decoded((await api.messages.get("orders", "a")) as never).id, "a");
    await cluster.close();
  });
});
