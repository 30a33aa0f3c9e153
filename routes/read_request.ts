/**
 * What a log read asks for, from its query and headers; all faults are 400s.
 * A filter is the broker's to understand, which answers what is none.
 *
 * @module
 */

import type { Filter, Start } from "../src/broker/api.ts";
import { type PageForm, pageForm } from "./accept.ts";
import { keyFault } from "./attributes.ts";
import type { Call } from "./call.ts";
import { preferences } from "./prefer.ts";
import { malformed } from "./problem.ts";
import { numberParameter } from "./query.ts";
import type { RequestHead } from "./request_head.ts";
import { parseTimestamp } from "./timestamp.ts";

export const PAGE = {
  limitMax: 1000,
  limitDefault: 100,
  bytesMax: 16 * 1024 * 1024,
  bytesDefault: 1024 * 1024,
  waitSecondsMax: 60,
} as const;

const QUEUES_MAX = 1024;
const ONLY_STREAMS = /^\/v1\/(?:stream|groups\/[^/]+\/stream)$/;
const CURSOR = /^[\w.~:=-]{1,4096}$/;

export interface LogRead {
  readonly form: PageForm;
  readonly start: Start;
  readonly queueId: number | undefined;
  readonly key: string | undefined;
  readonly filter: Filter | undefined;
  readonly limit: number;
  readonly maxBytes: number;
  readonly waitMs: number;
  /** What to say in `Preference-Applied`. */
  readonly applied: string | undefined;
}

/** @throws `invalid-request`, `invalid-cursor` */
export function logRead(head: RequestHead, query: ReadonlyMap<string, string>): LogRead {
  const form = formOf(head, query);
  const queue = { min: 0, max: QUEUES_MAX - 1, default: -1, whole: true };
  const queueId = numberParameter(query, "queue", queue);
  return {
    form,
    start: parseStart(
      query.get("after") ?? (form === "sse" ? "latest" : "earliest"),
      "/query/after",
    ),
    queueId: queueId < 0 ? undefined : queueId,
    key: keyOf(query),
    filter: filterOf(query),
    limit: numberParameter(query, "limit", {
      min: 1,
      max: PAGE.limitMax,
      default: PAGE.limitDefault,
      whole: true,
    }),
    maxBytes: numberParameter(query, "maxBytes", {
      min: 1,
      max: PAGE.bytesMax,
      default: PAGE.bytesDefault,
      whole: true,
    }),
    ...waitOf(head, query),
  };
}

/** Where a stream goes on: the browser's own header first, then its stand-in. */
export function resumePosition(
  head: RequestHead,
  query: ReadonlyMap<string, string>,
): Start | undefined {
  // An empty Last-Event-ID is what an EventSource has that never saw an id: no position.
  if (head.lastEventId) return parseStart(head.lastEventId, "/header/Last-Event-ID");
  const lastEventId = query.get("lastEventId");
  return lastEventId ? parseStart(lastEventId, "/query/lastEventId") : undefined;
}

/** Whether the answer would be an event stream, for those who look before the route does. */
export function asksForStream({ path, url, head }: Call): boolean {
  if (ONLY_STREAMS.test(path)) return true;
  return pageForm(head.accept) === "sse" || /[?&]format=sse(?:&|$)/.test(url);
}

function formOf(head: RequestHead, query: ReadonlyMap<string, string>): PageForm {
  const format = query.get("format");
  if (format === undefined) return pageForm(head.accept);
  if (format === "sse" || format === "json" || format === "ndjson") return format;
  throw malformed("/query/format", "format must be sse, json or ndjson");
}

/** @throws `invalid-request` */
export function parseStart(text: string, pointer: string): Start {
  if (text === "earliest" || text === "latest") return { kind: text };
  if (text.startsWith("time:")) {
    const time = parseTimestamp(text.slice(5));
    if (time !== undefined) return { kind: "time", time };
    throw malformed(pointer, "the time must be RFC 3339 (write + as %2B in a query)");
  }
  if (CURSOR.test(text)) return { kind: "cursor", cursor: text };
  throw malformed(pointer, "the position must be a cursor, earliest, latest or time:<RFC 3339>");
}

function keyOf(query: ReadonlyMap<string, string>): string | undefined {
  const key = query.get("key");
  const fault = key === undefined ? undefined : keyFault(key);
  if (fault !== undefined) throw malformed("/query/key", `key ${fault}`);
  return key;
}

export function filterOf(query: ReadonlyMap<string, string>): Filter | undefined {
  const tag = query.get("filter");
  const sql = query.get("sql");
  if (tag !== undefined && sql !== undefined) {
    throw malformed("/query/sql", "a read takes filter or sql, not both");
  }
  if (sql !== undefined) return { sql };
  return tag === undefined ? undefined : { tag };
}

/** The query wins, so that what a URL means does not depend on a header. */
function waitOf(head: RequestHead, query: ReadonlyMap<string, string>) {
  if (head.prefer !== undefined && !query.has("wait")) {
    const { waitSeconds } = preferences(head.prefer);
    if (waitSeconds !== undefined) {
      const seconds = Math.min(waitSeconds, PAGE.waitSecondsMax);
      return { waitMs: Math.round(seconds * 1000), applied: `wait=${seconds}` };
    }
  }
  const rule = { min: 0, max: PAGE.waitSecondsMax, default: 0, whole: false };
  return { waitMs: Math.round(numberParameter(query, "wait", rule) * 1000), applied: undefined };
}
