/**
 * The trace of a message: what happened to it, oldest first, from the records of the log that the ops
 * tables name for it.
 *
 *   body ──▶ until it is visible, what is about the body or its transaction
 *        ──▶ from then on, what is about its place in its queue
 *
 * It reaches as far back as the log does. A page reads a bounded number of records and looks into a
 * bounded number of segments; it may end early, even empty, with a token to go on.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { decodeMessage } from "../../storage/base/message.ts";
import {
  type About,
  aboutBody,
  aboutOffset,
  aboutQueue,
  aboutTransaction,
  type Frame,
  messageIn,
} from "../../storage/mod.ts";
import type { Trace, TraceEvent, TraceRequest } from "./api.ts";
import { candidates, notFound, topicToRead } from "./by_id.ts";
import { decodeTraceToken, encodeTraceToken, type TracePosition } from "./page_token.ts";
import type { Shell } from "./shell.ts";
import type { TopicState } from "./topics.ts";
import { eventsIn, type Told, type Traced } from "./trace_events.ts";

/** What a page may cost. */
const RECORDS_MAX = 2000;
const SEGMENTS_MAX = 128;
/** Records read in one go. */
const CHUNK = 64;

/** @throws `topic-not-found`, `message-not-found`, `invalid-cursor`, `cursor-generation` */
export async function trace(shell: Shell, request: TraceRequest): Promise<Trace> {
  const topic = await topicToRead(shell, request.topic);
  const { position, frame } = await startOf(shell, { topic, request });
  const stored = messageIn(frame);
  const message = stored && decodeMessage(stored.payload);
  if (!frame || !stored || message?.id !== request.id || message.topicGen !== topic.generation) {
    const detail = "Cannot go on from the page token: it is of another message";
    throw new TidegateError("invalid-cursor", detail);
  }
  const { queueId, deliverAt, txnId } = message;
  const known = stored.queueOffset === -1 ? position.queueOffset : stored.queueOffset;
  const { bodyLogOffset } = position;
  const traced = { topicGen: topic.generation, queueId, bodyLogOffset, deliverAt, txnId };
  const walk = new TraceWalk(shell, { ...traced, queueOffset: known }, request.limit);
  const goesOnAt = await walk.from(position.logOffset);
  const { queueOffset } = walk.traced;
  return {
    topic: topic.name,
    id: request.id,
    queueId,
    queueOffset,
    since: shell.store.log.segments[0]?.firstStoredAt ?? 0,
    events: walk.events,
    next:
      goesOnAt === undefined
        ? undefined
        : encodeTraceToken({ bodyLogOffset, logOffset: goesOnAt, queueOffset }, topic),
  };
}

async function startOf(
  shell: Shell,
  { topic, request }: { readonly topic: TopicState; readonly request: TraceRequest },
): Promise<{ readonly position: TracePosition; readonly frame: Frame | undefined }> {
  const { id, after } = request;
  if (after !== undefined) {
    const position = decodeTraceToken(after, topic);
    if (position.bodyLogOffset < shell.store.log.start) {
      return shell.refuse(notFound(topic.name, id));
    }
    return { position, frame: await messageAt(shell, position.bodyLogOffset) };
  }
  for await (const { frame } of candidates(shell, { topic, id })) {
    const { logOffset: bodyLogOffset } = frame;
    // One that was copied forward is younger than what happened to it before.
    const logOffset = messageIn(frame)?.carried ? shell.store.log.start : bodyLogOffset;
    const position = { bodyLogOffset, logOffset, queueOffset: undefined };
    return { position, frame };
  }
  return shell.refuse(notFound(topic.name, id));
}

async function messageAt({ store }: Shell, logOffset: number): Promise<Frame | undefined> {
  if (logOffset >= store.log.confirmOffset) return undefined;
  return store.log.readAt(logOffset);
}

