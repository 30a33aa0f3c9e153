/**
 * From a position in the past into the feed, with neither gap nor repeat.
 *
 *               up to date: set a fence        up to date again
 *   reading ────────────────────────▶ joined ────────────────────▶ live
 *      ▲   pages of its own, at the     │  pages of its own; the
 *      │   pace the reader takes them   │  feed's chunks collect
 *      └────────────────────────────────┘
 *        too many chunks collected, or the feed lost its place
 *
 * Positions cannot be compared, but within a queue offsets can, and every
 * reader sees a queue in order. Once the fence is reached, everything visible
 * before it has been sent by the feed and is no longer to come, and everything
 * after it is collected. The reading goes on until it is up to date once more:
 *
 *   - no gap: what the last page could not see became visible after the fence,
 *     so it is among the collected chunks or still to come;
 *   - no repeat: what a page since the fence did see may come again, at once or
 *     later; it is recognised by its queue's highest offset seen in those pages.
 *
 * `live` filters by those offsets until the feed has settled a read that was
 * asked for later: from there on nothing can come twice and the reader
 * becomes one of the feed's own.
 *
 * @module
 */

import type { StoredMessage } from "../broker/api.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { Feed, Joiner } from "./feed.ts";
import { type FeedLog, type LogPage, type Reading, startOf } from "./feed_log.ts";
import type { FeedReader, Followed } from "./feed_reader.ts";
import { BACKLOG_BYTES } from "./feed_subscriber.ts";
import {
  type Bytes,
  type Control,
  encodeControl,
  encodeGap,
  encodeMessages,
  type EventChunk,
  eventOf,
} from "./sse.ts";

export interface CatchUpOptions {
  readonly reader: FeedReader;
  readonly log: FeedLog;
  /** The feed to join: another one each time the former ended. */
  readonly feed: () => Feed;
  /** Where the reader stands, as its opening event said. */
  readonly opening: Control;
  /** Where several catch up for one stream: lets one of them have a page in hand at a time. */
  readonly takeTurn?: ((step: () => Promise<void>) => Promise<void>) | undefined;
}

export class CatchUp implements Joiner, Followed {
  readonly #reader: FeedReader;
  readonly #log: FeedLog;
  readonly #findFeed: () => Feed;
  readonly #takeTurn: (step: () => Promise<void>) => Promise<void>;
  #phase: "reading" | "joined" | "live" | "done" = "reading";
  #feed: Feed | undefined;
  #cursor: string;
  #upToDate: boolean;
  /** The reader knows that it was up to date here. */
  #announced: boolean;
  /** Collected since the fence, not yet passed on. */
  #chunks: EventChunk[] = [];
  #chunkBytes = 0;
  /** By queue: the highest offset in the pages since the fence. */
  readonly #seen = new Map<number, number>();
  /** The last of the feed's reads that may still hold something seen. */
  #lastSharedRead = 0;
  #leaveLive: (() => void) | undefined;

  constructor(options: CatchUpOptions) {
    this.#reader = options.reader;
    this.#log = options.log;
    this.#findFeed = options.feed;
    this.#cursor = options.opening.cursor;
    this.#takeTurn = options.takeTurn ?? ((step) => step());
    this.#upToDate = options.opening.upToDate;
    this.#announced = options.opening.upToDate;
    this.#reader.follow(this);
  }

  get cursor(): string {
    return this.#cursor;
  }

  get upToDate(): boolean {
    return this.#upToDate;
  }

