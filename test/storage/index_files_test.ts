/**
 * The derived files and what they are made of: units, ids, sealed blocks,
 * sidecars, snapshots.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { readSealed, sealBlocks, sealedSize } from "../../storage/blocks.ts";
import { HashTable } from "../../storage/hash_table.ts";
import { NO_SECTION, WORDS } from "../../storage/hash_section.ts";
import { segmentPath, sidecarPath } from "../../storage/segment.ts";
import {
  encodeSidecar,
  type SidecarContent,
  sidecarParts,
  type SidecarRun,
} from "../../storage/sidecar.ts";
import { openSidecars, SidecarDamage, SidecarFile } from "../../storage/sidecar_file.ts";
import {
  decodeSnapshot,
  encodeSnapshot,
  type Entry,
  mergeEntries,
  snapshotOffsets,
} from "../../storage/snapshot.ts";
import { UNIT_SIZE, type Unit, UnitBuffer, Units } from "../../storage/units.ts";

const u32 = fc.nat({ max: 0xffff_ffff });
const strict = { noNullPrototype: true };
const anyUnit: fc.Arbitrary<Unit> = fc.record(
  {
    bodyLogOffset: fc.maxSafeNat(),
    size: u32,
    tagHash: u32,
    keyHash: u32,
    visibleLogOffset: fc.maxSafeNat(),
    visibleAt: fc.maxSafeNat(),
  },
  strict,
);

function bufferOf(units: readonly Unit[]): UnitBuffer {
  const buffer = new UnitBuffer();
  for (const unit of units) buffer.push(unit);
  return buffer;
}

async function fileOf(path: string, bytes: Uint8Array): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  (await disk.open(path, { create: true })).write(bytes, 0);
  return disk;
}

describe("units", () => {
  it("are read as they were pushed, whole or by range", () => {
    fc.assert(
      fc.property(fc.array(anyUnit), fc.nat(), fc.nat({ max: 10 }), (units, at, count) => {
        const buffer = bufferOf(units);
        const all = new Units(buffer.slice());
        assert.equal(all.count, units.length);
        assert.deepEqual(
          units.map((_, i) => all.unit(i)),
          units,
        );
        const from = at % (units.length + 1);
        const part = new Units(buffer.slice(from, Math.min(count, units.length - from)));
        assert.deepEqual(
          Array.from({ length: part.count }, (_, i) => part.unit(i)),
          units.slice(from, from + count),
        );
      }),
    );
  });

  it("firstWhere() is what a walk would find", () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 30 })), fc.nat({ max: 31 }), (times, wanted) => {
        const sorted = times.toSorted((a, b) => a - b);
        const blank = { bodyLogOffset: 0, size: 0, tagHash: 0, keyHash: 0, visibleLogOffset: 0 };
        const units = new Units(
          bufferOf(sorted.map((at) => ({ ...blank, visibleAt: at }))).slice(),
        );
        const expected = sorted.findIndex((at) => at >= wanted);
        const found = units.firstWhere((i) => units.visibleAt(i) >= wanted);
        assert.equal(found, expected === -1 ? sorted.length : expected);
      }),
    );
  });
});

describe("sealed blocks", () => {
  it("give any range of the content back", async () => {
    const size = fc.oneof(
      fc.nat({ max: 20_000 }),
      fc.constantFrom(0, 4091, 4092, 4093, 8184, 8185),
    );
    await fc.assert(
      fc.asyncProperty(size, fc.nat(), fc.nat(), async (contentSize, a, b) => {
        const content = new Uint8Array(contentSize).map((_, i) => (i * 7) % 256);
        const sealed = sealBlocks(content, crc32);
        assert.equal(sealed.length, sealedSize(contentSize));
        const file = await (await fileOf("f", sealed)).open("f", { create: false });
        const from = a % (contentSize + 1);
        const length = b % (contentSize - from + 1);
        const found = await readSealed(file, { from, size: length }, crc32);
        assert.deepEqual(found, content.subarray(from, from + length));
      }),
    );
  });

  it("give nothing back of a block that is damaged or cut", async () => {
    const content = new Uint8Array(10_000).map((_, i) => (i * 7) % 256);
    const sealed = sealBlocks(content, crc32);
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: sealed.length - 1 }), fc.nat({ max: 7 }), async (at, bit) => {
        const flipped = sealed.slice();
        flipped[at] = (flipped[at] as number) ^ (1 << bit);
        const block = Math.floor(at / 4096);
        const [damaged, cut] = [
          await (await fileOf("f", flipped)).open("f", { create: false }),
          await (await fileOf("f", sealed.subarray(0, at))).open("f", { create: false }),
        ];
        for (let i = 0; i < 3; i++) {
          const range = { from: i * 4092, size: Math.min(4092, content.length - i * 4092) };
          const expected = content.slice(range.from, range.from + range.size);
          const found = await readSealed(damaged, range, crc32);
          assert.deepEqual(found, i === block ? undefined : expected);
          assert.deepEqual(await readSealed(cut, range, crc32), i < block ? expected : undefined);
        }
      }),
      { numRuns: 50 },
    );
  });
});

const NO_SECTIONS = { ids: NO_SECTION, keys: NO_SECTION, ops: NO_SECTION };

/** Of a sidecar of a segment, all that the test does not care for. */
function contentOf(parts: Partial<SidecarContent>): SidecarContent {
  const counts = { keyedCount: 0, heldCount: 0, timersUntil: 0, bodiesFrom: 0 };
  return { base: 0, end: 10, runs: [], sections: NO_SECTIONS, ...counts, ...parts };
}

