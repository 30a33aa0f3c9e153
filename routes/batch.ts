/**
 * Publishing many messages: `POST /v1/topics/{topic}/messages/batch`.
 *
 * Each message succeeds or fails by itself and the answer has one result for
 * each, in order. With `?atomic=true` they are one: all are stored, or none
 * and the answer is one problem. With an `Idempotency-Key` each message has a key
 * of its own; a result that was an earlier request's says `replayed`.
 *
 * @module
 */

import type { NewMessage, Published } from "../src/broker/api.ts";
import { TidegateError } from "../storage/base/errors.ts";
import { type BatchContext, batchItem } from "./batch_item.ts";
import { BATCH_BODY } from "./body_limits.ts";
import { type Call, type GatewayContext, traceparentOf } from "./call.ts";
import { delayOf } from "./delay.ts";
import { decodeJsonBytes, parseJson } from "./json_text.ts";
import { topicOf } from "./names.ts";
import { refuseOtherNamespace } from "./namespace.ts";
import { onceOf, REPLAYED } from "./once.ts";
import { requireMediaType } from "./operation.ts";
import type { Ports } from "./ports.ts";
import { type Fault, invalid, malformed, problemOf } from "./problem.ts";
import { tracestateOf } from "./publish_attributes.ts";
import { readQuery } from "./query.ts";
import { formatTimestamp } from "./timestamp.ts";

export const BATCH_MESSAGES_MAX = 1000;
export const BATCH_TYPES = ["application/json", "application/x-ndjson"] as const;

export function batchHandler(ports: Ports): (c: GatewayContext) => Promise<Response> {
  return async (c) => {
    const call = c.env;
    call.route = "/v1/topics/{topic}/messages/batch";
    const request = c.req.raw;
    const topic = topicOf(c);
    const query = readQuery(call.url);
    refuseOtherNamespace(call.head, query);
    refuseDelay(call.head, query);
    const atomic = atomicOf(query);
    const once = onceOf(call.head);
    if (once?.producer && !atomic) {
      throw malformed("/query/atomic", "atomic must be true with Producer-Id");
    }
    const type = requireMediaType(call.head.contentType, BATCH_TYPES);

    const bytes = await ports.bodies.read(request, { call, limit: BATCH_BODY });
    const values = type === "application/json" ? envelope(bytes) : lines(bytes);
    const items = itemsOf(values, { ...contextOf(ports, call), once });
    const results = await publish(ports, { topic, items, atomic });
    const replayed = results.every((one) => !(one instanceof TidegateError) && one.replayed);
    const headers = { "content-type": "application/json", ...(replayed && { [REPLAYED]: "true" }) };
    return new Response(resultsJson(results, { call, instance: call.path }), {
      status: atomic && !replayed ? 201 : 200,
      headers: call.headers(headers),
    });
  };
}

/** Each message of a batch has its own: one for all would be ignored. */
function refuseDelay(head: Call["head"], query: ReadonlyMap<string, string>): void {
  const { deliverAt, delayMs } = delayOf(head, query);
  if (deliverAt === undefined && delayMs === undefined) return;
  throw malformed("", "the messages of a batch have their delay as deliverAt or delayMs");
}

function atomicOf(query: ReadonlyMap<string, string>): boolean {
  const atomic = query.get("atomic") ?? "false";
  if (atomic === "true" || atomic === "false") return atomic === "true";
  throw malformed("/query/atomic", "atomic must be true or false");
}

/** What every message has from the request. */
export function contextOf(ports: Ports, { head }: Call): Omit<BatchContext, "once"> {
  const traceparent = traceparentOf(head);
  const tracestate = traceparent === undefined ? undefined : tracestateOf(head);
  return { now: ports.now(), traceparent, tracestate };
}

/** The messages of `{"messages":[…]}`. */
function envelope(bytes: Uint8Array): readonly unknown[] {
  const value = parseJson(decodeJsonBytes(bytes));
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalid([{ pointer: "", detail: 'the body must be an object {"messages": […]}' }]);
  }
  const members = value as Readonly<Record<string, unknown>>;
  const unknown = Object.keys(members).filter((name) => name !== "messages");
  if (unknown.length > 0) {
    throw invalid(
      unknown.map((name) => ({ pointer: `/${name}`, detail: "there is no such field" })),
    );
  }
  const { messages } = members;
  if (!Array.isArray(messages)) throw invalid([{ pointer: "/messages", detail: "must be a list" }]);
  return messages;
}

/** The messages of NDJSON; a line that is no JSON is the fault of that message alone. */
function lines(bytes: Uint8Array): readonly unknown[] {
  const values: unknown[] = [];
  for (const line of decodeJsonBytes(bytes).split("\n")) {
    if (line.trim() === "") continue;
    try {
      values.push(parseJson(line));
    } catch (error) {
      if (!(error instanceof TidegateError)) throw error;
      values.push(error);
    }
  }
  return values;
}

type Item = NewMessage | TidegateError;

function itemsOf(values: readonly unknown[], context: BatchContext): readonly Item[] {
  if (values.length === 0 || values.length > BATCH_MESSAGES_MAX) {
    const detail = `must hold 1 to ${BATCH_MESSAGES_MAX} messages`;
    throw invalid([{ pointer: "/messages", detail }]);
  }
  return values.map((value, index) =>
    value instanceof TidegateError ? value : batchItem(value, { index, context }),
  );
}

type Result = Published | TidegateError;

async function publish(
  { broker }: Ports,
  wanted: { topic: string; items: readonly Item[]; atomic: boolean },
): Promise<readonly Result[]> {
  const { topic, items, atomic } = wanted;
  const good = items.filter((item): item is NewMessage => !(item instanceof TidegateError));
  if (atomic && good.length < items.length) throw oneProblem(items);
  const published =
    good.length > 0 ? await broker.messages.publishBatch(topic, good, { atomic }) : [];
  let next = 0;
  return items.map((item) =>
    item instanceof TidegateError ? item : (published[next++] as Result),
  );
}

/** What is wrong with any of them, as one: of a batch that is all or nothing. */
export function oneProblem(items: readonly unknown[]): TidegateError {
  const problems = items.filter((item): item is TidegateError => item instanceof TidegateError);
  const [first] = problems as [TidegateError, ...TidegateError[]];
  if (problems.some(({ code }) => code !== "validation-failed")) return first;
  return invalid(problems.flatMap(({ details }) => details["errors"] as Fault[]));
}

function resultsJson(results: readonly Result[], about: { call: Call; instance: string }): string {
  const members = results.map((result) => {
    if (result instanceof TidegateError)
      return `{"problem":${JSON.stringify(problemOf(result, about))}}`;
    const { id, queueId, replayed } = result;
    const repeat = replayed ? `,"replayed":true` : "";
    if (result.state) {
      const deliverAt = formatTimestamp(result.deliverAt);
      return `{"id":"${id}","queueId":${queueId},"deliverAt":"${deliverAt}","state":"scheduled"${repeat}}`;
    }
    const { queueOffset, cursor } = result;
    return `{"id":"${id}","queueId":${queueId},"queueOffset":"${queueOffset}","cursor":${JSON.stringify(cursor)}${repeat}}`;
  });
  return `{"results":[${members.join(",")}]}`;
}
