/**
 * The door of the HTTP surface: every route, behind one `fetch`.
 *
 * Routes translate and nothing else: they keep no state, retry nothing and
 * touch neither disk nor clock; all of that is behind their ports.
 *
 * @module
 */

import { OpenAPIHono } from "@hono/zod-openapi";
import { TidegateError } from "../storage/base/errors.ts";
import { batchHandler } from "./batch.ts";
import type { Call, GatewayEnv } from "./call.ts";
import { consumeRoutes } from "./consume.ts";
import { deadLetterRoutes } from "./dead_letters.ts";
import { docsRoutes } from "./docs.ts";
import { groupOperationRoutes } from "./group_operations.ts";
import { groupRoutes } from "./groups.ts";
import { healthRoutes } from "./health.ts";
import { laterRoutes } from "./later.ts";
import { leaseStreamRoutes } from "./lease_stream.ts";
import { messageRoutes } from "./message.ts";
import { registerMessagesContract } from "./messages_contract.ts";
import { type OpenApiDocument, openApiDocument } from "./openapi.ts";
import { topicOf } from "./names.ts";
import type { App } from "./operation.ts";
import type { Ports } from "./ports.ts";
import { noSuchPath } from "./problem.ts";
import { problemPageRoutes } from "./problem_pages.ts";
import { type Publish, publishing } from "./publish.ts";
import { readLogHandler } from "./read_log.ts";
import { streamRoutes } from "./stream.ts";
import { topicRoutes } from "./topics.ts";

export { toYaml } from "./openapi.ts";

export interface Routes {
  fetch(request: Request, call: Call): Response | Promise<Response>;
  /** The methods `path` takes, HEAD and OPTIONS with them; empty when it is nobody's. */
  allowed(path: string): readonly string[];
}

/** Where nearly every request goes; a topic's name needs no decoding. */
const PUBLISH = /^\/v1\/topics\/([A-Za-z0-9][A-Za-z0-9._-]{0,126})\/messages$/;

export function createRoutes(ports: Ports): Routes {
  const publish = publishing(ports);
  const app = createApp(ports, publish);
  const allowed = (path: string) => allowedMethods(app, path);
  app.notFound((c) => {
    const allow = allowed(c.req.path);
    if (allow.length === 0) throw noSuchPath();
    const detail = `Cannot ${c.req.method.slice(0, 20)} this path: it takes ${allow.join(", ")}`;
    throw new TidegateError("method-not-allowed", detail, { allow });
  });
  app.onError((error, c) => ports.failed(error, c.req.raw, c.env));
  const route = (request: Request, call: Call) => {
    // The router and its context cost a publish a tenth of its time, for one name out of the path.
    const topic = request.method === "POST" ? PUBLISH.exec(call.path)?.[1] : undefined;
    return topic === undefined ? app.fetch(request, call) : publish(topic, request, call);
  };
  return { fetch: route, allowed };
}

/** The contract of this build; making it asks nothing of any port. */
export function contract(version: string): OpenApiDocument {
  return openApiDocument(createApp({} as Ports, publishing({} as Ports)), version);
}

/** The routes and their contract, without the error handling around them. */
function createApp(ports: Ports, publish: Publish): App {
  const app = new OpenAPIHono<GatewayEnv>({ getPath: pathOf });
  app.post("/v1/topics/:topic/messages", (c) => publish(topicOf(c), c.req.raw, c.env));
  app.get("/v1/topics/:topic/messages", readLogHandler(ports));
  app.post("/v1/topics/:topic/messages/batch", batchHandler(ports));
  registerMessagesContract(app);
  topicRoutes(app, ports);
  messageRoutes(app, ports);
  groupRoutes(app, ports);
  groupOperationRoutes(app, ports);
  deadLetterRoutes(app, ports);
  consumeRoutes(app, ports);
  streamRoutes(app, ports);
  leaseStreamRoutes(app, ports);
  healthRoutes(app, ports);
  docsRoutes(app, ports);
  problemPageRoutes(app);
  laterRoutes(app);
  return app;
}

/** The edge has read it already. */
function pathOf(_: Request, options?: { env?: object }): string {
  const call = options?.env as Call;
  return call.path;
}

const METHODS = ["GET", "PUT", "POST", "PATCH", "DELETE"];

function allowedMethods(app: App, path: string): string[] {
  const own = METHODS.filter((method) => app.router.match(method, path)[0].length > 0);
  if (own.length === 0) return [];
  return [...own, ...(own.includes("GET") ? ["HEAD"] : []), "OPTIONS"];
}
