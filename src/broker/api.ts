/**
 * What the gateway may ask of the broker. Types only: no code lives here, so
 * routes can depend on the broker without depending on how it works.
 *
 * Four small interfaces.
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
import type { GroupsApi } from "./api_groups.ts";
import type { SearchPage, SearchRequest, Trace, TraceRequest } from "./api_lookups.ts";
import type { TransactionsApi } from "./api_transactions.ts";

export type * from "./api_groups.ts";
export type * from "./api_lookups.ts";
export type * from "./api_share.ts";
export type * from "./api_transactions.ts";

export interface BrokerApi {
  readonly topics: TopicsApi;
  readonly messages: MessagesApi;
  readonly groups: GroupsApi;
  readonly transactions: TransactionsApi;
  /** What `/readyz` and `/v1/cluster` tell. */
  status(): NodeStatus;
}

/** Aborting ends the wait, never the work: what was logged stays logged. */
export interface CallOptions {
  readonly signal?: StopSignal | undefined;
}

/**
 * What a call needs of an `AbortSignal`. A caller with thousands of calls that wait
 * may have smaller ones.
 */
export interface StopSignal {
  readonly aborted: boolean;
  addEventListener(type: "abort", listener: StopListener): void;
  removeEventListener(type: "abort", listener: StopListener): void;
}

export type StopListener = (() => void) | { handleEvent(): void };

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
   * @throws `topic-exists` when it exists with another one.
   */
  put(name: string, config: TopicConfig): Promise<{ created: boolean; topic: Topic }>;
  /** @throws `topic-not-found` */
  get(name: string): Promise<Topic>;
  /** @throws `topic-not-found`, `immutable-field` (messageType), `key-order` (queues). */
  patch(name: string, change: TopicPatch): Promise<Topic>;
  /**
   * Deletes the topic and its messages; groups keep their subscription.
   *
   * @param options.force rolls back transactions that hold back messages of the topic.
   * @throws `topic-not-found`; `topic-busy` when there are such transactions.
   */
  delete(name: string, options?: { readonly force?: boolean | undefined }): Promise<void>;
  /**
   * Removes all messages that have a place in the topic now. Groups go on behind them, and what
   * they hold of them is void; dead letters stay, as does what is scheduled or waits for a decision.
   *
   * @returns how many messages were removed.
   * @throws `topic-not-found`
   */
  purge(name: string): Promise<number>;
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
  /**
   * At most 4 MiB; the broker copies it before the call returns its promise, or,
   * for a message with an idempotency key, before it resolves.
   */
  readonly body: Uint8Array;
  /**
   * A message with a key that was used within the window, in this topic and with
   * this ordering key, is not stored: the first answer is given again. Without an
   * ordering key it goes to the queue of the idempotency key.
   */
  readonly idempotencyKey?: string | undefined;
  /** The id was made for this very request: no other message has it, nor has a repeat of this one. */
  readonly idGenerated?: boolean | undefined;
  /**
   * Its place in the producer's sequence in this topic, with this ordering key or
   * without one; not together with an idempotency key. Without an ordering key it
   * goes to the queue of the producer's id. The id is at most 255 bytes.
   */
  readonly producer?:
    | { readonly id: string; readonly epoch: number; readonly seq: number }
    | undefined;
  /** Nobody sees it before then. In the past: now. At most one of this and `delayMs`. */
  readonly deliverAt?: number | undefined;
  /** Nobody sees it before so much time has elapsed, whatever the clocks say. */
  readonly delayMs?: number | undefined;
}

/** A message that is visible, or will be once it is durable. */
export interface PublishedNow {
  readonly state?: undefined;
  readonly id: string;
  readonly queueId: number;
  readonly queueOffset: number;
  /** The position after this message in its queue. */
  readonly cursor: string;
  readonly publishedAt: number;
  /** It was stored by an earlier request; this is its answer. */
  readonly replayed?: true;
}

/** A delayed message: its place in the queue is given when it becomes visible. */
export interface Scheduled {
  readonly state: "scheduled";
  readonly id: string;
  readonly queueId: number;
  readonly deliverAt: number;
  readonly publishedAt: number;
  readonly replayed?: true;
}

export type Published = PublishedNow | Scheduled;

