/**
 * The contract of the raw-body and streaming operations, whose handlers are
 * hand-written (publish.ts, batch.ts, read_log.ts).
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import { LIMITS } from "../storage/base/message.ts";
import { BATCH_MESSAGES_MAX } from "./batch.ts";
import { failures } from "./contract.ts";
import { ONCE_FAILURES, OnceHeaders, replayedHeader } from "./once_contract.ts";
import type { App } from "./operation.ts";
import { PAGE } from "./read_request.ts";
import {
  Cursor,
  FilterQuery,
  Message,
  MessageId,
  Name,
  Offset,
  Problem,
  Timestamp,
  TopicParams,
} from "./schemas.ts";

const Key = z.string().min(1).max(LIMITS.keyBytes);
const Tag = z.string().min(1).max(LIMITS.tagBytes);
const Delay = z.string().regex(/^\d{1,12}(\.\d{1,12})?$/);
const percentEncoded = "Percent-encoded UTF-8";

const PublishHeaders = OnceHeaders.extend({
  "Message-Key": Key.optional().openapi({
    description: `Ordering key: one key, one queue, kept in order. ${percentEncoded}`,
    example: "order-17",
  }),
  "Message-Tag": Tag.optional().openapi({
    description: `One tag for cheap filtering. ${percentEncoded}`,
    example: "created",
  }),
  "Message-Index": z
    .string()
    .optional()
    .openapi({
      description: `Up to ${LIMITS.indexKeys} search keys, comma separated. ${percentEncoded}`,
      example: "cust-9",
    }),
  "Message-Id": MessageId.optional().openapi({ description: "The producer's own id" }),
  "Deliver-At": Timestamp.optional().openapi({
    description: "Nobody sees the message before then; the past means now",
  }),
  Delay: Delay.optional().openapi({
    description: "Seconds until it may be seen, decimals allowed; instead of Deliver-At",
    example: "1.5",
  }),
  Prefer: z.string().optional().openapi({
    description: "`return=minimal` asks for 204 and no body",
    example: "return=minimal",
  }),
  traceparent: z
    .string()
    .optional()
    .openapi({ description: "W3C Trace Context, kept with the message" }),
  tracestate: z.string().optional(),
});

const PublishQuery = z.object({
  key: Key.optional().openapi({
    description: "As Message-Key, for callers that cannot set headers",
  }),
  tag: Tag.optional().openapi({ description: "As Message-Tag" }),
  index: z.string().optional().openapi({ description: "As Message-Index" }),
  id: MessageId.optional().openapi({ description: "As Message-Id" }),
  deliverAt: Timestamp.optional().openapi({ description: "As Deliver-At" }),
  delay: Delay.optional().openapi({ description: "As Delay" }),
});

const Published = z
  .object({
    id: MessageId,
    topic: Name.openapi({ example: "orders" }),
    queueId: z.int().min(0).openapi({ example: 3 }),
    queueOffset: Offset,
    cursor: Cursor,
    publishedAt: Timestamp,
  })
  .openapi("Published");

const Scheduled = Published.omit({ queueOffset: true, cursor: true })
  .extend({ deliverAt: Timestamp, state: z.literal("scheduled") })
  .openapi("Scheduled");

export const NewMessage = z
  .strictObject({
    data: z.unknown().optional().openapi({ description: "A JSON value: its text is the body" }),
    text: z.string().optional().openapi({ description: "The body as text" }),
    dataBase64: z.string().optional().openapi({ description: "The body as base64" }),
    contentType: z.string().max(LIMITS.contentTypeBytes).optional(),
    key: Key.optional(),
    tag: Tag.optional(),
    index: z.array(z.string().min(1).max(LIMITS.indexKeyBytes)).max(LIMITS.indexKeys).optional(),
    properties: z.record(z.string(), z.string()).optional(),
    deliverAt: Timestamp.optional(),
    delayMs: z.number().min(0).optional().openapi({ description: "Instead of deliverAt" }),
    id: MessageId.optional(),
  })
  .openapi("NewMessage", {
    description: "Exactly one of data, text and dataBase64",
    example: { data: { total: 12 }, key: "order-17", tag: "created" },
  });

const Batch = z
  .strictObject({ messages: z.array(NewMessage).min(1).max(BATCH_MESSAGES_MAX) })
  .openapi("Batch");

const replayed = {
  replayed: z
    .literal(true)
    .optional()
    .openapi({ description: "It was stored by an earlier request, whose answer this is" }),
};

const BatchResults = z
  .object({
    results: z.array(
      z.union([
        Published.pick({ id: true, queueId: true, queueOffset: true, cursor: true }).extend(
          replayed,
        ),
        Scheduled.pick({ id: true, queueId: true, deliverAt: true, state: true }).extend(replayed),
        z.object({ problem: Problem }),
      ]),
    ),
  })
  .openapi("BatchResults");

const Page = z
  .object({
    messages: z.array(Message),
    cursor: Cursor.openapi({ description: "Where to go on" }),
    upToDate: z.boolean().openapi({ description: "Nothing readable lay behind the cursor" }),
  })
  .openapi("MessagePage");

const ReadQuery = z.object({
  after: z.string().optional().openapi({
    description:
      "A cursor, `earliest`, `latest`, or `time:` and an RFC 3339 time. `earliest` by default, `latest` for event streams",
    example: "earliest",
  }),
  limit: z.int().min(1).max(PAGE.limitMax).default(PAGE.limitDefault),
  maxBytes: z.int().min(1).max(PAGE.bytesMax).default(PAGE.bytesDefault),
  wait: z.number().min(0).max(PAGE.waitSecondsMax).default(0).openapi({
    description: "Seconds to wait for the first message; `Prefer: wait=N` is a synonym",
  }),
  queue: z.int().min(0).max(1023).optional().openapi({ description: "Read one queue" }),
  key: Key.optional().openapi({ description: "Only messages of this ordering key" }),
  ...FilterQuery,
  format: z
    .enum(["json", "ndjson", "sse"])
    .optional()
    .openapi({ description: "Instead of Accept" }),
  lastEventId: z.string().optional().openapi({
    description: "As Last-Event-ID, for event streams that cannot set it",
  }),
});

const ReadHeaders = z.object({
  "Last-Event-ID": z.string().optional().openapi({ description: "Where an event stream goes on" }),
  "If-None-Match": z.string().optional(),
});

const text = (description: string) => ({ description, schema: { type: "string" as const } });
const nextCursor = { "Next-Cursor": text("Where to go on"), "Up-To-Date": text("?1 or ?0") };
const anyBody = { "*/*": { schema: { type: "string" as const, format: "binary" } } };
const eventStream = z.string().openapi({
  description: "Events `message`, `control`, `gap` and `reconnect`; `data` is JSON",
});

