/**
 * base32hex (0-9, a-v) of what readers keep for us: safe in URLs, headers and SSE ids, and the order
 * of the texts is the order of the bytes.
 *
 * @module
 */

import { decodeUtf8, encodeUtf8 } from "../../storage/base/bytes.ts";

const ALPHABET = "0123456789abcdefghijklmnopqrstuv";
const CODES = encodeUtf8(ALPHABET);
const VALUES = new Map(ALPHABET.split("").map((letter, value) => [letter, value]));

/** Room for the letters of so many bytes. */
export function lettersFor(size: number): Uint8Array {
  return new Uint8Array(Math.ceil((size * 8) / 5));
}

export function toBase32(bytes: Uint8Array): string {
  const letters = lettersFor(bytes.length);
  spell(bytes, { letters, from: 0 });
  return decodeUtf8(letters);
}

/**
 * Writes the letters of the bytes from `from` on, five for eight. Decoding them gives a flat text, where
 * one put together from letters leaves the work to its reader.
 */
export function spell(
  bytes: Uint8Array,
  { letters, from }: { letters: Uint8Array; from: number },
): void {
  let buffer = 0;
  let bits = 0;
  let at = (from / 5) * 8;
  for (let i = from; i < bytes.length; i++) {
    buffer = (buffer << 8) | (bytes[i] as number);
    bits += 3;
    letters[at++] = CODES[(buffer >>> bits) & 31] as number;
    if (bits >= 5) {
      bits -= 5;
      letters[at++] = CODES[(buffer >>> bits) & 31] as number;
    }
    buffer &= 31;
  }
  if (bits > 0) letters[at] = CODES[(buffer << (5 - bits)) & 31] as number;
}

/** Undefined when it is no text of ours. */
export function fromBase32(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(Math.floor((text.length * 5) / 8));
  let buffer = 0;
  let bits = 0;
  let at = 0;
  for (const letter of text) {
    const value = VALUES.get(letter);
    if (value === undefined) return undefined;
    buffer = ((buffer << 5) | value) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at++] = buffer >>> bits;
  }
  // The bits left over are zero in what we wrote: one text per position.
  return (buffer & ((1 << bits) - 1)) === 0 && bits < 5 ? bytes : undefined;
}
