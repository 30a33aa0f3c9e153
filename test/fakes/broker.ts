/**
 * A broker in memory: small, but it keeps the promises of `BrokerApi`, so that
 * what passes over it can be believed. It numbers queues without gaps, gives a
 * key one queue, wakes who waits, leases and redelivers by its clock, and knows
 * cursors of an earlier life of a topic.
 *
 * Not here: durability, limits on waiters, SQL filters; traces of what consumers, recalls and
 * transactions did.
 *
 * @module
 */

import type {
  BrokerApi,
  CallOptions,
  HalfMessage,
  MessagesApi,
  NewMessage,
  NodeStatus,
  Published,
  PublishedNow,
  ReadPage,
  ReadRequest,
  ScheduledMessage,
  SearchPage,
  SearchRequest,
  Start,
  StoredMessage,
  Trace,
  TraceRequest,
} from "../../src/broker/api.ts";
import { compileFilter, type CompiledFilter } from "../../src/filter/mod.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { stableHash } from "../../storage/base/hash.ts";
import { decodeMessage, encodeMessage, messageSizeMax } from "../../storage/base/message.ts";
import { FakeDelays, type Waiting } from "./delays.ts";
import { FakeGroups } from "./groups.ts";
import { FakeOnce } from "./once.ts";
import { searchLife } from "./search.ts";
import { FakeTopics, type Life } from "./topics.ts";
import { traceOf } from "./trace.ts";
import { FakeTransactions, type Held } from "./transactions.ts";
import { Wakeups } from "./wakeups.ts";

export interface FakeBrokerOptions {
  readonly autoCreate?: boolean;
  readonly now?: () => number;
}

export class FakeBroker implements BrokerApi {
  readonly topics: FakeTopics;
  readonly messages: FakeMessages;
  readonly groups: FakeGroups;
  readonly transactions: FakeTransactions;
  readonly node = {
    ready: true,
    clockSkewMs: 0,
    disk: "ample" as "ample" | "high" | "full" | "stuck",
    damaged: [] as { from: number; to: number }[],
  };

  constructor(options: FakeBrokerOptions = {}) {
    const now = options.now ?? Date.now;
    const wakeups = new Wakeups();
    const topics = new FakeTopics({ autoCreate: options.autoCreate ?? true, now, wakeups });
    const messages = new FakeMessages(topics, { now, wakeups });
    this.topics = topics;
    this.messages = messages;
    this.groups = new FakeGroups({
      topics,
      wakeups,
      now,
      publishAll: (topic, copies) => messages.publishBatch(topic, copies, { atomic: true }),
      positions: (topic, start) => messages.positions(topic, start),
    });
    const transactions = new FakeTransactions({
      wakeups,
      now,
      hold: (halves) => messages.hold(halves),
      reveal: (halves) => messages.revealHeld(halves),
      isThere: (life) => topics.find(life.topic.name) === life,
    });
    this.transactions = transactions;
    topics.beforeDelete = (life, force) => transactions.clearTopic(life, force);
  }

  /** How many calls are waiting for a message. */
  get waiting(): number {
    return this.messages.wakeups.size;
  }

  status(): NodeStatus {
    const position = { epoch: 1, durableEnd: 4096, confirmOffset: 4096 };
    return { nodeId: "node-1", group: "group-0", ...this.node, ...position };
  }
}

export class FakeMessages implements MessagesApi {
  readonly wakeups: Wakeups;
  readonly #topics: FakeTopics;
  readonly #now: () => number;
  readonly #once: FakeOnce;
  readonly #delays = new FakeDelays();

  constructor(topics: FakeTopics, world: { now: () => number; wakeups: Wakeups }) {
    this.#topics = topics;
    this.#now = world.now;
    this.#once = new FakeOnce(world.now);
    this.wakeups = world.wakeups;
    topics.beforeUse = () => this.#reveal();
  }

