/**
 * Bodies that somebody holds beyond retention, and that lie before a log offset: of
 * leased, retrying and dead-lettered messages whose place was removed, of
 * transactions that are not decided, of delayed messages that wait.
 *
 * Each is copied forward by a `carry` record once it is asked for, and then lies
 * behind. Bodies are read in small numbers; between two steps other work runs.
 *
 * @module
 */

import { MessageFields } from "../../storage/base/message.ts";
import {
  type Frame,
  messageIn,
  type MessageStore,
  readFrames,
  type TimerKey,
  timerOf,
} from "../../storage/mod.ts";
import { loadPayloads, type Visible, visibleAt } from "./bodies.ts";
import { type Core, commit } from "./core.ts";
import type { PopQueue } from "./pop_queue.ts";

interface Shelf {
  readonly core: Core;
  readonly store: MessageStore;
  now(): number;
}

/** Bodies in memory at once. */
const BATCH = { count: 64, bytes: 1024 * 1024 } as const;

/**
 * Copies forward what groups hold. Yields after each step, what it appended in bytes.
 *
 * @param start bodies before it are copied.
 */
export async function* carryHeld(shelf: Shelf, start: number): AsyncGenerator<number> {
  const { core } = shelf;
  for (const group of core.fold.groups.all()) {
    for (const subscription of group.subscriptions.values()) {
      for (const queue of subscription.queues) {
        const offsets = queue ? heldOffsets(core, queue, start) : [];
        for (let at = 0; queue && at < offsets.length; at += BATCH.count) {
          yield* carryPlaces(shelf, { queue, offsets: offsets.slice(at, at + BATCH.count), start });
        }
      }
    }
  }
}

/** The removed messages of a queue that its group holds, and whose bodies may lie before `start`. */
function heldOffsets({ fold }: Core, queue: PopQueue, start: number): number[] {
  const { topicGen, queueId } = queue;
  const first = fold.topics.of(topicGen)?.first[queueId] ?? 0;
  const held = new Set<number>();
  for (const offsets of [queue.open.keys(), queue.dead.keys()]) {
    for (const queueOffset of offsets) {
      if (queueOffset >= first) continue;
      const carried = fold.carried.find({ topicGen, queueId, queueOffset });
      if (!carried || carried.bodyLogOffset < start) held.add(queueOffset);
    }
  }
  return [...held].sort((a, b) => a - b);
}

async function* carryPlaces(
  shelf: Shelf,
  wish: { readonly queue: PopQueue; readonly offsets: readonly number[]; readonly start: number },
): AsyncGenerator<number> {
  const { queue, offsets, start } = wish;
  const found = await visibleAt(shelf, { queue, offsets });
  const old = found.filter(({ unit }) => unit.size > 0 && unit.bodyLogOffset < start);
  for (const batch of batches(old, ({ unit }) => unit.size)) {
    yield await carryBatch(shelf, { queue, batch });
  }
}

/** What cannot be read is damaged: its group is told when it is delivered. */
async function carryBatch(
  { core, store, now }: Shelf,
  { queue, batch }: { readonly queue: PopQueue; readonly batch: readonly Visible[] },
): Promise<number> {
  const { topicGen, queueId } = queue;
  const topic = core.fold.topics.of(topicGen);
  if (!topic) return 0;
  const payloads = await loadPayloads(store, { topic, visible: batch });
  let bytes = 0;
  for (const [i, { queueOffset, unit }] of batch.entries()) {
    const message = payloads[i];
    const held = queue.open.has(queueOffset) || queue.dead.has(queueOffset);
    const there = core.fold.topics.of(topicGen) === topic;
    if (!message || !held || !there) continue; // it was settled meanwhile, or its topic went
    const { bodyLogOffset: oldBodyLogOffset, visibleAt: at } = unit;
    const place = { topicGen, queueId, queueOffset, visibleAt: at };
    const record = { oldBodyLogOffset, ...place, message };
    commit(core, { kind: "carry", record, now: now() });
    bytes += unit.size;
  }
  return bytes;
}

/** Copies forward the messages that wait for a decision. */
export async function* carryHalves(shelf: Shelf, start: number): AsyncGenerator<number> {
  const { core, store, now } = shelf;
  for (const transaction of core.fold.transactions.open()) {
    for (const { bodyLogOffset, size } of transaction.halves) {
      if (bodyLogOffset >= start) continue;
      const frame = await store.log.read({ logOffset: bodyLogOffset, size });
      const waits = transaction.halves.some((half) => half.bodyLogOffset === bodyLogOffset);
      if (frame && waits) yield carryDeferred(core, { frame, now: now() });
    }
  }
}

/** Copies forward the delayed messages of a segment that wait for their time. */
export async function* carryTimers(
  shelf: Shelf,
  segment: { readonly base: number; readonly end: number },
): AsyncGenerator<number> {
  const { core, store, now } = shelf;
  const places: { readonly logOffset: number; readonly size: number }[] = [];
  await store.timersIn(segment, (place) => places.push(place));
  for (const batch of batches(places, ({ size }) => size)) {
    let bytes = 0;
    for (const frame of await readFrames(store.log, batch)) {
      const key = frame && timerOf(frame);
      if (frame && key) bytes += await carryTimer(core, { frame, key, now });
    }
    yield bytes;
  }
}

/** Some at a time, by what they take together. */
function* batches<P>(places: readonly P[], sizeOf: (place: P) => number): Generator<P[]> {
  let batch: P[] = [];
  let bytes = 0;
  for (const place of places) {
    const full = batch.length === BATCH.count || bytes + sizeOf(place) > BATCH.bytes;
    if (batch.length > 0 && full) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(place);
    bytes += sizeOf(place);
  }
  if (batch.length > 0) yield batch;
}

async function carryTimer(
  core: Core,
  { frame, key, now }: { readonly frame: Frame; readonly key: TimerKey; now(): number },
): Promise<number> {
  return core.timers.withState(key, (state) =>
    state === "scheduled" ? carryDeferred(core, { frame, now: now() }) : 0,
  );
}

/** A message without a place yet. @returns the bytes appended; none when its topic went. */
function carryDeferred(
  core: Core,
  { frame, now }: { readonly frame: Frame; readonly now: number },
): number {
  const message = messageIn(frame);
  if (!message) return 0;
  const topicGen = MessageFields.topicGen(frame.view, message.at);
  const queueId = MessageFields.queueId(frame.view, message.at);
  if (!core.fold.topics.of(topicGen)) return 0;
  const place = { topicGen, queueId, queueOffset: -1, visibleAt: 0 };
  const record = { oldBodyLogOffset: frame.logOffset, ...place, message: message.payload };
  commit(core, { kind: "carry", record, now });
  return frame.size;
}
