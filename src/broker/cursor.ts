/**
 * Cursors: the position after the last message a reader got. Opaque to readers,
 * in base32hex (0-9, a-v), so that they are safe in URLs, headers and SSE ids
 * and the text order of a queue's cursors is the order of its messages.
 *
 *   queue cursor    1 u8 · topicGen u64 · queueId u16 · queueOffset u64
 *                   the next message of that queue
 *   stream cursor   2 u8 · topicGen u64 · count u8 · count × (brokerGroup u16 ·
 *                   logOffset u64 · index u32)
 *                   one log position per broker group: the first message visible
 *                   at or after logOffset, `index` of those made visible by the
 *                   very record at logOffset left out
 *
 * A cursor names the topic's generation, so one of a deleted topic is told apart.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { fromBase32, lettersFor, spell } from "./base32.ts";
import { decodeUtf8, getU64, setU64, viewOf } from "../../storage/base/bytes.ts";

export interface QueueCursor {
  readonly kind: "queue";
  readonly topicGen: number;
  readonly queueId: number;
  readonly queueOffset: number;
}

export interface StreamCursor {
  readonly kind: "stream";
  readonly topicGen: number;
  readonly position: StreamPosition;
}

export interface StreamPosition {
  readonly logOffset: number;
  readonly index: number;
}

const QUEUE = 1;
const STREAM = 2;
const QUEUE_SIZE = 19;
const STREAM_SIZE = 24; // of one broker group, all that this build has
/** Broker groups are numbered from here. */
const BROKER_GROUP = 0;

/** What is encoded at the moment. */
const queueBytes = new Uint8Array(QUEUE_SIZE);
const queueView = viewOf(queueBytes);
const queueLetters = lettersFor(QUEUE_SIZE);
/** The letters of the first ten bytes are its, and of queues below 256. */
let lastTopicGen = -1;
const streamBytes = new Uint8Array(STREAM_SIZE);
const streamView = viewOf(streamBytes);
const streamLetters = lettersFor(STREAM_SIZE);

export function encodeQueueCursor({
  topicGen,
  queueId,
  queueOffset,
}: Omit<QueueCursor, "kind">): string {
  queueView.setUint16(9, queueId);
  setU64(queueView, 11, queueOffset);
  if (topicGen === lastTopicGen && queueId <= 0xff) {
    spell(queueBytes, { letters: queueLetters, from: 10 });
  } else {
    queueBytes[0] = QUEUE;
    setU64(queueView, 1, topicGen);
    spell(queueBytes, { letters: queueLetters, from: 0 });
    lastTopicGen = queueId <= 0xff ? topicGen : -1;
  }
  return decodeUtf8(queueLetters);
}

export function encodeStreamCursor(cursor: Omit<StreamCursor, "kind">): string {
  streamBytes[0] = STREAM;
  setU64(streamView, 1, cursor.topicGen);
  streamBytes[9] = 1;
  streamView.setUint16(10, BROKER_GROUP);
  setU64(streamView, 12, cursor.position.logOffset);
  streamView.setUint32(20, cursor.position.index);
  spell(streamBytes, { letters: streamLetters, from: 0 });
  return decodeUtf8(streamLetters);
}

/** @throws `invalid-cursor` */
export function decodeCursor(text: string): QueueCursor | StreamCursor {
  const bytes = fromBase32(text);
  if (bytes?.[0] === QUEUE && bytes.length === QUEUE_SIZE) {
    const view = viewOf(bytes);
    return {
      kind: "queue",
      topicGen: getU64(view, 1),
      queueId: view.getUint16(9),
      queueOffset: getU64(view, 11),
    };
  }
  if (bytes?.[0] === STREAM && bytes.length === STREAM_SIZE && bytes[9] === 1) {
    const view = viewOf(bytes);
    const position = { logOffset: getU64(view, 12), index: view.getUint32(20) };
    if (view.getUint16(10) === BROKER_GROUP) {
      return { kind: "stream", topicGen: getU64(view, 1), position };
    }
  }
  throw new TidegateError("invalid-cursor", "Cannot read the cursor: it is not one of ours");
}
