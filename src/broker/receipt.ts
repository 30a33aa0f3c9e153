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
 * Receipts are given out in batches that differ in their places alone, so the letters of
 * the last one stay where the next has the same. Nothing is remembered of those shown:
 * comparing would tell a stranger, by the time it takes, how much of a guess was right.
 *
 * @module
 */

import { decodeUtf8, encodeUtf8, getU64, setU64, viewOf } from "../../storage/base/bytes.ts";

export interface Receipt {
  readonly brokerGroup: number;
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

/** What is encoded or decoded at the moment. */
const bytes = new Uint8Array(SIZE);
const view = viewOf(bytes);

/** Of the last receipt given out, and what they stand for. */
const letters = new Uint8Array(TEXT_SIZE);
const last = {
  brokerGroup: -1,
  topicGen: -1,
  groupGen: -1,
  grantSeqLow: -1,
  nonce: new Uint8Array(0) as Uint8Array,
};

export function encodeReceipt(receipt: Receipt): string {
  const { brokerGroup, topicGen, groupGen, queueId, queueOffset, grantSeq, nonce } = receipt;
  const sameTopic = last.topicGen === topicGen && last.brokerGroup === brokerGroup;
  if (!sameTopic || last.groupGen !== groupGen) {
    view.setUint16(0, brokerGroup);
    setU64(view, 2, topicGen);
    setU64(view, 10, groupGen);
    spell(0, PLACE_AT);
    last.brokerGroup = brokerGroup;
    last.topicGen = topicGen;
    last.groupGen = groupGen;
  }
  view.setUint16(18, queueId);
  setU64(view, 20, queueOffset);
  view.setUint16(28, Math.floor(grantSeq / 2 ** 32));
  spell(PLACE_AT, SECRET_AT);
  const grantSeqLow = grantSeq >>> 0;
  // A nonce is one array for as long as its grant lives, so its identity stands for its bytes.
  if (last.nonce !== nonce || last.grantSeqLow !== grantSeqLow) {
    view.setUint32(30, grantSeqLow);
    bytes.set(nonce, 34);
    spell(SECRET_AT, SIZE);
    last.nonce = nonce;
    last.grantSeqLow = grantSeqLow;
  }
  return decodeUtf8(letters); // flat, where putting it together from pieces leaves the work to its reader
}

/** Undefined when the text is not a receipt. */
export function decodeReceipt(text: string): Receipt | undefined {
  if (text.length !== TEXT_SIZE || !fromBase64Url(text)) return undefined;
  return {
    brokerGroup: view.getUint16(0),
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

const ALPHABET = encodeUtf8("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
const NO_LETTER = 0xff;
/** By ASCII code. */
const VALUES = new Uint8Array(128).fill(NO_LETTER);
for (const [value, code] of ALPHABET.entries()) VALUES[code] = value;

/** Writes the letters of bytes `[from, to)`, three for four. */
function spell(from: number, to: number): void {
  for (let i = from, at = (from / 3) * 4; i < to; i += 3, at += 4) {
    const a = bytes[i] as number;
    const b = bytes[i + 1] as number;
    const c = bytes[i + 2] as number;
    letters[at] = ALPHABET[a >>> 2] as number;
    letters[at + 1] = ALPHABET[((a & 3) << 4) | (b >>> 4)] as number;
    letters[at + 2] = ALPHABET[((b & 15) << 2) | (c >>> 6)] as number;
    letters[at + 3] = ALPHABET[c & 63] as number;
  }
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
