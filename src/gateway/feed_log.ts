/**
 * The log as a stream reads it: pages with a position after every message,
 * and lost history as an outcome instead of an error, since a stream tells of
 * the gap and goes on.
 *
 * A position is a cursor or, for a start that no cursor names yet, the words
 * `after` understands: `earliest`, `time:…`. Positions are opaque: nothing in
 * the gateway compares two of them but for equality.
 *
 * @module
 */

import type { CallOptions, MessagesApi, ReadPage, Start } from "../broker/api.ts";
import type { StreamRequest } from "../../routes/ports.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { Control } from "./sse.ts";

export type Reading =
  | { readonly kind: "page"; readonly page: LogPage }
  /** What followed the position is gone; go on from `earliest`. */
  | { readonly kind: "lost"; readonly earliest: string };

export interface ReadOptions extends CallOptions {
  readonly waitMs: number;
  /** As many as make a page when absent. */
  readonly limit?: number;
}

export type LogPage = ReadPage & { readonly cursors: readonly string[] };

/** A page becomes one chunk, so this bounds the step in which a reader's backlog grows. */
const PAGE_BYTES = 64 * 1024;
const PAGE_MESSAGES = 1000;

const LOST: ReadonlySet<string> = new Set(["cursor-expired", "cursor-generation", "data-damaged"]);

export class FeedLog {
  readonly #messages: Pick<MessagesApi, "read">;
  readonly #wanted: StreamRequest;

  constructor(messages: Pick<MessagesApi, "read">, wanted: StreamRequest) {
    this.#messages = messages;
    this.#wanted = wanted;
  }

  async read(start: Start, options: ReadOptions): Promise<Reading> {
    const { topic, queueId, key, filter } = this.#wanted;
    const { waitMs, signal, limit = PAGE_MESSAGES } = options;
    const limits = { limit, maxBytes: PAGE_BYTES, waitMs, cursors: true };
    try {
      const read = { topic, start, queueId, key, filter, ...limits };
      const page = await this.#messages.read(read, { signal });
      return { kind: "page", page: { ...page, cursors: page.cursors ?? [] } };
    } catch (error) {
      if (error instanceof TidegateError && LOST.has(error.code)) {
        return { kind: "lost", earliest: whereToGoOn(error) };
      }
      throw error;
    }
  }
}

/** Where a reader stands who was told nothing yet; without a cursor, in the words `after` understands. */
export function standing(start: Start, first: Reading): Control {
  if (first.kind === "page" && first.page.messages.length === 0) {
    return { cursor: first.page.cursor, upToDate: first.page.upToDate };
  }
  return { cursor: positionOf(start), upToDate: false };
}

export function startOf(position: string): Start {
  if (position === "earliest") return { kind: "earliest" };
  if (!position.startsWith("time:")) return { kind: "cursor", cursor: position };
  return { kind: "time", time: Date.parse(position.slice(5)) };
}

export function positionOf(start: Start): string {
  if (start.kind === "cursor") return start.cursor;
  return start.kind === "time" ? `time:${new Date(start.time).toISOString()}` : start.kind;
}

/** Damage names the position behind it, retention the first one that is left. */
function whereToGoOn({ details }: TidegateError): string {
  const { next, earliest } = details;
  if (typeof next === "string") return next;
  return typeof earliest === "string" ? earliest : "earliest";
}
