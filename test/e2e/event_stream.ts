/**
 * An SSE reader over a raw connection: what an EventSource would see, with the
 * comments, the control events and the end of the stream made visible.
 *
 * Raw because Bun's fetch stops at 512 streams, and because a test decides
 * itself when to reconnect and with which `Last-Event-ID`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createParser } from "eventsource-parser";
import { Connection } from "./http.ts";
import type { Head } from "./response_reader.ts";

export interface StreamEvent {
  readonly event: string;
  readonly data: string;
  /** The position to resume from, when the event carried one. */
  readonly id?: string | undefined;
}

export interface OpenOptions {
  readonly lastEventId?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

export class EventStream {
  readonly #connection: Connection;
  readonly #events: StreamEvent[] = [];
  #read = 0;
  #wake: () => void = () => {};
  #ended = false;
  #head: Head | undefined;
  /** The last `id:` seen, as an EventSource keeps it. */
  lastEventId: string | undefined;
  /** The server's `retry:`, in ms. */
  retryMs: number | undefined;
  comments = 0;

  private constructor(connection: Connection, options: OpenOptions) {
    this.#connection = connection;
    this.lastEventId = options.lastEventId;
  }

  /** Resolves when the response's head is there. */
  static async open(port: number, path: string, options: OpenOptions = {}): Promise<EventStream> {
    const stream = new EventStream(await Connection.open(port), options);
    await stream.#start(path, options);
    return stream;
  }

  get status(): number {
    return this.#head?.status ?? 0;
  }

  get headers(): ReadonlyMap<string, string> {
    return this.#head?.headers ?? new Map();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Everything seen so far. */
  get events(): readonly StreamEvent[] {
    return this.#events;
  }

  /** The next event that `wanted` accepts, in order; undefined when the stream ended. */
  async next(
    wanted: (event: StreamEvent) => boolean = () => true,
    withinMs = 10_000,
  ): Promise<StreamEvent | undefined> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      while (this.#read < this.#events.length) {
        const event = this.#events[this.#read++] as StreamEvent;
        if (wanted(event)) return event;
      }
      if (this.#ended) return undefined;
      const leftMs = deadline - performance.now();
      assert(leftMs > 0, `no such event within ${withinMs} ms`);
      await this.#more(leftMs);
    }
  }

  close(): void {
    this.#connection.close();
  }

  pause(): void {
    this.#connection.pause();
  }

  resume(): void {
    this.#connection.resume();
  }

  #start(path: string, options: OpenOptions): Promise<void> {
    const utf8 = new TextDecoder();
    const parser = createParser({
      onEvent: (event) => {
        if (event.id !== undefined) this.lastEventId = event.id;
        this.#events.push({ event: event.event ?? "message", data: event.data, id: event.id });
        this.#wake();
      },
      onRetry: (retryMs) => {
        this.retryMs = retryMs;
      },
      onComment: () => {
        this.comments++;
      },
    });
    return new Promise((resolve, reject) => {
      const done = this.#connection.request({
        path,
        headers: {
          Accept: "text/event-stream",
          ...(options.lastEventId === undefined ? {} : { "Last-Event-ID": options.lastEventId }),
          ...options.headers,
        },
        timeoutMs: 3_600_000,
        onHead: (head) => {
          this.#head = head;
          resolve();
        },
        onBody: (chunk) => parser.feed(utf8.decode(chunk, { stream: true })),
      });
      const end = () => {
        this.#ended = true;
        this.#wake();
      };
      done.then(end, (error: Error) => {
        end();
        reject(error); // Without effect once the head was there: then the stream just ended.
      });
    });
  }

  #more(withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, withinMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
