/**
 * Producer groups: `/v1/producers/{producerGroup}`, and the checks their
 * producers receive.
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import type { ProducerGroup as BrokerProducerGroup } from "../src/broker/api.ts";
import { failures, JSON_BODY } from "./contract.ts";
import { type App, json, noContent, operation } from "./operation.ts";
import type { Ports } from "./ports.ts";
import { PageQuery } from "./schemas.ts";
import { formatTimestamp } from "./timestamp.ts";
import {
  Checks,
  ProducerGroup,
  ProducerGroupConfig,
  ProducerGroupPage,
  ProducerGroupParams,
  ProducerGroupPatch,
  ReceiveChecks,
} from "./transaction_schemas.ts";
import { messagesJson } from "./transactions.ts";

const tags = ["transactions"];
const content = { "application/json": { schema: ProducerGroup } };
const path = "/v1/producers/{producerGroup}";

export function producerRoutes(app: App, ports: Ports): void {
  operation(app, ports, {
    contract: {
      operationId: "listProducerGroups",
      method: "get",
      path: "/v1/producers",
      tags,
      summary: "List producer groups, in order of name, without their secrets",
      responses: {
        200: {
          description: "A page",
          content: { "application/json": { schema: ProducerGroupPage } },
        },
        ...failures(),
      },
    },
    input: { query: z.object(PageQuery) },
    async handle({ query, call }) {
      const { producers } = ports.broker.transactions;
      const page = await producers.list({ limit: query.limit, after: query.pageToken });
      const producerGroups = page.producerGroups.map(producerGroupJson);
      return json(call, { producerGroups, nextPageToken: page.next });
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "putProducerGroup",
      method: "put",
      path,
      tags,
      summary: "Create a producer group, or confirm that it is as described",
      responses: {
        200: { description: "It was there, with this very configuration", content },
        201: { description: "Created", content },
        ...failures(...JSON_BODY, "producer-group-exists", "check-url-refused"),
      },
    },
    input: { params: ProducerGroupParams, json: ProducerGroupConfig },
    bodyOptional: true,
    async handle({ params, json: config, call }) {
      const { producers } = ports.broker.transactions;
      const { created, producerGroup } = await producers.put(params.producerGroup, config);
      return json(call, producerGroupJson(producerGroup), created ? 201 : 200);
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "getProducerGroup",
      method: "get",
      path,
      tags,
      summary: "Show a producer group, without its secret",
      responses: {
        200: { description: "The producer group", content },
        ...failures("producer-group-not-found"),
      },
    },
    input: { params: ProducerGroupParams },
    async handle({ params, call }) {
      const { producers } = ports.broker.transactions;
      return json(call, producerGroupJson(await producers.get(params.producerGroup)));
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "patchProducerGroup",
      method: "patch",
      path,
      tags,
      summary: "Change a producer group by merge patch (RFC 7396); null takes a member away",
      responses: {
        200: { description: "The producer group as it is now", content },
        ...failures(...JSON_BODY, "producer-group-not-found", "check-url-refused"),
      },
    },
    input: { params: ProducerGroupParams, json: ProducerGroupPatch },
    mediaTypes: ["application/merge-patch+json", "application/json"],
    async handle({ params, json: change, call }) {
      const { producers } = ports.broker.transactions;
      return json(call, producerGroupJson(await producers.patch(params.producerGroup, change)));
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "deleteProducerGroup",
      method: "delete",
      path,
      tags,
      summary: "Delete a producer group; its transactions stay",
      responses: { 204: { description: "Deleted" }, ...failures("producer-group-not-found") },
    },
    input: { params: ProducerGroupParams },
    async handle({ params, call }) {
      await ports.broker.transactions.producers.delete(params.producerGroup);
      return noContent(call);
    },
  });

  checksRoute(app, ports);
}

function checksRoute(app: App, ports: Ports): void {
  operation(app, ports, {
    contract: {
      operationId: "receiveChecks",
      method: "post",
      path: `${path}/checks`,
      tags,
      summary: "Take transactions whose outcome is asked for, waiting for the first",
      responses: {
        200: {
          description:
            "Answered by commit or rollback of each; asked again after its interval otherwise",
          content: { "application/json": { schema: Checks } },
        },
        204: { description: "No check was due in time" },
        ...failures(...JSON_BODY, "quota-exceeded"),
      },
    },
    input: { params: ProducerGroupParams, json: ReceiveChecks },
    bodyOptional: true,
    async handle({ params, json: wanted, call, request }) {
      call.held = wanted.waitMs > 0;
      const hold = ports.holds.begin(call, request);
      try {
        const { transactions } = ports.broker;
        const { signal } = hold;
        const checks = await transactions.receiveChecks(params.producerGroup, wanted, { signal });
        if (checks.length === 0) return noContent(call);
        return json(call, {
          checks: checks.map(({ transactionId, messages, checkNumber }) => ({
            transactionId,
            messages: messagesJson(messages),
            checkNumber,
          })),
        });
      } finally {
        hold.end();
      }
    },
  });
}

function producerGroupJson(group: BrokerProducerGroup): z.input<typeof ProducerGroup> {
  return {
    name: group.name,
    checkUrl: group.checkUrl,
    checkSecretSet: group.checkSecretSet,
    firstCheckMs: group.firstCheckMs,
    checkIntervalMs: group.checkIntervalMs,
    maxChecks: group.maxChecks,
    generation: String(group.generation),
    createdAt: formatTimestamp(group.createdAt),
  };
}
