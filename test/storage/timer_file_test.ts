/**
 * What the timer files are made of: entries, the filter, the index of slots, the
 * heap of a young segment, files written from any sources and read back.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { BlockWriter, sealBlocks } from "../../storage/blocks.ts";
import { SlotIndex } from "../../storage/slot_index.ts";
import { TimerCursor } from "../../storage/timer_cursor.ts";
import {
  compareKeys,
  FIRST_KEY,
  recallOf,
  type Timer,
  type TimerKey,
} from "../../storage/timer_entry.ts";
import { TimerDamage, TimerFile } from "../../storage/timer_file.ts";
import { addToFilter, filterMayHold, filterSize } from "../../storage/timer_filter.ts";
import { mergeTimerFiles } from "../../storage/timer_jobs.ts";
import { timerPath, timerRanges } from "../../storage/timer_layout.ts";
import type { TimerSource } from "../../storage/timer_source.ts";
import { writeTimerFile } from "../../storage/timer_writer.ts";
import { YoungTimers } from "../../storage/young_timers.ts";

const u32 = fc.nat({ max: 0xffff_ffff });
const strict = { noNullPrototype: true };

/** Few moments, so that many share one; offsets follow from the place in the list. */
const anyTimers: fc.Arbitrary<Timer[]> = fc
  .array(
    fc.record(
      {
        dueAt: fc.nat({ max: 20 }).map((n) => 1_700_000_000_000 + n),
        size: u32,
        keyHash: u32,
        tagHash: u32,
        idHash: fc.nat({ max: 50 }),
        topicGen: fc.maxSafeNat(),
        queueId: fc.nat({ max: 0xffff }),
      },
      strict,
    ),
    { maxLength: 60 },
  )
  .map((list) => list.map((one, i) => ({ ...one, bodyLogOffset: 2 ** 33 + 10 * i })));

function young(timers: readonly Timer[]): YoungTimers {
  const made = new YoungTimers();
  for (const timer of timers) made.add(timer);
  return made;
}

class Listed implements TimerSource {
  readonly loaded = true;
  readonly #list: readonly { readonly timer: Timer; readonly recall: boolean }[];
  #next = 0;

  constructor(list: readonly { readonly timer: Timer; readonly recall: boolean }[]) {
    this.#list = list;
  }

  get dueAt(): number {
    return this.#list[this.#next]?.timer.dueAt ?? Infinity;
  }
  get bodyLogOffset(): number {
    return this.#list[this.#next]?.timer.bodyLogOffset ?? Infinity;
  }
  get recall(): boolean {
    return this.#list[this.#next]?.recall ?? false;
  }
  timer(): Timer {
    return this.#list[this.#next]?.timer as Timer;
  }
  advance(): void {
    this.#next++;
  }
  load(): Promise<void> {
    return Promise.resolve();
  }
}

const asRecalls = (keys: readonly TimerKey[]) =>
  new Listed(keys.toSorted(compareKeys).map((key) => ({ timer: recallOf(key), recall: true })));

async function written(
  sources: readonly TimerSource[],
  about: { from?: number; to?: number; after?: TimerKey; disk?: MemoryDisk } = {},
): Promise<{ disk: MemoryDisk; file: TimerFile }> {
  const { from = 0, to = 100, after = FIRST_KEY, disk = new MemoryDisk() } = about;
  await writeTimerFile({ disk, crc32 }, { from, to, until: 7, after, sources });
  const file = await TimerFile.open(disk, { from, to }, crc32);
  assert(file);
  return { disk, file };
}

/** All that a cursor gives, recalls marked. */
async function drained(cursor: TimerCursor): Promise<{ timer: Timer; recall: boolean }[]> {
  const all: { timer: Timer; recall: boolean }[] = [];
  while (cursor.dueAt < Infinity) {
    if (!cursor.loaded) await cursor.load();
    if (cursor.dueAt === Infinity) break;
    if (all.length % 3 === 0) await cursor.load();
    all.push({ timer: cursor.timer(), recall: cursor.recall });
    cursor.advance();
  }
  return all;
}

describe("YoungTimers", () => {
  it("give what a sorted array would, and find ids", () => {
    fc.assert(
      fc.property(anyTimers, fc.nat({ max: 50 }), (timers, hash) => {
        const heap = young(timers);
        const withHash = timers.filter(({ idHash }) => idHash === hash);
        assert.deepEqual(heap.findIds(hash).toSorted(compareKeys), withHash.toSorted(compareKeys));
        const given: Timer[] = [];
        for (; heap.dueAt < Infinity; heap.advance()) {
          assert.deepEqual(
            [heap.dueAt, heap.bodyLogOffset],
            [heap.timer().dueAt, heap.timer().bodyLogOffset],
          );
          given.push(heap.timer());
        }
        assert.deepEqual(given, timers.toSorted(compareKeys));
        assert.equal(heap.mayHoldId(hash), withHash.length > 0, "due ones are found as well");
      }),
    );
  });

  it("hold many", () => {
    const heap = new YoungTimers();
    const count = 30_000;
    for (let i = 0; i < count; i++) {
      heap.add({ ...recallOf({ dueAt: 1 + ((i * 7919) % 1000), bodyLogOffset: i }), idHash: i });
    }
    let last: TimerKey = FIRST_KEY;
    for (let i = 0; i < count; i++, heap.advance()) {
      const { dueAt, bodyLogOffset } = heap;
      assert(compareKeys({ dueAt, bodyLogOffset }, last) >= 0);
      last = { dueAt, bodyLogOffset };
    }
    assert.equal(heap.dueAt, Infinity);
    assert.deepEqual(heap.findIds(777).length, 1);
  });
});

