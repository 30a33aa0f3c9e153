/**
 * What every decision of the broker works on: the fold, the log it appends to,
 * and nothing of the world. Decisions are synchronous and handed the time; they
 * append what they decide and fold it at once, so the next decision sees it. The
 * shell (`broker.ts`) answers only when the log up to there is confirmed.
 *
 * @module
 */

import type { KindName, MessageStore, RecordOf, RecordPlace, Timers } from "../../storage/mod.ts";
import type { BrokerFold } from "./fold.ts";

/** Where decisions are written. */
export type Sink = Pick<MessageStore, "begin" | "putMessage" | "put" | "append">;

export interface Core {
  /** The number of this broker group in its cluster: part of positions, receipts and transaction ids. */
  readonly brokerGroup: number;
  readonly fold: BrokerFold;
  readonly sink: Sink;
  /** Delayed messages not yet visible; what is put into the sink is among them at once. */
  readonly timers: Timers;
  /** Publishing to an unknown topic creates it. */
  readonly autoCreate: boolean;
  /** The longest a message may be delayed. */
  readonly delayMaxMs: number;
  /** Half messages that wait for a decision, at most. */
  readonly halvesMax: number;
  /** The confirmed end of a queue: what may be granted. */
  visibleEnd(queue: { readonly topicGen: number; readonly queueId: number }): number;
}

/** Appends a record and folds it. */
export function commit<K extends Exclude<KindName, "message">>(
  core: Core,
  change: { readonly kind: K; readonly record: RecordOf<K>; readonly now: number },
): RecordPlace {
  const place = core.sink.append(change.kind, change.record, change.now);
  core.fold.apply(change.kind, change.record, place);
  return place;
}
