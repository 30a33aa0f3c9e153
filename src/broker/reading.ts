/**
 * Log reads: pages of what is visible, from a cursor on. The reader owns its
 * position; nothing is kept here.
 *
 * A queue is read in the order of its offsets. A topic is read in log order: its
 * queues are merged by the log offset that made each message visible, up to the
 * confirmOffset at the start of the read, so that two readers see one order.
 *
 * A key is looked for in all queues, for a topic that grew may hold it in two.
 * How a page is filled, and what it may cost, is in page.ts.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { MessageStore } from "../../storage/mod.ts";
import type { ReadPage, ReadRequest, Start } from "./api.ts";
import { loadPayloads, storedMessage } from "./bodies.ts";
import {
  decodeCursor,
  encodeQueueCursor,
  encodeStreamCursor,
  positionOf,
  type StreamPosition,
} from "./cursor.ts";
import { checkQueueKept, checkStreamKept } from "./kept.ts";
import { MergedQueues } from "./merge.ts";
import { fillPage, type Kept, PageBuilder, readAhead, type Step, type Wanted } from "./page.ts";
import type { TopicState } from "./topics.ts";
import { QueueSource, StreamSource, type UnitSource } from "./unit_source.ts";

/** Where a read goes on. */
export type Position =
  | { readonly kind: "queue"; readonly queueId: number; readonly queueOffset: number }
  | { readonly kind: "stream"; readonly position: StreamPosition };

export type LogPage = ReadPage & { readonly position: Position };

/** Whose positions they are. */
interface Scope {
  readonly topicGen: number;
  readonly brokerGroup: number;
}

export class LogReader {
  readonly #store: MessageStore;
  readonly #brokerGroup: number;
  readonly #pause: () => Promise<void>;

  /** @param pause lets other work run between the steps of a long scan. */
  constructor(
    store: MessageStore,
    { brokerGroup, pause }: { readonly brokerGroup: number; readonly pause: () => Promise<void> },
  ) {
    this.#store = store;
    this.#brokerGroup = brokerGroup;
    this.#pause = pause;
  }

