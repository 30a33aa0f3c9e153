/**
 * What the dedupe store is made of: the table of a young segment, the filter,
 * the plan of merges, the run file.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import fc from "fast-check";
import { viewOf } from "../../storage/base/bytes.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { Bloom } from "../../storage/bloom.ts";
import { mergeRuns } from "../../storage/dedupe_jobs.ts";
import { planMerge, RUNS_MAX } from "../../storage/dedupe_plan.ts";
import {
  type DedupeEntry,
  encodeDedupeEntry,
  runPath,
  type RunRange,
  runRanges,
} from "../../storage/dedupe_run.ts";
import { RunDamage, RunFile } from "../../storage/dedupe_run_file.ts";
import { RunWriter } from "../../storage/dedupe_run_writer.ts";
import { DedupeTable } from "../../storage/dedupe_table.ts";

/** As the store's key hashes are: of any text, uniform. */
const hashes = new Map<string | number, Uint8Array>();
function hashOf(text: string | number): Uint8Array {
  const known = hashes.get(text);
  if (known) return known;
  const hash = new Uint8Array(createHash("sha256").update(String(text)).digest().subarray(0, 16));
  hashes.set(text, hash);
  return hash;
}

/** Few of them, and close: they differ in one byte only. */
const anyHash = fc
  .tuple(fc.constantFrom(0, 0x80, 0xff), fc.nat({ max: 15 }), fc.nat({ max: 3 }))
  .map(([fill, at, value]) => {
    const hash = new Uint8Array(16).fill(fill);
    hash[at] = value;
    return hash;
  });

describe("the table of a young segment", () => {
  it("finds what a Map would, the last put of a key", () => {
    const puts = fc.array(fc.tuple(anyHash, fc.nat({ max: 2 ** 30 }), fc.maxSafeNat()), {
      maxLength: 300,
    });
    fc.assert(
      fc.property(puts, fc.array(anyHash), (given, asked) => {
        const table = new DedupeTable();
        const model = new Map<string, { place: number; storedAt: number }>();
        for (const [hash, place, storedAt] of given) {
          table.put(hash, { place, storedAt });
          model.set(hash.join(), { place, storedAt });
        }
        assert.equal(table.count, model.size);
        for (const hash of [...given.map(([hash]) => hash), ...asked]) {
          assert.deepEqual(table.find(hash), model.get(hash.join()));
        }
      }),
    );
  });

  it("holds many in some fifty bytes each", () => {
    const table = new DedupeTable();
    for (let i = 0; i < 50_000; i++) table.put(hashOf(i), { place: i, storedAt: 1e12 + i });
    for (let i = 0; i < 50_000; i += 7) {
      assert.deepEqual(table.find(hashOf(i)), { place: i, storedAt: 1e12 + i });
    }
    assert.equal(table.find(hashOf("x")), undefined);
    assert(table.byteSize < 50_000 * 76, `${table.byteSize / 50_000} bytes each`);
  });
});

describe("the Bloom filter", () => {
  it("never denies what was added, however often it is folded", () => {
    const filter = Bloom.for(5000);
    for (let i = 0; i < 5000; i++) filter.add(hashOf(i));
    for (let folds = 0; ; folds++) {
      for (let i = 0; i < 5000; i++) assert(filter.maybe(hashOf(i)), `${i}, folded ${folds}`);
      if (!filter.fold()) break;
    }
    assert.equal(filter.bytes.length, 64);
  });

  it("denies nearly all that was not", () => {
    const filter = Bloom.for(5000);
    for (let i = 0; i < 5000; i++) filter.add(hashOf(i));
    const share = () => {
      let maybes = 0;
      for (let i = 0; i < 10_000; i++) if (filter.maybe(hashOf(`other ${i}`))) maybes++;
      return maybes / 10_000;
    };
    assert(share() < 0.03);
    filter.fold();
    assert(share() < 0.25);
  });
});

