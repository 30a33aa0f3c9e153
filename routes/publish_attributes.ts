/**
 * A message's attributes, and its delay, from the headers of a publish, or from query
 * parameters for callers that cannot set headers; a header wins.
 *
 * Header values are percent-decoded UTF-8 and must be printable ASCII before:
 * runtimes disagree on what a raw byte beyond that means. Query values were
 * decoded with the URL. Everything wrong here is a 400.
 *
 * @module
 */

import type { NewMessage } from "../src/broker/api.ts";
import { TidegateError } from "../storage/base/errors.ts";
import {
  contentTypeFault,
  idFault,
  indexFault,
  isCloudEvents,
  keyFault,
  propertiesFault,
  tagFault,
} from "./attributes.ts";
import { traceparentOf } from "./call.ts";
import { delayOf } from "./delay.ts";
import { newMessageId } from "./message_id.ts";
import { malformed } from "./problem.ts";
import type { RequestHead } from "./request_head.ts";

const TRACESTATE_SIZE_MAX = 512;

/** A message whose body is still to come. */
export type Draft = { -readonly [K in keyof NewMessage]: NewMessage[K] };

const EMPTY = new Uint8Array(0);

/**
 * What a publish says of its message, in the object that gets the rest: no copy is made later.
 *
 * @throws `invalid-request`, `not-implemented`, `unsupported-media-type`
 */
export function draftOf(
  head: RequestHead,
  about: { query: ReadonlyMap<string, string>; now: number },
): Draft {
  const { query } = about;
  const id = attribute(head.messageId, query, ID);
  const traceparent = traceparentOf(head);
  const { deliverAt, delayMs } = delayOf(head, query);
  return {
    id: id ?? newMessageId(about.now),
    key: attribute(head.messageKey, query, KEY),
    tag: attribute(head.messageTag, query, TAG),
    index: indexOf(head.messageIndex, query),
    properties: propertiesOf(head.messageProperties),
    contentType: contentTypeOf(head),
    traceparent,
    tracestate: traceparent === undefined ? undefined : tracestateOf(head),
    deliverAt,
    delayMs,
    idGenerated: id === undefined,
    idempotencyKey: undefined,
    producer: undefined,
    body: EMPTY,
  };
}

interface Rule {
  readonly name: string;
  readonly parameter: string;
  readonly fault: (value: string) => string | undefined;
}

const ID: Rule = { name: "Message-Id", parameter: "id", fault: idFault };
const KEY: Rule = { name: "Message-Key", parameter: "key", fault: keyFault };
const TAG: Rule = { name: "Message-Tag", parameter: "tag", fault: tagFault };

function attribute(
  header: string | undefined,
  query: ReadonlyMap<string, string>,
  rule: Rule,
): string | undefined {
  const value = header === undefined ? query.get(rule.parameter) : decodeHeader(header, rule.name);
  if (value === undefined) return undefined;
  const fault = rule.fault(value);
  if (fault === undefined) return value;
  const pointer = header === undefined ? `/query/${rule.parameter}` : `/header/${rule.name}`;
  throw malformed(pointer, `${header === undefined ? rule.parameter : rule.name} ${fault}`);
}

/** The commas are split before the percent signs are decoded, so a key may hold one as %2C. */
function indexOf(
  header: string | undefined,
  query: ReadonlyMap<string, string>,
): readonly string[] | undefined {
  const text = header ?? query.get("index");
  if (text === undefined) return undefined;
  const keys = text.split(",").map((key) => key.trim());
  const index = header === undefined ? keys : keys.map((key) => decodeHeader(key, "Message-Index"));
  const fault = indexFault(index);
  if (fault === undefined) return index;
  const [pointer, name] =
    header === undefined ? ["/query/index", "index"] : ["/header/Message-Index", "Message-Index"];
  throw malformed(pointer, `${name} ${fault}`);
}

function propertiesOf(
  headers: [string, string][] | undefined,
): [name: string, value: string][] | undefined {
  if (headers === undefined) return undefined;
  const properties = headers.map(([name, value]): [string, string] => [
    name,
    decodeHeader(value, `Message-Property-${name}`),
  ]);
  const fault = propertiesFault(properties);
  if (fault !== undefined) throw malformed("/header/Message-Property", `properties ${fault}`);
  return properties;
}

/** It was found good: most messages are of the type of the one before. */
let lastContentType: string | undefined;

function contentTypeOf(head: RequestHead): string | undefined {
  const { contentType } = head;
  if (contentType === lastContentType && !head.cloudEvent) return contentType;
  if (head.cloudEvent || isCloudEvents(contentType)) {
    throw new TidegateError(
      "unsupported-media-type",
      "Cannot publish a CloudEvent: this build does not read CloudEvents yet",
    );
  }
  if (contentType === undefined || contentType === "") return undefined;
  const fault = contentTypeFault(contentType);
  if (fault !== undefined) throw malformed("/header/Content-Type", `Content-Type ${fault}`);
  lastContentType = contentType;
  return contentType;
}

/** It goes with a valid traceparent only, and one too long or odd is dropped (Trace Context §3.3). */
export function tracestateOf({ tracestate }: RequestHead): string | undefined {
  if (tracestate === undefined || tracestate.length > TRACESTATE_SIZE_MAX) return undefined;
  return /^[\x20-\x7e]+$/.test(tracestate) ? tracestate : undefined;
}

const PRINTABLE = /^[\x20-\x7e]*$/;

/** The text of a percent-encoded header. @throws `invalid-request` */
export function decodeHeader(value: string, name: string): string {
  if (!PRINTABLE.test(value)) {
    throw malformed(`/header/${name}`, `${name} must be percent-encoded: it holds raw bytes`);
  }
  if (!value.includes("%")) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    throw malformed(`/header/${name}`, `${name} must be percent-encoded UTF-8`);
  }
}