  control(): Bytes {
    return encodeControl({ cursor: this.#cursor, upToDate: this.#upToDate });
  }

  /**
   * Runs until the feed has the reader or its stream has ended.
   *
   * @param first what was read at the opening's position, if it was.
   */
  async run(first?: Reading): Promise<void> {
    let next = first;
    while (this.#phase !== "done" && this.#reader.open) {
      const given = next;
      next = undefined;
      await this.#takeTurn(() => this.#step(given));
      if (this.#upToDate && this.#phase === "reading") await this.#join();
      else if (this.#upToDate) await this.#live();
    }
  }

  // What the feed calls.

  joined(feed: Feed): void {
    this.#feed = feed;
    this.#phase = "joined";
  }

  offer(chunk: EventChunk): void {
    if (this.#phase === "live") return this.#pass(chunk);
    this.#chunks.push(chunk);
    this.#chunkBytes += chunk.bytes.length;
    if (this.#chunkBytes > BACKLOG_BYTES) this.#startOver();
  }

  settled(read: number): void {
    if (this.#phase === "live" && read > this.#lastSharedRead) this.#handOver();
  }

  dismissed(): void {
    this.#startOver();
  }

  // What the reader calls.

  leave(): void {
    this.#startOver();
  }

  async #step(given: Reading | undefined): Promise<void> {
    const reading = given ?? (await this.#log.read(startOf(this.#cursor), { waitMs: 0 }));
    if (reading.kind === "lost") await this.#lose(reading.earliest);
    else await this.#deliver(reading.page);
  }

  async #deliver({ messages, cursors, cursor, upToDate }: LogPage): Promise<void> {
    if (messages.length > 0) {
      const chunk = encodeMessages(messages, cursors);
      if (!(await this.#reader.room(chunk.bytes.length))) return;
      this.#reader.messages(chunk);
      this.#announced = false;
      // Started over while there was no room: the feed is not joined and seen is not asked.
      if (this.#phase === "joined") for (const message of messages) this.#note(message);
    }
    this.#cursor = cursor;
    this.#upToDate = upToDate;
  }

  async #lose(earliest: string): Promise<void> {
    const requested = this.#cursor;
    if (requested === earliest) {
      throw new TidegateError("internal", `Cannot go on from "${earliest}": it is lost as well`);
    }
    const gap = { requested, earliest };
    if (!(await this.#reader.room(encodeGap(gap).length))) return;
    this.#startOver();
    this.#reader.gap(gap);
    this.#cursor = earliest;
  }

  async #join(): Promise<void> {
    await this.#findFeed().join(this);
    if (!this.#reader.open) this.#startOver();
  }

  /** Passes on what was collected, and goes live when nothing is left of it. */
  async #live(): Promise<void> {
    await this.#announce();
    for (let chunk = this.#chunks[0]; chunk !== undefined; chunk = this.#chunks[0]) {
      await this.#reader.room(chunk.bytes.length);
      if (this.#phase !== "joined") return;
      this.#chunks.shift();
      this.#chunkBytes -= chunk.bytes.length;
      this.#pass(chunk);
    }
    if (this.#phase !== "joined") return;
    this.#phase = "live";
    this.#lastSharedRead = this.#feed?.reads ?? 0;
    if (this.#seen.size === 0) return this.#handOver();
    await new Promise<void>((resolve) => (this.#leaveLive = resolve));
  }

  async #announce(): Promise<void> {
    if (this.#announced) return;
    if (!(await this.#reader.room(this.control().length))) return;
    this.#reader.control({ cursor: this.#cursor, upToDate: this.#upToDate });
    this.#announced = true;
  }

  #pass(chunk: EventChunk): void {
    const fresh = chunk.messages.map((message) => !this.#hasSeen(message));
    if (!fresh.includes(false)) return this.#send(chunk);
    for (const [i, isFresh] of fresh.entries()) if (isFresh) this.#send(eventOf(chunk, i));
  }

  #send(chunk: EventChunk): void {
    this.#reader.messages(chunk);
    this.#cursor = chunk.last;
  }

  #note({ queueId, queueOffset }: StoredMessage): void {
    this.#seen.set(queueId, queueOffset);
  }

  #hasSeen({ queueId, queueOffset }: StoredMessage): boolean {
    return queueOffset <= (this.#seen.get(queueId) ?? -1);
  }

  #handOver(): void {
    this.#phase = "done";
    this.#feed?.promote(this.#reader);
    this.#feed?.part(this);
    this.#leaveLive?.();
  }

  #startOver(): void {
    if (this.#phase === "done") return;
    this.#phase = "reading";
    this.#upToDate = false;
    this.#chunks = [];
    this.#chunkBytes = 0;
    this.#seen.clear();
    this.#feed?.part(this);
    this.#feed = undefined;
    this.#leaveLive?.();
  }
}
