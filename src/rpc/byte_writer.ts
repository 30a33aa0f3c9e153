/**
 * Bytes under construction, for a carrier to send.
 *
 *   slab ├── taken before ──┼── pending ──┼── free ──┤
 *                        start            at       end
 *
 * Small frames are encoded one behind the other in one slab, and what is pending
 * is taken as one piece: no copy, and one write for many frames. Bytes that were
 * taken are never written again, so whoever sends them needs no copy either.
 *
 * @module
 */

import { assert } from "../../storage/base/assert.ts";
import { viewOf, writeUtf8 } from "../../storage/base/bytes.ts";

const SLAB_BYTES = 64 * 1024;

export class ByteWriter {
  /** Valid until the next `reserve`. */
  bytes = new Uint8Array(SLAB_BYTES);
  view = viewOf(this.bytes);
  /** Where the next byte goes. */
  at = 0;
  #start = 0;

  /** Bytes written and not taken. */
  get pending(): number {
    return this.at - this.#start;
  }

  /** Makes room for `size` bytes from `at`; positions before may move, `pending` does not. */
  reserve(size: number): void {
    if (this.at + size <= this.bytes.length) return;
    const pending = this.bytes.subarray(this.#start, this.at);
    const needed = pending.length + size;
    this.#begin(new Uint8Array(needed <= SLAB_BYTES / 2 ? SLAB_BYTES : needed + (needed >> 1)));
    this.bytes.set(pending);
    this.at = pending.length;
  }

  #begin(slab: Uint8Array<ArrayBuffer>): void {
    this.bytes = slab;
    this.view = viewOf(slab);
    this.at = 0;
    this.#start = 0;
  }

  /** What is pending, from its byte `from` on; a view that nobody writes to any more. */
  since(from: number): Uint8Array {
    return this.bytes.subarray(this.#start + from, this.at);
  }

  /** Drops what is pending behind its first `size` bytes. */
  truncate(size: number): void {
    assert(size <= this.pending, "only what is pending can be dropped");
    this.at = this.#start + size;
  }

  /** All that is pending, which is pending no more. */
  take(): Uint8Array<ArrayBuffer> {
    const taken = this.bytes.subarray(this.#start, this.at);
    if (this.bytes.length > SLAB_BYTES)
      this.#begin(new Uint8Array(SLAB_BYTES)); // no giant is kept
    else this.#start = this.at;
    return taken;
  }

  u8(value: number): void {
    this.reserve(1);
    this.bytes[this.at++] = value;
  }

  u16(value: number): void {
    this.reserve(2);
    this.view.setUint16(this.at, value);
    this.at += 2;
  }

  u32(value: number): void {
    this.reserve(4);
    this.view.setUint32(this.at, value);
    this.at += 4;
  }

  /** Any number, as it is: offsets and times are below 2^53, which this holds exactly. */
  f64(value: number): void {
    this.reserve(8);
    this.view.setFloat64(this.at, value);
    this.at += 8;
  }

  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.at);
    this.at += bytes.length;
  }

  /** A size u32 and the bytes. */
  sized(bytes: Uint8Array): void {
    this.u32(bytes.length);
    this.raw(bytes);
  }

  /** A size u32 and the UTF-8 of `value`. */
  text(value: string): void {
    this.reserve(4 + 3 * value.length); // a UTF-16 unit is at most 3 bytes
    const end = writeUtf8(this.bytes, this.at + 4, value);
    this.view.setUint32(this.at, end - this.at - 4);
    this.at = end;
  }
}
