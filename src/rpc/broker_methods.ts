/**
 * `BrokerApi` as a method table: a number for each of its functions.
 *
 * The tables below have the shape of the interfaces, so a function that is added
 * there and not here does not compile. A request is the list of its arguments,
 * without the options of the call, which cross in the frame: the time that is
 * left, and a cancel when the signal aborts.
 *
 * @module
 */

import type {
  CallOptions,
  GroupsApi,
  MessagesApi,
  NewMessage,
  NodeStatus,
  ProducerGroupsApi,
  ShareApi,
  TopicsApi,
  TransactionsApi,
} from "../broker/api.ts";
import {
  batchArguments,
  publishArguments,
  publishedOne,
  readPage,
  settleArguments,
  settleResult,
} from "./broker_codecs.ts";
import { type Codec, json } from "./codec.ts";
import { delivery, listOf, published } from "./message_codecs.ts";
import type { CallMethod, StreamMethod } from "./method.ts";

type Func = (...args: never[]) => Promise<unknown>;
/** What is called by its name: all but the part that is an interface of its own. */
export type Named<Api> = Omit<Api, "producers">;

/** The arguments without the options of the call. */
type Arguments<F> = F extends (...args: infer All) => Promise<unknown>
  ? All extends [...infer Rest, (CallOptions | undefined)?]
    ? CallOptions extends All[number]
      ? Rest
      : All
    : All
  : never;
type Answer<F> = F extends (...args: never[]) => Promise<infer Value> ? Value : never;

export interface BrokerMethod<F> {
  readonly method: CallMethod<Arguments<F>, Answer<F>>;
  /** Of a function that waits and takes a signal: how long at most, and how many arguments come before it. */
  readonly waits?: { readonly arity: number; ms(args: Arguments<F>): number } | undefined;
}

export type Section<Api> = { readonly [K in keyof Named<Api>]: BrokerMethod<Named<Api>[K]> };

interface Facts<F> {
  readonly about: string;
  readonly effect?: CallMethod<Arguments<F>, unknown>["effect"];
  readonly request?: Codec<Arguments<F>>;
  readonly response?: Codec<Answer<F>>;
  readonly waits?: BrokerMethod<F>["waits"];
}

function of<F extends Func>(id: number, name: string, facts: Facts<F>): BrokerMethod<F> {
  const { about, effect = "once", waits } = facts;
  const { request = json<Arguments<F>>(), response = json<Answer<F>>() } = facts;
  const method = { kind: "call", id, name, about, effect, request, response } as const;
  return { method, waits };
}

const READS = { effect: "none" } as const;
/** Running twice is running once. */
const TWICE = { effect: "idempotent" } as const;

export const TOPICS: Section<TopicsApi> = {
  put: of(1, "topics.put", { about: "Creates a topic, or confirms it" }),
  get: of(2, "topics.get", { about: "A topic", ...READS }),
  patch: of(3, "topics.patch", { about: "Changes a topic" }),
  delete: of(4, "topics.delete", { about: "Deletes a topic" }),
  list: of(5, "topics.list", { about: "Topics in order of name", ...READS }),
  purge: of(6, "topics.purge", { about: "Removes what is stored in a topic" }),
};

/** A message that is recognised when it comes again. */
const isRecognised = ({ idempotencyKey, producer }: NewMessage) =>
  idempotencyKey !== undefined || producer !== undefined;

export const MESSAGES: Section<MessagesApi> = {
  publish: of<MessagesApi["publish"]>(20, "messages.publish", {
    about: "Appends a message",
    effect: ([, message]) => (isRecognised(message) ? "idempotent" : "once"),
    request: publishArguments,
    response: publishedOne,
  }),
  publishBatch: of<MessagesApi["publishBatch"]>(21, "messages.publishBatch", {
    about: "Appends many",
    effect: ([, messages]) => (messages.every(isRecognised) ? "idempotent" : "once"),
    request: batchArguments,
    response: listOf(published),
  }),
  read: of<MessagesApi["read"]>(22, "messages.read", {
    about: "Reads the log, and waits for more",
    ...READS,
    response: readPage,
    waits: { arity: 1, ms: ([{ waitMs }]) => waitMs },
  }),
  get: of(23, "messages.get", { about: "A message by its id", ...READS }),
  recall: of(24, "messages.recall", { about: "Takes a scheduled message back" }),
  search: of(25, "messages.search", { about: "Messages by index key or time", ...READS }),
  trace: of(26, "messages.trace", { about: "What happened to a message", ...READS }),
};

