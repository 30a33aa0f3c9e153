/**
 * {@linkcode BrokerApi}, transactions: all of their messages or none, decided
 * once, asked about until they are.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { BrokerApi, MessageType, NewTransaction, Transaction } from "../../src/broker/api.ts";
import {
  decoded,
  fails,
  GROUP,
  ids,
  isAnswered,
  lagOf,
  message,
  names,
  type Opened,
  present,
  publishNow,
  read,
  readAll,
  receive,
  type Test,
  TOPIC,
  turn,
} from "./broker_api_kit.ts";
import { testProducerGroups } from "./broker_api_producer_groups.ts";

const DAY = 86_400_000;
const ONE_QUEUE = { ...TOPIC, queues: 1 };

/** Half messages: `topic/id`, or `topic/id/key`. */
export async function begin(
  api: BrokerApi,
  halves: readonly string[],
  more: Partial<NewTransaction> = {},
): Promise<string> {
  const messages = halves.map((half) => {
    const [topic = "", id = "", key] = half.split("/");
    return { topic, message: message(id, { key }) };
  });
  const { id } = await api.transactions.begin({ producerGroup: "pay", messages, ...more });
  return id;
}

/** Time passes, and what is due then has had its moment. */
async function pass({ clock }: Pick<Opened, "clock">, ms: number): Promise<void> {
  clock.advance(ms);
  for (let turns = 0; turns < 5; turns++) await turn();
}

function checks(api: BrokerApi, wish: { max?: number; waitMs?: number } = {}, group = "pay") {
  return api.transactions.receiveChecks(group, { max: 100, waitMs: 0, ...wish });
}

async function listed(api: BrokerApi, more = {}): Promise<string[]> {
  const { transactions } = await api.transactions.list({ limit: 100, ...more });
  return transactions.map(({ id }) => id);
}

export function testTransactions(test: Test): void {
  testVisibility(test);
  testDecisions(test);
  testRefusals(test);
  testTopics(test);
  testShown(test);
  testChecks(test);
  testProducerGroups(test);
}

