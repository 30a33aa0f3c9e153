/**
 * Looking things up: messages by index key or time, and what happened to one.
 * Types only; the conventions of `api.ts`, which is the door to these.
 *
 * @module
 */

import type { StoredMessage } from "./api.ts";

export interface SearchRequest {
  readonly topic: string;
  /** One of the message's index keys, exactly. */
  readonly index?: string | undefined;
  /** Became visible then or later. */
  readonly from?: number | undefined;
  /** Became visible before then. */
  readonly to?: number | undefined;
  /** 1 to 1000. */
  readonly limit: number;
  /** The page ends before the message that would exceed it, but holds at least one. */
  readonly maxBytes: number;
  /** The token of the page before; the rest of the request must be the same. */
  readonly after?: string | undefined;
  /** Ask for {@linkcode SearchPage.cursors}. */
  readonly cursors?: boolean | undefined;
}

export interface SearchPage {
  /** The last to become visible first. */
  readonly messages: readonly StoredMessage[];
  /** The `after` of the following page, which may be empty; absent: there are no more. */
  readonly next?: string | undefined;
  /** The `after` behind each message; present when the request asks for it. */
  readonly cursors?: readonly string[] | undefined;
  /** The `after` of this page, also of a first one; present with {@linkcode SearchPage.cursors}. */
  readonly from?: string | undefined;
}

export interface TraceRequest {
  readonly topic: string;
  /** Of the message: the newest with this id. */
  readonly id: string;
  /** 1 to 1000. */
  readonly limit: number;
  /** The token of the page before. */
  readonly after?: string | undefined;
}

/**
 * What happened to a message, from its own records in the log. That a lease ended is no record: the
 * next delivery, or the dead letter, tells. What a group's filter passed over is told nowhere.
 */
export interface Trace {
  readonly topic: string;
  readonly id: string;
  readonly queueId: number;
  /** Absent while it is not visible. */
  readonly queueOffset?: number | undefined;
  /** What was logged before is gone. */
  readonly since: number;
  /** The oldest first. */
  readonly events: readonly TraceEvent[];
  /** The `after` of the following page, which may be empty; absent: there is no more so far. */
  readonly next?: string | undefined;
}

export type TraceEventName =
  /** It was stored: visible at once, for later, or until a transaction is decided. */
  | "published"
  | "scheduled"
  | "prepared"
  /** A delayed one was taken back; the transaction's producers were asked; nobody had an answer. */
  | "recalled"
  | "checked"
  | "parked"
  | "committed"
  | "rolledBack"
  /** It became visible: was due, or committed. */
  | "revealed"
  /** A consumer got it; said how it went; the delivery never reached the consumer. */
  | "delivered"
  | "acked"
  | "released"
  | "extended"
  | "returned"
  /** Its group gave it up; it was sent back to the group; it left the list of dead letters. */
  | "deadLettered"
  | "redriven"
  | "dropped"
  /** The group was moved in this queue: goes on at `position`. */
  | "sought";

export interface TraceEvent {
  readonly event: TraceEventName;
  readonly at: number;
  /** The consumer group; absent where it is no event of a group, and of a group that is gone. */
  readonly group?: string | undefined;
  readonly deliverAt?: number | undefined;
  readonly transactionId?: string | undefined;
  readonly producerGroup?: string | undefined;
  /** Who decided. */
  readonly by?: "producer" | "check" | "operator" | undefined;
  readonly checkNumber?: number | undefined;
  readonly queueOffset?: number | undefined;
  readonly attempt?: number | undefined;
  readonly consumerId?: string | undefined;
  /** Until when it is leased. */
  readonly leaseUntil?: number | undefined;
  /** When it may be delivered again. */
  readonly readyAt?: number | undefined;
  /** Why it is a dead letter, and in the consumer's words. */
  readonly cause?: "attempts" | "rejected" | undefined;
  readonly reason?: string | undefined;
  readonly attempts?: number | undefined;
  /** The queueOffset a group goes on at. */
  readonly position?: number | undefined;
}
