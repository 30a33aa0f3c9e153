/**
 * The payment of docs/examples does what it says: whatever dies in between, the
 * database and the topic agree.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  answerChecks,
  onCheck,
  pay,
  type Payment,
  type Payments,
} from "../../docs/examples/payment.ts";
import { openTestBroker } from "../suites/open_broker.ts";
import { ids, readAll, turn } from "../suites/broker_api_kit.ts";
import { createGateway } from "../../src/gateway/app.ts";

class Table implements Payments {
  readonly rows = new Map<string, Payment>();
  readonly forbidden = new Set<string>();
  /** Before or after its next write, the connection breaks. */
  breaks: "before" | "after" | undefined;

  insert(payment: Payment, transactionId: string): Promise<void> {
    if (this.breaks !== "before" && !this.forbidden.has(transactionId)) {
      this.rows.set(transactionId, payment);
    }
    return this.breaks ? Promise.reject(new Error("connection reset")) : Promise.resolve();
  }

  has = (id: string) => Promise.resolve(this.rows.has(id));
  forbid = (id: string) => Promise.resolve(void this.forbidden.add(id));
}

const GATEWAY = { url: "http://gateway.test", key: "secret" };
const PAYMENT = { id: "p-1", order: "order-17", cents: 1200 };

/** A gateway over the real broker, behind `fetch`. */
async function withGateway(
  body: (world: Awaited<ReturnType<typeof openTestBroker>>) => Promise<void>,
): Promise<void> {
  const broker = await openTestBroker();
  const { api, clock } = broker;
  const gateway = createGateway({
    broker: api,
    apiKeys: [GATEWAY.key],
    corsOrigins: [],
    version: "0.0.0",
    report: (error) => {
      throw error;
    },
    now: () => clock.now(),
    after: (ms, run) => clock.after(ms, run),
  });
  const { fetch } = globalThis;
  globalThis.fetch = async (...wanted: Parameters<typeof fetch>) => {
    const request = new Request(...wanted);
    return await gateway.fetch(request, { holdOpen: () => {} });
  };
  try {
    await body(broker);
  } finally {
    globalThis.fetch = fetch;
    await broker.close();
  }
}

describe("the payment example", () => {
  it("commits after its database write", () =>
    withGateway(async ({ api }) => {
      const db = new Table();
      await pay(GATEWAY, db, PAYMENT);
      assert.deepEqual(ids(await readAll(api, { topic: "payments" })), ["p-1"]);
      assert.equal(db.rows.size, 1);
    }));

  for (const [breaks, paid] of [
    ["before", 0],
    ["after", 1],
  ] as const) {
    it(`answers the check when the connection broke ${breaks} the write`, () =>
      withGateway(async ({ api, clock }) => {
        const db = new Table();
        db.breaks = breaks;
        await assert.rejects(pay(GATEWAY, db, PAYMENT), /Cannot say yet/);
        assert.equal(await answerChecks(GATEWAY, db), 0, "no check is due yet");
        clock.advance(6000);
        await turn();
        assert.equal(await answerChecks(GATEWAY, db), 1);
        assert.equal((await readAll(api, { topic: "payments" })).length, paid);
        assert.equal(db.rows.size, paid);
      }));
  }

  it("says the same to a check-back", async () => {
    const db = new Table();
    await db.insert(PAYMENT, "0-there");
    for (const [transactionId, decision] of [
      ["0-there", "commit"],
      ["0-gone", "rollback"],
    ]) {
      const request = new Request("https://pay.example/check", {
        method: "POST",
        body: JSON.stringify({ data: { transactionId } }),
      });
      assert.deepEqual(await (await onCheck(db, request)).json(), { decision });
    }
    assert.deepEqual([...db.forbidden], ["0-gone"]);
  });
});
