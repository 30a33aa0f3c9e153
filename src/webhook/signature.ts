/**
 * Signing as in Standard Webhooks 1.0, so that the other side can check with a
 * library it has already:
 *
 *   webhook-id         names the event; whoever sees it twice has it already
 *   webhook-timestamp  seconds since the Unix epoch, so that old ones can be refused
 *   webhook-signature  v1,<base64 of HMAC-SHA256(key, "<id>.<timestamp>.<body>")>
 *
 * A secret is `whsec_` and the base64 of the key, or the key itself as text.
 *
 * @module
 */

import { assert } from "../../storage/base/assert.ts";
import type { Hmac } from "../../storage/base/hmac.ts";

/** What the specification asks of a key. */
export const KEY_BYTES_MIN = 24;
export const KEY_BYTES_MAX = 64;

const PREFIX = "whsec_";
const utf8 = new TextEncoder();

export interface Signed {
  readonly id: string;
  /** Milliseconds since the Unix epoch. */
  readonly now: number;
  readonly body: Uint8Array;
}

/** Says what is wrong with a secret, as the end of a sentence that begins with it; undefined when nothing is. */
export function secretFault(secret: string): string | undefined {
  const key = keyOf(secret);
  if (!key) return `must be base64 after ${PREFIX}`;
  if (key.length >= KEY_BYTES_MIN && key.length <= KEY_BYTES_MAX) return undefined;
  return `must be a key of ${KEY_BYTES_MIN} to ${KEY_BYTES_MAX} bytes`;
}

/** The headers of a request; without a key, all but the signature. */
export function signatureHeaders(
  { id, now, body }: Signed,
  { key, hmac }: { readonly key: Uint8Array | undefined; readonly hmac: Hmac },
): Record<string, string> {
  assert(/^[\x21-\x2d\x2f-\x7e]+$/.test(id), "an event id is visible ASCII without dots");
  const timestamp = String(Math.floor(now / 1000));
  const headers = { "webhook-id": id, "webhook-timestamp": timestamp };
  if (!key) return headers;
  const mac = hmac(key, joined(utf8.encode(`${id}.${timestamp}.`), body));
  return { ...headers, "webhook-signature": `v1,${base64(mac)}` };
}

/** @returns undefined when what follows `whsec_` is not base64. */
export function keyOf(secret: string): Uint8Array | undefined {
  if (!secret.startsWith(PREFIX)) return utf8.encode(secret);
  const text = secret.slice(PREFIX.length);
  // By hand, as `atob` takes white space and does without padding.
  if (!/^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) return undefined;
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function joined(head: Uint8Array, tail: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(head.length + tail.length);
  bytes.set(head);
  bytes.set(tail, head.length);
  return bytes;
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}
