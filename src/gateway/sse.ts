/**
 * The event stream as bytes: what a reader sees on the wire.
 *
 *   retry: 2137         how long to wait before connecting again, jittered
 *   id: <position>      to be sent back as Last-Event-ID; on every event
 *   event: control      {"cursor","upToDate"}: first, when caught up, and with
 *                       a heartbeat when the position moved
 *   event: message      one message as JSON
 *   event: gap          {"topic"?,"requested","earliest"}: what lay between is
 *                       lost; the topic where a stream has several
 *   event: reconnect    {"reason"}: the stream ends now, on purpose; come back,
 *                       unless another stream of the consumer "replaced" it
 *   :                   heartbeat
 *
 * No value leaves its line: data is JSON on one line, and a position that is
 * not plain printable ASCII, which could not come back in a header either, is
 * refused.
 *
 * @module
 */

import { type LeaseMembers, messageJson } from "../../routes/message_json.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { StoredMessage } from "../broker/api.ts";

export type Bytes = Uint8Array<ArrayBuffer>;

/** Some messages as they go out: one chunk, which may be cut between events. */
export interface EventChunk {
  readonly bytes: Bytes;
  /** Where each message's event ends in `bytes`. */
  readonly ends: readonly number[];
  readonly messages: readonly StoredMessage[];
  /** The `id:` of each event. */
  readonly cursors: readonly string[];
  /** The `id:` of the last one. */
  readonly last: string;
  /** What stands in the place of messages that cannot be read, by their index. */
  readonly gaps: ReadonlyMap<number, Gap>;
}

/** A position, and whether something readable lay behind it. */
export interface Control {
  readonly cursor: string;
  readonly upToDate: boolean;
  /** Topics of the stream that are no more; absent when all are there. */
  readonly ended?: readonly string[] | undefined;
}

/** What lay between two positions is lost. */
export interface Gap {
  readonly topic?: string | undefined;
  readonly requested: string;
  readonly earliest: string;
}

/** Why a stream ends on purpose; the reader may come back, here or elsewhere. */
export type ReconnectReason = "draining" | "overloaded" | "slow-reader" | "internal" | "replaced";

/** Exactly this type: a charset parameter makes some proxies buffer. */
export const STREAM_HEADERS: Readonly<Record<string, string>> = {
  "content-type": "text/event-stream",
  "cache-control": "no-cache, no-transform",
  "x-accel-buffering": "no",
  incremental: "?1",
};

const utf8 = new TextEncoder();

const MESSAGE_HEAD = "\nevent: message\ndata: ";
const EVENT_END = utf8.encode("\n\n");

export const HEARTBEAT: Bytes = utf8.encode(":\n\n");

/**
 * Encodes each message once, for however many readers; `messages` is not empty.
 * One that cannot be read is told as a gap: it must not end every stream that
 * ever comes to it.
 */
export function encodeMessages(
  messages: readonly StoredMessage[],
  cursors: readonly string[],
): EventChunk {
  const parts: Uint8Array[] = [];
  const ends: number[] = [];
  const gaps = new Map<number, Gap>();
  let size = 0;
  let last = "";
  for (const [i, message] of messages.entries()) {
    const cursor = cursors[i];
    if (cursor === undefined) throw new TypeError("Cannot encode a page: a cursor is missing");
    const json = readable(message);
    const gap = { requested: last || cursor, earliest: cursor };
    if (!json) gaps.set(i, gap);
    const event = json
      ? [utf8.encode(`id: ${position(cursor)}${MESSAGE_HEAD}`), json, EVENT_END]
      : [encodeGap(gap)];
    for (const part of event) size += part.length;
    parts.push(...event);
    ends.push(size);
    last = cursor;
  }
  return { bytes: concat(parts, size), ends, messages, cursors, last, gaps };
}

/** A chunk of one event of `chunk`, of the same bytes. */
export function eventOf(chunk: EventChunk, index: number): EventChunk {
  const bytes = chunk.bytes.subarray(chunk.ends[index - 1] ?? 0, chunk.ends[index]);
  const messages = chunk.messages.slice(index, index + 1);
  const last = chunk.cursors[index] as string;
  const gap = chunk.gaps.get(index);
  const gaps = new Map(gap ? [[0, gap]] : []);
  return { bytes, ends: [bytes.length], messages, cursors: [last], last, gaps };
}

/** An event from the value of its id on. */
export function eventTail({ bytes, ends }: EventChunk, index: number): Bytes {
  return bytes.subarray((ends[index - 1] ?? 0) + "id: ".length, ends[index]);
}

/** Its JSON; undefined when its payload is damaged. */
export function readable(message: StoredMessage, lease?: LeaseMembers): Bytes | undefined {
  try {
    return messageJson(message, lease);
  } catch (error) {
    if (error instanceof TidegateError && error.code === "data-damaged") return undefined;
    throw error;
  }
}

/** The first event of a stream, and what sets the reader's patience. */
export function encodeOpening(retryMs: number, control: Control): Bytes {
  return utf8.encode(`retry: ${Math.round(retryMs)}\n${controlText(control)}`);
}

/** The first event of a stream of leases: whose it is. */
export function encodeConsumer(retryMs: number, consumerId: string): Bytes {
  const data = JSON.stringify({ consumerId });
  return utf8.encode(`retry: ${Math.round(retryMs)}\nevent: control\ndata: ${data}\n\n`);
}

export function encodeControl(control: Control): Bytes {
  return utf8.encode(controlText(control));
}

/** Its id is the position to go on from, so that a reconnect does not tell of the gap again. */
export function encodeGap({ topic, requested, earliest }: Gap, id = earliest): Bytes {
  const data = JSON.stringify({ topic, requested, earliest });
  return utf8.encode(`id: ${position(id)}\nevent: gap\ndata: ${data}\n\n`);
}

export function encodeReconnect(reason: ReconnectReason, retryMs: number): Bytes {
  const data = JSON.stringify({ reason });
  return utf8.encode(`retry: ${Math.round(retryMs)}\nevent: reconnect\ndata: ${data}\n\n`);
}

function controlText({ cursor, upToDate, ended }: Control): string {
  const data = JSON.stringify({ cursor, upToDate, ended });
  return `id: ${position(cursor)}\nevent: control\ndata: ${data}\n\n`;
}

function position(value: string): string {
  if (/^[\x21-\x7e]+$/.test(value)) return value;
  throw new TypeError(`Cannot send ${JSON.stringify(value)} as an event id`);
}

export function concat(parts: readonly Uint8Array[], size: number): Bytes {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
