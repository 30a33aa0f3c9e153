/**
 * The message as readers see it: one JSON object on one line, the same bytes
 * for every reader (SSE shares them; a lease adds members of its own).
 *
 *   {"id":…,"topic":…,"queueId":n,"queueOffset":"n","cursor":…,"key"?,"tag"?,
 *    "index"?,"properties"?,"contentType"?,"traceparent"?,"tracestate"?,
 *    "data" | "text" | "dataBase64": …,"publishedAt":…,"deliverAt"?, …extra}
 *
 * The body takes one of three forms, by its content type:
 *
 *   JSON, and it is     `data`        the producer's own bytes, spliced in: no
 *                                     number is rounded, no member reordered
 *   text, and UTF-8     `text`
 *   anything else       `dataBase64`
 *
 * A producer may lie about its type, and one broken body must not break the
 * page it is on: what claims to be JSON is parsed once before it is spliced,
 * and becomes text, or base64, when it is not.
 *
 * @module
 */

import type { ScheduledMessage, StoredMessage } from "../src/broker/api.ts";
import { TidegateError } from "../storage/base/errors.ts";
import { decodeMessage, type Message } from "../storage/base/message.ts";
import { bodyKind } from "./body_kind.ts";
import { ByteWriter } from "./byte_writer.ts";
import { isJson } from "./json_text.ts";
import { formatTimestamp } from "./timestamp.ts";

/** Members a delivery adds; one that was only looked at has no receipt. */
export interface LeaseMembers {
  readonly receipt?: string;
  readonly attempt: number;
  /** Milliseconds since the Unix epoch. */
  readonly leaseUntil?: number;
}

// A byte order mark stays in the text: spliced into a page it would break the JSON.
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The message's JSON on one line, in bytes of its own. */
export function messageJson(
  stored: StoredMessage | ScheduledMessage,
  lease?: LeaseMembers,
): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter(512 + stored.payload.length * 2);
  writeMessage(out, stored, lease);
  return out.written();
}

/** @throws `data-damaged` when the payload is not a message */
export function writeMessage(
  out: ByteWriter,
  stored: StoredMessage | ScheduledMessage,
  lease?: LeaseMembers,
): void {
  const message = decodeMessage(stored.payload);
  if (message === undefined) throw damaged(stored);
  out.text(membersBefore(stored, message));
  writeBody(out, message);
  out.text(membersAfter(stored, message, lease));
}

function damaged(stored: StoredMessage | ScheduledMessage): TidegateError {
  const which = stored.state ? "a scheduled message" : `message ${stored.queueOffset}`;
  const detail = `Cannot read ${which} of queue ${stored.queueId}: its payload is damaged`;
  return new TidegateError("data-damaged", detail, stored.state ? {} : { next: stored.cursor });
}

/** A scheduled message has no place in its queue yet. */
function place(stored: StoredMessage | ScheduledMessage): string {
  if (stored.state) return `,"state":"${stored.state}"`;
  return `,"queueOffset":"${stored.queueOffset}","cursor":"${stored.cursor}"`;
}

/** Topic, id, cursor and receipt are of characters that need no escaping. */
function membersBefore(stored: StoredMessage | ScheduledMessage, message: Message): string {
  const { key, tag, index, properties, contentType, traceparent, tracestate } = message;
  let text =
    `{"id":"${message.id}","topic":"${stored.topic}","queueId":${stored.queueId}` + place(stored);
  if (key !== undefined) text += `,"key":${quote(key)}`;
  if (tag !== undefined) text += `,"tag":${quote(tag)}`;
  if (index.length > 0) text += `,"index":${JSON.stringify(index)}`;
  if (properties.length > 0) {
    const members = properties.map(([name, value]) => `${quote(name)}:${quote(value)}`);
    text += `,"properties":{${members.join(",")}}`;
  }
  if (contentType !== undefined) text += `,"contentType":${quote(contentType)}`;
  if (traceparent !== undefined) text += `,"traceparent":${quote(traceparent)}`;
  if (tracestate !== undefined) text += `,"tracestate":${quote(tracestate)}`;
  return text;
}

function writeBody(out: ByteWriter, { contentType, body }: Message): void {
  const kind = bodyKind(contentType);
  if (kind === "text" && isPlain(body)) {
    out.text(',"text":"');
    out.bytes(body);
    out.text('"');
    return;
  }
  const text = kind === "binary" ? undefined : decode(body);
  if (text === undefined) {
    out.text(',"dataBase64":"');
    out.base64(body);
    out.text('"');
  } else if (kind === "json" && isJson(text)) {
    out.text(',"data":');
    out.jsonLine(body);
  } else {
    out.text(',"text":');
    out.text(quote(text));
  }
}

/** Printable ASCII that JSON carries as it is: most texts, and looking is cheaper than decoding. */
function isPlain(body: Uint8Array): boolean {
  for (let at = 0; at < body.length; at++) {
    const byte = body[at] as number;
    if (byte < 0x20 || byte > 0x7e || byte === 0x22 || byte === 0x5c) return false;
  }
  return true;
}

function membersAfter(
  stored: StoredMessage | ScheduledMessage,
  message: Message,
  lease?: LeaseMembers,
): string {
  let text = `,"publishedAt":"${formatTimestamp(stored.publishedAt)}"`;
  if (message.deliverAt !== undefined) {
    text += `,"deliverAt":"${formatTimestamp(message.deliverAt)}"`;
  }
  if (lease !== undefined) {
    const { receipt, attempt, leaseUntil } = lease;
    if (receipt !== undefined) text += `,"receipt":"${receipt}"`;
    text += `,"attempt":${attempt}`;
    if (leaseUntil !== undefined) text += `,"leaseUntil":"${formatTimestamp(leaseUntil)}"`;
  }
  return `${text}}`;
}

function decode(body: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(body);
  } catch {
    return undefined; // not UTF-8: the answer
  }
}

function quote(text: string): string {
  return JSON.stringify(text);
}
