/**
 * {@linkcode BrokerApi}, publishing what may be repeated: idempotency keys and
 * producers' sequences.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { NewMessage, Published } from "../../src/broker/api.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { stableHash } from "../../storage/base/hash.ts";
import {
  after,
  fails,
  ids,
  message,
  publishNow,
  names,
  publishEach,
  read,
  readAll,
  type Test,
  TOPIC,
  turn,
  utf8,
} from "./broker_api_kit.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

/** As a gateway makes one for a producer that gives no id. */
function keyed(idempotencyKey: string, more: Partial<NewMessage> = {}): NewMessage {
  const body = utf8.encode(`body of ${idempotencyKey}`);
  return { ...message(nextId(), { body, idGenerated: true }), idempotencyKey, ...more };
}

let made = 0;
const nextId = () => `made-${made++}`;

const again = (published: Published): Published => ({ ...published, replayed: true });

function sequenced(seq: number, more: Partial<NewMessage> & { epoch?: number; by?: string } = {}) {
  const { epoch = 0, by = "p", ...rest } = more;
  return message(nextId(), { producer: { id: by, epoch, seq }, ...rest });
}

const unitOf = (seq: number, count: number, more: Parameters<typeof sequenced>[1] = {}) =>
  Array.from({ length: count }, (_, i) => sequenced(seq + i, more));

export function testIdempotency(test: Test): void {
  testKeys(test);
  testKeyedBatches(test);
  testSequences(test);
}

