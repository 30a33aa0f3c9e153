/**
 * A dedupe run as it is read: the filter in memory, the entries where they lie.
 *
 * A key is looked up by interpolation: hashes are uniform, so the value of the
 * hash says about where its block is, and the block read there says how far that
 * was off; two or three reads of a block in runs of any size. Every other step
 * halves what is left, so keys that somebody chose to be close together cost
 * log2 of the blocks at worst.
 *
 * Every byte read is checked; one that is not what was written makes a
 * {@linkcode RunDamage}. A filter that cannot be read says "maybe" to all.
 *
 * @module
 */

import { viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import { type Disk, type DiskFile, readRange } from "./base/disk.ts";
import { TidegateError } from "./base/errors.ts";
import { salvaging } from "./base/salvage.ts";
import { areBlocksWhole, BLOCK_SIZE, CONTENT_SIZE, readSealed, sealedSize } from "./blocks.ts";
import { Bloom, isBloomSize } from "./bloom.ts";
import { DerivedDamage } from "./damage.ts";
import {
  compareKeys,
  COUNT_SIZE,
  decodeDedupeEntry,
  decodeRunHeader,
  type DedupeEntry,
  EntryFields,
  RUN_HEADER_SIZE,
  type RunHeader,
  runPath,
  type RunRange,
} from "./dedupe_run.ts";

/** A run does not hold what was written: it has to be built again. */
export class RunDamage extends DerivedDamage {
  override readonly name = "RunDamage";
  readonly range: RunRange;

  constructor(range: RunRange) {
    super(`Cannot read the idempotency keys of ${runPath(range)}: the file is damaged`);
    this.range = { from: range.from, to: range.to };
  }
}

/** The answer to a key that a damaged run may hold. */
export function unreadable(range: RunRange): TidegateError {
  const path = runPath(range);
  const detail = `Cannot tell whether the idempotency key is new: "${path}" is damaged, and the log no longer has what it was made of; remove the file to publish with keys again`;
  return new TidegateError("data-damaged", detail, { ...range });
}

export class RunFile {
  readonly header: RunHeader;
  readonly #file: DiskFile;
  readonly #crc32: Crc32;
  #bloom: Bloom | undefined;
  #users = 0;
  #life: "used" | "retired" | "closed" = "used";
  leftAlone = false;
  /** When somebody began to read all of it, and found it whole, by elapsed time. */
  checkedAt = Number.NEGATIVE_INFINITY;

  private constructor(
    file: DiskFile,
    parts: { readonly header: RunHeader; readonly crc32: Crc32 },
  ) {
    this.#file = file;
    this.header = parts.header;
    this.#crc32 = parts.crc32;
  }

  /** @throws {RunDamage} when its header does not tell what it holds. */
  static async open(disk: Disk, range: RunRange, crc32: Crc32): Promise<RunFile> {
    const file = await disk.open(runPath(range), { create: false });
    const bytes = await readSealed(file, { from: 0, size: RUN_HEADER_SIZE }, crc32);
    const header = bytes && decodeRunHeader(bytes);
    if (header && (await isComplete(file, { header, range }))) {
      const run = new RunFile(file, { header, crc32 });
      await run.#loadBloom();
      return run;
    }
    await file.close();
    throw new RunDamage(range);
  }

  get byteSize(): number {
    return sealedSize(bloomAt(this.header) + this.header.bloomSize);
  }

  /** Damaged, and cannot be built again: what can be read of it is, but it is not merged. */
  leaveAlone(): void {
    this.leftAlone = true;
  }

  checked(at: number): void {
    this.checkedAt = Math.max(this.checkedAt, at);
  }

  /** Reads all of it. */
  async isWhole(): Promise<boolean> {
    const blocks = Math.ceil(this.byteSize / BLOCK_SIZE);
    for (let from = 0; from < blocks; from += CHECK_BLOCKS) {
      const some = { from, count: CHECK_BLOCKS };
      if (!(await areBlocksWhole(this.#file, some, this.#crc32))) return false;
    }
    return true;
  }

  async #loadBloom(): Promise<void> {
    const { bloomSize } = this.header;
    const bits = new Uint8Array(bloomSize);
    for (let at = 0; at < bloomSize; at += LOAD_SIZE) {
      const size = Math.min(LOAD_SIZE, bloomSize - at);
      const from = bloomAt(this.header) + at;
      const part = await readSealed(this.#file, { from, size }, this.#crc32);
      if (!part) return;
      bits.set(part, at);
    }
    this.#bloom = new Bloom(bits);
  }

  /** Memory its filter takes. */
  get bloomSize(): number {
    return this.#bloom?.bytes.length ?? 0;
  }

  /** Halves its filter; returns whether that was possible. */
  foldBloom(): boolean {
    return this.#bloom?.fold() ?? false;
  }

  /** False: the key is not in it. */
  maybe(keyHash: Uint8Array): boolean {
    return this.header.entryCount > 0 && (this.#bloom?.maybe(keyHash) ?? true);
  }

  /** It stays open until as many `release`s. */
  hold(): void {
    this.#users++;
  }

  async release(): Promise<void> {
    this.#users--;
    await this.#closeWhenLeft();
  }

  /** The caller holds it. @throws {RunDamage} */
  async find(keyHash: Uint8Array): Promise<DedupeEntry | undefined> {
    const wanted = fractionOf(keyHash, 0);
    let [low, high] = [0, this.header.blockCount];
    let [lowKey, highKey] = [0, 1];
    for (let step = 0; low < high; step++) {
      const share = step % 2 === 0 ? (wanted - lowKey) / (highKey - lowKey) : 0.5;
      const guess = Math.min(high - 1, low + Math.floor(clamped(share) * (high - low)));
      const block = await this.block(guess);
      const order = block.compare(keyHash);
      if (order === 0) return block.find(keyHash);
      if (order < 0) [high, highKey] = [guess, fractionOf(block.bytes, block.first)];
      else [low, lowKey] = [guess + 1, fractionOf(block.bytes, block.last)];
    }
    return undefined;
  }

  /** @throws {RunDamage} */
  async block(index: number): Promise<EntryBlock> {
    return new EntryBlock(await this.content({ from: index, count: 1 }));
  }

  /** The content of blocks of entries, side by side. @throws {RunDamage} */
  async content(blocks: { readonly from: number; readonly count: number }): Promise<Uint8Array> {
    const from = (1 + blocks.from) * CONTENT_SIZE;
    const size = blocks.count * CONTENT_SIZE;
    const bytes = await readSealed(this.#file, { from, size }, this.#crc32);
    if (!bytes) throw new RunDamage(this.header);
    return bytes;
  }

  /** As they lie in the file, whatever they are; bad spots as zeros. */
  bytes(at: number, size: number): Promise<Uint8Array> {
    return readRange(salvaging(this.#file), at, size);
  }

  /** Closes the file, once nobody holds it. */
  async close(): Promise<void> {
    if (this.#life === "used") this.#life = "retired";
    await this.#closeWhenLeft();
  }

  async #closeWhenLeft(): Promise<void> {
    if (this.#life !== "retired" || this.#users > 0) return;
    this.#life = "closed";
    await this.#file.close();
  }
}

/** Blocks read at once. */
const CHECK_BLOCKS = 256;

/** Of the filter, at once: a long one is not read in one slice. */
const LOAD_SIZE = 256 * CONTENT_SIZE;

function bloomAt({ blockCount }: RunHeader): number {
  return (1 + blockCount) * CONTENT_SIZE;
}

async function isComplete(
  file: DiskFile,
  { header, range }: { readonly header: RunHeader; readonly range: RunRange },
): Promise<boolean> {
  if (header.from !== range.from || header.to !== range.to) return false;
  if (!isBloomSize(header.bloomSize)) return false;
  return (await file.size()) === sealedSize(bloomAt(header) + header.bloomSize);
}

function clamped(share: number): number {
  return share > 0 ? Math.min(share, 1) : 0; // 0 as well when it is no number: the bounds met
}

/** The beginning of a hash as a number in [0, 1). */
function fractionOf(bytes: Uint8Array, at: number): number {
  const view = viewOf(bytes);
  return view.getUint32(at) / 2 ** 32 + view.getUint32(at + 4) / 2 ** 64;
}

/** One block of entries, in order. */
export class EntryBlock {
  readonly bytes: Uint8Array;
  /** Where each entry lies. */
  readonly places: readonly number[];

  constructor(bytes: Uint8Array) {
    const places: number[] = [];
    let at = COUNT_SIZE;
    for (let left = viewOf(bytes).getUint16(0); left > 0; left--) {
      places.push(at);
      at += EntryFields.size(bytes, at);
    }
    this.bytes = bytes;
    this.places = places;
  }

  get first(): number {
    return this.places[0] as number;
  }

  get last(): number {
    return this.places.at(-1) as number;
  }

  /** Whether a key lies before the block (negative), behind it, or would lie in it (0). */
  compare(keyHash: Uint8Array): number {
    const key = { bytes: keyHash, at: 0 };
    if (compareKeys(key, { bytes: this.bytes, at: this.first }) < 0) return -1;
    return compareKeys(key, { bytes: this.bytes, at: this.last }) > 0 ? 1 : 0;
  }

  find(keyHash: Uint8Array): DedupeEntry | undefined {
    const key = { bytes: keyHash, at: 0 };
    const at = this.places.find((one) => compareKeys(key, { bytes: this.bytes, at: one }) === 0);
    return at === undefined ? undefined : decodeDedupeEntry(this.bytes, at);
  }
}
