/**
 * The door of the streams: who may have one, and who shares what.
 *
 *   open ─▶ latest?  ─ yes ─▶ the feed, at its next fence
 *                    ─ no ──▶ own pages first, then the feed (feed_catch_up.ts)
 *
 * Readers who want the same messages in the same form share one feed; it lives
 * as long as somebody reads it. A position is known, and the topic proven to
 * exist, before the answer is made: what no retry would mend is still a problem
 * with a status. What a retry may mend is 200 and `event: reconnect`, because
 * an EventSource gives up for good on any other status.
 *
 * @module
 */

import type { Feeds, StreamRequest } from "../../routes/ports.ts";
import { CODES, TidegateError } from "../../storage/base/errors.ts";
import type { MessagesApi } from "../broker/api.ts";
import { type After, Feed } from "./feed.ts";
import { CatchUp } from "./feed_catch_up.ts";
import { Heart } from "./feed_heart.ts";
import { FeedLog, positionOf, type Reading } from "./feed_log.ts";
import { Subscriber, type SubscriberOwner } from "./feed_subscriber.ts";
import { encodeOpening, encodeReconnect, type ReconnectReason, STREAM_HEADERS } from "./sse.ts";

/** 10 to 20 kB each with its connection; on many hosts the file descriptors end sooner. */
export const STREAMS_MAX = 10_000;

/** A node that is full asks for more patience. */
const RETRY_MS = 2000;
const RETRY_FULL_MS = 10_000;

export interface FeedsOptions {
  readonly messages: Pick<MessagesApi, "read">;
  readonly after: After;
  /** From 0 up to 1: spreads reconnects, so that readers do not all come back at once. */
  readonly random: () => number;
  /** An error nobody foresaw, which ended a stream. */
  readonly report: (error: unknown) => void;
  readonly streamsMax?: number | undefined;
}

export class SharedFeeds implements Feeds, SubscriberOwner {
  readonly #options: FeedsOptions;
  readonly #feeds = new Map<string, Feed>();
  readonly #heart: Heart;
  readonly #streamsMax: number;
  #draining = false;

  constructor(options: FeedsOptions) {
    this.#options = options;
    this.#heart = new Heart(options.after);
    this.#streamsMax = options.streamsMax ?? STREAMS_MAX;
  }

  /** Streams that are open or still hold bytes for a reader. */
  get streams(): number {
    return this.#heart.size;
  }

  get feeds(): number {
    return this.#feeds.size;
  }

  async open(wanted: StreamRequest, request: Request): Promise<Response> {
    if (this.#draining) return this.refuse("draining");
    if (this.streams >= this.#streamsMax) return this.refuse("overloaded");
    if (request.signal.aborted) return this.refuse("internal"); // to nobody: the reader is gone
    const subscriber = new Subscriber(this, request.signal);
    this.#heart.add(subscriber);
    try {
      if (wanted.start.kind === "latest") await this.#enter(subscriber, wanted);
      else await this.#catchUp(subscriber, wanted);
    } catch (error) {
      subscriber.cancel();
      return this.#refusal(error, wanted);
    }
    return new Response(subscriber.stream, { headers: STREAM_HEADERS });
  }

  /** A stream that says "come back later" and ends: what an EventSource understands. */
  refuse(reason: ReconnectReason): Response {
    return new Response(encodeReconnect(reason, this.retryMs(reason)), {
      headers: STREAM_HEADERS,
    });
  }

  /** Tells every reader to reconnect, ends the streams, and takes no more. */
  drain(): void {
    this.#draining = true;
    for (const subscriber of this.#heart) subscriber.end("draining");
  }

  // What subscribers ask.

  retryMs(reason?: ReconnectReason): number {
    const least = reason === "overloaded" ? RETRY_FULL_MS : RETRY_MS;
    return least * (1 + this.#options.random() / 2);
  }

  ended(subscriber: Subscriber): void {
    this.#heart.delete(subscriber);
  }

  async #enter(subscriber: Subscriber, wanted: StreamRequest): Promise<void> {
    const feed = this.#feed(wanted);
    await feed.enter(subscriber, () => {
      const { cursor } = feed;
      subscriber.send(encodeOpening(this.retryMs(), { cursor, upToDate: true }), cursor);
    });
  }

  async #catchUp(subscriber: Subscriber, wanted: StreamRequest): Promise<void> {
    const log = new FeedLog(this.#options.messages, wanted);
    const first = await log.read(wanted.start, { waitMs: 0 });
    const opening = openingOf(wanted, first);
    subscriber.send(encodeOpening(this.retryMs(), opening), opening.cursor);
    const feed = () => this.#feed(wanted);
    const catchUp = new CatchUp({ subscriber, log, feed, opening });
    catchUp.run(first).catch((error: unknown) => this.#fail(subscriber, error));
  }

  #feed(wanted: StreamRequest): Feed {
    const key = JSON.stringify([wanted.topic, wanted.queueId, wanted.key, wanted.filter]);
    const known = this.#feeds.get(key);
    if (known) return known;
    const { messages, after, report } = this.#options;
    const ended = () => this.#feeds.delete(key);
    const feed = new Feed(new FeedLog(messages, wanted), { after, report, ended });
    this.#feeds.set(key, feed);
    return feed;
  }

  #refusal(error: unknown, { resumed }: StreamRequest): Response {
    if (!(error instanceof TidegateError)) throw error;
    if (CODES[error.code].retryable) {
      return this.refuse(error.code === "draining" ? "draining" : "overloaded");
    }
    // An EventSource that comes back to a deleted topic stops at 204, and only there.
    if (error.code === "topic-not-found" && resumed) return new Response(null, { status: 204 });
    throw error;
  }

  /** The answer is under way, so all that is left is to end it. */
  #fail(subscriber: Subscriber, error: unknown): void {
    const code = error instanceof TidegateError ? error.code : "internal";
    if (code === "topic-not-found") return subscriber.end();
    if (CODES[code].retryable) return subscriber.end("overloaded");
    this.#options.report(error);
    subscriber.end("internal");
  }
}

/** A start without a cursor of its own is told in the words `after` understands. */
function openingOf({ start }: StreamRequest, first: Reading) {
  if (first.kind === "page" && first.page.messages.length === 0) {
    return { cursor: first.page.cursor, upToDate: first.page.upToDate };
  }
  return { cursor: positionOf(start), upToDate: false };
}
