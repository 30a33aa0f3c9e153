/**
 * {@linkcode TransactionsApi}: what the gateway may ask of the broker about
 * transactions and those who produce them. Types only; the conventions of
 * `api.ts`, which is the door to these.
 *
 * @module
 */

import type { CallOptions, NewMessage, Page } from "./api.ts";

/** When a transaction whose outcome stays unknown is asked about, and how often. */
export interface CheckRules {
  /** From its begin, 1 s to 24 h. */
  readonly firstCheckMs: number;
  /** From one check to the next, 1 s to 24 h. */
  readonly checkIntervalMs: number;
  /** 1 to 100; after the last one it is parked. */
  readonly maxChecks: number;
}

export interface HalfMessage {
  readonly topic: string;
  /** Without delay, idempotency key or place in a sequence. */
  readonly message: NewMessage;
}

/** A member that is absent is the producer group's, or the default. */
export type NewTransaction = { readonly [K in keyof CheckRules]?: CheckRules[K] | undefined } & {
  readonly producerGroup: string;
  /** 1 to 100. */
  readonly messages: readonly HalfMessage[];
  /** Who is asked; without one, checks wait to be received. */
  readonly checkUrl?: string | undefined;
};

export type TransactionState = "prepared" | "parked" | "committed" | "rolledBack";

export interface TransactionMessage {
  readonly id: string;
  readonly topic: string;
  readonly key?: string | undefined;
}

export interface Transaction {
  readonly id: string;
  readonly producerGroup: string;
  /** `parked`: all checks were sent, and still nobody decided; anybody may. */
  readonly state: TransactionState;
  /** Those of topics that are gone are missing; undefined for a decided one in a list. */
  readonly messages?: readonly TransactionMessage[] | undefined;
  readonly checksSent: number;
  /** While it is prepared; in the past when the check waits to be received. */
  readonly nextCheckAt?: number | undefined;
  readonly createdAt: number;
}

export interface TransactionPage {
  readonly limit: number;
  /** The `next` of the page before. */
  readonly after?: string | undefined;
  readonly state?: TransactionState | undefined;
  readonly producerGroup?: string | undefined;
  /** Ask for {@linkcode ListedTransactions.cursors}. */
  readonly cursors?: boolean | undefined;
}

export interface ListedTransactions {
  readonly transactions: readonly Transaction[];
  /** The `after` of the following page. */
  readonly next?: string | undefined;
  /** The `after` behind each; present when the request asks for it. */
  readonly cursors?: readonly string[] | undefined;
}

/** The question for a transaction's outcome; commit and rollback answer it. */
export interface TransactionCheck {
  readonly transactionId: string;
  readonly messages: readonly TransactionMessage[];
  /** 1 for the first. */
  readonly checkNumber: number;
}

export interface ProducerGroupConfig extends CheckRules {
  readonly checkUrl?: string | undefined;
  /** Signs what is sent to the checkUrl. */
  readonly checkSecret?: string | undefined;
}

/** Never with its secret. */
export interface ProducerGroup extends Omit<ProducerGroupConfig, "checkSecret"> {
  readonly name: string;
  readonly generation: number;
  readonly createdAt: number;
  readonly checkSecretSet: boolean;
}

/** A member that is absent or undefined stays; null takes it away. */
export type ProducerGroupPatch = {
  readonly [K in keyof CheckRules]?: CheckRules[K] | undefined;
} & {
  readonly [K in "checkUrl" | "checkSecret"]?: string | null | undefined;
};

export interface TransactionsApi {
  /**
   * Stores half messages, which nobody sees until the transaction is committed.
   *
   * @throws `topic-not-found` (auto-create off), `message-type-mismatch` (also a
   * delay), `message-too-large`, `body-too-large` (all together),
   * `check-url-refused`; retryable: `overloaded`.
   */
  begin(wish: NewTransaction): Promise<{ readonly id: string }>;
  /**
   * Makes all its messages visible, at once. A repeat is answered alike.
   *
   * @throws `transaction-not-found` (none, or decided more than 24 hours ago),
   * `transaction-decided`, with its `state`, when it was rolled back.
   */
  commit(id: string): Promise<void>;
  /** Nobody ever sees its messages. @throws as {@linkcode TransactionsApi.commit} */
  rollback(id: string): Promise<void>;
  /** @throws `transaction-not-found` */
  get(id: string): Promise<Transaction>;
  /** In the order they began. @throws `invalid-cursor` */
  list(page: TransactionPage): Promise<ListedTransactions>;
  /**
   * Takes checks that are due, of transactions of the producer group without a
   * checkUrl; waits up to `waitMs` for the first. Each counts as sent and comes
   * again after the transaction's interval, unless it is decided. When the signal
   * has aborted by then, they are taken back.
   *
   * @param wish.max 1 to 1000. @param wish.waitMs 0 to 60 000.
   * @returns an empty list when the wait ran out.
   * @throws retryable: `overloaded` (too many waiters)
   */
  receiveChecks(
    producerGroup: string,
    wish: { readonly max: number; readonly waitMs: number },
    options?: CallOptions,
  ): Promise<readonly TransactionCheck[]>;
  readonly producers: ProducerGroupsApi;
}

export interface ProducerGroupsApi {
  /** Creates, or confirms. @throws `producer-group-exists`, `check-url-refused` */
  put(
    name: string,
    config: ProducerGroupConfig,
  ): Promise<{ created: boolean; producerGroup: ProducerGroup }>;
  /** @throws `producer-group-not-found` */
  get(name: string): Promise<ProducerGroup>;
  /** Transactions under way keep their rules. @throws `producer-group-not-found`, `check-url-refused` */
  patch(name: string, change: ProducerGroupPatch): Promise<ProducerGroup>;
  /** Its transactions stay. @throws `producer-group-not-found` */
  delete(name: string): Promise<void>;
  /** In order of name; `next` is the `after` of the following page. */
  list(page: Page): Promise<{
    readonly producerGroups: readonly ProducerGroup[];
    readonly next?: string | undefined;
  }>;
}
