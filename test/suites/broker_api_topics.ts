/**
 * {@linkcode BrokerApi}, topics: create or match, change, page, delete.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { TopicConfig, TopicPatch } from "../../src/broker/api.ts";
import type { ErrorCode } from "../../storage/base/errors.ts";
import {
  after,
  fails,
  GROUP,
  ids,
  message,
  publishNow,
  names,
  publishEach,
  read,
  readAll,
  receive,
  type Test,
  TOPIC,
  turn,
} from "./broker_api_kit.ts";

export function testTopics(test: Test): void {
  test("put() creates a topic and then matches it", async ({ api, clock }) => {
    const { created, topic } = await api.topics.put("orders", TOPIC);
    assert.equal(created, true);
    const { generation } = topic;
    const expected = { ...TOPIC, name: "orders", generation, createdAt: clock.now() };
    assert.deepEqual(topic, { ...expected, endOffsets: [0, 0, 0, 0] });
    const again = await api.topics.put("orders", { ...TOPIC });
    assert.deepEqual(again, { created: false, topic });
    assert.deepEqual(await api.topics.get("orders"), topic);
  });

  test("put() matches whatever the order of members", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    const entries = Object.entries({ ...TOPIC, retention: { bytes: null, timeMs: 259_200_000 } });
    const turned = Object.fromEntries(entries.toReversed()) as unknown as TopicConfig;
    assert.equal((await api.topics.put("orders", turned)).created, false);
  });

  const others: [what: string, change: Partial<TopicConfig>][] = [
    ["queues", { queues: 5 }],
    ["messageType", { messageType: "fifo" }],
    ["acks", { acks: "leader" }],
    ["retention", { retention: { timeMs: 1, bytes: null } }],
    ["description", { description: "other" }],
  ];
  for (const [what, change] of others) {
    test(`put() refuses a topic that exists with other ${what}`, async ({ api }) => {
      const { topic } = await api.topics.put("orders", TOPIC);
      await fails("topic-exists", api.topics.put("orders", { ...TOPIC, ...change }));
      assert.deepEqual(await api.topics.get("orders"), topic);
    });
  }

  test("get(), patch(), delete() and read() of an unknown topic fail", async ({ api }) => {
    await fails("topic-not-found", api.topics.get("nobody"));
    await fails("topic-not-found", api.topics.patch("nobody", { description: "" }));
    await fails("topic-not-found", api.topics.delete("nobody"));
    await fails("topic-not-found", read(api, { topic: "nobody" }));
    await fails("topic-not-found", api.messages.get("nobody", "id"));
  });

  const patches: [does: string, change: TopicPatch, after: Partial<TopicConfig>][] = [
    ["description", { description: "new" }, { description: "new" }],
    ["acks", { acks: "replicated" }, { acks: "replicated" }],
    [
      "one member of retention",
      { retention: { bytes: 9 } },
      { retention: { timeMs: 259_200_000, bytes: 9 } },
    ],
    [
      "a member of retention to null",
      { retention: { timeMs: null } },
      { retention: { timeMs: null, bytes: null } },
    ],
    ["the number of queues upwards", { queues: 6 }, { queues: 6 }],
    ["nothing when all is undefined", { queues: undefined, retention: undefined }, {}],
    ["nothing when all is as it was", { ...TOPIC }, {}],
  ];
  for (const [does, change, expected] of patches) {
    test(`patch() changes ${does}`, async ({ api }) => {
      const { topic } = await api.topics.put("orders", TOPIC);
      const patched = await api.topics.patch("orders", change);
      const queues = expected.queues ?? TOPIC.queues;
      const endOffsets = Array.from({ length: queues }, () => 0);
      assert.deepEqual(patched, { ...topic, ...expected, endOffsets });
      assert.deepEqual(await api.topics.get("orders"), patched);
    });
  }

  const refused: [
    does: string,
    messageType: "mixed" | "fifo",
    change: TopicPatch,
    code: ErrorCode,
  ][] = [
    ["another messageType", "mixed", { messageType: "normal" }, "immutable-field"],
    ["fewer queues", "mixed", { queues: 3 }, "key-order"],
    ["fewer queues of a fifo topic", "fifo", { queues: 3 }, "key-order"],
    ["more queues of a fifo topic", "fifo", { queues: 5 }, "key-order"],
  ];
  for (const [does, messageType, change, code] of refused) {
    test(`patch() refuses ${does}`, async ({ api }) => {
      const { topic } = await api.topics.put("orders", { ...TOPIC, messageType });
      await fails(code, api.topics.patch("orders", { ...change, description: "not this" }));
      assert.deepEqual(await api.topics.get("orders"), topic);
    });
  }

  test("patch() to more queues keeps what was stored", async ({ api }) => {
    await api.topics.put("orders", { ...TOPIC, queues: 1 });
    await publishEach(api, "orders", names("a", 3));
    await api.topics.patch("orders", { queues: 3 });
    await api.messages.publishBatch(
      "orders",
      names("b", 6).map((id) => message(id)),
      {
        atomic: false,
      },
    );
    const { endOffsets } = await api.topics.get("orders");
    assert.deepEqual(endOffsets, [5, 2, 2]);
    assert.deepEqual(ids(await readAll(api)), [...names("a", 3), ...names("b", 6)]);
  });

  test("list() pages in order of name", async ({ api }) => {
    for (const name of ["pear", "apple", "Zebra", "fig", "fig-2"])
      await api.topics.put(name, TOPIC);
    const page = async (limit: number, from?: string) => {
      const { topics, next } = await api.topics.list({ limit, after: from });
      return [topics.map(({ name }) => name), next];
    };
    assert.deepEqual(await page(2), [["Zebra", "apple"], "apple"]);
    assert.deepEqual(await page(2, "apple"), [["fig", "fig-2"], "fig-2"]);
    assert.deepEqual(await page(2, "fig-2"), [["pear"], undefined]);
    assert.deepEqual(await page(5), [["Zebra", "apple", "fig", "fig-2", "pear"], undefined]);
    assert.deepEqual(await page(9, "b"), [["fig", "fig-2", "pear"], undefined]);
    assert.deepEqual(await page(9, "zz"), [[], undefined]);
  });

  test("publishing to an unknown topic creates it where that is on", async ({ api }) => {
    await api.messages.publish("fresh", message("m"));
    const topic = await api.topics.get("fresh");
    const { generation, createdAt } = topic;
    assert.deepEqual(topic, {
      ...TOPIC,
      name: "fresh",
      generation,
      createdAt,
      endOffsets: topic.endOffsets,
    });
    assert.deepEqual(
      topic.endOffsets.toSorted((a, b) => a - b),
      [0, 0, 0, 1],
    );
  });

  test(
    "publishing to an unknown topic fails where that is off",
    async ({ api }) => {
      await fails("topic-not-found", api.messages.publish("fresh", message("m")));
      const batch = [message("m")];
      for (const atomic of [true, false]) {
        await fails("topic-not-found", api.messages.publishBatch("fresh", batch, { atomic }));
      }
      assert.deepEqual((await api.topics.list({ limit: 9 })).topics, []);
    },
    { autoCreate: false },
  );

  test("a deleted topic is gone, and one made again is another", async ({ api, clock }) => {
    const { topic } = await api.topics.put("orders", { ...TOPIC, queues: 1 });
    const published = await publishNow(api, "orders", message("old"));
    const page = await read(api);
    await api.topics.delete("orders");
    await fails("topic-not-found", api.topics.get("orders"));
    await fails("topic-not-found", read(api));
    await fails("topic-not-found", api.messages.get("orders", "old"));
    await fails("topic-not-found", api.topics.delete("orders"));

    clock.advance(1);
    const { created, topic: made } = await api.topics.put("orders", TOPIC);
    assert.equal(created, true);
    assert(made.generation > topic.generation, "generations rise");
    assert.deepEqual(made.endOffsets, [0, 0, 0, 0]);
    assert.equal(made.createdAt, clock.now());
    await fails("message-not-found", api.messages.get("orders", "old"));
    assert.deepEqual(ids(await readAll(api)), []);
    await fails("cursor-generation", read(api, after(page.cursor)));
    await fails("cursor-generation", read(api, after(published.cursor)));
  });

  test("a topic made again in the same millisecond is another", async ({ api }) => {
    const { topic } = await api.topics.put("orders", TOPIC);
    await api.topics.delete("orders");
    const { topic: made } = await api.topics.put("orders", TOPIC);
    assert(made.generation > topic.generation);
  });

  test("delete() ends the waits of readers", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    const waiting = read(api, { start: { kind: "latest" }, waitMs: 60_000 });
    waiting.catch(() => {});
    await turn();
    await api.topics.delete("orders");
    await fails("topic-not-found", waiting);
  });

  test("a group waits for a topic to be made and reads it from its beginning", async ({ api }) => {
    await api.groups.put("g", { ...GROUP, startFrom: "latest" });
    assert.deepEqual(await receive(api), []);
    assert.deepEqual(await api.groups.lag("g"), {
      topics: [{ topic: "orders", queues: [], total: 0 }],
    });
    await publishEach(api, "orders", ["first", "second"]);
    assert.deepEqual(ids(await receive(api)).toSorted(), ["first", "second"]);
  });

  test("a group reads a topic that was made again from its beginning", async ({ api }) => {
    await publishEach(api, "orders", ["old-1", "old-2"]);
    await api.groups.put("g", { ...GROUP, startFrom: "latest" });
    await api.topics.delete("orders");
    assert.deepEqual(await receive(api), []);
    await publishEach(api, "orders", ["new-1", "new-2", "new-3"]);
    assert.deepEqual(ids(await receive(api)).toSorted(), ["new-1", "new-2", "new-3"]);
  });

  test(
    "a group cannot wait for a topic that nobody can make by publishing",
    async ({ api }) => {
      await fails("topic-not-found", api.groups.put("g", GROUP));
      await api.topics.put("orders", TOPIC);
      await api.groups.put("g", GROUP);
      const subscriptions = [{ topic: "orders" }, { topic: "bills" }];
      await fails("topic-not-found", api.groups.patch("g", { subscriptions }));
      assert.deepEqual((await api.groups.get("g")).subscriptions, [{ topic: "orders" }]);
    },
    { autoCreate: false },
  );
}
