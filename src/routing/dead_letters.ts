/**
 * The dead letters of a consumer group over broker groups: one list, oldest first by the
 * clocks of the leaders.
 *
 * @module
 */

import type { BrokerGroupApi, DeadLetter, GroupsApi } from "../broker/api.ts";
import { noTopic } from "../broker/definitions.ts";
import { type Cluster, overSeveralGroups } from "./cluster.ts";
import { changeEach, concernedBy } from "./consumer_group.ts";
import { mergePages } from "./merged_pages.ts";

type Letters = Pick<GroupsApi, "deadLetters" | "redrive" | "purgeDeadLetters">;

export function deadLettersApi(cluster: Cluster): Letters {
  return {
    async deadLetters(name, wish) {
      const groups = await groupsOf(cluster, name);
      const pageOf = (group: number, part: typeof wish) =>
        cluster.members.call({
          group,
          repeatable: true,
          ask: (broker) => broker.groups.deadLetters(name, part),
        });
      const [only, ...others] = groups;
      if (only !== undefined && others.length === 0) return await pageOf(only, wish);
      const { items, next } = await mergePages<DeadLetter>({
        ...wish,
        after: wish.after,
        groups,
        page: async (group, part) => {
          const page = await pageOf(group, { ...wish, ...part, cursors: true });
          return { ...page, items: page.deadLetters, cursors: page.cursors ?? [] };
        },
        compare: (a, b) => a.deadAt - b.deadAt,
        sizeOf: ({ message }) => message?.payload.length ?? 0,
      });
      return { deadLetters: items, ...(next !== undefined && { next }) };
    },

    async redrive(name, wish) {
      const groups = await groupsOf(cluster, name);
      if (wish.toTopic !== undefined) await checkTarget(cluster, { groups, toTopic: wish.toTopic });
      return await sumOf(cluster, groups, (broker) => broker.groups.redrive(name, wish));
    },

    async purgeDeadLetters(name, choice) {
      const groups = await groupsOf(cluster, name);
      return await sumOf(cluster, groups, (broker) => broker.groups.purgeDeadLetters(name, choice));
    },
  };
}

async function groupsOf(cluster: Cluster, name: string): Promise<readonly number[]> {
  const group = await cluster.group(name);
  return (await concernedBy(cluster, { group })).groups;
}

/** A copy is made in the turn in which its letter goes, so both must be in one broker group. */
async function checkTarget(
  cluster: Cluster,
  { groups, toTopic }: { readonly groups: readonly number[]; readonly toTopic: string },
): Promise<void> {
  const known = await cluster.definitions.find("topic", toTopic);
  if (!known && !cluster.autoCreate) throw noTopic(toTopic);
  const target = known ?? (await cluster.topicForPublish(toTopic));
  const all = new Set([...groups, ...target.groups]);
  if (all.size > 1)
    throw overSeveralGroups("redrive to another topic", "redrive over broker groups");
  for (const group of target.groups) await cluster.copies.ensure(target, { group });
}

async function sumOf(
  cluster: Cluster,
  groups: readonly number[],
  ask: (broker: BrokerGroupApi) => Promise<number>,
): Promise<number> {
  const deadline = cluster.members.deadline();
  const counts = await changeEach(groups, (group) =>
    cluster.members.call({ group, ask, deadline }),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}
