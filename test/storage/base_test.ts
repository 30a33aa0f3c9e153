/**
 * The small things everything stands on: integers in bytes, the stable hash,
 * the heap.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  concatBytes,
  decodeUtf8,
  encodeUtf8,
  equalBytes,
  getI64,
  getU64,
  setI64,
  setU64,
  viewOf,
} from "../../storage/base/bytes.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { sleepCounting } from "../../storage/base/clock_node.ts";
import { scopedHash, stableHash, stableHashBytes } from "../../storage/base/hash.ts";
import { Heap } from "../../storage/base/heap.ts";

describe("64-bit integers", () => {
  it("are read as they were written, anywhere in a view", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.nat({ max: 9 }), (value, at) => {
        const view = viewOf(new Uint8Array(20).subarray(1));
        setU64(view, at, value);
        assert.equal(getU64(view, at), value);
        assert.equal(view.getBigUint64(at), BigInt(value));
        setI64(view, at, value);
        assert.equal(getI64(view, at), value);
      }),
    );
  });

  it("know −1, as all ones", () => {
    const view = viewOf(new Uint8Array(8));
    setI64(view, 0, -1);
    assert.equal(view.getBigInt64(0), -1n);
    assert.equal(getI64(view, 0), -1);
  });

  for (const value of [-1, -2, 0.5, 2 ** 53, Number.NaN, Infinity]) {
    it(`refuse ${value} where it does not belong`, () => {
      const view = viewOf(new Uint8Array(8));
      assert.throws(() => setU64(view, 0, value), /safe integer/);
      if (value !== -1) assert.throws(() => setI64(view, 0, value), /safe integer/);
    });
  }
});

describe("bytes", () => {
  it("are joined in order and compared by value", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 20 })), (parts) => {
        const whole = concatBytes(parts);
        assert.deepEqual(
          [...whole],
          parts.flatMap((part) => [...part]),
        );
        assert(equalBytes(whole, whole.slice()));
        assert(!equalBytes(whole, concatBytes([whole, Uint8Array.of(0)])));
      }),
    );
  });

  it("of text survive, and no bytes are refused", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.uint8Array(), (text, noise) => {
        assert.equal(decodeUtf8(encodeUtf8(text)), text);
        decodeUtf8(noise);
      }),
    );
    assert.equal(decodeUtf8(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61)), "\ufeffa", "a BOM is content");
  });

  it("have the crc32 of everyone else", () => {
    assert.equal(crc32(encodeUtf8("123456789")), 0xcbf4_3926);
    assert.equal(crc32(encodeUtf8("x123456789").subarray(1)), 0xcbf4_3926);
  });
});

describe("stableHash()", () => {
  /** Stored in records: another value here would move keys to other queues. */
  const golden: [string, number][] = [
    ["", 0xab3e_7c0b],
    ["a", 0x1a80_b1b3],
    ["order-17", 0x4012_3328],
    ["créé", 0x5df6_4bbb],
  ];
  for (const [value, hash] of golden) {
    it(`of "${value}" is what it always was`, () => assert.equal(stableHash(value), hash));
  }

  it("is the hash of the UTF-8 bytes, and never 0", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (value) => {
        const hash = stableHash(value);
        assert.equal(hash, stableHashBytes(encodeUtf8(value)));
        assert(hash > 0 && hash <= 0xffff_ffff && Number.isInteger(hash));
      }),
    );
  });

  it("spreads consecutive keys over queues", () => {
    const counts = [0, 0, 0, 0, 0, 0, 0];
    for (let i = 0; i < 7000; i++) {
      const queue = stableHash(`order-${i}`) % counts.length;
      counts[queue] = (counts[queue] as number) + 1;
    }
    assert(Math.min(...counts) > 850 && Math.max(...counts) < 1150, counts.join(" "));
  });
});