describe("planMerge()", () => {
  const MiB = 1024 * 1024;
  const run = (at: number, size: number) => ({
    header: { from: at, to: at + 1 },
    byteSize: size * MiB,
  });
  const runsOf = (...sizes: number[]) => sizes.map((size, at) => run(at, size));

  const cases: [string, number[], number[], [number, number] | undefined][] = [
    ["one run", [9], [], undefined],
    ["two of a level", [9, 1], [], [0, 2]],
    ["two levels", [100, 1], [], undefined],
    ["a level fills and joins the next", [100, 63, 1], [], [0, 3]],
    ["four levels", [20_000, 2000, 100, 63], [], undefined],
    ["all at once", [17_000, 15_000, 1000, 60, 4], [], [1, 5]],
    ["older ones, when the newest stands alone", [100, 900, 1], [], [0, 2]],
    ["beside a gap", [9, 1], [1], [0, 2]],
  ];
  for (const [name, sizes, gaps, expected] of cases) {
    it(name, () => {
      const runs = runsOf(...sizes);
      const planned = planMerge(runs, gaps);
      assert.deepEqual(planned, expected && runs.slice(...expected));
    });
  }

  it("leaves neighbours with a gap between them alone", () => {
    const runs = [run(0, 1), run(2, 1), run(3, 1)];
    assert.deepEqual(planMerge(runs, [1]), runs.slice(1));
    assert.equal(planMerge(runs.slice(0, 2), [1]), undefined);
  });

  it("keeps at most four at rest, and copies an entry some dozen times", () => {
    let runs: ReturnType<typeof run>[] = [];
    let copied = 0;
    const SEALS = 6000;
    for (let at = 0; at < SEALS; at++) {
      runs.push(run(at, 20));
      for (let merged = planMerge(runs, []); merged; merged = planMerge(runs, [])) {
        const size = merged.reduce((sum, one) => sum + one.byteSize, 0) / MiB;
        copied += size;
        const first = merged[0] as ReturnType<typeof run>;
        const rest = runs.filter((one) => !merged?.includes(one));
        const joined = {
          ...run(first.header.from, size),
          header: { from: first.header.from, to: at + 1 },
        };
        runs = [...rest, joined].toSorted((a, b) => a.header.from - b.header.from);
      }
      assert(runs.length <= RUNS_MAX, `${runs.length} after ${at}`);
    }
    assert(copied / (SEALS * 20) < 24, `each copied ${copied / (SEALS * 20)} times`);
  });
});

function entryOf(
  hash: Uint8Array,
  publishedAt: number,
  more: Partial<DedupeEntry> = {},
): DedupeEntry {
  const seed = viewOf(hash).getUint32(0);
  return {
    keyHash: hash,
    fingerprint: hash.slice(8),
    id: `id-${seed}`.repeat(1 + (seed % 9)),
    queueId: seed % 1024,
    queueOffset: seed % 7 === 0 ? -1 : seed,
    publishedAt,
    ...(seed % 7 === 0 && { deliverAt: publishedAt + 5 }),
    ...more,
  };
}

async function writeRun(
  disk: MemoryDisk,
  range: RunRange,
  entries: readonly DedupeEntry[],
): Promise<void> {
  const file = await disk.open(runPath(range), { create: true });
  const writer = new RunWriter(file, { range, entriesMax: entries.length, crc32 });
  const sorted = entries.toSorted((a, b) => Buffer.compare(a.keyHash, b.keyHash));
  for (const entry of sorted) writer.add(encodeDedupeEntry(entry), 0);
  writer.finish();
}

async function findIn(run: RunFile, hash: Uint8Array): Promise<DedupeEntry | undefined> {
  if (!run.maybe(hash)) return undefined;
  run.hold();
  try {
    return await run.find(hash);
  } finally {
    await run.release();
  }
}

