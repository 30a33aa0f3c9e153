/**
 * The bytes on disk, pinned. A failure here means that data directories written
 * by earlier builds, and nodes of earlier builds, would be read wrongly: change
 * the code, not the bytes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { viewOf } from "../../storage/base/bytes.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { sealBlocks } from "../../storage/blocks.ts";
import { decodeCheckpoints, encodeCheckpoint } from "../../storage/checkpoint.ts";
import { encodeDedupeEntry, runPath } from "../../storage/dedupe_run.ts";
import { RunFile } from "../../storage/dedupe_run_file.ts";
import { RunWriter } from "../../storage/dedupe_run_writer.ts";
import { readFrame, sealFrame } from "../../storage/frame.ts";
import { WORDS } from "../../storage/hash_section.ts";
import { HashTable } from "../../storage/hash_table.ts";
import { decodeQueueMark, encodeQueueMark } from "../../storage/queue_marks.ts";
import type { RecordKind } from "../../storage/records/kind.ts";
import { KINDS, type KindName, kindName } from "../../storage/records/mod.ts";
import { decodeSegmentHeader, encodeSegmentHeader } from "../../storage/segment.ts";
import { encodeSidecar } from "../../storage/sidecar.ts";
import { decodeSnapshot, encodeSnapshot } from "../../storage/snapshot.ts";
import { UnitBuffer, Units } from "../../storage/units.ts";
import { FIRST_KEY, recallOf, TIMER_SIZE, writeTimer } from "../../storage/timer_entry.ts";
import { timerPath } from "../../storage/timer_layout.ts";
import { decodeTimerMark, encodeTimerMark } from "../../storage/timer_mark.ts";
import { writeTimerFile } from "../../storage/timer_writer.ts";
import { YoungTimers } from "../../storage/young_timers.ts";
import { samples } from "./samples.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const unhex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));

/** id, name and the bytes of the sample. */
const KIND_BYTES: Record<KindName, readonly [id: number, payload: string]> = {
  message: [
    1,
    "000001020304050600070000000011223344aabbccdd0badcafe0000018bcfe56801001f000000a70000018bcfe652600574786e2d31101112131415161718191a1b1c1d1e1f80818283848586870a70726f64756365722d3100000003000000000000004d0002000000000000000901001156315374475852385f5a356a64486936420200086f726465722d31370300066372c3a9c3a9040006637573742d39040009726567696f6e2d657505000a0006726567696f6e65750500070005656d7074790600106170706c69636174696f6e2f6a736f6e07003730302d30616637363531393136636434336464383434386562323131633830333139632d623761643662373136393230333333312d3031080003613d31f0f1f2f3f4",
  ],
  reveal: [
    2,
    "02010574786e2d310000000200000000000003e8000000c800000000000000010002000000000000000300000004000000050000010000000000000000c9000000000000000600070000000000000008000000090000000a",
  ],
  grant: [
    3,
    "00000000000000010000000000000002000300000002000000000000000a00000005000000000000001400000001000000000000000400050000018bcfe5dd3001020304050607080109617474656d70742d3100",
  ],
  settle: [
    4,
    "00000000000000010000000000000002000300000001000000000000000a000000040000000301000000000000000e000000000000006402000000000000000f00000000000000c8030000000000000010000000000000012c",
  ],
  skip: [5, "0000000000000001000000000000000200030000000000000004"],
  dead: [
    6,
    "00000000000000010000000000000002000300000002000000000000000400100100000000000000000005000202000762616420e298b9",
  ],
  redrive: [7, "000000000000000100000000000000020003020000000200000000000000040000000000000005"],
  seek: [8, "0000000000000001000000000000000200030000000000000004"],
  prepare: [
    9,
    "0574786e2d310370617901001968747470733a2f2f6578616d706c652e636f6d2f636865636b0000177000007530000f0000000200000000000000640000000200000000",
  ],
  decide: [10, "0574786e2d310203"],
  check: [11, "0574786e2d310003020000000000000000"],
  recall: [12, "00000000000000010000000000000002"],
  define: [13, "020000000000000001000000020000018bcfe568000762696c6c696e67000000037b7c7d"],
  drop: [14, "03000000000000000103706179"],
  head: [15, "00000000000000010002000000000000000302"],
  carry: [16, "000000000000000100000000000000020003ffffffffffffffff0000000000000000a0a1a2a3"],
  state: [17, "03010203000000052021222324"],
  "span-open": [18, "0000000000000001000200000000000000030004000000020000000500000006"],
  "span-close": [19, "0000000000000001000200000000000000030004"],
  sent: [20, "00010000000000000002"],
  "epoch-start": [21, "00000001066e6f64652d310102030405060708090a0b0c0d0e0f10"],
};

