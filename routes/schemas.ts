/**
 * The parts of the contract that several operations share.
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import { CODES, type ErrorCode } from "../storage/base/errors.ts";
import { MESSAGE_ID } from "./message_id.ts";
import { NAME } from "./names.ts";

export const Name = z.string().regex(NAME);

export const TopicParams = z.object({
  topic: Name.openapi({
    param: { name: "topic", in: "path", description: "The topic's name" },
    example: "orders",
  }),
});

export const GroupParams = z.object({
  group: Name.openapi({
    param: { name: "group", in: "path", description: "The consumer group's name" },
    example: "billing",
  }),
});

export const Timestamp = z.iso
  .datetime()
  .openapi({ description: "RFC 3339, UTC, milliseconds", example: "2026-11-22T08:00:00.123Z" });

export const Offset = z
  .string()
  .regex(/^\d{1,16}$/)
  .openapi({ description: "A 64-bit number as decimal digits", example: "1234" });

export const Cursor = z.string().min(1).openapi({
  description: "An opaque position; pass it on as it came",
  example: "AAAAAAAAAAEAAwAAAAAAAATS",
});

export const MessageId = z.string().regex(MESSAGE_ID).openapi({ example: "1Yt3RkQV1StGXR8_Z5jdH" });

const Fault = z
  .object({
    pointer: z.string().openapi({ description: "JSON pointer", example: "/retention/timeMs" }),
    detail: z.string(),
  })
  .openapi("Fault");

export const Problem = z
  .looseObject({
    type: z.string().openapi({ example: "/problems/topic-not-found" }),
    title: z.string().openapi({ example: CODES["topic-not-found"].title }),
    status: z.int().openapi({ example: 404 }),
    detail: z.string().openapi({ example: 'Cannot find the topic "orders"' }),
    instance: z.string().optional().openapi({ example: "/v1/topics/orders" }),
    code: z
      .enum(Object.keys(CODES) as [ErrorCode, ...ErrorCode[]])
      .openapi({ example: "topic-not-found" }),
    retryable: z
      .boolean()
      .openapi({ description: "The same request may succeed later, unchanged", example: false }),
    applied: z
      .union([z.literal(false), z.literal("unknown")])
      .openapi({ description: "Whether the request may have taken effect", example: false }),
    traceId: z.string().openapi({ example: "4bf92f3577b34da6a3ce929d0e0e4736" }),
    errors: z.array(Fault).optional(),
  })
  .openapi("Problem");

export const Message = z
  .object({
    id: MessageId,
    topic: Name.openapi({ example: "orders" }),
    queueId: z.int().min(0).openapi({ example: 3 }),
    queueOffset: Offset,
    cursor: Cursor.openapi({ description: "The position after this message in its queue" }),
    key: z.string().optional().openapi({ example: "order-17" }),
    tag: z.string().optional().openapi({ example: "created" }),
    index: z
      .array(z.string())
      .optional()
      .openapi({ example: ["cust-9"] }),
    properties: z
      .record(z.string(), z.string())
      .optional()
      .openapi({ example: { region: "eu" } }),
    contentType: z.string().optional().openapi({ example: "application/json" }),
    traceparent: z.string().optional(),
    tracestate: z.string().optional(),
    data: z
      .unknown()
      .optional()
      .openapi({
        description: "The body, when it is JSON, as it was published",
        example: { total: 12 },
      }),
    text: z.string().optional().openapi({ description: "The body, when it is text" }),
    dataBase64: z.string().optional().openapi({ description: "Any other body" }),
    publishedAt: Timestamp,
    deliverAt: Timestamp.optional(),
  })
  .openapi("Message");

/** A whole number in the query. */
function wholeNumber(
  name: string,
  rule: { min: number; max: number; default: number; description: string },
) {
  const { min: minimum, max: maximum, default: byDefault, description } = rule;
  return z
    .string()
    .regex(/^\d{1,9}$/, "must be a whole number")
    .transform(Number)
    .pipe(z.int().min(minimum).max(maximum))
    .default(byDefault)
    .openapi({
      param: { name, in: "query", description },
      type: "integer",
      minimum,
      maximum,
      default: byDefault,
      example: byDefault,
    });
}

const limit = wholeNumber("limit", {
  min: 1,
  max: 1000,
  default: 100,
  description: "How many at most",
});

export const ScheduledMessage = Message.omit({ queueOffset: true, cursor: true })
  .extend({
    state: z.literal("scheduled"),
    publishedAt: Timestamp.openapi({ description: "When it was stored" }),
    deliverAt: Timestamp,
  })
  .openapi("ScheduledMessage");

export const FilterQuery = {
  filter: z.string().optional().openapi({
    description:
      "Only messages with one of these tags: `a || b`, or `*` for all; at most 4096 characters. Not together with `sql`",
    example: "created || paid",
  }),
  sql: z.string().optional().openapi({
    description:
      "Only messages of which this SQL condition is true, over their properties, `TAGS` and `KEY`: AND OR NOT, = <> < <= > >=, BETWEEN, IN, IS NULL, LIKE, CONTAINS, STARTSWITH, ENDSWITH; at most 4096 characters, nested 64 deep. Names that are no plain words stand in double quotes. Not together with `filter`",
    example: "total > 5 AND region IN ('eu', 'us')",
  }),
};

export const PageQuery = {
  limit,
  pageToken: Name.optional().openapi({
    param: { name: "pageToken", in: "query", description: "`nextPageToken` of the page before" },
  }),
};

/** Of pages of messages. */
export const MessagesQuery = {
  limit,
  maxBytes: wholeNumber("maxBytes", {
    min: 1,
    max: 16 * 1024 * 1024,
    default: 1024 * 1024,
    description: "The page ends before the message that would exceed it, but holds at least one",
  }),
};

/** Where a page of messages ended; the broker's own words. */
export const PageToken = z.string().regex(/^[\w.~:=-]{1,1024}$/);
