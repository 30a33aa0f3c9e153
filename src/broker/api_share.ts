/**
 * {@linkcode ShareApi}: what a cluster's gateways ask of a broker group beside
 * `BrokerApi`, for it has a share of what the cluster has. Types only.
 *
 * Definitions are decided at the coordinator; a broker group has copies of them, as
 * records of its log, and serves by these alone.
 *
 * @module
 */

import type { BrokerApi, Delivery } from "./api.ts";

export type CopyKind = "topic" | "group" | "producerGroup";

/** A definition as the coordinator has it, or that it has none any more. */
export interface DefinitionCopy {
  readonly kind: CopyKind;
  readonly name: string;
  readonly generation: number;
  /** 1 for the first of a generation; rises with each change. */
  readonly version: number;
  readonly createdAt: number;
  /** What is stored (definitions.ts); undefined: this generation is gone. */
  readonly config?: unknown;
}

export interface TopicEnds {
  readonly name: string;
  readonly generation: number;
  /** By queue; 0 for those it has not. */
  readonly endOffsets: readonly number[];
}

export interface ShareApi {
  /**
   * Takes over what it does not have, or has an older version or generation of; the rest it
   * leaves. With a generation that ends go its messages, leases and undecided transactions.
   */
  define(copies: readonly DefinitionCopy[]): Promise<void>;
  /** Of those of the topics that it has. */
  endsOf(topics: readonly string[]): Promise<readonly TopicEnds[]>;
  /** How many transactions hold back messages of the topic; 0 for one it has not. */
  undecidedIn(topic: string): Promise<number>;
  /** How many messages of the group are leased or wait for a retry; 0 for one it has not. */
  openIn(group: string): Promise<number>;
  /** What the attempt was given and still holds; nothing new. @throws `group-not-found` */
  repeat(
    group: string,
    wish: { readonly attemptId: string; readonly maxBytes: number },
  ): Promise<readonly Delivery[]>;
  /** Leases that never reached their consumer: ready at once, the attempt does not count. */
  giveBack(group: string, receipts: readonly string[]): Promise<void>;
}

/** A broker group, by its leader. */
export interface BrokerGroupApi extends BrokerApi {
  readonly share: ShareApi;
}
