/**
 * What the routes ask of the gateway around them. Types only: the gateway
 * plugs in, so a route knows neither how streams are shared nor which runtime
 * serves.
 *
 * @module
 */

import type { BrokerApi, Filter, Start, StopSignal } from "../src/broker/api.ts";
import type { Call } from "./call.ts";

export interface Ports {
  readonly broker: BrokerApi;
  readonly feeds: Feeds;
  readonly leases: LeaseStreams;
  readonly holds: Holds;
  readonly bodies: Bodies;
  readonly assets: Assets;
  /** The node's figures as Prometheus reads them; absent where nobody collects any. */
  readonly metrics?: (() => Promise<string>) | undefined;
  readonly version: string;
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** The node takes no new work. */
  draining(): boolean;
  /** Answers need a credential, so a shared cache must not keep them. */
  readonly authenticated: boolean;
  /** Makes the problem of a request that failed, and reports what nobody foresaw. */
  failed(error: unknown, request: Request, call: Call): Response;
}

/** One log to follow: readers who want the same thing share the work. */
export interface StreamRequest {
  readonly topic: string;
  /** Resolved by the route: `Last-Event-ID`, else `lastEventId`, else `after`, else latest. */
  readonly start: Start;
  /** The position came from `Last-Event-ID` or `lastEventId`: a stream goes on. */
  readonly resumed: boolean;
  readonly queueId?: number | undefined;
  readonly key?: string | undefined;
  readonly filter?: Filter | undefined;
}

export interface Feeds {
  /**
   * Answers a request for an event stream; the caller has called `holdOpen`.
   *
   * Retryable refusals (too many streams, drain, an overloaded broker) are
   * answered here, as 200 with `event: reconnect`; a resumed stream of a topic
   * that is gone is answered 204. An `id:` is a cursor or, before the first
   * message of a stream that starts there, `earliest` or `time:…`: the route
   * reads `Last-Event-ID` exactly as it reads `after`.
   *
   * @throws `topic-not-found` (not resumed), `invalid-cursor`, `filter-invalid`, and what else no
   * retry would mend: the route's error handler makes it a problem.
   */
  open(wanted: StreamRequest, request: Request): Promise<Response>;
  /**
   * The same over several topics, each named once: one stream, whose ids are
   * positions in all of them (`topics_position.ts`).
   *
   * A topic that is gone is one that ended when it is resumed, and the answer is
   * 204 when all of them are. @throws as {@linkcode open} for the others.
   */
  openTopics(wanted: readonly StreamRequest[], request: Request): Promise<Response>;
}

/** The leased messages of one consumer of a group, as they become ready. */
export interface LeaseStreamRequest {
  readonly group: string;
  /** Whose leases they are: the client's own name, or one made for it. */
  readonly consumerId: string;
  /** The client gave its name, so it may have been here before. */
  readonly named: boolean;
  /** 1 to 10 000: unsettled at most. */
  readonly maxInFlight: number;
  /** The group's when absent. */
  readonly leaseMs?: number | undefined;
  /** Only from this subscription. */
  readonly topic?: string | undefined;
}

export interface LeaseStreams {
  /**
   * Answers a request for a stream of leases; the caller has called `holdOpen`.
   *
   * It begins with who the consumer is and what it holds already, under the
   * receipts it had. A newer stream of the same consumer ends this one.
   * Retryable refusals are answered as {@linkcode Feeds.open} does; a named
   * consumer of a group that is gone is answered 204.
   *
   * @throws `group-not-found` (not named), `topic-not-found` (not subscribed)
   */
  open(wanted: LeaseStreamRequest, request: Request): Promise<Response>;
}

/** Requests that wait for something to happen. */
export interface Holds {
  /**
   * Lets `request` wait: the connection may stay silent, and the signal tells
   * when to stop because the client has gone or the node drains.
   *
   * @throws `quota-exceeded` when the credential holds as many as it may.
   */
  begin(call: Call, request: Request): Hold;
}

export interface Hold {
  readonly signal: StopSignal;
  /** The wait is over, whatever came of it. */
  end(): void;
}

export interface BodyLimit {
  readonly bytes: number;
  readonly code: "body-too-large" | "message-too-large";
}

export interface Bodies {
  /**
   * The whole body, refused before it is buffered when it is too long.
   *
   * @throws `limit.code`, `unsupported-media-type` (compressed),
   * `request-timeout`, `invalid-request` (it ended early).
   */
  read(request: Request, about: { call: Call; limit: BodyLimit }): Promise<Uint8Array>;
}

/** A file of the self-hosted documentation, by name; undefined when there is none. */
export type Assets = (name: string) => Promise<Uint8Array | undefined>;
