/**
 * Leased consumption: `/v1/groups/{group}/receive`, `settle` and `lag`.
 *
 * A receive that is given up by its client takes its leases back: the broker
 * looks at the signal last of all, so the signal goes with every receive, also
 * with one that does not wait.
 *
 * @module
 */

import type { z } from "@hono/zod-openapi";
import type { SettleRequest } from "../src/broker/api.ts";
import { failures, JSON_BODY } from "./contract.ts";
import { Deliveries, Lag, Receive, Settle, Settled } from "./group_schemas.ts";
import { messagesResponse } from "./message_list.ts";
import { type App, json, noContent, operation } from "./operation.ts";
import type { Ports } from "./ports.ts";
import { GroupParams } from "./schemas.ts";
import { formatTimestamp } from "./timestamp.ts";

const tags = ["consuming"];

export function consumeRoutes(app: App, ports: Ports): void {
  operation(app, ports, {
    contract: {
      operationId: "receiveMessages",
      method: "post",
      path: "/v1/groups/{group}/receive",
      tags,
      summary: "Lease messages, waiting for the first",
      responses: {
        200: {
          description: "Leased to the caller until `leaseUntil`",
          content: { "application/json": { schema: Deliveries } },
        },
        204: { description: "Nothing became ready in time" },
        ...failures(...JSON_BODY, "group-not-found", "topic-not-found", "quota-exceeded"),
      },
    },
    input: { params: GroupParams, json: Receive },
    bodyOptional: true,
    async handle({ params, json: wanted, call, request }) {
      call.held = wanted.waitMs > 0;
      const hold = ports.holds.begin(call, request);
      try {
        const receive = { group: params.group, ...wanted };
        const deliveries = await ports.broker.groups.receive(receive, { signal: hold.signal });
        return deliveries.length === 0 ? noContent(call) : messagesResponse(call, deliveries);
      } finally {
        hold.end();
      }
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "settleMessages",
      method: "post",
      path: "/v1/groups/{group}/settle",
      tags,
      summary: "Acknowledge, release, extend or reject leased messages",
      responses: {
        200: {
          description: "One result per receipt: ack, release, extend, reject, in that order",
          content: { "application/json": { schema: Settled } },
        },
        ...failures(...JSON_BODY, "group-not-found"),
      },
    },
    input: { params: GroupParams, json: Settle },
    async handle({ params, json: request, call }) {
      return json(call, await settled(ports, params.group, request));
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "getLag",
      method: "get",
      path: "/v1/groups/{group}/lag",
      tags,
      summary: "How far a consumer group is behind",
      responses: {
        200: {
          description: "By topic and queue",
          content: { "application/json": { schema: Lag } },
        },
        ...failures("group-not-found"),
      },
    },
    input: { params: GroupParams },
    async handle({ params, call }) {
      return json(call, await lagOf(ports, params.group));
    },
  });
}

async function settled(
  { broker }: Ports,
  group: string,
  request: SettleRequest,
): Promise<z.input<typeof Settled>> {
  const results = await broker.groups.settle(group, request);
  return {
    results: results.map((result) => {
      const { receipt, status, leaseUntil } = result;
      if (leaseUntil === undefined) return { receipt, status };
      return { receipt, status, leaseUntil: formatTimestamp(leaseUntil) };
    }),
  };
}

async function lagOf({ broker }: Ports, group: string): Promise<z.input<typeof Lag>> {
  const { topics } = await broker.groups.lag(group);
  return {
    group,
    topics: topics.map(({ topic, queues, total }) => ({
      topic,
      queues: queues.map((queue) => ({
        queueId: queue.queueId,
        committedOffset: String(queue.committedOffset),
        endOffset: String(queue.endOffset),
        ready: queue.ready,
        leased: queue.leased,
        oldestAgeMs: queue.oldestAgeMs,
        expiredUnread: queue.expiredUnread,
      })),
      total,
    })),
  };
}
