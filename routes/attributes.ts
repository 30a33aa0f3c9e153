/**
 * The rules of message attributes, the same whether they come as headers,
 * query parameters or members of a JSON batch.
 *
 * Each check returns what is wrong, in words that follow the attribute's name,
 * or undefined. Control characters are refused everywhere: attributes end up
 * in headers, logs and event streams.
 *
 * @module
 */

import { LIMITS } from "../storage/base/message.ts";
import { MESSAGE_ID } from "./message_id.ts";

// oxlint-disable-next-line no-control-regex -- they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/;
const PRINTABLE = /^[\x20-\x7e]+$/;

const utf8 = new TextEncoder();

/** Bytes of `text` in UTF-8, counted only when it may matter. */
function exceeds(text: string, bytes: number): boolean {
  if (text.length > bytes) return true;
  return text.length * 3 > bytes && utf8.encode(text).length > bytes;
}

function textFault(text: string, bytesMax: number): string | undefined {
  if (text === "") return "must not be empty";
  if (exceeds(text, bytesMax)) return `must be at most ${bytesMax} bytes`;
  if (CONTROL.test(text)) return "must not hold control characters";
  if (!text.isWellFormed()) return "must not hold half of a surrogate pair";
  return undefined;
}

export function keyFault(key: string): string | undefined {
  return textFault(key, LIMITS.keyBytes);
}

export function tagFault(tag: string): string | undefined {
  if (tag.includes("|")) return "must not hold |";
  return textFault(tag, LIMITS.tagBytes);
}

export function idFault(id: string): string | undefined {
  return MESSAGE_ID.test(id) ? undefined : `must match ${MESSAGE_ID.source}`;
}

const IDEMPOTENCY_KEY_MAX = 256;
const PRODUCER_ID_MAX = 128;

export function idempotencyKeyFault(key: string): string | undefined {
  return visibleFault(key, IDEMPOTENCY_KEY_MAX);
}

export function producerIdFault(id: string): string | undefined {
  return visibleFault(id, PRODUCER_ID_MAX);
}

function visibleFault(text: string, bytesMax: number): string | undefined {
  return textFault(text, bytesMax) ?? (/\s/.test(text) ? "must not hold white space" : undefined);
}

export function indexFault(index: readonly string[]): string | undefined {
  if (index.length > LIMITS.indexKeys) return `must be at most ${LIMITS.indexKeys} keys`;
  for (const key of index) {
    const fault = textFault(key, LIMITS.indexKeyBytes);
    if (fault !== undefined) return `${fault} (each key)`;
  }
  return undefined;
}

export function propertiesFault(
  properties: readonly (readonly [name: string, value: string])[],
): string | undefined {
  if (properties.length > LIMITS.properties) return `must be at most ${LIMITS.properties}`;
  let units = 0;
  for (const [name, value] of properties) {
    if (name === "") return "must have names";
    if (CONTROL.test(name) || CONTROL.test(value)) return "must not hold control characters";
    if (!name.isWellFormed() || !value.isWellFormed()) {
      return "must not hold half of a surrogate pair";
    }
    units += name.length + value.length;
  }
  if (units * 3 <= LIMITS.propertyBytes) return undefined;
  const bytes = properties.reduce(
    (sum, [name, value]) => sum + utf8.encode(name).length + utf8.encode(value).length,
    0,
  );
  return bytes > LIMITS.propertyBytes
    ? `must be at most ${LIMITS.propertyBytes} bytes together`
    : undefined;
}

export function contentTypeFault(contentType: string): string | undefined {
  if (!PRINTABLE.test(contentType)) return "must be printable ASCII";
  if (contentType.length > LIMITS.contentTypeBytes) {
    return `must be at most ${LIMITS.contentTypeBytes} bytes`;
  }
  return undefined;
}

/** CloudEvents have an issue of their own; taking them as opaque bodies would be a lie. */
export function isCloudEvents(contentType: string | undefined): boolean {
  return contentType !== undefined && /^application\/cloudevents\b/i.test(contentType);
}