describe("SlotIndex", () => {
  it("finds the slots of a hash and no others", () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 300 }), { maxLength: 400 }), u32, (hashes, spread) => {
        const of = (n: number) => Math.imul(n, spread | 1) >>> 0;
        const index = new SlotIndex((slot) => of(hashes[slot] as number));
        hashes.forEach((_, slot) => index.add(slot));
        for (let n = 0; n <= 300; n += 7) {
          const expected = hashes.flatMap((one, slot) => (one === n ? [slot] : []));
          assert.deepEqual(
            index.find(of(n)).toSorted((a, b) => a - b),
            expected,
          );
        }
      }),
    );
  });
});

describe("the filter", () => {
  it("never says no to what is there, and seldom yes to what is not", () => {
    const count = 20_000;
    const filter = new Uint8Array(filterSize(count));
    const hash = (i: number) => Math.imul(i + 1, 0x9e3779b1) >>> 0;
    for (let i = 0; i < count; i++) addToFilter(filter, hash(i));
    for (let i = 0; i < count; i++) assert(filterMayHold(filter, hash(i)));
    let wrong = 0;
    for (let i = count; i < 3 * count; i++) if (filterMayHold(filter, hash(i))) wrong++;
    assert(wrong / (2 * count) < 0.002, `${wrong} of ${2 * count}`);
    assert(!filterMayHold(new Uint8Array(0), 1));
  });
});

describe("BlockWriter", () => {
  it("writes what sealBlocks() makes, whatever the pieces", async () => {
    const anyPieces = fc.array(fc.nat({ max: 9000 }), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(anyPieces, async (sizes) => {
        const disk = new MemoryDisk();
        const file = await disk.open("f", { create: true });
        const writer = new BlockWriter(file, crc32);
        const pieces = sizes.map((size, i) => new Uint8Array(size).fill(i + 1));
        for (const piece of pieces) writer.write(piece);
        writer.end();
        const content = new Uint8Array(Buffer.concat(pieces));
        assert.equal(writer.position, content.length);
        assert.deepEqual(disk.bytes("f"), sealBlocks(content, crc32));
      }),
      { numRuns: 40 },
    );
  });
});

