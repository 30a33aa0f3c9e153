/**
 * What records take in the log: who begins a unit says how large it may get.
 *
 * @module
 */

import { messageSizeMax } from "./base/message.ts";
import { FRAME_HEADER_SIZE } from "./frame.ts";
import type { RecordKind } from "./records/kind.ts";
import { KINDS, type KindName, type RecordOf } from "./records/mod.ts";

/** What a message takes in the log at most, its frame header included. */
export function messageFrameSizeMax(
  message: Parameters<typeof messageSizeMax>[0],
  bodySize: number,
): number {
  return FRAME_HEADER_SIZE + messageSizeMax(message, bodySize);
}

export function payloadOf<K extends KindName>(kind: K, record: RecordOf<K>): Uint8Array {
  const { encode } = KINDS[kind] as unknown as RecordKind<RecordOf<K>>;
  return encode(record);
}

/** What a record takes in the log, its frame header included. */
export function recordFrameSize<K extends KindName>(kind: K, record: RecordOf<K>): number {
  return FRAME_HEADER_SIZE + payloadOf(kind, record).length;
}
