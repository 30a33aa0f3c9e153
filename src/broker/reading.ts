/**
 * Log reads: pages of what is visible, from a cursor on. The reader owns its
 * position; nothing is kept here.
 *
 * A queue is read in the order of its offsets. A topic is read in log order: its
 * queues are merged by the log offset that made each message visible, up to the
 * confirmOffset at the start of the read, so that two readers see one order.
 *
 * A key is looked for in all queues, for a topic that grew may hold it in two. A
 * page looks at a bounded number of messages; what it passed over moves its
 * cursor all the same.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { decodeMessage } from "../../storage/base/message.ts";
import type { MessageStore } from "../../storage/mod.ts";
import type { ReadPage, ReadRequest, Start, StoredMessage } from "./api.ts";
import { loadMessages } from "./bodies.ts";
import {
  decodeCursor,
  encodeQueueCursor,
  encodeStreamCursor,
  type StreamPosition,
} from "./cursor.ts";
import { MergedQueues } from "./merge.ts";
import { PageBuilder, readAhead, SCAN_MAX, type Taken } from "./page.ts";
import type { TopicState } from "./topics.ts";

/** Where a read goes on. */
export type Position =
  | { readonly kind: "queue"; readonly queueId: number; readonly queueOffset: number }
  | { readonly kind: "stream"; readonly position: StreamPosition };

export class LogReader {
  readonly #store: MessageStore;

  constructor(store: MessageStore) {
    this.#store = store;
  }

  /** @throws `invalid-cursor`, `cursor-generation`, `cursor-expired` */
  async start(topic: TopicState, request: ReadRequest): Promise<Position> {
    const { start, queueId } = request;
    if (queueId !== undefined && queueId >= topic.config.queues) {
      const detail = `Cannot read queue ${queueId} of "${topic.name}": it has ${topic.config.queues}`;
      throw new TidegateError("invalid-request", detail, { queues: topic.config.queues });
    }
    const fromCursor = start.kind === "cursor" ? this.#fromCursor(topic, start.cursor) : undefined;
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

  #fromCursor(topic: TopicState, text: string): Position {
    const cursor = decodeCursor(text);
    if (cursor.topicGen !== topic.generation) {
      const detail = `Cannot read "${topic.name}" from the cursor: it is of an earlier topic of this name`;
      throw new TidegateError("cursor-generation", detail);
    }
    if (cursor.kind === "stream") return { kind: "stream", position: cursor.position };
    const { queueId, queueOffset } = cursor;
    const found = this.#store.queues.find(topic.generation, queueId);
    if (found && queueOffset < found.start) {
      const detail = `Cannot read "${topic.name}" from the cursor: what lay behind it was removed`;
      const earliest = { topicGen: topic.generation, queueId, queueOffset: found.start };
      throw new TidegateError("cursor-expired", detail, { earliest: encodeQueueCursor(earliest) });
    }
    return { kind: "queue", queueId, queueOffset };
  }

