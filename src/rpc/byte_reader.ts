/**
 * Reading a payload from its start to its end, where it lies: in the chunk that
 * came, among other frames. Making a view of bytes costs as much as reading ten
 * fields, so none is made but for bytes that are given out.
 *
 * Sizes come from the other side: none is believed before the bytes are there, so
 * nothing is allocated by them.
 *
 * @module
 */

import { decodeUtf8, viewOf } from "../../storage/base/bytes.ts";
import { ProtocolError } from "./protocol_error.ts";

/** Bytes, and a part of them. */
export interface ByteRange {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly from: number;
  readonly to: number;
}

export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #end: number;
  #at: number;

  constructor({ bytes, view, from, to }: ByteRange) {
    this.#bytes = bytes;
    this.#view = view;
    this.#at = from;
    this.#end = to;
  }

  /** Of all of `bytes`. */
  static of(bytes: Uint8Array): ByteReader {
    return new ByteReader({ bytes, view: viewOf(bytes), from: 0, to: bytes.length });
  }

  /** Bytes that were not read yet. */
  get left(): number {
    return this.#end - this.#at;
  }

  u8(): number {
    return this.#view.getUint8(this.#pass(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#pass(2));
  }

  u32(): number {
    return this.#view.getUint32(this.#pass(4));
  }

  f64(): number {
    return this.#view.getFloat64(this.#pass(8));
  }

  /** A view of the next `size` bytes. */
  raw(size: number): Uint8Array {
    const at = this.#pass(size);
    return this.#bytes.subarray(at, at + size);
  }

  /** A view: a size u32 and so many bytes. */
  sized(): Uint8Array {
    return this.raw(this.u32());
  }

  /** The place of a size u32 and so many bytes: without the size, and passed. */
  range(): ByteRange {
    const size = this.u32();
    const from = this.#pass(size);
    return { bytes: this.#bytes, view: this.#view, from, to: from + size };
  }

  /** A view of all that is left. */
  rest(): Uint8Array {
    return this.raw(this.left);
  }

  text(): string {
    const size = this.u32();
    const at = this.#pass(size);
    if (size > SHORT) return decodeUtf8(this.#bytes.subarray(at, at + size));
    let value = "";
    for (let i = at; i < at + size; i++) {
      const byte = this.#bytes[i] as number;
      if (byte > 0x7f) return decodeUtf8(this.#bytes.subarray(at, at + size));
      value += String.fromCharCode(byte);
    }
    return value;
  }

  /** @throws {ProtocolError} when something is left. */
  end(): void {
    if (this.left > 0) throw new ProtocolError(`${this.left} bytes too many in a payload`);
  }

  #pass(size: number): number {
    const at = this.#at;
    if (size > this.#end - at) throw new ProtocolError("a payload ends too early");
    this.#at = at + size;
    return at;
  }
}

/** Up to here a loop beats the decoder. */
const SHORT = 32;
