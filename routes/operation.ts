/**
 * One operation: its contract as a value, and a handler that is given what the
 * contract promises.
 *
 * The contract goes into the OpenAPI document as it is. Parameters and JSON
 * bodies are read here rather than by the framework's validators: a body must
 * be bounded before it is buffered and looked at before it is parsed
 * (json_text.ts), and so every failure takes the one way to a problem. What
 * breaks a rule in path or query is a 400, in a JSON body a 422.
 *
 * @module
 */

import type { OpenAPIHono, RouteConfig, z } from "@hono/zod-openapi";
import { TidegateError } from "../storage/base/errors.ts";
import { CONTROL_BODY } from "./body_limits.ts";
import type { Call, GatewayContext, GatewayEnv } from "./call.ts";
import { decodeJsonBytes, parseJson } from "./json_text.ts";
import { refuseOtherNamespace } from "./namespace.ts";
import type { BodyLimit, Ports } from "./ports.ts";
import { type Fault, invalid } from "./problem.ts";
import { readQuery } from "./query.ts";

export type App = OpenAPIHono<GatewayEnv>;

/** What a contract says of the request; a contract is a `createRoute` value. */
interface Requested {
  readonly params?: z.ZodType;
  readonly query?: z.ZodType;
  readonly json?: z.ZodType;
}

type Output<T> = T extends z.ZodType ? z.output<T> : undefined;

export interface Input<R extends Requested> {
  readonly params: Output<R["params"]>;
  readonly query: Output<R["query"]>;
  readonly json: Output<R["json"]>;
  readonly call: Call;
  readonly request: Request;
}

export interface Operation<R extends Requested> {
  /** The OpenAPI side: path, responses, texts; its `request` is made of `input`. */
  readonly contract: Omit<RouteConfig, "request"> & { readonly operationId: string };
  readonly input: R;
  /** Media types the body may come as; `application/json` when absent. */
  readonly mediaTypes?: readonly string[];
  /** Of the body; that of a definition when absent. */
  readonly bodyLimit?: BodyLimit;
  /** An absent body is read as `{}`. */
  readonly bodyOptional?: boolean;
  handle(input: Input<R>): Promise<Response>;
}

/** Registers the contract and routes the requests. */
export function operation<R extends Requested>(app: App, ports: Ports, one: Operation<R>): void {
  app.openAPIRegistry.registerPath({ ...one.contract, request: requestOf(one) });
  const path = one.contract.path.replaceAll(/\{(\w+)\}/g, ":$1");
  app.on(one.contract.method.toUpperCase(), path, async (c) => {
    c.env.route = one.contract.path;
    return one.handle(await inputOf(c, ports, one));
  });
}

function requestOf<R extends Requested>({ input, mediaTypes, bodyOptional }: Operation<R>) {
  const types = mediaTypes ?? ["application/json"];
  const content = Object.fromEntries(types.map((type) => [type, { schema: input.json }]));
  return {
    ...(input.params === undefined ? {} : { params: input.params }),
    ...(input.query === undefined ? {} : { query: input.query }),
    ...(input.json === undefined ? {} : { body: { required: bodyOptional !== true, content } }),
  } as NonNullable<RouteConfig["request"]>;
}

async function inputOf<R extends Requested>(
  c: GatewayContext,
  ports: Ports,
  one: Operation<R>,
): Promise<Input<R>> {
  const call = c.env;
  const request = c.req.raw;
  const { params, query, json } = one.input;
  const asked = readQuery(call.url);
  refuseOtherNamespace(call.head, asked);
  const input = {
    params: params && parameters(params, c.req.param(), "/path"),
    query: query && parameters(query, Object.fromEntries(asked), "/query"),
    json: json && (await readJson(ports, { call, request, one })),
    call,
    request,
  };
  return input as Input<R>;
}

function parameters(schema: z.ZodType, value: unknown, at: string): unknown {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const errors = faultsOf(result.error, at);
  const detail = `Cannot read the request: ${errors[0]?.detail} at ${errors[0]?.pointer}`;
  throw new TidegateError("invalid-request", detail, { errors });
}

async function readJson<R extends Requested>(
  ports: Ports,
  about: { call: Call; request: Request; one: Operation<R> },
): Promise<unknown> {
  const { call, request, one } = about;
  const bytes = await ports.bodies.read(request, { call, limit: one.bodyLimit ?? CONTROL_BODY });
  const absent = bytes.length === 0 && one.bodyOptional === true;
  if (!absent) requireMediaType(call.head.contentType, one.mediaTypes ?? ["application/json"]);
  const text = absent ? "{}" : decodeJsonBytes(bytes);
  const value = parseJson(text);
  const odd = text.includes("\\u") ? oddText(value, "") : undefined; // only an escape can make one
  if (odd !== undefined) throw invalid([odd]);
  const result = (one.input.json as z.ZodType).safeParse(value);
  if (!result.success) throw invalid(faultsOf(result.error, ""));
  return result.data;
}

/** @throws `unsupported-media-type` */
export function requireMediaType(
  contentType: string | undefined,
  accepted: readonly string[],
): string {
  const essence = contentType?.split(";")[0]?.trim().toLowerCase() ?? "";
  if (accepted.includes(essence)) return essence;
  const given = contentType === undefined ? "no Content-Type" : `"${contentType.slice(0, 100)}"`;
  throw new TidegateError(
    "unsupported-media-type",
    `Cannot read a body with ${given}: send ${accepted.join(" or ")}`,
    { accepted },
  );
}

/** Every issue a schema found, with a JSON pointer; an unknown member is pointed at itself. */
function faultsOf(error: z.ZodError, at: string): Fault[] {
  return error.issues.flatMap((issue): Fault[] => {
    const pointer = at + issue.path.map((part) => `/${escapePointer(String(part))}`).join("");
    if (issue.code !== "unrecognized_keys") return [{ pointer, detail: issue.message }];
    return issue.keys.map((key) => ({
      pointer: `${pointer}/${escapePointer(key)}`,
      detail: "there is no such field",
    }));
  });
}

/** RFC 6901 §3 */
function escapePointer(part: string): string {
  return part.replaceAll("~", "~0").replaceAll("/", "~1");
}

/** Half a surrogate pair has no UTF-8 and would come back as another character. */
function oddText(value: unknown, pointer: string): Fault | undefined {
  if (typeof value === "string") {
    if (value.isWellFormed()) return undefined;
    return { pointer, detail: "the text holds half of a surrogate pair" };
  }
  if (typeof value !== "object" || value === null) return undefined;
  for (const [name, member] of Object.entries(value)) {
    const at = `${pointer}/${escapePointer(name)}`;
    const fault = oddText(member, at);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/** An answer in JSON. */
export function json(call: Call, value: unknown, status = 200): Response {
  const headers = call.headers({ "content-type": "application/json", "cache-control": "no-store" });
  return new Response(JSON.stringify(value), { status, headers });
}

export function noContent(call: Call): Response {
  return new Response(null, { status: 204, headers: call.headers({}) });
}
