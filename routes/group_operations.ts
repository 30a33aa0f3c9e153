/**
 * Operating a consumer group: `/v1/groups/{group}/pause`, `resume`, `seek`,
 * `peek` and `consumers`.
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import type { Start } from "../src/broker/api.ts";
import { failures, JSON_BODY } from "./contract.ts";
import { Consumers, Peeked, Seek, Sought } from "./group_operation_schemas.ts";
import { Group } from "./group_schemas.ts";
import { groupJson } from "./groups.ts";
import { messagesResponse } from "./message_list.ts";
import { type App, json, operation } from "./operation.ts";
import type { Ports } from "./ports.ts";
import { GroupParams, MessagesQuery, Name } from "./schemas.ts";
import { parseTimestamp } from "./timestamp.ts";

const tags = ["groups"];

const PeekQuery = z.object({
  ...MessagesQuery,
  topic: Name.optional().openapi({
    param: { name: "topic", in: "query", description: "Only from this subscription" },
  }),
});

export function groupOperationRoutes(app: App, ports: Ports): void {
  pausing(app, ports, { paused: true });
  pausing(app, ports, { paused: false });

  operation(app, ports, {
    contract: {
      operationId: "seekGroup",
      method: "post",
      path: "/v1/groups/{group}/seek",
      tags,
      summary: "Set where a consumer group goes on in a topic",
      description:
        "Leases and retries there are void, and their receipts lost; attempts begin at 1 again. Dead letters stay.",
      responses: {
        200: {
          description: "By queue, where it goes on",
          content: { "application/json": { schema: Sought } },
        },
        ...failures(
          ...JSON_BODY,
          "group-not-found",
          "topic-not-found",
          "invalid-cursor",
          "cursor-expired",
          "cursor-generation",
        ),
      },
    },
    input: { params: GroupParams, json: Seek },
    async handle({ params, json: { topic, to }, call }) {
      const queues = await ports.broker.groups.seek(params.group, { topic, to: startOf(to) });
      return json(call, {
        queues: queues.map(({ queueId, position }) => ({ queueId, position: String(position) })),
      } satisfies z.input<typeof Sought>);
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "peekMessages",
      method: "get",
      path: "/v1/groups/{group}/peek",
      tags,
      summary: "Show what a receive would be given now, without leasing it",
      responses: {
        200: {
          description: "Nothing has changed by looking",
          content: { "application/json": { schema: Peeked } },
        },
        ...failures("group-not-found", "topic-not-found"),
      },
    },
    input: { params: GroupParams, query: PeekQuery },
    async handle({ params, query, call }) {
      return messagesResponse(call, await ports.broker.groups.peek(params.group, query));
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "listConsumers",
      method: "get",
      path: "/v1/groups/{group}/consumers",
      tags,
      summary: "List who waits for messages or holds leases, as far as this node knows",
      responses: {
        200: {
          description: "By consumerId, those without one last",
          content: { "application/json": { schema: Consumers } },
        },
        ...failures("group-not-found"),
      },
    },
    input: { params: GroupParams },
    async handle({ params, call }) {
      const consumers = await ports.broker.groups.consumers(params.group);
      return json(call, {
        consumers: consumers.map(({ consumerId, waiting, inFlight }) => ({
          consumerId,
          waiting,
          inFlight,
        })),
      } satisfies z.input<typeof Consumers>);
    },
  });
}

function pausing(app: App, ports: Ports, { paused }: { paused: boolean }): void {
  const verb = paused ? "pause" : "resume";
  operation(app, ports, {
    contract: {
      operationId: `${verb}Group`,
      method: "post",
      path: `/v1/groups/{group}/${verb}`,
      tags,
      summary: paused
        ? "Deliver nothing to a consumer group until it is resumed"
        : "Deliver to a consumer group again",
      responses: {
        200: {
          description: "The group as it is now",
          content: { "application/json": { schema: Group } },
        },
        ...failures("group-not-found"),
      },
    },
    input: { params: GroupParams },
    async handle({ params, call }) {
      return json(call, groupJson(await ports.broker.groups[verb](params.group)));
    },
  });
}

function startOf(to: z.output<typeof Seek>["to"]): Start {
  if (typeof to === "string") return { kind: to };
  if ("cursor" in to) return { kind: "cursor", cursor: to.cursor };
  return { kind: "time", time: parseTimestamp(to.time) ?? 0 };
}
