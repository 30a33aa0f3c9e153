/**
 * The door of the HTTP surface: every route, behind one `fetch`.
 *
 * Routes translate and nothing else: they keep no state, retry nothing and
 * touch neither disk nor clock; all of that is behind their ports.
 *
 * @module
 */

import { OpenAPIHono } from "@hono/zod-openapi";
import { RegExpRouter } from "hono/router/reg-exp-router";
import { TidegateError } from "../storage/base/errors.ts";
import { batchHandler } from "./batch.ts";
import type { Call, GatewayEnv } from "./call.ts";
import { consumeRoutes } from "./consume.ts";
import { deadLetterRoutes } from "./dead_letters.ts";
import { docsRoutes } from "./docs.ts";
import { groupOperationRoutes } from "./group_operations.ts";
import { groupRoutes } from "./groups.ts";
import { healthRoutes } from "./health.ts";
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
import { producerRoutes } from "./producers.ts";
import { type ReadLog, readingLog } from "./read_log.ts";
import { searchRoutes } from "./search.ts";
import { streamRoutes } from "./stream.ts";
import { topicRoutes } from "./topics.ts";
import { traceRoutes } from "./trace.ts";
import { transactionRoutes } from "./transactions.ts";

export { toYaml } from "./openapi.ts";

/** What is routed by hand. */
interface Hot {
  readonly publish: Publish;
  readonly readLog: ReadLog;
}

export interface Routes {
  fetch(request: Request, call: Call): Response | Promise<Response>;
  /** The methods `path` takes, HEAD and OPTIONS with them; empty when it is nobody's. */
  allowed(path: string): readonly string[];
}

/** Where nearly every request goes; a topic's name needs no decoding. */
const MESSAGES_ROUTE = "/v1/topics/{topic}/messages";
const MESSAGES = /^\/v1\/topics\/([A-Za-z0-9][A-Za-z0-9._-]{0,126})\/messages$/;

export function createRoutes(ports: Ports): Routes {
  const hot = { publish: publishing(ports), readLog: readingLog(ports) };
  const app = createApp(ports, hot);
  const allowed = (path: string) => allowedMethods(app, path);
  app.notFound((c) => {
    const allow = allowed(c.req.path);
    if (allow.length === 0) throw noSuchPath();
    const detail = `Cannot ${c.req.method.slice(0, 20)} this path: it takes ${allow.join(", ")}`;
    throw new TidegateError("method-not-allowed", detail, { allow });
  });
  app.onError((error, c) => ports.failed(error, c.req.raw, c.env));
  const route = (request: Request, call: Call) => {
    // The router and its context cost a publish a tenth of its time, and a request that waits a
    // kilobyte all the while, for one name out of the path.
    const topic = topicIn(call.path);
    if (topic !== undefined) {
      call.route = MESSAGES_ROUTE;
      if (call.method === "POST") return hot.publish(topic, request, call);
      if (call.method === "GET") return hot.readLog(topic, request, call);
    }
    return app.fetch(request, call);
  };
  return { fetch: route, allowed };
}

/** The contract of this build; making it asks nothing of any port. */
export function contract(version: string): OpenApiDocument {
  const ports = {} as Ports;
  const hot = { publish: publishing(ports), readLog: readingLog(ports) };
  return openApiDocument(createApp(ports, hot), version);
}

/** The routes and their contract, without the error handling around them. */
function createApp(ports: Ports, { publish, readLog }: Hot): App {
  // By name, for the router Hono would choose: where that cannot tell two paths apart (`/docs/:asset`
  // beside `/docs/start.js`) all paths get a slower one in silence; so it throws.
  const app = new OpenAPIHono<GatewayEnv>({ getPath: pathOf, router: new RegExpRouter() });
  app.post("/v1/topics/:topic/messages", (c) => publish(topicOf(c), c.req.raw, c.env));
  app.get("/v1/topics/:topic/messages", (c) => readLog(topicOf(c), c.req.raw, c.env));
  app.post("/v1/topics/:topic/messages/batch", batchHandler(ports));
  registerMessagesContract(app);
  topicRoutes(app, ports);
  messageRoutes(app, ports);
  searchRoutes(app, ports);
  traceRoutes(app, ports);
  groupRoutes(app, ports);
  groupOperationRoutes(app, ports);
  deadLetterRoutes(app, ports);
  consumeRoutes(app, ports);
  streamRoutes(app, ports);
  leaseStreamRoutes(app, ports);
  transactionRoutes(app, ports);
  producerRoutes(app, ports);
  healthRoutes(app, ports);
  docsRoutes(app, ports);
  problemPageRoutes(app);
  return app;
}

/** The edge has read it already. */
function pathOf(_: Request, options?: { env?: object }): string {
  const call = options?.env as Call;
  return call.path;
}

let lastPath = "";
let lastTopic: string | undefined;

/** The topic whose messages the path names; remembers the last one. */
function topicIn(path: string): string | undefined {
  if (path === lastPath) return lastTopic;
  lastPath = path;
  lastTopic = MESSAGES.exec(path)?.[1];
  return lastTopic;
}

const METHODS = ["GET", "PUT", "POST", "PATCH", "DELETE"];

function allowedMethods(app: App, path: string): string[] {
  const own = METHODS.filter((method) => app.router.match(method, path)[0].length > 0);
  if (own.length === 0) return [];
  return [...own, ...(own.includes("GET") ? ["HEAD"] : []), "OPTIONS"];
}