describe("a run", () => {
  const range = { from: 5, to: 99 };

  for (const count of [0, 1, 2, 500, 20_000]) {
    it(`of ${count} gives each of its entries back, and nothing else`, async () => {
      const disk = new MemoryDisk();
      const entries = Array.from({ length: count }, (_, i) => entryOf(hashOf(i), 1 + i));
      await writeRun(disk, range, entries);
      const run = await RunFile.open(disk, range, crc32);
      assert.deepEqual([run.header.entryCount, run.header.newest], [count, count]);
      assert.equal(run.byteSize, disk.bytes(runPath(range)).length);
      for (let i = 0; i < count; i += Math.ceil(count / 300)) {
        assert.deepEqual(await findIn(run, hashOf(i)), entries[i]);
      }
      for (let i = 0; i < 2000; i++) {
        assert.equal(await findIn(run, hashOf(`other ${i}`)), undefined);
      }
    });
  }

  it("is searched in a few reads", async () => {
    const disk = new MemoryDisk();
    const entries = Array.from({ length: 20_000 }, (_, i) => entryOf(hashOf(i), 1 + i));
    await writeRun(disk, range, entries);
    let reads = 0;
    const open = disk.open.bind(disk);
    disk.open = async (path, options) => {
      const file = await open(path, options);
      const read = file.read.bind(file);
      file.read = (target, position) => {
        reads++;
        return read(target, position);
      };
      return file;
    };
    const run = await RunFile.open(disk, range, crc32);
    reads = 0;
    for (let i = 0; i < 500; i++) await findIn(run, hashOf(i * 31));
    assert(reads / 500 < 3, `${reads / 500} reads a lookup`);
  });

  it("of keys that are close together is searched as truly", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyHash, { maxLength: 400 }), async (hashes) => {
        const disk = new MemoryDisk();
        const byKey = new Map(hashes.map((hash) => [hash.join(), entryOf(hash, 7)]));
        await writeRun(disk, range, [...byKey.values()]);
        const run = await RunFile.open(disk, range, crc32);
        for (let fill = 0; fill < 256; fill += 51) {
          const other = new Uint8Array(16).fill(fill);
          assert.deepEqual(await findIn(run, other), byKey.get(other.join()));
        }
        for (const hash of hashes)
          assert.deepEqual(await findIn(run, hash), byKey.get(hash.join()));
      }),
      { numRuns: 50 },
    );
  });

  it("never gives a flipped bit out as truth", async () => {
    const disk = new MemoryDisk();
    const entries = Array.from({ length: 300 }, (_, i) => entryOf(hashOf(i), 1 + i));
    await writeRun(disk, range, entries);
    const whole = disk.bytes(runPath(range)).slice();
    const seen = new Set<string>();
    for (let at = 0; at < whole.length; at += 41) {
      const damaged = new MemoryDisk();
      const flipped = whole.slice();
      flipped[at] = (flipped[at] as number) ^ (1 << (at % 8));
      (await damaged.open(runPath(range), { create: true })).write(flipped, 0);
      try {
        const run = await RunFile.open(damaged, range, crc32);
        for (let i = 0; i < 300; i += 17) {
          assert.deepEqual(await findIn(run, hashOf(i)), entries[i], `flipped at ${at}`);
        }
        seen.add("harmless"); // in the filter, which then says maybe
      } catch (error) {
        assert(error instanceof RunDamage, String(error));
        seen.add("refused");
      }
    }
    assert.deepEqual([...seen].toSorted(), ["harmless", "refused"]);
  });

  it("is refused when it is cut, longer, or has another name", async () => {
    const disk = new MemoryDisk();
    await writeRun(disk, range, [entryOf(hashOf(1), 1)]);
    const whole = disk.bytes(runPath(range)).slice();
    const open = async (bytes: Uint8Array, at = range) => {
      const other = new MemoryDisk();
      (await other.open(runPath(at), { create: true })).write(bytes, 0);
      return RunFile.open(other, at, crc32);
    };
    await open(whole);
    await assert.rejects(open(whole, { from: 5, to: 98 }), RunDamage);
    await assert.rejects(open(new Uint8Array([...whole, 0])), RunDamage);
    for (let size = 0; size < whole.length; size += 97) {
      await assert.rejects(open(whole.subarray(0, size)), RunDamage, `cut to ${size}`);
    }
  });

  it("stays open for those who hold it", async () => {
    const disk = new MemoryDisk();
    await writeRun(disk, range, [entryOf(hashOf(1), 1)]);
    let closes = 0;
    const open = disk.open.bind(disk);
    disk.open = async (path, options) => {
      const file = await open(path, options);
      file.close = async () => void closes++;
      return file;
    };
    const run = await RunFile.open(disk, range, crc32);
    run.hold();
    run.hold();
    await run.close();
    await run.release();
    assert.equal(closes, 0);
    await run.release();
    await run.close();
    assert.equal(closes, 1);
  });

  it("is named by its range; other names are not runs", () => {
    const names = [
      runPath({ from: 5, to: 9 }),
      runPath({ from: 0, to: 5 }),
      runPath({ from: 0, to: 9 }),
    ];
    const listed = [...names.map((name) => name.slice(7)), `${names[0]?.slice(7)}.tmp`, "x.run"];
    assert.deepEqual(runRanges(listed), [
      { from: 0, to: 9 },
      { from: 0, to: 5 },
      { from: 5, to: 9 },
    ]);
  });
});

