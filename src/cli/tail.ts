/**
 * `tidegate tail`: follows a topic, printing messages as they come.
 *
 * A log read: the position lives here, the node keeps nothing, and nobody
 * else's reading is disturbed. Long-polls, so it works through any proxy. When
 * the node goes away it asks again, slower each time, and goes on where it
 * was; when messages after its position are gone, it says so and goes on from
 * the first one left.
 *
 * @module
 */

import { setTimeout as sleep } from "node:timers/promises";
import { type Command, Option } from "commander";
import { Client, type ClientOptions, segment, withUrl } from "./client.ts";
import { CliError, EXIT } from "./exit.ts";
import type { Terminal } from "./terminal.ts";
import { wholeNumber } from "./topic.ts";

interface TailOptions extends ClientOptions {
  readonly after: string;
  readonly queue?: number;
  readonly key?: string;
  readonly max?: number;
  readonly follow: boolean;
  readonly format: "json" | "text";
}

export interface TailedMessage {
  readonly id: string;
  readonly queueId: number;
  readonly queueOffset: string;
  readonly key?: string;
  readonly publishedAt: string;
  readonly data?: unknown;
  readonly text?: string;
  readonly dataBase64?: string;
}

const WAIT_SECONDS = 30;
const PAUSE_MS = { least: 500, most: 10_000 };

const EXAMPLES = `
Examples:
  tidegate tail orders
  tidegate tail orders --after earliest --no-follow
  tidegate tail orders --after time:2026-11-22T08:00:00Z --format text --max 10`;

export function tailCommand(parent: Command, terminal: Terminal): void {
  const command = parent
    .command("tail <topic>")
    .description("print messages as they are published")
    .option("--after <position>", "earliest, latest, time:<RFC 3339> or a cursor", "latest")
    .option("--queue <id>", "read one queue only", wholeNumber)
    .option("--key <key>", "read one ordering key only")
    .option("--max <count>", "end after so many messages", wholeNumber)
    .option("--no-follow", "end at the end of the topic")
    .addOption(
      new Option("--format <format>", "json: one object a line; text: for people")
        .choices(["json", "text"])
        .default("json"),
    )
    .addHelpText("after", EXAMPLES);
  withUrl(command).action(async (topic: string, options: TailOptions) => {
    const interrupted = terminal.onInterrupt();
    try {
      await tail(new Tail(topic, { options, terminal, interrupted }), options.follow);
    } catch (error) {
      if (!interrupted.aborted) throw error; // Ctrl-C is how one ends a tail.
    }
  });
}

async function tail(reader: Tail, follow: boolean): Promise<void> {
  // The first answer tells whether the topic can be read at all; later failures are waited out.
  let more = await reader.step(0);
  let pauseMs = PAUSE_MS.least;
  while (more) {
    if (!follow && reader.upToDate) return;
    try {
      more = await reader.step(follow ? WAIT_SECONDS : 0);
      pauseMs = PAUSE_MS.least;
    } catch (error) {
      if (!(error instanceof CliError) || error.exitCode !== EXIT.unavailable.code) throw error;
      await reader.pause(error.message, pauseMs);
      pauseMs = Math.min(pauseMs * 2, PAUSE_MS.most);
    }
  }
}

interface Page {
  readonly messages: readonly TailedMessage[];
  readonly cursor: string;
  readonly upToDate: boolean;
}

class Tail {
  readonly #topic: string;
  readonly #options: TailOptions;
  readonly #terminal: Terminal;
  readonly #signal: AbortSignal;
  readonly #client: Client;
  #after: string;
  #left: number;
  #upToDate = false;

  constructor(
    topic: string,
    {
      options,
      terminal,
      interrupted,
    }: { options: TailOptions; terminal: Terminal; interrupted: AbortSignal },
  ) {
    this.#topic = topic;
    this.#options = options;
    this.#terminal = terminal;
    this.#signal = interrupted;
    this.#client = new Client(options, terminal);
    this.#after = options.after;
    this.#left = options.max ?? Infinity;
  }

  get upToDate(): boolean {
    return this.#upToDate;
  }

  /** Reads and prints one page; false when as many as wanted were printed. */
  async step(waitSeconds: number): Promise<boolean> {
    const page = await this.#read(waitSeconds);
    for (const message of page.messages) this.#terminal.print(this.#format(message));
    this.#after = page.cursor;
    this.#upToDate = page.upToDate;
    this.#left -= page.messages.length;
    return this.#left > 0;
  }

  async pause(why: string, ms: number): Promise<void> {
    this.#terminal.warn(`${why}; trying again in ${ms / 1000} s`);
    await sleep(ms, undefined, { signal: this.#signal });
  }

  async #read(waitSeconds: number): Promise<Page> {
    const { queue, key } = this.#options;
    const query = new URLSearchParams({
      after: this.#after,
      limit: String(Math.min(this.#left, 1000)),
      wait: String(waitSeconds),
      ...(queue !== undefined && { queue: String(queue) }),
      ...(key !== undefined && { key }),
    });
    const path = `/v1/topics/${segment(this.#topic)}/messages?${query}`;
    try {
      const response = await this.#client.call(path, { signal: this.#signal });
      if (response.status === 204) {
        return {
          messages: [],
          cursor: response.headers.get("Next-Cursor") ?? this.#after,
          upToDate: true,
        };
      }
      return (await response.json()) as Page;
    } catch (error) {
      if (!isGap(error)) throw error;
      this.#terminal.warn(`${error.message}; going on from the earliest message left`);
      return { messages: [], cursor: "earliest", upToDate: false };
    }
  }

  #format(message: TailedMessage): string {
    return this.#options.format === "json" ? JSON.stringify(message) : messageLine(message);
  }
}

function isGap(error: unknown): error is CliError {
  return error instanceof CliError && (error.cause as { status?: number })?.status === 410;
}

/** A message in one line, for people. */
export function messageLine(message: TailedMessage): string {
  const { publishedAt, queueId, queueOffset, key, data, text, dataBase64 } = message;
  const body = text ?? (dataBase64 === undefined ? JSON.stringify(data) : `base64:${dataBase64}`);
  return `${publishedAt}  ${queueId}:${queueOffset}  ${key === undefined ? "" : `[${key}] `}${body}`;
}
