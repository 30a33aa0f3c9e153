/**
 * Leased messages as an event stream: `GET /v1/groups/{group}/stream`, settled by
 * POST.
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import { nanoid } from "nanoid";
import { failures } from "./contract.ts";
import { LEASE_MS } from "./group_schemas.ts";
import { type App, operation } from "./operation.ts";
import type { Ports } from "./ports.ts";
import { GroupParams, Name } from "./schemas.ts";

const IN_FLIGHT = { min: 1, max: 10_000, default: 100 } as const;
const DESCRIPTION = `Events:

- \`control\`, first: \`{"consumerId"}\`
- \`lease\`: a message with \`receipt\`, \`attempt\` and \`leaseUntil\`, to be settled by POST
- \`reconnect\`: \`{"reason"}\`; the stream ends. After \`replaced\`, another stream of this consumer has taken over

There are no ids: a consumer that comes back names itself with \`consumerId\`, and gets what it holds once more, under the receipts it had. No more than \`maxInFlight\` messages are leased to it; a settle through any node makes room.`;

const wholeNumber = (range: { readonly min: number; readonly max: number }) =>
  z
    .string()
    .regex(/^\d{1,9}$/, "must be a whole number")
    .transform(Number)
    .pipe(z.int().min(range.min).max(range.max));

const StreamQuery = z.object({
  maxInFlight: wholeNumber(IN_FLIGHT)
    .default(IN_FLIGHT.default)
    .openapi({
      param: { name: "maxInFlight", in: "query", description: "Unsettled messages at most" },
      type: "integer",
      minimum: IN_FLIGHT.min,
      maximum: IN_FLIGHT.max,
      default: IN_FLIGHT.default,
      example: IN_FLIGHT.default,
    }),
  leaseMs: wholeNumber(LEASE_MS)
    .optional()
    .openapi({
      param: { name: "leaseMs", in: "query", description: "The group's when absent" },
      type: "integer",
      minimum: LEASE_MS.min,
      maximum: LEASE_MS.max,
      example: 30_000,
    }),
  topic: Name.optional().openapi({
    param: { name: "topic", in: "query", description: "Only from this subscription" },
    example: "orders",
  }),
  consumerId: z
    .string()
    .regex(/^[\x21-\x7e]{1,128}$/)
    .optional()
    .openapi({
      param: { name: "consumerId", in: "query", description: "Who it is; made up when absent" },
      example: "worker-1",
    }),
});

const HEADERS = { "content-type": "text/event-stream", "cache-control": "no-cache, no-transform" };

export function leaseStreamRoutes(app: App, ports: Ports): void {
  operation(app, ports, {
    contract: {
      operationId: "streamLeases",
      method: "get",
      path: "/v1/groups/{group}/stream",
      tags: ["consuming"],
      summary: "Lease messages as they become ready, as an event stream",
      description: DESCRIPTION,
      responses: {
        200: {
          description: "Leased to the consumer until `leaseUntil`",
          content: {
            "text/event-stream": {
              schema: z.string().openapi({
                description: "Events `control`, `lease` (a Delivery) and `reconnect`",
              }),
            },
          },
        },
        204: { description: "The consumer named itself, and the group is gone" },
        ...failures("group-not-found", "topic-not-found"),
      },
    },
    input: { params: GroupParams, query: StreamQuery },
    async handle({ params: { group }, query: { consumerId, ...limits }, call, request }) {
      if (request.method === "HEAD") {
        await ports.broker.groups.get(group); // leases nothing
        return new Response(null, { headers: call.headers({ ...HEADERS }) });
      }
      call.connection.holdOpen(request);
      const who = { consumerId: consumerId ?? nanoid(), named: consumerId !== undefined };
      return ports.leases.open({ group, ...who, ...limits }, request);
    },
  });
}
