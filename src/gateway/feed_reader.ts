/**
 * What a feed writes to and what a reader follows. Types only.
 *
 * A reader is the whole of a stream over one topic (`feed_subscriber.ts`), or
 * one topic's part of a stream over several (`topics_stream.ts`). It is given
 * events, not bytes, since the latter gives them ids of its own.
 *
 * @module
 */

import type { Bytes, Control, EventChunk, Gap, ReconnectReason } from "./sse.ts";

export interface FeedReader {
  readonly open: boolean;
  /** More than half of the backlog is taken: whoever feeds it should pause. */
  readonly crowded: boolean;
  /** From now on it stands where `followed` does, and says so when it leaves. */
  follow(followed: Followed): void;
  /** Takes in events, or ends the stream when there is no room for them. */
  messages(chunk: EventChunk): void;
  gap(gap: Gap): void;
  control(control: Control): void;
  /** Resolves when `size` bytes fit; to false when the stream ended instead. */
  room(size: number): Promise<boolean>;
  /** Ends it on purpose: with `event: reconnect`, or silently without a reason. */
  end(reason?: ReconnectReason): void;
}

/** What a reader reads: where it stands, and how to say so. */
export interface Followed {
  readonly cursor: string;
  readonly upToDate: boolean;
  control(): Bytes;
  leave(reader: FeedReader): void;
}