/** Few hashes, so that they collide; more pairs than one read looks at. */
const anyPairs = fc
  .tuple(fc.array(fc.nat({ max: 9 }), { maxLength: 60 }), fc.constantFrom(1, 40))
  .map(([hashes, times]) => Array.from({ length: times }, () => hashes).flat())
  .map((hashes) => hashes.map((hash, i) => [hash, 64 + i * 100] as const));

describe("ids", () => {
  it("are found newest first, in memory and in the sidecar", async () => {
    await fc.assert(
      fc.asyncProperty(anyPairs, fc.constantFrom(1, 0x0800_0001), async (pairs, spread) => {
        const ids = new HashTable(WORDS.ids);
        for (const [hash, place] of pairs) ids.push(hash * spread, place);
        const content = contentOf({ sections: { ...NO_SECTIONS, ids: ids.encode() } });
        const disk = await fileOf(sidecarPath(0), encodeSidecar(content, crc32));
        const sidecar = await SidecarFile.open(disk, { base: 0, end: 10 }, crc32);
        assert(sidecar);
        for (let hash = 0; hash < 11; hash++) {
          const expected = pairs.filter(([one]) => one === hash).map(([, place]) => place);
          const found = [...ids.find(hash * spread)].map((entry) => ids.word(entry, 1));
          assert.deepEqual(found, expected.toReversed());
          assert.deepEqual(await sidecar.findIds(hash * spread), expected.toReversed());
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe("a sidecar", () => {
  const link = fc.option(fc.record({ base: fc.maxSafeNat(), first: fc.maxSafeNat() }, strict), {
    nil: undefined,
  });
  const anyLinks = fc.record({ ordinal: u32, previous: link, skip16: link, skip256: link }, strict);
  const anyRuns = fc
    .uniqueArray(
      fc.record({
        topicGen: fc.nat({ max: 5 }),
        queueId: fc.nat({ max: 5 }),
        first: fc.maxSafeNat(),
        links: anyLinks,
        list: fc.array(anyUnit, { minLength: 1, maxLength: 200 }),
      }),
      { selector: ({ topicGen, queueId }) => topicGen * 10 + queueId, maxLength: 12 },
    )
    .map((runs) => runs.toSorted((a, b) => a.topicGen - b.topicGen || a.queueId - b.queueId));

  const toRun = (run: Omit<SidecarRun, "units"> & { list: Unit[] }): SidecarRun => ({
    topicGen: run.topicGen,
    queueId: run.queueId,
    first: run.first,
    links: run.links,
    units: bufferOf(run.list),
  });

  it("gives every queue its units and its links, and others none", async () => {
    await fc.assert(
      fc.asyncProperty(anyRuns, fc.nat(), async (runs, at) => {
        const about = { base: 7, end: 99, timersUntil: at, heldCount: at % 3, keyedCount: at % 5 };
        const content = contentOf({ ...about, runs: runs.map(toRun) });
        const disk = await fileOf(sidecarPath(7), encodeSidecar(content, crc32));
        const sidecar = await SidecarFile.open(disk, { base: 7, end: 99 }, crc32);
        assert(sidecar && (await sidecar.isWhole()));
        const { base, end, timersUntil, heldCount, keyedCount } = sidecar;
        assert.deepEqual({ base, end, timersUntil, heldCount, keyedCount }, about);
        for (const { topicGen, queueId, first, links, list } of runs) {
          const entry = await sidecar.entry({ topicGen, queueId });
          assert(entry);
          assert.deepEqual([entry.first, entry.count, entry.links], [first, list.length, links]);
          const from = at % list.length;
          const units = await sidecar.units(entry, { from, count: 50 });
          assert.deepEqual(
            Array.from({ length: units.count }, (_, i) => units.unit(i)),
            list.slice(from, from + 50),
          );
        }
        assert.equal(await sidecar.entry({ topicGen: 6, queueId: 0 }), undefined);
        assert.deepEqual(
          (await sidecar.marks()).map(({ topicGen, queueId, end, links }) => [
            [topicGen, queueId],
            [end, links],
          ]),
          runs.map(({ topicGen, queueId, first, links }) => [
            [topicGen, queueId],
            [first, links],
          ]),
        );
      }),
      { numRuns: 60 },
    );
  });

  /** Hashes in all slots. */
  const spreadOf = (i: number) => Math.imul(i, 0x9e3779b1) >>> 0;
  const units = bufferOf(
    Array.from({ length: 400 }, (_, i) => ({
      bodyLogOffset: i,
      size: 100,
      tagHash: 0,
      keyHash: 0,
      visibleLogOffset: i,
      visibleAt: i,
    })),
  );
  const links = { ordinal: 0, previous: undefined, skip16: undefined, skip256: undefined };
  const tables = {
    ids: new HashTable(WORDS.ids),
    keys: new HashTable(WORDS.keys),
    ops: new HashTable(WORDS.ops),
  };
  for (let i = 0; i < 400; i++) {
    for (const table of Object.values(tables)) table.push(spreadOf(i), i, i, i, i);
  }
  const { ids, keys, ops } = tables;
  const sections = { ids: ids.encode(), keys: keys.encode(), ops: ops.encode() };
  const run = { topicGen: 1, queueId: 0, first: 0, links, units };
  const whole = encodeSidecar(contentOf({ end: 500, runs: [run], sections }), crc32);

  it("is refused for another segment, and when it is cut or longer", async () => {
    const open = async (bytes: Uint8Array, segment = { base: 0, end: 500 }) =>
      SidecarFile.open(await fileOf(sidecarPath(0), bytes), segment, crc32);
    assert(await open(whole));
    assert.equal(await open(whole, { base: 0, end: 501 }), undefined);
    assert.equal(await open(new Uint8Array([...whole, 0])), undefined);
    for (let size = 0; size < whole.length; size += 97) {
      assert.equal(await open(whole.subarray(0, size)), undefined, `cut to ${size}`);
    }
  });

  it("never gives a flipped bit out as truth", async () => {
    const read = async (bytes: Uint8Array) => {
      const disk = await fileOf(sidecarPath(0), bytes);
      const sidecar = await SidecarFile.open(disk, { base: 0, end: 500 }, crc32);
      const entry = await sidecar?.entry(run);
      if (!sidecar || !entry) return "refused";
      const found = await sidecar.units(entry, { from: 0, count: 400 });
      const places: unknown[] = [];
      for (let i = 0; i < 400; i += 3) {
        places.push(await sidecar.findIds(spreadOf(i)));
        for (const section of [sidecar.keys, sidecar.ops]) {
          const range = await section.find(spreadOf(i));
          const entries = await section.entries(range);
          places.push(range, entries.count > 0 && entries.word(0, 2));
        }
      }
      return JSON.stringify([Array.from({ length: 400 }, (_, i) => found.unit(i)), places]);
    };
    const truth = await read(whole);
    for (let at = 0; at < whole.length; at += 101) {
      const flipped = whole.slice();
      flipped[at] = (flipped[at] as number) ^ (1 << (at % 8));
      const found = await read(flipped).catch((error: unknown) => {
        assert(error instanceof SidecarDamage, String(error));
        return "refused";
      });
      assert(found === "refused" || found === truth, `flipped at ${at}`);
    }
  });

  it("of a build before, or after, is none", async () => {
    for (const version of ["1", "3"]) {
      const [first] = sidecarParts(contentOf({ end: 500, runs: [run], sections }));
      assert(first);
      first.set(new TextEncoder().encode(`TIDEIDX${version}`));
      const parts = sidecarParts(contentOf({ end: 500, runs: [run], sections })).slice(1);
      const bytes = sealBlocks(Buffer.concat([first, ...parts]), crc32);
      const disk = await fileOf(sidecarPath(0), bytes);
      assert.equal(await SidecarFile.open(disk, { base: 0, end: 500 }, crc32), undefined);
    }
  });

  it("belongs to a segment that another one follows", async () => {
    const disk = await fileOf(sidecarPath(0), whole);
    for (const base of [0, 500, 900]) await disk.open(segmentPath(base), { create: true });
    const { files, missing } = await openSidecars({ disk, crc32, report() {} });
    assert.deepEqual([...files.keys()], [0]);
    assert.deepEqual(missing, [{ base: 500, end: 900 }]);
  });

  it("holds its units where the layout says", () => {
    const entries = 400 * 4 * (WORDS.ids + WORDS.keys + WORDS.ops) + 3 * 4 * 129;
    assert.equal(whole.length, sealedSize(96 + 400 * UNIT_SIZE + entries + 88));
  });
});

describe("a snapshot", () => {
  const anyKey = fc.uint8Array({ maxLength: 3 });
  const anyChanges = fc.uniqueArray(
    fc.tuple(anyKey, fc.option(fc.uint8Array({ maxLength: 4 }), { nil: undefined })),
    { selector: ([key]) => key.join() },
  );

  it("merged with changes is what a Map would hold, in order of key", () => {
    fc.assert(
      fc.property(fc.array(anyChanges, { maxLength: 5 }), (generations) => {
        const model = new Map<string, Entry>();
        let entries: Entry[] = [];
        for (const changes of generations) {
          entries = mergeEntries(entries, changes);
          for (const [key, value] of changes) {
            if (value === undefined) model.delete(key.join());
            else model.set(key.join(), [key, value]);
          }
        }
        const expected = [...model.values()].toSorted(([a], [b]) => Buffer.compare(a, b));
        assert.deepEqual(entries, expected);
        const snapshot = { logOffset: 9, walkFrom: 4, entries };
        assert.deepEqual(decodeSnapshot(encodeSnapshot(snapshot, crc32), crc32), snapshot);
      }),
    );
  });

  it("holds more entries than an argument list", () => {
    const keyOf = (i: number) => Uint8Array.of(i >> 16, (i >> 8) & 255, i & 255);
    const many = Array.from({ length: 300_000 }, (_, i): Entry => [keyOf(i), keyOf(i)]);
    assert.equal(mergeEntries(many, []).length, many.length);
    assert.equal(mergeEntries(many, [[keyOf(0), undefined]]).length, many.length - 1);
  });

  it("that is cut or flipped anywhere is none", () => {
    const entries: Entry[] = [
      [Uint8Array.of(1), Uint8Array.of(2)],
      [Uint8Array.of(3), Uint8Array.of(4, 5)],
    ];
    const file = encodeSnapshot({ logOffset: 9, walkFrom: 4, entries }, crc32);
    for (let at = 0; at < file.length; at++) {
      assert.equal(decodeSnapshot(file.subarray(0, at), crc32), undefined, `cut to ${at}`);
      if (at >= 36 && at < 64) continue; // nothing is there
      const flipped = file.slice();
      flipped[at] = (flipped[at] as number) ^ 1;
      assert.equal(decodeSnapshot(flipped, crc32), undefined, `flipped at ${at}`);
    }
  });

  it("is named by its offset; other names are not snapshots", () => {
    const names = ["00000000000000000005.snap", "00000000000000000010.snap", "x.snap"];
    assert.deepEqual(snapshotOffsets([...names, "00000000000000000020.snap.tmp"]), [10, 5]);
  });
});
