/**
 * {@linkcode MessagesApi} on this node.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { stableHash } from "../../storage/base/hash.ts";
import { decodeMessage } from "../../storage/base/message.ts";
import { type Frame, KINDS } from "../../storage/mod.ts";
import { FilterCache } from "../filter/mod.ts";
import type { CallOptions, MessagesApi, ReadPage, ReadRequest, StoredMessage } from "./api.ts";
import { encodeQueueCursor } from "./cursor.ts";
import { topicNamed } from "./define.ts";
import {
  checkSize,
  checkType,
  checkUnitSize,
  sizeFault,
  storeAtomically,
  storeMessage,
  topicForPublish,
} from "./publish.ts";
import { isRepeatable, publishBatchOnce, publishOnce } from "./publish_once.ts";
import { encodePosition, LogReader } from "./reading.ts";
import type { Shell } from "./shell.ts";
import type { TopicState } from "./topics.ts";

export function messagesApi(shell: Shell): MessagesApi {
  const { core, store } = shell;
  const reader = new LogReader(store, () => shell.pause());
  const filters = new FilterCache();

  return {
    publish(name, message) {
      if (isRepeatable(message)) return publishOnce(shell, { name, message });
      try {
        shell.admit();
        checkSize(message);
        const now = shell.now();
        const topic = topicForPublish(core, { name, now });
        checkType(topic, message);
        const published = storeMessage(core, { topic, message, now });
        store.log.flush();
        return shell.replies.acknowledged(topic.config.acks, published);
      } catch (error) {
        return shell.refuse(error);
      }
    },

    publishBatch(name, messages, { atomic }) {
      if (messages.some(isRepeatable)) return publishBatchOnce(shell, { name, messages, atomic });
      try {
        shell.admit();
        if (atomic) checkUnitSize(messages);
        const faults = messages.map(sizeFault);
        const hopeless = faults.every((fault) => fault !== undefined);
        if (hopeless && core.autoCreate) return shell.replies.confirmed(faults);
        const now = shell.now();
        const topic = topicForPublish(core, { name, now });
        if (atomic) for (const message of messages) checkType(topic, message);
        const results = atomic
          ? storeAtomically(core, { topic, messages, now })
          : messages.map((message) => {
              try {
                checkSize(message);
                checkType(topic, message);
                return storeMessage(core, { topic, message, now });
              } catch (error) {
                if (error instanceof TidegateError) return error;
                throw error;
              }
            });
        store.log.flush();
        return shell.replies.acknowledged(topic.config.acks, results);
      } catch (error) {
        return shell.refuse(error);
      }
    },

    read: (request, options) => read(shell, { reader, filters, request, options }),

    async get(name, id) {
      const topic = await topicToRead(shell, name);
      const hash = stableHash(id);
      for (const segment of store.log.segments.toReversed()) {
        for (const logOffset of await store.ids.find(hash, segment.base)) {
          const frame = await store.log.readAt(logOffset);
          const found = frame && matching(topic, { id, frame });
          if (found) return found;
        }
      }
      const detail = `Cannot find message "${id}" in "${name}": no message has this id`;
      throw new TidegateError("message-not-found", detail, { id });
    },
  };
}

async function read(
  shell: Shell,
  call: {
    readonly reader: LogReader;
    readonly filters: FilterCache;
    readonly request: ReadRequest;
    readonly options: CallOptions | undefined;
  },
): Promise<ReadPage> {
  const { reader, request } = call;
  const filter = request.filter && call.filters.compile(request.filter);
  const wanted = { key: request.key, filter };
  const signal = call.options?.signal;
  const topic = await topicToRead(shell, request.topic);
  const deadline = shell.now() + request.waitMs;
  let position = await reader.start(topic, request);
  for (;;) {
    const seen = shell.store.log.confirmOffset;
    const page = await reader.page(topic, { position, request, wanted });
    const moved = encodePosition(topic.generation, position) !== page.cursor;
    position = page.position;
    const waitMs = deadline - shell.now();
    const over = waitMs <= 0 || signal?.aborted || shell.room.draining;
    if (page.messages.length > 0 || over) return page;
    const more = (!page.upToDate && moved) || shell.store.log.confirmOffset !== seen;
    if (more) continue;
    await shell.readers.wait(topic.generation, { waitMs, signal });
    checkStill(shell, topic);
  }
}

/** What is read of a topic is confirmed; only its definition may still have to be. */
function topicToRead(shell: Shell, name: string): TopicState | Promise<TopicState> {
  const topic = shell.core.fold.topics.named(name);
  const sure = topic && topic.definedAt < shell.store.log.confirmOffset;
  return sure ? topic : shell.decide(() => topicNamed(shell.core, name));
}

/** @throws `topic-not-found`, `cursor-generation` when the topic went while its reader waited. */
function checkStill(shell: Shell, topic: TopicState): void {
  if (topicNamed(shell.core, topic.name) === topic) return;
  const detail = `Cannot go on reading "${topic.name}": it was deleted and made again`;
  throw new TidegateError("cursor-generation", detail);
}

/** The message of a record, if it is the one asked for. */
function matching(
  topic: TopicState,
  { id, frame }: { id: string; frame: Frame },
): StoredMessage | undefined {
  if (frame.kind !== KINDS.message.id) return undefined;
  const message = decodeMessage(frame.payload);
  if (message?.id !== id || message.topicGen !== topic.generation) return undefined;
  const { queueId, queueOffset } = message;
  const after = { topicGen: topic.generation, queueId, queueOffset: queueOffset + 1 };
  return {
    topic: topic.name,
    queueId,
    queueOffset,
    cursor: encodeQueueCursor(after),
    publishedAt: frame.storedAt,
    payload: frame.payload,
  };
}
