/**
 * Events of a feed for a reader with ids of its own: the position in the other
 * topics is put before the feed's id, all else is the feed's.
 *
 *   chunk    id: c1 ⏎ event: message ⏎ data: … ⏎⏎    id: c2 ⏎ event: message ⏎ …
 *                └──────────── tail ────────────┘        └──────────── tail …
 *   slice    id: a=…,c=…,b=c1 ⏎ event: message ⏎ data: … ⏎⏎    id: a=…,c=…,b=c2 ⏎ …
 *            └── prefix ──┘└──────────── tail ────────────┘
 *
 * Long tails go out as the very bytes of the feed. Short ones are copied: to queue
 * each by itself costs more than its bytes do.
 *
 * @module
 */

import { concat, encodeGap, type EventChunk, eventTail } from "./sse.ts";

export interface Slice {
  readonly chunks: readonly Uint8Array[];
  /** The first event that is not in it. */
  readonly next: number;
}

export interface SliceOptions {
  readonly topic: string;
  readonly from: number;
  /** The reader's position as far as the topic's own: `a=…,c=…,b=`. */
  readonly before: string;
}

/** It ends with the event that reaches this. */
const SLICE_BYTES = 32 * 1024;

/** From this length on a tail is not copied. */
const SHARED_BYTES = 4096;

const utf8 = new TextEncoder();

/** At least one event. */
export function encodeSlice(chunk: EventChunk, { topic, from, before }: SliceOptions): Slice {
  const prefix = utf8.encode(`id: ${before}`);
  const chunks = new Chunks();
  let next = from;
  for (; next < chunk.ends.length && chunks.size < SLICE_BYTES; next++) {
    const gap = chunk.gaps.get(next);
    if (gap) {
      chunks.add(encodeGap({ topic, ...gap }, `${before}${gap.earliest}`));
    } else {
      chunks.add(prefix);
      chunks.add(eventTail(chunk, next));
    }
  }
  return { chunks: chunks.finish(), next };
}

class Chunks {
  size = 0;
  readonly #chunks: Uint8Array[] = [];
  /** To be copied into one. */
  #short: Uint8Array[] = [];
  #shortSize = 0;

  add(bytes: Uint8Array): void {
    this.size += bytes.length;
    if (bytes.length >= SHARED_BYTES) {
      this.finish().push(bytes);
    } else {
      this.#short.push(bytes);
      this.#shortSize += bytes.length;
    }
  }

  finish(): Uint8Array[] {
    if (this.#shortSize > 0) this.#chunks.push(concat(this.#short, this.#shortSize));
    this.#short = [];
    this.#shortSize = 0;
    return this.#chunks;
  }
}
