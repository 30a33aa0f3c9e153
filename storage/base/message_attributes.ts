/**
 * What is said about a message besides its body, as it lies in the payload
 * (message.ts).
 *
 *   {tag u8, size u16, bytes}*, in ascending tag order
 *
 *     1 id · 2 key · 3 tag · 4 index key (repeated) ·
 *     5 property (repeated; nameSize u16, name, value) ·
 *     6 contentType · 7 traceparent · 8 tracestate
 *
 * A reader skips tags it does not know.
 *
 * @module
 */

import { assert } from "./assert.ts";
import { decodeUtf8, writeUtf8 } from "./bytes.ts";

export interface MessageAttributes {
  readonly id: string;
  readonly key?: string | undefined;
  readonly tag?: string | undefined;
  readonly index?: readonly string[] | undefined;
  readonly properties?: readonly (readonly [name: string, value: string])[] | undefined;
  readonly contentType?: string | undefined;
  readonly traceparent?: string | undefined;
  readonly tracestate?: string | undefined;
}

export const TAG = {
  id: 1,
  key: 2,
  tag: 3,
  index: 4,
  property: 5,
  contentType: 6,
  traceparent: 7,
  tracestate: 8,
} as const;

interface Target {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** Writes the attributes from `at`; returns the position behind them. */
export function writeAttributes(target: Target, at: number, attributes: MessageAttributes): number {
  const { id, key, tag, index, properties, contentType, traceparent, tracestate } = attributes;
  let end = writeText(target, at, { tag: TAG.id, value: id });
  // Asked here: most have few, and this is done for every message.
  if (key !== undefined) end = writeText(target, end, { tag: TAG.key, value: key });
  if (tag !== undefined) end = writeText(target, end, { tag: TAG.tag, value: tag });
  if (index) for (const value of index) end = writeText(target, end, { tag: TAG.index, value });
  if (properties) for (const property of properties) end = writeProperty(target, end, property);
  if (contentType !== undefined)
    end = writeText(target, end, { tag: TAG.contentType, value: contentType });
  if (traceparent !== undefined)
    end = writeText(target, end, { tag: TAG.traceparent, value: traceparent });
  if (tracestate !== undefined)
    end = writeText(target, end, { tag: TAG.tracestate, value: tracestate });
  return end;
}

function writeText(
  { bytes, view }: Target,
  at: number,
  { tag, value }: { readonly tag: number; readonly value: string },
): number {
  const end = writeUtf8(bytes, at + 3, value);
  assert(end - at - 3 <= 0xffff, "an attribute fits 65 535 bytes");
  bytes[at] = tag;
  view.setUint16(at + 1, end - at - 3);
  return end;
}

function writeProperty(
  { bytes, view }: Target,
  at: number,
  [name, value]: readonly [string, string],
): number {
  const valueAt = writeUtf8(bytes, at + 5, name);
  const end = writeUtf8(bytes, valueAt, value);
  assert(end - at - 3 <= 0xffff, "a property fits 65 535 bytes");
  bytes[at] = TAG.property;
  view.setUint16(at + 1, end - at - 3);
  view.setUint16(at + 3, valueAt - at - 5);
  return end;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Attributes with their lists, empty where there are none. */
export type ReadAttributes = Omit<MessageAttributes, "index" | "properties"> & {
  readonly index: readonly string[];
  readonly properties: readonly (readonly [name: string, value: string])[];
};

/** Undefined when the sizes disagree. */
export function readAttributes(
  { bytes, view }: Target,
  { from, to }: { readonly from: number; readonly to: number },
): ReadAttributes | undefined {
  const index: string[] = [];
  const properties: [string, string][] = [];
  const single: Mutable<Omit<MessageAttributes, "index" | "properties">> = { id: "" };
  for (let at = from; at < to; ) {
    if (at + 3 > to) return undefined;
    const tag = bytes[at];
    const valueAt = at + 3;
    at = valueAt + view.getUint16(at + 1);
    if (at > to) return undefined;
    if (tag === TAG.property) {
      const nameEnd = valueAt + 2 + (valueAt + 2 <= at ? view.getUint16(valueAt) : 0);
      if (nameEnd > at) return undefined;
      const name = decodeUtf8(bytes.subarray(valueAt + 2, nameEnd));
      properties.push([name, decodeUtf8(bytes.subarray(nameEnd, at))]);
      continue;
    }
    const value = decodeUtf8(bytes.subarray(valueAt, at));
    if (tag === TAG.id) single.id = value;
    else if (tag === TAG.key) single.key = value;
    else if (tag === TAG.tag) single.tag = value;
    else if (tag === TAG.index) index.push(value);
    else if (tag === TAG.contentType) single.contentType = value;
    else if (tag === TAG.traceparent) single.traceparent = value;
    else if (tag === TAG.tracestate) single.tracestate = value;
  }
  return { ...single, index, properties };
}
