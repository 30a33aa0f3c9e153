/**
 * Where a member of a broker group stands, for whoever watches it.
 *
 * @module
 */

import { counter, type Family, gauge } from "../../storage/base/metrics.ts";
import type { BrokerNode } from "../cluster/mod.ts";

type Facts = Pick<BrokerNode, "state" | "life" | "isMember" | "counts" | "takenOver">;

export function replicationMetrics({
  state,
  life,
  isMember,
  counts,
  takenOver,
}: Facts): readonly Family[] {
  const replica = life?.driver.replica;
  const { log } = replica ?? {};
  const members = replica?.sighting.state?.syncSet.length ?? 0;
  const figures: [name: string, help: string, value: number][] = [
    ["epoch", "Epoch of the log that the node leads or follows", Math.max(0, replica?.epoch ?? 0)],
    ["leads", "1 while the node leads its broker group", replica?.leads === true ? 1 : 0],
    ["member", "1 while what the node holds counts: it is in the SyncStateSet", isMember ? 1 : 0],
    [
      "quarantined",
      "1 when the log must not be believed: a person is needed",
      +(state === "quarantined"),
    ],
    ["sync_set_members", "Members of the SyncStateSet, as far as the node knows", members],
    ["end_bytes", "logOffset of the end of the log", log?.end ?? 0],
    [
      "durable_end_bytes",
      "logOffset up to which the log would survive power loss",
      log?.durableEnd ?? 0,
    ],
    ["confirm_offset_bytes", "logOffset up to which the log is confirmed", log?.confirmOffset ?? 0],
    [
      "unconfirmed_bytes",
      "Of the log, not confirmed yet",
      (log?.end ?? 0) - (log?.confirmOffset ?? 0),
    ],
  ];
  const counters: [name: string, help: string, value: number][] = [
    ["elections_won_total", "How often the node came to lead", counts.led],
    ["depositions_total", "How often it ceased to", counts.deposed],
    ["logs_set_aside_total", "How often its log gave way to the leader's", takenOver.done],
    [
      "beginning_bytes_total",
      "Bytes of files that came with the beginning of a leader's log",
      takenOver.bytes,
    ],
  ];
  const name = (what: string) => `tidegate_replication_${what}`;
  return [
    ...figures.map(([what, help, value]) => gauge({ name: name(what), help, value })),
    ...counters.map(([what, help, value]) => counter({ name: name(what), help, value })),
  ];
}
