/**
 * A timer: a delayed message that waits until it is due.
 *
 *   at  size  field
 *    0     8  dueAt          ms, leader time
 *    8     8  bodyLogOffset  the message record
 *   16     4  size           of its frame
 *   20     4  keyHash
 *   24     4  tagHash
 *   28     4  idHash         stableHash of the message's id
 *   32     8  topicGen
 *   40     2  queueId
 *   42     2  flags          bit 0: recalled, the entry takes its timer back
 *
 * Timers have one order, by dueAt and then bodyLogOffset: in it they become
 * visible, and in it they lie in their files. A recall stands where its timer
 * stands, in the file of a segment that is not older.
 *
 * @module
 */

import { getU64, setU64, viewOf } from "./base/bytes.ts";
import { MessageFields, messageIdHash } from "./base/message.ts";
import type { Frame } from "./frame.ts";
import { dueAtIn, messageIn } from "./stored_message.ts";

export const TIMER_SIZE = 44;
const FLAGS_AT = 42;
const FLAG_RECALLED = 1;

/** A place in the order of timers. */
export interface TimerKey {
  readonly dueAt: number;
  readonly bodyLogOffset: number;
}

/** Before every timer. */
export const FIRST_KEY: TimerKey = { dueAt: 0, bodyLogOffset: 0 };

export interface Timer extends TimerKey {
  readonly size: number;
  readonly keyHash: number;
  readonly tagHash: number;
  readonly idHash: number;
  readonly topicGen: number;
  readonly queueId: number;
}

/** Negative when `a` comes first, 0 when they are one place. */
export function compareKeys(a: TimerKey, b: TimerKey): number {
  return a.dueAt - b.dueAt || a.bodyLogOffset - b.bodyLogOffset;
}

export function writeTimer(
  view: DataView,
  at: number,
  { timer, recall }: { readonly timer: Timer; readonly recall: boolean },
): void {
  setU64(view, at, timer.dueAt);
  setU64(view, at + 8, timer.bodyLogOffset);
  view.setUint32(at + 16, timer.size);
  view.setUint32(at + 20, timer.keyHash);
  view.setUint32(at + 24, timer.tagHash);
  view.setUint32(at + 28, timer.idHash);
  setU64(view, at + 32, timer.topicGen);
  view.setUint16(at + 40, timer.queueId);
  view.setUint16(at + FLAGS_AT, recall ? FLAG_RECALLED : 0);
}

/** What stands for a recall: of its timer only the place is known. */
export function recallOf({ dueAt, bodyLogOffset }: TimerKey): Timer {
  const unknown = { size: 0, keyHash: 0, tagHash: 0, idHash: 0, topicGen: 0, queueId: 0 };
  return { dueAt, bodyLogOffset, ...unknown };
}

/** Timers side by side, as they lie in memory and in files. */
export class TimerEntries {
  readonly #view: DataView;
  readonly count: number;

  constructor(bytes: Uint8Array) {
    this.#view = viewOf(bytes);
    this.count = Math.floor(bytes.length / TIMER_SIZE);
  }

  dueAt(index: number): number {
    return getU64(this.#view, index * TIMER_SIZE);
  }

  bodyLogOffset(index: number): number {
    return getU64(this.#view, index * TIMER_SIZE + 8);
  }

  isRecall(index: number): boolean {
    return (this.#view.getUint16(index * TIMER_SIZE + FLAGS_AT) & FLAG_RECALLED) !== 0;
  }

  timer(index: number): Timer {
    return readTimer(this.#view, index * TIMER_SIZE);
  }

  /** The first index whose key is at or behind `key`; `count` when there is none. */
  firstFrom(key: TimerKey): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order =
        this.dueAt(middle) - key.dueAt || this.bodyLogOffset(middle) - key.bodyLogOffset;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export function readTimer(view: DataView, at: number): Timer {
  return {
    dueAt: getU64(view, at),
    bodyLogOffset: getU64(view, at + 8),
    size: view.getUint32(at + 16),
    keyHash: view.getUint32(at + 20),
    tagHash: view.getUint32(at + 24),
    idHash: view.getUint32(at + 28),
    topicGen: getU64(view, at + 32),
    queueId: view.getUint16(at + 40),
  };
}

/** The timer a record starts; undefined for one that starts none. */
export function timerOf(frame: Frame): Timer | undefined {
  const dueAt = dueAtIn(frame);
  const message = dueAt === undefined ? undefined : messageIn(frame);
  const idHash = message && messageIdHash(frame, message);
  if (dueAt === undefined || !message || idHash === undefined) return undefined;
  const { view } = frame;
  const { at } = message;
  return {
    dueAt,
    bodyLogOffset: frame.logOffset,
    size: frame.size,
    keyHash: MessageFields.keyHash(view, at),
    tagHash: MessageFields.tagHash(view, at),
    idHash,
    topicGen: MessageFields.topicGen(view, at),
    queueId: MessageFields.queueId(view, at),
  };
}
