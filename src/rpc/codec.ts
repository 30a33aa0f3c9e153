/**
 * How a value lies in a payload: the two generic ways.
 *
 * JSON with bytes, for everything that is not called thousands of times a second:
 *
 *   size u32 of the JSON · the JSON · the bytes of all Uint8Arrays in it, one
 *   behind the other; in the JSON each is {"$bytes":[from,to]}
 *
 * A payload of no bytes is `undefined`. So is a member that is undefined: it is
 * left out. What is read back holds views, never copies.
 *
 * @module
 */

import { decodeUtf8 } from "../../storage/base/bytes.ts";
import type { ByteReader } from "./byte_reader.ts";
import type { ByteWriter } from "./byte_writer.ts";
import { ProtocolError } from "./protocol_error.ts";

export interface Codec<T> {
  write(writer: ByteWriter, value: T): void;
  /** @throws {ProtocolError} and nothing else. */
  read(reader: ByteReader): T;
}

const BYTES = "$bytes";

/** For values that JSON can hold, and Uint8Arrays in them. The shape is not checked. */
export function json<T>(): Codec<T> {
  return { write: writeJson, read: (reader) => readJson(reader) as T };
}

/** The whole payload as it is. */
export const rawBytes: Codec<Uint8Array> = {
  write: (writer, value) => writer.raw(value),
  read: (reader) => reader.rest(),
};

function writeJson(writer: ByteWriter, value: unknown): void {
  if (value === undefined) return;
  const blobs: Uint8Array[] = [];
  let end = 0;
  // A Buffer has become something else by the time the replacer is given it.
  function takeOut(this: Record<string, unknown>, key: string, given: unknown): unknown {
    const member = this[key];
    if (!(member instanceof Uint8Array)) return given;
    blobs.push(member);
    const from = end;
    end += member.length;
    return { [BYTES]: [from, end] };
  }
  writer.text(JSON.stringify(value, takeOut));
  for (const blob of blobs) writer.raw(blob);
}

function readJson(reader: ByteReader): unknown {
  if (reader.left === 0) return undefined;
  const text = decodeUtf8(reader.sized());
  const blobs = reader.rest();
  const putIn = (_key: string, member: unknown) => {
    const range = rangeOf(member);
    return range ? blobs.subarray(...checked(range, blobs.length)) : member;
  };
  try {
    return blobs.length === 0 && !text.includes(`"${BYTES}"`)
      ? JSON.parse(text)
      : JSON.parse(text, putIn);
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    throw new ProtocolError("a payload is not JSON");
  }
}

function rangeOf(member: unknown): unknown {
  return typeof member === "object" && member !== null && BYTES in member
    ? member[BYTES]
    : undefined;
}

function checked(range: unknown, size: number): [from: number, to: number] {
  const [from, to] = Array.isArray(range) ? (range as unknown[]) : [];
  const ok = Number.isInteger(from) && Number.isInteger(to);
  if (!ok || (from as number) < 0 || (from as number) > (to as number) || (to as number) > size) {
    throw new ProtocolError("bytes in JSON lie outside of the payload");
  }
  return [from as number, to as number];
}