function testVisibility(test: Test): void {
  test("begin() stores messages that nobody sees", async ({ api }) => {
    await api.topics.put("orders", ONE_QUEUE);
    await api.groups.put("g", { ...GROUP, startFrom: "earliest" });
    await begin(api, ["orders/a", "orders/b"]);
    assert.deepEqual(await readAll(api), []);
    assert.deepEqual(await receive(api), []);
    assert.deepEqual((await api.topics.get("orders")).endOffsets, [0]);
    assert.equal((await lagOf(api)).ready, 0);
    await fails("message-not-found", api.messages.get("orders", "a"));
    await fails("message-not-found", api.messages.recall("orders", "a"));
  });

  test("commit() makes all of its messages visible, in order, in all topics", async ({ api }) => {
    await api.topics.put("orders", ONE_QUEUE);
    const id = await begin(api, ["orders/a", "bills/x/k", "orders/b"]);
    await api.transactions.commit(id);
    assert.deepEqual(ids(await readAll(api)), ["a", "b"]);
    assert.deepEqual(ids(await readAll(api, { topic: "bills" })), ["x"]);
    const [a, b] = await readAll(api);
    assert.deepEqual([a?.queueOffset, b?.queueOffset, a?.publishedAt], [0, 1, b?.publishedAt]);
  });

  test("rollback() hides its messages for good and leaves no gap", async ({ api }) => {
    await api.topics.put("orders", ONE_QUEUE);
    await publishNow(api, "orders", message("before"));
    const id = await begin(api, ["orders/a", "orders/b"]);
    await api.transactions.rollback(id);
    const after = await publishNow(api, "orders", message("after"));
    assert.equal(after.queueOffset, 1);
    assert.deepEqual(ids(await readAll(api)), ["before", "after"]);
    await fails("message-not-found", api.messages.get("orders", "a"));
  });

  test("commit() gives places behind what was visible before it", async ({ api }) => {
    await api.topics.put("orders", ONE_QUEUE);
    const one = await begin(api, ["orders/one"]);
    const two = await begin(api, ["orders/two"]);
    await publishNow(api, "orders", message("now"));
    await api.transactions.commit(two);
    await api.transactions.commit(one);
    assert.deepEqual(ids(await readAll(api)), ["now", "two", "one"]);
  });

  test("a committed message keeps the queue of its key and all it was given", async ({ api }) => {
    const published = await publishNow(api, "orders", message("first", { key: "k" }));
    const more = { key: "k", tag: "t", index: ["i"], properties: [["p", "v"] as const] };
    const messages = [{ topic: "orders", message: message("second", more) }];
    const { id } = await api.transactions.begin({ producerGroup: "pay", messages });
    await api.transactions.commit(id);
    const [, second] = await readAll(api, { key: "k" });
    assert(second);
    const { key, tag, index, properties, body } = decoded(second);
    assert.deepEqual([key, tag, index, properties], ["k", "t", ["i"], [["p", "v"]]]);
    assert.equal(new TextDecoder().decode(body), "body of second");
    assert.equal(second.queueId, published.queueId);
    assert.equal(second.queueOffset, published.queueOffset + 1);
  });

  test("get() finds a committed message where it is read", async ({ api, clock }) => {
    await api.topics.put("orders", ONE_QUEUE);
    const id = await begin(api, ["orders/a", "orders/b"]);
    clock.advance(60_000);
    await publishNow(api, "orders", message("between"));
    await api.transactions.commit(id);
    const all = await readAll(api);
    assert.deepEqual(await api.messages.get("orders", "b"), all[2]);
    await fails("already-delivered", api.messages.recall("orders", "b"));
  });

  test("get() finds a message of a transaction that is forgotten", async ({ api, clock }) => {
    const committed = await begin(api, ["orders/a"]);
    const rolledBack = await begin(api, ["orders/b"]);
    await api.transactions.commit(committed);
    await api.transactions.rollback(rolledBack);
    clock.advance(DAY + 1);
    await begin(api, ["orders/c"]);
    assert.deepEqual(await api.messages.get("orders", "a"), (await readAll(api))[0]);
    await fails("message-not-found", api.messages.get("orders", "b"));
  });

  test("commit() wakes a reader and a receive that wait", async ({ api }) => {
    await api.topics.put("orders", ONE_QUEUE);
    await api.groups.put("g", GROUP);
    const id = await begin(api, ["orders/a"]);
    const reading = read(api, { waitMs: 60_000 });
    const receiving = receive(api, { waitMs: 60_000 });
    assert.equal(await isAnswered(Promise.race([reading, receiving])), false);
    await api.transactions.commit(id);
    assert.deepEqual(ids((await reading).messages), ["a"]);
    assert.deepEqual(ids(await receiving), ["a"]);
  });
}

function testDecisions(test: Test): void {
  test("a decision repeated is answered alike, and shows its messages once", async ({ api }) => {
    const id = await begin(api, ["orders/a"]);
    for (let i = 0; i < 3; i++) await api.transactions.commit(id);
    assert.deepEqual(ids(await readAll(api)), ["a"]);
    const other = await begin(api, ["orders/b"]);
    for (let i = 0; i < 3; i++) await api.transactions.rollback(other);
    assert.deepEqual(ids(await readAll(api)), ["a"]);
  });

  test("the first decision holds", async ({ api }) => {
    const committed = await begin(api, ["orders/a"]);
    const rolledBack = await begin(api, ["orders/b"]);
    await api.transactions.commit(committed);
    await api.transactions.rollback(rolledBack);
    const one = await fails("transaction-decided", api.transactions.rollback(committed));
    assert.equal(one.details["state"], "committed");
    const other = await fails("transaction-decided", api.transactions.commit(rolledBack));
    assert.equal(other.details["state"], "rolledBack");
    assert.deepEqual(ids(await readAll(api)), ["a"]);
  });

  test("of decisions at once, one holds", async ({ api }) => {
    await api.topics.put("orders", ONE_QUEUE);
    const id = await begin(api, ["orders/a", "orders/b"]);
    const { transactions } = api;
    const decisions = [transactions.commit(id), transactions.rollback(id), transactions.commit(id)];
    const settled = await Promise.allSettled(decisions);
    assert.deepEqual(
      settled.map(({ status }) => status),
      ["fulfilled", "rejected", "fulfilled"],
    );
    assert.deepEqual(ids(await readAll(api)), ["a", "b"]);
  });

  test("a decision is remembered for 24 hours", async ({ api, clock }) => {
    const id = await begin(api, ["orders/a"]);
    await api.transactions.commit(id);
    clock.advance(DAY - 1000);
    await api.transactions.commit(id);
    await fails("transaction-decided", api.transactions.rollback(id));
    clock.advance(1001);
    await fails("transaction-not-found", api.transactions.commit(id));
    await fails("transaction-not-found", api.transactions.get(id));
    assert.deepEqual(await listed(api), []);
    await begin(api, ["orders/b"]);
    await fails("transaction-not-found", api.transactions.commit(id));
    assert.deepEqual(ids(await readAll(api)), ["a"]);
  });

  test("what was never begun cannot be decided", async ({ api }) => {
    await fails("transaction-not-found", api.transactions.commit("0-nobody"));
    await fails("transaction-not-found", api.transactions.rollback("0-nobody"));
    await fails("transaction-not-found", api.transactions.get("0-nobody"));
  });
}

