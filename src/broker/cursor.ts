/**
 * Cursors: the position after the last message a reader got. Opaque to readers,
 * in base32hex (0-9, a-v), so that they are safe in URLs, headers and SSE ids
 * and the text order of a queue's cursors is the order of its messages.
 *
 *   queue cursor    1 u8 · topicGen u64 · queueId u16 · queueOffset u64
 *                   the next message of that queue
 *   stream cursor   2 u8 · topicGen u64 · count u8 · count × (brokerGroup u16 ·
 *                   logOffset u64 · index u32)
 *                   one log position per broker group, in order of their numbers:
 *                   the first message visible at or after logOffset, `index` of
 *                   those made visible by the very record at logOffset left out
 *
 * A cursor names the topic's generation, so one of a deleted topic is told apart.
 *
 * @module
 */

import { assert } from "../../storage/base/assert.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { fromBase32, lettersFor, spell, toBase32 } from "./base32.ts";
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
  /** At least one, at most 255; ascending by broker group. */
  readonly positions: readonly GroupPosition[];
}

/** In the log of one broker group. */
export interface StreamPosition {
  readonly logOffset: number;
  readonly index: number;
}

export interface GroupPosition extends StreamPosition {
  readonly brokerGroup: number;
}

const QUEUE = 1;
const STREAM = 2;
const QUEUE_SIZE = 19;
const POSITIONS_AT = 10;
const POSITION_SIZE = 14;
/** One of a single broker group, which is what brokers make of every message. */
const STREAM_SIZE = POSITIONS_AT + POSITION_SIZE;

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
  const { topicGen, positions } = cursor;
  assert(positions.length > 0 && positions.length <= 0xff, "the count of positions fits a byte");
  const single = positions.length === 1;
  const size = POSITIONS_AT + positions.length * POSITION_SIZE;
  const bytes = single ? streamBytes : new Uint8Array(size);
  const view = single ? streamView : viewOf(bytes);
  bytes[0] = STREAM;
  setU64(view, 1, topicGen);
  bytes[9] = positions.length;
  let at = POSITIONS_AT;
  for (const { brokerGroup, logOffset, index } of positions) {
    view.setUint16(at, brokerGroup);
    setU64(view, at + 2, logOffset);
    view.setUint32(at + 10, index);
    at += POSITION_SIZE;
  }
  if (!single) return toBase32(bytes);
  spell(bytes, { letters: streamLetters, from: 0 });
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
  const positions = bytes?.[0] === STREAM ? decodePositions(bytes) : undefined;
  if (!bytes || !positions) throw foreign();
  return { kind: "stream", topicGen: getU64(viewOf(bytes), 1), positions };
}

/** Undefined when these are no positions in ascending order. */
function decodePositions(bytes: Uint8Array): GroupPosition[] | undefined {
  const count = bytes[9] ?? 0;
  if (count === 0 || bytes.length !== POSITIONS_AT + count * POSITION_SIZE) return undefined;
  const view = viewOf(bytes);
  const positions: GroupPosition[] = [];
  for (let at = POSITIONS_AT; at < bytes.length; at += POSITION_SIZE) {
    const brokerGroup = view.getUint16(at);
    if (brokerGroup <= (positions.at(-1)?.brokerGroup ?? -1)) return undefined;
    const [logOffset, index] = [getU64(view, at + 2), view.getUint32(at + 10)];
    positions.push({ brokerGroup, logOffset, index });
  }
  return positions;
}

/** The position in the log of one broker group. @throws `invalid-cursor` when it names none. */
export function positionOf({ positions }: StreamCursor, brokerGroup: number): StreamPosition {
  const found = positions.find((one) => one.brokerGroup === brokerGroup);
  if (!found) throw foreign();
  return { logOffset: found.logOffset, index: found.index };
}

function foreign(): TidegateError {
  return new TidegateError("invalid-cursor", "Cannot read the cursor: it is not one of ours");
}
