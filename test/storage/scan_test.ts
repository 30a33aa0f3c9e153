/**
 * Walking frames and finding them again behind nonsense, in windows of a file
 * that is larger than a window.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { viewOf } from "../../storage/base/bytes.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { FRAME_HEADER_SIZE, FRAME_SIZE_MAX, sealFrame } from "../../storage/frame.ts";
import { findFrame, scanFrames } from "../../storage/scan.ts";
import { SEGMENT_HEADER_SIZE } from "../../storage/segment.ts";
import { MiB } from "./fixture.ts";

const WINDOW_SIZE = 4 * MiB + 256 * 1024; // scan.ts

/** A segment's bytes behind its header, with frames where the test puts them. */
class Bench {
  readonly base: number;
  readonly bytes: Uint8Array;
  #crc = 0;

  constructor(base: number, size: number) {
    this.base = base;
    this.bytes = new Uint8Array(SEGMENT_HEADER_SIZE + size);
  }

  get to(): number {
    return this.base + this.bytes.length - SEGMENT_HEADER_SIZE;
  }

  /** Puts a frame at `logOffset`; returns where the next one may begin. */
  put(logOffset: number, size: number): number {
    const at = SEGMENT_HEADER_SIZE + logOffset - this.base;
    const frame = { kind: 1, flags: 0, epoch: 1, storedAt: 1, confirmOffset: 0 };
    const target = { bytes: this.bytes, view: viewOf(this.bytes), at };
    this.#crc = sealFrame(target, { ...frame, prevCrc: this.#crc, logOffset, size, crc32 });
    return logOffset + size;
  }

