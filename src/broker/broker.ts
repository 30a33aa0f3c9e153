/**
 * A running broker: opens the store, folds it, and answers.
 *
 *   openBroker ──▶ store and fold restored ──▶ epoch-start appended ──▶ api
 *   drain      waits end now and none begins
 *   close      what was appended is flushed and snapshotted
 *
 * @module
 */

import type { Log } from "../../storage/base/logger.ts";
import { type Collect, counter } from "../../storage/base/metrics.ts";
import {
  DerivedDamage,
  type HeadroomOptions,
  MessageStore,
  type Recovery,
  type StorePorts,
} from "../../storage/mod.ts";
import type { BrokerGroupApi } from "./api_share.ts";
import { BrokerFold } from "./fold.ts";
import { groupsApi, markAllReady } from "./groups_api.ts";
import { messagesApi } from "./messages_api.ts";
import { brokerMetrics } from "./metrics.ts";
import { shareApi } from "./share_api.ts";
import { Shell, type ShellPorts } from "./shell.ts";
import { topicsApi } from "./topics_api.ts";
import { transactionsApi } from "./transactions_api.ts";

export interface BrokerPorts
  extends Omit<StorePorts, "report" | "damaged">,
    Omit<ShellPorts, "report"> {
  readonly log: Log;
}

export interface BrokerOptions {
  readonly nodeId: string;
  /** Its number in the cluster, for all time; 0 when absent: the only one. At most 65,535. */
  readonly brokerGroup?: number | undefined;
  /** Size at which a segment is sealed. */
  readonly segmentBytes: number;
  /** Publishing to an unknown topic creates it. */
  readonly autoCreate: boolean;
  /** The longest a message may be delayed. */
  readonly delayMaxMs: number;
  /** A message is kept no longer, whatever its topic says. */
  readonly retentionMaxMs: number;
  /** Long-polls and receives waiting at once. */
  readonly waitersMax: number;
  /** How long an idempotency key is remembered. */
  readonly idempotencyWindowMs: number;
  /** Half messages that wait for a decision, at most: some hundred bytes of memory each. */
  readonly halvesMax?: number | undefined;
  /** In so long all that is stored is read once, to find damage; undefined: it is not. */
  readonly scrubIntervalMs?: number | undefined;
  /** From where on a disk is too full, and what is set aside on it. */
  readonly headroom?: HeadroomOptions | undefined;
}

export interface Broker {
  readonly api: BrokerGroupApi;
  /** What the start found. */
  readonly recovery: Recovery;
  readonly metrics: Collect;
  /** Ends all waits, as if their time was up; those that come return at once. */
  drain(): void;
  /** Makes everything durable and closes the files. No call may follow. */
  close(): Promise<void>;
}

/** @throws when the data directory cannot be read or is of a later build. */
export async function openBroker(ports: BrokerPorts, options: BrokerOptions): Promise<Broker> {
  const fold = new BrokerFold();
  let derived = 0;
  const report = (error: Error) => {
    const damaged = error instanceof DerivedDamage;
    if (damaged) derived++;
    const what = damaged ? "A derived file is built again" : "A background job failed";
    ports.log(damaged ? "warn" : "error", what, { error: error.message });
  };
  const { segmentBytes, idempotencyWindowMs: windowMs, scrubIntervalMs } = options;
  const store = await MessageStore.open(
    {
      ...ports,
      report,
      damaged: (range, by) =>
        ports.log("error", "Stored data is damaged: the range is stepped over", { ...range, by }),
    },
    { segmentBytes, fold, dedupe: { windowMs }, scrubIntervalMs, headroom: options.headroom },
  );
  const shell = new Shell({ ...ports, report }, { ...options, store, fold });
  listen(shell);
  shell.diskWatch.start();
  for (const name of fold.groups.names()) {
    const group = fold.groups.named(name);
    if (group) markAllReady(shell, group);
  }
  await startEpoch(shell, { nodeId: options.nodeId, bootId: ports.entropy(16) });
  fold.forgetBefore(store.log.start);
  shell.expiry.start();
  shell.forwarding.wake();
  shell.timers.arm();

  const api: BrokerGroupApi = {
    topics: topicsApi(shell),
    messages: messagesApi(shell),
    groups: groupsApi(shell),
    transactions: transactionsApi(shell),
    share: shareApi(shell),
    status: () => ({
      nodeId: options.nodeId,
      group: String(options.brokerGroup ?? 0),
      ready: !shell.room.draining,
      epoch: store.log.tail.epoch,
      durableEnd: store.log.confirmOffset,
      confirmOffset: store.log.confirmOffset,
      clockSkewMs: shell.clockSkewMs,
      damaged: store.damage.ranges,
      disk: store.headroom.level,
    }),
  };
  return {
    api,
    recovery: store.log.recovery,
    metrics: async () => [
      ...(await brokerMetrics(shell)),
      counter({
        name: "tidegate_derived_files_mended_total",
        help: "Files derived from the log that were found damaged and are built again",
        value: derived,
      }),
    ],
    drain() {
      shell.room.draining = true;
      shell.readers.wakeAll();
      shell.checks.waiters.wakeAll();
      shell.receivers.releaseAll();
      shell.scout.settleSkips();
    },
    close() {
      shell.diskWatch.stop();
      shell.timers.stop();
      shell.expiry.stop();
      shell.forwarding.stop();
      shell.checks.stop();
      return store.close();
    },
  };
}

/** What the log confirms goes to whoever waits for it. */
function listen(shell: Shell): void {
  const { core, store } = shell;
  store.listen({
    onWritten: (end) => shell.replies.onWritten(end),
    onConfirm(end, queues) {
      const groups = new Set(
        queues.flatMap(({ topicGen, queueId }) => {
          const topic = core.fold.topics.of(topicGen);
          if (topic) shell.expiry.stored(topic);
          const subscribers = topic ? [...core.fold.groups.subscribers(topic.name)] : [];
          for (const subscription of subscribers) shell.refresh(subscription, queueId);
          return subscribers.map(({ group }) => group);
        }),
      );
      shell.replies.onConfirm(end);
      shell.forwarding.confirmed();
      for (const topicGen of new Set(queues.map((queue) => queue.topicGen))) {
        shell.readers.wake(topicGen);
      }
      for (const group of groups) shell.receivers.pump(group);
      shell.timers.arm(); // the next reveal waits for the last one
    },
  });
}

async function startEpoch(
  shell: Shell,
  { nodeId, bootId }: { nodeId: string; bootId: Uint8Array },
): Promise<void> {
  const { tail } = shell.store.log;
  const epoch = tail.epoch + 1;
  tail.startEpoch(epoch);
  shell.store.append("epoch-start", { epoch, leader: nodeId, bootId }, shell.now());
  shell.store.log.flush();
  await shell.replies.settled();
}
