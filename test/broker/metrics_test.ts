/**
 * The broker's figures: that they say what happened, and stay few.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { NAMED_MAX } from "../../src/broker/group_metrics.ts";
import { prometheusText } from "../../src/cli/prometheus.ts";
import type { Broker } from "../../src/broker/mod.ts";
import { Metrics } from "../fakes/metrics_reader.ts";
import { GROUP, message, publishNow, read, receive, TOPIC } from "../suites/broker_api_kit.ts";
import { openTestBroker } from "../suites/open_broker.ts";

async function figures({ metrics }: Pick<Broker, "metrics">): Promise<Metrics> {
  return new Metrics((await metrics()).map(prometheusText).join(""));
}

describe("the broker's figures", () => {
  it("tell what came in, what went out, and where a group stands", async () => {
    const broker = await openTestBroker();
    const { api } = broker;
    await api.topics.put("orders", TOPIC);
    await api.groups.put("billing", { ...GROUP, maxAttempts: 1 });
    for (let i = 0; i < 5; i++) await publishNow(api, "orders", message(`m${i}`));
    const [first, second] = await receive(api, { group: "billing", max: 3 });
    assert(first && second);
    await api.groups.settle("billing", {
      ack: [first.receipt, "nonsense"],
      release: [],
      extend: [],
      reject: [{ receipt: second.receipt, reason: "no" }],
    });
    await read(api);

    const now = await figures(broker);
    const expected: [sample: string, value: number][] = [
      ['tidegate_log_records_total{kind="message"}', 5],
      ['tidegate_log_records_total{kind="dead"}', 1],
      ["tidegate_leased_messages_total", 3],
      ["tidegate_read_messages_total", 5],
      ['tidegate_settled_receipts_total{status="ok"}', 2],
      ['tidegate_settled_receipts_total{status="invalid"}', 1],
      ['tidegate_group_lag_messages{group="billing"}', 3],
      ['tidegate_group_ready_messages{group="billing"}', 2],
      ['tidegate_group_in_flight_messages{group="billing"}', 1],
      ['tidegate_group_dead_letters{group="billing"}', 1],
      ["tidegate_topics", 1],
      ["tidegate_groups", 1],
      ["tidegate_queues", 4],
      ["tidegate_waiters_max", 100],
    ];
    for (const [sample, value] of expected) assert.equal(now.value(sample), value, sample);
    const bytes = now.value("tidegate_read_bytes_total") ?? 0;
    assert(bytes > 5 * "body of m0".length, `${bytes} bytes were read`);
    await broker.close();
  });

  it("agree with the lag a group is told", async () => {
    const broker = await openTestBroker();
    const { api } = broker;
    await api.topics.put("orders", TOPIC);
    await api.groups.put("billing", { ...GROUP, mode: "ordered" });
    for (let i = 0; i < 20; i++) {
      await publishNow(api, "orders", message(`m${i}`, { key: `k${i % 7}` }));
    }
    const taken = await receive(api, { group: "billing", max: 6 });
    const ack = taken.slice(0, 2).map(({ receipt }) => receipt);
    await api.groups.settle("billing", { ack, release: [], extend: [], reject: [] });
    const { topics } = await api.groups.lag("billing");
    const now = await figures(broker);
    assert.equal(now.value('tidegate_group_lag_messages{group="billing"}'), topics[0]?.total);
    await broker.close();
  });

  it("begin anew with the process, but for what is there", async () => {
    const before = await openTestBroker();
    await before.api.topics.put("orders", TOPIC);
    await before.api.groups.put("billing", GROUP);
    await publishNow(before.api, "orders", message("m"));
    const broker = await before.reopen();
    const now = await figures(broker);
    assert.equal(now.value('tidegate_log_records_total{kind="message"}'), 0);
    assert.equal(now.value('tidegate_group_lag_messages{group="billing"}'), 1);
    assert.equal(now.value("tidegate_queues"), 1);
    await broker.close();
  });

  it("count timers and transactions that wait", async () => {
    const broker = await openTestBroker();
    const { api, clock } = broker;
    await api.topics.put("orders", TOPIC);
    for (const delayMs of [1000, 2000]) {
      await api.messages.publish("orders", message(`d${delayMs}`, { delayMs }));
    }
    const begin = { producerGroup: "pay", firstCheckMs: 60_000, checkIntervalMs: 60_000 };
    const halves = [{ topic: "orders", message: message("h") }];
    const { id } = await api.transactions.begin({ ...begin, maxChecks: 1, messages: halves });
    const waiting = await figures(broker);
    assert.equal(waiting.value("tidegate_timers_pending"), 2);
    assert.equal(waiting.value('tidegate_transactions{state="prepared"}'), 1);
    assert.equal(waiting.value("tidegate_half_messages"), 1);

    clock.advance(1500);
    await api.transactions.commit(id);
    const later = await figures(broker);
    assert.equal(later.value("tidegate_timers_pending"), 1);
    assert.equal(later.value('tidegate_transactions{state="prepared"}'), 0);
    assert.equal(later.value("tidegate_half_messages"), 0);
    await broker.close();
  });

  it("name so many groups and add up the others", async () => {
    const broker = await openTestBroker();
    const { api } = broker;
    await api.topics.put("orders", { ...TOPIC, queues: 1 });
    const more = 3;
    for (let i = 0; i < NAMED_MAX + more; i++) {
      void api.groups.put(`g${i}`, GROUP);
    }
    await publishNow(api, "orders", message("m"));
    const now = await figures(broker);
    assert.equal(now.named("tidegate_group_lag_messages").length, NAMED_MAX + 1);
    assert.equal(now.value('tidegate_group_lag_messages{group="g999"}'), 1);
    assert.equal(now.value('tidegate_group_lag_messages{group="(other)"}'), more);
    await broker.close();
  });
});

describe("the figures of flushing", () => {
  it("are one observation for each batch", async () => {
    const broker = await openTestBroker();
    await broker.api.topics.put("orders", TOPIC);
    const before = await figures(broker);
    await Promise.all(
      Array.from({ length: 10 }, (_, i) => publishNow(broker.api, "orders", message(`m${i}`))),
    );
    const after = await figures(broker);
    const grew = (sample: string) => (after.value(sample) ?? 0) - (before.value(sample) ?? 0);
    assert.equal(grew("tidegate_flush_batch_records_count"), 1);
    assert.equal(grew("tidegate_flush_batch_records_sum"), 10);
    assert.equal(grew("tidegate_flush_sync_seconds_count"), 1);
    assert.equal(grew("tidegate_append_confirm_seconds_count"), 1);
    assert.equal(
      grew("tidegate_flush_bytes_total"),
      grew('tidegate_log_appended_bytes_total{kind="message"}'),
    );
    await broker.close();
  });
});
