/**
 * The memory that the log's youngest part lies in: chunks of contiguous log bytes.
 *
 *   chunks   [base ─ filled) [base ─ filled) … [base ──── filled
 *   log      kept for readers      │ flushed │ not yet written
 *
 * A chunk that is let go of is filled anew, unless it was lent: a view of it may still
 * be in use. Fresh memory is dear: the kernel hands it out page by page, zeroed, which
 * costs as much as to encode what goes there.
 *
 * @module
 */

import { indexOf, viewOf } from "./base/bytes.ts";
import type { FrameSource } from "./frame.ts";

const CHUNK_SIZE = 1024 * 1024;
/** So much of the log stays at hand when flushed: readers at the tail cost no I/O. */
const KEPT_SIZE = 8 * 1024 * 1024;
/** As many as a batch of the flusher lets go of. */
const SPARE_CHUNKS = 4;

interface Memory {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

export interface Chunk extends Memory {
  readonly base: number;
  filled: number;
}

/** Part of a chunk. */
export interface Slice {
  readonly chunk: Chunk;
  readonly from: number;
  readonly to: number;
}

interface TailChunk extends Chunk {
  /** Somebody may keep a view of it. */
  lent: boolean;
}

export class TailChunks {
  readonly #chunks: TailChunk[] = [];
  #size = 0;
  readonly #spare: Memory[] = [];

  /** From here on all of the log is at hand; undefined when nothing is. */
  get base(): number | undefined {
    return this.#chunks[0]?.base;
  }

  /** A chunk with room for `size` bytes behind `end`, where those before it end. */
  reserve(size: number, end: number): Chunk {
    const chunk = this.#chunks.at(-1);
    if (chunk && chunk.filled + size <= chunk.bytes.length) return chunk;
    const memory = (size <= CHUNK_SIZE && this.#spare.pop()) || memoryOf(size);
    const fresh = { ...memory, base: end, filled: 0, lent: false };
    this.#chunks.push(fresh);
    this.#size += memory.bytes.length;
    return fresh;
  }

  /** Where the bytes `[from, to)` lie, in order; those that were dropped are left out. */
  *slices(from: number, to: number): Generator<Slice> {
    for (const chunk of this.#chunks) {
      const start = Math.max(from, chunk.base);
      const end = Math.min(to, chunk.base + chunk.filled);
      if (start >= end) continue;
      yield { chunk, from: indexOf(start - chunk.base), to: indexOf(end - chunk.base) };
    }
  }

  /** Views of the bytes `[from, to)` may be kept from now on. */
  lend(from: number, to: number): void {
    for (const chunk of this.#chunks) {
      if (chunk.base < to && chunk.base + chunk.filled > from) chunk.lent = true;
    }
  }

  /** Where `size` bytes lie side by side, lent; undefined when they are not all at hand. */
  locate(logOffset: number, size: number): FrameSource | undefined {
    for (let i = this.#chunks.length - 1; i >= 0; i--) {
      const chunk = this.#chunks[i] as TailChunk;
      if (logOffset < chunk.base) continue;
      const at = indexOf(logOffset - chunk.base);
      const { bytes, view, filled } = chunk;
      if (at + size > filled) return undefined;
      chunk.lent = true;
      return { bytes, view, at };
    }
    return undefined;
  }

  /** The log ends at `end` now. */
  cut(end: number): void {
    while ((this.#chunks.at(-1)?.base ?? 0) >= end && this.#chunks.length > 0) {
      this.#size -= this.#chunks.pop()?.bytes.length ?? 0;
    }
    // Not filled any further: somebody may still be sending the bytes behind the cut.
    const last = this.#chunks.at(-1);
    if (!last || last.base + last.filled <= end) return;
    const bytes = last.bytes.subarray(0, end - last.base);
    this.#size -= last.bytes.length - bytes.length;
    this.#chunks[this.#chunks.length - 1] = { ...last, bytes, filled: bytes.length, lent: true };
  }

  /** Lets go of chunks that are flushed up to `durableEnd` and no longer young. */
  trim(durableEnd: number): void {
    let drop = 0;
    while (this.#size > KEPT_SIZE) {
      const chunk = this.#chunks[drop];
      if (!chunk || chunk.base + chunk.filled > durableEnd) break;
      this.#size -= chunk.bytes.length;
      drop++;
    }
    if (drop > 0) for (const chunk of this.#chunks.splice(0, drop)) this.#reuse(chunk);
  }

  #reuse({ bytes, view, lent }: TailChunk): void {
    if (lent || bytes.length !== CHUNK_SIZE || this.#spare.length >= SPARE_CHUNKS) return;
    this.#spare.push({ bytes, view });
  }
}

function memoryOf(size: number): Memory {
  const bytes = new Uint8Array(Math.max(size, CHUNK_SIZE));
  return { bytes, view: viewOf(bytes) };
}
