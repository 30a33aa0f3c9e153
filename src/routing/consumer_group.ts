/**
 * A consumer group of a cluster: which broker groups have something for it.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { BrokerGroupApi } from "../broker/api.ts";
import { notSubscribed } from "../broker/definitions.ts";
import type { Cluster } from "./cluster.ts";
import type { GroupDefinition, TopicDefinition } from "./definition.ts";
import type { CallWish } from "./members.ts";

export interface Concerned {
  /** Ascending. */
  readonly groups: readonly number[];
  /** Those of its topics that exist, by name. */
  readonly topics: ReadonlyMap<string, TopicDefinition>;
  /** A topic that does not exist yet may come into being in any broker group. */
  readonly isWhole: boolean;
}

/** @throws `topic-not-found` when the group has no subscription to `only`. */
export async function concernedBy(
  cluster: Cluster,
  { group, only }: { readonly group: GroupDefinition; readonly only?: string | undefined },
): Promise<Concerned> {
  const { subscriptions } = group.config;
  const chosen = subscriptions.filter(({ topic }) => only === undefined || topic === only);
  if (only !== undefined && chosen.length === 0) throw notSubscribed(group.name, only);
  const topics = new Map<string, TopicDefinition>();
  const groups = new Set<number>();
  for (const { topic: name } of chosen) {
    // Not one after the other through the coordinator: mostly they are known.
    const topic =
      cluster.definitions.peek("topic", name) ?? (await cluster.definitions.find("topic", name));
    if (!topic) continue;
    topics.set(name, topic);
    for (const one of topic.groups) groups.add(one);
  }
  const ordered = [...groups].sort((a, b) => a - b);
  return { groups: ordered, topics, isWhole: topics.size === chosen.length };
}

/**
 * Changes something in each of them; answers in their order.
 *
 * @throws `outcome-unknown` when only some did it, for then it cannot be said that nothing was done.
 */
export async function changeEach<T>(
  groups: readonly number[],
  change: (group: number) => Promise<T>,
): Promise<T[]> {
  const outcomes = await Promise.allSettled(groups.map(change));
  const failed = outcomes.filter((one) => one.status === "rejected");
  if (failed.length > 0) throw partly(failed[0]?.reason, failed.length < outcomes.length);
  return outcomes.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
}

/** Where a part is done, nobody may be told that nothing was. */
export function partly(error: unknown, isPartlyDone: boolean): unknown {
  if (!isPartlyDone || !(error instanceof TidegateError)) return error;
  const detail = `Done in some broker groups and not in all: ${error.message}`;
  return new TidegateError("outcome-unknown", detail, error.details, error);
}

/** Asks each of them; answers in their order. */
export function askEach<T>(
  cluster: Cluster,
  groups: readonly number[],
  ask: (broker: BrokerGroupApi, group: number) => Promise<T>,
  rest: Omit<CallWish<T>, "group" | "ask"> = {},
): Promise<T[]> {
  const deadline = rest.deadline ?? cluster.members.deadline();
  return Promise.all(
    groups.map((group) =>
      cluster.members.call({
        ...rest,
        deadline,
        group,
        ask: (broker) => ask(broker, group),
      }),
    ),
  );
}
