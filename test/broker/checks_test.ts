/**
 * Check-backs by checkUrl: what is called, when, how often, and what comes of
 * each answer; through restarts.
 *
 * @module
 */

import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import type { CheckAnswer, CheckCall, ChecksPort } from "../../src/broker/ports.ts";
import { fails, ids, names, publishEach, readAll, turn } from "../suites/broker_api_kit.ts";
import { begin } from "../suites/broker_api_transactions.ts";
import { openTestBroker, openTestStandby, type TestBroker } from "../suites/open_broker.ts";

const checkUrl = "https://pay.example/check";
const UNKNOWN: CheckAnswer = { kind: "decision", decision: "unknown" };

/** Whoever is called: it keeps the calls and answers when told to. */
class Callee implements ChecksPort {
  readonly calls: CheckCall[] = [];
  readonly signals: AbortSignal[] = [];
  readonly #answers: PromiseWithResolvers<CheckAnswer>[] = [];
  fault: string | undefined;
  /** Given at once. */
  answer: CheckAnswer | Error | undefined;

  readonly caller = {
    call: (check: CheckCall, { signal }: { signal: AbortSignal }): Promise<CheckAnswer> => {
      this.calls.push(check);
      this.signals.push(signal);
      if (this.answer instanceof Error) return Promise.reject(this.answer);
      if (this.answer) return Promise.resolve(this.answer);
      const answer = Promise.withResolvers<CheckAnswer>();
      this.#answers.push(answer);
      return answer.promise;
    },
  };

  secretFault(): string | undefined {
    return undefined;
  }

  urlFault(): string | undefined {
    return this.fault;
  }

  get waiting(): number {
    return this.#answers.length;
  }

  /** Answers the call that has waited longest. */
  async reply(answer: CheckAnswer): Promise<void> {
    this.#answers.shift()?.resolve(answer);
    await settled();
  }
}

async function settled(): Promise<void> {
  for (let turns = 0; turns < 5; turns++) await turn();
}

async function pass({ clock }: TestBroker, ms: number): Promise<void> {
  clock.advance(ms);
  await settled();
}

async function open(answer?: CheckAnswer | Error) {
  const callee = new Callee();
  callee.answer = answer;
  const broker = await openTestBroker({ checks: callee });
  return { callee, broker, api: broker.api };
}

/** Killed, it is down for so long. */
async function restart(broker: TestBroker, downMs = 0): Promise<TestBroker> {
  const disk = broker.disk.clone();
  await broker.close(); // or it would go on, beside the other
  broker.clock.advance(downMs);
  return broker.reopen(disk);
}

/** It leads, and what it appends is confirmed until `holdBack` is called. */
async function openLeading(checks: Callee) {
  const { standby, clock } = await openTestStandby({ checks });
  let held = false;
  standby.listen({
    appended() {},
    synced(end) {
      standby.replicated(end);
      if (!held) standby.confirm(end);
    },
    trimmed() {},
    damaged() {},
  });
  const { api, close } = await standby.lead(1);
  const holdBack = () => {
    held = true;
  };
  return { api, clock, close, holdBack };
}

