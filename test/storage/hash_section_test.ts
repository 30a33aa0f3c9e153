/**
 * Entries found by hash: in memory as they are pushed, and in a section of a sidecar.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { encodeSection, SectionReader, sectionSize } from "../../storage/hash_section.ts";
import { HashTable } from "../../storage/hash_table.ts";

type Row = readonly [hash: number, place: number, third: number, fourth: number, fifth: number];

const u32 = fc.nat({ max: 0xffff_ffff });
/** Few hashes at the ends of slots, so that they collide, and any others. */
const anyHash = fc.oneof(fc.constantFrom(0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff), u32);
const anyPlace = fc.oneof(fc.nat({ max: 5 }), u32);
const anyRow: fc.Arbitrary<Row> = fc.tuple(anyHash, anyPlace, u32, u32, u32);
/** More of one hash than one read of a search looks at. */
const anyRows = fc
  .tuple(fc.array(anyRow, { maxLength: 40 }), fc.constantFrom(1, 1, 1, 30))
  .map(([rows, times]) => Array.from({ length: times }, () => rows).flat());

function tableOf(rows: readonly Row[], words: number): HashTable {
  const table = new HashTable(words);
  for (const row of rows) table.push(...row);
  return table;
}

/** Its section behind some other bytes, and how many reads were made of it. */
function sectionOf(table: HashTable) {
  const { words } = table;
  const { bytes, count, slotCount } = table.encode();
  assert.equal(bytes.length, sectionSize({ count, slotCount }, words));
  const file = new Uint8Array(7 + bytes.length).fill(0xee);
  file.set(bytes, 7);
  const counted = { reads: 0, bytes: 0 };
  const section = new SectionReader({ count, slotCount, words, position: 7 }, async (at, size) => {
    counted.reads++;
    counted.bytes += size;
    assert(at >= 7 && at + size <= file.length, "it reads within the section");
    return file.subarray(at, at + size);
  });
  return { section, counted };
}

const rowOf = (source: { word(entry: number, index: number): number }, i: number, words: number) =>
  Array.from({ length: words }, (_, index) => source.word(i, index));

describe("HashTable and its section", () => {
  it("give the entries of a hash: the newest first, and by place", async () => {
    await fc.assert(
      fc.asyncProperty(anyRows, fc.integer({ min: 2, max: 5 }), async (rows, words) => {
        const table = tableOf(rows, words);
        const { section } = sectionOf(table);
        for (const hash of new Set([...rows.map(([one]) => one), 5])) {
          const pushed = rows.filter(([one]) => one === hash).map((row) => row.slice(0, words));
          const inMemory = [...table.find(hash)].map((entry) => rowOf(table, entry, words));
          assert.deepEqual(inMemory, pushed.toReversed());
          const byPlace = pushed.toSorted((a, b) => (a[1] as number) - (b[1] as number));
          const entries = await section.entries(await section.find(hash));
          const sealed = Array.from({ length: entries.count }, (_, i) => rowOf(entries, i, words));
          assert.deepEqual(sealed, byPlace);
        }
      }),
      { numRuns: 100 },
    );
  });

  it("give those of a range of places", async () => {
    await fc.assert(
      fc.asyncProperty(anyRows, anyPlace, anyPlace, async (rows, from, to) => {
        const { section } = sectionOf(tableOf(rows, 2));
        for (const hash of new Set(rows.map(([one]) => one))) {
          const expected = rows
            .filter(([one, place]) => one === hash && place >= from && place < to)
            .map(([, place]) => place);
          const range = await section.find(hash, { from, to });
          const entries = await section.entries(range);
          const found = Array.from({ length: entries.count }, (_, i) => entries.word(i, 1));
          assert.deepEqual(
            found,
            expected.toSorted((a, b) => a - b),
          );
        }
      }),
      { numRuns: 60 },
    );
  });

  it("hold more entries than a segment of 128 MiB has messages, and find one in few small reads", async () => {
    const count = 2 ** 21 + 3;
    const source = {
      count,
      words: 2,
      word: (entry: number, index: number) =>
        index === 0 ? Math.imul(entry, 0x9e3779b1) >>> 0 : count - entry,
    };
    const { bytes, ...mark } = encodeSection(source);
    let read = 0;
    const section = new SectionReader({ ...mark, words: 2, position: 0 }, async (at, size) => {
      read += size;
      return bytes.subarray(at, at + size);
    });
    for (const entry of [0, 1, 2 ** 20, 2 ** 21, count - 1]) {
      read = 0;
      const entries = await section.entries(await section.find(source.word(entry, 0)));
      assert.deepEqual(rowOf(entries, 0, 2), [source.word(entry, 0), count - entry]);
      assert(read < 1000, `${read} bytes were read`);
    }
  });

  it("finds the bounds of a hash that all entries have without reading them", async () => {
    const rows = Array.from({ length: 50_000 }, (_, i): Row => [9, i, i, 0, 0]);
    const { section, counted } = sectionOf(tableOf(rows, 3));
    assert.deepEqual(await section.find(9, { from: 20_000, to: 20_010 }), {
      from: 20_000,
      to: 20_010,
    });
    assert(counted.reads < 30 && counted.bytes < 12_000, JSON.stringify(counted));
  });
});
