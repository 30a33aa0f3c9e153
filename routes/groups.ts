/**
 * Consumer groups: `/v1/groups` and `/v1/groups/{group}`.
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import type { Group as BrokerGroup, SubscriptionConfig } from "../src/broker/api.ts";
import { TidegateError } from "../storage/base/errors.ts";
import { failures, JSON_BODY } from "./contract.ts";
import { Group, GroupConfig, GroupPage, GroupPatch } from "./group_schemas.ts";
import { type App, json, noContent, operation } from "./operation.ts";
import type { Ports } from "./ports.ts";
import { GroupParams, PageQuery } from "./schemas.ts";
import { formatTimestamp } from "./timestamp.ts";

const tags = ["groups"];
const content = { "application/json": { schema: Group } };

export function groupRoutes(app: App, ports: Ports): void {
  operation(app, ports, {
    contract: {
      operationId: "listGroups",
      method: "get",
      path: "/v1/groups",
      tags,
      summary: "List consumer groups, in order of name",
      responses: {
        200: { description: "A page", content: { "application/json": { schema: GroupPage } } },
        ...failures(),
      },
    },
    input: { query: z.object(PageQuery) },
    async handle({ query, call }) {
      const page = await ports.broker.groups.list({ limit: query.limit, after: query.pageToken });
      return json(call, { groups: page.groups.map(groupJson), nextPageToken: page.next });
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "putGroup",
      method: "put",
      path: "/v1/groups/{group}",
      tags,
      summary: "Create a consumer group, or confirm that it is as described",
      responses: {
        200: { description: "It was there, with this very configuration", content },
        201: { description: "Created", content },
        ...failures(...JSON_BODY, "group-exists", "topic-not-found", "filter-invalid"),
      },
    },
    input: { params: GroupParams, json: GroupConfig },
    async handle({ params, json: config, call }) {
      const put = ports.broker.groups.put(params.group, config);
      const { created, group } = await put.catch(pointAtFilter(config.subscriptions));
      return json(call, groupJson(group), created ? 201 : 200);
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "getGroup",
      method: "get",
      path: "/v1/groups/{group}",
      tags,
      summary: "Show a consumer group",
      responses: { 200: { description: "The group", content }, ...failures("group-not-found") },
    },
    input: { params: GroupParams },
    async handle({ params, call }) {
      return json(call, groupJson(await ports.broker.groups.get(params.group)));
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "patchGroup",
      method: "patch",
      path: "/v1/groups/{group}",
      tags,
      summary: "Change a consumer group by merge patch (RFC 7396)",
      responses: {
        200: { description: "The group as it is now", content },
        ...failures(
          ...JSON_BODY,
          "group-not-found",
          "topic-not-found",
          "group-busy",
          "filter-invalid",
        ),
      },
    },
    input: { params: GroupParams, json: GroupPatch },
    mediaTypes: ["application/merge-patch+json", "application/json"],
    async handle({ params, json: change, call }) {
      const patch = ports.broker.groups.patch(params.group, change);
      const group = await patch.catch(pointAtFilter(change.subscriptions ?? []));
      return json(call, groupJson(group));
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "deleteGroup",
      method: "delete",
      path: "/v1/groups/{group}",
      tags,
      summary: "Delete a consumer group; its receipts become lost",
      responses: { 204: { description: "Deleted" }, ...failures("group-not-found") },
    },
    input: { params: GroupParams },
    async handle({ params, call }) {
      await ports.broker.groups.delete(params.group);
      return noContent(call);
    },
  });
}

/** Passes an error on; of a filter that cannot be used, with a pointer to it. */
function pointAtFilter(subscriptions: readonly SubscriptionConfig[]): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof TidegateError) || error.code !== "filter-invalid") throw error;
    const { message, details } = error;
    const at = subscriptions.findIndex(({ topic }) => topic === details["topic"]);
    const filter = subscriptions[at]?.filter;
    if (filter === undefined) throw error;
    const pointer = `/subscriptions/${at}/filter/${"tag" in filter ? "tag" : "sql"}`;
    const errors = [{ pointer, detail: message }];
    throw new TidegateError("filter-invalid", message, { ...details, errors }, error);
  };
}

export function groupJson(group: BrokerGroup): z.input<typeof Group> {
  return {
    name: group.name,
    subscriptions: group.subscriptions.map(({ topic, filter }) => ({ topic, filter })),
    mode: group.mode,
    leaseMs: group.leaseMs,
    maxAttempts: group.maxAttempts,
    backoff: backoffJson(group.backoff),
    startFrom: group.startFrom,
    maxInFlight: group.maxInFlight,
    generation: String(group.generation),
    createdAt: formatTimestamp(group.createdAt),
    paused: group.paused,
  };
}

function backoffJson(backoff: BrokerGroup["backoff"]): z.input<typeof Group>["backoff"] {
  if ("scheduleMs" in backoff) return { scheduleMs: [...backoff.scheduleMs] };
  const { initialMs, multiplier, maxMs } = backoff;
  return { initialMs, multiplier, maxMs };
}
