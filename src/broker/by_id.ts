/**
 * One message by its id: showing it, scheduled or visible, and recalling it.
 *
 * A record of a delayed message does not know its queueOffset; once it is
 * visible, it is looked for in its queue, from the time it was due on. The same
 * goes for one of a transaction, from the time that was committed on; before, or
 * when it is rolled back, it does not exist for readers.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { stableHash } from "../../storage/base/hash.ts";
import { decodeMessage } from "../../storage/base/message.ts";
import { type Frame, messageIn, type TimerKey } from "../../storage/mod.ts";
import type { ScheduledMessage, StoredMessage } from "./api.ts";
import { commit } from "./core.ts";
import { encodeQueueCursor } from "./cursor.ts";
import { topicNamed } from "./define.ts";
import type { Shell } from "./shell.ts";
import type { TopicState } from "./topics.ts";

export interface Candidate {
  readonly frame: Frame;
  readonly payload: Uint8Array;
  readonly publishedAt: number;
  readonly queueId: number;
  /** −1 for a delayed one. */
  readonly queueOffset: number;
  readonly deliverAt: number | undefined;
  readonly txnId: string | undefined;
}

/** The newest message with this id that was not recalled. @throws `topic-not-found`, `message-not-found` */
export async function getById(
  shell: Shell,
  { name, id }: { readonly name: string; readonly id: string },
): Promise<StoredMessage | ScheduledMessage> {
  const topic = await topicToRead(shell, name);
  for await (const candidate of candidates(shell, { topic, id })) {
    const found = await show(shell, { topic, candidate });
    if (found) return found;
  }
  return shell.refuse(notFound(name, id));
}

/** @throws `topic-not-found`, `message-not-found`, `already-delivered` */
export async function recallById(
  shell: Shell,
  { name, id }: { readonly name: string; readonly id: string },
): Promise<void> {
  const topic = await topicToRead(shell, name);
  for await (const candidate of candidates(shell, { topic, id })) {
    const timer = timerOf(candidate);
    const recalled = timer && (await recall(shell, { topic, timer }));
    if (recalled) return shell.replies.confirmed(undefined, "some");
    if (!(await show(shell, { topic, candidate }))) continue; // it was recalled before
    const detail = `Cannot recall message "${id}" of "${name}": it was delivered`;
    return shell.refuse(new TidegateError("already-delivered", detail, { id }));
  }
  return shell.refuse(notFound(name, id));
}

export function notFound(name: string, id: string): TidegateError {
  const detail = `Cannot find message "${id}" in "${name}": no message has this id`;
  return new TidegateError("message-not-found", detail, { id });
}

/** What is read of a topic is confirmed; only its definition may still have to be. */
export function topicToRead(shell: Shell, name: string): TopicState | Promise<TopicState> {
  const topic = shell.core.fold.topics.named(name);
  const sure = topic && topic.definedAt < shell.store.log.confirmOffset;
  return sure ? topic : shell.decide(() => topicNamed(shell.core, name));
}

/** The records of the topic's messages with this id, newest first. */
export async function* candidates(
  { store }: Shell,
  { topic, id }: { readonly topic: TopicState; readonly id: string },
): AsyncGenerator<Candidate> {
  const hash = stableHash(id);
  for (const segment of store.log.segments.toReversed()) {
    for (const logOffset of await store.indexes.ids.find(hash, segment.base)) {
      const frame = await store.log.readAt(logOffset);
      const stored = messageIn(frame);
      const message = stored && decodeMessage(stored.payload);
      if (!frame || !stored || message?.id !== id) continue;
      if (message.topicGen !== topic.generation) continue;
      const { queueId, deliverAt, txnId, bornAt } = message;
      const { queueOffset, payload, carried } = stored;
      const publishedAt = carried ? bornAt : frame.storedAt;
      yield { frame, payload, queueId, queueOffset, deliverAt, txnId, publishedAt };
    }
  }
}

/** Undefined for a message that was never delayed, and for one that waits for a decision. */
function timerOf({ frame, queueOffset, deliverAt }: Candidate): TimerKey | undefined {
  if (queueOffset !== -1 || deliverAt === undefined) return undefined;
  return { dueAt: deliverAt, bodyLogOffset: frame.logOffset };
}