export const GROUPS: Section<GroupsApi> = {
  put: of(40, "groups.put", { about: "Creates a consumer group, or confirms it" }),
  get: of(41, "groups.get", { about: "A consumer group", ...READS }),
  patch: of(42, "groups.patch", { about: "Changes a consumer group" }),
  delete: of(43, "groups.delete", { about: "Deletes a consumer group" }),
  list: of(44, "groups.list", { about: "Consumer groups in order of name", ...READS }),
  receive: of<GroupsApi["receive"]>(45, "groups.receive", {
    about: "Leases messages, and waits for some",
    effect: ([{ attemptId }]) => (attemptId === undefined ? "once" : "idempotent"),
    response: listOf(delivery),
    waits: { arity: 1, ms: ([{ waitMs }]) => waitMs },
  }),
  settle: of<GroupsApi["settle"]>(46, "groups.settle", {
    about: "Acks, releases, extends and rejects leases",
    request: settleArguments,
    response: listOf(settleResult),
  }),
  lag: of(47, "groups.lag", { about: "How far a group is behind", ...READS }),
  pause: of(48, "groups.pause", { about: "Stops deliveries", ...TWICE }),
  resume: of(49, "groups.resume", { about: "Goes on with deliveries", ...TWICE }),
  peek: of(50, "groups.peek", { about: "What would be delivered", ...READS }),
  consumers: of(51, "groups.consumers", { about: "Who receives from a group", ...READS }),
  seek: of(52, "groups.seek", { about: "Sets a group's position" }),
  deadLetters: of(53, "groups.deadLetters", { about: "What a group gave up on", ...READS }),
  redrive: of(54, "groups.redrive", { about: "Makes dead letters ready again" }),
  purgeDeadLetters: of(55, "groups.purgeDeadLetters", { about: "Drops dead letters" }),
};

export const TRANSACTIONS: Section<TransactionsApi> = {
  begin: of(70, "transactions.begin", { about: "Stores half messages" }),
  commit: of(71, "transactions.commit", { about: "Makes them visible", ...TWICE }),
  rollback: of(72, "transactions.rollback", { about: "Takes them back", ...TWICE }),
  get: of(73, "transactions.get", { about: "A transaction", ...READS }),
  list: of(74, "transactions.list", { about: "Transactions in order", ...READS }),
  receiveChecks: of<TransactionsApi["receiveChecks"]>(75, "transactions.receiveChecks", {
    about: "Takes checks that are due, and waits for some",
    waits: { arity: 2, ms: ([, { waitMs }]) => waitMs },
  }),
};

export const PRODUCERS: Section<ProducerGroupsApi> = {
  put: of(80, "producers.put", { about: "Creates a producer group, or confirms it" }),
  get: of(81, "producers.get", { about: "A producer group", ...READS }),
  patch: of(82, "producers.patch", { about: "Changes a producer group" }),
  delete: of(83, "producers.delete", { about: "Deletes a producer group" }),
  list: of(84, "producers.list", { about: "Producer groups, in order of name", ...READS }),
};

export const SHARE: Section<ShareApi> = {
  define: of(100, "share.define", { about: "Takes over definitions", ...TWICE }),
  endsOf: of(101, "share.endsOf", { about: "How far topics reach", ...READS }),
  undecidedIn: of(102, "share.undecidedIn", { about: "Transactions in a topic", ...READS }),
  openIn: of(103, "share.openIn", { about: "Messages a group holds", ...READS }),
  repeat: of<ShareApi["repeat"]>(104, "share.repeat", {
    about: "What an attempt holds",
    response: listOf(delivery),
    ...READS,
  }),
  giveBack: of(105, "share.giveBack", { about: "Takes leases back uncounted", ...TWICE }),
};

/** A method of a section, whichever it is. */
export interface Entry {
  readonly method: CallMethod<unknown[], unknown>;
  readonly waits?: { readonly arity: number; ms(args: unknown[]): number } | undefined;
}

export function entriesOf<Api>(section: Section<Api>): [name: string, entry: Entry][] {
  return Object.entries(section as unknown as Record<string, Entry>);
}

/** What the node tells of itself: now, and whenever it differs from what was told last. */
export const WATCH_STATUS: StreamMethod<undefined, NodeStatus> = {
  kind: "stream",
  id: 90,
  name: "status.watch",
  about: "The state of the node, now and whenever it changes",
  request: json(),
  item: json(),
};