describe("the record kinds", () => {
  it("all have a golden sample", () => {
    assert.deepEqual(Object.keys(KIND_BYTES).toSorted(), Object.keys(KINDS).toSorted());
  });

  for (const [name, [id, payload]] of Object.entries(KIND_BYTES) as [
    KindName,
    readonly [number, string],
  ][]) {
    it(`${name} keeps its number and its bytes`, () => {
      const kind = KINDS[name] as unknown as RecordKind<unknown>;
      assert.equal(kind.id, id);
      assert.equal(kind.name, name);
      assert.equal(kindName(id), name);
      assert.equal(hex(kind.encode(samples[name])), payload);
      assert.deepEqual(kind.decode(unhex(payload)), samples[name]);
    });
  }
});

describe("the frame", () => {
  const golden =
    "0000002f96ea244d0105000300000006deadbeef00000100000000070000018bcfe568000000000200000000010203";

  it("keeps its bytes", () => {
    const bytes = new Uint8Array(47);
    bytes.set([1, 2, 3], 44);
    sealFrame(
      { bytes, view: viewOf(bytes), at: 0 },
      {
        size: 47,
        kind: 5,
        flags: 3,
        epoch: 6,
        prevCrc: 0xdead_beef,
        logOffset: 2 ** 40 + 7,
        storedAt: 1_700_000_000_000,
        confirmOffset: 2 ** 33,
        crc32,
      },
    );
    assert.equal(hex(bytes), golden);
  });

  it("is read back", () => {
    const bytes = unhex(golden);
    const source = { bytes, view: viewOf(bytes), at: 0 };
    const expected = { logOffset: 2 ** 40 + 7, prevCrc: 0xdead_beef, crc32 };
    const read = readFrame(source, expected);
    assert(read.kind === "frame");
    const { size, kind, flags, epoch, prevCrc, logOffset, storedAt } = read.frame;
    assert.deepEqual([size, kind, flags, epoch, prevCrc], [47, 5, 3, 6, 0xdead_beef]);
    assert.deepEqual([logOffset, storedAt], [2 ** 40 + 7, 1_700_000_000_000]);
    assert.equal(read.frame.confirmOffset, 2 ** 33);
    assert.deepEqual(read.frame.payload, Uint8Array.of(1, 2, 3));
  });
});

