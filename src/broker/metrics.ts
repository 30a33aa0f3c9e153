/**
 * The figures of the broker and of its store.
 *
 * @module
 */

import { counter, type Family, gauge } from "../../storage/base/metrics.ts";
import { storeMetrics } from "../../storage/mod.ts";
import { groupMetrics } from "./group_metrics.ts";
import type { Shell } from "./shell.ts";

export async function brokerMetrics(shell: Shell): Promise<readonly Family[]> {
  return [
    ...storeMetrics(shell.store),
    ...entityFamilies(shell),
    ...trafficFamilies(shell),
    ...(await groupMetrics(shell.core, () => shell.pause())),
  ];
}

function entityFamilies({ core, room, clockSkewMs }: Shell): Family[] {
  const { topics, groups, transactions } = core.fold;
  const { openCount, parkedCount, halfCount } = transactions;
  return [
    gauge({ name: "tidegate_topics", help: "Topics", value: topics.count }),
    gauge({ name: "tidegate_groups", help: "Consumer groups", value: groups.count }),
    gauge({
      name: "tidegate_transactions",
      help: "Transactions that are not decided; those parked wait for an operator",
      samples: [
        { labels: { state: "prepared" }, value: openCount - parkedCount },
        { labels: { state: "parked" }, value: parkedCount },
      ],
    }),
    gauge({
      name: "tidegate_half_messages",
      help: "Messages that wait for the decision of their transaction",
      value: halfCount,
    }),
    gauge({
      name: "tidegate_waiters",
      help: "Long-polls, receives and feeds that wait",
      value: room.count,
    }),
    gauge({ name: "tidegate_waiters_max", help: "As many may wait at once", value: room.max }),
    gauge({
      name: "tidegate_clock_skew_seconds",
      help: "How far the time the node goes by is ahead of the wall clock",
      value: clockSkewMs / 1000,
    }),
  ];
}

function trafficFamilies({ traffic }: Shell): Family[] {
  return [
    counter({
      name: "tidegate_read_messages_total",
      help: "Messages read from logs; what readers of one feed share counts once",
      value: traffic.readMessages,
    }),
    counter({
      name: "tidegate_read_bytes_total",
      help: "Bytes of the messages read from logs",
      value: traffic.readBytes,
    }),
    counter({
      name: "tidegate_leased_messages_total",
      help: "Messages delivered to members of groups, redeliveries among them",
      value: traffic.leasedMessages,
    }),
    counter({
      name: "tidegate_leased_bytes_total",
      help: "Bytes of the messages delivered to members of groups",
      value: traffic.leasedBytes,
    }),
    counter({
      name: "tidegate_disk_full_refusals_total",
      help: "Publishes refused because the disk is nearly full",
      value: traffic.refusedForRoom,
    }),
    counter({
      name: "tidegate_settled_receipts_total",
      help: "Receipts settled, by what came of it",
      samples: Object.entries(traffic.settled).map(([status, value]) => ({
        labels: { status },
        value,
      })),
    }),
  ];
}
