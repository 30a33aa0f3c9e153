/**
 * Which queues of a group have something to deliver, and which must be looked at
 * first. Asked anew whenever a queue changes: after an append, a settle, a scan.
 *
 * @module
 */

import type { Core } from "./core.ts";
import type { GroupState } from "./groups.ts";
import type { PopQueue } from "./pop_queue.ts";

/** A queue is looked at so far past the first message that was not granted: what is kept is bounded. */
export const LOOKAHEAD_MAX = 65_536;

/** With as many at hand, nothing more is looked at. */
const AT_HAND = 1024;

/** Whether messages are looked at before they are granted. */
export function isScouted({ subscription, taken }: PopQueue): boolean {
  const { filter, group } = subscription;
  return group.config.mode === "ordered" || filter !== undefined || taken.size > 0;
}

/** Whether a grant now would find something in the queue. */
export function hasMore(core: Core, queue: PopQueue): boolean {
  if (queue.due.size > 0) return true;
  if (isScouted(queue)) return (queue.lookahead?.ready ?? 0) > 0;
  return queue.head < core.visibleEnd(queue);
}

/** Whether the scout should look at more of the queue. */
export function isUnseen(core: Core, queue: PopQueue): boolean {
  if (!isScouted(queue)) return false;
  const { lookahead, head, open } = queue;
  const end = core.visibleEnd(queue);
  if (!lookahead) return head < end || open.size > 0;
  const room = lookahead.scanned - head < LOOKAHEAD_MAX || lookahead.waiting === 0;
  return room && lookahead.scanned < end && lookahead.ready < AT_HAND;
}

/** The queue changed: it stands among those with something, or does not. */
export function refresh(core: Core, queue: PopQueue): void {
  const { subscription } = queue;
  const { group } = subscription;
  if (subscription.queues[queue.queueId] !== queue) return; // its topic went
  if (hasMore(core, queue)) subscription.ready.add(queue);
  else subscription.ready.delete(queue);
  if (subscription.ready.size > 0) group.ready.add(subscription);
  else group.ready.delete(subscription);
  if (isUnseen(core, queue)) group.unseen.add(queue);
  else group.unseen.delete(queue);
}

/** Behind the others, if it still has something. */
export function rotate(core: Core, queue: PopQueue): void {
  queue.subscription.ready.delete(queue);
  queue.subscription.group.ready.delete(queue.subscription);
  refresh(core, queue);
}

/** Whether a grant to a consumer now would find something. */
export function hasReady(group: GroupState, topic: string | undefined): boolean {
  if (group.config.paused || group.tally.leased >= group.config.maxInFlight) return false;
  return topic === undefined
    ? group.ready.size > 0
    : (group.subscriptions.get(topic)?.ready.size ?? 0) > 0;
}

/** Whether there is something to look at; also while the group is paused. */
export function hasUnseen(group: GroupState, topic: string | undefined): boolean {
  if (topic === undefined) return group.unseen.size > 0;
  for (const queue of group.unseen) if (queue.subscription.topic === topic) return true;
  return false;
}