export function registerMessagesContract(app: App): void {
  app.openAPIRegistry.registerPath({
    operationId: "publishMessage",
    method: "post",
    path: "/v1/topics/{topic}/messages",
    tags: ["publishing"],
    summary: "Publish one message",
    description:
      "The body is the payload, of any content type, kept as given. `Message-Property-<name>` headers set properties: at most 128, 16 KiB together.",
    request: {
      params: TopicParams,
      headers: PublishHeaders,
      query: PublishQuery,
      body: { required: false, content: anyBody },
    },
    responses: {
      200: {
        description: "A repeat: stored by an earlier request, whose answer this is",
        headers: { Location: text("The message"), ...replayedHeader },
        content: { "application/json": { schema: Published } },
      },
      201: {
        description: "Stored, as the topic's `acks` promise",
        headers: { Location: text("The message") },
        content: { "application/json": { schema: z.union([Published, Scheduled]) } },
      },
      204: {
        description: "The same as 200 or 201, with `Prefer: return=minimal`",
        headers: {
          Location: text("The message"),
          "Preference-Applied": text("return=minimal"),
          ...replayedHeader,
        },
      },
      ...failures(
        "topic-not-found",
        "request-timeout",
        "id-in-use",
        "message-too-large",
        "unsupported-media-type",
        "message-type-mismatch",
        ...ONCE_FAILURES,
        "delay-too-long",
        "outcome-unknown",
      ),
    },
  });

  app.openAPIRegistry.registerPath({
    operationId: "publishBatch",
    method: "post",
    path: "/v1/topics/{topic}/messages/batch",
    tags: ["publishing"],
    summary: `Publish up to ${BATCH_MESSAGES_MAX} messages`,
    request: {
      params: TopicParams,
      headers: OnceHeaders,
      query: z.object({
        atomic: z
          .boolean()
          .default(false)
          .openapi({ description: "All or nothing: 201, or one problem" }),
      }),
      body: {
        required: true,
        content: {
          "application/json": { schema: Batch },
          "application/x-ndjson": {
            schema: z.string().openapi({ description: "A NewMessage a line" }),
          },
        },
      },
    },
    responses: {
      200: {
        description: "A result for each message, in order; with `atomic` a repeat",
        headers: replayedHeader,
        content: { "application/json": { schema: BatchResults } },
      },
      201: {
        description: "All were stored, with `atomic`",
        content: { "application/json": { schema: BatchResults } },
      },
      ...failures(
        "topic-not-found",
        "request-timeout",
        "id-in-use",
        "body-too-large",
        "message-too-large",
        "unsupported-media-type",
        "validation-failed",
        "message-type-mismatch",
        ...ONCE_FAILURES,
        "delay-too-long",
        "outcome-unknown",
      ),
    },
  });

  app.openAPIRegistry.registerPath({
    operationId: "readMessages",
    method: "get",
    path: "/v1/topics/{topic}/messages",
    tags: ["reading"],
    summary: "Read the log: a page, a long-poll, or an event stream by Accept",
    request: { params: TopicParams, query: ReadQuery, headers: ReadHeaders },
    responses: {
      200: {
        description: "Messages in log order",
        headers: { ...nextCursor, ETag: text("Of a full page away from the tail") },
        content: {
          "application/json": { schema: Page },
          "application/x-ndjson": {
            schema: z.string().openapi({ description: "A Message a line" }),
          },
          "text/event-stream": { schema: eventStream },
        },
      },
      204: {
        description: "Nothing within `wait`; or the topic of a resumed event stream is gone",
        headers: nextCursor,
      },
      304: { description: "The page is as `If-None-Match` has it" },
      ...failures(
        "invalid-cursor",
        "topic-not-found",
        "cursor-expired",
        "cursor-generation",
        "filter-invalid",
        "quota-exceeded",
        "data-damaged",
      ),
    },
  });

  app.openAPIRegistry.registerPath({
    operationId: "headMessages",
    method: "head",
    path: "/v1/topics/{topic}/messages",
    tags: ["reading"],
    summary: "Where the log ends now",
    request: { params: TopicParams, query: z.object({ queue: ReadQuery.shape.queue }) },
    responses: {
      200: { description: "The tail", headers: nextCursor },
      ...failures("topic-not-found"),
    },
  });
}
