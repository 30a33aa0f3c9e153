/**
 * What the tests of `BrokerApi` share: an opened broker with a clock to move,
 * the shape of a test, small makers of requests and readers of answers.
 *
 * @module
 */

import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import type {
  BrokerApi,
  DeadLetter,
  Delivery,
  GroupConfig,
  NewMessage,
  PublishedNow,
  ReadPage,
  ReadRequest,
  ReceiveRequest,
  SettleRequest,
  StoredMessage,
  TopicConfig,
} from "../../src/broker/api.ts";
import { type ErrorCode, TidegateError } from "../../storage/base/errors.ts";
import { stableHash } from "../../storage/base/hash.ts";
import { decodeMessage, type Message } from "../../storage/base/message.ts";

export interface OpenOptions {
  readonly autoCreate?: boolean;
  readonly waitersMax?: number;
}

export interface Opened {
  readonly api: BrokerApi;
  readonly clock: { now(): number; advance(ms: number): void };
  /** Ends all waits. */
  drain(): void;
  close(): Promise<void>;
}

export type Open = (options: OpenOptions) => Promise<Opened>;

/** Declares one test, over a broker of its own. */
export type Test = (
  does: string,
  body: (opened: Opened) => Promise<void>,
  options?: OpenOptions,
) => void;

export const TOPIC: TopicConfig = {
  queues: 4,
  messageType: "mixed",
  acks: "durable",
  retention: { timeMs: 259_200_000, bytes: null },
  description: "",
};

export const GROUP: GroupConfig = {
  subscriptions: [{ topic: "orders" }],
  mode: "concurrent",
  leaseMs: 30_000,
  maxAttempts: 16,
  backoff: { initialMs: 1000, multiplier: 2, maxMs: 7_200_000 },
  startFrom: "earliest",
  maxInFlight: 10_000,
};

export const utf8 = new TextEncoder();

/** Whether bytes are on their way: of implementations that are reached over sockets. */
export const onTheWay = new Set<() => boolean>();

/** Lets everything run that can run without time passing. */
export async function turn(): Promise<void> {
  const one = () => new Promise((resolve) => void setImmediate(resolve));
  await one();
  for (let quiet = 0; onTheWay.size > 0 && quiet < 2; quiet++) {
    if ([...onTheWay].some((isBusy) => isBusy())) quiet = -1;
    await one();
  }
}

export async function fails(code: ErrorCode, call: Promise<unknown>): Promise<TidegateError> {
  const error = await call.then(
    () => assert.fail(`did not fail with ${code}`),
    (reason: unknown) => reason,
  );
  assert(error instanceof TidegateError, String(error));
  assert.equal(error.code, code);
  return error;
}

/** Whether a call has been answered so far, one way or the other. */
export async function isAnswered(call: Promise<unknown>): Promise<boolean> {
  let answered = false;
  const note = () => {
    answered = true;
  };
  call.then(note, note);
  await turn();
  return answered;
}

/** Without members that are undefined, which mean as much as those that are absent. */
export function present<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

// Messages

export function message(id: string, more: Partial<NewMessage> = {}): NewMessage {
  return { id, body: utf8.encode(`body of ${id}`), ...more };
}

export function decoded({ payload }: Pick<StoredMessage, "payload">): Message {
  const found = decodeMessage(payload);
  assert(found, "a payload decodes");
  return found;
}

export function ids(messages: readonly Pick<StoredMessage, "payload">[]): string[] {
  return messages.map((one) => decoded(one).id);
}

/** Publishes a message that is not delayed. */
export async function publishNow(
  api: BrokerApi,
  topic: string,
  one: NewMessage,
): Promise<PublishedNow> {
  const published = await api.messages.publish(topic, one);
  assert(!published.state, "it has a place");
  return published;
}

/** Publishes one after the other, so that log order is the order of `names`. */
export async function publishEach(
  api: BrokerApi,
  topic: string,
  names: readonly string[],
): Promise<void> {
  for (const name of names) await api.messages.publish(topic, message(name));
}

