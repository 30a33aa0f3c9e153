import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { FRAME_HEADER_SIZE, FRAME_SIZE_MAX, Frame, readFrame } from "../../storage/frame.ts";
import { LogTail } from "../../storage/log_tail.ts";
import { KiB, MiB } from "./fixture.ts";

function tailAt(end: number, segmentBytes = 64 * MiB): LogTail {
  const start = { end, lastCrc: 5, lastStoredAt: 100, epoch: 1, segmentBase: end, segmentBytes };
  return new LogTail(start, crc32);
}

/** Appends one frame as a unit of its own. */
function append(tail: LogTail, size: number, { now = 100, fill = 1 } = {}): number {
  tail.begin(now, size);
  return appendFrame(tail, size, { fill, flags: 0 });
}

function appendFrame(
  tail: LogTail,
  size: number,
  { fill, flags }: { fill: number; flags: number },
): number {
  const chunk = tail.reserve(size - FRAME_HEADER_SIZE);
  const payloadAt = tail.payloadAt(chunk);
  const payloadEnd = payloadAt + size - FRAME_HEADER_SIZE;
  chunk.bytes.fill(fill, payloadAt, payloadEnd);
  return tail.seal(chunk, { kind: 1, flags, payloadEnd });
}

const bytesOf = (tail: LogTail, from: number, to: number) =>
  [...tail.slices(from, to)].flatMap(({ chunk, from: a, to: b }) => [
    ...chunk.bytes.subarray(a, b),
  ]);

