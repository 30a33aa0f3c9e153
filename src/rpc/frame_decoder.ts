/**
 * Frames out of a stream of chunks, wherever those were cut.
 *
 * A frame that lies in one chunk is decoded where it lies. One that does not is
 * put together in a buffer that grows as bytes arrive, at most twice what came:
 * a size that lies costs its sender the bytes, and us no more than those.
 *
 * @module
 */

import type { Crc32 } from "../../storage/base/checksum.ts";
import { viewOf } from "../../storage/base/bytes.ts";
import { decodeFrame, type Frame, HEADER_SIZE } from "./frame.ts";
import { ProtocolError } from "./protocol_error.ts";

const EMPTY = new Uint8Array(0);

interface Place {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly at: number;
}

export class FrameDecoder {
  readonly #crc32: Crc32;
  /** The largest frame that is accepted from now on. */
  sizeMax: number;
  /** The start of a frame whose end has not come: `#held` bytes of it. */
  #buffer = EMPTY;
  #held = 0;
  #stopped = false;

  constructor({ crc32, sizeMax }: { readonly crc32: Crc32; readonly sizeMax: number }) {
    this.#crc32 = crc32;
    this.sizeMax = sizeMax;
  }

  /** Bytes of memory held for a frame that is not complete. */
  get heldBytes(): number {
    return this.#buffer.length;
  }

  /** No frame is given out any more, not even from the chunk at hand. */
  stop(): void {
    this.#stopped = true;
    this.#buffer = EMPTY;
    this.#held = 0;
  }

  /**
   * Calls `take` for every frame that is complete with `chunk`, in order. The
   * chunk is kept for as long as somebody keeps a payload.
   *
   * @throws {ProtocolError} at a frame that is not valid; those before it were taken.
   */
  push(chunk: Uint8Array, take: (frame: Frame) => void): void {
    const view = viewOf(chunk);
    let at = this.#held > 0 ? this.#fill(chunk, take) : 0;
    while (at < chunk.length && !this.#stopped)
      at += this.#takeWhole({ bytes: chunk, view, at }, take);
  }

  /** Takes the frame at `at`, or begins to hold it. Returns how many bytes were used. */
  #takeWhole({ bytes, view, at }: Place, take: (frame: Frame) => void): number {
    const left = bytes.length - at;
    const size = left < 4 ? undefined : this.#checked(view.getUint32(at));
    if (size === undefined || size > left) {
      this.#hold(bytes.subarray(at));
      return left;
    }
    take(decodeFrame({ bytes, view, from: at, to: at + size }, this.#crc32));
    return size;
  }

  /** Adds to the frame that is held, and takes it when it is complete. Returns how many bytes were used. */
  #fill(chunk: Uint8Array, take: (frame: Frame) => void): number {
    let used = 0;
    if (this.#held < 4) {
      used = Math.min(4 - this.#held, chunk.length);
      this.#hold(chunk.subarray(0, used));
      if (this.#held < 4) return used;
    }
    const view = viewOf(this.#buffer);
    const size = this.#checked(view.getUint32(0));
    const more = Math.min(size - this.#held, chunk.length - used);
    this.#hold(chunk.subarray(used, used + more));
    if (this.#held < size) return used + more;
    const bytes = this.#buffer;
    this.#buffer = EMPTY;
    this.#held = 0;
    take(decodeFrame({ bytes, view: viewOf(bytes), from: 0, to: size }, this.#crc32));
    return used + more;
  }

  #hold(bytes: Uint8Array): void {
    const needed = this.#held + bytes.length;
    if (needed > this.#buffer.length) {
      const grown = new Uint8Array(Math.min(Math.max(2 * needed, 64), this.sizeMax));
      grown.set(this.#buffer.subarray(0, this.#held));
      this.#buffer = grown;
    }
    this.#buffer.set(bytes, this.#held);
    this.#held = needed;
  }

  #checked(size: number): number {
    if (size < HEADER_SIZE) throw new ProtocolError(`a frame of ${size} bytes`);
    if (size > this.sizeMax) throw new ProtocolError(`a frame of ${size} bytes is too large`);
    return size;
  }
}