async function recall(
  shell: Shell,
  { topic, timer }: { readonly topic: TopicState; readonly timer: TimerKey },
): Promise<boolean> {
  return shell.core.timers.withState(timer, (state) => {
    if (state !== "scheduled") return false;
    shell.admitDecision();
    const record = { topicGen: topic.generation, bodyLogOffset: timer.bodyLogOffset };
    commit(shell.core, { kind: "recall", record, now: shell.now() });
    shell.store.log.flush();
    return true;
  });
}

/** Undefined for one that was recalled, or is nobody's yet. */
async function show(
  shell: Shell,
  { topic, candidate }: { readonly topic: TopicState; readonly candidate: Candidate },
): Promise<StoredMessage | ScheduledMessage | undefined> {
  const { frame, queueId, queueOffset, payload, publishedAt } = candidate;
  if (queueOffset !== -1) {
    if (queueOffset < (topic.first[queueId] ?? 0)) return undefined; // it was removed
    return visible(topic, candidate);
  }
  const timer = timerOf(candidate);
  if (!timer) return showCommitted(shell, { topic, candidate });
  const state = await shell.core.timers.withState(timer, (found) => found);
  await shell.replies.confirmed(undefined, "none"); // it may rest on a reveal or recall of this moment
  if (state === "recalled") return undefined;
  if (state === "passed") {
    return findRevealed(shell, { topic, frame, payload, queueId, since: timer.dueAt });
  }
  const { dueAt: deliverAt } = timer;
  return { state: "scheduled", topic: topic.name, queueId, deliverAt, publishedAt, payload };
}

/** One of a transaction; of a forgotten one only the queue knows how it was decided. */
async function showCommitted(
  shell: Shell,
  { topic, candidate }: { readonly topic: TopicState; readonly candidate: Candidate },
): Promise<StoredMessage | undefined> {
  const { frame, payload, queueId, txnId } = candidate;
  if (txnId === undefined) return undefined;
  const transaction = shell.core.fold.transactions.find(txnId, shell.now());
  const { state = "committed", decidedAt = frame.storedAt } = transaction ?? {};
  await shell.replies.confirmed(undefined, "none"); // it may rest on a decision of this moment
  if (state !== "committed") return undefined;
  return findRevealed(shell, { topic, frame, payload, queueId, since: decidedAt });
}

function visible(
  topic: TopicState,
  message: {
    readonly payload: Uint8Array;
    readonly queueId: number;
    readonly queueOffset: number;
    readonly publishedAt: number;
  },
): StoredMessage {
  const { payload, queueId, queueOffset, publishedAt } = message;
  const after = { topicGen: topic.generation, queueId, queueOffset: queueOffset + 1 };
  const cursor = encodeQueueCursor(after);
  return { topic: topic.name, queueId, queueOffset, cursor, publishedAt, payload };
}

/** Units looked at per read. */
const SCAN_UNITS = 1000;

/** The message where it came to lie: it became visible at `since`, or later. */
async function findRevealed(
  { store }: Shell,
  at: {
    readonly topic: TopicState;
    readonly frame: Frame;
    readonly payload: Uint8Array;
    readonly queueId: number;
    readonly since: number;
  },
): Promise<StoredMessage | undefined> {
  const { topic, frame, payload, queueId, since: time } = at;
  const queue = { topicGen: topic.generation, queueId };
  const base = store.log.offsetAt(time);
  let from = await store.reader.seek(queue, { by: "time", time, base });
  for (;;) {
    const slice = await store.reader.read(queue, { from, max: SCAN_UNITS });
    if (slice.units.length === 0) return undefined;
    const index = slice.units.findIndex((unit) => unit.bodyLogOffset === frame.logOffset);
    const unit = slice.units[index];
    const queueOffset = slice.firstOffset + index;
    if (unit) return visible(topic, { payload, queueId, queueOffset, publishedAt: unit.visibleAt });
    from = slice.firstOffset + slice.units.length;
  }
}
