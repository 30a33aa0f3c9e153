/**
 * Operating consumer groups on the wire: seek, peek, consumers, dead letters.
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import { Cursor, Message, MessageId, Name, Offset, PageToken, Timestamp } from "./schemas.ts";
import { parseTimestamp } from "./timestamp.ts";

const IDS_MAX = 10_000;

const Time = z
  .string()
  .refine((text) => parseTimestamp(text) !== undefined, "must be RFC 3339")
  .openapi({ description: "RFC 3339", example: "2026-11-22T08:00:00Z" });

const Position = z
  .union(
    [
      z.enum(["earliest", "latest"]),
      z.strictObject({ time: Time }),
      z.strictObject({ cursor: Cursor.max(4096) }),
    ],
    { error: "must be `earliest`, `latest`, {`time`: RFC 3339} or {`cursor`}" },
  )
  .openapi({
    description:
      "What became visible at `time` or later; what lies behind `cursor`, of a queue or the topic",
  });

export const Seek = z
  .strictObject({ topic: Name.openapi({ example: "orders" }), to: Position })
  .openapi("Seek", { example: { topic: "orders", to: { time: "2026-11-22T08:00:00Z" } } });

export const Sought = z
  .object({
    queues: z.array(
      z.object({
        queueId: z.int().min(0),
        position: Offset.openapi({ description: "The queueOffset that is delivered next" }),
      }),
    ),
  })
  .openapi("Sought", { example: { queues: [{ queueId: 0, position: "1234" }] } });

export const Peeked = z
  .object({
    messages: z.array(
      Message.extend({
        attempt: z.int().min(1).openapi({ description: "Which its next delivery is" }),
      }),
    ),
  })
  .openapi("Peeked");

export const Consumers = z
  .object({
    consumers: z.array(
      z.object({
        consumerId: z
          .string()
          .optional()
          .openapi({ description: "Absent: those who did not name themselves, together" }),
        waiting: z.int().min(0).openapi({ description: "Receives it has waiting" }),
        inFlight: z.int().min(0).openapi({ description: "Leases it holds" }),
      }),
    ),
  })
  .openapi("Consumers", {
    example: { consumers: [{ consumerId: "worker-1", waiting: 1, inFlight: 32 }] },
  });

const DamagedMessage = z
  .object({ topic: Name, queueId: z.int().min(0), queueOffset: Offset })
  .openapi("DamagedMessage", { description: "Where a message lies whose bytes are damaged" });

const DeadLetter = z
  .object({
    message: z.union([Message, DamagedMessage]),
    cause: z
      .enum(["attempts", "rejected"])
      .openapi({ description: "Its attempts were used up, or a consumer rejected it" }),
    reason: z.string().openapi({ description: "The consumer's words; may be empty" }),
    attempts: z.int().min(0).openapi({ description: "How often it was delivered" }),
    deadAt: Timestamp,
  })
  .openapi("DeadLetter");

export const DeadLetterPage = z
  .object({ deadLetters: z.array(DeadLetter), nextPageToken: PageToken.optional() })
  .openapi("DeadLetterPage");

const ids = z
  .array(MessageId)
  .max(IDS_MAX)
  .optional()
  .openapi({ description: "Those of messages with these ids; all when absent" });

export const Redrive = z
  .strictObject({
    ids,
    toTopic: Name.optional().openapi({
      description: "Publish copies to this topic, instead of delivering to the group again",
    }),
  })
  .openapi("Redrive", { example: { ids: ["1Yt3RkQV1StGXR8_Z5jdH"] } });

export const Redriven = z
  .object({ redriven: z.int().min(0) })
  .openapi("Redriven", { example: { redriven: 1 } });

export const Purge = z.strictObject({ ids }).openapi("PurgeDeadLetters", {
  example: { ids: ["1Yt3RkQV1StGXR8_Z5jdH"] },
});

export const Purged = z
  .object({ purged: z.int().min(0) })
  .openapi("Purged", { example: { purged: 1 } });
