/**
 * Receipts: what a consumer settles a delivery with. Self-describing, so any
 * gateway can route one and nothing is sticky; worthless without the nonce of
 * the grant, which only the fold and the consumer know.
 *
 * base64url of 42 bytes, in three parts of whole letters:
 *
 *   scope   brokerGroup u16 · topicGen u64 · groupGen u64      24 letters
 *   place   queueId u16 · queueOffset u64 · grantSeq, high 16  16 letters
 *   secret  grantSeq, low 32 · nonce 8 bytes                   16 letters
 *
 * Receipts are given out in batches that differ in their places alone, so the last scope and
 * the last secret given out are remembered. Nothing is remembered of those shown: comparing
 * would tell a stranger, by the time it takes, how much of a guess was right.
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
const PLACE_AT = 18;
const SECRET_AT = 30;
/** 42 bytes fill 14 groups of 4 letters exactly: one text per receipt. */
const TEXT_SIZE = 56;
const BROKER_GROUP = 0;

/** What is encoded or decoded at the moment. */
const bytes = new Uint8Array(SIZE);
const view = viewOf(bytes);

interface Scope {
  readonly text: string;
  readonly topicGen: number;
  readonly groupGen: number;
}

interface Secret {
  readonly text: string;
  readonly grantSeqLow: number;
  readonly nonce: Uint8Array;
}

let lastScope: Scope | undefined;
let lastSecret: Secret | undefined;

export function encodeReceipt(receipt: Receipt): string {
  const { topicGen, groupGen, grantSeq, nonce } = receipt;
  if (lastScope?.topicGen !== topicGen || lastScope.groupGen !== groupGen) {
    lastScope = encodeScope(topicGen, groupGen);
  }
  const grantSeqLow = grantSeq >>> 0;
  if (lastSecret?.nonce !== nonce || lastSecret.grantSeqLow !== grantSeqLow) {
    lastSecret = encodeSecret(grantSeqLow, nonce);
  }
  view.setUint16(18, receipt.queueId);
  setU64(view, 20, receipt.queueOffset);
  view.setUint16(28, Math.floor(grantSeq / 2 ** 32));
  return lastScope.text + toBase64Url(PLACE_AT, SECRET_AT) + lastSecret.text;
}

function encodeScope(topicGen: number, groupGen: number): Scope {
  view.setUint16(0, BROKER_GROUP);
  setU64(view, 2, topicGen);
  setU64(view, 10, groupGen);
  return { text: toBase64Url(0, PLACE_AT), topicGen, groupGen };
}

/** The nonce is one array for as long as its grant lives, so its identity stands for its bytes. */
function encodeSecret(grantSeqLow: number, nonce: Uint8Array): Secret {
  view.setUint32(30, grantSeqLow);
  bytes.set(nonce, 34);
  return { text: toBase64Url(SECRET_AT, SIZE), grantSeqLow, nonce };
}

/** Undefined when the text is not a receipt. */
export function decodeReceipt(text: string): Receipt | undefined {
  if (text.length !== TEXT_SIZE || !fromBase64Url(text)) return undefined;
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
/** Two letters for 12 bits. */
const PAIRS = Array.from(
  { length: 4096 },
  (_, i) => LETTERS.charAt(i >>> 6) + LETTERS.charAt(i & 63),
);
const NO_LETTER = 0xff;
/** By ASCII code. */
const VALUES = new Uint8Array(128).fill(NO_LETTER);
for (let value = 0; value < LETTERS.length; value++) VALUES[LETTERS.charCodeAt(value)] = value;

function toBase64Url(from: number, to: number): string {
  let text = "";
  for (let i = from; i < to; i += 3) {
    const word =
      ((bytes[i] as number) << 16) | ((bytes[i + 1] as number) << 8) | (bytes[i + 2] as number);
    text += (PAIRS[word >>> 12] as string) + (PAIRS[word & 0xfff] as string);
  }
  return text;
}

/** Returns false when a letter is none of ours. */
function fromBase64Url(text: string): boolean {
  for (let i = 0, at = 0; i < TEXT_SIZE; i += 4, at += 3) {
    const a = VALUES[text.charCodeAt(i)] ?? NO_LETTER;
    const b = VALUES[text.charCodeAt(i + 1)] ?? NO_LETTER;
    const c = VALUES[text.charCodeAt(i + 2)] ?? NO_LETTER;
    const d = VALUES[text.charCodeAt(i + 3)] ?? NO_LETTER;
    if ((a | b | c | d) > 63) return false;
    bytes[at] = (a << 2) | (b >>> 4);
    bytes[at + 1] = (b << 4) | (c >>> 2);
    bytes[at + 2] = (c << 6) | d;
  }
  return true;
}