function testKeys(test: Test): void {
  test("a key's repeat gets the first answer, and is stored once", async ({ api, clock }) => {
    await api.topics.put("orders", TOPIC);
    const first = await publishNow(api, "orders", keyed("k"));
    assert.equal(first.replayed, undefined);
    for (let i = 0; i < 3; i++) {
      clock.advance(1000);
      assert.deepEqual(await api.messages.publish("orders", keyed("k")), again(first));
    }
    const stored = await readAll(api);
    assert.deepEqual(ids(stored), [first.id]);
    assert.equal(stored[0]?.cursor, first.cursor);
    assert.deepEqual((await read(api, after(first.cursor))).messages, []);
  });

  test("a key is known among many others, whatever came between", async ({ api, clock }) => {
    await api.topics.put("orders", TOPIC);
    const firsts = new Map<string, Published>();
    for (const key of names("k", 120)) {
      clock.advance(10);
      firsts.set(key, await api.messages.publish("orders", keyed(key)));
      if (firsts.size % 10 === 0) await publishEach(api, "orders", [nextId()]);
    }
    for (const [key, first] of firsts) {
      assert.deepEqual(await api.messages.publish("orders", keyed(key)), again(first), key);
    }
    assert.equal((await readAll(api)).length, 132);
  });

  for (const [what, wish] of [
    ["an idempotency key", () => keyed("k", { delayMs: 5000, id: "mine", idGenerated: false })],
    ["a place in a sequence", () => ({ ...sequenced(0), id: "mine", delayMs: 5000 })],
  ] as const) {
    test(`a delayed message with ${what} is scheduled once`, async ({ api, clock }) => {
      const first = await api.messages.publish("orders", wish());
      assert.equal(first.state, "scheduled");
      clock.advance(1000);
      assert.deepEqual(await api.messages.publish("orders", wish()), again(first));
      clock.advance(4000);
      while ((await readAll(api)).length === 0) await turn();
      assert.deepEqual(ids(await readAll(api)), ["mine"]);
      assert.deepEqual(await api.messages.publish("orders", wish()), again(first));
      assert.deepEqual(ids(await readAll(api)), ["mine"]);
    });
  }

  const others: [what: string, change: Partial<NewMessage>][] = [
    ["another body", { body: utf8.encode("other") }],
    ["a tag", { tag: "t" }],
    ["an index key", { index: ["i"] }],
    ["a property", { properties: [["a", "b"]] }],
    ["a content type", { contentType: "text/plain" }],
    ["an id of its own", { id: "mine", idGenerated: false }],
    ["a delay", { delayMs: 5000 }],
    ["a time", { deliverAt: 1_700_000_100_000 }],
  ];
  for (const [what, change] of others) {
    test(`a key used again with ${what} is a mismatch`, async ({ api }) => {
      await api.messages.publish("orders", keyed("k"));
      const error = await fails(
        "idempotency-mismatch",
        api.messages.publish("orders", keyed("k", change)),
      );
      assert.equal(typeof error.message, "string");
      const first = await api.messages.publish("orders", keyed("l", change));
      assert.deepEqual(await api.messages.publish("orders", keyed("l", change)), again(first));
      await fails("idempotency-mismatch", api.messages.publish("orders", keyed("l")));
      assert.equal((await readAll(api)).length, first.state ? 1 : 2);
    });
  }

  test("trace context and the order of properties are no part of the request", async ({ api }) => {
    const [a, b] = [["a", "1"] as const, ["b", "2"] as const];
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const first = await api.messages.publish("orders", keyed("k", { properties: [a, b] }));
    const other = keyed("k", { properties: [b, a], traceparent });
    assert.deepEqual(await api.messages.publish("orders", other), again(first));
  });

  test("a key counts within its topic and ordering key", async ({ api }) => {
    const wishes: [topic: string, more: Partial<NewMessage>][] = [
      ["orders", {}],
      ["others", {}],
      ["orders", { key: "a" }],
      ["orders", { key: "b" }],
    ];
    const firsts = [];
    for (const [topic, more] of wishes) {
      firsts.push(await api.messages.publish(topic, keyed("k", more)));
    }
    assert(firsts.every(({ replayed }) => replayed === undefined));
    for (const [i, [topic, more]] of wishes.entries()) {
      const repeat = await api.messages.publish(topic, keyed("k", more));
      assert.deepEqual(repeat, again(firsts[i] as Published));
    }
  });

  test("a key counts within one life of its topic", async ({ api, clock }) => {
    await api.messages.publish("orders", keyed("k"));
    await api.topics.delete("orders");
    clock.advance(1);
    const fresh = await publishNow(api, "orders", keyed("k"));
    assert.deepEqual([fresh.replayed, fresh.queueOffset], [undefined, 0]);
    assert.deepEqual(await api.messages.publish("orders", keyed("k")), again(fresh));
  });

  test("a key is known until a day has passed since the first, and not longer", async ({
    api,
    clock,
  }) => {
    const first = await api.messages.publish("orders", keyed("k"));
    clock.advance(DAY_MS - 1);
    assert.deepEqual(await api.messages.publish("orders", keyed("k")), again(first));
    clock.advance(1);
    const next = await api.messages.publish("orders", keyed("k", { body: utf8.encode("next") }));
    assert.equal(next.replayed, undefined);
    assert.notEqual(next.id, first.id);
    await fails("idempotency-mismatch", api.messages.publish("orders", keyed("k")));
  });

  test("a message goes to the queue of its ordering key, else of its idempotency key", async ({
    api,
  }) => {
    await api.topics.put("orders", { ...TOPIC, queues: 16 });
    for (const name of names("n", 20)) {
      const plain = await api.messages.publish("orders", keyed(name));
      assert.equal(plain.queueId, stableHash(name) % 16);
      const ordered = await api.messages.publish("orders", keyed("k", { key: name }));
      assert.equal(ordered.queueId, stableHash(name) % 16);
    }
  });

  test("of many at once with one key exactly one is stored", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    const calls = names("c", 20).map(() => api.messages.publish("orders", keyed("k")));
    const settled = await Promise.allSettled(calls);
    const fresh = settled.filter((one) => one.status === "fulfilled" && !one.value.replayed);
    assert.equal(fresh.length, 1);
    for (const one of settled) {
      if (one.status === "fulfilled") continue;
      assert(one.reason instanceof TidegateError);
      assert.equal(one.reason.code, "idempotency-in-progress");
    }
    assert.equal((await readAll(api)).length, 1);
    assert.equal((await api.messages.publish("orders", keyed("k"))).replayed, true);
  });

  test("a message that was refused leaves its key free", async ({ api }) => {
    await api.topics.put("orders", { ...TOPIC, messageType: "fifo" });
    await fails("message-type-mismatch", api.messages.publish("orders", keyed("k")));
    const first = await api.messages.publish("orders", keyed("k", { key: "a" }));
    assert.equal(first.replayed, undefined);
  });

  test("keyed and other messages of an ordering key keep their order of call", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    const calls = names("m", 60).map((id, i) =>
      api.messages.publish(
        "orders",
        message(id, { key: "a", ...(i % 2 === 0 && { idempotencyKey: id }) }),
      ),
    );
    await Promise.all(calls);
    assert.deepEqual(ids(await readAll(api)), names("m", 60));
  });
}

