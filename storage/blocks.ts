/**
 * Sealed blocks: how a file lies on disk whose parts are read at random, so that
 * no byte of it is trusted unchecked.
 *
 *   file     block · block · … · block, 4096 bytes each, the last one shorter
 *   block    4092 bytes of content, then the crc32 of them
 *
 * A position in the content is called so; a position in the file is nobody
 * else's business.
 *
 * @module
 */

import { viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import { type DiskFile, readRange } from "./base/disk.ts";
import { salvaging } from "./base/salvage.ts";

export const BLOCK_SIZE = 4096;
const CRC_SIZE = 4;
/** What a block holds: who begins at a multiple of it writes whole blocks. */
export const CONTENT_SIZE = BLOCK_SIZE - CRC_SIZE;

export function sealBlocks(content: Uint8Array, crc32: Crc32): Uint8Array {
  const file = new Uint8Array(sealedSize(content.length));
  const view = viewOf(file);
  let to = 0;
  for (let from = 0; from < content.length; from += CONTENT_SIZE) {
    const part = content.subarray(from, from + CONTENT_SIZE);
    file.set(part, to);
    view.setUint32(to + part.length, crc32(part));
    to += part.length + CRC_SIZE;
  }
  return file;
}

/** Seals content that comes piece by piece, holding little of it. */
export class BlockWriter {
  readonly #file: DiskFile;
  readonly #crc32: Crc32;
  readonly #buffer = new Uint8Array(16 * BLOCK_SIZE);
  readonly #view = viewOf(this.#buffer);
  /** Of the buffer, in the file. */
  #at = 0;
  /** Bytes in the buffer; those of the last block are not sealed yet. */
  #filled = 0;
  /** Bytes of content so far. */
  position = 0;

  constructor(file: DiskFile, crc32: Crc32) {
    this.#file = file;
    this.#crc32 = crc32;
  }

  write(content: Uint8Array): void {
    this.position += content.length;
    for (let from = 0; from < content.length; ) {
      const room = CONTENT_SIZE - (this.#filled % BLOCK_SIZE);
      const part = content.subarray(from, from + room);
      this.#buffer.set(part, this.#filled);
      this.#filled += part.length;
      from += part.length;
      if (part.length === room) this.#seal();
    }
  }

  #seal(): void {
    const from = this.#filled - (this.#filled % BLOCK_SIZE);
    this.#view.setUint32(this.#filled, this.#crc32(this.#buffer.subarray(from, this.#filled)));
    this.#filled += CRC_SIZE;
    if (this.#filled === this.#buffer.length) this.#flush();
  }

  #flush(): void {
    this.#file.write(this.#buffer.subarray(0, this.#filled), this.#at);
    this.#at += this.#filled;
    this.#filled = 0;
  }

  /** Nothing follows. */
  end(): void {
    if (this.#filled % BLOCK_SIZE > 0) this.#seal();
    if (this.#filled > 0) this.#flush();
  }
}

/** How long the file of so much content is. */
export function sealedSize(contentSize: number): number {
  return contentSize + CRC_SIZE * Math.ceil(contentSize / CONTENT_SIZE);
}

/** The content `[from, from + size)`; undefined when a block it lies in is damaged, or not there. */
export async function readSealed(
  file: DiskFile,
  range: { readonly from: number; readonly size: number },
  crc32: Crc32,
): Promise<Uint8Array | undefined> {
  const { from, size } = range;
  const content = new Uint8Array(size);
  const firstBlock = Math.floor(from / CONTENT_SIZE);
  const blockCount = Math.ceil((from + size) / CONTENT_SIZE) - firstBlock;
  const blocks = await readRange(salvaging(file), firstBlock * BLOCK_SIZE, blockCount * BLOCK_SIZE);
  const view = viewOf(blocks);
  let filled = 0;
  for (let at = 0; at < blocks.length && filled < size; at += BLOCK_SIZE) {
    const crcAt = Math.min(at + BLOCK_SIZE, blocks.length) - CRC_SIZE;
    if (crcAt < at) return undefined;
    const part = blocks.subarray(at, crcAt);
    if (crc32(part) !== view.getUint32(crcAt)) return undefined;
    const wanted = part.subarray(at === 0 ? from % CONTENT_SIZE : 0).subarray(0, size - filled);
    content.set(wanted, filled);
    filled += wanted.length;
  }
  return filled === size ? content : undefined;
}

/**
 * Whether so many blocks from a place in the file on are as they were written;
 * fewer at its end.
 */
export async function areBlocksWhole(
  file: DiskFile,
  blocks: { readonly from: number; readonly count: number },
  crc32: Crc32,
): Promise<boolean> {
  const { from, count } = blocks;
  const bytes = await readRange(salvaging(file), from * BLOCK_SIZE, count * BLOCK_SIZE);
  const view = viewOf(bytes);
  for (let at = 0; at < bytes.length; at += BLOCK_SIZE) {
    const crcAt = Math.min(at + BLOCK_SIZE, bytes.length) - CRC_SIZE;
    if (crcAt < at || crc32(bytes.subarray(at, crcAt)) !== view.getUint32(crcAt)) return false;
  }
  return true;
}
