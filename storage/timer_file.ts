/**
 * A timer file as it is read: header, filter and directory stay in memory, two
 * bytes for a timer; entries and ids are read where they lie. Every byte is
 * checked; one that is not what was written makes a {@linkcode TimerDamage}.
 *
 * @module
 */

import { getU64, viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import type { Disk, DiskFile } from "./base/disk.ts";
import { readSealed, sealedSize } from "./blocks.ts";
import { DerivedDamage } from "./damage.ts";
import { compareKeys, type Timer, TIMER_SIZE, TimerEntries, type TimerKey } from "./timer_entry.ts";
import { filterMayHold } from "./timer_filter.ts";
import {
  decodeTimerHeader,
  DIRECTORY_KEY_SIZE,
  GROUP_ENTRIES,
  ID_ENTRY_SIZE,
  type LogRange,
  TIMER_HEADER_SIZE,
  type TimerHeader,
  timerParts,
  timerPath,
} from "./timer_layout.ts";

/** Ids looked at per read. */
const ID_BLOCK = 512;
/** Bytes looked at per read when all of them are. */
const CHECKED_SIZE = 1024 * 1024;

/** A timer file does not hold what was written: it has to be built again. */
export class TimerDamage extends DerivedDamage {
  override readonly name = "TimerDamage";

  constructor({ from, to }: LogRange) {
    super(`Cannot read the timers of the log from ${from} to ${to}: they are damaged`);
  }
}

interface Resident {
  readonly filter: Uint8Array;
  readonly directory: DataView;
}

export class TimerFile {
  readonly from: number;
  readonly to: number;
  readonly until: number;
  readonly entryCount: number;
  readonly timerCount: number;
  readonly #file: DiskFile;
  readonly #crc32: Crc32;
  readonly #resident: Resident;
  readonly #parts: ReturnType<typeof timerParts>;
  #reading = 0;
  #retired = false;

  private constructor(
    file: DiskFile,
    about: { readonly header: TimerHeader; readonly resident: Resident; readonly crc32: Crc32 },
  ) {
    const { header, resident, crc32 } = about;
    this.from = header.from;
    this.to = header.to;
    this.until = header.until;
    this.entryCount = header.entryCount;
    this.timerCount = header.timerCount;
    this.#file = file;
    this.#crc32 = crc32;
    this.#resident = resident;
    this.#parts = timerParts(header);
  }

  /** Undefined when there is no file of this range, or one that does not tell what it holds. */
  static async open(disk: Disk, range: LogRange, crc32: Crc32): Promise<TimerFile | undefined> {
    let file: DiskFile;
    try {
      file = await disk.open(timerPath(range), { create: false });
    } catch {
      return undefined; // missing: it is derived, so it is built again
    }
    const read = (from: number, size: number) => readSealed(file, { from, size }, crc32);
    const bytes = await read(0, TIMER_HEADER_SIZE);
    const header = bytes && decodeTimerHeader(bytes);
    if (header && header.from === range.from && header.to === range.to) {
      const { filterAt, directoryAt, end } = timerParts(header);
      const whole = (await file.size()) === sealedSize(end);
      const filter = whole ? await read(filterAt, directoryAt - filterAt) : undefined;
      const directory = filter && (await read(directoryAt, end - directoryAt));
      if (directory) {
        const resident = { filter, directory: viewOf(directory) };
        return new TimerFile(file, { header, resident, crc32 });
      }
    }
    await file.close();
    return undefined;
  }

  get #hasRecalls(): boolean {
    return this.entryCount > this.timerCount;
  }

  get groups(): number {
    return this.#parts.groups;
  }

  /** The place of a group's first entry. */
  groupKey(group: number): TimerKey {
    const { directory } = this.#resident;
    const at = group * DIRECTORY_KEY_SIZE;
    return { dueAt: getU64(directory, at), bodyLogOffset: getU64(directory, at + 8) };
  }

  /** The group in which `key` lies, if it does. */
  groupOf(key: TimerKey): number {
    let low = 0;
    let high = this.groups;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (compareKeys(this.groupKey(middle), key) <= 0) low = middle;
      else high = middle;
    }
    return low;
  }

  /** @throws {TimerDamage} */
  async group(group: number): Promise<TimerEntries> {
    const first = group * GROUP_ENTRIES;
    const count = Math.min(GROUP_ENTRIES, this.entryCount - first);
    const position = this.#parts.entriesAt + first * TIMER_SIZE;
    return new TimerEntries(await this.#read(position, count * TIMER_SIZE));
  }

  /**
   * Whether this file takes the timer at `key` back: it holds the recall, or the
   * two of them met here and are gone.
   *
   * @param key behind what was passed.
   * @throws {TimerDamage}
   */
  async recalls(key: TimerKey): Promise<boolean> {
    const own = key.bodyLogOffset >= this.from && key.bodyLogOffset < this.to;
    if (!own && !this.#hasRecalls) return false; // most often so
    if (this.entryCount === 0) return own;
    const entries = await this.group(this.groupOf(key));
    const index = entries.firstFrom(key);
    const there =
      index < entries.count &&
      entries.dueAt(index) === key.dueAt &&
      entries.bodyLogOffset(index) === key.bodyLogOffset;
    return there ? entries.isRecall(index) : own;
  }

  mayHoldId(hash: number): boolean {
    return filterMayHold(this.#resident.filter, hash);
  }

  /** Timers, due or not, of messages whose id has this hash. @throws {TimerDamage} */
  async findIds(hash: number): Promise<Timer[]> {
    const found: Timer[] = [];
    for (let at = await this.#firstIdBlock(hash); at < this.timerCount; at += ID_BLOCK) {
      const view = await this.#idBlock(at);
      for (let i = 0; i < view.byteLength; i += ID_ENTRY_SIZE) {
        const idHash = view.getUint32(i);
        if (idHash > hash) return found;
        if (idHash === hash) found.push(await this.#entry(view.getUint32(i + 4)));
      }
    }
    return found;
  }

  /** The block in which pairs of `hash` begin, if there are any. */
  async #firstIdBlock(hash: number): Promise<number> {
    let low = 0;
    let high = Math.ceil(this.timerCount / ID_BLOCK);
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      const view = await this.#idBlock(middle * ID_BLOCK);
      if (view.getUint32(0) < hash) low = middle;
      else high = middle;
    }
    return low * ID_BLOCK;
  }

  async #idBlock(first: number): Promise<DataView> {
    const count = Math.min(ID_BLOCK, this.timerCount - first);
    const position = this.#parts.idsAt + first * ID_ENTRY_SIZE;
    return viewOf(await this.#read(position, count * ID_ENTRY_SIZE));
  }

  async #entry(index: number): Promise<Timer> {
    const position = this.#parts.entriesAt + index * TIMER_SIZE;
    return new TimerEntries(await this.#read(position, TIMER_SIZE)).timer(0);
  }

  async #read(from: number, size: number): Promise<Uint8Array> {
    this.#reading++;
    try {
      const content = await readSealed(this.#file, { from, size }, this.#crc32);
      if (!content) throw new TimerDamage(this);
      return content;
    } finally {
      this.#reading--;
      if (this.#retired && this.#reading === 0) await this.#file.close();
    }
  }

  /** Whether every byte is as it was written. Reads the whole file. */
  async isWhole(): Promise<boolean> {
    const { end } = this.#parts;
    try {
      for (let from = 0; from < end; from += CHECKED_SIZE) {
        await this.#read(from, Math.min(CHECKED_SIZE, end - from));
      }
      return true;
    } catch (error) {
      if (error instanceof TimerDamage) return false;
      throw error;
    }
  }

  /** Closes the file once nobody reads from it. */
  async retire(): Promise<void> {
    if (this.#retired) return;
    this.#retired = true;
    if (this.#reading === 0) await this.#file.close();
  }
}
