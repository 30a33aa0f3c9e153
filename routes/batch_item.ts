/**
 * One message of a batch: from a JSON object of a stranger to a message.
 *
 *   {"data": any | "text": string | "dataBase64": string,
 *    "contentType"?, "key"?, "tag"?, "index"?, "properties"?, "deliverAt"? | "delayMs"?, "id"?}
 *
 * Checked by hand: a batch holds a thousand of them, and a fault in one must
 * not fail the others, so faults are values here. Members are looked up one by
 * one and never copied as a whole, so a `__proto__` is just an unknown field.
 *
 * @module
 */

import type { NewMessage } from "../src/broker/api.ts";
import { TidegateError } from "../storage/base/errors.ts";
import { LIMITS } from "../storage/base/message.ts";
import {
  contentTypeFault,
  idFault,
  indexFault,
  isCloudEvents,
  keyFault,
  propertiesFault,
  tagFault,
} from "./attributes.ts";
import { DELAY_MS_RULE, type Delay, DELIVER_AT_RULE, ONE_OF_BOTH, readDeliverAt } from "./delay.ts";
import { newMessageId } from "./message_id.ts";
import { type Once, onceAt } from "./once.ts";
import { type Fault, invalid } from "./problem.ts";

/** What every message of the batch has from the request. */
export interface BatchContext {
  readonly now: number;
  readonly traceparent: string | undefined;
  readonly tracestate: string | undefined;
  /** What a repeat of the batch is known by. */
  readonly once: Once | undefined;
}

type Members = Readonly<Record<string, unknown>>;

const KNOWN = new Set(
  "data text dataBase64 contentType key tag index properties deliverAt delayMs id".split(" "),
);

const utf8 = new TextEncoder();

/**
 * The message `value` describes, or what is wrong with it.
 *
 * @param at.more fields that it may have beside.
 */
export function batchItem(
  value: unknown,
  at: { index: number; context: BatchContext; more?: readonly string[] },
): NewMessage | TidegateError {
  const pointer = `/messages/${at.index}`;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return invalid([{ pointer, detail: "a message must be an object" }]);
  }
  const members = value as Members;
  const faults: Fault[] = [];
  const fault = (name: string, detail: string) => {
    faults.push({
      pointer: `${pointer}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`,
      detail,
    });
  };
  for (const name of Object.keys(members)) {
    if (!KNOWN.has(name) && !at.more?.includes(name)) fault(name, "there is no such field");
  }
  const body = bodyOf(members, fault);
  const id = text(members, "id", { fault, rule: idFault });
  const message = {
    id: id ?? newMessageId(at.context.now),
    key: text(members, "key", { fault, rule: keyFault }),
    tag: text(members, "tag", { fault, rule: tagFault }),
    index: indexOf(members, fault),
    properties: propertiesOf(members, fault),
    contentType: text(members, "contentType", { fault, rule: contentTypeFault }) ?? body?.type,
    traceparent: at.context.traceparent,
    tracestate: at.context.tracestate,
    ...delayOf(members, fault),
    idGenerated: id === undefined,
  };
  if (faults.length > 0 || body === undefined) return invalid(faults);
  if (isCloudEvents(message.contentType)) {
    const detail = "Cannot publish a CloudEvent: this build does not read CloudEvents yet";
    return new TidegateError("unsupported-media-type", detail);
  }
  if (body.bytes.length > LIMITS.bodyBytes) {
    const detail = `Cannot take the message: the limit is ${LIMITS.bodyBytes} bytes`;
    return new TidegateError("message-too-large", detail, { limit: LIMITS.bodyBytes });
  }
  const stored = { ...message, body: body.bytes };
  const { once } = at.context;
  return once ? { ...stored, ...onceAt(once, at.index) } : stored;
}

type AddFault = (name: string, detail: string) => void;

interface Body {
  readonly bytes: Uint8Array;
  /** The content type when the message names none. */
  readonly type: string;
}

function bodyOf(members: Members, fault: AddFault): Body | undefined {
  const given = ["data", "text", "dataBase64"].filter((name) => Object.hasOwn(members, name));
  const [form] = given;
  if (form === undefined || given.length > 1) {
    fault("data", "exactly one of data, text and dataBase64 must be there");
    return undefined;
  }
  const value = members[form];
  if (form === "data") {
    return { bytes: utf8.encode(JSON.stringify(value)), type: "application/json" };
  }
  if (typeof value !== "string") {
    fault(form, "must be a string");
    return undefined;
  }
  if (form === "dataBase64") {
    const bytes = fromBase64(value);
    if (bytes !== undefined) return { bytes, type: "application/octet-stream" };
    fault(form, "must be base64");
    return undefined;
  }
  if (value.isWellFormed()) return { bytes: utf8.encode(value), type: "text/plain; charset=utf-8" };
  fault(form, "must not hold half of a surrogate pair");
  return undefined;
}

function text(
  members: Members,
  name: string,
  check: { fault: AddFault; rule: (value: string) => string | undefined },
): string | undefined {
  const value = members[name];
  if (value === undefined) return undefined;
  const fault = typeof value === "string" ? check.rule(value) : "must be a string";
  if (fault === undefined) return value as string;
  check.fault(name, fault);
  return undefined;
}

function indexOf(members: Members, fault: AddFault): readonly string[] | undefined {
  const { index } = members;
  if (index === undefined) return undefined;
  if (!Array.isArray(index) || !index.every((key) => typeof key === "string")) {
    fault("index", "must be a list of strings");
    return undefined;
  }
  const detail = indexFault(index);
  if (detail !== undefined) fault("index", detail);
  return index;
}

function propertiesOf(
  members: Members,
  fault: AddFault,
): readonly (readonly [string, string])[] | undefined {
  const { properties } = members;
  if (properties === undefined) return undefined;
  if (typeof properties !== "object" || properties === null || Array.isArray(properties)) {
    fault("properties", "must be an object");
    return undefined;
  }
  const entries = Object.entries(properties as Members);
  if (!entries.every((entry): entry is [string, string] => typeof entry[1] === "string")) {
    fault("properties", "must have strings as values");
    return undefined;
  }
  const detail = propertiesFault(entries);
  if (detail !== undefined) fault("properties", detail);
  return entries;
}

function delayOf({ deliverAt, delayMs }: Members, fault: AddFault): Delay {
  if (deliverAt !== undefined && delayMs !== undefined) fault("delayMs", ONE_OF_BOTH);
  if (deliverAt !== undefined) {
    const ms = typeof deliverAt === "string" ? readDeliverAt(deliverAt) : undefined;
    if (ms === undefined) fault("deliverAt", DELIVER_AT_RULE);
    return { deliverAt: ms };
  }
  if (delayMs === undefined) return {};
  const good = typeof delayMs === "number" && delayMs >= 0; // JSON knows no other odd ones
  if (!good) fault("delayMs", DELAY_MS_RULE);
  return { delayMs: good ? Math.ceil(delayMs) : undefined };
}

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** Standard base64, padded; `atob` alone would also take white space and no padding. */
function fromBase64(value: string): Uint8Array | undefined {
  if (value.length % 4 !== 0 || !BASE64.test(value)) return undefined;
  const binary = atob(value);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
