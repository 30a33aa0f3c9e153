/**
 * Searching a topic: `/v1/topics/{topic}/search`, by an index key, by when messages became visible,
 * or both.
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import type { SearchPage as Page, SearchRequest } from "../src/broker/api.ts";
import { LIMITS } from "../storage/base/message.ts";
import type { Call } from "./call.ts";
import { failures } from "./contract.ts";
import { writeMessage } from "./message_json.ts";
import { bytesResponse, writeList, writerFor } from "./message_list.ts";
import { type App, operation } from "./operation.ts";
import type { Ports } from "./ports.ts";
import { malformed } from "./problem.ts";
import { Message, MessagesQuery, PageToken, TopicParams } from "./schemas.ts";
import { parseTimestamp } from "./timestamp.ts";

const utf8 = new TextEncoder();

const Time = (name: string, description: string) =>
  z
    .string()
    .optional()
    .openapi({
      param: { name, in: "query", description },
      format: "date-time",
      example: "2026-11-22T08:00:00Z",
    });

const SearchQuery = z.object({
  index: z
    .string()
    .min(1)
    .refine((key) => utf8.encode(key).length <= LIMITS.indexKeyBytes, "is too long")
    .optional()
    .openapi({
      param: {
        name: "index",
        in: "query",
        description: `One of the message's index keys, exactly; at most ${LIMITS.indexKeyBytes} bytes`,
      },
      example: "cust-9",
    }),
  from: Time("from", "Became visible then or later (RFC 3339)"),
  to: Time("to", "Became visible before then (RFC 3339)"),
  ...MessagesQuery,
  pageToken: PageToken.optional().openapi({
    param: {
      name: "pageToken",
      in: "query",
      description: "`nextPageToken` of the page before; the rest of the query as it was",
    },
  }),
});

export const SearchPage = z
  .object({
    messages: z.array(Message),
    nextPageToken: PageToken.optional().openapi({
      description: "There may be more: a page that looked at much ends early, even empty",
    }),
  })
  .openapi("SearchPage");

export function searchRoutes(app: App, ports: Ports): void {
  operation(app, ports, {
    contract: {
      operationId: "searchMessages",
      method: "get",
      path: "/v1/topics/{topic}/search",
      tags: ["reading"],
      summary: "Find messages by index key, by time, or by both: the last to become visible first",
      description:
        "At least one of `index`, `from` and `to` is needed. What nobody may see yet is not found, nor what was removed; messages whose bytes are damaged are left out.",
      responses: {
        200: {
          description: "A page",
          content: { "application/json": { schema: SearchPage } },
        },
        ...failures("topic-not-found", "invalid-cursor", "cursor-generation"),
      },
    },
    input: { params: TopicParams, query: SearchQuery },
    async handle({ params, query, call }) {
      return pageResponse(call, await ports.broker.messages.search(requestOf(params, query)));
    },
  });
}

function pageResponse(call: Call, { messages, next }: Page): Response {
  const out = writerFor(messages);
  out.text('{"messages":');
  writeList(out, messages, (message) => writeMessage(out, message));
  if (next !== undefined) out.text(`,"nextPageToken":${JSON.stringify(next)}`);
  out.text("}");
  return bytesResponse(call, out);
}

/** @throws `invalid-request` */
function requestOf(
  { topic }: z.output<typeof TopicParams>,
  query: z.output<typeof SearchQuery>,
): SearchRequest {
  const { index, limit, maxBytes, pageToken: after } = query;
  const from = timeOf("from", query.from);
  const to = timeOf("to", query.to);
  if (index === undefined && from === undefined && to === undefined) {
    throw malformed("/query", "at least one of index, from and to is needed");
  }
  if (from !== undefined && to !== undefined && from > to) {
    throw malformed("/query/to", "to must not be before from");
  }
  return { topic, index, from, to, limit, maxBytes, after };
}

function timeOf(name: string, text: string | undefined): number | undefined {
  const time = text === undefined ? undefined : parseTimestamp(text);
  if (text !== undefined && time === undefined) {
    throw malformed(`/query/${name}`, `${name} must be an RFC 3339 time since 1970`);
  }
  return time;
}
