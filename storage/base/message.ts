/**
 * The message: the payload of a `message` record, from the gateway that takes
 * it to the gateway that gives it out. The bytes are the same on disk, between
 * nodes and in a reader's hands; only the gateway at the end decodes them.
 *
 * All integers are big-endian.
 *
 *   at  size  field
 *    0     8  topicGen
 *    8     2  queueId
 *   10     8  queueOffset     all ones: deferred, it gets one when revealed
 *   18     4  keyHash         stableHash(key), 0 without a key
 *   22     4  tagHash         stableHash(tag), 0 without a tag
 *   26     8  bornAt          ms since the Unix epoch, the gateway's clock
 *   34     2  present         which optional fields follow, see below
 *   36     4  attributesSize  bytes
 *   40     …  optional fields, in this order:
 *               bit 0  deliverAt  u64
 *               bit 1  txnId      size u8, UTF-8
 *               bit 2  dedupe     keyHash 16 bytes, fingerprint 8 bytes
 *               bit 3  producer   id: size u8, UTF-8; epoch u32; seq u64
 *               bit 4  origin     brokerGroup u16, outSeq u64
 *    …     …  attributes, see message_attributes.ts
 *    …     …  body, to the end of the payload, as given
 *
 * Nothing here reads a file, a socket or a clock.
 *
 * @module
 */

import { assert } from "./assert.ts";
import { decodeUtf8, getI64, getU64, setI64, setU64, viewOf, writeShortText } from "./bytes.ts";
import { stableHashBytes } from "./hash.ts";
import {
  type MessageAttributes,
  type ReadAttributes,
  readAttributes,
  TAG,
  writeAttributes,
} from "./message_attributes.ts";

export type { MessageAttributes } from "./message_attributes.ts";

/** Where a message lies and how it came there. */
export interface MessageEnvelope {
  readonly topicGen: number;
  readonly queueId: number;
  /** −1 while deferred. */
  readonly queueOffset: number;
  readonly keyHash: number;
  readonly tagHash: number;
  readonly bornAt: number;
  readonly deliverAt?: number | undefined;
  readonly txnId?: string | undefined;
  readonly dedupe?: { readonly keyHash: Uint8Array; readonly fingerprint: Uint8Array } | undefined;
  readonly producer?:
    | { readonly id: string; readonly epoch: number; readonly seq: number }
    | undefined;
  readonly origin?: { readonly brokerGroup: number; readonly outSeq: number } | undefined;
}

export interface Message extends MessageEnvelope, ReadAttributes {
  /** A view into the payload it was decoded from. */
  readonly body: Uint8Array;
}

export const LIMITS = {
  bodyBytes: 4 * 1024 * 1024,
  keyBytes: 256,
  tagBytes: 128,
  indexKeys: 8,
  indexKeyBytes: 128,
  properties: 128,
  propertyBytes: 16 * 1024,
  contentTypeBytes: 256,
} as const;

const FIXED_SIZE = 40;
const ENVELOPE_SIZE_MAX = FIXED_SIZE + 8 + 256 + 24 + 268 + 10;

const PRESENT = { deliverAt: 1, txnId: 2, dedupe: 4, producer: 8, origin: 16 } as const;

/** Bytes to reserve before {@linkcode encodeMessage}: at least what it writes. */
export function messageSizeMax(attributes: MessageAttributes, bodySize: number): number {
  const { id, key, tag, contentType, traceparent, tracestate, index, properties } = attributes;
  let size = ENVELOPE_SIZE_MAX + bodySize + sizeMax(id) + sizeMax(key) + sizeMax(tag);
  size += sizeMax(contentType) + sizeMax(traceparent) + sizeMax(tracestate);
  for (const text of index ?? []) size += sizeMax(text);
  for (const [name, value] of properties ?? []) size += sizeMax(name) + sizeMax(value);
  return size;
}

/** A UTF-16 unit is at most 3 bytes; an attribute has 3 bytes before it, a property 2 more. */
function sizeMax(text: string | undefined): number {
  return text === undefined ? 0 : 3 * text.length + 5;
}

/**
 * Writes the payload into `target` from `at`; the caller has checked the limits
 * and reserved {@linkcode messageSizeMax} bytes.
 *
 * @returns the position behind the payload.
 */