  async #file() {
    const disk = new MemoryDisk();
    const file = await disk.open("f", { create: true });
    file.write(this.bytes, 0);
    return file;
  }

  async find(from: number): Promise<number | undefined> {
    const range = { base: this.base, from, to: this.to, crc32 };
    return (await findFrame(await this.#file(), range))?.logOffset;
  }

  async scan(from = this.base, window: { windowSize?: number } = {}) {
    const visited: number[] = [];
    const range = { base: this.base, from, to: this.to, prevCrc: 0, crc32, ...window };
    const stop = await scanFrames(await this.#file(), range, (f) => void visited.push(f.logOffset));
    return { visited, stop };
  }
}

describe("scanFrames()", () => {
  it("visits every frame up to the first that is not valid", async () => {
    const bench = new Bench(1000, 2000);
    const second = bench.put(1000, 100);
    const end = bench.put(second, 200);
    const { visited, stop } = await bench.scan();
    assert.deepEqual(visited, [1000, second]);
    assert.equal(stop.at, end);
    assert.match(stop.reason ?? "", /size is 0/);
  });

  it("walks over window borders, also with the largest frames", async () => {
    const bench = new Bench(0, 5 * FRAME_SIZE_MAX);
    const expected: number[] = [];
    let at = 0;
    for (const size of [1000, FRAME_SIZE_MAX, 50, FRAME_SIZE_MAX, FRAME_SIZE_MAX, 44, 3 * MiB]) {
      expected.push(at);
      at = bench.put(at, size);
    }
    const { visited, stop } = await bench.scan();
    assert.deepEqual(visited, expected);
    assert.equal(stop.at, at);
  });

  it("walks in windows as small as one likes, also over longer frames", async () => {
    const bench = new Bench(0, 5000);
    const expected: number[] = [];
    let at = 0;
    for (const size of [44, 300, 99, 100, 101, 1000, 45, 200]) {
      expected.push(at);
      at = bench.put(at, size);
    }
    for (const windowSize of [1, 43, 44, 100, 250, 999]) {
      const { visited, stop } = await bench.scan(0, { windowSize });
      assert.deepEqual(visited, expected, `in windows of ${windowSize}`);
      assert.equal(stop.at, at);
    }
  });

  it("stops at a long frame that the file does not have, in a small window", async () => {
    const bench = new Bench(0, 400);
    bench.put(bench.put(0, 100), 300);
    const cut = new Bench(0, 399);
    cut.bytes.set(bench.bytes.subarray(0, cut.bytes.length));
    const { visited, stop } = await cut.scan(0, { windowSize: 50 });
    assert.deepEqual([visited, stop.at], [[0], 100]);
  });

  it("stops at a frame that goes on past the end of the file", async () => {
    const whole = new Bench(0, 500);
    whole.put(whole.put(0, 100), 400);
    const cut = new Bench(0, 499);
    cut.bytes.set(whole.bytes.subarray(0, cut.bytes.length));
    const { visited, stop } = await cut.scan();
    assert.deepEqual(visited, [0]);
    assert.equal(stop.at, 100);
  });

  it("reads frames far beyond 32 bits", async () => {
    const bench = new Bench(2 ** 33 - 150, 1000);
    const end = bench.put(bench.put(2 ** 33 - 150, 150), 44);
    const { visited, stop } = await bench.scan();
    assert.deepEqual(visited, [2 ** 33 - 150, 2 ** 33]);
    assert.equal(stop.at, end);
  });
});

describe("findFrame()", () => {
  it("finds the next frame wherever it starts among zeros and nonsense", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: 300 }),
        fc.constantFrom(0, 1000, 2 ** 32 - 150, 2 ** 33 - 70, 2 ** 40 - 8),
        fc.uint8Array({ maxLength: 300 }),
        async (gap, base, noise) => {
          const bench = new Bench(base, 1000);
          bench.bytes.set(noise.subarray(0, gap), SEGMENT_HEADER_SIZE);
          bench.put(base + gap, 60);
          assert.equal(await bench.find(base), base + gap);
          assert.equal(await bench.find(base + gap + 1), undefined);
        },
      ),
      { numRuns: 300 },
    );
  });

  const borders = [
    ["ends at the border", WINDOW_SIZE - 100],
    ["crosses the border", WINDOW_SIZE - 50],
    ["has its header across the border", WINDOW_SIZE - 20],
    ["begins at the border", WINDOW_SIZE],
    ["begins behind it", WINDOW_SIZE + 1],
    ["lies three windows on", 3 * WINDOW_SIZE - 7],
  ] as const;
  for (const [name, gap] of borders) {
    it(`finds a frame that ${name} of a window`, async () => {
      const bench = new Bench(0, 4 * WINDOW_SIZE);
      bench.put(gap, 100);
      assert.equal(await bench.find(0), gap);
    });
  }

  it("finds the largest frame across a border", async () => {
    const bench = new Bench(0, 3 * WINDOW_SIZE);
    bench.put(WINDOW_SIZE - FRAME_HEADER_SIZE, FRAME_SIZE_MAX);
    assert.equal(await bench.find(0), WINDOW_SIZE - FRAME_HEADER_SIZE);
  });

  it("passes over what only begins like a frame", async () => {
    const bench = new Bench(0, WINDOW_SIZE + MiB);
    bench.put(WINDOW_SIZE - 500, 400); // looks whole, crosses nothing
    bench.bytes[SEGMENT_HEADER_SIZE + WINDOW_SIZE - 200] = 1;
    bench.put(WINDOW_SIZE - 100, 1000); // crosses the border
    bench.bytes[SEGMENT_HEADER_SIZE + WINDOW_SIZE + 500] = 1;
    bench.put(WINDOW_SIZE + 900, 50);
    assert.equal(await bench.find(0), WINDOW_SIZE + 900);
  });

  it("looks through an empty segment of full size without reading it many times over", async () => {
    const bench = new Bench(0, 32 * MiB);
    const disk = new MemoryDisk();
    const file = await disk.open("f", { create: true });
    await file.truncate(bench.bytes.length);
    let read = 0;
    const counting = {
      ...{ size: () => file.size(), sync: () => file.sync(), close: () => file.close() },
      write: (bytes: Uint8Array, at: number) => file.write(bytes, at),
      truncate: (size: number) => file.truncate(size),
      async read(target: Uint8Array, at: number) {
        read += target.length;
        return file.read(target, at);
      },
    };
    assert.equal(await findFrame(counting, { base: 0, from: 0, to: bench.to, crc32 }), undefined);
    assert(read < 33 * MiB, `read ${read} bytes`);
  });
});
