/**
 * A broker begins to decide: over a store that is folded to its end, it begins an
 * epoch of the log and everything that happens by itself.
 *
 * @module
 */

import { counter } from "../../storage/base/metrics.ts";
import type { MessageStore } from "../../storage/mod.ts";
import type { BrokerGroupApi } from "./api_share.ts";
import type { Broker, BrokerOptions, BrokerPorts, Reports } from "./broker.ts";
import type { BrokerFold } from "./fold.ts";
import type { GroupState } from "./groups.ts";
import { groupsApi, markAllReady } from "./groups_api.ts";
import { messagesApi } from "./messages_api.ts";
import { brokerMetrics } from "./metrics.ts";
import { shareApi } from "./share_api.ts";
import { Shell } from "./shell.ts";
import { topicsApi } from "./topics_api.ts";
import { transactionsApi } from "./transactions_api.ts";

export interface StartedBroker extends Broker {
  /** Some more is written on every member of the group. */
  replicated(): void;
}

export function startBroker(
  ports: BrokerPorts,
  parts: {
    readonly store: MessageStore;
    readonly fold: BrokerFold;
    readonly options: BrokerOptions;
    /** Greater than any before. */
    readonly epoch: number;
    readonly reports: Reports;
  },
): StartedBroker {
  const { store, fold, options, reports } = parts;
  const shell = new Shell({ ...ports, report: reports.report }, { ...options, store, fold });
  listen(shell);
  shell.diskWatch.start();
  for (const name of fold.groups.names()) {
    const group = fold.groups.named(name);
    if (group) markAllReady(shell, group);
  }
  startEpoch(shell, { ...parts, bootId: ports.entropy(16) });
  fold.forgetBefore(store.log.start);
  shell.expiry.start();
  shell.forwarding.wake();
  shell.timers.arm();
  return {
    api: apiOf(shell, options),
    recovery: store.log.recovery,
    metrics: async () => [
      ...(await brokerMetrics(shell)),
      counter({
        name: "tidegate_derived_files_mended_total",
        help: "Files derived from the log that were found damaged and are built again",
        value: reports.derived,
      }),
    ],
    started: () => shell.replies.settled(),
    replicated: () => shell.replies.onReplicated(store.replicatedEnd),
    drain: () => drain(shell),
    async close() {
      shell.diskWatch.stop();
      shell.timers.stop();
      shell.expiry.stop();
      shell.forwarding.stop();
      shell.checks.stop();
      shell.scout.stop();
      await store.close();
      shell.replies.abandon();
    },
  };
}

function apiOf(shell: Shell, { nodeId, brokerGroup = 0 }: BrokerOptions): BrokerGroupApi {
  const { store } = shell;
  return {
    topics: topicsApi(shell),
    messages: messagesApi(shell),
    groups: groupsApi(shell),
    transactions: transactionsApi(shell),
    share: shareApi(shell),
    status: () => ({
      nodeId,
      group: String(brokerGroup),
      ready: !shell.room.draining,
      epoch: store.log.tail.epoch,
      durableEnd: store.log.durableEnd,
      confirmOffset: store.log.confirmOffset,
      clockSkewMs: shell.clockSkewMs,
      damaged: store.damage.ranges,
      disk: store.headroom.level,
    }),
  };
}

function drain(shell: Shell): void {
  shell.room.draining = true;
  shell.readers.wakeAll();
  shell.checks.waiters.wakeAll();
  shell.receivers.releaseAll();
  shell.scout.settleSkips();
}

/** What the log confirms goes to whoever waits for it. */
function listen(shell: Shell): void {
  const { core, store } = shell;
  store.listen({
    onWritten: (end) => shell.replies.onWritten(end),
    onConfirm(end, queues) {
      const groups = new Set<GroupState>();
      for (const { topicGen, queueId } of queues) {
        const topic = core.fold.topics.of(topicGen);
        if (!topic) continue;
        shell.expiry.stored(topic);
        for (const subscription of core.fold.groups.subscribers(topic.name)) {
          shell.refresh(subscription, queueId);
          groups.add(subscription.group);
        }
      }
      shell.replies.onConfirm(end);
      shell.forwarding.confirmed();
      for (const { topicGen } of queues) shell.readers.wake(topicGen);
      for (const group of groups) shell.receivers.pump(group);
      shell.timers.arm(); // the next reveal waits for the last one
    },
  });
}

function startEpoch(
  shell: Shell,
  about: {
    readonly epoch: number;
    readonly options: BrokerOptions;
    readonly bootId: Uint8Array;
  },
): void {
  const { epoch, options, bootId } = about;
  shell.store.log.tail.startEpoch(epoch);
  const record = { epoch, leader: options.nodeId, bootId };
  shell.store.append("epoch-start", record, shell.now());
  shell.store.log.flush();
}
