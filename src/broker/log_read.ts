/**
 * One read of a log: looks until a page has something, or the wait is over.
 *
 *   look ──── something, or no time left ────▶ answered
 *    ▲  │ nothing
 *    │  ▼
 *   parked: until its topic has more, its time is up, its caller left or the node drains
 *
 * Thousands are parked at once, so what is kept of one is this object and the
 * promise of its caller; a function that awaited the end of the wait would keep
 * a dozen objects of its own all the while.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { FilterCache } from "../filter/mod.ts";
import type { ReadPage, ReadRequest, StopSignal } from "./api.ts";
import { topicToRead } from "./by_id.ts";
import { topicNamed } from "./define.ts";
import { removedCount } from "./kept.ts";
import type { Wanted } from "./page.ts";
import type { LogPage, LogReader, Position } from "./reading.ts";
import type { Shell } from "./shell.ts";
import type { TopicState } from "./topics.ts";
import type { Parked } from "./waiters.ts";

/** What reads of a node share. */
export interface ReadPorts {
  readonly shell: Shell;
  readonly reader: LogReader;
  readonly filters: FilterCache;
}

interface Asked {
  readonly request: ReadRequest;
  readonly signal: StopSignal | undefined;
}

interface Answer {
  resolve(page: ReadPage): void;
  reject(error: unknown): void;
}

/** @throws what `MessagesApi.read` does */
export function readLog(ports: ReadPorts, asked: Asked): Promise<ReadPage> {
  return new Promise((resolve, reject) => {
    begin(ports, { ...asked, resolve, reject }).catch(reject);
  });
}

async function begin(
  { shell, reader, filters }: ReadPorts,
  { request, signal, resolve, reject }: Asked & Answer,
): Promise<void> {
  const filter = request.filter && filters.compile(request.filter);
  const topic = await topicToRead(shell, request.topic);
  const deadline = shell.now() + request.waitMs;
  const removed = removedCount(shell.store, topic);
  const position = await reader.start(topic, request);
  const wanted = { key: request.key, filter };
  const start = { topic, wanted, position, removed, deadline };
  await new LogRead({ shell, reader }, { request, signal, resolve, reject, ...start }).look();
}

class LogRead implements Parked {
  readonly #shell: Shell;
  readonly #reader: LogReader;
  readonly #request: ReadRequest;
  readonly #wanted: Wanted;
  readonly #signal: StopSignal | undefined;
  readonly #topic: TopicState;
  readonly #deadline: number;
  readonly #resolve: Answer["resolve"];
  readonly #reject: Answer["reject"];
  #position: Position;
  /** The position was somebody's, or a look ended there; other starts begin at what is left. */
  #isPlace: boolean;
  /** How much of the topic was, at the last look. */
  #removed: number;

  constructor(
    { shell, reader }: Pick<ReadPorts, "shell" | "reader">,
    about: Asked &
      Answer & {
        readonly topic: TopicState;
        readonly wanted: Wanted;
        readonly position: Position;
        readonly removed: number;
        readonly deadline: number;
      },
  ) {
    this.#shell = shell;
    this.#reader = reader;
    this.#request = about.request;
    this.#wanted = about.wanted;
    this.#signal = about.signal;
    this.#topic = about.topic;
    this.#deadline = about.deadline;
    this.#resolve = about.resolve;
    this.#reject = about.reject;
    this.#position = about.position;
    this.#isPlace = about.request.start.kind === "cursor";
    this.#removed = about.removed;
  }

  /** Answers, or parks until there may be more. */
  async look(): Promise<void> {
    const { log } = this.#shell.store;
    for (;;) {
      if (this.#reader.isLast(this.#topic, this.#position)) return this.#rest();
      const seen = log.confirmOffset;
      const page = await this.#page();
      if (page === undefined) continue;
      const from = this.#position;
      this.#position = page.position;
      this.#isPlace = true;
      if (page.messages.length > 0 || this.#isOver) return this.#answer(page);
      const moved = !page.upToDate && this.#reader.encode(this.#topic, from) !== page.cursor;
      if (!moved && log.confirmOffset === seen) return this.#park();
    }
  }

  wake(): void {
    queueMicrotask(() => {
      this.#lookAgain().catch(this.#reject);
    });
  }

  async #lookAgain(): Promise<void> {
    checkStill(this.#shell, this.#topic);
    await this.look();
  }

  /** Nothing lies behind the position; what may have been removed lay before it. */
  #rest(): void {
    this.#isPlace = true;
    if (!this.#isOver) return this.#park();
    const about = { position: this.#position, request: this.#request };
    this.#answer(this.#reader.lastPage(this.#topic, about));
  }

  #park(): void {
    const waitMs = this.#deadline - this.#shell.now();
    const about = { waitMs, signal: this.#signal, parked: this };
    this.#shell.readers.park(this.#topic.generation, about);
  }

  /** Undefined when some of the topic went meanwhile: that must not be missed unnoticed, nor be called damaged. */
  async #page(): Promise<LogPage | undefined> {
    const [reader, topic, position] = [this.#reader, this.#topic, this.#position];
    const about = { position, request: this.#request, wanted: this.#wanted };
    const page = await reader.page(topic, about).catch(asError);
    const removed = removedCount(this.#shell.store, topic);
    if (removed !== this.#removed) {
      this.#removed = removed;
      if (this.#isPlace) await reader.check(topic, position);
      else this.#position = await reader.start(topic, this.#request);
      if (!this.#isPlace || page instanceof Error) return undefined;
    }
    if (page instanceof Error) throw page;
    return page;
  }

  get #isOver(): boolean {
    if (this.#signal?.aborted || this.#shell.room.draining) return true;
    return this.#shell.now() >= this.#deadline;
  }

  #answer(page: ReadPage): void {
    this.#shell.traffic.read(page.messages);
    this.#resolve(page);
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** @throws `topic-not-found`, `cursor-generation` when the topic went while its reader waited. */
function checkStill(shell: Shell, topic: TopicState): void {
  if (topicNamed(shell.core, topic.name) === topic) return;
  const detail = `Cannot go on reading "${topic.name}": it was deleted and made again`;
  throw new TidegateError("cursor-generation", detail);
}
