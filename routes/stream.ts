/**
 * One event stream over several topics: `GET /v1/stream?topics=a,b`.
 *
 * A browser opens six connections to a host over HTTP/1.1; a page that follows
 * many topics does it through one of them. `Last-Event-ID`, `lastEventId` and
 * `after` mean what they mean for a single topic, with a position in all topics
 * in the place of a cursor (topics_position.ts).
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import type { Start } from "../src/broker/api.ts";
import type { Call, GatewayContext } from "./call.ts";
import { failures } from "./contract.ts";
import { NAME } from "./names.ts";
import { refuseOtherNamespace } from "./namespace.ts";
import type { App } from "./operation.ts";
import type { Ports, StreamRequest } from "./ports.ts";
import { malformed } from "./problem.ts";
import { readQuery } from "./query.ts";
import { filterOf, parseStart } from "./read_request.ts";
import type { RequestHead } from "./request_head.ts";
import { FilterQuery } from "./schemas.ts";
import { formatTopicsPosition, parseTopicsPosition, TOPICS_MAX } from "./topics_position.ts";

const StreamQuery = z.object({
  topics: z
    .string()
    .openapi({ description: `1 to ${TOPICS_MAX}, comma separated`, example: "orders,payments" }),
  after: z.string().default("latest").openapi({
    description:
      "`earliest`, `latest`, `time:<RFC 3339>`, or a position of such a stream. A topic that the position does not have starts at `latest`; one that is not asked for is ignored",
    example: "earliest",
  }),
  ...FilterQuery,
  lastEventId: z.string().optional().openapi({
    description:
      "As `Last-Event-ID`, for callers that cannot set headers. A topic that it does not have starts as `after` says",
  }),
});

const StreamHeaders = z.object({
  "Last-Event-ID": z.string().optional().openapi({
    description: "Where the stream goes on: the `id` of the last event",
  }),
});

export const Events = z.string().openapi({
  description:
    'Events `message` (a Message), `control` (`{"cursor","upToDate","ended"?}`), `gap` (`{"topic","requested","earliest"}`: positions of that topic) and `reconnect` (`{"reason"}`). Each `id` is a position in all topics. `ended` names topics that were deleted',
});

const nextCursor = {
  "Next-Cursor": { description: "A position in all topics", schema: { type: "string" as const } },
};

export function streamRoutes(app: App, ports: Ports): void {
  app.openAPIRegistry.registerPath({
    operationId: "streamTopics",
    method: "get",
    path: "/v1/stream",
    tags: ["reading"],
    summary: "Follow several topics through one event stream",
    description:
      "A browser opens six connections to a host over HTTP/1.1: this is how a page follows more topics than that.",
    request: { query: StreamQuery, headers: StreamHeaders },
    responses: {
      200: {
        description: "Messages of all topics, of each in log order",
        content: { "text/event-stream": { schema: Events } },
      },
      204: { description: "The stream is resumed and all of its topics are gone" },
      ...failures("topic-not-found", "invalid-cursor", "filter-invalid"),
    },
  });
  app.openAPIRegistry.registerPath({
    operationId: "headStream",
    method: "head",
    path: "/v1/stream",
    tags: ["reading"],
    summary: "Where the topics end now",
    request: { query: StreamQuery.pick({ topics: true }) },
    responses: {
      200: { description: "The tail", headers: nextCursor },
      ...failures("topic-not-found"),
    },
  });
  app.get("/v1/stream", (c) => stream(ports, c));
}

async function stream(ports: Ports, c: GatewayContext): Promise<Response> {
  const call = c.env;
  const query = readQuery(call.url);
  refuseOtherNamespace(call.head, query);
  const wanted = topicsStream(call.head, query);
  if (c.req.method === "HEAD") return tails(ports, { call, wanted });
  call.connection.holdOpen(c.req.raw);
  return ports.feeds.openTopics(wanted, c.req.raw);
}

/** What each topic is followed from; the filter is the same for all. @throws `invalid-request` */
export function topicsStream(
  head: RequestHead,
  query: ReadonlyMap<string, string>,
): StreamRequest[] {
  const filter = filterOf(query);
  const resumed = resumePositions(head, query);
  const after = query.get("after") ?? "latest";
  const starts = after.includes("=") ? parseTopicsPosition(after, "/query/after") : undefined;
  const other = starts ? ({ kind: "latest" } as const) : startOfAll(after);
  return topicsOf(query).map((topic) => {
    const start = resumed?.get(topic);
    return {
      topic,
      start: start ?? starts?.get(topic) ?? other,
      resumed: start !== undefined,
      filter,
    };
  });
}

function topicsOf(query: ReadonlyMap<string, string>): readonly string[] {
  const topics = query.get("topics")?.split(",") ?? [];
  const fit = topics.length > 0 && topics.length <= TOPICS_MAX;
  if (fit && topics.every((topic) => NAME.test(topic)) && new Set(topics).size === topics.length) {
    return topics;
  }
  throw malformed("/query/topics", `topics must be 1 to ${TOPICS_MAX} names, each of them once`);
}

/** As for a single topic: the browser's own header first, then its stand-in; empty means none. */
function resumePositions(
  head: RequestHead,
  query: ReadonlyMap<string, string>,
): ReadonlyMap<string, Start> | undefined {
  if (head.lastEventId) return parseTopicsPosition(head.lastEventId, "/header/Last-Event-ID");
  const lastEventId = query.get("lastEventId");
  return lastEventId ? parseTopicsPosition(lastEventId, "/query/lastEventId") : undefined;
}

/** A cursor is a position in one topic: not here. */
function startOfAll(after: string): Start {
  const start = parseStart(after, "/query/after");
  if (start.kind !== "cursor") return start;
  throw malformed(
    "/query/after",
    "after must be a position of a stream over topics, earliest, latest or time:<RFC 3339>",
  );
}

/** Where the topics end now; asks for nothing and waits for nothing. */
async function tails(
  { broker }: Ports,
  { call, wanted }: { call: Call; wanted: readonly StreamRequest[] },
): Promise<Response> {
  const rest = { start: { kind: "latest" }, limit: 1, maxBytes: 1, waitMs: 0 } as const;
  const pages = await Promise.all(
    wanted.map(({ topic }) => broker.messages.read({ topic, ...rest })),
  );
  const entries = wanted.map(({ topic }, i) => ({ topic, position: pages[i]?.cursor ?? "latest" }));
  const headers = call.headers({
    "content-type": "text/event-stream",
    "cache-control": "no-cache, no-transform",
    "next-cursor": formatTopicsPosition(entries),
  });
  return new Response(null, { headers });
}
