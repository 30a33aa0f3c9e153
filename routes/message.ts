/**
 * One message by its id: `/v1/topics/{topic}/messages/{id}`, GET to show it and
 * DELETE to recall it while it is scheduled.
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import { failures } from "./contract.ts";
import { messageJson } from "./message_json.ts";
import { type App, noContent, operation } from "./operation.ts";
import { PAGE_VARY } from "./page_cache.ts";
import type { Ports } from "./ports.ts";
import { Message, MessageId, ScheduledMessage, TopicParams } from "./schemas.ts";

export const MessageParams = TopicParams.extend({
  id: MessageId.openapi({
    param: { name: "id", in: "path", description: "The message's id" },
    example: "1Yt3RkQV1StGXR8_Z5jdH",
  }),
});

export function messageRoutes(app: App, ports: Ports): void {
  operation(app, ports, {
    contract: {
      operationId: "getMessage",
      method: "get",
      path: "/v1/topics/{topic}/messages/{id}",
      tags: ["reading"],
      summary: "Show one message: the newest with this id",
      responses: {
        200: {
          description: "The message; a delayed one that is not due yet has no place in its queue",
          content: { "application/json": { schema: z.union([Message, ScheduledMessage]) } },
        },
        ...failures("topic-not-found", "message-not-found", "data-damaged"),
      },
    },
    input: { params: z.object(MessageParams.shape) },
    async handle({ params, call }) {
      const stored = await ports.broker.messages.get(params.topic, params.id);
      // A message never changes, but a newer one may take its id.
      const headers = {
        "content-type": "application/json",
        "cache-control": "no-cache",
        vary: PAGE_VARY,
      };
      return new Response(messageJson(stored), { headers: call.headers(headers) });
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "recallMessage",
      method: "delete",
      path: "/v1/topics/{topic}/messages/{id}",
      tags: ["publishing"],
      summary: "Recall a delayed message that is not delivered yet: the newest with this id",
      responses: {
        204: { description: "Nobody will see it" },
        ...failures("topic-not-found", "message-not-found", "already-delivered"),
      },
    },
    input: { params: z.object(MessageParams.shape) },
    async handle({ params, call }) {
      await ports.broker.messages.recall(params.topic, params.id);
      return noContent(call);
    },
  });
}
