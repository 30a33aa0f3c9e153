/**
 * The decision that what lies before a place in a topic is gone.
 *
 * All queues of the topic are cut at one place of the log, in one unit: so a
 * position in the whole topic either lies before the cut, or loses nothing by it.
 *
 * @module
 */

import { recordFrameSize, type RecordOf } from "../../storage/mod.ts";
import type { Core } from "./core.ts";
import { refresh } from "./readiness.ts";
import type { TopicState } from "./topics.ts";

/** @param wish.firsts by queue: where it begins from now on. @returns how many messages went. */
export function cutTopic(
  core: Core,
  wish: {
    readonly topic: TopicState;
    readonly firsts: readonly number[];
    readonly cause: RecordOf<"head">["cause"];
    readonly now: number;
  },
): number {
  const { topic, firsts, cause, now } = wish;
  const { generation: topicGen } = topic;
  const heads: RecordOf<"head">[] = [];
  let gone = 0;
  for (const [queueId, firstOffset] of firsts.entries()) {
    const before = topic.first[queueId] ?? 0;
    if (firstOffset <= before) continue;
    gone += firstOffset - before;
    heads.push({ topicGen, queueId, firstOffset, cause });
  }
  const [head] = heads;
  if (!head) return 0;
  core.sink.begin(now, heads.length * recordFrameSize("head", head));
  for (const [i, record] of heads.entries()) {
    const continued = i < heads.length - 1;
    core.fold.apply("head", record, core.sink.put("head", record, { continued }));
  }
  for (const { queues } of core.fold.groups.subscribers(topic.name)) {
    for (const { queueId } of heads) {
      const queue = queues[queueId];
      if (queue) refresh(core, queue);
    }
  }
  return gone;
}

/** Drops all that has a place in the topic now. @returns how many messages went. */
export function purgeTopic(
  core: Core,
  { topic, now }: { readonly topic: TopicState; readonly now: number },
): number {
  const firsts = Array.from(topic.next, (next) => next ?? 0);
  return cutTopic(core, { topic, firsts, cause: "purge", now });
}
