/**
 * A feed: one reader of the log for everybody who wants the same messages.
 *
 *   read ─▶ encode once ─▶ the same bytes to every reader ─▶ read …
 *
 * The read waits in the broker; one page is one chunk. While more lies ahead and
 * some reader has half its backlog full, the feed pauses before the next
 * page, so that a burst larger than the backlog throws nobody out who is still
 * taking. The pause is bounded: a stuck reader delays the others by so much and
 * is then closed.
 *
 * **Fences.** Whoever wants to join must know what the feed has sent already.
 * Positions cannot be compared, so the feed answers with an order of events
 * instead: a fence is reached at the end of a page that was asked for after
 * the fence was set and that was up to date.
 *
 * Invariant: what was visible when a fence was set, the feed sends before the
 * fence is reached or never; what becomes visible after the fence is reached,
 * it sends after. So a reader who enters at a fence stands at the feed's
 * own position, and one who reads the log itself after a fence until it is up
 * to date misses nothing (`feed_catch_up.ts`).
 *
 * @module
 */

import type { FeedLog, LogPage, Reading } from "./feed_log.ts";
import { startOf } from "./feed_log.ts";
import type { FeedReader, Followed } from "./feed_reader.ts";
import { type Bytes, encodeControl, encodeMessages, type EventChunk } from "./sse.ts";
import { Stop } from "./stop.ts";
import { CODES, TidegateError } from "../../storage/base/errors.ts";

/** The broker's longest wait is 60 s; a shorter one moves the position of a quiet feed sooner. */
const WAIT_MS = 30_000;

/** After an error that may pass, such as a broker with too many waiters. */
const RETRY_MS = 1000;

/** Between waits: a broker that ends them at once, as when it drains, must not be asked in a circle. */
const EMPTY_MS = 10;

const PAUSE_STEP_MS = 2;
const PAUSE_STEPS = 25;

export type After = (delayMs: number, run: () => void) => () => void;

export interface FeedPorts {
  readonly after: After;
  readonly report: (error: unknown) => void;
  /** The feed has nobody left, or failed: forget it. */
  readonly ended: (feed: Feed) => void;
}

/** A reader between their own reading and the feed; see `feed_catch_up.ts`. */
export interface Joiner {
  /** The fence is reached. */
  joined(feed: Feed): void;
  offer(chunk: EventChunk): void;
  /** What was visible when read `number` was asked for has been offered. */
  settled(number: number): void;
  /** The feed lost its place: no more chunks come. */
  dismissed(): void;
}

interface Fence {
  /** The read that was under way when the fence was set: the next one counts. */
  readonly setDuring: number;
  reached(): void;
  failed(error: unknown): void;
}

export class Feed implements Followed {
  readonly #log: FeedLog;
  readonly #ports: FeedPorts;
  readonly #live = new Set<FeedReader>();
  readonly #joiners = new Set<Joiner>();
  #fences: Fence[] = [];
  #cursor: string | undefined;
  #control: { readonly cursor: string; readonly bytes: Bytes } | undefined;
  #waiting: Stop | undefined;
  #reads = 0;
  #state: "new" | "running" | "ended" = "new";

  constructor(log: FeedLog, ports: FeedPorts) {
    this.#log = log;
    this.#ports = ports;
  }

  /** A cursor, once a fence was reached. */
  get cursor(): string {
    return this.#cursor ?? "latest";
  }

  /** Whoever follows a feed has been sent all there is. */
  get upToDate(): boolean {
    return true;
  }

  /** How many reads were asked for; reads are numbered from 1. */
  get reads(): number {
    return this.#reads;
  }

  /** Shared by all readers who have seen nothing since. */
  control(): Bytes {
    const { cursor } = this;
    if (this.#control?.cursor !== cursor) {
      this.#control = { cursor, bytes: encodeControl({ cursor, upToDate: true }) };
    }
    return this.#control.bytes;
  }