  /** @throws `invalid-cursor`, `cursor-generation`, `cursor-expired` */
  async start(topic: TopicState, request: ReadRequest): Promise<Position> {
    const { start, queueId } = request;
    if (queueId !== undefined && queueId >= topic.config.queues) {
      const detail = `Cannot read queue ${queueId} of "${topic.name}": it has ${topic.config.queues}`;
      throw new TidegateError("invalid-request", detail, { queues: topic.config.queues });
    }
    const fromCursor = start.kind === "cursor" ? this.#fromCursor(topic, start.cursor) : undefined;
    if (fromCursor) await this.check(topic, fromCursor);
    if (fromCursor?.kind === "queue") {
      if (queueId === undefined || queueId === fromCursor.queueId) return fromCursor;
      const detail = `Cannot read queue ${queueId} from a cursor of queue ${fromCursor.queueId}`;
      throw new TidegateError("invalid-cursor", detail);
    }
    if (queueId === undefined) {
      return fromCursor ?? { kind: "stream", position: await this.#streamStart(topic, start) };
    }
    const queue = { topicGen: topic.generation, queueId };
    const position = fromCursor?.position ?? (await this.#streamStart(topic, start));
    return { kind: "queue", queueId, queueOffset: await this.#seekBehind(queue, position) };
  }

  /** @throws `cursor-expired` when messages behind the position were removed. */
  check(topic: TopicState, at: Position): Promise<void> | undefined {
    if (at.kind === "queue") return checkQueueKept(this.#store, { topic, ...at });
    const { position } = at;
    return checkStreamKept(this.#store, { topic, position, brokerGroup: this.#brokerGroup });
  }

  encode(topic: TopicState, position: Position): string {
    return encodePosition(this.#scope(topic), position);
  }

  #fromCursor(topic: TopicState, text: string): Position {
    const cursor = decodeCursor(text);
    if (cursor.topicGen !== topic.generation) {
      const detail = `Cannot read "${topic.name}" from the cursor: it is of an earlier topic of this name`;
      throw new TidegateError("cursor-generation", detail);
    }
    if (cursor.kind === "stream") {
      return { kind: "stream", position: positionOf(cursor, this.#brokerGroup) };
    }
    const { queueId, queueOffset } = cursor;
    return { kind: "queue", queueId, queueOffset };
  }

  async #streamStart(topic: TopicState, start: Start): Promise<StreamPosition> {
    if (start.kind === "latest") return { logOffset: this.#store.log.confirmOffset, index: 0 };
    if (start.kind !== "time") return { logOffset: 0, index: 0 };
    return { logOffset: await this.logOffsetOf(topic, start.time), index: 0 };
  }

  /** Where the first message lies that became visible at `time` or later; else where the log ends. */
  async logOffsetOf(topic: TopicState, time: number): Promise<number> {
    let earliest = this.#store.log.confirmOffset;
    const base = this.#store.log.offsetAt(time);
    for (let queueId = 0; queueId < topic.config.queues; queueId++) {
      const queue = { topicGen: topic.generation, queueId };
      const from = await this.#store.reader.seek(queue, { by: "time", time, base });
      const [unit] = (await this.#store.reader.read(queue, { from, max: 1 })).units;
      earliest = Math.min(earliest, unit?.visibleLogOffset ?? Infinity);
    }
    return earliest;
  }

  /** The queueOffset of the first message behind a position: what was read of its record is left out. */
  async #seekBehind(
    { topicGen, queueId }: { readonly topicGen: number; readonly queueId: number },
    { logOffset, index }: StreamPosition,
  ): Promise<number> {
    const range = async (id: number) => {
      const from = await this.#seek({ topicGen, queueId: id }, { logOffset });
      if (index === 0) return { from, count: 0 };
      const to = await this.#seek({ topicGen, queueId: id }, { logOffset: logOffset + 1 });
      return { from, count: to - from };
    };
    const { from, count } = await range(queueId);
    let read = index;
    for (let before = 0; count > 0 && read > 0 && before < queueId; before++) {
      read -= (await range(before)).count;
    }
    return from + Math.min(count, Math.max(0, read));
  }

  /** The queueOffset of the first message visible at or behind a log offset. */
  async #seek(
    queue: { readonly topicGen: number; readonly queueId: number },
    { logOffset }: Pick<StreamPosition, "logOffset">,
  ): Promise<number> {
    const base = this.#store.log.segmentAt(logOffset)?.base ?? 0;
    return this.#store.reader.seek(queue, { by: "log", logOffset, base });
  }

  /**
   * One page, which may be empty and yet not up to date: what it passed over
   * moves its position.
   *
   * @throws `data-damaged` with how to step over it, when damage comes first.
   */
  async page(
    topic: TopicState,
    { position, request, wanted }: { position: Position; request: ReadRequest; wanted: Wanted },
  ): Promise<LogPage> {
    const scope = this.#scope(topic);
    const page = new PageBuilder(request, { position, wanted });
    const source = await this.#source(topic, { position, limit: request.limit, wanted });
    await fillPage(page, {
      source,
      load: (visible) => loadPayloads(this.#store, { topic, visible }),
      pause: this.#pause,
    });
    if (page.damaged && page.kept.length === 0)
      throw damagedError(topic, { step: page.damaged, scope });
    await source.fill();
    const upToDate = !page.cutShort && source.peek() === undefined && source.exhausted;
    const end = upToDate ? source.end : page.position;
    const { kept } = page;
    return pageOf(topic, { kept, request, upToDate, scope, from: position, position: end });
  }

  /** Nothing lies behind the position: so most reads begin that wait, and it is known at once. */
  isLast({ generation }: TopicState, at: Position): boolean {
    if (at.kind === "stream") return at.position.logOffset >= this.#store.log.confirmOffset;
    return at.queueOffset >= (this.#store.queues.find(generation, at.queueId)?.end ?? 0);
  }

  /** What a reader is told who has seen all there is. */
  lastPage(
    topic: TopicState,
    { position, request }: { position: Position; request: ReadRequest },
  ): LogPage {
    const scope = this.#scope(topic);
    return pageOf(topic, { kept: [], request, upToDate: true, scope, from: position, position });
  }

  #scope({ generation: topicGen }: TopicState): Scope {
    return { topicGen, brokerGroup: this.#brokerGroup };
  }

  async #source(
    { generation: topicGen, config: { queues } }: TopicState,
    about: { position: Position; limit: number; wanted: Wanted },
  ): Promise<UnitSource> {
    const { position } = about;
    const { reader } = this.#store;
    if (position.kind === "queue") {
      const { queueId, queueOffset: from } = position;
      const end = this.#store.queues.find(topicGen, queueId)?.end ?? 0;
      return new QueueSource(reader, {
        queue: { topicGen, queueId },
        from,
        end,
        ahead: readAhead(about, 1),
      });
    }
    const from = position.position;
    const end = this.#store.log.confirmOffset;
    const merged = new MergedQueues(reader, { topicGen, end, ahead: readAhead(about, queues) });
    const queueIds = Array.from({ length: queues }, (_, queueId) => queueId);
    if (from.logOffset < end) {
      await merged.start(queueIds, (queueId) => this.#seek({ topicGen, queueId }, from));
    }
    return new StreamSource(merged, { from, end }).skipRead();
  }
}

function pageOf(
  topic: TopicState,
  about: {
    readonly kept: readonly Kept[];
    readonly request: ReadRequest;
    readonly upToDate: boolean;
    readonly scope: Scope;
    readonly from: Position;
    readonly position: Position;
  },
): LogPage {
  const { generation } = topic;
  const { kept, request, upToDate, scope, position } = about;
  const messages = kept.map((one) => storedMessage(topic, one));
  const cursors = request.cursors && kept.map(({ after }) => encodePosition(scope, after));
  const cursor = encodePosition(scope, position);
  const from = about.from === position ? cursor : encodePosition(scope, about.from);
  const places = cursors && { cursors, from };
  const of = position.kind === "queue" ? { queueId: position.queueId } : {};
  return { messages, cursor, upToDate, generation, position, ...of, ...places };
}

function damagedError(
  topic: TopicState,
  { step, scope }: { readonly step: Step; readonly scope: Scope },
): TidegateError {
  const { visible, after } = step;
  const { queueId, queueOffset, unit } = visible;
  const detail = `Cannot read message ${queueOffset} of queue ${queueId} of "${topic.name}": its bytes are damaged`;
  const from = unit.size > 0 ? unit.bodyLogOffset : unit.visibleLogOffset;
  return new TidegateError("data-damaged", detail, {
    queueId,
    queueOffset: String(queueOffset),
    range: { from: String(from), to: String(from + unit.size) },
    next: encodePosition(scope, after),
  });
}

function encodePosition({ topicGen, brokerGroup }: Scope, at: Position): string {
  if (at.kind === "queue") {
    return encodeQueueCursor({ topicGen, queueId: at.queueId, queueOffset: at.queueOffset });
  }
  return encodeStreamCursor({ topicGen, positions: [{ brokerGroup, ...at.position }] });
}
