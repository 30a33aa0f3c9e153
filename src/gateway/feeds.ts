/**
 * The door of the streams that follow logs: who shares what.
 *
 *   open ─▶ latest?  ─ yes ─▶ the feed, at its next fence
 *                    ─ no ──▶ own pages first, then the feed (feed_catch_up.ts)
 *
 * Readers who want the same messages in the same form share one feed; it lives
 * as long as somebody reads it. A stream over several topics has a part in the
 * feed of each (topics_stream.ts). A position is known, and the topic proven to
 * exist, before the answer is made.
 *
 * @module
 */

import type { Feeds, StreamRequest } from "../../routes/ports.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { MessagesApi } from "../broker/api.ts";
import { type After, Feed } from "./feed.ts";
import { CatchUp } from "./feed_catch_up.ts";
import { FeedLog, type Reading, positionOf, standing } from "./feed_log.ts";
import type { FeedReader } from "./feed_reader.ts";
import type { Subscriber } from "./feed_subscriber.ts";
import { encodeOpening } from "./sse.ts";
import { retryReason, type Streams } from "./streams.ts";
import type { TopicPart } from "./topics_part.ts";
import { TopicsStream } from "./topics_stream.ts";

export interface FeedsOptions {
  readonly messages: Pick<MessagesApi, "read">;
  readonly streams: Streams;
  readonly after: After;
  /** An error nobody foresaw, which ended a stream. */
  readonly report: (error: unknown) => void;
}

export class SharedFeeds implements Feeds {
  readonly #options: FeedsOptions;
  readonly #feeds = new Map<string, Feed>();

  constructor(options: FeedsOptions) {
    this.#options = options;
  }

  /** How many there are. */
  get size(): number {
    return this.#feeds.size;
  }

  async open(wanted: StreamRequest, request: Request): Promise<Response> {
    const subscriber = this.#options.streams.admit(request);
    if (subscriber instanceof Response) return subscriber;
    try {
      if (wanted.start.kind === "latest") await this.#enter(subscriber, wanted);
      else await this.#catchUp(subscriber, wanted);
    } catch (error) {
      subscriber.cancel();
      if (isGone(error) && wanted.resumed) return goneResponse();
      return this.#options.streams.refusal(error);
    }
    return this.#options.streams.answer(subscriber);
  }

  async openTopics(wanted: readonly StreamRequest[], request: Request): Promise<Response> {
    const { streams } = this.#options;
    const subscriber = streams.admit(request);
    if (subscriber instanceof Response) return subscriber;
    const topics = wanted.map(({ topic }) => topic);
    const stream = new TopicsStream(subscriber, topics);
    try {
      await this.#openParts(stream, wanted);
    } catch (error) {
      subscriber.cancel();
      return streams.refusal(error);
    }
    if (stream.parts.every(({ ended }) => ended)) {
      subscriber.cancel();
      return goneResponse();
    }
    return streams.answer(subscriber);
  }

  async #enter(subscriber: Subscriber, wanted: StreamRequest): Promise<void> {
    const feed = this.#feed(wanted);
    await feed.enter(subscriber, () => {
      const { cursor } = feed;
      const opening = encodeOpening(this.#options.streams.retryMs(), { cursor, upToDate: true });
      subscriber.send([opening], cursor);
    });
  }

  async #catchUp(subscriber: Subscriber, wanted: StreamRequest): Promise<void> {
    const log = new FeedLog(this.#options.messages, wanted);
    const first = await log.read(wanted.start, { waitMs: 0 });
    const opening = standing(wanted.start, first);
    const retryMs = this.#options.streams.retryMs();
    subscriber.send([encodeOpening(retryMs, opening)], opening.cursor);
    const feed = () => this.#feed(narrowed(wanted, first));
    const catchUp = new CatchUp({ reader: subscriber, log, feed, opening });
    catchUp.run(first).catch((error: unknown) => this.#fail(subscriber, error));
  }

  /** The stream begins once all of its topics stand somewhere; those in the past then catch up. */
  async #openParts(stream: TopicsStream, wanted: readonly StreamRequest[]): Promise<void> {
    const parts = wanted.map((one, i) => ({ one, part: stream.parts[i] as TopicPart }));
    const [latest, past] = [[] as typeof parts, [] as typeof parts];
    for (const each of parts) (each.one.start.kind === "latest" ? latest : past).push(each);
    const catchUps: { catchUp: CatchUp; part: TopicPart }[] = [];
    const lookUp = async () => {
      // One after the other: each has a message in hand, and that may be a large one.
      for (const { one, part } of past) {
        const catchUp = await this.#placePart(part, { wanted: one, stream });
        if (catchUp) catchUps.push({ catchUp, part });
      }
    };
    await Promise.all([...latest.map(({ one, part }) => this.#enterPart(part, one)), lookUp()]);
    if (stream.parts.every(({ ended }) => ended)) return;
    stream.begin(this.#options.streams.retryMs());
    for (const { catchUp, part } of catchUps) {
      catchUp.run().catch((error: unknown) => this.#fail(part, error));
    }
  }

  async #enterPart(part: TopicPart, wanted: StreamRequest): Promise<void> {
    const feed = this.#feed(wanted);
    try {
      await feed.enter(part, () => {
        part.place(feed);
      });
    } catch (error) {
      this.#miss(part, { wanted, error });
    }
  }

  async #placePart(
    part: TopicPart,
    { wanted, stream }: { wanted: StreamRequest; stream: TopicsStream },
  ): Promise<CatchUp | undefined> {
    const log = new FeedLog(this.#options.messages, wanted);
    try {
      const first = await log.read(wanted.start, { waitMs: 0, limit: 1 });
      const opening = standing(wanted.start, first);
      part.place(opening);
      const feed = () => this.#feed(narrowed(wanted, first));
      return new CatchUp({ reader: part, log, feed, opening, takeTurn: stream.takeTurn });
    } catch (error) {
      this.#miss(part, { wanted, error });
      return undefined;
    }
  }

  /** A topic that is gone is one that ended, to a reader who comes back to it. */
  #miss(part: TopicPart, { wanted, error }: { wanted: StreamRequest; error: unknown }): void {
    if (!isGone(error) || !wanted.resumed) throw error;
    part.miss(positionOf(wanted.start));
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

  /** The answer is under way, so all that is left is to end it. */
  #fail(reader: FeedReader, error: unknown): void {
    if (isGone(error)) return reader.end();
    const reason = retryReason(error);
    if (reason === undefined) this.#options.report(error);
    reader.end(reason ?? "internal");
  }
}

function isGone(error: unknown): boolean {
  return error instanceof TidegateError && error.code === "topic-not-found";
}

/** An EventSource that comes back to what was deleted stops at 204, and only there. */
function goneResponse(): Response {
  return new Response(null, { status: 204 });
}

/** Who comes with the cursor of a queue reads that queue, also once it has caught up. */
function narrowed(wanted: StreamRequest, first: Reading): StreamRequest {
  const queueId = first.kind === "page" ? first.page.queueId : undefined;
  return queueId === undefined ? wanted : { ...wanted, queueId };
}
