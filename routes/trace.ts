/**
 * What happened to a message: `/v1/topics/{topic}/messages/{id}/trace`.
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import type { Trace as BrokerTrace, TraceEvent as BrokerEvent } from "../src/broker/api.ts";
import { failures } from "./contract.ts";
import { MessageParams } from "./message.ts";
import { type App, json, operation } from "./operation.ts";
import type { Ports } from "./ports.ts";
import { MessageId, MessagesQuery, Name, Offset, PageToken, Timestamp } from "./schemas.ts";
import { formatTimestamp } from "./timestamp.ts";

const EVENTS = [
  "published",
  "scheduled",
  "prepared",
  "recalled",
  "checked",
  "parked",
  "committed",
  "rolledBack",
  "revealed",
  "delivered",
  "acked",
  "released",
  "extended",
  "returned",
  "deadLettered",
  "redriven",
  "dropped",
  "sought",
] as const satisfies readonly BrokerEvent["event"][];

const TraceEvent = z
  .object({
    event: z.enum(EVENTS).openapi({ example: "delivered" }),
    at: Timestamp,
    group: Name.optional().openapi({
      description: "The consumer group; absent of one that is deleted",
      example: "billing",
    }),
    deliverAt: Timestamp.optional(),
    transactionId: z.string().optional(),
    producerGroup: Name.optional(),
    by: z.enum(["producer", "check", "operator"]).optional().openapi({
      description: "Who decided the transaction",
    }),
    checkNumber: z.int().optional(),
    queueOffset: Offset.optional().openapi({ description: "Where it became visible" }),
    attempt: z.int().min(1).optional(),
    consumerId: z.string().optional(),
    leaseUntil: Timestamp.optional(),
    readyAt: Timestamp.optional().openapi({ description: "When it may be delivered again" }),
    cause: z.enum(["attempts", "rejected"]).optional(),
    reason: z.string().optional().openapi({ description: "The consumer's words" }),
    attempts: z.int().optional(),
    position: Offset.optional().openapi({ description: "The queueOffset the group goes on at" }),
  })
  .openapi("TraceEvent");

export const Trace = z
  .object({
    id: MessageId,
    topic: Name.openapi({ example: "orders" }),
    queueId: z.int().min(0).openapi({ example: 3 }),
    queueOffset: Offset.optional().openapi({ description: "Absent while it is not visible" }),
    since: Timestamp.openapi({ description: "What was logged before is gone" }),
    events: z.array(TraceEvent).openapi({ description: "The oldest first" }),
    nextPageToken: PageToken.optional().openapi({
      description: "There may be more: a page that looked at much ends early, even empty",
    }),
  })
  .openapi("Trace");

const TraceQuery = z.object({
  limit: MessagesQuery.limit,
  pageToken: PageToken.optional().openapi({
    param: { name: "pageToken", in: "query", description: "`nextPageToken` of the page before" },
  }),
});

export function traceRoutes(app: App, ports: Ports): void {
  operation(app, ports, {
    contract: {
      operationId: "traceMessage",
      method: "get",
      path: "/v1/topics/{topic}/messages/{id}/trace",
      tags: ["reading"],
      summary: "Tell what happened to a message, oldest first: the newest with this id",
      description:
        "From the message's records in the log, as far back as that reaches. Also of a message that nobody may see: scheduled, recalled, or of a transaction. That a lease ended is no record: the next delivery or the dead letter tells. What a group's filter passed over leaves no trace.",
      responses: {
        200: {
          description: "A page of events",
          content: { "application/json": { schema: Trace } },
        },
        ...failures("topic-not-found", "message-not-found", "invalid-cursor", "cursor-generation"),
      },
    },
    input: { params: z.object(MessageParams.shape), query: TraceQuery },
    async handle({ params: { topic, id }, query: { limit, pageToken: after }, call }) {
      const trace = await ports.broker.messages.trace({ topic, id, limit, after });
      return json(call, traceJson(trace));
    },
  });
}

function traceJson(trace: BrokerTrace): z.input<typeof Trace> {
  const { id, topic, queueId, queueOffset, since, events, next } = trace;
  return {
    id,
    topic,
    queueId,
    queueOffset: text(queueOffset),
    since: formatTimestamp(since),
    events: events.map(eventJson),
    nextPageToken: next,
  };
}

function eventJson({ event, at, group, ...told }: BrokerEvent): z.input<typeof TraceEvent> {
  return {
    event,
    at: formatTimestamp(at),
    group,
    ...told,
    deliverAt: time(told.deliverAt),
    queueOffset: text(told.queueOffset),
    leaseUntil: time(told.leaseUntil),
    readyAt: time(told.readyAt),
    position: text(told.position),
  };
}

function time(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : formatTimestamp(ms);
}

function text(offset: number | undefined): string | undefined {
  return offset === undefined ? undefined : String(offset);
}
