/**
 * Whether a position still has all that lay behind it, or messages there were
 * removed since.
 *
 * A cut removes what became visible before one place of the log, so there is a
 * place, `keptFrom`, before which a topic has nothing left, and most readers are
 * past it. For those that are not, the queues' units tell, as long as their
 * segments are there; a position before the log's start counts as expired.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { MessageStore } from "../../storage/mod.ts";
import { encodeQueueCursor, encodeStreamCursor, type StreamPosition } from "./cursor.ts";
import type { TopicState } from "./topics.ts";

type Store = Pick<MessageStore, "log" | "queues" | "reader">;

/** A place in the log of a broker group, which its number names. */
export interface StreamPlace {
  readonly topic: TopicState;
  readonly position: StreamPosition;
  readonly brokerGroup: number;
}

/** @throws `cursor-expired` when messages behind the offset were removed. */
export function checkQueueKept(
  { queues }: Store,
  at: { readonly topic: TopicState; readonly queueId: number; readonly queueOffset: number },
): undefined {
  const { topic, queueId, queueOffset } = at;
  const { generation: topicGen } = topic;
  const start = queues.find(topicGen, queueId)?.start ?? 0;
  if (queueOffset >= start) return;
  throw expired(topic, encodeQueueCursor({ topicGen, queueId, queueOffset: start }));
}

/** @throws `cursor-expired` when messages behind the position were removed. */
export function checkStreamKept(store: Store, place: StreamPlace): Promise<void> | undefined {
  const cut = cutQueues(store, place.topic);
  return cut.length === 0 ? undefined : checkAgainstCut(store, { ...place, cut });
}

async function checkAgainstCut(
  store: Store,
  { topic, position, brokerGroup, cut }: StreamPlace & { readonly cut: readonly CutQueue[] },
): Promise<void> {
  const keptFrom = await keptFromOf(store, topic);
  if (position.logOffset >= keptFrom || !(await hasLost(store, { topic, cut, position }))) return;
  const logOffset = Math.min(keptFrom, store.log.confirmOffset);
  const positions = [{ brokerGroup, logOffset, index: 0 }];
  throw expired(topic, encodeStreamCursor({ topicGen: topic.generation, positions }));
}

function expired({ name }: TopicState, earliest: string): TidegateError {
  const detail = `Cannot read "${name}" from the cursor: what lay behind it was removed`;
  return new TidegateError("cursor-expired", detail, { earliest });
}

interface CutQueue {
  readonly topicGen: number;
  readonly queueId: number;
  readonly start: number;
}

/** How many messages of the topic were removed so far. */
export function removedCount(
  { queues }: Pick<Store, "queues">,
  { generation: topicGen, config }: TopicState,
): number {
  let removed = 0;
  for (let queueId = 0; queueId < config.queues; queueId++) {
    removed += queues.find(topicGen, queueId)?.start ?? 0;
  }
  return removed;
}

/** The queues of which something was removed. */
function cutQueues({ queues }: Store, { generation: topicGen, config }: TopicState): CutQueue[] {
  const cut: CutQueue[] = [];
  for (let queueId = 0; queueId < config.queues; queueId++) {
    const start = queues.find(topicGen, queueId)?.start ?? 0;
    if (start > 0) cut.push({ topicGen, queueId, start });
  }
  return cut;
}

/** Where the first message that is left became visible; Infinity when none is left. */
async function keptFromOf({ queues, reader }: Store, topic: TopicState): Promise<number> {
  const { generation: topicGen, config } = topic;
  const removed = removedCount({ queues }, topic);
  if (topic.keptFrom?.removed === removed) return topic.keptFrom.logOffset;
  let logOffset = Infinity;
  for (let queueId = 0; queueId < config.queues; queueId++) {
    const from = queues.find(topicGen, queueId)?.start ?? 0;
    const [unit] = (await reader.read({ topicGen, queueId }, { from, max: 1 })).units;
    logOffset = Math.min(logOffset, unit?.visibleLogOffset ?? Infinity);
  }
  if (logOffset < Infinity) topic.keptFrom = { removed, logOffset };
  return logOffset;
}

async function hasLost(
  { log, reader }: Store,
  at: { readonly cut: readonly CutQueue[]; readonly position: StreamPosition; topic: TopicState },
): Promise<boolean> {
  const { cut, position, topic } = at;
  const { logOffset, index } = position;
  if (logOffset < (log.segments[0]?.base ?? 0)) return true;
  const seek = (queue: { topicGen: number; queueId: number }, place: number) => {
    const base = log.segmentAt(place)?.base ?? 0;
    return reader.seek(queue, { by: "log", logOffset: place, base }, { removed: true });
  };
  const next = index > 0 ? logOffset + 1 : logOffset;
  for (const queue of cut) if ((await seek(queue, next)) < queue.start) return true;
  if (index === 0) return false;
  let [removed, there] = [false, 0];
  for (let queueId = 0; queueId < topic.config.queues; queueId++) {
    const queue = { topicGen: topic.generation, queueId };
    const first = await seek(queue, logOffset);
    there += (await seek(queue, next)) - first;
    removed ||= cut.some((one) => one.queueId === queueId && first < one.start);
  }
  return removed && index < there; // of that record it had not read them all
}