function testRefusals(test: Test): void {
  const types: [messageType: MessageType, takes: boolean][] = [
    ["mixed", true],
    ["transaction", true],
    ["normal", false],
    ["fifo", false],
    ["delay", false],
  ];
  for (const [messageType, takes] of types) {
    test(`a ${messageType} topic ${takes ? "takes" : "refuses"} half messages`, async ({ api }) => {
      await api.topics.put("typed", { ...TOPIC, messageType });
      const begun = begin(api, ["orders/a", "typed/b/k"]);
      if (takes) await begun;
      else await fails("message-type-mismatch", begun);
      assert.equal((await listed(api)).length, takes ? 1 : 0);
      if (!takes) await fails("topic-not-found", api.topics.get("orders"));
    });
  }

  test("a transaction topic takes no other messages", async ({ api }) => {
    await api.topics.put("orders", { ...TOPIC, messageType: "transaction" });
    for (const more of [{}, { key: "k" }, { delayMs: 1000 }]) {
      await fails("message-type-mismatch", api.messages.publish("orders", message("a", more)));
    }
    assert.deepEqual(await readAll(api), []);
  });

  for (const delay of [{ delayMs: 1 }, { deliverAt: 1 }]) {
    test(`begin() refuses ${Object.keys(delay)[0]}`, async ({ api }) => {
      const messages = [{ topic: "orders", message: message("a", delay) }];
      const begun = api.transactions.begin({ producerGroup: "pay", messages });
      await fails("message-type-mismatch", begun);
      await fails("topic-not-found", api.topics.get("orders"));
    });
  }

  test("begin() refuses messages beyond 4 MiB", async ({ api }) => {
    const large = { id: "large", body: new Uint8Array(4 * 1024 * 1024 + 1) };
    const messages = [{ topic: "orders", message: large }];
    const begun = api.transactions.begin({ producerGroup: "pay", messages });
    await fails("message-too-large", begun);
    await fails("topic-not-found", api.topics.get("orders"));
  });

  test("begin() refuses messages beyond a unit of the log", async ({ api }) => {
    const messages = names("m", 5).map((id) => {
      return { topic: "orders", message: { id, body: new Uint8Array(4 * 1024 * 1024 - 100) } };
    });
    await fails("body-too-large", api.transactions.begin({ producerGroup: "pay", messages }));
    await fails("topic-not-found", api.topics.get("orders"));
  });

  test("begin() refuses a checkUrl that may not be called", async ({ api }) => {
    const checkUrl = "https://127.0.0.1/check";
    await fails("check-url-refused", begin(api, ["orders/a"], { checkUrl }));
    await fails("topic-not-found", api.topics.get("orders"));
  });

  test(
    "begin() makes no topic where that is off",
    async ({ api }) => {
      await api.topics.put("orders", TOPIC);
      await fails("topic-not-found", begin(api, ["orders/a", "bills/b"]));
      assert.deepEqual(await listed(api), []);
      await begin(api, ["orders/a"]);
    },
    { autoCreate: false },
  );
}

