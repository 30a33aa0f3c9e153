/**
 * The client end of an event stream: parses what arrives, remembers the last
 * id as an EventSource does, and can stop taking bytes for a while.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import { createParser } from "eventsource-parser";

export interface StreamEvent {
  readonly id: string | undefined;
  readonly event: string | undefined;
  readonly data: string;
}

export class StreamReader {
  readonly events: StreamEvent[] = [];
  readonly comments: string[] = [];
  /** The numbers that {@linkcode FakeLog.publish} gave the messages that arrived. */
  readonly numbers: number[] = [];
  retryMs: number | undefined;
  lastEventId: string | undefined;
  /** How the stream ended: by its server, or by an error of the connection. */
  ended: "closed" | "broken" | undefined;
  bytes = 0;
  readonly #body: ReadableStreamDefaultReader<Uint8Array>;
  readonly #parser = createParser({
    onEvent: ({ id, event, data }) => {
      this.events.push({ id, event, data });
      if (event === "message") this.numbers.push(numberOf(data));
      if (id !== undefined) this.lastEventId = id;
    },
    onRetry: (retryMs) => void (this.retryMs = retryMs),
    onComment: (comment) => void this.comments.push(comment),
    onError: (error) => {
      throw error;
    },
  });
  readonly #decoder = new TextDecoder();
  #resume: (() => void) | undefined;
  #paused: Promise<void> | undefined;

  constructor(response: Response) {
    if (!response.body) throw new TypeError("Cannot read a response without a body");
    this.#body = response.body.getReader();
    void this.#take();
  }

  pause(): void {
    this.#paused ??= new Promise((resolve) => (this.#resume = resolve));
  }

  resume(): void {
    this.#paused = undefined;
    this.#resume?.();
  }

  /** Goes away; a stream that is broken already has nothing to cancel. */
  async cancel(): Promise<void> {
    this.resume();
    await this.#body.cancel().catch(() => {});
  }

  /** The data of all events of one kind. */
  data(kind: string): unknown[] {
    const events = this.events.filter(({ event }) => event === kind);
    return events.map(({ data }): unknown => JSON.parse(data));
  }

  async #take(): Promise<void> {
    try {
      for (;;) {
        if (this.#paused) await this.#paused;
        const { done, value } = await this.#body.read();
        if (done) break;
        this.bytes += value.length;
        this.#parser.feed(this.#decoder.decode(value, { stream: true }));
      }
      this.ended = "closed";
    } catch {
      this.ended = "broken"; // the test asks how it ended, not why
    }
  }
}

/** A message of another publisher has none. */
function numberOf(data: string): number {
  const message = JSON.parse(data) as { data?: { n?: number } };
  return message.data?.n ?? Number.NaN;
}

/** One turn of the event loop: everything that can run without input has run. */
export function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

/** Turns the event loop until `condition` holds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`Waited in vain until ${what}`);
    await turn();
  }
}
