import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { viewOf } from "../../storage/base/bytes.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import {
  FRAME_HEADER_SIZE,
  FRAME_SIZE_MAX,
  type FrameHeader,
  readFrame,
  sealFrame,
} from "../../storage/frame.ts";

const u32 = fc.nat({ max: 0xffff_ffff });
const anyHeader: fc.Arbitrary<FrameHeader> = fc.record(
  {
    kind: fc.nat({ max: 0xff }),
    flags: fc.nat({ max: 0xffff }),
    epoch: u32,
    prevCrc: u32,
    logOffset: fc.maxSafeNat(),
    storedAt: fc.maxSafeNat(),
    confirmOffset: fc.maxSafeNat(),
  },
  { noNullPrototype: true },
);
const anyPayload = fc.uint8Array({ maxLength: 300 });

const sample: FrameHeader = {
  kind: 1,
  flags: 0,
  epoch: 1,
  prevCrc: 7,
  logOffset: 1000,
  storedAt: 5,
  confirmOffset: 900,
};

function seal(header: FrameHeader, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(FRAME_HEADER_SIZE + payload.length);
  bytes.set(payload, FRAME_HEADER_SIZE);
  sealFrame({ bytes, view: viewOf(bytes), at: 0 }, { ...header, size: bytes.length, crc32 });
  return bytes;
}

function read(bytes: Uint8Array, expected: { logOffset?: number; prevCrc?: number | undefined }) {
  const source = { bytes, view: viewOf(bytes), at: 0 };
  return readFrame(source, { logOffset: 1000, prevCrc: undefined, ...expected, crc32 });
}

function flip(bytes: Uint8Array, at: number, bit = 0): Uint8Array {
  const copy = bytes.slice();
  copy[at] = (copy[at] as number) ^ (1 << bit);
  return copy;
}

/** Changes a field and seals the frame again: well-sealed nonsense. */
function reseal(bytes: Uint8Array, change: (view: DataView) => void): Uint8Array {
  const copy = bytes.slice();
  change(viewOf(copy));
  viewOf(copy).setUint32(4, crc32(copy.subarray(8)));
  return copy;
}

describe("readFrame()", () => {
  const frame = seal(sample, Uint8Array.of(1, 2, 3));
  const behind = new Uint8Array([...frame, 9, 9]);

  const cases: [name: string, bytes: Uint8Array, kind: string, expected?: object][] = [
    ["reads a whole frame", frame, "frame"],
    ["ignores bytes behind the frame", behind, "frame"],
    ["accepts the crc of the frame before", frame, "frame", { prevCrc: 7 }],
    ["refuses another chain", frame, "bad", { prevCrc: 8 }],
    ["refuses a frame that lies elsewhere", frame, "bad", { logOffset: 1001 }],
    ["calls an empty input short", frame.subarray(0, 0), "short"],
    ["calls a cut header short", frame.subarray(0, FRAME_HEADER_SIZE - 1), "short"],
    ["calls a cut payload short", frame.subarray(0, frame.length - 1), "short"],
    ["refuses zeros", new Uint8Array(64), "bad"],
    ["refuses a flipped payload bit", flip(frame, frame.length - 1), "bad"],
    ["refuses a flipped crc bit", flip(frame, 4), "bad"],
    ["knows a format of later builds", reseal(frame, (v) => v.setUint8(8, 2)), "unknown-format"],
    ["refuses a size below the header's", reseal(frame, (v) => v.setUint32(0, 43)), "bad"],
    [
      "refuses a size above the largest",
      reseal(frame, (v) => v.setUint32(0, FRAME_SIZE_MAX + 1)),
      "bad",
    ],
  ];
  for (const [name, bytes, kind, expected = {}] of cases) {
    it(name, () => assert.equal(read(bytes, expected).kind, kind));
  }

  it("says how many bytes it wants", () => {
    const header = read(frame.subarray(0, 10), {});
    const whole = read(frame.subarray(0, FRAME_HEADER_SIZE), {});
    assert.deepEqual(header, { kind: "short", need: FRAME_HEADER_SIZE });
    assert.deepEqual(whole, { kind: "short", need: frame.length });
  });

  it("undoes sealFrame()", () => {
    fc.assert(
      fc.property(anyHeader, anyPayload, (header, payload) => {
        const bytes = seal(header, payload);
        const found = read(bytes, { logOffset: header.logOffset, prevCrc: header.prevCrc });
        assert(found.kind === "frame");
        const { frame } = found;
        for (const [name, value] of Object.entries(header)) {
          assert.equal(frame[name as keyof FrameHeader], value, name);
        }
        assert.deepEqual(frame.payload, payload);
        assert.equal(frame.size, bytes.length);
        assert.equal(frame.crc, viewOf(bytes).getUint32(4));
      }),
    );
  });

  it("lets no single flipped bit pass", () => {
    const bits = Array.from({ length: 8 * frame.length }, (_, i) => i);
    const passed = bits.filter((i) => read(flip(frame, i >> 3, i & 7), {}).kind === "frame");
    assert.deepEqual(passed, []);
    fc.assert(
      fc.property(
        anyHeader,
        anyPayload,
        fc.nat(),
        fc.nat({ max: 7 }),
        (header, payload, at, bit) => {
          const bytes = seal(header, payload);
          const damaged = flip(bytes, at % bytes.length, bit);
          assert.notEqual(read(damaged, { logOffset: header.logOffset }).kind, "frame");
        },
      ),
    );
  });

  it("never throws, at no bytes and at no well-sealed nonsense", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat({ max: 200 }), (bytes, size) => {
        read(bytes, {});
        if (bytes.length < FRAME_HEADER_SIZE) return;
        const sealed = reseal(bytes, (view) => {
          view.setUint32(0, size % 2 === 0 ? bytes.length : size);
          view.setUint32(20, 0);
          view.setUint32(24, 1000);
        });
        read(sealed, {});
      }),
    );
  });
});

describe("sealFrame()", () => {
  it("refuses a frame larger than the largest", () => {
    assert.throws(() => seal(sample, new Uint8Array(FRAME_SIZE_MAX)), /a frame has its size/);
  });

  it("refuses an offset that a number cannot hold", () => {
    const beyond = { ...sample, logOffset: 2 ** 53 };
    assert.throws(() => seal(beyond, new Uint8Array(0)), /safe integer/);
  });
});
