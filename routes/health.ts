/**
 * How the node is: `/healthz`, `/readyz`, `/v1/cluster`.
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import { failures, onlyFailures } from "./contract.ts";
import { type App, json, operation } from "./operation.ts";
import type { ClusterStatus } from "../src/broker/api.ts";
import type { Ports } from "./ports.ts";
import { notImplemented } from "./problem.ts";
import { Name, Offset } from "./schemas.ts";

const tags = ["node"];

const PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8";

const Health = z.object({ status: z.literal("ok") }).openapi("Health");

const Readiness = z
  .object({
    status: z.enum(["ready", "degraded", "draining"]).openapi({
      description:
        "`degraded`: serving, but a range of the log is damaged, or nothing is published for want of room on the disk, or a broker group has no leader",
    }),
    code: z.literal("draining").optional(),
    damaged: z.array(z.object({ from: Offset, to: Offset })),
    groups: z
      .array(z.object({ id: z.string(), leader: z.string().optional() }))
      .optional()
      .openapi({
        description: "Of a gateway: the broker groups, each with its leader, if it has one",
      }),
    disk: z.enum(["high", "full", "stuck"]).optional().openapi({
      description:
        "The disk fills up. `high`: a warning; `full`: publishes are answered 507, all else goes on; `stuck`: nothing can be stored until there is room",
    }),
    clockSkewMs: z.int().optional().openapi({
      description:
        "A warning: the wall clock was set since the node started, and node time is ahead of it by so much. Delays are kept; times of day are off until a restart",
    }),
  })
  .openapi("Readiness");

const Cluster = z
  .object({
    mode: z.enum(["serve", "cluster"]),
    nodes: z.array(
      z.object({
        id: z.string(),
        group: z.string(),
        alive: z.boolean(),
        role: z.enum(["leader", "follower", "learner"]),
        durableEnd: Offset.optional(),
      }),
    ),
    groups: z.array(
      z.object({
        id: z.string(),
        number: z.int().min(0).optional(),
        leader: z.string().optional(),
        epoch: z.int().min(0),
        syncSet: z.array(z.string()).optional(),
        minSync: z.int().min(1).optional(),
        confirmOffset: Offset.optional(),
      }),
    ),
    placement: z.array(
      z.object({
        topic: Name,
        queueId: z.int().min(0),
        spans: z.array(z.object({ group: z.string(), fromQueueOffset: Offset })),
      }),
    ),
  })
  .openapi("Cluster");

export function healthRoutes(app: App, ports: Ports): void {
  operation(app, ports, {
    contract: {
      operationId: "getHealth",
      method: "get",
      path: "/healthz",
      tags,
      summary: "Whether the process is alive",
      security: [],
      responses: {
        200: { description: "It is", content: { "application/json": { schema: Health } } },
        ...onlyFailures("invalid-request", "headers-too-large"),
      },
    },
    input: {},
    handle: ({ call }) => Promise.resolve(json(call, { status: "ok" })),
  });

  const content = { "application/json": { schema: Readiness } };
  operation(app, ports, {
    contract: {
      operationId: "getReadiness",
      method: "get",
      path: "/readyz",
      tags,
      summary: "Whether the node takes traffic",
      security: [],
      responses: {
        200: { description: "It does", content },
        503: { description: "It is shutting down, or no broker group has a leader", content },
        ...onlyFailures("invalid-request", "headers-too-large"),
      },
    },
    input: {},
    handle({ call }) {
      const state = readiness(ports);
      // Without any leader there is nothing a request could be answered with.
      const isHeadless = state.groups?.every(({ leader }) => leader === undefined) ?? false;
      const away = state.status === "draining" || isHeadless;
      return Promise.resolve(json(call, state, away ? 503 : 200));
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "getMetrics",
      method: "get",
      path: "/metrics",
      tags,
      summary: "The node's figures, as Prometheus reads them",
      description:
        "Text format 0.0.4. Needs a credential where the node has keys, for it names consumer groups; answered also while the node shuts down.",
      responses: {
        200: {
          description: "As they are now",
          content: { "text/plain": { schema: z.string() } },
        },
        ...failures(),
      },
    },
    input: {},
    async handle({ call }) {
      if (!ports.metrics) throw notImplemented("metrics");
      const headers = { "content-type": PROMETHEUS_TEXT, "cache-control": "no-store" };
      return new Response(await ports.metrics(), { headers: call.headers(headers) });
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "getCluster",
      method: "get",
      path: "/v1/cluster",
      tags,
      summary: "The nodes, who leads, and what is where",
      responses: {
        200: { description: "As it is now", content: { "application/json": { schema: Cluster } } },
        ...failures(),
      },
    },
    input: {},
    handle: ({ call }) => Promise.resolve(json(call, cluster(ports))),
  });
}

/** Clocks are slewed by less all the time. */
const SKEW_MS_MAX = 1000;

function readiness({ broker, draining }: Ports): z.input<typeof Readiness> {
  const { ready, damaged, clockSkewMs, disk, cluster: members } = broker.status();
  const ranges = damaged.map(({ from, to }) => ({ from: String(from), to: String(to) }));
  const told = {
    damaged: ranges,
    ...(disk !== "ample" && { disk }),
    ...(Math.abs(clockSkewMs) > SKEW_MS_MAX && { clockSkewMs }),
    ...(members && { groups: members.groups.map(({ id, leader }) => ({ id, leader })) }),
  };
  if (!ready || draining()) return { status: "draining", code: "draining", ...told };
  const isAway = members !== undefined && isPartlyAway(members);
  const isDegraded = ranges.length > 0 || disk === "full" || disk === "stuck" || isAway;
  return { status: isDegraded ? "degraded" : "ready", ...told };
}

/** Some broker group has nobody to lead it. */
function isPartlyAway({ groups }: ClusterStatus): boolean {
  return groups.length === 0 || groups.some(({ leader }) => leader === undefined);
}

/** As a gateway knows it; where which queue is, topics do not tell here: there may be a great many. */
function clusterOf({ groups, nodes }: ClusterStatus): z.input<typeof Cluster> {
  const leads = (id: string) => groups.some(({ leader }) => leader === id);
  return {
    mode: "cluster",
    nodes: nodes.map((node) => ({ ...node, role: leads(node.id) ? "leader" : "follower" })),
    groups: [...groups],
    placement: [],
  };
}

/** One node is a cluster of one; nothing is placed anywhere else. */
function cluster({ broker }: Ports): z.input<typeof Cluster> {
  const status = broker.status();
  if (status.cluster) return clusterOf(status.cluster);
  const { nodeId, group, epoch, durableEnd, confirmOffset } = status;
  return {
    mode: "serve",
    nodes: [{ id: nodeId, group, alive: true, role: "leader", durableEnd: String(durableEnd) }],
    groups: [
      {
        id: group,
        leader: nodeId,
        epoch,
        syncSet: [nodeId],
        minSync: 1,
        confirmOffset: String(confirmOffset),
      },
    ],
    placement: [],
  };
}
