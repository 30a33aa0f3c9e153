/**
 * A stream over several topics: a part for each, all writing to one reader.
 *
 *   feed of a ─▶ part a ─┐
 *   feed of b ─▶ part b ─┼─▶ line ─▶ ids of this reader ─▶ subscriber
 *   feed of c ─▶ part c ─┘
 *
 * A part is to its feed what a subscriber is to the feed of a single topic, so
 * feeds and catching up know nothing of this. A position is one for each topic
 * (`routes/topics_position.ts`), so ids are this reader's own; what follows them
 * was encoded once for everybody. What waits in line and in the subscriber is
 * bounded together, as the backlog of a single topic is.
 *
 * Invariant: a position is told only when all before it has been queued to the
 * reader. While something waits in line, only what comes out of it moves the
 * position; while nothing does, the reader stands where the parts stand.
 *
 * A topic that is deleted ends its part: a control event names it in `ended`, the
 * others go on, and its last position stays in every id. The last part ends the
 * stream.
 *
 * @module
 */

import { formatTopicsPosition } from "../../routes/topics_position.ts";
import type { Followed } from "./feed_reader.ts";
import type { Subscriber } from "./feed_subscriber.ts";
import {
  type Bytes,
  type Control,
  encodeControl,
  encodeOpening,
  type ReconnectReason,
} from "./sse.ts";
import { type Step, TopicsLine } from "./topics_line.ts";
import { TopicPart } from "./topics_part.ts";

export class TopicsStream implements Followed {
  readonly parts: readonly TopicPart[];
  readonly line: TopicsLine;
  readonly #subscriber: Subscriber;
  #begun = false;
  #turn: Promise<void> = Promise.resolve();

  constructor(subscriber: Subscriber, topics: readonly string[]) {
    this.#subscriber = subscriber;
    this.line = new TopicsLine(subscriber, () => this.#position());
    this.parts = topics.map((topic) => new TopicPart(this, topic));
    subscriber.follow(this);
  }

  get open(): boolean {
    return this.#subscriber.open;
  }

  /** All parts stand somewhere: tells where, and lets out what came from the feeds meanwhile. */
  begin(retryMs: number): void {
    const control = this.#control();
    this.#subscriber.send([encodeOpening(retryMs, control)], control.cursor);
    this.#begun = true;
    this.line.start();
  }

  // What the subscriber asks.

  get cursor(): string {
    if (!this.#begun) return ""; // nowhere yet, and nothing to tell with a heartbeat
    return this.#position(this.line.empty ? "standing" : "at");
  }

  get upToDate(): boolean {
    return this.parts.every(({ upToDate }) => upToDate);
  }

  control(): Bytes {
    if (this.line.empty) for (const part of this.parts) part.at = part.standing;
    return encodeControl(this.#control());
  }

  leave(): void {
    this.line.clear();
    for (const part of this.parts) part.leave();
  }

  // What the parts ask.

  /** One part at a time has a page in hand: a page for each topic is too much for one reader. */
  readonly takeTurn = (step: () => Promise<void>): Promise<void> => {
    const turn = this.#turn.then(step);
    this.#turn = turn.catch(() => {}); // it is told to whoever took the turn
    return turn;
  };

  /** A part caught up; the reader is told when it was the last. */
  caughtUp(): Step {
    return { chunks: this.upToDate ? [encodeControl(this.#control())] : [], taken: () => true };
  }

  partEnded(): void {
    const tell = () => ({ chunks: [encodeControl(this.#control())], taken: () => true });
    this.line.push({ heldBytes: 0, step: tell });
    if (this.parts.some(({ ended }) => !ended)) return;
    const taken = () => {
      this.end();
      return true;
    };
    this.line.push({ heldBytes: 0, step: () => ({ chunks: [], taken }) });
  }

  end(reason?: ReconnectReason): void {
    this.#subscriber.end(reason);
  }

  /** The reader's position but for that of `part`, which follows. */
  before(part: TopicPart): string {
    const others = formatTopicsPosition(
      this.parts.filter((one) => one !== part).map(({ topic, at }) => ({ topic, position: at })),
    );
    return `${others}${others && ","}${part.topic}=`;
  }

  #position(which: "at" | "standing" = "at"): string {
    const entries = this.parts.map((part) => ({ topic: part.topic, position: part[which] }));
    return formatTopicsPosition(entries);
  }

  #control(): Control {
    const ended = this.parts.filter((part) => part.ended).map(({ topic }) => topic);
    const control = { cursor: this.#position(), upToDate: this.upToDate };
    return ended.length > 0 ? { ...control, ended } : control;
  }
}