describe("a check by checkUrl", () => {
  it("is not made by a node that stopped leading before it was sure of it", async () => {
    const callee = new Callee();
    const { api, clock, close, holdBack } = await openLeading(callee);
    await begin(api, ["orders/a"], { checkUrl });
    holdBack();
    const unsure = assert.rejects(publishEach(api, "orders", ["m"]), { code: "outcome-unknown" });
    clock.advance(86_400_000);
    await settled();
    const unheard: unknown[] = [];
    const hear = (reason: unknown) => void unheard.push(reason);
    process.on("unhandledRejection", hear);
    await close();
    await unsure;
    await turn();
    process.off("unhandledRejection", hear);
    assert.deepEqual([callee.calls, unheard], [[], []]);
  });

  it("is called with what the transaction is, and the secret of its producer group", async () => {
    const { callee, broker, api } = await open(UNKNOWN);
    const rules = { firstCheckMs: 1000, checkIntervalMs: 1000, maxChecks: 15 };
    await api.transactions.producers.put("pay", { ...rules, checkUrl, checkSecret: "whsec_x" });
    const id = await begin(api, ["orders/a/k", "bills/b"]);
    await pass(broker, 999);
    assert.deepEqual(callee.calls, []);
    await pass(broker, 1);
    const messages = [
      { id: "a", topic: "orders", key: "k" },
      { id: "b", topic: "bills", key: undefined },
    ];
    const about = { url: checkUrl, secret: "whsec_x", transactionId: id, producerGroup: "pay" };
    assert.deepEqual(callee.calls, [{ ...about, checkNumber: 1, messages }]);
    assert.deepEqual(await api.transactions.receiveChecks("pay", { max: 10, waitMs: 0 }), []);
    await broker.close();
  });

  it("decides by its answer", async () => {
    const { callee, broker, api } = await open();
    const committed = await begin(api, ["orders/a"], { checkUrl });
    broker.clock.advance(1);
    const rolledBack = await begin(api, ["orders/b"], { checkUrl });
    await pass(broker, 6000);
    assert.equal(callee.waiting, 2);
    await callee.reply({ kind: "decision", decision: "commit" });
    await callee.reply({ kind: "decision", decision: "rollback" });
    const { state, checksSent } = await api.transactions.get(committed);
    assert.deepEqual([state, checksSent], ["committed", 1]);
    assert.equal((await api.transactions.get(rolledBack)).state, "rolledBack");
    assert.deepEqual(ids(await readAll(api)), ["a"]);
    await pass(broker, 86_000_000);
    assert.equal(callee.calls.length, 2);
    await broker.close();
  });

  it("does not overrule who was faster", async () => {
    const { callee, broker, api } = await open();
    const id = await begin(api, ["orders/a"], { checkUrl });
    await pass(broker, 6000);
    await api.transactions.rollback(id);
    await callee.reply({ kind: "decision", decision: "commit" });
    assert.equal((await api.transactions.get(id)).state, "rolledBack");
    assert.deepEqual(await readAll(api), []);
    await broker.close();
  });

  const undecided: [name: string, answer: CheckAnswer | Error][] = [
    ["unknown", UNKNOWN],
    ["a failure", { kind: "failed", reason: "it timed out" }],
    ["a caller that throws", new Error("defect")],
  ];
  for (const [name, answer] of undecided) {
    it(`comes again after ${name}, and the transaction is parked in the end`, async () => {
      const { callee, broker, api } = await open(answer);
      const id = await begin(api, ["orders/a"], { checkUrl, maxChecks: 3 });
      for (const [ms, calls] of [
        [6000, 1],
        [29_999, 1],
        [1, 2],
        [30_000, 3],
        [30_000, 3],
      ] as const) {
        await pass(broker, ms);
        assert.equal(callee.calls.length, calls);
      }
      assert.deepEqual(
        callee.calls.map(({ checkNumber }) => checkNumber),
        [1, 2, 3],
      );
      assert.equal((await api.transactions.get(id)).state, "parked");
      await api.transactions.commit(id);
      assert.deepEqual(ids(await readAll(api)), ["a"]);
      await broker.close();
    });
  }

  it("that may not be sent is not counted, and tried again after the interval", async () => {
    const { callee, broker, api } = await open({ kind: "refused", reason: "loopback" });
    const id = await begin(api, ["orders/a"], { checkUrl, maxChecks: 1 });
    await pass(broker, 6000);
    for (let i = 1; i <= 3; i++) {
      assert.equal(callee.calls.length, i);
      const { state, checksSent } = await api.transactions.get(id);
      assert.deepEqual([state, checksSent], ["prepared", 0]);
      await pass(broker, 30_000);
    }
    await broker.close();
  });

  it("is one of 64 under way at most, and the others follow", async () => {
    const { callee, broker, api } = await open();
    for (const name of names("m", 100)) await begin(api, [`orders/${name}`], { checkUrl });
    await pass(broker, 6000);
    assert.equal(callee.calls.length, 64);
    await callee.reply(UNKNOWN);
    assert.equal(callee.calls.length, 65);
    while (callee.waiting > 0) await callee.reply(UNKNOWN);
    assert.equal(callee.calls.length, 100);
    assert.equal(new Set(callee.calls.map(({ transactionId }) => transactionId)).size, 100);
    await broker.close();
  });

  it("slower than its interval is not sent beside itself", async () => {
    const { callee, broker, api } = await open();
    const id = await begin(api, ["orders/a"], { checkUrl, checkIntervalMs: 1000, maxChecks: 9 });
    await pass(broker, 6000);
    await pass(broker, 5000);
    assert.equal(callee.calls.length, 1);
    await callee.reply(UNKNOWN);
    assert.equal(callee.calls.length, 2);
    await callee.reply({ kind: "decision", decision: "commit" });
    assert.equal((await api.transactions.get(id)).checksSent, 2);
    await broker.close();
  });

  it("comes after a restart: when it is due, with the next number", async () => {
    const { callee, broker, api } = await open(UNKNOWN);
    const id = await begin(api, ["orders/a"], { checkUrl });
    await pass(broker, 6000);
    const next = await restart(broker);
    await pass(next, 29_999);
    assert.equal(callee.calls.length, 1);
    const late = await restart(next);
    await pass(late, 1);
    assert.deepEqual(
      callee.calls.map(({ transactionId, checkNumber }) => [transactionId, checkNumber]),
      [
        [id, 1],
        [id, 2],
      ],
    );
    await late.close();
  });

  it("is sent at once when it was due while the node was down", async () => {
    const { callee, broker, api } = await open({ kind: "decision", decision: "commit" });
    await begin(api, ["orders/a"], { checkUrl });
    const next = await restart(broker, 3_600_000);
    await settled();
    assert.equal(callee.calls.length, 1);
    assert.deepEqual(ids(await readAll(next.api)), ["a"]);
    await next.close();
  });

  it("under way ends with the node", async () => {
    const { callee, broker, api } = await open();
    await begin(api, ["orders/a"], { checkUrl });
    await pass(broker, 6000);
    assert.equal(callee.signals[0]?.aborted, false);
    await broker.close();
    assert.equal(callee.signals[0]?.aborted, true);
    await callee.reply({ kind: "decision", decision: "commit" }); // not heard: the log is closed
  });

  it("is refused by a node that makes no calls, and with an address it may not call", async () => {
    const { callee, broker, api } = await open();
    callee.fault = "it is private";
    await fails("check-url-refused", begin(api, ["orders/a"], { checkUrl }));
    await broker.close();
  });
});