  async #streamStart(topic: TopicState, start: Start): Promise<StreamPosition> {
    if (start.kind === "latest") return { logOffset: this.#store.log.confirmOffset, index: 0 };
    if (start.kind !== "time") return { logOffset: 0, index: 0 };
    let earliest = this.#store.log.confirmOffset;
    const base = this.#store.log.offsetAt(start.time);
    for (let queueId = 0; queueId < topic.config.queues; queueId++) {
      const queue = { topicGen: topic.generation, queueId };
      const from = await this.#store.reader.seek(queue, { by: "time", time: start.time, base });
      const [unit] = (await this.#store.reader.read(queue, { from, max: 1 })).units;
      earliest = Math.min(earliest, unit?.visibleLogOffset ?? Infinity);
    }
    return { logOffset: earliest, index: 0 };
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

  async page(
    topic: TopicState,
    { position, request }: { position: Position; request: ReadRequest },
  ): Promise<ReadPage & { readonly position: Position }> {
    return position.kind === "queue"
      ? this.#queuePage(topic, { position, request })
      : this.#streamPage(topic, { position: position.position, request });
  }

  async #queuePage(
    topic: TopicState,
    { position, request }: { position: Position & { kind: "queue" }; request: ReadRequest },
  ) {
    const { queueId } = position;
    const queue = { topicGen: topic.generation, queueId };
    const page = new PageBuilder(request);
    const end = this.#store.queues.find(topic.generation, queueId)?.end ?? 0;
    let next = position.queueOffset;
    while (next < end && !page.full) {
      const max = Math.min(end - next, request.key === undefined ? request.limit : SCAN_MAX);
      const slice = await this.#store.reader.read(queue, { from: next, max });
      if (slice.units.length === 0) break;
      for (const [i, unit] of slice.units.entries()) {
        const queueOffset = slice.firstOffset + i;
        const after = { kind: "queue", queueId, queueOffset: queueOffset + 1 } as const;
        if (!page.take({ queueId, queueOffset, unit }, after)) break;
        next = queueOffset + 1;
      }
    }
    const at: Position = { kind: "queue", queueId, queueOffset: next };
    return this.#finish(topic, { page, position: at, upToDate: next >= end, request });
  }

  async #streamPage(
    topic: TopicState,
    { position, request }: { position: StreamPosition; request: ReadRequest },
  ) {
    const page = new PageBuilder(request);
    const end = this.#store.log.confirmOffset;
    const queueIds = Array.from({ length: topic.config.queues }, (_, queueId) => queueId);
    const merged = new MergedQueues(this.#store.reader, {
      topicGen: topic.generation,
      end,
      ahead: readAhead(request, topic.config.queues),
    });
    if (position.logOffset < end) {
      await merged.start(queueIds, (queueId) =>
        this.#seek({ topicGen: topic.generation, queueId }, position),
      );
    }
    let at = position;
    let next = await merged.peek();
    for (; next && !page.full; next = await merged.peek()) {
      const { visibleLogOffset } = next.unit;
      const index = merged.indexIn(visibleLogOffset);
      const after = { logOffset: visibleLogOffset, index: index + 1 };
      // Of those made visible by the record at the position, the first ones were read before.
      const seen = visibleLogOffset === position.logOffset && index < position.index;
      if (!seen && !page.take(next, { kind: "stream", position: after })) break;
      merged.advance();
      at = after;
    }
    if (!next) at = { logOffset: Math.max(position.logOffset, end), index: 0 };
    const parts = { page, upToDate: !next, request };
    return this.#finish(topic, { ...parts, position: { kind: "stream", position: at } });
  }

  /**
   * Loads the bodies. The page ends before a damaged message; when that is the
   * first, the reader is told how to step over it.
   */
  async #finish(
    topic: TopicState,
    parts: {
      readonly page: PageBuilder;
      readonly position: Position;
      readonly upToDate: boolean;
      readonly request: ReadRequest;
    },
  ): Promise<ReadPage & { readonly position: Position }> {
    const { request } = parts;
    const { taken } = parts.page;
    const { generation } = topic;
    const loaded = await loadMessages(this.#store, {
      topic,
      visible: taken.map(({ visible }) => visible),
    });
    const damaged = loaded.indexOf(undefined);
    const lost = taken[damaged];
    if (lost && damaged === 0) throw damagedError(topic, { ...lost, generation });
    const whole = damaged > 0 ? damaged : loaded.length;
    const position = lost ? (taken[whole - 1] as Taken).after : parts.position;
    const messages: StoredMessage[] = [];
    const cursors: string[] = [];
    for (let i = 0; i < whole; i++) {
      const message = loaded[i] as StoredMessage;
      // A hash only nominates: two keys may share one.
      if (request.key !== undefined && decodeMessage(message.payload)?.key !== request.key)
        continue;
      messages.push(message);
      if (request.cursors) cursors.push(encodePosition(generation, (taken[i] as Taken).after));
    }
    return {
      messages,
      cursor: encodePosition(generation, position),
      upToDate: parts.upToDate && !lost,
      generation,
      position,
      ...(request.cursors && { cursors }),
    };
  }
}

function damagedError(
  topic: TopicState,
  { visible, after, generation }: Taken & { generation: number },
): TidegateError {
  const { queueId, queueOffset, unit } = visible;
  const detail = `Cannot read message ${queueOffset} of queue ${queueId} of "${topic.name}": its bytes are damaged`;
  const from = unit.size > 0 ? unit.bodyLogOffset : unit.visibleLogOffset;
  return new TidegateError("data-damaged", detail, {
    queueId,
    queueOffset: String(queueOffset),
    range: { from: String(from), to: String(from + unit.size) },
    next: encodePosition(generation, after),
  });
}

export function encodePosition(topicGen: number, at: Position): string {
  return at.kind === "queue"
    ? encodeQueueCursor({ topicGen, queueId: at.queueId, queueOffset: at.queueOffset })
    : encodeStreamCursor({ topicGen, position: at.position });
}