function testTopics(test: Test): void {
  test("delete() refuses a topic with an undecided transaction", async ({ api }) => {
    const id = await begin(api, ["orders/a", "bills/b"]);
    const busy = await fails("topic-busy", api.topics.delete("bills"));
    assert.equal(busy.details["transactions"], 1);
    await api.transactions.commit(id);
    await api.topics.delete("bills");
    assert.deepEqual(ids(await readAll(api)), ["a"]);
  });

  test("delete() with force rolls its transactions back", async ({ api }) => {
    const id = await begin(api, ["orders/a", "bills/b"]);
    const other = await begin(api, ["orders/c"]);
    await api.topics.delete("bills", { force: true });
    assert.equal((await api.transactions.get(id)).state, "rolledBack");
    await fails("transaction-decided", api.transactions.commit(id));
    assert.equal((await api.transactions.get(other)).state, "prepared");
    assert.deepEqual(await readAll(api), []);
  });

  test("what was rolled back does not come with the next topic of its name", async ({ api }) => {
    await begin(api, ["orders/a"]);
    await api.topics.delete("orders", { force: true });
    await api.topics.put("orders", ONE_QUEUE);
    const id = await begin(api, ["orders/b"]);
    await api.transactions.commit(id);
    assert.deepEqual(ids(await readAll(api)), ["b"]);
  });
}

function testShown(test: Test): void {
  test("get() shows it from begin to decision", async ({ api, clock }) => {
    const createdAt = clock.now();
    const id = await begin(api, ["orders/a/k", "bills/b"]);
    const messages = [
      { id: "a", topic: "orders", key: "k" },
      { id: "b", topic: "bills", key: undefined },
    ];
    const about = { id, producerGroup: "pay", messages, checksSent: 0, createdAt };
    const nextCheckAt = createdAt + 6000;
    const prepared: Transaction = { ...about, state: "prepared", nextCheckAt };
    assert.deepEqual(present(await api.transactions.get(id)), present(prepared));
    await api.transactions.commit(id);
    const committed: Transaction = { ...about, state: "committed", nextCheckAt: undefined };
    assert.deepEqual(present(await api.transactions.get(id)), present(committed));
  });

  test("list() goes through them in the order they began", async ({ api }) => {
    const all: string[] = [];
    for (const name of names("m", 7)) all.push(await begin(api, [`orders/${name}`]));
    await api.transactions.commit(all[2] as string);
    const pages: string[][] = [];
    for (let after: string | undefined; ; ) {
      const page = await api.transactions.list({ limit: 3, after });
      pages.push(page.transactions.map(({ id }) => id));
      after = page.next;
      if (after === undefined) break;
    }
    assert.deepEqual(pages, [all.slice(0, 3), all.slice(3, 6), all.slice(6)]);
    await fails("invalid-cursor", api.transactions.list({ limit: 3, after: "x" }));
  });

  test("list() by state and producer group", async ({ api }) => {
    const prepared = await begin(api, ["orders/a"]);
    const committed = await begin(api, ["orders/b"]);
    const rolledBack = await begin(api, ["orders/c"], { producerGroup: "other" });
    await api.transactions.commit(committed);
    await api.transactions.rollback(rolledBack);
    assert.deepEqual(await listed(api, { state: "prepared" }), [prepared]);
    assert.deepEqual(await listed(api, { state: "committed" }), [committed]);
    assert.deepEqual(await listed(api, { state: "rolledBack" }), [rolledBack]);
    assert.deepEqual(await listed(api, { state: "parked" }), []);
    assert.deepEqual(await listed(api, { producerGroup: "other" }), [rolledBack]);
    assert.deepEqual(await listed(api, { producerGroup: "pay", state: "rolledBack" }), []);
  });
}

