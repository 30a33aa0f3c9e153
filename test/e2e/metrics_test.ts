/**
 * `/metrics` of a real node.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Metrics } from "../fakes/metrics_reader.ts";
import { request, text } from "./http.ts";
import { currentRuntime, type Server, until, withServer } from "./server.ts";
import { call, client, post, publish, putGroup } from "./wire.ts";

async function scrape({ port }: Server): Promise<Metrics> {
  const answer = await request(port, { path: "/metrics" });
  assert.equal(answer.status, 200);
  return new Metrics(text(answer));
}

describe("/metrics", () => {
  it("tells what the node did, and what it takes", { timeout: 60_000 }, () =>
    withServer(async (server) => {
      const sender = client(server.port);
      await putGroup(sender, "billing", { subscriptions: [{ topic: "orders" }] });
      for (let i = 0; i < 10; i++) await publish(sender, "orders", { body: `m${i}` });
      await call(sender, post("/v1/groups/billing/receive", { max: 4 }), 200);

      const now = await scrape(server);
      const published = 'route="/v1/topics/{topic}/messages",method="POST",status="201"';
      const expected: [sample: string, value: number][] = [
        [`tidegate_http_request_seconds_count{${published}}`, 10],
        ['tidegate_log_records_total{kind="message"}', 10],
        ["tidegate_leased_messages_total", 4],
        ['tidegate_group_lag_messages{group="billing"}', 10],
        ['tidegate_group_in_flight_messages{group="billing"}', 4],
        [`tidegate_build_info{version="0.1.0",runtime="${currentRuntime}"}`, 1],
      ];
      for (const [sample, value] of expected) assert.equal(now.value(sample), value, sample);
      const least: [sample: string, least: number][] = [
        ["process_resident_memory_bytes", 20e6],
        ["process_cpu_seconds_total", 0.01],
        ['tidegate_disk_used_bytes{part="log"}', 1000],
        ["tidegate_flush_sync_seconds_count", 2],
        ["tidegate_flush_sync_seconds_sum", 1e-6],
        ["tidegate_append_confirm_seconds_sum", 1e-6],
        ['tidegate_log_end_bytes{stage="confirmed"}', 1000],
      ];
      for (const [sample, value] of least) {
        assert((now.value(sample) ?? 0) >= value, `${sample} is ${now.value(sample)}`);
      }
      await until(
        async () =>
          ((await scrape(server)).value("tidegate_event_loop_lag_seconds_count") ?? 0) > 2,
        "the loop's lag is measured",
      );
      assert.equal((await request(server.port, { method: "HEAD", path: "/metrics" })).status, 200);
    }),
  );
});