function testKeyedBatches(test: Test): void {
  const batch = (prefix: string, count: number, from = 0) =>
    Array.from({ length: count }, (_, i) => keyed(`${prefix}#${from + i}`));

  test("publishBatch() judges each message by its own key", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    const options = { atomic: false };
    const firsts = await api.messages.publishBatch("orders", batch("k", 3), options);
    const other = keyed("k#1", { body: utf8.encode("other") });
    const [a, , c] = batch("k", 3);
    const wishes = [a, other, c, keyed("k#3")] as NewMessage[];
    const results = await api.messages.publishBatch("orders", wishes, options);
    assert.deepEqual(results[0], again(firsts[0] as Published));
    assert(results[1] instanceof TidegateError);
    assert.equal(results[1].code, "idempotency-mismatch");
    assert.deepEqual(results[2], again(firsts[2] as Published));
    assert(!(results[3] instanceof TidegateError) && results[3]?.replayed === undefined);
    assert.equal((await readAll(api)).length, 4);
  });

  test("publishBatch() takes messages with and without keys", async ({ api }) => {
    const wishes = () => [keyed("k"), message(nextId()), keyed("l")];
    const options = { atomic: false };
    await api.messages.publishBatch("orders", wishes(), options);
    const results = await api.messages.publishBatch("orders", wishes(), options);
    const replayed = results.map((one) => (one instanceof TidegateError ? one : one.replayed));
    assert.deepEqual(replayed, [true, undefined, true]);
  });

  test("publishBatch() atomic is answered again as a whole", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    const options = { atomic: true };
    const firsts = await api.messages.publishBatch("orders", batch("k", 40), options);
    const repeat = await api.messages.publishBatch("orders", batch("k", 40), options);
    assert.deepEqual(
      repeat,
      firsts.map((one) => again(one as Published)),
    );
    assert.equal((await readAll(api)).length, 40);
  });

  const partly: [what: string, messages: () => NewMessage[]][] = [
    ["repeated in part", () => batch("k", 3, 1)],
    ["with one other body", () => [keyed("k#0"), keyed("k#1", { body: utf8.encode("other") })]],
    ["with a key twice", () => [keyed("l"), keyed("l")]],
  ];
  for (const [what, messages] of partly) {
    test(`publishBatch() atomic ${what} is a mismatch, and nothing is stored`, async ({ api }) => {
      const options = { atomic: true };
      await api.messages.publishBatch("orders", batch("k", 2), options);
      await fails("idempotency-mismatch", api.messages.publishBatch("orders", messages(), options));
      assert.equal((await readAll(api)).length, 2);
    });
  }
}

