/**
 * Messages of replication as bytes: what goes in comes out, the layout is frozen,
 * and whatever else comes in ends in a `ProtocolError`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Message } from "../../src/cluster/messages.ts";
import { MESSAGE_METHODS } from "../../src/cluster/replica_methods.ts";
import { ByteReader, ByteWriter, ProtocolError } from "../../src/rpc/mod.ts";
import { Prng } from "../../storage/base/prng.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

function encode(message: Message): Uint8Array {
  const writer = new ByteWriter();
  MESSAGE_METHODS[message.kind].request.write(writer, message);
  return writer.take();
}

function decode(kind: Message["kind"], bytes: Uint8Array): Message {
  const reader = ByteReader.of(bytes);
  const value = MESSAGE_METHODS[kind].request.read(reader);
  reader.end();
  return value;
}

const plain = { noNullPrototype: true } as const;
const name = fc.string({ unit: "grapheme", maxLength: 20 });
const count = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const u32 = fc.nat({ max: 0xffff_ffff });
const member = fc.record({ node: name, boot: name, disk: name }, plain);
const head = { epoch: u32, boot: name, id: count };
const is = <Kind extends string>(kind: Kind) => fc.constant(kind);
const range = fc.record({ from: fc.nat({ max: 1e12 }), bytes: fc.uint8Array({ minLength: 1 }) });

const ANY: Record<Message["kind"], fc.Arbitrary<Message>> = {
  fetch: fc.record(
    {
      kind: is("fetch"),
      epoch: u32,
      member,
      id: count,
      from: count,
      lastEpoch: u32,
      lastCrc: u32,
      durableEnd: count,
      whole: fc.boolean(),
      leaving: fc.boolean(),
    },
    plain,
  ),
  entries: fc
    .record({ ...head, range, confirmOffset: count, prevCrc: u32, lastCrc: u32 }, plain)
    .map(({ range: { from, bytes }, ...rest }) => {
      const to = from + bytes.length;
      return { kind: "entries", ...rest, from, to, frameEpoch: rest.epoch >>> 1, bytes };
    }),
  diverged: fc.record(
    { kind: is("diverged"), ...head, proof: fc.record({ epoch: u32, end: count }, plain) },
    plain,
  ),
  behind: fc.record({ kind: is("behind"), ...head, start: count }, plain),
  stale: fc.record({ kind: is("stale"), epoch: u32 }, plain),
  mend: fc.record({ ...head, range }, plain).map(({ range: { from, bytes }, ...rest }) => {
    return { kind: "mend", ...rest, from, to: from + bytes.length };
  }),
  mended: fc
    .record({ epoch: u32, boot: name, range }, plain)
    .map(({ range: { from, bytes }, ...rest }) => {
      return { kind: "mended", ...rest, from, to: from + bytes.length, bytes };
    }),
  canvass: fc.record({ kind: is("canvass"), id: count }, plain),
  standing: fc.record(
    {
      kind: is("standing"),
      id: count,
      member,
      lastEpoch: u32,
      durableEnd: count,
      able: fc.boolean(),
    },
    plain,
  ),
};

const A = { node: "a", boot: "a1", disk: "da" };
const HEAD = { epoch: 7, boot: "b1", id: 9 };
const BYTES = Uint8Array.of(1, 2, 3, 4);
const HEAD_HEX = "000000070000000262314022000000000000";
const A_HEX = "0000000161000000026131000000026461";

const GOLDEN: [message: Message, bytes: string][] = [
  [
    {
      kind: "fetch",
      epoch: 7,
      member: A,
      id: 9,
      from: 256,
      lastEpoch: 6,
      lastCrc: 0xdeadbeef,
      durableEnd: 128,
      whole: true,
      leaving: false,
    },
    `00000007${A_HEX}4022000000000000407000000000000000000006deadbeef406000000000000001`,
  ],
  [
    {
      kind: "entries",
      ...HEAD,
      from: 256,
      confirmOffset: 128,
      to: 260,
      frameEpoch: 6,
      prevCrc: 1,
      lastCrc: 2,
      bytes: BYTES,
    },
    `${HEAD_HEX}407000000000000040600000000000004070400000000000000000060000000100000002` +
      "01020304",
  ],
  [
    { kind: "diverged", ...HEAD, proof: { epoch: 5, end: 128 } },
    `${HEAD_HEX}000000054060000000000000`,
  ],
  [{ kind: "behind", ...HEAD, start: 128 }, `${HEAD_HEX}4060000000000000`],
  [{ kind: "stale", epoch: 7 }, "00000007"],
  [{ kind: "mend", ...HEAD, from: 256, to: 260 }, `${HEAD_HEX}40700000000000004070400000000000`],
  [
    { kind: "mended", epoch: 7, boot: "b1", from: 256, to: 260, bytes: BYTES },
    "000000070000000262314070000000000000407040000000000001020304",
  ],
  [{ kind: "canvass", id: 9 }, "4022000000000000"],
  [
    { kind: "standing", id: 9, member: A, lastEpoch: 6, durableEnd: 128, able: false },
    `4022000000000000${A_HEX}00000006406000000000000000`,
  ],
];

describe("the messages of replication", () => {
  it("have numbers that never change", () => {
    const ids = Object.entries(MESSAGE_METHODS).map(([kind, { id }]) => `${id} ${kind}`);
    assert.deepEqual(ids, [
      "1000 fetch",
      "1001 entries",
      "1002 diverged",
      "1003 behind",
      "1004 stale",
      "1005 mend",
      "1006 mended",
      "1007 canvass",
      "1008 standing",
    ]);
  });

  for (const [message, bytes] of GOLDEN) {
    const { kind } = message;
    it(`${kind} lies as it always did`, () => {
      assert.equal(hex(encode(message)), bytes);
      assert.deepEqual(decode(kind, Uint8Array.from(Buffer.from(bytes, "hex"))), message);
    });

    it(`${kind} comes out as it went in`, () => {
      fc.assert(fc.property(ANY[kind], (any) => assert.deepEqual(decode(kind, encode(any)), any)));
    });

    it(`${kind} that is cut short or changed is read, or refused as what it is`, () => {
      const prng = new Prng(5);
      const whole = encode(message);
      for (let i = 0; i < 2000; i++) {
        const hurt = whole.slice(0, prng.below(4) === 0 ? prng.below(whole.length) : whole.length);
        for (let n = prng.below(4); n > 0 && hurt.length > 0; n--) {
          hurt[prng.below(hurt.length)] = prng.below(256);
        }
        try {
          encode(decode(kind, hurt)); // what was read can be believed to be in bounds
        } catch (error) {
          assert(error instanceof ProtocolError, String(error));
        }
      }
    });
  }

  it("say of who leaves that it does, and know no other flag", () => {
    const [[fetch, bytes]] = GOLDEN as [[Message & { kind: "fetch" }, string]];
    const leaving = encode({ ...fetch, leaving: true });
    assert.equal(hex(leaving), `${bytes.slice(0, -1)}3`);
    leaving[leaving.length - 1] = 4;
    assert.throws(() => decode("fetch", leaving), ProtocolError);
  });

  it("say nothing of bytes that are not there", () => {
    const [, [entries]] = GOLDEN as [unknown, [Message & { kind: "entries" }, string]];
    const short = encode({ ...entries, to: 261 });
    assert.throws(() => decode("entries", short), ProtocolError);
    const later = encode({ ...entries, frameEpoch: 8 });
    assert.throws(() => decode("entries", later), ProtocolError);
  });

  it("carry a heartbeat without a byte", () => {
    const [, [entries]] = GOLDEN as [unknown, [Message & { kind: "entries" }, string]];
    const empty = { ...entries, to: 256, bytes: undefined };
    assert.deepEqual(decode("entries", encode(empty)), { ...empty, bytes: new Uint8Array(0) });
  });
});