describe("mergeRuns()", () => {
  const anyRuns = fc.array(
    fc.tuple(fc.constantFrom(3, 40, 1500), fc.nat({ max: 2000 }), fc.constantFrom(1, 3)),
    { minLength: 1, maxLength: 5 },
  );

  it("keeps of each key the latest, and nothing out of the window", async () => {
    await fc.assert(
      fc.asyncProperty(anyRuns, fc.nat({ max: 600 }), async (shapes, expired) => {
        const disk = new MemoryDisk();
        const model = new Map<number, DedupeEntry>();
        const inputs: RunRange[] = [];
        for (const [at, [count, first, step]] of shapes.entries()) {
          const range = { from: at * 10, to: at * 10 + 10 };
          const keys = Array.from({ length: count }, (_, i) => first + i * step);
          const entries = keys.map((key) => entryOf(hashOf(key), 1 + at * 100 + (key % 100)));
          await writeRun(disk, range, entries);
          inputs.push(range);
          keys.forEach((key, i) => model.set(key, entries[i] as DedupeEntry));
        }
        await mergeRuns({ inputs, expired }, { disk, crc32 });
        const range = { from: 0, to: shapes.length * 10 };
        const run = await RunFile.open(disk, range, crc32);
        const kept = [...model].filter(([, entry]) => entry.publishedAt > expired);
        assert.equal(run.header.entryCount, kept.length);
        const newest = Math.max(0, ...kept.map(([, entry]) => entry.publishedAt));
        assert.equal(run.header.newest, newest);
        for (const [key, entry] of [...model].slice(0, 500)) {
          const expected = entry.publishedAt > expired ? entry : undefined;
          assert.deepEqual(await findIn(run, hashOf(key)), expected);
        }
      }),
      { numRuns: 25 },
    );
  });

  it("says so when an input is damaged, and puts nothing in place", async () => {
    const disk = new MemoryDisk();
    const inputs = [
      { from: 0, to: 5 },
      { from: 5, to: 9 },
    ] as const;
    for (const range of inputs) {
      await writeRun(
        disk,
        range,
        Array.from({ length: 300 }, (_, i) => entryOf(hashOf(i), 1)),
      );
    }
    disk.damage(runPath(inputs[1]), (bytes) => void (bytes[9000] = (bytes[9000] as number) ^ 1));
    await assert.rejects(mergeRuns({ inputs, expired: 0 }, { disk, crc32 }), RunDamage);
    assert.deepEqual(runRanges(await disk.list("dedupe")), inputs);
  });
});
