/**
 * The frame: the one thing that travels, over a socket or as the body of an HTTP
 * request.
 *
 * All integers are big-endian.
 *
 *   at  size  field
 *    0     4  size      whole frame in bytes, this field included
 *    4     4  crc       CRC-32 of bytes [8, size)
 *    8     1  kind      see FRAME
 *    9     1  flags     bit 0 failed: the payload of a response is an error
 *                       bit 1 stream: a request for many items
 *   10     2  methodId  of a request; else 0
 *   12     4  callId    chosen by who calls, unique among its calls under way;
 *                       0: the frame is about the connection
 *   16     4  value     request: milliseconds left to answer, 0: no limit
 *                       credit: bytes of items that may be sent from now on
 *                       else 0
 *   20     …  payload   by kind and method
 *
 * The deadline is time left and no time of day: clocks of two machines differ.
 * The crc is there because TCP's checksum lets one damaged packet in some ten
 * thousand through, and what a node stores it seals with a checksum of its own.
 *
 * A frame that is not valid (its size out of bounds, its crc different, a kind or
 * flag nobody knows) ends the connection: there is no way to find the next one.
 *
 * @module
 */

import { viewOf } from "../../storage/base/bytes.ts";
import type { Crc32 } from "../../storage/base/checksum.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { type ByteRange, ByteReader } from "./byte_reader.ts";
import type { ByteWriter } from "./byte_writer.ts";
import { ProtocolError } from "./protocol_error.ts";

export const HEADER_SIZE = 20;

/** A page of 16 MiB, the largest answer there is, with what is said about its messages. */
export const FRAME_SIZE_MAX = 24 * 1024 * 1024;

/** Kinds are wire format: append new ones, never renumber. */
export const FRAME = {
  hello: 1,
  challenge: 2,
  proof: 3,
  welcome: 4,
  refusal: 5,
  request: 16,
  response: 17,
  item: 18,
  credit: 19,
  cancel: 20,
  ping: 32,
  pong: 33,
  goaway: 34,
} as const;

export type FrameKind = (typeof FRAME)[keyof typeof FRAME];

export const FLAG = { failed: 1, stream: 2 } as const;

const KNOWN: ReadonlySet<number> = new Set(Object.values(FRAME));
const FLAGS_KNOWN = FLAG.failed | FLAG.stream;

export interface FrameHead {
  readonly kind: FrameKind;
  readonly flags?: number;
  readonly methodId?: number;
  readonly callId?: number;
  readonly value?: number;
}

export interface Frame extends Required<FrameHead> {
  /** At the start of the payload; what it gives out are views of what was received. */
  readonly payload: ByteReader;
}

/**
 * Writes a whole frame; `write` adds the payload. When that throws, nothing is written.
 *
 * @returns its size.
 * @throws `body-too-large`
 */
export function writeFrame(
  writer: ByteWriter,
  head: FrameHead,
  { crc32, write }: { readonly crc32: Crc32; readonly write?: (writer: ByteWriter) => void },
): number {
  const before = writer.pending;
  writer.reserve(HEADER_SIZE);
  writer.at += HEADER_SIZE;
  try {
    write?.(writer);
    checkSize(writer.pending - before);
  } catch (error) {
    writer.truncate(before);
    throw error;
  }
  const size = writer.pending - before;
  const { bytes, view } = writer;
  const at = writer.at - size;
  view.setUint32(at, size);
  bytes[at + 8] = head.kind;
  bytes[at + 9] = head.flags ?? 0;
  view.setUint16(at + 10, head.methodId ?? 0);
  view.setUint32(at + 12, head.callId ?? 0);
  view.setUint32(at + 16, head.value ?? 0);
  view.setUint32(at + 4, crc32(bytes.subarray(at + 8, at + size)));
  return size;
}

/** The `value` of a request with so many milliseconds left. */
export function timeLeft(ms: number): number {
  return ms >= 0xffff_ffff ? 0 : Math.max(1, Math.ceil(ms)); // 49 days are as good as no limit
}

function checkSize(size: number): void {
  if (size <= FRAME_SIZE_MAX) return;
  const detail = `Cannot send ${size} bytes: a frame holds ${FRAME_SIZE_MAX}`;
  throw new TidegateError("body-too-large", detail, { limit: FRAME_SIZE_MAX });
}

/**
 * Decodes the frame that is said to lie in `[from, to)`, all of it.
 *
 * @throws {ProtocolError} when it is not valid.
 */
export function decodeFrame({ bytes, view, from, to }: ByteRange, crc32: Crc32): Frame {
  if (to - from < HEADER_SIZE || view.getUint32(from) !== to - from) {
    throw new ProtocolError("a frame has another size than it says");
  }
  if (view.getUint32(from + 4) !== crc32(bytes.subarray(from + 8, to))) {
    throw new ProtocolError("a crc differs");
  }
  const [kind, flags] = [bytes[from + 8] as number, bytes[from + 9] as number];
  if (!KNOWN.has(kind)) throw new ProtocolError(`no frame is of kind ${kind}`);
  if ((flags & ~FLAGS_KNOWN) !== 0) throw new ProtocolError(`no frame has flags ${flags}`);
  return {
    kind: kind as FrameKind,
    flags,
    methodId: view.getUint16(from + 10),
    callId: view.getUint32(from + 12),
    value: view.getUint32(from + 16),
    payload: new ByteReader({ bytes, view, from: from + HEADER_SIZE, to }),
  };
}

/** {@linkcode decodeFrame} of all of `bytes`. */
export function decodeWhole(bytes: Uint8Array, crc32: Crc32): Frame {
  return decodeFrame({ bytes, view: viewOf(bytes), from: 0, to: bytes.length }, crc32);
}
