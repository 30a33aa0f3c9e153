/**
 * Writing a dedupe run, entry by entry in ascending order of key, in memory that
 * does not grow with it but for its filter.
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import { viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import type { DiskFile } from "./base/disk.ts";
import { CONTENT_SIZE, sealBlocks, sealedSize } from "./blocks.ts";
import { Bloom } from "./bloom.ts";
import { COUNT_SIZE, encodeRunHeader, EntryFields, type RunRange } from "./dedupe_run.ts";
import { KEY_HASH_SIZE } from "./dedupe_table.ts";

/** Blocks written at once. */
const BATCH_BLOCKS = 16;

export class RunWriter {
  readonly #file: DiskFile;
  readonly #crc32: Crc32;
  readonly #range: RunRange;
  readonly #bloom: Bloom;
  readonly #batch = new Uint8Array(BATCH_BLOCKS * CONTENT_SIZE);
  readonly #view = viewOf(this.#batch);
  /** Of the block being filled, in the batch. */
  #blockAt = 0;
  #blockEnd = COUNT_SIZE;
  #blockEntries = 0;
  #blocksWritten = 0;
  #entryCount = 0;
  #newest = 0;

  /** @param options.entriesMax at least as many as are added. */
  constructor(
    file: DiskFile,
    options: { readonly range: RunRange; readonly entriesMax: number; readonly crc32: Crc32 },
  ) {
    this.#file = file;
    this.#crc32 = options.crc32;
    this.#range = options.range;
    this.#bloom = Bloom.for(options.entriesMax);
  }

  /** Bytes given to the file so far. */
  get bytesWritten(): number {
    return sealedSize(this.#blocksWritten * CONTENT_SIZE);
  }

  /** Adds the entry that lies at `at`; it is copied. */
  add(bytes: Uint8Array, at: number): void {
    const size = EntryFields.size(bytes, at);
    if (this.#blockEnd + size > CONTENT_SIZE) this.#endBlock();
    const to = this.#blockAt + this.#blockEnd;
    this.#batch.set(bytes.subarray(at, at + size), to);
    this.#bloom.add(bytes.subarray(at, at + KEY_HASH_SIZE));
    this.#newest = Math.max(this.#newest, EntryFields.publishedAt(this.#view, to));
    this.#blockEnd += size;
    this.#blockEntries++;
    this.#entryCount++;
  }

  #endBlock(): void {
    this.#view.setUint16(this.#blockAt, this.#blockEntries);
    this.#blockAt += CONTENT_SIZE;
    this.#blockEnd = COUNT_SIZE;
    this.#blockEntries = 0;
    if (this.#blockAt === this.#batch.length) this.#flush();
  }

  #flush(): void {
    const blocks = this.#blockAt / CONTENT_SIZE;
    const at = sealedSize((1 + this.#blocksWritten) * CONTENT_SIZE);
    this.#file.write(sealBlocks(this.#batch.subarray(0, this.#blockAt), this.#crc32), at);
    this.#blocksWritten += blocks;
    this.#batch.fill(0);
    this.#blockAt = 0;
  }

  /** Writes what is left, the filter and the header. */
  finish(): void {
    if (this.#blockEntries > 0) this.#endBlock();
    this.#flush();
    const blockCount = this.#blocksWritten;
    const filter = this.#bloom.bytes;
    this.#file.write(sealBlocks(filter, this.#crc32), sealedSize((1 + blockCount) * CONTENT_SIZE));
    const header = new Uint8Array(CONTENT_SIZE);
    const { from, to } = this.#range;
    assert(from < to, "a run covers segments");
    const counts = { newest: this.#newest, entryCount: this.#entryCount, blockCount };
    header.set(encodeRunHeader({ from, to, ...counts, bloomSize: filter.length }));
    this.#file.write(sealBlocks(header, this.#crc32), 0);
  }
}