function testSequences(test: Test): void {
  test("a sequence is stored in order, and its repeats are answered again", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    const firsts: Published[] = [];
    for (let seq = 0; seq < 8; seq++) {
      firsts.push(await api.messages.publish("orders", sequenced(seq)));
      for (let back = Math.max(0, seq - 4); back <= seq; back++) {
        const repeat = await api.messages.publish("orders", sequenced(back));
        assert.deepEqual(repeat, again(firsts[back] as Published));
      }
    }
    assert(firsts.every(({ queueId }) => queueId === stableHash("p") % 4));
    assert.equal((await readAll(api)).length, 8);
  });

  test("a sequence with a gap is refused, saying what is expected", async ({ api }) => {
    const gap = async (message: NewMessage, expectedSeq: number) => {
      const error = await fails("producer-sequence-gap", api.messages.publish("orders", message));
      assert.equal(error.details["expectedSeq"], expectedSeq);
    };
    await gap(sequenced(1), 0);
    await api.messages.publish("orders", sequenced(0));
    await gap(sequenced(2), 1);
    await gap(sequenced(7, { epoch: 1 }), 0);
    await api.messages.publish("orders", sequenced(1));
    assert.equal((await readAll(api)).length, 2);
  });

  test("a repeat of long ago is refused, saying what is expected", async ({ api }) => {
    for (let seq = 0; seq < 6; seq++) await api.messages.publish("orders", sequenced(seq));
    const error = await fails(
      "producer-sequence-old",
      api.messages.publish("orders", sequenced(0)),
    );
    assert.equal(error.details["expectedSeq"], 6);
    assert.equal((await api.messages.publish("orders", sequenced(1))).replayed, true);
  });

  test("a newer epoch begins at 0 and fences the older one", async ({ api }) => {
    await api.messages.publish("orders", sequenced(0));
    await api.messages.publish("orders", sequenced(1));
    const taken = await api.messages.publish("orders", sequenced(0, { epoch: 7 }));
    assert.equal(taken.replayed, undefined);
    for (const seq of [0, 1, 2]) {
      const error = await fails(
        "producer-fenced",
        api.messages.publish("orders", sequenced(seq, { epoch: 6 })),
      );
      assert.equal(error.details["epoch"], 7);
    }
    const repeat = await api.messages.publish("orders", sequenced(0, { epoch: 7 }));
    assert.deepEqual(repeat, again(taken));
    await api.messages.publish("orders", sequenced(1, { epoch: 7 }));
  });

  test("a sequence counts within topic, producer and ordering key", async ({ api }) => {
    const wishes: [topic: string, more: Parameters<typeof sequenced>[1]][] = [
      ["orders", {}],
      ["others", {}],
      ["orders", { by: "q" }],
      ["orders", { key: "a" }],
      ["orders", { key: "b" }],
    ];
    for (let seq = 0; seq < 3; seq++) {
      for (const [topic, more] of wishes) {
        const published = await api.messages.publish(topic, sequenced(seq, more));
        assert.equal(published.replayed, undefined);
      }
    }
    await api.topics.delete("orders");
    await api.messages.publish("orders", sequenced(0));
    await api.messages.publish("others", sequenced(3));
  });

  test("a producer is forgotten when it was idle for seven days", async ({ api, clock }) => {
    await api.messages.publish("orders", sequenced(0));
    clock.advance(7 * DAY_MS - 1);
    await api.messages.publish("orders", sequenced(1));
    clock.advance(7 * DAY_MS);
    await fails("producer-sequence-gap", api.messages.publish("orders", sequenced(2)));
    const anew = await api.messages.publish("orders", sequenced(0));
    assert.equal(anew.replayed, undefined);
  });

  test("publishBatch() takes as many places as it has messages", async ({ api }) => {
    await api.topics.put("orders", TOPIC);
    const options = { atomic: true };
    const firsts = await api.messages.publishBatch("orders", unitOf(0, 30), options);
    await api.messages.publish("orders", sequenced(30));
    const last = await api.messages.publishBatch("orders", unitOf(31, 3), options);
    const all = [...firsts, ...last] as Published[];
    const repeat = await api.messages.publishBatch("orders", unitOf(0, 30), options);
    assert.deepEqual(repeat, all.slice(0, 30).map(again));
    const part = await api.messages.publishBatch("orders", unitOf(10, 2), options);
    assert.deepEqual(part, all.slice(10, 12).map(again));
    const across = await api.messages.publishBatch("orders", unitOf(29, 3), options);
    assert.deepEqual(
      across.map((one) => (one as Published).replayed),
      [true, true, true],
    );
    const beyond = api.messages.publishBatch("orders", unitOf(32, 4), options);
    assert.equal((await fails("producer-sequence-gap", beyond)).details["expectedSeq"], 34);
    assert.equal((await readAll(api)).length, 34);
  });

  const bad: [what: string, messages: NewMessage[], atomic: boolean][] = [
    ["that is not atomic", unitOf(0, 2), false],
    ["whose places do not follow each other", [sequenced(0), sequenced(2)], true],
    ["of two ordering keys", [sequenced(0, { key: "a" }), sequenced(1, { key: "b" })], true],
    ["of two producers", [sequenced(0), sequenced(1, { by: "q" })], true],
    ["with idempotency keys", [sequenced(0, { idempotencyKey: "k" })], true],
    ["of which some have no place", [sequenced(0), message("plain")], true],
  ];
  for (const [what, messages, atomic] of bad) {
    test(`publishBatch() refuses a sequence ${what}`, async ({ api }) => {
      await api.topics.put("orders", TOPIC);
      await fails("invalid-request", api.messages.publishBatch("orders", messages, { atomic }));
      assert.deepEqual(await readAll(api), []);
    });
  }
}
