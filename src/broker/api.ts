/**
 * What the gateway may ask of the broker. Types only: no code lives here, so
 * routes can depend on the broker without depending on how it works.
 *
 * Four small interfaces, three today (transactions come with their issue).
 * Every implementation keeps this contract and passes one suite
 * (`test/suites/broker_api.ts`).
 *
 * Conventions: times are milliseconds since the Unix epoch, durations carry
 * their unit, log and queue offsets are numbers below 2^53, cursors and
 * receipts are opaque strings. All failures are `TidegateError`s; an answer of
 * success is given only once it is durable under the topic's `acks`.
 *
 * @module
 */

import type { TidegateError } from "../../storage/base/errors.ts";
import type { MessageAttributes } from "../../storage/base/message.ts";

export interface BrokerApi {
  readonly topics: TopicsApi;
  readonly messages: MessagesApi;
  readonly groups: GroupsApi;
  /** What `/readyz` and `/v1/cluster` tell. */
  status(): NodeStatus;
}

/** Aborting ends the wait, never the work: what was logged stays logged. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

// Topics

export type MessageType = "mixed" | "normal" | "fifo" | "delay" | "transaction";

/** When a publish is answered: synced on all members, written on all, written by the leader. */
export type Acks = "durable" | "replicated" | "leader";

export interface TopicConfig {
  /** 1 to 1024. */
  readonly queues: number;
  readonly messageType: MessageType;
  readonly acks: Acks;
  readonly retention: { readonly timeMs: number | null; readonly bytes: number | null };
  readonly description: string;
}

export interface Topic extends TopicConfig {
  readonly name: string;
  /** Names this life of the topic: another one after delete and create. */
  readonly generation: number;
  readonly createdAt: number;
  /** By queue: the queueOffset the next visible message will get. */
  readonly endOffsets: readonly number[];
}

export interface Page {
  readonly limit: number;
  /** Names greater than this one; the token of the page before. */
  readonly after?: string | undefined;
}

export interface TopicsApi {
  /**
   * Creates `name`, or confirms that it exists with this very configuration.
   *
   * @throws `topic-exists` when it exists with another one; `not-implemented`
   * for a message type this build cannot serve.
   */
  put(name: string, config: TopicConfig): Promise<{ created: boolean; topic: Topic }>;
  /** @throws `topic-not-found` */
  get(name: string): Promise<Topic>;
  /** @throws `topic-not-found`, `immutable-field` (messageType), `key-order` (queues). */
  patch(name: string, change: TopicPatch): Promise<Topic>;
  /** Deletes the topic and its messages; groups keep their subscription. @throws `topic-not-found` */
  delete(name: string): Promise<void>;
  /** In order of name; `next` is the `after` of the following page. */
  list(page: Page): Promise<{ topics: readonly Topic[]; next?: string | undefined }>;
}

/** A member that is absent or undefined stays as it is. */
export type TopicPatch = {
  readonly [K in keyof TopicConfig]?: K extends "retention"
    ? Partial<TopicConfig["retention"]> | undefined
    : TopicConfig[K] | undefined;
};

// Messages

export interface NewMessage extends MessageAttributes {
  /** At most 4 MiB; the broker copies it before the call returns its promise. */
  readonly body: Uint8Array;
}

export interface Published {
  readonly id: string;
  readonly queueId: number;
  readonly queueOffset: number;
  /** The position after this message in its queue. */
  readonly cursor: string;
  readonly publishedAt: number;
}

/** A message as it is read: where it lies, and the payload `decodeMessage` understands. */
export interface StoredMessage {
  readonly topic: string;
  readonly queueId: number;
  readonly queueOffset: number;
  /** The position after this message in its queue. */
  readonly cursor: string;
  /** When it became visible, by the leader's clock. */
  readonly publishedAt: number;
  /** Owned by the caller to read, never to write: it may be shared. */
  readonly payload: Uint8Array;
}

/** Where a read begins. A queue cursor implies its queue. */
export type Start =
  | { readonly kind: "cursor"; readonly cursor: string }
  | { readonly kind: "earliest" }
  | { readonly kind: "latest" }
  | { readonly kind: "time"; readonly time: number };

export interface ReadRequest {
  readonly topic: string;
  readonly start: Start;
  /** Read one queue only. */
  readonly queueId?: number | undefined;
  /** Only messages of this ordering key (and so of one queue). */
  readonly key?: string | undefined;
  /** 1 to 1000. */
  readonly limit: number;
  /** The page ends before the message that would exceed it, but holds at least one. */
  readonly maxBytes: number;
  /** 0 to 60 000: how long to wait for the first message. */
  readonly waitMs: number;
  /** Ask for {@linkcode ReadPage.cursors}. */
  readonly cursors?: boolean | undefined;
}

export interface ReadPage {
  /** In queue order, or in log order for a whole topic; empty when the wait ran out. */
  readonly messages: readonly StoredMessage[];
  /** Where to go on; moves past what a filter skipped even when nothing matched. */
  readonly cursor: string;
  /** The position in the stream after each message; present when the request asks for it. */
  readonly cursors?: readonly string[] | undefined;
  /** Nothing readable lay behind the cursor when the answer was made. */
  readonly upToDate: boolean;
  /** The topic's generation, for caches. */
  readonly generation: number;
}

