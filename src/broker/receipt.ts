/**
 * Receipts: what a consumer settles a delivery with. Self-describing, so any
 * gateway can route one and nothing is sticky; worthless without the nonce of
 * the grant, which only the fold and the consumer know.
 *
 * base64url of 42 bytes:
 *
 *   brokerGroup u16 · topicGen u64 · groupGen u64 · queueId u16 ·
 *   queueOffset u64 · grantSeq u48 · nonce 8 bytes
 *
 * @module
 */

import { getU64, setU64, viewOf } from "../../storage/base/bytes.ts";

export interface Receipt {
  readonly topicGen: number;
  readonly groupGen: number;
  readonly queueId: number;
  readonly queueOffset: number;
  readonly grantSeq: number;
  /** 8 bytes. */
  readonly nonce: Uint8Array;
}

const SIZE = 42;
const TEXT_SIZE = 56; // 42 bytes fill 14 groups of 4 letters exactly: one text per receipt
const BROKER_GROUP = 0;

export function encodeReceipt(receipt: Receipt): string {
  const bytes = new Uint8Array(SIZE);
  const view = viewOf(bytes);
  view.setUint16(0, BROKER_GROUP);
  setU64(view, 2, receipt.topicGen);
  setU64(view, 10, receipt.groupGen);
  view.setUint16(18, receipt.queueId);
  setU64(view, 20, receipt.queueOffset);
  view.setUint16(28, Math.floor(receipt.grantSeq / 2 ** 32));
  view.setUint32(30, receipt.grantSeq >>> 0);
  bytes.set(receipt.nonce, 34);
  return toBase64Url(bytes);
}

/** Undefined when the text is not a receipt. */
export function decodeReceipt(text: string): Receipt | undefined {
  if (text.length !== TEXT_SIZE) return undefined;
  const bytes = fromBase64Url(text);
  if (!bytes) return undefined;
  const view = viewOf(bytes);
  if (view.getUint16(0) !== BROKER_GROUP) return undefined;
  return {
    topicGen: getU64(view, 2),
    groupGen: getU64(view, 10),
    queueId: view.getUint16(18),
    queueOffset: getU64(view, 20),
    grantSeq: view.getUint16(28) * 2 ** 32 + view.getUint32(30),
    nonce: bytes.slice(34),
  };
}

/** Takes as long whichever byte differs. */
export function sameNonce(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= (a[i] as number) ^ (b[i] ?? 0);
  return difference === 0;
}

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const VALUES = new Map(LETTERS.split("").map((letter, value) => [letter.charCodeAt(0), value]));

/** `bytes.length` is a multiple of 3, so there is no padding. */
function toBase64Url(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const word =
      ((bytes[i] as number) << 16) | ((bytes[i + 1] as number) << 8) | (bytes[i + 2] as number);
    text +=
      (LETTERS[word >>> 18] as string) +
      LETTERS[(word >>> 12) & 63] +
      LETTERS[(word >>> 6) & 63] +
      LETTERS[word & 63];
  }
  return text;
}

function fromBase64Url(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array((text.length / 4) * 3);
  for (let i = 0, at = 0; i < text.length; i += 4, at += 3) {
    let word = 0;
    for (let j = 0; j < 4; j++) {
      const value = VALUES.get(text.charCodeAt(i + j));
      if (value === undefined) return undefined;
      word = (word << 6) | value;
    }
    bytes[at] = word >>> 16;
    bytes[at + 1] = (word >>> 8) & 0xff;
    bytes[at + 2] = word & 0xff;
  }
  return bytes;
}
