/**
 * Reading and writing big-endian fields.
 *
 * Offsets and times are unsigned 64-bit on disk and numbers in memory: they
 * stay below 2^53 (9 PB of log, the year 285 000), which is asserted on write.
 * A reader that meets a greater value returns it rounded; no writer makes one.
 *
 * @module
 */

import { assert } from "./assert.ts";

const TWO_32 = 0x1_0000_0000;
const utf8 = new TextEncoder();
const text = new TextDecoder("utf-8", { ignoreBOM: true }); // a leading U+FEFF is content

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * A difference of two offsets as a place in bytes. Computed from large numbers it is a
 * floating-point number to the engine, whose views are several times as slow at those.
 */
export function indexOf(difference: number): number {
  return difference | 0;
}

export function setU64(view: DataView, at: number, value: number): void {
  assert(value >= 0 && Number.isSafeInteger(value), "an unsigned 64-bit field is a safe integer");
  view.setUint32(at, Math.floor(value / TWO_32));
  view.setUint32(at + 4, value >>> 0);
}

export function getU64(view: DataView, at: number): number {
  return view.getUint32(at) * TWO_32 + view.getUint32(at + 4);
}

/** −1 is stored as all ones: "none yet", as the queueOffset of a deferred message. */
export function setI64(view: DataView, at: number, value: number): void {
  if (value !== -1) return setU64(view, at, value);
  view.setUint32(at, 0xffff_ffff);
  view.setUint32(at + 4, 0xffff_ffff);
}

export function getI64(view: DataView, at: number): number {
  const high = view.getUint32(at);
  const low = view.getUint32(at + 4);
  return high === 0xffff_ffff && low === 0xffff_ffff ? -1 : high * TWO_32 + low;
}

export function encodeUtf8(value: string): Uint8Array {
  return utf8.encode(value);
}

/** Never throws: a malformed sequence becomes U+FFFD. */
export function decodeUtf8(bytes: Uint8Array): string {
  return text.decode(bytes);
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * Writes `value` at `at` and returns the position behind it. For short texts that are
 * nearly always ASCII, where a loop beats the encoder.
 */
export function writeUtf8(target: Uint8Array, at: number, value: string): number {
  for (let i = 0; i < value.length; i++) {
    const unit = value.charCodeAt(i);
    if (unit > 0x7f) return at + utf8.encodeInto(value, target.subarray(at)).written;
    target[at + i] = unit;
  }
  return at + value.length;
}

/** Writes a size u8 and the UTF-8 of `value`; returns the position behind them. */
export function writeShortText(target: Uint8Array, at: number, value: string): number {
  const end = writeUtf8(target, at + 1, value);
  assert(end - at - 1 <= 0xff, "a short text fits 255 bytes");
  target[at] = end - at - 1;
  return end;
}

/** Whether two secrets of one length are equal, in a time that does not tell where they differ. */
export function equalSecrets(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] as number) ^ (b[i] as number);
  return difference === 0;
}