export function names(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}${i}`);
}

/** Two keys of one hash. */
export const collidingKeys = (() => {
  let found: readonly [string, string] | undefined;
  return () => (found ??= findColliding());
})();

function findColliding(): readonly [string, string] {
  const byHash = new Map<number, string>();
  for (let i = 0; ; i++) {
    const key = `key-${i}`;
    const other = byHash.get(stableHash(key));
    if (other !== undefined) return [other, key];
    byHash.set(stableHash(key), key);
  }
}

// Reads

export function read(
  api: BrokerApi,
  request: Partial<ReadRequest> = {},
  options: { signal?: AbortSignal } = {},
): Promise<ReadPage> {
  return api.messages.read(
    {
      topic: "orders",
      start: { kind: "earliest" },
      limit: 100,
      maxBytes: 1 << 20,
      waitMs: 0,
      ...request,
    },
    options,
  );
}

export function after(cursor: string) {
  return { start: { kind: "cursor", cursor } } as const;
}

/** Reads page after page to the tail. */
export async function readAll(
  api: BrokerApi,
  request: Partial<ReadRequest> = {},
): Promise<StoredMessage[]> {
  const all: StoredMessage[] = [];
  let page = await read(api, request);
  all.push(...page.messages);
  while (!page.upToDate) {
    page = await read(api, { ...request, ...after(page.cursor) });
    all.push(...page.messages);
  }
  return all;
}

// Groups

export function receive(
  api: BrokerApi,
  request: Partial<ReceiveRequest> = {},
  options: { signal?: AbortSignal } = {},
): Promise<readonly Delivery[]> {
  return api.groups.receive(
    { group: "g", max: 100, maxBytes: 1 << 20, waitMs: 0, ...request },
    options,
  );
}

/** Receives exactly one. */
export async function receiveOne(
  api: BrokerApi,
  request: Partial<ReceiveRequest> = {},
): Promise<Delivery> {
  const [delivery] = await receive(api, { max: 1, ...request });
  assert(delivery, "a message is delivered");
  return delivery;
}

/** The statuses of a settle, in order. */
export async function settle(
  api: BrokerApi,
  request: Partial<SettleRequest>,
  group = "g",
): Promise<string[]> {
  const whole = { ack: [], release: [], extend: [], reject: [], ...request };
  return (await api.groups.settle(group, whole)).map(({ status }) => status);
}

export function receipts(deliveries: readonly Delivery[]): string[] {
  return deliveries.map(({ receipt }) => receipt);
}

/** The lag of a group's only queue. */
export async function lagOf(api: BrokerApi, group = "g") {
  const lag = await api.groups.lag(group);
  const queue = lag.topics[0]?.queues[0];
  assert(queue, "a queue has a lag");
  return queue;
}

/** A topic of one queue, a group on it, and messages. */
export async function prepareGroup(api: BrokerApi, count: number, group = {}): Promise<void> {
  await api.topics.put("orders", { ...TOPIC, queues: 1 });
  await api.groups.put("g", { ...GROUP, ...group });
  await publishEach(api, "orders", names("m", count));
}

/** Publishes one after the other; the first letter of a name is its key. */
export async function publishKeyed(
  api: BrokerApi,
  topic: string,
  names: readonly string[],
): Promise<void> {
  for (const name of names) {
    await api.messages.publish(topic, message(name, { key: name.charAt(0) }));
  }
}

/** The same with its first letter as tag. */
export async function publishTagged(
  api: BrokerApi,
  topic: string,
  names: readonly string[],
): Promise<void> {
  for (const name of names) {
    await api.messages.publish(topic, message(name, { tag: name.charAt(0) }));
  }
}

/** Attempts of deliveries, in order. */
export function attempts(deliveries: readonly { readonly attempt: number }[]): number[] {
  return deliveries.map(({ attempt }) => attempt);
}

/** A topic of one queue, an ordered group on it, and messages whose first letter is their key. */
export async function prepareOrdered(
  api: BrokerApi,
  names: readonly string[],
  group = {},
): Promise<void> {
  await api.topics.put("orders", { ...TOPIC, queues: 1 });
  await api.groups.put("g", { ...GROUP, mode: "ordered", ...group });
  await publishKeyed(api, "orders", names);
}

// Dead letters

export function deadLetters(
  api: BrokerApi,
  page: { limit?: number; maxBytes?: number; after?: string | undefined; group?: string } = {},
): ReturnType<BrokerApi["groups"]["deadLetters"]> {
  const { group = "g", ...rest } = page;
  return api.groups.deadLetters(group, { limit: 100, maxBytes: 1 << 20, ...rest });
}

/** The ids of dead letters whose bytes are as they were. */
export function deadIds(letters: readonly DeadLetter[]): string[] {
  return letters.map(({ message }) => decoded(message ?? assert.fail("it is damaged")).id);
}

export async function listDead(api: BrokerApi, group = "g"): Promise<string[]> {
  return deadIds((await deadLetters(api, { group })).deadLetters);
}

/** Receives all that is ready and rejects it. */
export async function rejectAll(api: BrokerApi, reason = "bad"): Promise<void> {
  const reject = receipts(await receive(api)).map((receipt) => ({ receipt, reason }));
  await settle(api, { reject });
}
