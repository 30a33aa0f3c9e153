/**
 * {@linkcode GroupsApi}: what the gateway may ask of the broker about consumer
 * groups. Types only; the conventions of `api.ts`, which is the door to these.
 *
 * @module
 */

import type { CallOptions, Filter, Page, Start, StoredMessage } from "./api.ts";

export type Backoff =
  | { readonly initialMs: number; readonly multiplier: number; readonly maxMs: number }
  | { readonly scheduleMs: readonly number[] };

export interface SubscriptionConfig {
  readonly topic: string;
  /** All messages when absent. */
  readonly filter?: Filter | undefined;
}

export interface GroupConfig {
  /** At most 100, of distinct topics; a topic need not exist yet where auto-create is on. */
  readonly subscriptions: readonly SubscriptionConfig[];
  /** `ordered`: of each key one message at a time, in order, through retries. */
  readonly mode: "concurrent" | "ordered";
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
  /** Nothing is delivered while it is paused; leases go on. */
  readonly paused: boolean;
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
  /** Who asks: shown by {@linkcode GroupsApi.consumers}, and kept with the leases. */
  readonly consumerId?: string | undefined;
  /** Live leases of this consumer at most; a settle, through whomever, makes room. */
  readonly consumerMaxInFlight?: number | undefined;
  /** First give this consumer what it holds already, under the receipts it had. */
  readonly reopen?: boolean | undefined;
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
  /** Messages that retention removed before the group was given them. */
  readonly expiredUnread: number;
}

/** Who receives from a group: waits now, or holds leases. */
export interface ConnectedConsumer {
  /** Absent: those who did not name themselves, together. */
  readonly consumerId?: string | undefined;
  /** Receives it has waiting. */
  readonly waiting: number;
  /** Its live leases. */
  readonly inFlight: number;
}

/** A message that would be delivered now. */
export interface Peeked extends StoredMessage {
  /** Which attempt its next delivery is. */
  readonly attempt: number;
}

/** A message its group gave up on: a pointer, not a copy. */
export interface DeadLetter {
  readonly topic: string;
  readonly queueId: number;
  readonly queueOffset: number;
  /** Undefined when its bytes are damaged. */
  readonly message: StoredMessage | undefined;
  readonly cause: "attempts" | "rejected";
  /** The consumer's words; may be empty. */
  readonly reason: string;
  readonly attempts: number;
  readonly deadAt: number;
}

export interface DeadLetterPage {
  readonly deadLetters: readonly DeadLetter[];
  /** The `after` of the following page. */
  readonly next?: string | undefined;
  /** The `after` behind each; present when the request asks for it. */
  readonly cursors?: readonly string[] | undefined;
}

/** Which dead letters: those of messages with these ids; all when absent. */
export interface DeadLetterChoice {
  readonly ids?: readonly string[] | undefined;
}

export interface GroupsApi {
  /**
   * `paused` is no part of what is compared.
   *
   * @throws `group-exists`; `filter-invalid`; `topic-not-found` for an unknown
   * topic where auto-create is off.
   */
  put(name: string, config: GroupConfig): Promise<{ created: boolean; group: Group }>;
  /** @throws `group-not-found` */
  get(name: string): Promise<Group>;
  /**
   * New filters judge what was not delivered yet; a subscription that went takes its leases with it.
   *
   * @throws `group-not-found`, `filter-invalid`, `topic-not-found`; `group-busy`
   * when the mode would change under open leases.
   */
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
   * `overloaded` (too many waiters), `draining`. While the group is paused, nothing is given.
   */
  receive(request: ReceiveRequest, options?: CallOptions): Promise<readonly Delivery[]>;
  /** One result per receipt: ack, release, extend, reject, in that order. @throws `group-not-found` */
  settle(group: string, request: SettleRequest): Promise<readonly SettleResult[]>;
  /** @throws `group-not-found` */
  lag(
    name: string,
  ): Promise<{ topics: readonly { topic: string; queues: readonly QueueLag[]; total: number }[] }>;
  /** Stops deliveries until {@linkcode GroupsApi.resume}. @throws `group-not-found` */
  pause(name: string): Promise<Group>;
  /** @throws `group-not-found` */
  resume(name: string): Promise<Group>;
  /**
   * What a receive would give now, without leasing it. Nothing is passed over by looking: what
   * the filter does not want now, another one may want later.
   *
   * @throws `group-not-found`, `topic-not-found`
   */
  peek(
    name: string,
    wish: {
      /** 1 to 1000. */
      readonly limit: number;
      readonly maxBytes: number;
      readonly topic?: string | undefined;
    },
  ): Promise<readonly Peeked[]>;
  /** In order of consumerId, the nameless last. @throws `group-not-found` */
  consumers(name: string): Promise<readonly ConnectedConsumer[]>;
  /**
   * Sets the group's position in a topic: leases and retries there are void,
   * dead letters stay.
   *
   * @returns by queue, the queueOffset that is delivered next.
   * @throws `group-not-found`, `topic-not-found` (none, or not subscribed),
   * `invalid-cursor`, `cursor-generation`, `cursor-expired`.
   */
  seek(
    name: string,
    wish: { readonly topic: string; readonly to: Start },
  ): Promise<readonly { readonly queueId: number; readonly position: number }[]>;
  /** Oldest first; `next` is the `after` of the following page. @throws `group-not-found`, `invalid-cursor` */
  deadLetters(
    name: string,
    page: {
      readonly limit: number;
      readonly maxBytes: number;
      readonly after?: string | undefined;
      /** Ask for {@linkcode DeadLetterPage.cursors}. */
      readonly cursors?: boolean | undefined;
    },
  ): Promise<DeadLetterPage>;
  /**
   * Makes dead letters ready again for this group, attempt 1; with `toTopic`
   * publishes a copy there instead. They leave the list.
   *
   * @returns how many.
   * @throws `group-not-found`; `topic-not-found` (toTopic), `message-type-mismatch`,
   * `data-damaged`: nothing was sent.
   */
  redrive(
    name: string,
    wish: DeadLetterChoice & { readonly toTopic?: string | undefined },
  ): Promise<number>;
  /** Drops dead letters from the list. @returns how many. @throws `group-not-found` */
  purgeDeadLetters(name: string, choice: DeadLetterChoice): Promise<number>;
}