function testChecks(test: Test): void {
  test("a check is due after 6 s, then every 30 s", async (opened) => {
    const { api } = opened;
    const id = await begin(api, ["orders/a/k"]);
    await pass(opened, 5999);
    assert.deepEqual(await checks(api), []);
    await pass(opened, 1);
    const messages = [{ id: "a", topic: "orders", key: "k" }];
    assert.deepEqual(await checks(api), [{ transactionId: id, messages, checkNumber: 1 }]);
    await pass(opened, 29_999);
    assert.deepEqual(await checks(api), []);
    await pass(opened, 1);
    assert.deepEqual(await checks(api), [{ transactionId: id, messages, checkNumber: 2 }]);
  });

  test("a check goes to one of those who ask, of its producer group", async (opened) => {
    const { api } = opened;
    const id = await begin(api, ["orders/a"]);
    await pass(opened, 6000);
    assert.deepEqual(await checks(api, {}, "other"), []);
    const taken = await Promise.all([checks(api), checks(api)]);
    assert.deepEqual(
      taken.flat().map(({ transactionId }) => transactionId),
      [id],
    );
  });

  test("checks come in the order they are due, as many as are wanted", async (opened) => {
    const { api, clock } = opened;
    const all: string[] = [];
    for (const name of names("m", 5)) {
      all.push(await begin(api, [`orders/${name}`]));
      clock.advance(10);
    }
    await pass(opened, 6000);
    const first = await checks(api, { max: 2 });
    const rest = await checks(api);
    const taken = [...first, ...rest].map(({ transactionId }) => transactionId);
    assert.equal(first.length, 2);
    assert.deepEqual(taken, all);
  });

  test("a decided transaction is not asked about", async (opened) => {
    const { api } = opened;
    const before = await begin(api, ["orders/a"]);
    await api.transactions.commit(before);
    const due = await begin(api, ["orders/b"]);
    await pass(opened, 6000);
    await api.transactions.rollback(due);
    assert.deepEqual(await checks(api), []);
  });

  test("checks that nobody receives are not counted", async (opened) => {
    const { api } = opened;
    const rules = { firstCheckMs: 1000, checkIntervalMs: 1000, maxChecks: 1 };
    const id = await begin(api, ["orders/a"], rules);
    await pass(opened, DAY);
    const { state, checksSent } = await api.transactions.get(id);
    assert.deepEqual([state, checksSent], ["prepared", 0]);
    assert.equal((await checks(api)).length, 1);
  });

  test("after the last check and another interval it is parked, and can be decided", async (opened) => {
    const { api } = opened;
    const rules = { firstCheckMs: 1000, checkIntervalMs: 2000, maxChecks: 2 };
    const committed = await begin(api, ["orders/a"], rules);
    const rolledBack = await begin(api, ["orders/b"], rules);
    await pass(opened, 1000);
    assert.equal((await checks(api)).length, 2);
    await pass(opened, 2000);
    assert.equal((await checks(api)).length, 2);
    await pass(opened, 1999);
    assert.deepEqual(await listed(api, { state: "parked" }), []);
    await pass(opened, 1);
    assert.deepEqual(await listed(api, { state: "parked" }), [committed, rolledBack]);
    const { checksSent, nextCheckAt } = await api.transactions.get(committed);
    assert.deepEqual([checksSent, nextCheckAt], [2, undefined]);
    await pass(opened, 30 * DAY);
    assert.deepEqual(await checks(api), []);
    assert.deepEqual(await listed(api, { state: "parked" }), [committed, rolledBack]);
    await api.transactions.commit(committed);
    await api.transactions.rollback(rolledBack);
    assert.deepEqual(ids(await readAll(api)), ["a"]);
    assert.deepEqual(await listed(api, { state: "parked" }), []);
  });

  test("receiveChecks() waits for a check to be due", async (opened) => {
    const { api } = opened;
    const id = await begin(api, ["orders/a"]);
    const waiting = checks(api, { waitMs: 60_000 });
    await pass(opened, 5999);
    assert.equal(await isAnswered(waiting), false);
    await pass(opened, 1);
    assert.deepEqual(
      (await waiting).map(({ transactionId }) => transactionId),
      [id],
    );
  });

  test("receiveChecks() given up takes nothing", async (opened) => {
    const { api } = opened;
    const abort = new AbortController();
    const wish = { max: 10, waitMs: 60_000 };
    const waiting = api.transactions.receiveChecks("pay", wish, { signal: abort.signal });
    await turn();
    abort.abort();
    assert.deepEqual(await waiting, []);
    await begin(api, ["orders/a"]);
    await pass(opened, 6000);
    assert.equal((await checks(api)).length, 1);
  });
}
