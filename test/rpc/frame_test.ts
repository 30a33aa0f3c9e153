/**
 * The frame: its bytes are frozen, and whatever comes instead of them, wherever it
 * is cut, ends in frames or in a `ProtocolError`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { crc32 as crc32Web } from "../../storage/base/checksum_web.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { Prng } from "../../storage/base/prng.ts";
import { ByteWriter } from "../../src/rpc/byte_writer.ts";
import {
  decodeWhole,
  FLAG,
  FRAME,
  type Frame,
  FRAME_SIZE_MAX,
  type FrameHead,
  HEADER_SIZE,
  writeFrame,
} from "../../src/rpc/frame.ts";
import { FrameDecoder } from "../../src/rpc/frame_decoder.ts";
import { ProtocolError } from "../../src/rpc/protocol_error.ts";

function encode(head: FrameHead, payload = new Uint8Array(0)): Uint8Array {
  const writer = new ByteWriter();
  writeFrame(writer, head, { crc32, write: (to) => to.raw(payload) });
  return writer.take();
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** Decodes a stream cut as told; a frame that is kept may not change later. */
function decodeAll(chunks: readonly Uint8Array[], sizeMax = FRAME_SIZE_MAX) {
  const decoder = new FrameDecoder({ crc32, sizeMax });
  const frames: Frame[] = [];
  let heldMax = 0;
  for (const chunk of chunks) {
    decoder.push(chunk.slice(), (frame) => frames.push(frame));
    heldMax = Math.max(heldMax, decoder.heldBytes);
  }
  return { frames: frames.map((one) => ({ ...one, payload: hex(one.payload.rest()) })), heldMax };
}

const anyFrame = fc.record(
  {
    kind: fc.constantFrom(...Object.values(FRAME)),
    flags: fc.integer({ min: 0, max: FLAG.failed | FLAG.stream }),
    methodId: fc.integer({ min: 0, max: 0xffff }),
    callId: fc.integer({ min: 0, max: 0xffff_ffff }),
    value: fc.integer({ min: 0, max: 0xffff_ffff }),
    payload: fc.uint8Array({ maxLength: 300 }),
  },
  { noNullPrototype: true },
);

