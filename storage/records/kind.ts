/**
 * What a record kind is: its number on disk, its name, and its codec.
 *
 * @module
 */

import { type Field, Reader, type Shape, struct, Writer } from "./fields.ts";

export interface RecordKind<T> {
  /** On disk: never renumbered, never reused. */
  readonly id: number;
  readonly name: string;
  /** A payload of its own bytes. */
  encode(record: T): Uint8Array;
  /** Undefined when the payload is not of this kind: it runs short or over. */
  decode(payload: Uint8Array): T | undefined;
  /** The record in one line, for people. */
  describe(record: T): string;
}

export function defineKind<S extends Record<string, Field<unknown>>>(
  kind: { readonly id: number; readonly name: string },
  fields: S,
): RecordKind<Shape<S>> {
  const layout = struct(fields);
  return {
    ...kind,
    encode(record) {
      const writer = new Writer();
      layout.write(writer, record);
      return writer.bytes;
    },
    decode(payload) {
      const reader = new Reader(payload);
      const record = layout.read(reader);
      return reader.failed || reader.left > 0 ? undefined : record;
    },
    describe: (record) => describeFields(record),
  };
}

/** `name=value` pairs; bytes as hex, long ones cut. */
export function describeFields(record: Record<string, unknown>): string {
  return Object.entries(record)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${show(value)}`)
    .join(" ");
}

function show(value: unknown): string {
  if (value instanceof Uint8Array) {
    const hex = [...value.subarray(0, 16)]
      .map((byte) => byte.toString(16).padStart(2, "0"))
      .join("");
    return value.length > 16 ? `${hex}…(${value.length} bytes)` : hex;
  }
  return JSON.stringify(value, (_, inner: unknown) =>
    inner instanceof Uint8Array ? show(inner) : inner,
  );
}