export interface MessagesApi {
  /**
   * Appends one message. A message with a key goes to the key's queue, in order
   * of call; one without goes round robin.
   *
   * @throws `topic-not-found` (auto-create off), `message-too-large`,
   * `message-type-mismatch`; retryable: `draining`, `overloaded`.
   */
  publish(topic: string, message: NewMessage): Promise<Published>;
  /**
   * Appends many; one result per message, in order. With `atomic` they are one
   * unit of the log: all or none, and a single problem rejects the call.
   */
  publishBatch(
    topic: string,
    messages: readonly NewMessage[],
    options: { atomic: boolean },
  ): Promise<readonly (Published | TidegateError)[]>;
  /**
   * Reads what is visible, waiting up to `waitMs` for the first message.
   *
   * @throws `topic-not-found`, `invalid-cursor`, `cursor-expired`,
   * `cursor-generation`, `data-damaged`; retryable: `overloaded` (too many waiters).
   */
  read(request: ReadRequest, options?: CallOptions): Promise<ReadPage>;
  /** The newest message with this id. @throws `topic-not-found`, `message-not-found`, `data-damaged` */
  get(topic: string, id: string): Promise<StoredMessage>;
}

// Consumer groups

export type Backoff =
  | { readonly initialMs: number; readonly multiplier: number; readonly maxMs: number }
  | { readonly scheduleMs: readonly number[] };

export interface GroupConfig {
  /** At most 100, of distinct topics; a topic need not exist yet where auto-create is on. */
  readonly subscriptions: readonly { readonly topic: string }[];
  readonly leaseMs: number;
  readonly maxAttempts: number;
  readonly backoff: Backoff;
  /** Where a subscription begins in a topic that exists when it is made. */
  readonly startFrom: "latest" | "earliest";
  /** Live leases at most. */
  readonly maxInFlight: number;
}

export interface Group extends GroupConfig {
  readonly name: string;
  readonly generation: number;
  readonly createdAt: number;
}

export type GroupPatch = { readonly [K in keyof GroupConfig]?: GroupConfig[K] | undefined };

export interface ReceiveRequest {
  readonly group: string;
  /** 1 to 1000. */
  readonly max: number;
  readonly maxBytes: number;
  /** 0 to 60 000. */
  readonly waitMs: number;
  /** 100 ms to 12 h; the group's default when absent. */
  readonly leaseMs?: number | undefined;
  /** Only from this subscription. */
  readonly topic?: string | undefined;
  /** The same id again within the lease returns the same leases. */
  readonly attemptId?: string | undefined;
}

export interface Delivery extends StoredMessage {
  readonly receipt: string;
  /** 1 for the first delivery. */
  readonly attempt: number;
  readonly leaseUntil: number;
}

export interface SettleRequest {
  readonly ack: readonly string[];
  readonly release: readonly { readonly receipt: string; readonly delayMs?: number | undefined }[];
  readonly extend: readonly { readonly receipt: string; readonly leaseMs: number }[];
  readonly reject: readonly { readonly receipt: string; readonly reason?: string | undefined }[];
}

export interface SettleResult {
  readonly receipt: string;
  /** `late`: the lease had ended but nobody else had the message, so it counts. */
  readonly status: "ok" | "late" | "lost" | "invalid";
  /** For extend. */
  readonly leaseUntil?: number | undefined;
}

export interface QueueLag {
  readonly queueId: number;
  /** Everything below is settled. */
  readonly committedOffset: number;
  readonly endOffset: number;
  readonly ready: number;
  readonly leased: number;
  /** Age of the oldest unsettled message; 0 when there is none. */
  readonly oldestAgeMs: number;
}

export interface GroupsApi {
  /** @throws `group-exists`; `topic-not-found` for an unknown topic where auto-create is off. */
  put(name: string, config: GroupConfig): Promise<{ created: boolean; group: Group }>;
  /** @throws `group-not-found` */
  get(name: string): Promise<Group>;
  /** @throws `group-not-found` */
  patch(name: string, change: GroupPatch): Promise<Group>;
  /** Its receipts become `lost`. @throws `group-not-found` */
  delete(name: string): Promise<void>;
  list(page: Page): Promise<{ groups: readonly Group[]; next?: string | undefined }>;
  /**
   * Leases up to `max` messages: redeliveries first, then new ones; waits up to
   * `waitMs` for the first. Leases are durable when this resolves. When the
   * signal has aborted by then, the leases are undone without counting an attempt.
   *
   * @returns an empty list when the wait ran out.
   * @throws `group-not-found`, `topic-not-found` (not subscribed); retryable:
   * `overloaded` (too many waiters), `draining`.
   */
  receive(request: ReceiveRequest, options?: CallOptions): Promise<readonly Delivery[]>;
  /** One result per receipt: ack, release, extend, reject, in that order. @throws `group-not-found` */
  settle(group: string, request: SettleRequest): Promise<readonly SettleResult[]>;
  /** @throws `group-not-found` */
  lag(
    name: string,
  ): Promise<{ topics: readonly { topic: string; queues: readonly QueueLag[]; total: number }[] }>;
}

// The node

export interface NodeStatus {
  readonly nodeId: string;
  readonly group: string;
  /** False while draining: `/readyz` answers 503. */
  readonly ready: boolean;
  readonly epoch: number;
  readonly durableEnd: number;
  readonly confirmOffset: number;
  /** Ranges of the log whose bytes are not what was written. */
  readonly damaged: readonly { readonly from: number; readonly to: number }[];
}
