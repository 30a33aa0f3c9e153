/**
 * Reading many frames at once, wherever they lie and in whatever order.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { Prng } from "../../storage/base/prng.ts";
import { readFrames } from "../../storage/read_frames.ts";
import { segmentPath } from "../../storage/segment.ts";
import type { RecordPlace } from "../../storage/replay.ts";
import { draft, KiB, MiB, type NewMessage, OpenStore } from "./fixture.ts";
import { positionOf } from "./written_log.ts";

const SEGMENT_BYTES = 256 * KiB;

/** A store whose tail holds only the youngest: the rest is on disk. */
async function opened(sizes: readonly number[]) {
  const disk = new MemoryDisk();
  const put = (open: OpenStore, from: number, some: readonly number[]) =>
    open.putAll(
      some.map((size, i): NewMessage => {
        const body = new Uint8Array(size).fill(1 + ((from + i) % 255));
        return draft({ queueOffset: from + i, body });
      }),
    );
  const old = sizes.slice(0, -10);
  const first = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES });
  const places = await put(first, 0, old);
  await first.store.close();
  const open = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES });
  places.push(...(await put(open, old.length, sizes.slice(-10))));
  return { disk, open, places };
}

async function sized({ store }: OpenStore, places: readonly RecordPlace[]) {
  return await Promise.all(
    places.map(async ({ logOffset }) => {
      const size = (await store.log.readAt(logOffset))?.size ?? 0;
      return { logOffset, size };
    }),
  );
}

describe("readFrames()", () => {
  const prng = new Prng(11);
  const sizes = Array.from({ length: 150 }, () =>
    prng.chance(10) ? prng.below(60 * KiB) : prng.below(500),
  );
  sizes[70] = 3 * MiB; // more than is read in one go

  it("gives each frame in its place, whatever the order", async () => {
    const { open, places } = await opened(sizes);
    assert(open.store.log.segments.length > 3);
    const all = await sized(open, places);
    for (let round = 0; round < 20; round++) {
      const asked = Array.from({ length: 1 + prng.below(200) }, () =>
        prng.chance(10) ? { logOffset: 0, size: 0 } : prng.pick(all),
      );
      const frames = await readFrames(open.store.log, asked);
      assert.deepEqual(
        frames.map((frame) => frame && { logOffset: frame.logOffset, size: frame.size }),
        asked.map((place) => (place.size === 0 ? undefined : place)),
      );
    }
    assert.deepEqual(await readFrames(open.store.log, []), []);
  });

  it("leaves out what is damaged, and nothing beside it", async () => {
    const { disk, open, places } = await opened(sizes);
    const all = await sized(open, places);
    const damaged = [3, 40, 41, 99];
    for (const index of damaged) {
      const { logOffset } = all[index] as { logOffset: number };
      const base = open.store.log.segmentAt(logOffset)?.base ?? 0;
      disk.damage(segmentPath(base), (bytes) => {
        const at = positionOf(logOffset, base) + 50;
        bytes[at] = (bytes[at] ?? 0) ^ 1;
      });
    }
    const backwards = all.toReversed();
    const frames = await readFrames(open.store.log, backwards);
    const missing = frames.flatMap((frame, i) => (frame ? [] : [all.length - 1 - i]));
    assert.deepEqual(
      missing.toSorted((a, b) => a - b),
      damaged,
    );
  });

  it("reads neighbours together", async () => {
    const { open, places } = await opened(Array.from({ length: 300 }, () => 100));
    const all = (await sized(open, places)).slice(0, 280);
    let reads = 0;
    const { log } = open.store;
    const readBytes = log.readBytes.bind(log);
    log.readBytes = (from, size) => {
      reads++;
      return readBytes(from, size);
    };
    const odd = all.filter((_, i) => i % 2 === 1).toReversed();
    assert((await readFrames(log, odd)).every((frame) => frame !== undefined));
    assert.equal(
      reads,
      log.segments.filter(({ base }) => base < (all.at(-1)?.logOffset ?? 0)).length,
    );
  });
});
