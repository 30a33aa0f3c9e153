/**
 * Topics on the wire. Defaults and bounds are part of the contract.
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import { LIMITS } from "../storage/base/message.ts";
import { Name, Offset, Timestamp } from "./schemas.ts";

const QUEUES_MAX = 1024;
const DESCRIPTION_MAX = 1024;
const RETENTION_MS_MAX = 366 * 24 * 3_600_000;
const THREE_DAYS_MS = 259_200_000;

const Queues = z.int().min(1).max(QUEUES_MAX).openapi({ description: "May only grow" });
const MessageType = z.enum(["mixed", "normal", "fifo", "delay", "transaction"]).openapi({
  description:
    "Fixed for life: what the topic takes. `fifo`: only messages with a key; `normal`: only without; `delay`: only delayed ones; `transaction`: only those of transactions; `mixed`: all",
});
const Acks = z.enum(["durable", "replicated", "leader"]).openapi({
  description:
    "When a publish is answered: synced on every member, written on every member, or written by the leader",
});
const RetentionMs = z.int().min(1000).max(RETENTION_MS_MAX).nullable().openapi({
  description:
    "Age at which messages go; null, or more than the node keeps any, for as long as it does",
});
const RetentionBytes = z
  .int()
  .min(LIMITS.bodyBytes)
  .nullable()
  .openapi({ description: "Size at which the oldest messages go; null for no bound" });
const Description = z.string().max(DESCRIPTION_MAX);

export const TopicConfig = z
  .strictObject({
    queues: Queues.default(4),
    messageType: MessageType.default("mixed"),
    acks: Acks.default("durable"),
    retention: z
      .strictObject({
        timeMs: RetentionMs.default(THREE_DAYS_MS),
        bytes: RetentionBytes.default(null),
      })
      .default({ timeMs: THREE_DAYS_MS, bytes: null }),
    description: Description.default(""),
  })
  .openapi("TopicConfig", {
    example: {
      queues: 4,
      messageType: "mixed",
      acks: "durable",
      retention: { timeMs: THREE_DAYS_MS, bytes: null },
      description: "",
    },
  });

export const TopicPatch = z
  .strictObject({
    queues: Queues.optional(),
    messageType: MessageType.optional(),
    acks: Acks.optional(),
    retention: z
      .strictObject({ timeMs: RetentionMs.optional(), bytes: RetentionBytes.optional() })
      .optional(),
    description: Description.optional(),
  })
  .openapi("TopicPatch", { example: { retention: { timeMs: 86_400_000 } } });

export const Topic = z
  .object({
    name: Name.openapi({ example: "orders" }),
    generation: Offset.openapi({
      description: "Names this life of the topic: another one after delete and create",
    }),
    createdAt: Timestamp,
    queues: Queues,
    messageType: MessageType,
    acks: Acks,
    retention: z.object({ timeMs: RetentionMs, bytes: RetentionBytes }),
    description: z.string(),
    endOffsets: z
      .array(Offset)
      .openapi({ description: "By queue: the queueOffset the next message will get" }),
  })
  .openapi("Topic");

export const PurgedTopic = z
  .object({ purged: z.int().min(0).openapi({ description: "How many messages were removed" }) })
  .openapi("PurgedTopic", { example: { purged: 12 } });

export const TopicPage = z
  .object({ topics: z.array(Topic), nextPageToken: Name.optional() })
  .openapi("TopicPage");