describe("the files", () => {
  it("a segment's header keeps its bytes", () => {
    const header = { base: 2 ** 33, firstStoredAt: 1_700_000_000_000, prevCrc: 0x0102_0304 };
    const bytes = encodeSegmentHeader(header, crc32);
    assert.equal(
      hex(bytes),
      "544944454c4f473100000002000000000000018bcfe5680001020304a93ce0450000000000000000000000000000000000000000000000000000000000000000",
    );
    assert.deepEqual(decodeSegmentHeader(bytes, crc32), header);
  });

  it("a checkpoint slot keeps its bytes", () => {
    const checkpoint = {
      sequence: 5,
      durableEnd: 2 ** 33 + 1,
      confirmOffset: 2 ** 32 + 3,
      epoch: 2,
    };
    const bytes = encodeCheckpoint(checkpoint, crc32);
    assert.equal(bytes.length, 512);
    assert.equal(
      hex(bytes.subarray(0, 32)),
      "54494445434b5031000000000000000500000002000000010000000238d3fdb1",
    );
    assert.equal(hex(bytes.subarray(32, 44)), "00000001000000036d5acab2");
    assert(bytes.subarray(44).every((byte) => byte === 0));
    assert.deepEqual(decodeCheckpoints(bytes, crc32), checkpoint);
    const failed = encodeCheckpoint({ ...checkpoint, failed: true }, crc32);
    assert.equal(hex(failed.subarray(0, 44)), hex(bytes.subarray(0, 44)));
    assert.equal(hex(failed.subarray(44, 52)), "01000000fba8544b");
    assert.deepEqual(decodeCheckpoints(failed, crc32), { ...checkpoint, failed: true });
    failed[51] = (failed[51] as number) ^ 1;
    assert.deepEqual(decodeCheckpoints(failed, crc32), checkpoint, "it is not said to have failed");
    bytes.fill(0, 32); // as an earlier build wrote it
    assert.deepEqual(decodeCheckpoints(bytes, crc32), { ...checkpoint, confirmOffset: 0 });
  });

  const unit = {
    bodyLogOffset: 2 ** 33,
    size: 300,
    tagHash: 0xaaaa_aaaa,
    keyHash: 0xbbbb_bbbb,
    visibleLogOffset: 2 ** 33 + 5,
    visibleAt: 1_700_000_000_000,
  };
  const units = new UnitBuffer();
  units.push(unit);

  it("a consume queue unit keeps its bytes", () => {
    assert.equal(
      hex(units.slice()),
      "00000002000000000000012caaaaaaaabbbbbbbb00000002000000050000018bcfe56800",
    );
    assert.deepEqual(new Units(units.slice()).unit(0), unit);
  });

  const links = {
    ordinal: 17,
    previous: { base: 100, first: 1 },
    skip16: { base: 50, first: 0 },
    skip256: undefined,
  };

  it("a sidecar keeps its bytes", () => {
    const ids = new HashTable(WORDS.ids);
    ids.push(0xcccc_cccc, 64);
    ids.push(0x1111_1111, 128);
    const keys = new HashTable(WORDS.keys);
    for (const hash of [0xdddd_dddd, 1, 0x8000_0000, 0x7fff_ffff, 1]) {
      keys.push(hash, 256, 0x0003_0001, 2, 5);
    }
    const ops = new HashTable(WORDS.ops);
    ops.push(0xeeee_eeee, 320, 0x0300_0102);
    const run = { topicGen: 9, queueId: 3, first: 2, links, units };
    const content = {
      base: 2 ** 33,
      end: 2 ** 33 + 500,
      runs: [run],
      sections: { ids: ids.encode(), keys: keys.encode(), ops: ops.encode() },
      keyedCount: 6,
      heldCount: 7,
      timersUntil: 8,
      bodiesFrom: 2 ** 33 - 16,
    };
    assert.equal(
      hex(encodeSidecar(content, crc32)),
      "5449444549445832000000020000000000000002000001f4000000000000012000000001000000060000000000000008000000070000000000000002000000010000000500000002000000010000000100000001fffffff0000000000000000000000002000000000000012caaaaaaaabbbbbbbb00000002000000050000018bcfe5680000000000000000021111111100000080cccccccc00000040000000000000000300000005000000010000010000030001000000020000000500000001000001000003000100000002000000057fffffff000001000003000100000002000000058000000000000100000300010000000200000005dddddddd000001000003000100000002000000050000000000000001eeeeeeee0000014003000102000000000000000900000003000000010000000000000002000000000000006000000011000000000000000000000064000000000000000100000000000000320000000000000000ffffffffffffffff000000000000000049cbe12f",
    );
  });

  it("sealed blocks keep their bytes", () => {
    const sealed = sealBlocks(new Uint8Array(4093).fill(7), crc32);
    assert.equal(hex(sealed.subarray(4090)), "0707ec1fab8a074c667a2e");
  });

  it("a dedupe run keeps its bytes", async () => {
    const disk = new MemoryDisk();
    const range = { from: 2 ** 33, to: 2 ** 33 + 500 };
    const file = await disk.open(runPath(range), { create: true });
    const writer = new RunWriter(file, { range, entriesMax: 2, crc32 });
    const first = {
      keyHash: new Uint8Array(16).fill(0x11),
      fingerprint: new Uint8Array(8).fill(0x22),
      id: "order-17",
      queueId: 3,
      queueOffset: 2 ** 33 + 1,
      publishedAt: 1_700_000_000_000,
    };
    const keyHash = new Uint8Array(16).fill(0xee);
    const deferred = { ...first, keyHash, queueOffset: -1, deliverAt: 1_700_000_060_000 };
    for (const entry of [first, deferred]) writer.add(encodeDedupeEntry(entry), 0);
    writer.finish();
    const bytes = disk.bytes(runPath(range));
    assert.equal(runPath(range), "dedupe/00000000008589934592-00000000008589935092.run");
    assert.equal(bytes.length, 2 * 4096 + 64 + 4);
    assert.equal(
      hex(bytes.subarray(0, 48)),
      "5449444544555031000000020000000000000002000001f40000018bcfe5680000000000000000020000000100000040",
    );
    assert.equal(
      hex(bytes.subarray(4092, 4096 + 120)),
      "1ec192d300021111111111111111111111111111111122222222222222220000018bcfe56800000000020000000100000000000000000003086f726465722d3137eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee22222222222222220000018bcfe56800ffffffffffffffff0000018bcfe652600003086f726465722d3137",
    );
    assert.equal(
      hex(bytes.subarray(8188)),
      "c9cfba36000000000400000010000000000000000000000000000000001000000040000000000200000008000000000000000000000000000000000800000020000000006adeb072",
    );
    const run = await RunFile.open(disk, range, crc32);
    assert.deepEqual(await run.find(first.keyHash), first);
    assert.deepEqual(await run.find(keyHash), deferred);
  });

  it("a snapshot keeps its bytes", () => {
    const entries = [
      [Uint8Array.of(1), Uint8Array.of(2, 3)],
      [Uint8Array.of(1, 0), new Uint8Array(0)],
    ] as const;
    const snapshot = { logOffset: 2 ** 33, walkFrom: 2 ** 33 - 1, entries };
    const bytes = encodeSnapshot(snapshot, crc32);
    assert.equal(
      hex(bytes),
      "54494445534e5033000000020000000000000001ffffffff00000002f9ceede3b308cf43000000000000000000000000000000000000000000000000000000000001000000020102030002000000000100",
    );
    assert.deepEqual(decodeSnapshot(bytes, crc32), snapshot);
  });

  it("a timer file keeps its bytes", async () => {
    const disk = new MemoryDisk();
    const timers = new YoungTimers();
    const about = {
      topicGen: 9,
      queueId: 3,
      size: 300,
      keyHash: 0xbbbb_bbbb,
      tagHash: 0xaaaa_aaaa,
    };
    timers.add({
      ...about,
      dueAt: 1_700_000_000_123,
      bodyLogOffset: 2 ** 33,
      idHash: 0xcccc_cccc,
    });
    timers.add({ ...about, dueAt: 1_700_000_000_000, bodyLogOffset: 2 ** 33 + 300, idHash: 5 });
    const range = { from: 2 ** 33, to: 2 ** 33 + 600 };
    const content = { ...range, until: 1_700_000_000_123, after: FIRST_KEY, sources: [timers] };
    await writeTimerFile({ disk, crc32 }, content);
    const path = "timers/00000000008589934592-00000000008589935192.tmr";
    assert.equal(timerPath(range), path);
    const bytes = disk.bytes(path);
    const header = bytes.subarray(0, 4096);
    assert.equal(
      hex(header.subarray(0, 40)),
      "54494445544d5231000000020000000000000002000002580000018bcfe5687b0000000200000002",
    );
    assert(header.subarray(40, 4092).every((byte) => byte === 0));
    assert.equal(
      hex(bytes.subarray(4092)),
      "cd316dc70000018bcfe56800000000020000012c0000012cbbbbbbbbaaaaaaaa000000050000000000000009000300000000018bcfe5687b00000002000000000000012cbbbbbbbbaaaaaaaacccccccc0000000000000009000300000000000500000000cccccccc00000001235df2840000018bcfe56800000000020000012ca594170e",
    );
  });

  it("a recall in a timer file keeps its bytes", () => {
    const bytes = new Uint8Array(TIMER_SIZE);
    const timer = recallOf({ dueAt: 1_700_000_000_000, bodyLogOffset: 2 ** 33 });
    writeTimer(viewOf(bytes), 0, { timer, recall: true });
    assert.equal(
      hex(bytes),
      "0000018bcfe56800000000020000000000000000000000000000000000000000000000000000000000000001",
    );
  });

  it("the place of the timers in a snapshot keeps its bytes", () => {
    const mark = { dueAt: 1_700_000_000_000, bodyLogOffset: 2 ** 33 };
    const [key, value] = encodeTimerMark(mark);
    assert(value);
    assert.equal(hex(key), "57");
    assert.equal(hex(value), "0000018bcfe568000000000200000000");
    assert.deepEqual(decodeTimerMark([key, value]), mark);
  });

  it("a queue in a snapshot keeps its bytes", () => {
    const mark = { topicGen: 9, queueId: 3, start: 1, end: 2, links };
    const [key, value] = encodeQueueMark(mark);
    assert(value);
    assert.equal(hex(key), "5100000000000000090003");
    assert.equal(
      hex(value),
      "0000000000000001000000000000000200000011000000000000000000000064000000000000000100000000000000320000000000000000ffffffffffffffff0000000000000000",
    );
    assert.deepEqual(decodeQueueMark([key, value]), mark);
  });
});