describe("scopedHash()", () => {
  /** Stored in sidecars. */
  const golden: [scope: number, hash: number, scoped: number][] = [
    [1, 0, 3_952_616_933],
    [7, stableHash("cust-9"), 281_845_528],
    [2 ** 33 + 7, stableHash("cust-9"), 3_462_169_501],
  ];
  for (const [scope, hash, scoped] of golden) {
    it(`of ${hash} in ${scope} is what it always was`, () =>
      assert.equal(scopedHash(scope, hash), scoped));
  }

  it("keeps small numbers apart, in the one place and the other", () => {
    const found = new Set<number>();
    for (let scope = 0; scope < 300; scope++) {
      for (let hash = 0; hash < 300; hash++) found.add(scopedHash(scope, hash));
    }
    assert(found.size > 300 * 300 - 10, `${found.size} of ${300 * 300}`);
  });
});

describe("Heap", () => {
  it("gives values in order of key, whatever was pushed, popped and retained between", () => {
    type Step = { push: number } | { pop: true } | { retain: number };
    const anyStep: fc.Arbitrary<Step> = fc.oneof(
      { weight: 6, arbitrary: fc.record({ push: fc.nat({ max: 50 }) }) },
      { weight: 3, arbitrary: fc.record({ pop: fc.constant(true as const) }) },
      { weight: 1, arbitrary: fc.record({ retain: fc.integer({ min: 2, max: 5 }) }) },
    );
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 80 }), (steps) => {
        const heap = new Heap<number>();
        let model: number[] = [];
        for (const step of steps) {
          if ("push" in step) {
            heap.push(step.push, step.push);
            model.push(step.push);
            model.sort((a, b) => a - b);
          } else if ("pop" in step) assert.equal(heap.pop(), model.shift());
          else {
            heap.retain((value, key) => value === key && value % step.retain !== 0);
            model = model.filter((value) => value % step.retain !== 0);
          }
          assert.equal(heap.size, model.length);
          assert.equal(heap.minKey, model[0] ?? Infinity);
        }
        while (heap.size > 0) assert.equal(heap.pop(), model.shift());
      }),
    );
  });
});

describe("ManualClock", () => {
  it("runs timers in order of time, then of call, and none that was called off", () => {
    const clock = new ManualClock(1000);
    const ran: [string, number][] = [];
    const note = (name: string) => () => void ran.push([name, clock.now()]);
    clock.after(20, note("b"));
    clock.after(10, note("a"));
    clock.after(20, note("c"));
    clock.after(15, note("never"))();
    clock.after(5, () => void clock.after(3, note("nested")));
    clock.after(100, note("later"));
    clock.advance(50);
    assert.deepEqual(ran, [
      ["nested", 1008],
      ["a", 1010],
      ["b", 1020],
      ["c", 1020],
    ]);
    assert.equal(clock.now(), 1050);
  });

  it("steps its wall, not its timers", () => {
    const clock = new ManualClock(1_000_000);
    let ran = 0;
    clock.after(10, () => void ran++);
    clock.step(3_600_000);
    clock.advance(9);
    assert.deepEqual([ran, clock.now(), clock.elapsed()], [0, 4_600_009, 9]);
    clock.step(-7_200_000);
    clock.advance(1);
    assert.deepEqual([ran, clock.now(), clock.elapsed()], [1, -2_599_990, 10]);
  });
});

describe("sleepCounting()", () => {
  /** A machine awake and asleep by turns, whose uptime comes in whole seconds. */
  function machine() {
    let [awake, slept] = [123.4, 0];
    const uptime = () => Math.floor((500_777 + awake + slept) / 1000);
    const elapsed = sleepCounting({ awake: () => awake, uptime });
    return {
      elapsed,
      run: (ms: number) => void (awake += ms),
      sleep: (ms: number) => void (slept += ms),
    };
  }

  it("is what ran while nobody sleeps, whatever the rounding", () => {
    const { elapsed, run } = machine();
    const start = elapsed();
    for (let ms = 0; ms < 60_000; ms += 377) {
      assert.equal(elapsed(), start + ms);
      run(377);
    }
  });

  it("counts sleep, never more than there was, and soon after", () => {
    const { elapsed, run, sleep } = machine();
    const start = elapsed();
    run(5000);
    sleep(3_600_000);
    run(1000);
    const since = elapsed() - start;
    assert(since <= 3_606_000 && since > 3_606_000 - 2500, String(since));
    sleep(500); // too short to be told from rounding
    run(1000);
    assert(elapsed() - start <= 3_607_500);
    assert(elapsed() >= start + since + 1000);
  });
});
