/**
 * Changes arrive in the worker as they were packed, in parts of bounded size.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { compactChanges, packChanges, unpackChanges } from "../../storage/packed_changes.ts";
import { type Change, mergeEntries } from "../../storage/snapshot.ts";

const noPause = () => Promise.resolve();
const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
const changes = fc.array(fc.tuple(bytes(3), fc.option(bytes(40), { nil: undefined })));

function readable(all: Iterable<Change>): (readonly [string, string | undefined])[] {
  const hex = (value: Uint8Array) => Buffer.from(value).toString("hex");
  return [...all].map(([key, value]) => [hex(key), value && hex(value)]);
}

describe("packChanges()", () => {
  it("is undone by unpackChanges()", async () => {
    await fc.assert(
      fc.asyncProperty(changes, async (all) => {
        const packed = await packChanges(all, noPause);
        assert.deepEqual(readable(unpackChanges(packed)), readable(all));
      }),
    );
  });

  it("takes changes that are larger than a stretch", async () => {
    const all = [10, 200_000, 70_000, 3].map(
      (size, at): Change => [Uint8Array.of(at), new Uint8Array(size).fill(at)],
    );
    const packed = await packChanges(all, noPause);
    assert.deepEqual(readable(unpackChanges(packed)), readable(all));
  });

  it("reads a bounded number of changes between two pauses", async () => {
    let [run, longest, pauses] = [0, 0, 0];
    const value = new Uint8Array(100);
    function* many(): Generator<Change> {
      for (let at = 0; at < 10_000; at++) {
        longest = Math.max(longest, ++run);
        yield [Uint8Array.of(at >>> 8, at), value];
      }
    }
    const packed = await packChanges(many(), () => {
      run = 0;
      pauses++;
      return Promise.resolve();
    });
    assert.equal([...unpackChanges(packed)].length, 10_000);
    assert(longest < 200 && pauses >= 50, `${longest} at once, ${pauses} pauses`);
  });

  it("holds no more than it packed", async () => {
    const packed = await packChanges([[Uint8Array.of(1), undefined]], noPause);
    assert.deepEqual(
      packed.map(({ length, buffer }) => [length, buffer.byteLength]),
      [[7, 7]],
    );
  });
});

describe("compactChanges()", () => {
  it("leaves one change per key, and the same table", async () => {
    await fc.assert(
      fc.asyncProperty(changes, async (all) => {
        const compact = await compactChanges(await packChanges(all, noPause), noPause);
        const left = [...unpackChanges(compact)];
        assert.equal(new Set(readable(left).map(([key]) => key)).size, left.length);
        assert.deepEqual(readable(mergeEntries([], left)), readable(mergeEntries([], all)));
      }),
    );
  });
});
