/**
 * {@linkcode BrokerApi}, publishing: queues, offsets, order, batches, refusals;
 * and what is stored, found again by id.
 *
 * @module
 */

import assert from "node:assert/strict";
import { LIMITS } from "../../storage/base/message.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import {
  after,
  decoded,
  fails,
  ids,
  message,
  names,
  publishNow,
  read,
  readAll,
  type Test,
  TOPIC,
  utf8,
} from "./broker_api_kit.ts";

export function testPublish(test: Test): void {
  test("publish() says where the message lies", async ({ api, clock }) => {
    await api.topics.put("orders", { ...TOPIC, queues: 1 });
    for (const [i, id] of names("m", 3).entries()) {
      clock.advance(10);
      const { cursor, ...published } = await publishNow(api, "orders", message(id));
      assert.deepEqual(published, { id, queueId: 0, queueOffset: i, publishedAt: clock.now() });
      const [stored] = (await read(api)).messages.slice(-1);
      assert.equal(stored?.cursor, cursor);
    }
    assert.deepEqual((await api.topics.get("orders")).endOffsets, [3]);
  });

  test("publish() numbers each queue without gaps, also in one turn", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    const published = await Promise.all(
      names("m", 200).map((id, i) => {
        const key = i % 3 === 0 ? { key: `key-${i % 7}` } : {};
        return publishNow(api, "orders", message(id, key));
      }),
    );
    const { endOffsets } = await api.topics.get("orders");
    for (const [queueId, end] of endOffsets.entries()) {
      const offsets = published.filter((one) => one.queueId === queueId);
      assert.deepEqual(
        offsets.map(({ queueOffset }) => queueOffset),
        Array.from({ length: end }, (_, i) => i),
      );
    }
    assert.deepEqual(ids(await readAll(api)), names("m", 200));
  });

  test("publish() keeps the messages of a key in one queue, in order of call", async ({ api }) => {
    await api.topics.put("orders", { ...TOPIC, queues: 8 });
    const calls = names("m", 60).map((id, i) =>
      api.messages.publish("orders", message(id, { key: `key-${i % 5}` })),
    );
    const published = await Promise.all(calls);
    for (let k = 0; k < 5; k++) {
      const mine = published.filter((_, i) => i % 5 === k);
      assert.equal(new Set(mine.map(({ queueId }) => queueId)).size, 1);
      const key = `key-${k}`;
      const expected = names("m", 60).filter((_, i) => i % 5 === k);
      assert.deepEqual(ids(await readAll(api, { key })), expected);
    }
  });

  test("publish() spreads messages without a key over all queues", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    for (const id of names("m", 12)) await api.messages.publish("orders", message(id));
    assert.deepEqual((await api.topics.get("orders")).endOffsets, [3, 3, 3, 3]);
  });

  for (const acks of ["durable", "replicated", "leader"] as const) {
    test(`publish() is answered and then visible with acks ${acks}`, async ({ api }) => {
      await api.topics.put("orders", { ...TOPIC, acks });
      await api.messages.publish("orders", message("m"));
      const batch = names("b", 3).map((id) => message(id));
      await api.messages.publishBatch("orders", batch, { atomic: true });
      let page = await read(api, { waitMs: 1000 });
      const seen = [...page.messages];
      while (seen.length < 4) {
        page = await read(api, { ...after(page.cursor), waitMs: 1000 });
        seen.push(...page.messages);
      }
      assert.deepEqual(ids(seen), ["m", ...names("b", 3)]);
    });
  }

  test("publish() stores all that is said about a message, byte for byte", async ({ api }) => {
    const body = Uint8Array.from({ length: 1000 }, (_, i) => i & 0xff);
    const attributes = {
      id: "given:id.1",
      key: "schlüssel",
      tag: "created",
      index: ["cust-9", "größe"],
      properties: [
        ["region", "eu"],
        ["region", "again"],
        ["", "empty name"],
      ],
      contentType: "application/json; charset=utf-8",
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      tracestate: "a=1,b=2",
    } as const;
    await api.messages.publish("orders", { ...attributes, body });
    await api.messages.publish("orders", { id: "bare", body: new Uint8Array(0) });
    const [rich, bare] = (await readAll(api)).map(decoded);
    assert(rich && bare);
    for (const [name, value] of Object.entries(attributes)) {
      assert.deepEqual(rich[name as keyof typeof attributes], value, name);
    }
    assert.deepEqual(new Uint8Array(rich.body), body);
    assert.equal(bare.key, undefined);
    assert.equal(bare.body.length, 0);
  });

  test("publish() has copied the body when it returns", async ({ api }) => {
    const body = utf8.encode("as given");
    const published = api.messages.publish("orders", { id: "m", body });
    body.fill(0);
    await published;
    const [stored] = await readAll(api);
    assert(stored);
    assert.equal(new TextDecoder().decode(decoded(stored).body), "as given");
  });

  test("publish() returns the cursor of the queue's next message", async ({ api }) => {
    await api.topics.put("orders", { ...TOPIC, queues: 2 });
    const first = await publishNow(api, "orders", message("a", { key: "k" }));
    await api.messages.publish("orders", message("b", { key: "k" }));
    await api.messages.publish("orders", message("c", { key: "k" }));
    const page = await read(api, after(first.cursor));
    assert.deepEqual(ids(page.messages), ["b", "c"]);
  });

  test("publish() takes a body of 4 MiB and not a byte more", async ({ api }) => {
    const body = new Uint8Array(LIMITS.bodyBytes + 1);
    await fails("message-too-large", api.messages.publish("orders", { id: "m", body }));
    await fails("topic-not-found", api.topics.get("orders"));
    await api.messages.publish("orders", { id: "m", body: body.subarray(1) });
    const [stored] = await readAll(api);
    assert(stored);
    assert.equal(decoded(stored).body.length, LIMITS.bodyBytes);
  });

  test("a fifo topic takes only messages with a key", async ({ api }) => {
    await api.topics.put("orders", { ...TOPIC, messageType: "fifo" });
    await fails("message-type-mismatch", api.messages.publish("orders", message("m")));
    await api.messages.publish("orders", message("k", { key: "key" }));
    assert.deepEqual(ids(await readAll(api)), ["k"]);
  });

  test("a normal topic takes only messages without one", async ({ api }) => {
    await api.topics.put("orders", { ...TOPIC, messageType: "normal" });
    const keyed = message("k", { key: "key" });
    await fails("message-type-mismatch", api.messages.publish("orders", keyed));
    await api.messages.publish("orders", message("m"));
    assert.deepEqual(ids(await readAll(api)), ["m"]);
  });

  test("publishBatch() answers each message in order, refusals among them", async ({ api }) => {
    await api.topics.put("orders", { ...TOPIC, messageType: "fifo" });
    const batch = [
      message("a", { key: "1" }),
      message("no key"),
      message("b", { key: "1" }),
      { id: "large", key: "1", body: new Uint8Array(LIMITS.bodyBytes + 1) },
      message("c", { key: "2" }),
    ];
    const results = await api.messages.publishBatch("orders", batch, { atomic: false });
    assert.deepEqual(
      results.map((one) => (one instanceof TidegateError ? one.code : one.id)),
      ["a", "message-type-mismatch", "b", "message-too-large", "c"],
    );
    assert.deepEqual(ids(await readAll(api)), ["a", "b", "c"]);
  });

  test("publishBatch() of nothing stores nothing", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    for (const atomic of [true, false]) {
      assert.deepEqual(await api.messages.publishBatch("orders", [], { atomic }), []);
    }
    assert.deepEqual(await readAll(api), []);
  });

  test("publishBatch() makes no topic when it stores nothing", async ({ api }) => {
    const large = { id: "large", body: new Uint8Array(4 * 1024 * 1024 + 1) };
    const results = await api.messages.publishBatch("unmade", [large], { atomic: false });
    assert(results[0] instanceof TidegateError);
    assert.equal(results[0].code, "message-too-large");
    assert.deepEqual(await api.messages.publishBatch("unmade", [], { atomic: false }), []);
    await fails("topic-not-found", api.topics.get("unmade"));
  });

  test("publishBatch() stores an atomic batch whole", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    const batch = names("m", 50).map((id) => message(id));
    const results = await api.messages.publishBatch("orders", batch, { atomic: true });
    assert.equal(results.filter((one) => one instanceof TidegateError).length, 0);
    const stored = await readAll(api);
    assert.deepEqual(ids(stored), names("m", 50));
    assert.deepEqual(
      stored.map(({ queueId, queueOffset, cursor, publishedAt }, i) => {
        return { id: `m${i}`, queueId, queueOffset, cursor, publishedAt };
      }),
      results,
    );
  });

  test("publishBatch() stores nothing of an atomic batch with one bad message", async ({ api }) => {
    await api.topics.put("orders", { ...TOPIC, messageType: "normal" });
    const bad = [
      ["message-type-mismatch", message("k", { key: "key" })],
      ["message-too-large", { id: "large", body: new Uint8Array(LIMITS.bodyBytes + 1) }],
    ] as const;
    for (const [code, one] of bad) {
      const batch = [message("a"), message("b"), one];
      await fails(code, api.messages.publishBatch("orders", batch, { atomic: true }));
    }
    assert.deepEqual((await api.topics.get("orders")).endOffsets, [0, 0, 0, 0]);
    await api.messages.publish("orders", message("after"));
    assert.deepEqual(ids(await readAll(api)), ["after"]);
  });

  test("publishBatch() refuses an atomic batch beyond a unit of the log", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    const body = new Uint8Array(LIMITS.bodyBytes);
    const batch = names("m", 4).map((id) => ({ id, body }));
    await fails("body-too-large", api.messages.publishBatch("orders", batch, { atomic: true }));
    assert.deepEqual(await readAll(api), []);
    await api.messages.publishBatch("orders", batch.slice(1), { atomic: true });
    assert.deepEqual(ids(await readAll(api, { limit: 1 })), names("m", 4).slice(1));
  });

  test("get() finds a message by its id", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    await Promise.all(
      names("m", 50).map((id) => api.messages.publish("orders", message(id, { key: id }))),
    );
    await api.messages.publish("bills", message("m1"));
    const all = await readAll(api);
    for (const i of [0, 1, 25, 49]) {
      assert.deepEqual(await api.messages.get("orders", `m${i}`), all[i]);
    }
    assert.equal((await api.messages.get("bills", "m1")).topic, "bills");
    await fails("message-not-found", api.messages.get("bills", "m2"));
    await fails("message-not-found", api.messages.get("orders", "m"));
    await fails("message-not-found", api.messages.get("orders", ""));
  });

  test("get() finds the newest of equal ids", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    for (let i = 0; i < 5; i++) {
      await api.messages.publish("orders", { id: "same", body: utf8.encode(`${i}`) });
      const found = decoded(await api.messages.get("orders", "same"));
      assert.equal(new TextDecoder().decode(found.body), `${i}`);
    }
  });
}
