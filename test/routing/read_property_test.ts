/**
 * Reading a topic over broker groups: whatever was published when and where, with pages
 * of any size, read on at any message: each message once, each broker group's in its
 * order, and all in the order in which they became visible.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { BrokerApi, StoredMessage } from "../../src/broker/api.ts";
import { LocalCluster } from "../fakes/local_cluster.ts";
import { after, decoded, ids, message, read, TOPIC } from "../suites/broker_api_kit.ts";

const noNullPrototype = { noNullPrototype: true };
/** A message, and how much time passes before it. */
const step = fc.record(
  {
    key: fc.option(fc.constantFrom("a", "b", "c", "d", "e"), { nil: undefined }),
    tag: fc.constantFrom("x", "y"),
    ms: fc.constantFrom(0, 0, 1, 5),
    size: fc.constantFrom(1, 50, 400),
  },
  noNullPrototype,
);
const steps = fc.array(step, { maxLength: 60 });
const paging = fc.record(
  {
    limit: fc.integer({ min: 1, max: 20 }),
    maxBytes: fc.constantFrom(1, 300, 1 << 20),
    tag: fc.option(fc.constantFrom("x", "y"), { nil: undefined }),
  },
  noNullPrototype,
);

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type Paging = typeof paging extends fc.Arbitrary<infer T> ? T : never;

async function publishAll(cluster: LocalCluster, api: BrokerApi, all: readonly Step[]) {
  for (const [i, { key, tag, ms, size }] of all.entries()) {
    cluster.clock.advance(ms);
    await api.messages.publish(
      "orders",
      message(`m${i}`, { key, tag, body: new Uint8Array(size) }),
    );
  }
}

function requestOf({ limit, maxBytes, tag }: Paging) {
  return { limit, maxBytes, cursors: true, ...(tag !== undefined && { filter: { tag } }) };
}

/** Page by page; of each message the position behind it. */
async function walk(api: BrokerApi, how: Paging, cursor?: string) {
  const seen: { message: StoredMessage; cursor: string }[] = [];
  const request = requestOf(how);
  let page = await read(api, { ...request, ...(cursor !== undefined && after(cursor)) });
  for (;;) {
    for (const [i, one] of page.messages.entries()) {
      seen.push({ message: one, cursor: page.cursors?.[i] ?? assert.fail("it has a position") });
    }
    if (page.upToDate) return seen;
    page = await read(api, { ...request, ...after(page.cursor) });
  }
}

const isSorted = (numbers: readonly number[]) =>
  numbers.every((n, i) => n >= (numbers[i - 1] ?? 0));

describe("a topic over three broker groups", () => {
  it("is read whole, in order, and on from any message", async () => {
    await fc.assert(
      fc.asyncProperty(steps, paging, fc.nat(), async (all, how, at) => {
        const cluster = await LocalCluster.open({ groups: 3 });
        const api = cluster.gateway();
        await api.topics.put("orders", { ...TOPIC, queues: 7 });
        await publishAll(cluster, api, all);
        const wanted = all.flatMap(({ tag }, i) =>
          how.tag === undefined || how.tag === tag ? [`m${i}`] : [],
        );
        const seen = await walk(api, how);
        const messages = seen.map((one) => one.message);
        assert.deepEqual(ids(messages).sort(), wanted.sort());
        assert(isSorted(messages.map(({ publishedAt }) => publishedAt)));
        for (const mine of Map.groupBy(messages, ({ queueId }) => queueId % 3).values()) {
          const order = mine.map((one) => Number(decoded(one).id.slice(1)));
          assert(isSorted(order), "a broker group's messages come in the order they were stored");
        }
        const resumed = seen[at % Math.max(1, seen.length)];
        if (resumed) {
          const rest = await walk(api, { ...how, limit: how.limit + 1 }, resumed.cursor);
          assert.deepEqual(
            ids(rest.map((one) => one.message)),
            ids(messages).slice(seen.indexOf(resumed) + 1),
          );
        }
        await cluster.close();
      }),
      { numRuns: 60 },
    );
  });

  it("is followed without gap or repeat while it grows", async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.integer({ min: 1, max: 9 }), async (all, limit) => {
        const cluster = await LocalCluster.open({ groups: 3 });
        const api = cluster.gateway();
        await api.topics.put("orders", { ...TOPIC, queues: 7 });
        const seen: StoredMessage[] = [];
        let position = (await read(api, { start: { kind: "latest" } })).cursor;
        for (let i = 0; i < all.length; i += 7) {
          const publishing = publishAll(cluster, api, all.slice(i, i + 7));
          const page = await read(api, { ...after(position), limit });
          seen.push(...page.messages);
          position = page.cursor;
          await publishing;
        }
        for (const { message: one } of await walk(
          api,
          { limit, maxBytes: 1 << 20, tag: undefined },
          position,
        )) {
          seen.push(one);
        }
        const places = seen.map(({ queueId, queueOffset }) => `${queueId} ${queueOffset}`);
        assert.equal(new Set(places).size, all.length, "each once");
        assert.equal(seen.length, all.length);
        await cluster.close();
      }),
      { numRuns: 40 },
    );
  });
});