  /** Takes a reader in at the next fence; `enter` runs there, before any later chunk. */
  enter(reader: FeedReader, enter: () => void): Promise<void> {
    return this.#fence(() => {
      enter();
      this.promote(reader);
    });
  }

  /** From the next fence on, offers every chunk to `joiner`. */
  join(joiner: Joiner): Promise<void> {
    return this.#fence(() => {
      this.#joiners.add(joiner);
      joiner.joined(this);
    });
  }

  part(joiner: Joiner): void {
    this.#joiners.delete(joiner);
    this.#endIfIdle();
  }

  /** From now on the reader gets every chunk as it is. */
  promote(reader: FeedReader): void {
    if (!reader.open) return;
    reader.follow(this);
    this.#live.add(reader);
  }

  leave(reader: FeedReader): void {
    this.#live.delete(reader);
    this.#endIfIdle();
  }

  #fence(action: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const reached = () => resolve(action());
      this.#fences.push({ setDuring: this.#reads, reached, failed: reject });
      this.#waiting?.abort();
      if (this.#state === "new") void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#state = "running";
    while (this.#state === "running") {
      try {
        await this.#turn();
      } catch (error) {
        await this.#recover(error);
      }
      this.#endIfIdle();
    }
  }

  async #turn(): Promise<void> {
    const number = ++this.#reads;
    const waits = this.#fences.length === 0;
    const reading = await this.#read(waits ? WAIT_MS : 0);
    if (reading === undefined || this.#state === "ended") return;
    if (reading.kind === "lost") return this.#lose(reading.earliest);

    this.#broadcast(reading.page);
    if (!reading.page.upToDate) return this.#pause();
    for (const joiner of this.#joiners) joiner.settled(number);
    const reached = this.#fences.filter((fence) => fence.setDuring < number);
    this.#fences = this.#fences.filter((fence) => fence.setDuring >= number);
    for (const fence of reached) fence.reached();
    const waitedInVain = waits && reading.page.messages.length === 0 && this.#fences.length === 0;
    if (waitedInVain) await this.#sleep(EMPTY_MS);
  }

  /** @returns undefined when the wait was cut short: a fence was set, or nobody is left. */
  async #read(waitMs: number): Promise<Reading | undefined> {
    const start = this.#cursor === undefined ? { kind: "latest" as const } : startOf(this.#cursor);
    const waiting = waitMs > 0 ? new Stop() : undefined;
    this.#waiting = waiting;
    try {
      return await this.#log.read(start, { waitMs, signal: waiting });
    } catch (error) {
      if (waiting?.aborted) return undefined;
      throw error;
    } finally {
      this.#waiting = undefined;
    }
  }

  #broadcast(page: LogPage): void {
    this.#cursor = page.cursor;
    if (page.messages.length === 0) return;
    const chunk = encodeMessages(page.messages, page.cursors);
    for (const reader of this.#live) reader.messages(chunk);
    for (const joiner of this.#joiners) joiner.offer(chunk);
  }

  #lose(earliest: string): void {
    const requested = this.cursor;
    if (requested === earliest) {
      throw new TidegateError("internal", `Cannot go on from "${earliest}": it is lost as well`);
    }
    this.#cursor = earliest;
    this.#dismissJoiners();
    for (const reader of this.#live) reader.gap({ requested, earliest });
  }

  /** What may pass is waited for; after anything else the streams end, and come back or not. */
  async #recover(error: unknown): Promise<void> {
    const fences = this.#fences.splice(0);
    for (const fence of fences) fence.failed(error);
    const code = error instanceof TidegateError ? error.code : "internal";
    if (CODES[code].retryable) return this.#sleep(RETRY_MS);

    // A reader of a deleted topic learns it from the 204 its next request gets.
    const gone = code === "topic-not-found";
    // Who waits at a fence has the error, and answers with it or reports it.
    if (!gone && fences.length === 0) this.#ports.report(error);
    this.#dismissJoiners();
    for (const reader of this.#live) reader.end(gone ? undefined : "internal");
  }

  /** They read the log themselves, and meet there what the feed met. */
  #dismissJoiners(): void {
    for (const joiner of this.#joiners) joiner.dismissed();
    this.#joiners.clear();
  }

  async #pause(): Promise<void> {
    for (let step = 0; step < PAUSE_STEPS && this.#crowded(); step++) {
      await this.#sleep(PAUSE_STEP_MS);
    }
  }

  #crowded(): boolean {
    for (const reader of this.#live) if (reader.crowded) return true;
    return false;
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => void this.#ports.after(delayMs, resolve));
  }

  #endIfIdle(): void {
    const needed = this.#live.size + this.#joiners.size + this.#fences.length > 0;
    if (needed || this.#state !== "running") return;
    this.#state = "ended";
    this.#waiting?.abort();
    this.#ports.ended(this);
  }
}
