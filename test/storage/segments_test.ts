/**
 * A log of many segments that misses one, or parts of one; a log that a later
 * build wrote.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { viewOf } from "../../storage/base/bytes.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { writeLogStart } from "../../storage/log_start.ts";
import { SEGMENT_HEADER_SIZE, segmentPath } from "../../storage/segment.ts";
import { KiB, type UnitRow } from "./fixture.ts";
import { flip, messages, one, positionOf, reopen, write } from "./written_log.ts";

describe("a log of many segments", () => {
  const segmentBytes = 1 * KiB;
  const full = (closed: boolean) => write([one(12), one(12)], { segmentBytes, closed });

  for (const closed of [false, true]) {
    const how = closed ? "closed cleanly" : "killed";

    it(`tells which segment is gone and keeps the others, ${how}`, async () => {
      const written = await full(closed);
      assert(written.bases.length >= 4);
      for (const [i, base] of written.bases.entries()) {
        const to = written.bases[i + 1] ?? written.end;
        const disk = written.disk.clone();
        await disk.remove(segmentPath(base));
        const open = await reopen(disk, segmentBytes);
        const { log } = open.store;
        if (i < written.bases.length - 1 || closed) {
          assert.deepEqual(log.recovery.damaged, [{ from: base, to }], `without ${base}`);
          assert.equal(log.end, written.end, `without ${base}`);
        }
        for (const [, from, size] of written.rows) {
          const gone = base <= from && from < to;
          const frame = await log.read({ logOffset: from, size });
          assert.equal(frame === undefined, gone, `without ${base}, at ${from}`);
        }
      }
    });
  }

  it("finds damage in a sealed segment and renumbers nothing behind it", async () => {
    const written = await full(false);
    const base = written.bases[1] as number;
    const to = written.bases[2] as number;
    for (let at = base; at < to; at += 13) {
      const disk = flip(written.disk, segmentPath(base), positionOf(at, base));
      for (const name of await disk.list("snapshots")) await disk.remove(`snapshots/${name}`);
      const open = await reopen(disk, segmentBytes); // without a snapshot all of it is walked
      const [, from, size] = written.rows.findLast(([, one]) => one <= at) as UnitRow;
      assert.deepEqual(open.store.log.recovery.damaged, [{ from, to: from + size }]);
      const behind = written.rows.filter(([, one]) => one >= to);
      assert.deepEqual((await open.unitsOf(1, 0)).slice(-behind.length), behind, `at ${at}`);
    }
  });

  it("tells a damaged header, and needs it for nothing", async () => {
    const written = await full(true);
    for (const base of written.bases) {
      for (const at of [0, 9, 17, 25, 29]) {
        const open = await reopen(flip(written.disk, segmentPath(base), at), segmentBytes);
        assert.deepEqual(open.store.log.recovery.damagedHeaders, [base]);
        assert.deepEqual(open.store.log.recovery.damaged, []);
        assert.deepEqual(await open.unitsOf(1, 0), written.rows);
      }
    }
  });

  it("keeps a young segment whose header is damaged, though no checkpoint covers it", async () => {
    const written = await full(false);
    const base = written.bases.at(-1) as number;
    const disk = written.disk.clone();
    disk.damage(segmentPath(base), (bytes) => bytes.fill(0, 0, SEGMENT_HEADER_SIZE));
    const open = await reopen(disk, segmentBytes);
    assert.deepEqual(open.store.log.recovery.damagedHeaders, [base]);
    assert.equal(open.store.log.end, written.end);
    assert.deepEqual(await open.unitsOf(1, 0), written.rows);
  });

  it("drops a segment that never got its header", async () => {
    const written = await full(false);
    const disk = written.disk.clone();
    const file = await disk.open(segmentPath(written.end), { create: true });
    await file.truncate(500);
    const open = await reopen(disk, segmentBytes);
    assert.deepEqual(open.store.log.recovery.damaged, []);
    await assert.rejects(disk.open(segmentPath(written.end), { create: false }));
    await open.putAll(messages(10, 24));
    const again = await reopen(disk.crash(), segmentBytes);
    assert.equal((await again.unitsOf(1, 0)).length, 34);
  });

  it("that is gone as a whole is not taken for a new one", async () => {
    const written = await full(true);
    const disk = written.disk.clone();
    for (const base of written.bases) await disk.remove(segmentPath(base));
    await assert.rejects(reopen(disk, segmentBytes), { code: "data-damaged" });
  });
});

describe("a log of a later build", () => {
  const change = async (at: number, value: number) => {
    const written = await write([one(3)]);
    const [, from, size] = written.rows[1] as UnitRow;
    written.disk.damage(segmentPath(0), (bytes) => {
      bytes[positionOf(from + at)] = value;
      const frame = bytes.subarray(positionOf(from), positionOf(from + size));
      viewOf(frame).setUint32(4, crc32(frame.subarray(8)));
      // The chain goes on from the new crc.
      const next = bytes.subarray(positionOf(from + size), positionOf(written.end));
      viewOf(next).setUint32(16, viewOf(frame).getUint32(4));
      viewOf(next).setUint32(4, crc32(next.subarray(8)));
    });
    return written.disk;
  };

  it("with a frame format nobody knows is not opened, and not cut", async () => {
    const disk = await change(8, 2);
    const before = disk.bytes(segmentPath(0)).slice();
    await assert.rejects(reopen(disk), {
      code: "not-implemented",
      message: /log\/0{20}\.log": it has format 2 in the frame at \d+, of a later build/,
    });
    assert.deepEqual(disk.bytes(segmentPath(0)), before);
  });

  it("with a record kind nobody knows is not opened, and not cut", async () => {
    const disk = await change(9, 200);
    const before = disk.bytes(segmentPath(0)).slice();
    await assert.rejects(reopen(disk), {
      code: "not-implemented",
      message: /log\/0{20}\.log": .* record of kind 200 at \d+/,
    });
    assert.deepEqual(disk.bytes(segmentPath(0)), before);
  });

  const kinds = ["log/*.log", "log/*.idx", "log/start", "snapshots/*.snap", "checkpoint"] as const;
  for (const kind of kinds) {
    it(`with ${kind} of a later format is not opened: the file and the format are named`, async () => {
      const written = await write([one(12), one(12)], { segmentBytes: 1024, closed: true });
      const { disk } = written;
      if (kind === "log/start") await writeLogStart(disk, { start: 0 }, crc32);
      const [dir, pattern = ""] = kind.split("/") as [string, string?];
      const names = await disk.list(dir);
      const path =
        pattern === "" ? dir : `${dir}/${names.find((name) => name.endsWith(pattern.slice(1)))}`;
      const before = disk.bytes(path).slice();
      disk.damage(path, (bytes) => bytes.set(laterVersion(bytes, kind)));
      const message = new RegExp(`${path}": it has format 9, of a later build`);
      await assert.rejects(reopen(disk, 1024), { code: "not-implemented", message });
      // One bit of the version is no version: the checksum tells.
      disk.damage(path, (bytes) =>
        bytes.set([...before.subarray(0, 7), 0x39, ...before.subarray(8)]),
      );
      await reopen(disk, 1024);
    });
  }
});

/** The file as a build would have written it whose format has another number. */
function laterVersion(bytes: Uint8Array, kind: string): Uint8Array {
  const copy = bytes.slice();
  const sealed = kind === "log/*.idx";
  const plain = { "log/start": 16, "snapshots/*.snap": 32 }[kind] ?? 28;
  const crcAt = sealed ? Math.min(4092, copy.length - 4) : plain;
  for (const at of kind === "checkpoint" ? [0, 512] : [0]) {
    copy[at + 7] = "9".charCodeAt(0);
    viewOf(copy).setUint32(at + crcAt, crc32(copy.subarray(at, at + crcAt)));
  }
  return copy;
}
