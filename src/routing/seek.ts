/**
 * Moving a consumer group: each broker group moves the queues it has.
 *
 * @module
 */

import type { GroupsApi } from "../broker/api.ts";
import { decodeCursor, encodeStreamCursor, type StreamCursor } from "../broker/cursor.ts";
import { notSubscribed } from "../broker/definitions.ts";
import type { Cluster } from "./cluster.ts";
import { changeEach } from "./consumer_group.ts";
import { ownerOf, type TopicDefinition } from "./definition.ts";

type Wish = Parameters<GroupsApi["seek"]>[1] & { readonly name: string };
type Positions = Awaited<ReturnType<GroupsApi["seek"]>>;

/** @throws `outcome-unknown` when only some broker groups were moved; the same again completes it. */
export async function seek(cluster: Cluster, wish: Wish): Promise<Positions> {
  const group = await cluster.group(wish.name);
  if (!group.config.subscriptions.some(({ topic }) => topic === wish.topic)) {
    throw notSubscribed(wish.name, wish.topic);
  }
  return await cluster.onTopic(wish.topic, (topic) => seekIn(cluster, { topic, wish }));
}

async function seekIn(
  cluster: Cluster,
  { topic, wish }: { readonly topic: TopicDefinition; readonly wish: Wish },
): Promise<Positions> {
  const parts = partsOf(topic, wish.to);
  const moved = await changeEach([...parts.keys()], async (group) => {
    const to = parts.get(group) as Wish["to"];
    const positions = await cluster.ask(topic, {
      group,
      repeatable: true,
      ask: ({ groups }) => groups.seek(wish.name, { topic: wish.topic, to }),
    });
    return positions.filter(({ queueId }) => ownerOf(topic, queueId) === group);
  });
  return moved.flat().sort((a, b) => a.queueId - b.queueId);
}

/** What each broker group is asked for; a cursor of one queue is about that queue alone. */
function partsOf(topic: TopicDefinition, to: Wish["to"]): ReadonlyMap<number, Wish["to"]> {
  const { groups, generation } = topic;
  const cursor = to.kind === "cursor" ? decodeCursor(to.cursor) : undefined;
  if (cursor?.kind === "queue") return new Map([[ownerOf(topic, cursor.queueId), to]]);
  if (!cursor || cursor.topicGen !== generation) return new Map(groups.map((group) => [group, to]));
  return new Map(groups.map((group) => [group, partOf(cursor, group)]));
}

function partOf({ topicGen, positions }: StreamCursor, group: number): Wish["to"] {
  const own = positions.find(({ brokerGroup }) => brokerGroup === group);
  if (!own) return { kind: "earliest" };
  return { kind: "cursor", cursor: encodeStreamCursor({ topicGen, positions: [own] }) };
}
