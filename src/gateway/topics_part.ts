/**
 * One topic's part of a stream over several: it takes from a feed what a reader
 * takes, and puts it in line with what the other parts took.
 *
 *            the topic is deleted
 *   open ────────────────────────▶ ended: its last position stays
 *
 * @module
 */

import type { FeedReader, Followed } from "./feed_reader.ts";
import { BACKLOG_BYTES } from "./feed_subscriber.ts";
import { type Control, encodeGap, type EventChunk, type Gap, type ReconnectReason } from "./sse.ts";
import { encodeSlice } from "./topics_events.ts";
import type { LineEntry, Step } from "./topics_line.ts";
import type { TopicsStream } from "./topics_stream.ts";

export class TopicPart implements FeedReader {
  readonly topic: string;
  /** Everything up to here has been queued to the reader. */
  at = "";
  /** It was up to date, and the reader knows or will know when the others are. */
  #caughtUp = false;
  readonly #stream: TopicsStream;
  #followed: Followed | undefined;
  #ended = false;
  /** It was told that there is room, and may take it. */
  #granted = false;

  constructor(stream: TopicsStream, topic: string) {
    this.#stream = stream;
    this.topic = topic;
  }

  get open(): boolean {
    return !this.#ended && this.#stream.open;
  }

  get ended(): boolean {
    return this.#ended;
  }

  get crowded(): boolean {
    return this.#stream.line.backlogBytes > BACKLOG_BYTES / 2;
  }

  /** Where what it follows stands; once nothing waits in line, the reader does as well. */
  get standing(): string {
    return this.#followed?.cursor ?? this.at;
  }

  get upToDate(): boolean {
    return this.#caughtUp && (this.#followed?.upToDate ?? true);
  }

  /** Where it stands at the beginning of the stream. */
  place({ cursor, upToDate }: Control): void {
    this.at = cursor;
    this.#caughtUp = upToDate;
  }

  /** The same for a topic that is gone. */
  miss(position: string): void {
    this.place({ cursor: position, upToDate: true });
    this.#ended = true;
  }

  follow(followed: Followed): void {
    this.#followed = followed;
  }

  messages(chunk: EventChunk): void {
    if (this.#fits(chunk.bytes.length)) {
      this.#stream.line.push(new Messages(chunk, { part: this, stream: this.#stream }));
    }
  }

  gap(gap: Gap): void {
    const heldBytes = encodeGap(gap).length;
    if (this.#fits(heldBytes)) this.#stream.line.push({ heldBytes, step: () => this.#lost(gap) });
  }

  /** The reader is told once the others are up to date as well. */
  control({ cursor }: Control): void {
    const step = () => {
      this.at = cursor;
      this.#caughtUp = true;
      return this.#stream.caughtUp();
    };
    this.#stream.line.push({ heldBytes: 0, step });
  }

  async room(size: number): Promise<boolean> {
    this.#granted = await this.#stream.line.room(size);
    return this.open;
  }

  end(reason?: ReconnectReason): void {
    if (!this.open) return;
    if (reason) return this.#stream.end(reason);
    this.#ended = true;
    this.#caughtUp = true;
    this.leave();
    this.#stream.partEnded();
  }

  leave(): void {
    this.#followed?.leave(this);
    this.#followed = undefined;
  }

  /** Whoever was told that there is room has it, whatever came in between. */
  #fits(size: number): boolean {
    const { backlogBytes } = this.#stream.line;
    if (!this.open) return false;
    const fits = this.#granted || backlogBytes === 0 || backlogBytes + size <= BACKLOG_BYTES;
    this.#granted = false;
    if (!fits) this.#stream.end("slow-reader");
    return fits;
  }

  #lost(gap: Gap): Step {
    const { topic } = this;
    const chunks = [encodeGap({ topic, ...gap }, `${this.#stream.before(this)}${gap.earliest}`)];
    const taken = () => {
      this.at = gap.earliest;
      return true;
    };
    return { chunks, taken };
  }
}

/** A chunk of the feed, as far as it has not been queued. */
class Messages implements LineEntry {
  readonly #chunk: EventChunk;
  readonly #part: TopicPart;
  readonly #stream: TopicsStream;
  #next = 0;

  constructor(chunk: EventChunk, whose: { part: TopicPart; stream: TopicsStream }) {
    this.#chunk = chunk;
    this.#part = whose.part;
    this.#stream = whose.stream;
  }

  get heldBytes(): number {
    return this.#chunk.bytes.length - (this.#chunk.ends[this.#next - 1] ?? 0);
  }

  step(): Step {
    const { topic } = this.#part;
    const before = this.#stream.before(this.#part);
    const { chunks, next } = encodeSlice(this.#chunk, { topic, from: this.#next, before });
    const taken = () => {
      this.#next = next;
      this.#part.at = this.#chunk.cursors[next - 1] as string;
      return next === this.#chunk.ends.length;
    };
    return { chunks, taken };
  }
}
