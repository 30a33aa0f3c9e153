/**
 * Topics: `/v1/topics` and `/v1/topics/{topic}`.
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import type {
  Topic as BrokerTopic,
  TopicConfig as BrokerTopicConfig,
  TopicPatch as BrokerTopicPatch,
} from "../src/broker/api.ts";
import { failures, JSON_BODY } from "./contract.ts";
import { type App, json, noContent, operation } from "./operation.ts";
import type { Ports } from "./ports.ts";
import { PageQuery, TopicParams } from "./schemas.ts";
import { formatTimestamp } from "./timestamp.ts";
import { PurgedTopic, Topic, TopicConfig, TopicPage, TopicPatch } from "./topic_schemas.ts";

const tags = ["topics"];
const content = { "application/json": { schema: Topic } };

const DeleteQuery = z.object({
  force: z
    .enum(["true", "false"])
    .default("false")
    .openapi({
      param: {
        name: "force",
        in: "query",
        description: "Roll back transactions that are not decided and have messages of the topic",
      },
    }),
});

export function topicRoutes(app: App, ports: Ports): void {
  operation(app, ports, {
    contract: {
      operationId: "listTopics",
      method: "get",
      path: "/v1/topics",
      tags,
      summary: "List topics, in order of name",
      responses: {
        200: { description: "A page", content: { "application/json": { schema: TopicPage } } },
        ...failures(),
      },
    },
    input: { query: z.object(PageQuery) },
    async handle({ query, call }) {
      const page = await ports.broker.topics.list({ limit: query.limit, after: query.pageToken });
      return json(call, { topics: page.topics.map(topicJson), nextPageToken: page.next });
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "putTopic",
      method: "put",
      path: "/v1/topics/{topic}",
      tags,
      summary: "Create a topic, or confirm that it is as described",
      responses: {
        200: { description: "It was there, with this very configuration", content },
        201: { description: "Created", content },
        ...failures(...JSON_BODY, "topic-exists"),
      },
    },
    input: { params: TopicParams, json: TopicConfig },
    bodyOptional: true,
    async handle({ params, json: config, call }) {
      const { created, topic } = await ports.broker.topics.put(params.topic, config);
      return json(call, topicJson(topic), created ? 201 : 200);
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "getTopic",
      method: "get",
      path: "/v1/topics/{topic}",
      tags,
      summary: "Show a topic",
      responses: { 200: { description: "The topic", content }, ...failures("topic-not-found") },
    },
    input: { params: TopicParams },
    async handle({ params, call }) {
      return json(call, topicJson(await ports.broker.topics.get(params.topic)));
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "patchTopic",
      method: "patch",
      path: "/v1/topics/{topic}",
      tags,
      summary: "Change a topic by merge patch (RFC 7396)",
      responses: {
        200: { description: "The topic as it is now", content },
        ...failures(...JSON_BODY, "topic-not-found", "immutable-field", "key-order"),
      },
    },
    input: { params: TopicParams, json: TopicPatch },
    mediaTypes: ["application/merge-patch+json", "application/json"],
    async handle({ params, json: patch, call }) {
      // JSON has no undefined: a member that is there has a value.
      const change = patch as BrokerTopicPatch;
      return json(call, topicJson(await ports.broker.topics.patch(params.topic, change)));
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "deleteTopic",
      method: "delete",
      path: "/v1/topics/{topic}",
      tags,
      summary: "Delete a topic and its messages",
      responses: { 204: { description: "Deleted" }, ...failures("topic-not-found", "topic-busy") },
    },
    input: { params: TopicParams, query: DeleteQuery },
    async handle({ params, query, call }) {
      await ports.broker.topics.delete(params.topic, { force: query.force === "true" });
      return noContent(call);
    },
  });

  purging(app, ports);
}

/** Removing what is stored, apart from the topic itself. */
function purging(app: App, ports: Ports): void {
  operation(app, ports, {
    contract: {
      operationId: "purgeTopic",
      method: "post",
      path: "/v1/topics/{topic}/purge",
      tags,
      summary: "Remove the messages that are stored in a topic now",
      description:
        "Groups go on behind them; what they hold of them is void. Dead letters stay, and so do messages that are scheduled or wait for a transaction's decision.",
      responses: {
        202: {
          description: "They are gone for readers; their bytes go with their segments",
          content: { "application/json": { schema: PurgedTopic } },
        },
        ...failures("topic-not-found"),
      },
    },
    input: { params: TopicParams },
    async handle({ params, call }) {
      const purged = await ports.broker.topics.purge(params.topic);
      return json(call, { purged } satisfies z.input<typeof PurgedTopic>, 202);
    },
  });
}

/** The configuration's members, then what GET adds. */
function topicJson(topic: BrokerTopic): z.input<typeof Topic> {
  const { name, generation, createdAt, endOffsets } = topic;
  return {
    name,
    ...configJson(topic),
    generation: String(generation),
    createdAt: formatTimestamp(createdAt),
    endOffsets: endOffsets.map(String),
  };
}

/** Member by member: what the broker keeps beside them is no part of the contract. */
function configJson({ queues, messageType, acks, retention, description }: BrokerTopicConfig) {
  const { timeMs, bytes } = retention;
  return { queues, messageType, acks, retention: { timeMs, bytes }, description };
}
