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
 *    …     …  attributes: {tag u8, size u16, bytes}*, in ascending tag order;
 *             a reader skips tags it does not know
 *               1 id · 2 key · 3 tag · 4 index key (repeated) ·
 *               5 property (repeated; nameSize u16, name, value) ·
 *               6 contentType · 7 traceparent · 8 tracestate
 *    …     …  body, to the end of the payload, as given
 *
 * Nothing here reads a file, a socket or a clock.
 *
 * @module
 */

import { assert } from "./assert.ts";
import {
  decodeUtf8,
  getI64,
  getU64,
  setI64,
  setU64,
  viewOf,
  writeShortText,
  writeUtf8,
} from "./bytes.ts";
import { stableHashBytes } from "./hash.ts";

/** What is said about a message besides its body. */
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

export interface Message extends MessageEnvelope, MessageAttributes {
  readonly index: readonly string[];
  readonly properties: readonly (readonly [name: string, value: string])[];
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
const TAG = {
  id: 1,
  key: 2,
  tag: 3,
  index: 4,
  property: 5,
  contentType: 6,
  traceparent: 7,
  tracestate: 8,
} as const;

/** Bytes to reserve before {@linkcode encodeMessage}: at least what it writes. */
export function messageSizeMax(attributes: MessageAttributes, bodySize: number): number {
  const { id, key, tag, contentType, traceparent, tracestate, index, properties } = attributes;
  const texts = [id, key, tag, contentType, traceparent, tracestate];
  if (index) texts.push(...index);
  if (properties) texts.push(...properties.flat());
  let size = ENVELOPE_SIZE_MAX + bodySize;
  // A UTF-16 unit is at most 3 bytes; an attribute has 3 bytes before it, a property 2 more.
  for (const text of texts) if (text !== undefined) size += 3 * text.length + 5;
  return size;
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
  message: { envelope: MessageEnvelope; attributes: MessageAttributes; body: Uint8Array },
): number {
  const { envelope, attributes, body } = message;
  const view = viewOf(target);
  assert(envelope.queueId >= 0 && envelope.queueId <= 0xffff, "queueId fits 16 bits");
  setU64(view, at, envelope.topicGen);
  view.setUint16(at + 8, envelope.queueId);
  setI64(view, at + 10, envelope.queueOffset);
  view.setUint32(at + 18, envelope.keyHash);
  view.setUint32(at + 22, envelope.tagHash);
  setU64(view, at + 26, envelope.bornAt);

  const attributesAt = writeOptional(target, view, at, envelope);
  let end = writeText(target, view, attributesAt, TAG.id, attributes.id);
  end = writeText(target, view, end, TAG.key, attributes.key);
  end = writeText(target, view, end, TAG.tag, attributes.tag);
  for (const key of attributes.index ?? []) end = writeText(target, view, end, TAG.index, key);
  for (const property of attributes.properties ?? []) {
    end = writeProperty(target, view, end, property);
  }
  end = writeText(target, view, end, TAG.contentType, attributes.contentType);
  end = writeText(target, view, end, TAG.traceparent, attributes.traceparent);
  end = writeText(target, view, end, TAG.tracestate, attributes.tracestate);
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

function writeText(
  target: Uint8Array,
  view: DataView,
  at: number,
  tag: number,
  value: string | undefined,
): number {
  if (value === undefined) return at;
  const end = writeUtf8(target, at + 3, value);
  assert(end - at - 3 <= 0xffff, "an attribute fits 65 535 bytes");
  target[at] = tag;
  view.setUint16(at + 1, end - at - 3);
  return end;
}

function writeProperty(
  target: Uint8Array,
  view: DataView,
  at: number,
  [name, value]: readonly [string, string],
): number {
  const valueAt = writeUtf8(target, at + 5, name);
  const end = writeUtf8(target, valueAt, value);
  assert(end - at - 3 <= 0xffff, "a property fits 65 535 bytes");
  target[at] = TAG.property;
  view.setUint16(at + 1, end - at - 3);
  view.setUint16(at + 3, valueAt - at - 5);
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

/** `stableHash` of the id, read in place; undefined when the payload is not a message. */
export function messageIdHash(payload: Uint8Array, view: DataView): number | undefined {
  if (payload.length < FIXED_SIZE) return undefined;
  const simple = view.getUint16(34) === 0;
  const at = simple ? FIXED_SIZE : readOptional(payload, view)?.end;
  if (at === undefined || at + 3 > payload.length || payload[at] !== TAG.id) return undefined;
  return stableHashBytes(payload.subarray(at + 3, at + 3 + view.getUint16(at + 1)));
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
  if (optional === undefined) return undefined;
  const { end: attributesAt, ...fields } = optional;
  const bodyAt = attributesAt + view.getUint32(36);
  const attributes =
    bodyAt <= payload.length && readAttributes(payload, view, attributesAt, bodyAt);
  if (!attributes) return undefined;
  return {
    topicGen: MessageFields.topicGen(view, 0),
    queueId: MessageFields.queueId(view, 0),
    queueOffset: MessageFields.queueOffset(view, 0),
    keyHash: MessageFields.keyHash(view, 0),
    tagHash: MessageFields.tagHash(view, 0),
    bornAt: getU64(view, 26),
    ...fields,
    ...attributes,
    body: payload.subarray(bodyAt),
  };
}

type Optional = Pick<MessageEnvelope, "deliverAt" | "txnId" | "dedupe" | "producer" | "origin">;

function readOptional(
  payload: Uint8Array,
  view: DataView,
): (Optional & { end: number }) | undefined {
  const present = view.getUint16(34);
  let end = FIXED_SIZE;
  if (present === 0) return { end };
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
  return end <= payload.length ? { ...fields, end } : undefined;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function readAttributes(payload: Uint8Array, view: DataView, from: number, to: number) {
  const index: string[] = [];
  const properties: [string, string][] = [];
  const single: Mutable<
    Pick<Message, "id" | "key" | "tag" | "contentType" | "traceparent" | "tracestate">
  > = { id: "" };
  for (let at = from; at < to; ) {
    if (at + 3 > to) return undefined;
    const tag = payload[at];
    const valueAt = at + 3;
    at = valueAt + view.getUint16(at + 1);
    if (at > to) return undefined;
    if (tag === TAG.property) {
      const nameEnd = valueAt + 2 + (valueAt + 2 <= at ? view.getUint16(valueAt) : 0);
      if (nameEnd > at) return undefined;
      const name = decodeUtf8(payload.subarray(valueAt + 2, nameEnd));
      properties.push([name, decodeUtf8(payload.subarray(nameEnd, at))]);
      continue;
    }
    const value = decodeUtf8(payload.subarray(valueAt, at));
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