describe("a frame", () => {
  const golden: [name: string, head: FrameHead, payload: number[], bytes: string][] = [
    [
      "a request",
      { kind: FRAME.request, methodId: 20, callId: 7, value: 30_000 },
      [1, 2, 3],
      "00000017fd8e8d23100000140000000700007530010203",
    ],
    [
      "a stream's request",
      { kind: FRAME.request, flags: FLAG.stream, methodId: 90, callId: 0xffff_ffff },
      [],
      "000000145200792c1002005affffffff00000000",
    ],
    [
      "a failed response",
      { kind: FRAME.response, flags: FLAG.failed, callId: 7 },
      [0x7b, 0x7d],
      "00000016d048ee6a1101000000000007000000007b7d",
    ],
    ["an item", { kind: FRAME.item, callId: 8 }, [9], "000000154ea06fda12000000000000080000000009"],
    [
      "credit",
      { kind: FRAME.credit, callId: 8, value: 65_536 },
      [],
      "0000001431e1d895130000000000000800010000",
    ],
    ["cancel", { kind: FRAME.cancel, callId: 8 }, [], "0000001444bb5b2d140000000000000800000000"],
    ["ping", { kind: FRAME.ping }, [], "0000001463e41d97200000000000000000000000"],
    ["pong", { kind: FRAME.pong }, [], "00000014f84151f8210000000000000000000000"],
    ["goaway", { kind: FRAME.goaway }, [], "000000148fdf8308220000000000000000000000"],
  ];
  for (const [name, head, payload, bytes] of golden) {
    it(`has the bytes it always had: ${name}`, () => {
      assert.equal(hex(encode(head, Uint8Array.from(payload))), bytes);
    });
  }

  it("is undone by decoding, wherever its bytes were cut", () => {
    fc.assert(
      fc.property(
        fc.array(anyFrame, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 20 }),
        (frames, cuts) => {
          const whole = Buffer.concat(frames.map(({ payload, ...head }) => encode(head, payload)));
          const chunks: Uint8Array[] = [];
          for (let at = 0, i = 0; at < whole.length; at += cuts[i++ % cuts.length] as number) {
            chunks.push(whole.subarray(at, at + (cuts[i % cuts.length] as number)));
          }
          const expected = frames.map((one) => ({ ...one, payload: hex(one.payload) }));
          assert.deepEqual(decodeAll(chunks).frames, expected);
        },
      ),
    );
  });

  it("gives the same whichever byte two chunks meet at", () => {
    const whole = Buffer.concat([
      encode({ kind: FRAME.request, callId: 1, methodId: 2 }, new Uint8Array(40).fill(1)),
      encode({ kind: FRAME.ping }),
      encode({ kind: FRAME.response, callId: 1 }, new Uint8Array(5).fill(2)),
    ]);
    const expected = decodeAll([whole]).frames;
    assert.equal(expected.length, 3);
    for (let cut = 0; cut <= whole.length; cut++) {
      const chunks = [whole.subarray(0, cut), whole.subarray(cut)];
      assert.deepEqual(decodeAll(chunks).frames, expected, `cut at ${cut}`);
    }
  });

  it("with any one bit flipped is refused, or waited for", () => {
    const whole = encode(
      { kind: FRAME.request, flags: FLAG.stream, methodId: 3, callId: 4, value: 5 },
      Uint8Array.from([6, 7]),
    );
    for (let bit = 0; bit < 8 * whole.length; bit++) {
      const flipped = whole.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
      try {
        assert.deepEqual(decodeAll([flipped]).frames, [], `bit ${bit} went unseen`);
      } catch (error) {
        assert(error instanceof ProtocolError, `bit ${bit}: ${String(error)}`);
      }
    }
  });

  it("of garbage ends in a ProtocolError or in waiting, and in nothing else", () => {
    const prng = new Prng(11);
    const seeds = Array.from({ length: 20 }, (_, i) =>
      encode({ kind: FRAME.request, methodId: i, callId: i + 1 }, new Uint8Array(i * 3)),
    );
    let refused = 0;
    for (let round = 0; round < 20_000; round++) {
      const bytes = Buffer.concat([prng.pick(seeds), prng.pick(seeds)]);
      for (let n = prng.below(4); n >= 0; n--) {
        if (prng.chance(30)) bytes[prng.below(bytes.length)] = prng.below(256);
        else if (prng.chance(50)) bytes.writeUInt32BE(prng.word(), prng.below(bytes.length - 3));
        else bytes.copyWithin(prng.below(bytes.length), prng.below(bytes.length));
      }
      const cut = prng.below(bytes.length);
      try {
        const { heldMax } = decodeAll([bytes.subarray(0, cut), bytes.subarray(cut)]);
        assert(heldMax <= 2 * bytes.length + 64, "holds no more than came");
      } catch (error) {
        assert(error instanceof ProtocolError, String(error));
        refused++;
      }
    }
    assert(refused > 10_000, "most of it was garbage");
  });

  it("of a well-sealed kind or flag that nobody knows is refused", () => {
    for (const head of [{ kind: 99 }, { kind: FRAME.ping, flags: 4 }] as FrameHead[]) {
      assert.throws(() => decodeAll([encode(head)]), ProtocolError);
    }
  });

  it("that says it is larger than it may be is refused before its bytes come", () => {
    for (const size of [FRAME_SIZE_MAX + 1, 0x8000_0000, 0xffff_ffff, HEADER_SIZE - 1, 0]) {
      const start = Buffer.alloc(4);
      start.writeUInt32BE(size);
      assert.throws(() => decodeAll([start]), ProtocolError, String(size));
      const pieces = [0, 1, 2, 3].map((at) => start.subarray(at, at + 1));
      assert.throws(() => decodeAll(pieces), ProtocolError, `${size} in pieces`);
    }
  });

  it("that says it is large costs memory only as it comes", () => {
    const start = Buffer.alloc(1000);
    start.writeUInt32BE(FRAME_SIZE_MAX);
    const { frames, heldMax } = decodeAll([start.subarray(0, 10), start.subarray(10)]);
    assert.deepEqual(frames, []);
    assert(heldMax <= 2000, `${heldMax} bytes are held for 1000`);
  });

  it("is not given out after stop(), not even of the same chunk", () => {
    const decoder = new FrameDecoder({ crc32, sizeMax: FRAME_SIZE_MAX });
    const two = Buffer.concat([encode({ kind: FRAME.ping }), encode({ kind: FRAME.pong })]);
    const kinds: number[] = [];
    const take = ({ kind }: Frame) => {
      kinds.push(kind);
      decoder.stop();
    };
    decoder.push(two, take);
    decoder.push(two, take);
    assert.deepEqual(kinds, [FRAME.ping]);
  });

  it("larger than one may be is not written, and what was before stays", () => {
    const writer = new ByteWriter();
    writeFrame(writer, { kind: FRAME.ping }, { crc32 });
    const write = (to: ByteWriter) => to.raw(new Uint8Array(FRAME_SIZE_MAX));
    assert.throws(
      () => writeFrame(writer, { kind: FRAME.request }, { crc32, write }),
      (error) => error instanceof TidegateError && error.code === "body-too-large",
    );
    assert.equal(hex(writer.take()), hex(encode({ kind: FRAME.ping })));
  });

  it("alone is decoded only in its size", () => {
    const ping = encode({ kind: FRAME.ping });
    assert.equal(decodeWhole(ping, crc32).kind, FRAME.ping);
    for (const bytes of [ping.subarray(1), ping.subarray(0, 10), Buffer.concat([ping, ping])]) {
      assert.throws(() => decodeWhole(bytes, crc32), ProtocolError);
    }
  });
});

describe("ByteWriter", () => {
  it("never writes to what was taken", () => {
    const writer = new ByteWriter();
    const taken: { bytes: Uint8Array; was: string }[] = [];
    const prng = new Prng(3);
    for (let round = 0; round < 300; round++) {
      writer.raw(Uint8Array.from({ length: prng.below(1200) }, () => prng.below(256)));
      if (prng.chance(10)) writer.raw(new Uint8Array(100_000).fill(round));
      if (prng.chance(40)) {
        const bytes = writer.take();
        taken.push({ bytes, was: hex(bytes) });
      }
    }
    for (const { bytes, was } of taken) assert.equal(hex(bytes), was);
  });

  it("gives what is pending since a place, across growth", () => {
    const writer = new ByteWriter();
    writer.u32(1);
    writer.take();
    writer.u32(2);
    const from = writer.pending;
    writer.raw(new Uint8Array(200_000).fill(7));
    assert.equal(writer.since(from).length, 200_000);
    assert(writer.since(from).every((byte) => byte === 7));
    writer.truncate(from);
    assert.equal(hex(writer.take()), "00000002");
  });
});

describe("the checksum for the web", () => {
  it("is the native one", () => {
    assert.equal(crc32Web(new TextEncoder().encode("123456789")), 0xcbf43926);
    fc.assert(fc.property(fc.uint8Array(), (bytes) => crc32Web(bytes) === crc32(bytes)));
  });
});