/** A copy of a message is stored later than the message was. */
function happenedAt(frame: Frame): number {
  const stored = messageIn(frame);
  const message = stored?.carried ? decodeMessage(stored.payload) : undefined;
  return message?.bornAt ?? frame.storedAt;
}

class TraceWalk {
  readonly events: TraceEvent[] = [];
  readonly #shell: Shell;
  readonly #limit: number;
  traced: Traced;
  #recordsLeft = RECORDS_MAX;
  /** Recalled or rolled back: nothing more can happen to it. */
  #over = false;

  constructor(shell: Shell, traced: Traced, limit: number) {
    this.#shell = shell;
    this.traced = traced;
    this.#limit = limit;
  }

  get #full(): boolean {
    return this.events.length >= this.#limit || this.#recordsLeft <= 0;
  }

  /** Gathers events from there on; returns where to go on, undefined when nothing is left. */
  async from(start: number): Promise<number | undefined> {
    const { log } = this.#shell.store;
    let segmentsLeft = SEGMENTS_MAX;
    let from = start;
    for (const { base, end = Infinity } of [...log.segments]) {
      if (end <= from) continue;
      if (segmentsLeft-- === 0) return base;
      from = Math.max(from, base);
      const goesOnAt = await this.#segment(base, from);
      if (this.#over) return undefined;
      if (goesOnAt !== undefined) return goesOnAt;
    }
    return undefined;
  }

  /** Returns where to go on when the page is full. */
  async #segment(base: number, start: number): Promise<number | undefined> {
    for (let from = start; !this.#over; ) {
      const places = await this.#places({ base, from });
      if (places.length === 0) return undefined;
      for (const place of places) {
        if (this.#full) return place;
        const visible = this.traced.queueOffset !== undefined;
        await this.#take(place);
        from = place + 1;
        if (this.#over) return undefined;
        if (visible !== (this.traced.queueOffset !== undefined)) break; // other records matter now
      }
      await this.#shell.pause();
    }
    return undefined;
  }

  /** The next records that may be about it: some of them, ascending. */
  async #places(range: { readonly base: number; readonly from: number }): Promise<number[]> {
    const { bodyLogOffset } = this.traced;
    const { ops } = this.#shell.store.indexes;
    const found = await Promise.all(
      this.#abouts().map((about) => ops.find(about, { ...range, max: CHUNK })),
    );
    const { base } = this.#shell.store.log.segmentAt(bodyLogOffset) ?? {};
    if (base === range.base && range.from <= bodyLogOffset) found.push([bodyLogOffset]);
    // Behind the last of a list that was cut short others may miss.
    const known = found.map((list) => (list.length < CHUNK ? Infinity : (list.at(-1) as number)));
    const last = Math.min(...known);
    return [...new Set(found.flat())].filter((place) => place <= last).sort((a, b) => a - b);
  }

  #abouts(): About[] {
    const { traced } = this;
    const { bodyLogOffset, txnId, queueOffset } = traced;
    if (queueOffset !== undefined) return [aboutOffset(traced, queueOffset), aboutQueue(traced)];
    return [aboutBody(bodyLogOffset), ...(txnId === undefined ? [] : [aboutTransaction(txnId)])];
  }

  async #take(logOffset: number): Promise<void> {
    this.#recordsLeft--;
    const frame = await this.#shell.store.log.readAt(logOffset);
    if (!frame) return; // damaged; it is reported elsewhere
    for (const told of eventsIn(frame, this.traced)) this.#tell(told, happenedAt(frame));
  }

  #tell({ groupGen, ...told }: Told, at: number): void {
    const group =
      groupGen === undefined ? undefined : this.#shell.core.fold.groups.of(groupGen)?.name;
    this.events.push({ ...told, at, group });
    const { event, queueOffset } = told;
    if (event === "revealed") this.traced = { ...this.traced, queueOffset };
    if (event === "recalled" || event === "rolledBack") this.#over = true;
  }
}
