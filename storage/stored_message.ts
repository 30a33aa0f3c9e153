/**
 * The message in a frame, be it the message's own record or a `carry`, which holds
 * the payload unchanged behind a place of its own (records/carry.ts):
 *
 *   at  size  of a carry's payload
 *    0     8  oldBodyLogOffset
 *    8     8  topicGen
 *   16     2  queueId
 *   18     8  queueOffset   −1: still deferred
 *   26     8  visibleAt
 *   34     …  the message
 *
 * @module
 */

import { getI64, getU64 } from "./base/bytes.ts";
import { deferredUntil, MessageFields } from "./base/message.ts";
import { FLAG_DEFERRED, type Frame, FRAME_HEADER_SIZE } from "./frame.ts";
import { KINDS } from "./records/mod.ts";

const CARRY_HEAD_SIZE = 34;

export class StoredMessageFrame {
  readonly #frame: Frame;
  /** Where the message's payload begins and ends, in the frame's bytes. */
  readonly at: number;
  readonly end: number;
  /** It was copied forward. */
  readonly carried: boolean;

  constructor(frame: Frame, headSize: number) {
    this.#frame = frame;
    this.at = frame.payloadAt + headSize;
    this.end = frame.at + frame.size;
    this.carried = headSize > 0;
  }

  /** A view; made when asked for, since an index that looks at each message needs none. */
  get payload(): Uint8Array {
    return this.#frame.bytes.subarray(this.at, this.end);
  }

  /** As the frame has it; −1 while deferred, and in the own record of one that was revealed. */
  get queueOffset(): number {
    const { view, payloadAt } = this.#frame;
    return this.carried ? getI64(view, payloadAt + 18) : MessageFields.queueOffset(view, this.at);
  }
}

/** Undefined when the frame holds no message. */
export function messageIn(frame: Frame | undefined): StoredMessageFrame | undefined {
  const head = frame && headSize(frame);
  if (!frame || head === undefined) return undefined;
  return head + FRAME_HEADER_SIZE > frame.size ? undefined : new StoredMessageFrame(frame, head);
}

function headSize({ kind }: Frame): number | undefined {
  if (kind === KINDS.message.id) return 0;
  return kind === KINDS.carry.id ? CARRY_HEAD_SIZE : undefined;
}

/** Where the body lay before it was copied; undefined for a frame that is no carry. */
export function carriedFrom({ kind, view, payloadAt }: Frame): number | undefined {
  return kind === KINDS.carry.id ? getU64(view, payloadAt) : undefined;
}

/** When the message in the frame is due; undefined when none waits for its time there. */
export function dueAtIn(frame: Frame): number | undefined {
  const message = messageIn(frame);
  const waits = message?.carried ? message.queueOffset === -1 : (frame.flags & FLAG_DEFERRED) !== 0;
  return message && waits ? deferredUntil(frame.view, message.at) : undefined;
}
