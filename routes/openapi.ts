/**
 * The OpenAPI 3.1 document, from the contracts the routes registered.
 *
 * @module
 */

import { registerFailures } from "./contract.ts";
import type { App } from "./operation.ts";

const DESCRIPTION = `An HTTP event gateway with Apache RocketMQ's semantics.

Two ways to read: a **log read**, where the reader owns a cursor and the server keeps nothing, and a **leased receive**, where a consumer group shares the work. Any node answers any request: cursors and receipts describe themselves.

Every failure is \`application/problem+json\` and says whether to retry (\`retryable\`) and whether the request may have taken effect (\`applied\`).`;

const TAGS = [
  { name: "topics", description: "Logs of messages, each in a number of queues" },
  { name: "publishing", description: "Messages in" },
  { name: "reading", description: "Messages out, by cursor: pages, long-polls, event streams" },
  { name: "groups", description: "Consumer groups" },
  { name: "dead letters", description: "Messages a consumer group gave up on" },
  { name: "consuming", description: "Messages out, by lease: receive, settle" },
  { name: "node", description: "How the node is" },
];

export type OpenApiDocument = ReturnType<App["getOpenAPI31Document"]>;

export function openApiDocument(app: App, version: string): OpenApiDocument {
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", {
    type: "http",
    scheme: "bearer",
    description: "A key the node was started with; nodes without keys are open",
  });
  registerFailures(app);
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Tidegate",
      version,
      description: DESCRIPTION,
    },
    servers: [{ url: "/", description: "This node" }],
    security: [{ bearer: [] }],
    tags: TAGS,
  });
}

export async function toYaml(document: OpenApiDocument): Promise<string> {
  const { stringify } = await import("yaml"); // A node is rarely asked for it, and it is large.
  // Without anchors: not every reader of OpenAPI takes them.
  return stringify(document, { aliasDuplicateObjects: false, lineWidth: 100 });
}
