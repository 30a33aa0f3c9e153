/**
 * Describing entities again where the log is to stay: `state` records for all whose
 * last full description lies before a log offset.
 *
 * In an order in which each can be read back: topics before groups, those before the
 * groups' places in queues, dead letters before the place they are in. When a topic
 * or a group is described, what stands on it follows, though it was described before:
 * the replay of a shortened log takes it down with the old one (restore.ts).
 *
 * Each generator yields after a step, what it appended in bytes; between steps the
 * state may change, for what is made meanwhile is described by the log behind.
 *
 * @module
 */

import { type Entry, recordFrameSize, type RecordOf, type RecordPlace } from "../../storage/mod.ts";
import { groupEntry, letterEntry, offsetsEntry, placeEntry, topicEntry } from "./changes.ts";
import type { Core } from "./core.ts";
import { keyOf, write } from "./entities.ts";
import type { PopQueue } from "./pop_queue.ts";
import { producerGroupEntry } from "./producer_groups.ts";
import { producerEntry } from "./producers.ts";
import type { TopicState } from "./topics.ts";
import { transactionEntry } from "./transactions.ts";
import { fields } from "../../storage/mod.ts";

interface Where {
  /** What is described before is described again. */
  readonly start: number;
  now(): number;
}

/** Entities looked at and found in order between two steps. */
const LOOK_MAX = 10_000;

export function* describeAll(core: Core, where: Where): Generator<number> {
  const { fold } = core;
  yield* each(fold.topics.all(), where, (topic) => describeTopic(core, topic, where));
  yield* each(fold.groups.all(), where, (one) => state(core, groupEntry(one), where));
  const { producers, producerGroups, transactions } = fold;
  yield* each(producerGroups.all(), where, (one) => state(core, producerGroupEntry(one), where));
  yield* each(producers.all(), where, (one) => state(core, producerEntry(one), where));
  yield* each(transactions.all(), where, (one) => state(core, transactionEntry(one), where));
  for (const group of fold.groups.all()) {
    for (const subscription of group.subscriptions.values()) {
      for (const queue of subscription.queues) if (queue) yield* describePlace(core, queue, where);
    }
  }
  const generation = write(fields.u64, fold.lastGeneration);
  yield state(core, [keyOf("A"), generation], where).size;
}

interface Appended {
  readonly place: RecordPlace;
  readonly size: number;
}

/** Those among `entities` that are described too early; what is added meanwhile is looked at as well. */
function* each<T extends { describedAt: number }>(
  entities: Iterable<T>,
  { start }: Where,
  describe: (entity: T) => Appended,
): Generator<number> {
  let looked = 0;
  for (const entity of entities) {
    if (entity.describedAt >= start) {
      if (++looked % LOOK_MAX === 0) yield 0;
      continue;
    }
    const { place, size } = describe(entity);
    entity.describedAt = place.logOffset;
    yield size;
  }
}

/** Not folded: it says what is so. */
function state(core: Core, [key, value]: Entry, { now }: Where): Appended {
  const record = { key, value };
  const place = core.sink.append("state", record, now());
  return { place, size: recordFrameSize("state", record) };
}

/** With its offsets and heads, in one unit; the heads tell storage as well. */
function describeTopic(core: Core, topic: TopicState, { now }: Where): Appended {
  const states = [topicEntry(topic), offsetsEntry(topic)].map(([key, value]) => ({ key, value }));
  const heads: RecordOf<"head">[] = [];
  for (const [queueId, firstOffset = 0] of topic.first.entries()) {
    if (firstOffset === 0) continue;
    heads.push({ topicGen: topic.generation, queueId, firstOffset, cause: "retention" });
  }
  let size = 0;
  for (const record of states) size += recordFrameSize("state", record);
  for (const record of heads) size += recordFrameSize("head", record);
  core.sink.begin(now(), size);
  const places = states.map((record, i) =>
    core.sink.put("state", record, { continued: i === 0 || heads.length > 0 }),
  );
  for (const [i, record] of heads.entries()) {
    core.sink.put("head", record, { continued: i < heads.length - 1 });
  }
  return { place: places[0] as RecordPlace, size };
}

function* describePlace(core: Core, queue: PopQueue, where: Where): Generator<number> {
  const { group } = queue.subscription;
  const topic = core.fold.topics.of(queue.topicGen);
  const due = Math.max(where.start, group.describedAt, topic?.describedAt ?? 0);
  if (queue.describedAt >= due) return;
  let first: number | undefined;
  for (const letter of queue.dead.values()) {
    if (first !== undefined && letter.describedAt >= first) continue;
    const { place, size } = state(core, letterEntry(letter), where);
    letter.describedAt = place.logOffset;
    first ??= place.logOffset;
    yield size;
  }
  if (queue.subscription.queues[queue.queueId] !== queue) return; // its topic went meanwhile
  const { place, size } = state(core, placeEntry(queue), where);
  queue.describedAt = first ?? place.logOffset; // all of it lies there or behind
  yield size;
}
