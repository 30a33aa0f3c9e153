/**
 * {@linkcode MessagesApi} on this node.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { FilterCache } from "../filter/mod.ts";
import type { MessagesApi, NewMessage, Published } from "./api.ts";
import { getById, recallById } from "./by_id.ts";
import type { Core } from "./core.ts";
import { readLog } from "./log_read.ts";
import {
  checkIds,
  checkMessage,
  checkType,
  checkUnit,
  messageFault,
  storeAtomically,
  storeMessage,
  topicForPublish,
} from "./publish.ts";
import { isRepeatable, publishBatchOnce, publishOnce } from "./publish_once.ts";
import { LogReader } from "./reading.ts";
import { idInUse } from "./scheduled_ids.ts";
import { search } from "./search.ts";
import type { Shell } from "./shell.ts";
import type { TopicState } from "./topics.ts";
import { trace } from "./trace.ts";

export function messagesApi(shell: Shell): MessagesApi {
  const reader = new LogReader(shell.store, {
    brokerGroup: shell.core.brokerGroup,
    pause: () => shell.pause(),
  });
  const ports = { shell, reader, filters: new FilterCache() };

  return {
    publish(name, message) {
      const { scheduledIds } = shell;
      if (scheduledIds.isFree(name, message)) return publish(shell, { name, message, taken: NONE });
      return scheduledIds.inTurn(name, [message], ([copy = message], taken) =>
        publish(shell, { name, message: copy, taken }),
      );
    },

    publishBatch(name, messages, { atomic }) {
      const { scheduledIds } = shell;
      if (messages.every((message) => scheduledIds.isFree(name, message))) {
        return publishBatch(shell, { name, messages, atomic, taken: new Set() });
      }
      return scheduledIds.inTurn(name, messages, (copies, taken) =>
        publishBatch(shell, { name, messages: copies, atomic, taken }),
      );
    },

    read: (request, options) => readLog(ports, { request, signal: options?.signal }),

    get: (name, id) => getById(shell, { name, id }),
    recall: (name, id) => recallById(shell, { name, id }),
    search: (request) => search(shell, { reader, request }),
    trace: (request) => trace(shell, request),
  };
}

const NONE: ReadonlySet<string> = new Set();

function publish(
  shell: Shell,
  wish: {
    readonly name: string;
    readonly message: NewMessage;
    readonly taken: ReadonlySet<string>;
  },
): Promise<Published> {
  const { core, store } = shell;
  const { name, taken } = wish;
  const message = shell.timed(wish.message);
  if (isRepeatable(message)) return publishOnce(shell, { name, message, taken });
  try {
    shell.admit();
    const now = shell.now();
    checkMessage(core, { message, now });
    if (taken.has(message.id)) throw idInUse(message.id);
    const topic = topicForPublish(core, { name, now });
    checkType(topic, message);
    const published = storeMessage(core, { topic, message, now });
    store.log.flush();
    if (published.state) shell.timers.arm();
    return shell.replies.acknowledged(topic.config.acks, published);
  } catch (error) {
    return shell.refuse(error);
  }
}

function publishBatch(
  shell: Shell,
  wish: {
    readonly name: string;
    readonly messages: readonly NewMessage[];
    readonly atomic: boolean;
    readonly taken: Set<string>;
  },
): Promise<readonly (Published | TidegateError)[]> {
  const { core, store } = shell;
  const { name, atomic, taken } = wish;
  const messages = wish.messages.map((message) => shell.timed(message));
  if (messages.some(isRepeatable)) {
    return publishBatchOnce(shell, { name, messages, atomic, taken });
  }
  try {
    shell.admit();
    const now = shell.now();
    if (atomic) checkUnit(core, { messages, now });
    const faults = messages.map((message) => messageFault(core, { message, now }));
    const hopeless = faults.every((fault) => fault !== undefined);
    if (hopeless && core.autoCreate) return shell.replies.confirmed(faults, "none");
    if (atomic) checkIds(messages, { taken, now });
    const topic = topicForPublish(core, { name, now });
    if (atomic) for (const message of messages) checkType(topic, message);
    const results = atomic
      ? storeAtomically(core, { topic, messages, now })
      : messages.map((message) => storeOne(core, { topic, message, now, taken }));
    store.log.flush();
    shell.timers.arm();
    return shell.replies.acknowledged(topic.config.acks, results);
  } catch (error) {
    return shell.refuse(error);
  }
}

/** One message of a batch that is not atomic: its fault is its own. */
function storeOne(
  core: Core,
  wish: {
    readonly topic: TopicState;
    readonly message: NewMessage;
    readonly now: number;
    readonly taken: Set<string>;
  },
): Published | TidegateError {
  const { topic, message, taken } = wish;
  try {
    checkMessage(core, wish);
    if (taken.has(message.id)) throw idInUse(message.id);
    checkType(topic, message);
    const published = storeMessage(core, wish);
    if (published.state) taken.add(published.id);
    return published;
  } catch (error) {
    if (error instanceof TidegateError) return error;
    throw error;
  }
}
