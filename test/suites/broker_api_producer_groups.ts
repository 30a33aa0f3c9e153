/**
 * {@linkcode BrokerApi}, producer groups: defaults for transactions.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { ProducerGroupConfig, ProducerGroupPatch } from "../../src/broker/api.ts";
import { fails, message, type Test } from "./broker_api_kit.ts";

const RULES: ProducerGroupConfig = {
  firstCheckMs: 6000,
  checkIntervalMs: 30_000,
  maxChecks: 15,
};
const URL_A = "https://pay.example/check";

export function testProducerGroups(test: Test): void {
  test("producers.put() creates or matches", async ({ api, clock }) => {
    const { producers } = api.transactions;
    const config = { ...RULES, checkUrl: URL_A, checkSecret: "whsec_a" };
    const { created, producerGroup } = await producers.put("pay", config);
    assert.equal(created, true);
    const { checkSecret: _, ...shown } = config;
    const { generation } = producerGroup;
    const about = { name: "pay", generation, createdAt: clock.now(), checkSecretSet: true };
    assert.deepEqual({ checkUrl: undefined, ...producerGroup }, { ...shown, ...about });
    assert.deepEqual(await producers.put("pay", config), { created: false, producerGroup });
    assert.deepEqual(await producers.get("pay"), producerGroup);
    for (const other of [{ maxChecks: 3 }, { checkSecret: "whsec_b" }, { checkUrl: undefined }]) {
      await fails("producer-group-exists", producers.put("pay", { ...config, ...other }));
    }
    assert.deepEqual(await producers.get("pay"), producerGroup);
  });

  test("producers.put() refuses a checkUrl that may not be called", async ({ api }) => {
    const { producers } = api.transactions;
    const config = { ...RULES, checkUrl: "https://localhost/check" };
    await fails("check-url-refused", producers.put("pay", config));
    await fails("producer-group-not-found", producers.get("pay"));
  });

  test("producers.list() pages in order of name", async ({ api }) => {
    const { producers } = api.transactions;
    for (const name of ["b", "c", "a"]) await producers.put(name, RULES);
    const first = await producers.list({ limit: 2 });
    assert.deepEqual(
      first.producerGroups.map(({ name }) => name),
      ["a", "b"],
    );
    assert.equal(first.next, "b");
    const second = await producers.list({ limit: 2, after: first.next });
    assert.deepEqual(second, { producerGroups: [await producers.get("c")] });
    await producers.delete("c");
    assert.deepEqual(await producers.list({ limit: 2, after: "b" }), { producerGroups: [] });
  });

  const patches: [does: string, change: ProducerGroupPatch, after: object][] = [
    ["one rule", { maxChecks: 3 }, { maxChecks: 3 }],
    ["nothing", {}, {}],
    ["another address", { checkUrl: "https://b.example/" }, { checkUrl: "https://b.example/" }],
    ["no address", { checkUrl: null }, { checkUrl: undefined }],
    ["no secret", { checkSecret: null }, { checkSecretSet: false }],
  ];
  for (const [does, change, after] of patches) {
    test(`producers.patch(): ${does}`, async ({ api }) => {
      const { producers } = api.transactions;
      const config = { ...RULES, checkUrl: URL_A, checkSecret: "whsec_a" };
      const { producerGroup } = await producers.put("pay", config);
      const expected = { ...producerGroup, ...after };
      const none = { checkUrl: undefined };
      assert.deepEqual({ ...none, ...(await producers.patch("pay", change)) }, expected);
      assert.deepEqual({ ...none, ...(await producers.get("pay")) }, expected);
    });
  }

  test("producers.patch() refuses a checkUrl that may not be called", async ({ api }) => {
    const { producers } = api.transactions;
    const { producerGroup } = await producers.put("pay", RULES);
    const change = { checkUrl: "https://localhost/check" };
    await fails("check-url-refused", producers.patch("pay", change));
    assert.deepEqual(await producers.get("pay"), producerGroup);
  });

  test("producers.delete() leaves its transactions", async ({ api }) => {
    const { producers } = api.transactions;
    await producers.put("pay", RULES);
    const messages = [{ topic: "orders", message: message("a") }];
    const { id } = await api.transactions.begin({ producerGroup: "pay", messages });
    await producers.delete("pay");
    await fails("producer-group-not-found", producers.get("pay"));
    await fails("producer-group-not-found", producers.delete("pay"));
    await fails("producer-group-not-found", producers.patch("pay", {}));
    await api.transactions.commit(id);
  });

  test("a transaction has the rules of its producer group, unless it has its own", async ({
    api,
    clock,
  }) => {
    const { producers } = api.transactions;
    await producers.put("pay", { ...RULES, firstCheckMs: 1000 });
    const messages = [{ topic: "orders", message: message("a") }];
    const now = clock.now();
    const firstCheckAt = async (wish: object) => {
      const { id } = await api.transactions.begin({ producerGroup: "pay", messages, ...wish });
      return ((await api.transactions.get(id)).nextCheckAt ?? 0) - now;
    };
    assert.equal(await firstCheckAt({}), 1000);
    assert.equal(await firstCheckAt({ firstCheckMs: 5000 }), 5000);
    assert.equal(await firstCheckAt({ producerGroup: "other" }), 6000);
    await producers.patch("pay", { firstCheckMs: 2000 });
    assert.equal(await firstCheckAt({}), 2000);
  });
}