describe("a timer file", () => {
  it("gives back what was written, from any place on; pairs are gone", async () => {
    await fc.assert(
      fc.asyncProperty(anyTimers, fc.nat(), fc.nat({ max: 59 }), async (timers, bits, at) => {
        const recalled = timers.filter((_, i) => ((bits >> (i % 30)) & 1) === 1);
        const alone = [recallOf({ dueAt: 1_700_000_000_005, bodyLogOffset: 77 })];
        const { file } = await written([young(timers), asRecalls([...recalled, ...alone])]);
        const kept = timers.filter((one) => !recalled.includes(one)).toSorted(compareKeys);
        assert.deepEqual([file.timerCount, file.entryCount], [kept.length, kept.length + 1]);
        const after = kept[at] ?? FIRST_KEY;
        const all = [
          ...kept.map((timer) => ({ timer, recall: false })),
          ...alone.map((timer) => ({ timer, recall: true })),
        ].toSorted((a, b) => compareKeys(a.timer, b.timer));
        const expected = all.filter(({ timer }) => compareKeys(timer, after) > 0);
        assert.deepEqual(await drained(new TimerCursor(file, after)), expected);
        const skipping = new TimerCursor(file, FIRST_KEY);
        if (at % 2 === 0) await skipping.load();
        skipping.skipTo(after);
        assert.deepEqual(await drained(skipping), expected);
      }),
    );
  });

  it("finds ids and recalls in many groups", async () => {
    const timers = Array.from({ length: 5000 }, (_, i) => ({
      ...recallOf({ dueAt: 1000 + Math.floor(i / 3), bodyLogOffset: 10 + i }),
      idHash: Math.imul(i % 4000, 0x9e3779b1) >>> 0,
    }));
    const recalled = timers.filter((_, i) => i % 10 === 0);
    const foreign = [{ dueAt: 1500, bodyLogOffset: 2 }];
    const sources = [young(timers), asRecalls([...recalled, ...foreign])];
    const { file } = await written(sources, { from: 10, to: 6000 });
    assert.equal(file.groups, Math.ceil((4500 + 1) / 1024));
    for (let i = 0; i < 5000; i += 13) {
      const timer = timers[i] as Timer;
      assert.equal(await file.recalls(timer), i % 10 === 0, `timer ${i}`);
      const found = (await file.findIds(timer.idHash)).map(({ bodyLogOffset }) => bodyLogOffset);
      assert.equal(found.includes(timer.bodyLogOffset), i % 10 !== 0);
      assert(i % 10 === 0 || file.mayHoldId(timer.idHash));
    }
    assert(await file.recalls(foreign[0] as TimerKey));
    assert(!(await file.recalls({ dueAt: 1500, bodyLogOffset: 3 })), "of another file");
    assert.deepEqual(await file.findIds(1), []);
    assert.equal((await drained(new TimerCursor(file, FIRST_KEY))).length, 4501);
  });

  it("merged from others is their sum, without what was passed", async () => {
    await fc.assert(
      fc.asyncProperty(anyTimers, fc.nat({ max: 59 }), fc.nat(), async (timers, at, bits) => {
        const disk = new MemoryDisk();
        const third = Math.ceil(timers.length / 3);
        const parts = [0, 1, 2].map((i) => timers.slice(i * third, (i + 1) * third));
        const recalled = timers.filter((_, i) => ((bits >> (i % 30)) & 1) === 1);
        for (const [i, part] of parts.entries()) {
          const sources = [young(part), ...(i === 2 ? [asRecalls(recalled)] : [])];
          await written(sources, { disk, from: 100 * i, to: 100 * (i + 1) });
        }
        const after = timers[at] ?? FIRST_KEY;
        const ranges = [0, 1, 2].map((i) => ({ from: 100 * i, to: 100 * (i + 1) }));
        await mergeTimerFiles(ranges, { disk, crc32, after });
        const merged = await TimerFile.open(disk, { from: 0, to: 300 }, crc32);
        assert(merged && (await merged.isWhole()) && merged.until === 7);
        const expected = timers
          .filter((one) => !recalled.includes(one) && compareKeys(one, after) > 0)
          .toSorted(compareKeys);
        const given = await drained(new TimerCursor(merged, FIRST_KEY));
        assert.deepEqual(
          given.map(({ timer }) => timer),
          expected,
        );
      }),
      { numRuns: 50 },
    );
  });

  it("that is cut anywhere, or of another range, is none", async () => {
    const { disk } = await written([young([{ ...recallOf({ dueAt: 9, bodyLogOffset: 9 }) }])]);
    const path = timerPath({ from: 0, to: 100 });
    const whole = disk.bytes(path).slice();
    assert.equal(await TimerFile.open(disk, { from: 0, to: 101 }, crc32), undefined);
    for (const size of [0, 63, 4095, 4096, whole.length - 1]) {
      const cut = new MemoryDisk();
      (await cut.open(path, { create: true })).write(whole.subarray(0, size), 0);
      assert.equal(await TimerFile.open(cut, { from: 0, to: 100 }, crc32), undefined, `${size}`);
    }
  });

  it("never gives a flipped bit out as truth", async () => {
    const timers = Array.from({ length: 300 }, (_, i) => ({
      ...recallOf({ dueAt: 10 + i, bodyLogOffset: i }),
      idHash: i,
    }));
    const { disk } = await written([young(timers)]);
    const path = timerPath({ from: 0, to: 100 });
    const whole = disk.bytes(path).slice();
    const read = async (bytes: Uint8Array) => {
      const one = new MemoryDisk();
      (await one.open(path, { create: true })).write(bytes, 0);
      const file = await TimerFile.open(one, { from: 0, to: 100 }, crc32);
      if (!file) return "refused";
      const all = await drained(new TimerCursor(file, FIRST_KEY));
      return JSON.stringify([all, await file.findIds(7), file.mayHoldId(7), file.until]);
    };
    const truth = await read(whole);
    for (let at = 0; at < whole.length; at += 41) {
      const flipped = whole.slice();
      flipped[at] = (flipped[at] as number) ^ (1 << (at % 8));
      const found = await read(flipped).catch((error: unknown) => {
        assert(error instanceof TimerDamage, String(error));
        return "refused";
      });
      assert(found === "refused" || found === truth, `flipped at ${at}`);
    }
  });

  it("is named by its range; the longest of a place comes first", () => {
    const names = [timerPath({ from: 5, to: 9 }), timerPath({ from: 0, to: 5 })].map(
      (path) => path.split("/")[1] as string,
    );
    const longer = timerPath({ from: 0, to: 9 }).split("/")[1] as string;
    assert.deepEqual(timerRanges([...names, longer, "x.tmr", `${longer}.tmp`]), [
      { from: 0, to: 9 },
      { from: 0, to: 5 },
      { from: 5, to: 9 },
    ]);
  });
});