describe("LogTail", () => {
  it("chains what it seals, from where the log was left", () => {
    for (const start of [0, 1000, 2 ** 33 - 60, 2 ** 40]) {
      const tail = tailAt(start);
      const places = [50, 60, 70].map((size) => append(tail, size));
      assert.deepEqual(places, [start, start + 50, start + 110]);
      let prevCrc = 5;
      for (const [i, logOffset] of places.entries()) {
        const bytes = tail.find(logOffset, 50 + 10 * i);
        assert(bytes);
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
        const read = readFrame({ bytes, view, at: 0 }, { logOffset, prevCrc, crc32 });
        assert(read.kind === "frame");
        prevCrc = read.frame.crc;
      }
      assert.equal(tail.lastCrc, prevCrc);
      assert.equal(tail.end, start + 180);
    }
  });

  it("never lets its time fall, though the clock does", () => {
    const tail = tailAt(0);
    const times = [150, 90, 151, 10].map((now) => tail.begin(now, 50));
    assert.deepEqual(times, [150, 150, 151, 151]);
  });

  it("begins nothing once it is closed", () => {
    const tail = tailAt(0);
    append(tail, 50);
    tail.close();
    assert.throws(() => tail.begin(100, 50), { code: "draining" });
    assert.equal(tail.end, 50);
  });

  it("writes the confirmOffset known at append into each frame", () => {
    const tail = tailAt(1000);
    const first = append(tail, 50);
    tail.confirmOffset = 1050;
    const second = append(tail, 50);
    const confirmed = (logOffset: number) => {
      const [slice] = tail.slices(logOffset, logOffset + 50);
      assert(slice);
      return new Frame(slice.chunk, slice.from).confirmOffset;
    };
    assert.deepEqual([confirmed(first), confirmed(second)], [1000, 1050]);
  });

  it("rolls when a unit would not fit, never within one", () => {
    const size = fc.integer({ min: FRAME_HEADER_SIZE, max: 400 });
    const anyUnits = fc.array(fc.array(size, { minLength: 1, maxLength: 5 }), { maxLength: 40 });
    fc.assert(
      fc.property(anyUnits, (units) => {
        const tail = tailAt(1000, 1000);
        const rolledAt: number[] = [];
        tail.onRoll = (base) => void rolledAt.push(base);
        let segment = 1000;
        for (const frames of units) {
          const total = frames.reduce((sum, one) => sum + one, 0);
          tail.begin(100, total);
          const begun = tail.end;
          if (rolledAt.at(-1) === begun) segment = begun;
          assert(begun === segment || begun + total <= segment + 1000, "a unit crosses a segment");
          for (const [i, one] of frames.entries()) {
            appendFrame(tail, one, { fill: i, flags: i < frames.length - 1 ? 1 : 0 });
          }
        }
        assert.deepEqual(
          tail.rolls.map(({ base }) => base),
          rolledAt,
        );
        assert.equal(new Set(rolledAt).size, rolledAt.length, "a segment is begun once");
        assert(!rolledAt.includes(1000), "an empty segment is not left behind");
      }),
    );
  });

  it("tells the crc and the time a new segment begins with", () => {
    const tail = tailAt(0, 100);
    append(tail, 80);
    const { lastCrc } = tail;
    append(tail, 80, { now: 777 });
    assert.deepEqual(tail.rolls, [{ base: 80, prevCrc: lastCrc, firstStoredAt: 777 }]);
  });

  it("gives a unit larger than a segment one of its own", () => {
    const tail = tailAt(0, 1000);
    append(tail, 50);
    append(tail, 5000);
    append(tail, 50);
    assert.deepEqual(
      tail.rolls.map(({ base }) => base),
      [50, 5050],
    );
  });

  it("finds frames and slices across chunks, as one run of bytes", () => {
    const sizes = fc.array(fc.integer({ min: 44, max: 700 * KiB }), { maxLength: 12 });
    fc.assert(
      fc.property(sizes, fc.boolean(), (frames, large) => {
        const tail = tailAt(7);
        const all = large ? [...frames, FRAME_SIZE_MAX, 100] : frames;
        const places = all.map((size, i) => append(tail, size, { fill: i + 1 }));
        let next = 7;
        for (const { chunk, from, to } of tail.slices(7, tail.end)) {
          assert.equal(chunk.base + from, next, "slices follow each other");
          next = chunk.base + to;
        }
        assert.equal(next, tail.end);
        for (const [i, logOffset] of places.entries()) {
          const size = all[i] as number;
          const found = tail.find(logOffset, size);
          assert.equal(found?.length, size);
          assert.equal(found?.at(-1), size > FRAME_HEADER_SIZE ? i + 1 : found?.at(-1));
        }
        assert.equal(tail.find(tail.end, 1), undefined);
        assert.equal(tail.find(6, 1), undefined);
      }),
      { numRuns: 30 },
    );
  });

  it("slices from and to the middle of frames", () => {
    const tail = tailAt(0);
    append(tail, 100);
    append(tail, 100);
    const all = bytesOf(tail, 0, 200);
    assert.deepEqual(bytesOf(tail, 30, 150), all.slice(30, 150));
    assert.deepEqual(bytesOf(tail, 150, 150), []);
  });

  it("keeps 8 MiB of what is flushed, and everything that is not", () => {
    const tail = tailAt(0, 1024 * MiB);
    const size = 300 * KiB;
    for (let i = 0; i < 100; i++) append(tail, size);
    tail.trim(0);
    assert(tail.find(0, size), "nothing is flushed yet");
    tail.trim(50 * size);
    assert.equal(tail.find(0, size), undefined);
    assert(tail.find(51 * size, size), "not flushed: kept");
    tail.trim(tail.end);
    const kept = Array.from({ length: 100 }, (_, i) => tail.find(i * size, size)).filter(Boolean);
    assert(kept.length * size <= 8 * MiB && kept.length * size > 6 * MiB, `kept ${kept.length}`);
    assert(tail.find(99 * size, size));
  });

  it("does not hold more memory for large frames", () => {
    const tail = tailAt(0, 1024 * MiB);
    for (let i = 0; i < 10; i++) {
      append(tail, FRAME_SIZE_MAX);
      tail.trim(tail.end);
    }
    const kept = [...tail.slices(0, tail.end)].reduce(
      (sum, { chunk }) => sum + chunk.bytes.length,
      0,
    );
    assert(kept <= 8 * MiB + FRAME_SIZE_MAX, `keeps ${kept} bytes`);
  });

  it("fills memory anew that it let go of", () => {
    const tail = tailAt(0, 1024 * MiB);
    const memories = new Set<Uint8Array>();
    for (let i = 0; i < 100; i++) {
      append(tail, 300 * KiB, { fill: i });
      tail.trim(tail.end);
      for (const { chunk } of tail.slices(0, tail.end)) memories.add(chunk.bytes);
    }
    assert(memories.size <= 10, `${memories.size} chunks were made`);
    const size = 300 * KiB;
    assert(
      tail
        .find(99 * size, size)
        ?.subarray(FRAME_HEADER_SIZE)
        .every((byte) => byte === 99),
    );
  });

  it("leaves a view as it is that may have been kept, however it was come by", () => {
    const size = 300 * KiB;
    const keepers = {
      find: (tail: LogTail, at: number) => tail.find(at, size),
      locate: (tail: LogTail, at: number) => {
        const found = tail.locate(at, size);
        return found?.bytes.subarray(found.at, found.at + size);
      },
      lend: (tail: LogTail, at: number) => {
        tail.lend(at, at + size);
        const [slice] = tail.slices(at, at + size);
        return slice?.chunk.bytes.subarray(slice.from, slice.to);
      },
    };
    for (const [name, keep] of Object.entries(keepers)) {
      const tail = tailAt(0, 1024 * MiB);
      const kept: Uint8Array[] = [];
      for (let i = 0; i < 100; i++) {
        const at = append(tail, size, { fill: i });
        if (i % 7 === 0) kept.push(keep(tail, at) as Uint8Array);
        tail.trim(tail.end);
      }
      for (const [i, view] of kept.entries()) {
        const payload = view.subarray(FRAME_HEADER_SIZE);
        assert(
          payload.length === size - FRAME_HEADER_SIZE && payload.every((b) => b === 7 * i),
          name,
        );
      }
    }
  });
});
