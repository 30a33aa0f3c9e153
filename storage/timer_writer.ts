/**
 * Writing a timer file as its entries come, without holding them.
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import { setU64, viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import { type Disk, type DiskFile, replaceFileBy } from "./base/disk.ts";
import { BlockWriter, sealBlocks } from "./blocks.ts";
import {
  compareKeys,
  recallOf,
  type Timer,
  TIMER_SIZE,
  type TimerKey,
  writeTimer,
} from "./timer_entry.ts";
import { addToFilter, filterSize } from "./timer_filter.ts";
import {
  DIRECTORY_KEY_SIZE,
  encodeTimerHeader,
  GROUP_ENTRIES,
  ID_ENTRY_SIZE,
  type LogRange,
  TIMER_HEADER_SIZE,
  timerPath,
} from "./timer_layout.ts";
import { firstOf, type TimerSource } from "./timer_source.ts";

class TimerWriter {
  readonly #blocks: BlockWriter;
  readonly #file: DiskFile;
  readonly #crc32: Crc32;
  /** Pieces are gathered: a view for each would cost more than writing it. */
  readonly #gathered = new Uint8Array(GROUP_ENTRIES * TIMER_SIZE);
  readonly #view = viewOf(this.#gathered);
  #filled = 0;
  /** Pairs of (index, idHash), which as 64-bit little-endian numbers sort by idHash. */
  #ids = new Uint32Array(128);
  readonly #directory: TimerKey[] = [];
  #entryCount = 0;
  #timerCount = 0;
  #last: TimerKey | undefined;

  constructor(file: DiskFile, crc32: Crc32) {
    this.#file = file;
    this.#crc32 = crc32;
    this.#blocks = new BlockWriter(file, crc32);
    this.#blocks.write(new Uint8Array(TIMER_HEADER_SIZE));
  }

  add(timer: Timer, { recall }: { readonly recall: boolean }): void {
    assert(!this.#last || compareKeys(this.#last, timer) < 0, "timers are written in order");
    this.#last = timer;
    if (this.#entryCount % GROUP_ENTRIES === 0) this.#directory.push(timer);
    if (!recall) this.#addId(timer.idHash);
    writeTimer(this.#view, this.#room(TIMER_SIZE), { timer, recall });
    this.#entryCount++;
  }

  /** Where the next piece goes. */
  #room(size: number): number {
    if (this.#filled + size > this.#gathered.length) this.#flush();
    this.#filled += size;
    return this.#filled - size;
  }

  #flush(): void {
    this.#blocks.write(this.#gathered.subarray(0, this.#filled));
    this.#filled = 0;
  }

  #addId(idHash: number): void {
    const at = 2 * this.#timerCount++;
    if (at === this.#ids.length) {
      const larger = new Uint32Array(2 * this.#ids.length);
      larger.set(this.#ids);
      this.#ids = larger;
    }
    this.#ids[at] = this.#entryCount;
    this.#ids[at + 1] = idHash;
  }

  end(about: LogRange & { readonly until: number }): void {
    const pairs = this.#ids.subarray(0, 2 * this.#timerCount);
    new BigUint64Array(pairs.buffer, 0, this.#timerCount).sort();
    const filter = new Uint8Array(filterSize(this.#timerCount));
    for (let i = 0; i < pairs.length; i += 2) {
      const at = this.#room(ID_ENTRY_SIZE);
      this.#view.setUint32(at, pairs[i + 1] as number);
      this.#view.setUint32(at + 4, pairs[i] as number);
      addToFilter(filter, pairs[i + 1] as number);
    }
    this.#flush();
    this.#blocks.write(filter);
    for (const { dueAt, bodyLogOffset } of this.#directory) {
      const at = this.#room(DIRECTORY_KEY_SIZE);
      setU64(this.#view, at, dueAt);
      setU64(this.#view, at + 8, bodyLogOffset);
    }
    this.#flush();
    this.#blocks.end();
    const counts = { entryCount: this.#entryCount, timerCount: this.#timerCount };
    this.#file.write(sealBlocks(encodeTimerHeader({ ...about, ...counts }), this.#crc32), 0);
  }
}

/**
 * Writes what the sources hold behind `after` as one file; a timer and its
 * recall that meet here are both gone.
 */
export async function writeTimerFile(
  ports: { readonly disk: Disk; readonly crc32: Crc32 },
  content: LogRange & {
    readonly until: number;
    readonly after: TimerKey;
    readonly sources: readonly TimerSource[];
  },
): Promise<void> {
  const { from, to, until, after, sources } = content;
  await replaceFileBy(ports.disk, timerPath({ from, to }), async (file) => {
    const writer = new TimerWriter(file, ports.crc32);
    const first: TimerSource[] = [];
    while (firstOf(sources, first).length > 0) {
      const blocked = first.find((source) => !source.loaded);
      if (blocked) {
        await blocked.load();
        continue;
      }
      const [source] = first as [TimerSource, ...TimerSource[]];
      const { recall } = source;
      const timer = recall ? recallOf(source) : source.timer();
      // A recall stays until it meets its timer.
      if (first.length === 1 && compareKeys(timer, after) > 0) writer.add(timer, { recall });
      for (const one of first) one.advance();
    }
    writer.end({ from, to, until });
  });
}
