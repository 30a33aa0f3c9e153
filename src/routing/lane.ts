/**
 * A broker group's part of a topic while it is read: pages of it, a place in the page
 * at hand, and the position that stands for.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { ReadPage, ReadRequest, Start, StoredMessage } from "../broker/api.ts";
import {
  decodeCursor,
  encodeStreamCursor,
  type GroupPosition,
  type StreamPosition,
} from "../broker/cursor.ts";
import type { Cluster } from "./cluster.ts";
import type { TopicDefinition } from "./definition.ts";
import { isAway } from "./members.ts";

export interface LaneWish {
  readonly limit: number;
  readonly waitMs: number;
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
}

export class Lane {
  readonly group: number;
  /** It could not be asked: what it has is not known. */
  away: TidegateError | undefined;
  /** What lay behind its position was removed. */
  expired: TidegateError | undefined;
  readonly #cluster: Cluster;
  readonly #topic: TopicDefinition;
  readonly #request: ReadRequest;
  #start: Start;
  #page: ReadPage | undefined;
  #at = 0;
  /** Answers to earlier questions are of no use any more. */
  #asked = 0;

  constructor(
    cluster: Cluster,
    about: {
      readonly topic: TopicDefinition;
      readonly group: number;
      readonly request: ReadRequest;
    },
  ) {
    this.#cluster = cluster;
    this.#topic = about.topic;
    this.#request = about.request;
    this.group = about.group;
    this.#start = startOf(about);
  }

  /** The message that comes next; undefined when the page at hand is used up. */
  get head(): StoredMessage | undefined {
    return this.#page?.messages[this.#at];
  }

  /** Nothing is left at hand, and nothing lay behind it when it was asked. */
  get atEnd(): boolean {
    return this.head === undefined && this.#page?.upToDate === true;
  }

  /** The last page had nothing, though there is more to look at. */
  get isScanning(): boolean {
    return this.#page?.messages.length === 0 && !this.#page.upToDate;
  }

  take(): StoredMessage | undefined {
    return this.#page?.messages[this.#at++];
  }

  /** Where it stands; undefined while that is not known. */
  get position(): GroupPosition | undefined {
    const cursor = this.#cursor;
    return cursor === undefined ? undefined : positionIn(cursor, this.group);
  }

  /** Where it can go on: where it stands, or at what is left. */
  get resumable(): GroupPosition | undefined {
    const earliest = this.expired?.details["earliest"];
    return typeof earliest === "string" ? positionIn(earliest, this.group) : this.position;
  }

  get #cursor(): string | undefined {
    const page = this.#page;
    if (!page) return this.#start.kind === "cursor" ? this.#start.cursor : undefined;
    if (this.#at === page.messages.length) return page.cursor;
    return this.#at === 0 ? page.from : page.cursors?.[this.#at - 1];
  }

  /** Reads on where it stands. What it finds out about the position itself is thrown. */
  async read({ limit, waitMs, deadline, signal }: LaneWish): Promise<void> {
    const cursor = this.#cursor;
    const start: Start = cursor === undefined ? this.#start : { kind: "cursor", cursor };
    const request = { ...this.#request, start, limit, waitMs, cursors: true };
    const { group } = this;
    const asked = ++this.#asked;
    try {
      const page = await this.#cluster.ask(this.#topic, {
        group,
        deadline,
        signal,
        repeatable: true,
        ask: ({ messages }) => messages.read(request, { signal }),
      });
      if (asked === this.#asked) this.#take(page);
    } catch (error) {
      if (asked !== this.#asked) return;
      if (!(error instanceof TidegateError)) throw error;
      if (isAway(error)) this.away = error;
      else if (error.code === "cursor-expired") this.expired = error;
      else throw error;
    }
  }

  /** Nobody waits for its answer any longer. */
  giveUp(): void {
    this.#asked++;
    const detail = `Cannot read from broker group ${this.group}: it does not answer`;
    this.away = new TidegateError("unavailable", detail, { brokerGroup: this.group });
  }

  #take(page: ReadPage): void {
    const { generation, name } = this.#topic;
    if (page.generation !== generation) {
      const detail = `Cannot go on reading "${name}": it is another topic by now`;
      throw new TidegateError("unavailable", detail, { topic: name, misplaced: true });
    }
    this.#page = page;
    this.#at = 0;
    this.away = undefined;
  }
}

/** The place of one broker group in a position in several; it began later than the position: at its beginning. */
function startOf({
  request,
  group,
  topic,
}: {
  readonly request: ReadRequest;
  readonly group: number;
  readonly topic: TopicDefinition;
}): Start {
  const { start } = request;
  if (start.kind !== "cursor") return start;
  const cursor = decodeCursor(start.cursor);
  if (cursor.kind !== "stream") return start;
  if (cursor.topicGen !== topic.generation) return start; // the broker says what is wrong with it
  const own = cursor.positions.find(({ brokerGroup }) => brokerGroup === group);
  if (!own) return { kind: "earliest" };
  const { topicGen } = cursor;
  return { kind: "cursor", cursor: encodeStreamCursor({ topicGen, positions: [own] }) };
}

/** Of a stream cursor of one broker group. */
export function positionIn(cursor: string, brokerGroup: number): GroupPosition | undefined {
  const decoded = decodeCursor(cursor);
  if (decoded.kind !== "stream") return undefined;
  const found: StreamPosition | undefined = decoded.positions.find(
    (one) => one.brokerGroup === brokerGroup,
  );
  return found && { brokerGroup, logOffset: found.logOffset, index: found.index };
}
