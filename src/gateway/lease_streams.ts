/**
 * The door of the streams of leased messages: one for a consumer at a time.
 *
 * A connection may be dead long before anybody notices. So the newest stream of a
 * consumer is the one that counts: it ends the one before it and begins when that
 * one has given back what it had under way, or the leases would be given to both.
 *
 * @module
 */

import type { LeaseStreamRequest, LeaseStreams } from "../../routes/ports.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { Delivery, GroupsApi } from "../broker/api.ts";
import type { After } from "./feed.ts";
import type { Subscriber } from "./feed_subscriber.ts";
import { LeaseStream } from "./lease_stream.ts";
import { retryReason, type Streams } from "./streams.ts";

export interface LeaseStreamsOptions {
  readonly groups: Pick<GroupsApi, "receive" | "settle">;
  readonly streams: Streams;
  readonly after: After;
  /** An error nobody foresaw, which ended a stream. */
  readonly report: (error: unknown) => void;
}

/** A stream, and the end of its last receive. */
interface Running {
  readonly stream: LeaseStream;
  readonly finished: Promise<void>;
}

export class ConsumerStreams implements LeaseStreams {
  readonly #options: LeaseStreamsOptions;
  /** By group and consumer, the newest. */
  readonly #newest = new Map<string, Running>();
  readonly #running = new Set<Promise<void>>();

  constructor(options: LeaseStreamsOptions) {
    this.#options = options;
  }

  async open(wanted: LeaseStreamRequest, request: Request): Promise<Response> {
    const { groups, streams, after } = this.#options;
    const subscriber = streams.admit(request);
    if (subscriber instanceof Response) return subscriber;
    const stream = new LeaseStream({ groups, after, subscriber, wanted });
    try {
      await this.#begin(stream, { wanted, subscriber });
    } catch (error) {
      subscriber.cancel();
      if (isGone(error) && wanted.named) return new Response(null, { status: 204 });
      return streams.refusal(error);
    }
    return streams.answer(subscriber);
  }

  /** Resolves when none has a receive under way; streams were told to end. */
  async finished(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** Resolves when the stream has begun; it runs on. */
  #begin(
    stream: LeaseStream,
    { wanted, subscriber }: { wanted: LeaseStreamRequest; subscriber: Subscriber },
  ): Promise<void> {
    const key = JSON.stringify([wanted.group, wanted.consumerId]);
    const former = this.#newest.get(key);
    former?.stream.end("replaced");
    const begun = (async () => {
      await former?.finished;
      return stream.begin(this.#options.streams.retryMs());
    })();
    const finished = this.#run(stream, { begun, subscriber }).finally(() => {
      if (this.#newest.get(key)?.stream === stream) this.#newest.delete(key);
      this.#running.delete(finished);
    });
    this.#newest.set(key, { stream, finished });
    this.#running.add(finished);
    return begun.then(() => {});
  }

  /** Never rejects. */
  async #run(
    stream: LeaseStream,
    { begun, subscriber }: { begun: Promise<readonly Delivery[]>; subscriber: Subscriber },
  ): Promise<void> {
    let held: readonly Delivery[];
    try {
      held = await begun;
    } catch {
      return; // it is told to whoever opened the stream
    }
    try {
      await stream.run(held);
    } catch (error) {
      this.#fail(subscriber, error);
    }
  }

  /** The answer is under way, so all that is left is to end it. */
  #fail(subscriber: Subscriber, error: unknown): void {
    const reason = retryReason(error);
    const foreseen = reason !== undefined || isGone(error) || isUnsubscribed(error);
    if (!foreseen) this.#options.report(error);
    subscriber.end(reason ?? (foreseen ? undefined : "internal"));
  }
}

function isGone(error: unknown): boolean {
  return error instanceof TidegateError && error.code === "group-not-found";
}

/** The group gave up the topic that the stream is of. */
function isUnsubscribed(error: unknown): boolean {
  return error instanceof TidegateError && error.code === "topic-not-found";
}
