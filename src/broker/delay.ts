/**
 * Decisions about delayed messages: when one is due, and that those which are
 * become visible. They are handed messages whose `deliverAt` is set (`Shell.timed`).
 *
 * A delayed message is stored once, without a queueOffset. When it is due, a
 * reveal gives it one; the reveals of many are one record, in order of due time,
 * so in their queues too they are in that order.
 *
 * @module
 */

import type { RecordOf } from "../../storage/mod.ts";
import type { NewMessage } from "./api.ts";
import { type Core, commit } from "./core.ts";
import type { TimerSource } from "./timer_core.ts";
import type { TopicState } from "./topics.ts";

/** When the message is due; undefined when it is due now. */
export function dueAtOf({ deliverAt }: NewMessage, now: number): number | undefined {
  return deliverAt !== undefined && deliverAt > now ? deliverAt : undefined;
}

/** Makes visible what is due, of `max` timers at most. @returns how many messages. */
export function revealDue(
  core: Core,
  { now, max }: { readonly now: number; readonly max: number },
): number {
  const items = numbered(core, core.timers.take(now, max));
  if (items.length > 0) {
    commit(core, { kind: "reveal", record: { cause: "due", txnId: undefined, items }, now });
  }
  core.timers.pass(); // what is left was of topics that are gone, or recalled
  return items.length;
}

type Hidden = Omit<RecordOf<"reveal">["items"][number], "queueOffset">;

/** With the next offsets of their queues; without those whose topic is gone. */
export function numbered(core: Core, hidden: readonly Hidden[]): RecordOf<"reveal">["items"] {
  const ends = new Map<TopicState, Map<number, number>>();
  const items: RecordOf<"reveal">["items"][number][] = [];
  for (const { bodyLogOffset, size, topicGen, queueId, keyHash, tagHash } of hidden) {
    const topic = core.fold.topics.of(topicGen);
    if (!topic) continue;
    const byQueue = ends.get(topic) ?? new Map<number, number>();
    ends.set(topic, byQueue);
    const queueOffset = byQueue.get(queueId) ?? topic.next[queueId] ?? 0;
    byQueue.set(queueId, queueOffset + 1);
    items.push({ bodyLogOffset, size, topicGen, queueId, queueOffset, keyHash, tagHash });
  }
  return items;
}

/** Timers looked at in one go: a millisecond or two of work. */
const REVEAL_MAX = 1000;

interface Log {
  readonly end: number;
  readonly confirmOffset: number;
  flush(): void;
}

/** Delayed messages as a source of the timer core. */
export class Delays implements TimerSource {
  readonly #core: Core;
  readonly #log: Log;
  #revealedEnd = 0;

  constructor(core: Core, log: Log) {
    this.#core = core;
    this.#log = log;
  }

  /** The next reveal waits for the last one to be confirmed: who is late cannot flood the log. */
  get wakeAt(): number {
    if (this.#revealedEnd > this.#log.confirmOffset) return Infinity;
    return this.#core.timers.wakeAt;
  }

  run(now: number): void {
    if (revealDue(this.#core, { now, max: REVEAL_MAX }) === 0) return;
    this.#revealedEnd = this.#log.end;
    this.#log.flush();
  }
}
