/**
 * How a consume queue stands in a snapshot.
 *
 *   key    "Q" · topicGen u64 · queueId u16
 *   value  start u64 · end u64 · links (sidecar.ts, 56 bytes)
 *
 * @module
 */

import { getU64, setU64, viewOf } from "./base/bytes.ts";
import type { QueueMark } from "./consume_queues.ts";
import { LINKS_SIZE, readLinks, writeLinks } from "./sidecar.ts";
import type { Change } from "./snapshot.ts";

/** First byte of the keys of this room; the broker's begin with others. */
export const QUEUE_MARK_PREFIX = 0x51;
const KEY_SIZE = 11;

export function encodeQueueMark(mark: QueueMark): Change {
  const value = new Uint8Array(16 + LINKS_SIZE);
  setU64(viewOf(value), 0, mark.start);
  setU64(viewOf(value), 8, mark.end);
  writeLinks(viewOf(value), 16, mark.links);
  return [queueKey(mark), value];
}

/** Undefined for a key that is not of a queue. */
export function decodeQueueMark([key, value]: Change): QueueMark | undefined {
  if (!value || key[0] !== QUEUE_MARK_PREFIX || key.length !== KEY_SIZE) return undefined;
  const view = viewOf(value);
  return {
    topicGen: getU64(viewOf(key), 1),
    queueId: viewOf(key).getUint16(9),
    start: getU64(view, 0),
    end: getU64(view, 8),
    links: readLinks(view, 16),
  };
}

export function queueKey({
  topicGen,
  queueId,
}: {
  readonly topicGen: number;
  readonly queueId: number;
}): Uint8Array {
  const key = new Uint8Array(KEY_SIZE);
  key[0] = QUEUE_MARK_PREFIX;
  setU64(viewOf(key), 1, topicGen);
  viewOf(key).setUint16(9, queueId);
  return key;
}