describe("receiveChecks()", () => {
  it("takes back what its caller did not wait for", async () => {
    const broker = await openTestBroker();
    const id = await begin(broker.api, ["orders/a"]);
    await pass(broker, 6000);
    const abort = new AbortController();
    const wish = { max: 10, waitMs: 0 };
    const taken = broker.api.transactions.receiveChecks("pay", wish, { signal: abort.signal });
    abort.abort();
    assert.deepEqual(await taken, []);
    await settled();
    const [check] = await broker.api.transactions.receiveChecks("pay", wish);
    assert.deepEqual([check?.transactionId, check?.checkNumber], [id, 1]);
    await broker.close();
  });

  it("ends with the drain", async () => {
    const broker = await openTestBroker();
    const waiting = broker.api.transactions.receiveChecks("pay", { max: 1, waitMs: 60_000 });
    await turn();
    broker.drain();
    assert.deepEqual(await waiting, []);
    await broker.close();
  });
});

describe("half messages", () => {
  it("that wait have a bound", async () => {
    const broker = await openTestBroker({ halvesMax: 300 });
    const halves = names("m", 100).map((name) => `orders/${name}`);
    for (let i = 0; i < 3; i++) await begin(broker.api, halves);
    await fails("overloaded", begin(broker.api, ["orders/one"]));
    const { transactions } = await broker.api.transactions.list({ limit: 1 });
    await broker.api.transactions.rollback(transactions[0]?.id as string);
    await begin(broker.api, halves);
    await broker.close();
  });
});