export function encodeMessage(
  target: Uint8Array,
  at: number,
  message: {
    readonly envelope: MessageEnvelope;
    readonly attributes: MessageAttributes;
    readonly body: Uint8Array;
    /** Of `target`, where the caller has one. */
    readonly view?: DataView;
  },
): number {
  const { envelope, attributes, body, view = viewOf(target) } = message;
  assert(envelope.queueId >= 0 && envelope.queueId <= 0xffff, "queueId fits 16 bits");
  setU64(view, at, envelope.topicGen);
  view.setUint16(at + 8, envelope.queueId);
  setI64(view, at + 10, envelope.queueOffset);
  view.setUint32(at + 18, envelope.keyHash);
  view.setUint32(at + 22, envelope.tagHash);
  setU64(view, at + 26, envelope.bornAt);

  const attributesAt = writeOptional(target, view, at, envelope);
  const end = writeAttributes({ bytes: target, view }, attributesAt, attributes);
  view.setUint32(at + 36, end - attributesAt);

  target.set(body, end);
  return end + body.length;
}

function writeOptional(
  target: Uint8Array,
  view: DataView,
  at: number,
  envelope: MessageEnvelope,
): number {
  const { deliverAt, txnId, dedupe, producer, origin } = envelope;
  let present = 0;
  let end = at + FIXED_SIZE;
  if (deliverAt !== undefined) {
    present |= PRESENT.deliverAt;
    setU64(view, end, deliverAt);
    end += 8;
  }
  if (txnId !== undefined) {
    present |= PRESENT.txnId;
    end = writeShortText(target, end, txnId);
  }
  if (dedupe !== undefined) {
    present |= PRESENT.dedupe;
    assert(dedupe.keyHash.length === 16 && dedupe.fingerprint.length === 8, "dedupe sizes");
    target.set(dedupe.keyHash, end);
    target.set(dedupe.fingerprint, end + 16);
    end += 24;
  }
  if (producer !== undefined) {
    present |= PRESENT.producer;
    end = writeShortText(target, end, producer.id);
    view.setUint32(end, producer.epoch);
    setU64(view, end + 4, producer.seq);
    end += 12;
  }
  if (origin !== undefined) {
    present |= PRESENT.origin;
    view.setUint16(end, origin.brokerGroup);
    setU64(view, end + 2, origin.outSeq);
    end += 10;
  }
  view.setUint16(at + 34, present);
  return end;
}

/** The envelope's fixed fields, read in place: what an index needs of a message. */
export const MessageFields = {
  topicGen: (view: DataView, at: number) => getU64(view, at),
  queueId: (view: DataView, at: number) => view.getUint16(at + 8),
  queueOffset: (view: DataView, at: number) => getI64(view, at + 10),
  keyHash: (view: DataView, at: number) => view.getUint32(at + 18),
  tagHash: (view: DataView, at: number) => view.getUint32(at + 22),
} as const;

/** Until when a deferred message waits; undefined when it is for a decision, not a time. */
export function deferredUntil(view: DataView, at: number): number | undefined {
  const waitsFor = view.getUint16(at + 34) & (PRESENT.deliverAt | PRESENT.txnId);
  return waitsFor === PRESENT.deliverAt ? getU64(view, at + FIXED_SIZE) : undefined;
}

/** `stableHash` of the id of the payload in `[at, end)`; undefined when it is not a message. */
export function messageIdHash(source: PayloadSource, range: PayloadRange): number | undefined {
  const { bytes, view } = source;
  const idAt = attributesAt(source, range);
  if (idAt === undefined || idAt + 3 > range.end || bytes[idAt] !== TAG.id) return undefined;
  const to = idAt + 3 + view.getUint16(idAt + 1);
  return to <= range.end ? stableHashBytes(bytes, { from: idAt + 3, to }) : undefined;
}

