/**
 * One message by its id: `GET /v1/topics/{topic}/messages/{id}`.
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import { failures } from "./contract.ts";
import { messageJson } from "./message_json.ts";
import { type App, operation } from "./operation.ts";
import { PAGE_VARY } from "./page_cache.ts";
import type { Ports } from "./ports.ts";
import { Message, MessageId, TopicParams } from "./schemas.ts";

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
          description: "The message",
          content: { "application/json": { schema: Message } },
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
}
