/**
 * Lists of messages in an answer, put together in bytes: a body is spliced in,
 * never parsed and written again.
 *
 * @module
 */

import type { StoredMessage } from "../src/broker/api.ts";
import { ByteWriter } from "./byte_writer.ts";
import type { Call } from "./call.ts";
import { type LeaseMembers, writeMessage } from "./message_json.ts";

/** What a message's JSON takes besides its payload, about. */
const MEMBERS_BYTES = 448;

/** `{"messages":[…]}`: what is leased, or looked at. */
export function messagesResponse(
  call: Call,
  messages: readonly (StoredMessage & LeaseMembers)[],
): Response {
  const out = writerFor(messages);
  out.text('{"messages":');
  writeList(out, messages, (message) => writeMessage(out, message, message));
  out.text("}");
  return bytesResponse(call, out);
}

/** A writer with room for them all. */
export function writerFor(messages: Iterable<StoredMessage>): ByteWriter {
  let bytes = 64;
  for (const { payload } of messages) bytes += payload.length + MEMBERS_BYTES;
  return new ByteWriter(bytes);
}

/** `[…]` of what `write` writes for each. */
export function writeList<T>(out: ByteWriter, items: readonly T[], write: (item: T) => void): void {
  out.text("[");
  let first = true;
  for (const item of items) {
    if (!first) out.text(",");
    first = false;
    write(item);
  }
  out.text("]");
}

/** What was written, as an answer in JSON. */
export function bytesResponse(call: Call, out: ByteWriter): Response {
  const headers = { "content-type": "application/json", "cache-control": "no-store" };
  return new Response(out.written(), { headers: call.headers(headers) });
}