  #reveal(): void {
    for (const { topic, life, message, queueId, dueAt } of this.#delays.takeDue(this.#now())) {
      this.#append(topic, life, message, { queueId, deliverAt: dueAt });
    }
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async publish(topic: string, message: NewMessage): Promise<Published> {
    const life = this.#topics.forPublish(topic);
    checkType(life, message);
    const [published] = this.#store(topic, life, [message]);
    this.wakeups.wake();
    return published as Published;
  }

  /** All of them, or none; unless they were stored before. */
  #store(topic: string, life: Life, messages: readonly NewMessage[]): Published[] {
    const store = () => messages.map((message) => this.#storeOne(topic, life, message));
    return this.#once.publish(life.topic.generation, messages, store);
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async publishBatch(
    topic: string,
    messages: readonly NewMessage[],
    options: { atomic: boolean },
  ): Promise<readonly (Published | TidegateError)[]> {
    const life = this.#topics.forPublish(topic);
    if (options.atomic) {
      for (const message of messages) checkType(life, message);
      const published = this.#store(topic, life, messages);
      this.wakeups.wake();
      return published;
    }
    if (messages.some(({ producer }) => producer)) {
      throw new TidegateError("invalid-request", "Cannot publish: a sequence is atomic");
    }
    const results = messages.map((message) => {
      try {
        checkType(life, message);
        return this.#store(topic, life, [message])[0] as Published;
      } catch (error) {
        if (error instanceof TidegateError) return error;
        throw error;
      }
    });
    this.wakeups.wake();
    return results;
  }

  async read(request: ReadRequest, options: CallOptions = {}): Promise<ReadPage> {
    const filter = request.filter && compileFilter(request.filter);
    const start = this.#resolve(request);
    return await this.wakeups.until(() => this.#page({ ...request, wants: filter }, start), {
      done: (page) => page.messages.length > 0,
      waitMs: request.waitMs,
      signal: options.signal,
    });
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async get(topic: string, id: string): Promise<StoredMessage | ScheduledMessage> {
    const life = this.#topics.life(topic);
    const waiting = this.#delays.find(life, id);
    if (waiting !== undefined) return scheduled(waiting);
    return visible(life, { topic, id });
  }

  /** By queue that `start` speaks of: the queueOffset a reader from there gets first. */
  positions(topic: string, start: Start): [queueId: number, position: number][] {
    const { index, queueId } = this.#resolve({ topic, start });
    const { log, ends } = this.#topics.life(topic);
    const rest = log.slice(index);
    return [...ends.entries()]
      .filter(([id]) => queueId === undefined || queueId === id)
      .map(([id, end]) => [id, rest.find((one) => one.queueId === id)?.queueOffset ?? end]);
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async recall(topic: string, id: string): Promise<void> {
    const life = this.#topics.life(topic);
    const waiting = this.#delays.find(life, id);
    if (waiting !== undefined) return this.#delays.remove(waiting);
    visible(life, { topic, id });
    throw new TidegateError("already-delivered", `Cannot recall "${id}": it was delivered`);
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async search(request: SearchRequest): Promise<SearchPage> {
    return searchLife(this.#topics.life(request.topic), request);
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async trace({ topic, id, limit, after }: TraceRequest): Promise<Trace> {
    const life = this.#topics.life(topic);
    const waiting = this.#delays.find(life, id);
    const stored = waiting === undefined ? visible(life, { topic, id }) : scheduled(waiting);
    return traceOf(stored, { id, limit, after, generation: life.topic.generation });
  }

  /** Takes half messages; nobody sees them. */
  hold(halves: readonly HalfMessage[]): Held[] {
    for (const { topic, message } of halves) {
      const messageType = this.#topics.find(topic)?.topic.messageType ?? "mixed";
      const takes = messageType === "mixed" || messageType === "transaction";
      const delayed = message.deliverAt !== undefined || message.delayMs !== undefined;
      if (takes && !delayed) continue;
      throw new TidegateError("message-type-mismatch", `Cannot hold a message for "${topic}"`);
    }
    for (const { topic } of halves) this.#topics.check(topic);
    return halves.map((half) => ({ ...half, life: this.#topics.forPublish(half.topic) }));
  }

  revealHeld(halves: readonly Held[]): void {
    for (const { topic, life, message } of halves) {
      const spread = message.key === undefined ? life.log.length : stableHash(message.key);
      this.#append(topic, life, message, { queueId: spread % life.topic.queues });
    }
  }

  #storeOne(topic: string, life: Life, message: NewMessage): Published {
    const publishedAt = this.#now();
    if (this.#delays.find(life, message.id) !== undefined) {
      throw new TidegateError("id-in-use", `Cannot publish as "${message.id}": it is scheduled`);
    }
    const { key, id } = message;
    const { queues } = life.topic;
    const repeatable = message.idempotencyKey ?? message.producer?.id;
    const spread = repeatable === undefined ? life.log.length : stableHash(repeatable);
    const queueId = (key === undefined ? spread : stableHash(key)) % queues;
    const dueAt = this.#delays.dueAt(message, publishedAt);
    if (dueAt === undefined) return this.#append(topic, life, message, { queueId });
    this.#delays.add({ topic, life, message, queueId, dueAt, publishedAt });
    return { state: "scheduled", id, queueId, deliverAt: dueAt, publishedAt };
  }

  #append(
    topic: string,
    life: Life,
    message: NewMessage,
    at: { readonly queueId: number; readonly deliverAt?: number },
  ): PublishedNow {
    const { queueId } = at;
    const queueOffset = life.ends[queueId] ?? 0;
    const publishedAt = this.#now();
    const { generation } = life.topic;
    const payload = payloadOf(message, { ...at, generation, queueOffset, bornAt: publishedAt });
    const cursor = `q-${generation}-${queueId}-${queueOffset + 1}`;
    life.ends[queueId] = queueOffset + 1;
    life.log.push({ topic, queueId, queueOffset, cursor, publishedAt, payload });
    return { id: message.id, queueId, queueOffset, cursor, publishedAt };
  }

  /** The log index to read from; a queue cursor becomes the index of that queue's next message. */
  #resolve({ topic, start, queueId }: Pick<ReadRequest, "topic" | "start" | "queueId">): {
    index: number;
    queueId: number | undefined;
  } {
    const life = this.#topics.life(topic);
    if (start.kind === "cursor") return cursorPosition(life, start, queueId);
    if (start.kind === "earliest") return { index: life.first, queueId };
    if (start.kind === "latest") return { index: life.log.length, queueId };
    const index = life.log.findIndex(({ publishedAt }) => publishedAt >= start.time);
    return { index: index < 0 ? life.log.length : Math.max(index, life.first), queueId };
  }

  #page(
    request: Omit<ReadRequest, "filter"> & { wants: CompiledFilter | undefined },
    start: { index: number; queueId: number | undefined },
  ): ReadPage {
    const { log, topic } = this.#topics.life(request.topic);
    const { queueId } = start;
    const messages: StoredMessage[] = [];
    const cursors: string[] = [];
    let index = start.index;
    let bytes = 0;
    for (; index < log.length && messages.length < request.limit; index++) {
      const stored = log[index] as StoredMessage;
      if (queueId !== undefined && stored.queueId !== queueId) continue;
      if (request.key !== undefined && decodeMessage(stored.payload)?.key !== request.key) continue;
      if (request.wants?.matchesPayload(stored.payload) === false) continue;
      bytes += stored.payload.length;
      if (messages.length > 0 && bytes > request.maxBytes) break;
      messages.push(stored);
      cursors.push(streamCursor(topic.generation, index + 1, queueId));
    }
    const rest = log.slice(index).some((one) => queueId === undefined || one.queueId === queueId);
    return {
      messages,
      cursor: streamCursor(topic.generation, index, queueId),
      upToDate: !rest,
      generation: topic.generation,
      ...(queueId === undefined ? {} : { queueId }),
      ...(request.cursors === true ? { cursors } : {}),
    };
  }
}

function payloadOf(
  { body, ...attributes }: NewMessage,
  at: {
    readonly generation: number;
    readonly queueId: number;
    readonly queueOffset: number;
    readonly bornAt: number;
    readonly deliverAt?: number;
  },
): Uint8Array {
  const { generation: topicGen, ...place } = at;
  const hash = (text: string | undefined) => (text === undefined ? 0 : stableHash(text));
  const hashes = { keyHash: hash(attributes.key), tagHash: hash(attributes.tag) };
  const buffer = new Uint8Array(messageSizeMax(attributes, body.length));
  const envelope = { topicGen, ...place, ...hashes };
  return buffer.subarray(0, encodeMessage(buffer, 0, { envelope, attributes, body }));
}

function scheduled({ topic, life, message, queueId, dueAt, publishedAt }: Waiting) {
  const { generation } = life.topic;
  const place = { generation, queueId, queueOffset: -1, bornAt: publishedAt, deliverAt: dueAt };
  const payload = payloadOf(message, place);
  return { state: "scheduled", topic, queueId, deliverAt: dueAt, publishedAt, payload } as const;
}

/** @throws `message-not-found` */
function visible(life: Life, { topic, id }: { topic: string; id: string }): StoredMessage {
  const kept = life.log.slice(life.first);
  const found = kept.findLast(({ payload }) => decodeMessage(payload)?.id === id);
  if (found !== undefined) return found;
  throw new TidegateError("message-not-found", `Cannot find the message "${id}" in "${topic}"`);
}

function checkType(life: Life, message: NewMessage): void {
  const { messageType, name } = life.topic;
  const { key, deliverAt, delayMs } = message;
  const delayed = deliverAt !== undefined || delayMs !== undefined;
  const fits = {
    fifo: key !== undefined && !delayed,
    normal: key === undefined && !delayed,
    delay: delayed,
    mixed: true,
    transaction: false,
  }[messageType];
  if (fits) return;
  const detail = `Cannot publish to "${name}": its messageType is ${messageType}`;
  throw new TidegateError("message-type-mismatch", detail);
}

/** `s-<generation>-<log index>[-<queue>]` */
function streamCursor(generation: number, index: number, queueId: number | undefined): string {
  return `s-${generation}-${index}${queueId === undefined ? "" : `-${queueId}`}`;
}

function cursorPosition(
  life: Life,
  { cursor }: Extract<Start, { kind: "cursor" }>,
  asked: number | undefined,
): { index: number; queueId: number | undefined } {
  const match = /^([sq])-(\d+)-(\d+)(?:-(\d+))?$/.exec(cursor);
  if (match === null) {
    throw new TidegateError("invalid-cursor", `Cannot read from "${cursor}": it is not a cursor`);
  }
  const [, kind, generation, first, second] = match;
  if (Number(generation) !== life.topic.generation) {
    throw new TidegateError("cursor-generation", "Cannot read on: the topic was made again");
  }
  if (kind === "s") {
    const index = Number(first);
    if (index < life.first) {
      const earliest = streamCursor(life.topic.generation, life.first, undefined);
      throw new TidegateError("cursor-expired", "Cannot read on: messages expired", { earliest });
    }
    return { index, queueId: second === undefined ? asked : Number(second) };
  }
  const queueId = Number(first);
  const index = life.log.findIndex(
    (one) => one.queueId === queueId && one.queueOffset >= Number(second),
  );
  if (index >= 0 && index < life.first) {
    const kept = life.log.slice(life.first).find((one) => one.queueId === queueId);
    const offset = kept?.queueOffset ?? life.ends[queueId] ?? 0;
    const earliest = `q-${life.topic.generation}-${queueId}-${offset}`;
    throw new TidegateError("cursor-expired", "Cannot read on: messages expired", { earliest });
  }
  return { index: index < 0 ? life.log.length : index, queueId };
}