export interface PayloadSource {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

export interface PayloadRange {
  readonly at: number;
  readonly end: number;
}

/** Where the attributes of the payload in `[at, end)` begin; undefined when it is not a message. */
export function attributesAt(
  { bytes, view }: PayloadSource,
  { at, end }: PayloadRange,
): number | undefined {
  if (end - at < FIXED_SIZE) return undefined;
  if (view.getUint16(at + 34) === 0) return at + FIXED_SIZE;
  const payload = bytes.subarray(at, end);
  const optional = readOptional(payload, viewOf(payload));
  return optional && at + optional.end;
}

/** What the payload in `[at, end)` says about its idempotency key; undefined when it has none. */
export function messageDedupe(
  { bytes, view }: PayloadSource,
  { at, end }: PayloadRange,
): MessageEnvelope["dedupe"] {
  if (end - at < FIXED_SIZE || (view.getUint16(at + 34) & PRESENT.dedupe) === 0) return undefined;
  const payload = bytes.subarray(at, end);
  return readOptional(payload, viewOf(payload))?.fields.dedupe;
}

/**
 * Decodes a payload whose checksum held; `body` is a view.
 *
 * @returns undefined when the payload is not a message: its sizes disagree.
 */
export function decodeMessage(payload: Uint8Array): Message | undefined {
  if (payload.length < FIXED_SIZE) return undefined;
  const view = viewOf(payload);
  const optional = readOptional(payload, view);
  const range = optional && rangeBehind(payload, { view, from: optional.end });
  const attributes = range && readAttributes({ bytes: payload, view }, range);
  if (!attributes) return undefined;
  return {
    ...fixedFields(view, 0),
    ...optional.fields,
    ...attributes,
    body: payload.subarray(range.to),
  };
}

/** What a fold of the log is given of a message: where it lies, and all of one it may have to answer for. */
export type FoldedMessage =
  | Message
  | (MessageEnvelope & { readonly txnId?: undefined; readonly producer?: undefined });

/**
 * Decodes a payload as far as a fold needs it: of a message that is neither of a
 * transaction nor of a producer's sequence only the envelope's fixed fields. A
 * start that walks a segment reads hundreds of thousands of them.
 *
 * @returns undefined when the payload in `[at, end)` is not a message.
 */
export function decodeFolded(
  { bytes, view }: { readonly bytes: Uint8Array; readonly view: DataView },
  { at, end }: { readonly at: number; readonly end: number },
): FoldedMessage | undefined {
  if (end - at < FIXED_SIZE) return undefined;
  if ((view.getUint16(at + 34) & (PRESENT.txnId | PRESENT.producer)) !== 0) {
    return decodeMessage(bytes.subarray(at, end));
  }
  const isWhole = at + FIXED_SIZE + view.getUint32(at + 36) <= end;
  return isWhole ? fixedFields(view, at) : undefined;
}

function fixedFields(view: DataView, at: number) {
  return {
    topicGen: MessageFields.topicGen(view, at),
    queueId: MessageFields.queueId(view, at),
    queueOffset: MessageFields.queueOffset(view, at),
    keyHash: MessageFields.keyHash(view, at),
    tagHash: MessageFields.tagHash(view, at),
    bornAt: getU64(view, at + 26),
  };
}

/** Where the attributes lie in a payload; undefined when it is not a message. */
export function attributesRange(
  payload: Uint8Array,
  view: DataView,
): { readonly from: number; readonly to: number } | undefined {
  if (payload.length < FIXED_SIZE) return undefined;
  const optional = readOptional(payload, view);
  return optional && rangeBehind(payload, { view, from: optional.end });
}

function rangeBehind(
  payload: Uint8Array,
  { view, from }: { readonly view: DataView; readonly from: number },
) {
  const to = from + view.getUint32(36);
  return to <= payload.length ? { from, to } : undefined;
}

type Optional = Pick<MessageEnvelope, "deliverAt" | "txnId" | "dedupe" | "producer" | "origin">;

const NO_OPTIONAL = { fields: {}, end: FIXED_SIZE };

function readOptional(
  payload: Uint8Array,
  view: DataView,
): { readonly fields: Optional; readonly end: number } | undefined {
  const present = view.getUint16(34);
  let end = FIXED_SIZE;
  if (present === 0) return NO_OPTIONAL;
  const fields: { -readonly [K in keyof Optional]: Optional[K] } = {};
  const has = (bit: number, size: number) => (present & bit) !== 0 && end + size <= payload.length;
  const shortText = () => {
    const size = payload[end] ?? 0;
    const value = decodeUtf8(payload.subarray(end + 1, end + 1 + size));
    end += 1 + size;
    return value;
  };
  if (has(PRESENT.deliverAt, 8)) {
    fields.deliverAt = getU64(view, end);
    end += 8;
  }
  if (has(PRESENT.txnId, 1)) fields.txnId = shortText();
  if (has(PRESENT.dedupe, 24)) {
    const keyHash = payload.slice(end, end + 16);
    fields.dedupe = { keyHash, fingerprint: payload.slice(end + 16, end + 24) };
    end += 24;
  }
  if (has(PRESENT.producer, 1)) {
    const id = shortText();
    if (end + 12 > payload.length) return undefined;
    fields.producer = { id, epoch: view.getUint32(end), seq: getU64(view, end + 4) };
    end += 12;
  }
  if (has(PRESENT.origin, 10)) {
    fields.origin = { brokerGroup: view.getUint16(end), outSeq: getU64(view, end + 2) };
    end += 10;
  }
  return end <= payload.length ? { fields, end } : undefined;
}
