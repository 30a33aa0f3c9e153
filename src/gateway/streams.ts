/**
 * Event streams of every kind: who may have one, and how all of them end.
 *
 *   admit() ─▶ a subscriber ─▶ answer()
 *       └─ full, draining ───▶ 200 and `event: reconnect`
 *
 * What no retry would mend is a problem with a status, for whoever opens a
 * stream finds it out before the answer is made. What a retry may mend is 200
 * and `event: reconnect`, because an EventSource gives up for good on any other
 * status.
 *
 * @module
 */

import { CODES, TidegateError } from "../../storage/base/errors.ts";
import type { After } from "./feed.ts";
import { Heart } from "./feed_heart.ts";
import { Subscriber, type SubscriberOwner } from "./feed_subscriber.ts";
import { encodeReconnect, type ReconnectReason, STREAM_HEADERS } from "./sse.ts";

/** 10 to 20 kB each with its connection; on many hosts the file descriptors end sooner. */
export const STREAMS_MAX = 10_000;

/** A node that is full asks for more patience. */
const RETRY_MS = 2000;
const RETRY_FULL_MS = 10_000;

export interface StreamsOptions {
  readonly after: After;
  /** From 0 up to 1: spreads reconnects, so that readers do not all come back at once. */
  readonly random: () => number;
  readonly streamsMax?: number | undefined;
}

export class Streams implements SubscriberOwner {
  readonly #random: () => number;
  readonly #heart: Heart;
  readonly #streamsMax: number;
  readonly #toldToReconnect = new Map<ReconnectReason, number>();
  #sentBytes = 0;
  #draining = false;

  constructor({ after, random, streamsMax }: StreamsOptions) {
    this.#random = random;
    this.#heart = new Heart(after);
    this.#streamsMax = streamsMax ?? STREAMS_MAX;
  }

  /** Streams that are open or still hold bytes for a reader. */
  get size(): number {
    return this.#heart.size;
  }

  /** Given to the connections of streams, since the start. */
  get sentBytes(): number {
    let bytes = this.#sentBytes;
    for (const { pushedBytes } of this.#heart) bytes += pushedBytes;
    return bytes;
  }

  /** How many were told to come back, by reason, since the start. */
  get toldToReconnect(): ReadonlyMap<ReconnectReason, number> {
    return this.#toldToReconnect;
  }

  /** The reader's end of a new stream, or the answer that there is none to be had now. */
  admit({ signal }: Request): Subscriber | Response {
    if (this.#draining) return this.#refuse("draining");
    if (this.size >= this.#streamsMax) return this.#refuse("overloaded");
    if (signal.aborted) return this.#refuse("internal"); // to nobody: the reader is gone
    const subscriber = new Subscriber(this, signal);
    this.#heart.add(subscriber);
    return subscriber;
  }

  answer({ stream }: Subscriber): Response {
    return new Response(stream, { headers: STREAM_HEADERS });
  }

  /** The answer to a stream that could not begin. @throws what no retry would mend */
  refusal(error: unknown): Response {
    const reason = retryReason(error);
    if (reason === undefined) throw error;
    return this.#refuse(reason);
  }

  /** Tells every reader to reconnect, ends the streams, and takes no more. */
  drain(): void {
    this.#draining = true;
    for (const subscriber of this.#heart) subscriber.end("draining");
  }

  // What subscribers ask.

  /** What a reader is told that begins, or that is to come back for `reason`: each asks once. */
  retryMs(reason?: ReconnectReason): number {
    if (reason) this.#toldToReconnect.set(reason, (this.#toldToReconnect.get(reason) ?? 0) + 1);
    const least = reason === "overloaded" ? RETRY_FULL_MS : RETRY_MS;
    return least * (1 + this.#random() / 2);
  }

  ended(subscriber: Subscriber): void {
    this.#heart.delete(subscriber);
    this.#sentBytes += subscriber.pushedBytes;
  }

  /** A stream that says "come back later" and ends: what an EventSource understands. */
  #refuse(reason: ReconnectReason): Response {
    return new Response(encodeReconnect(reason, this.retryMs(reason)), {
      headers: STREAM_HEADERS,
    });
  }
}

/** Why to come back, of a failure that may pass; undefined of any other. */
export function retryReason(error: unknown): ReconnectReason | undefined {
  if (!(error instanceof TidegateError) || !CODES[error.code].retryable) return undefined;
  return error.code === "draining" ? "draining" : "overloaded";
}