/** A message as it is read: where it lies, and the payload `decodeMessage` understands. */
export interface StoredMessage {
  readonly state?: undefined;
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

/** A delayed message that is not visible yet. */
export interface ScheduledMessage {
  readonly state: "scheduled";
  readonly topic: string;
  readonly queueId: number;
  readonly deliverAt: number;
  /** When it was stored. */
  readonly publishedAt: number;
  /** As of a {@linkcode StoredMessage}. */
  readonly payload: Uint8Array;
}

/** Where a read begins. A queue cursor implies its queue. */
export type Start =
  | { readonly kind: "cursor"; readonly cursor: string }
  | { readonly kind: "earliest" }
  | { readonly kind: "latest" }
  | { readonly kind: "time"; readonly time: number };

/** Which messages are wanted: a tag expression, or SQL over properties, `TAGS` and `KEY`. */
export type Filter = { readonly tag: string } | { readonly sql: string };

export interface ReadRequest {
  readonly topic: string;
  readonly start: Start;
  /** Read one queue only. */
  readonly queueId?: number | undefined;
  /** Only messages of this ordering key (and so of one queue). */
  readonly key?: string | undefined;
  /** Only messages it wants. */
  readonly filter?: Filter | undefined;
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
  /** The position before the first of them; present with {@linkcode ReadPage.cursors}. */
  readonly from?: string | undefined;
  /** Nothing readable lay behind the cursor when the answer was made. */
  readonly upToDate: boolean;
  /** The topic's generation, for caches. */
  readonly generation: number;
  /** The queue, where one is read: a cursor may imply it. */
  readonly queueId?: number | undefined;
}

export interface MessagesApi {
  /**
   * Appends one message. A message with a key goes to the key's queue, in order
   * of call; one without goes round robin. One with an idempotency key takes its
   * place when the key has been looked up, which may take reads. A delayed one
   * becomes visible when it is due; those of one key that are due become so in
   * order of due time.
   *
   * @throws `topic-not-found` (auto-create off), `message-too-large`,
   * `message-type-mismatch`, `delay-too-long`, `id-in-use` (of a scheduled
   * message), `idempotency-mismatch`, `producer-fenced`, `producer-sequence-gap`,
   * `producer-sequence-old`, `data-damaged` (of what would answer a repeat);
   * retryable: `draining`, `overloaded`, `idempotency-in-progress`.
   */
  publish(topic: string, message: NewMessage): Promise<Published>;
  /**
   * Appends many; one result per message, in order. With `atomic` they are one
   * unit of the log: all or none, and a single problem rejects the call; repeated
   * in part it is an `idempotency-mismatch`. A batch with places in a sequence is
   * atomic, its places follow each other, and its messages have one ordering key,
   * or none: else `invalid-request`.
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
   * `cursor-generation`, `filter-invalid`, `data-damaged`; retryable: `overloaded` (too many waiters).
   */
  read(request: ReadRequest, options?: CallOptions): Promise<ReadPage>;
  /** The newest message with this id. @throws `topic-not-found`, `message-not-found`, `data-damaged` */
  get(topic: string, id: string): Promise<StoredMessage | ScheduledMessage>;
  /**
   * Takes back the newest message with this id, which is scheduled: nobody ever sees it.
   *
   * @throws `topic-not-found`, `message-not-found` (none, or recalled before), `already-delivered`.
   */
  recall(topic: string, id: string): Promise<void>;
  /**
   * A page of what is visible and has an index key, or became visible in a span of time, or both.
   * Messages whose bytes are damaged are left out.
   *
   * @throws `topic-not-found`, `invalid-cursor`, `cursor-generation`.
   */
  search(request: SearchRequest): Promise<SearchPage>;
  /**
   * What happened to the newest message with an id, visible or not, from the log.
   *
   * @throws `topic-not-found`, `message-not-found`, `invalid-cursor`, `cursor-generation`.
   */
  trace(request: TraceRequest): Promise<Trace>;
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
  /**
   * How far leader time is ahead of the wall clock; negative when behind. Other
   * than about 0 once the clock was set: until the next start delays go by what
   * elapsed, and times of day are off by so much.
   */
  readonly clockSkewMs: number;
  /** Ranges of the log whose bytes are not what was written. */
  readonly damaged: readonly { readonly from: number; readonly to: number }[];
  /**
   * How full the disk is. `high` is a warning; at `full` nothing is published; at
   * `stuck` nothing is stored at all.
   */
  readonly disk: "ample" | "high" | "full" | "stuck";
  /** Of a gateway, which is in front of several: what it knows of them. */
  readonly cluster?: ClusterStatus | undefined;
}

export interface ClusterStatus {
  /** All broker groups. */
  readonly groups: readonly {
    readonly id: string;
    /** In positions, receipts and ids. */
    readonly number: number;
    /** The node that leads it; absent: none does at the moment. */
    readonly leader?: string | undefined;
    readonly epoch: number;
  }[];
  readonly nodes: readonly {
    readonly id: string;
    readonly group: string;
    readonly alive: boolean;
  }[];
}
