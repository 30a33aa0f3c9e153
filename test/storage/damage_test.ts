/**
 * A log that is not what was synced: damage is told with its range, and nothing
 * around it is lost or numbered anew.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { viewOf } from "../../storage/base/bytes.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { FRAME_HEADER_SIZE, sealFrame } from "../../storage/frame.ts";
import { KINDS } from "../../storage/records/mod.ts";
import { SEGMENT_HEADER_SIZE, segmentPath } from "../../storage/segment.ts";
import { draft, OpenStore, type UnitRow } from "./fixture.ts";
import {
  BODY,
  flip,
  messages,
  one,
  PATIENCE,
  positionOf,
  reopen,
  SEGMENT_BYTES,
  write,
} from "./written_log.ts";

describe("a flipped bit", () => {
  it(
    "in synced data is told with its frame, at every position, and costs that frame alone",
    PATIENCE,
    async () => {
      const written = await write([one(2), [3], one(2)], { checkpoint: true });
      const frames = written.rows.map(([, from, size]) => ({ from, to: from + size }));
      for (let at = 0; at < positionOf(written.end); at++) {
        const open = await reopen(flip(written.disk, segmentPath(0), at));
        const { log } = open.store;
        const logOffset = at - SEGMENT_HEADER_SIZE;
        const hit = frames.findIndex(({ from, to }) => from <= logOffset && logOffset < to);
        assert.deepEqual(log.recovery.damaged, hit < 0 ? [] : [frames[hit]], `flipped at ${at}`);
        assert.deepEqual(log.recovery.damagedHeaders, at < 32 ? [0] : []);
        assert.equal(log.end, written.end, `flipped at ${at}: shortened`);
        const rows = await open.unitsOf(1, 0);
        const expected = written.rows
          .map(([offset, from, size], i) => (i === hit ? [offset, 0, 0] : [offset, from, size]))
          // At the edges nothing tells which queue has lost a message.
          .slice(hit === 0 ? 1 : 0, hit === frames.length - 1 ? -1 : undefined);
        assert.deepEqual(rows, expected, `flipped at ${at}: numbered anew`);
        for (const [i, { from, to }] of frames.entries()) {
          const frame = await log.read({ logOffset: from, size: to - from });
          assert.equal(frame === undefined, i === hit, `flipped at ${at}, frame ${i}`);
        }
      }
    },
  );

  it("in a synced log is damage also without a checkpoint, when later frames vouch for it", async () => {
    const written = await write([one(4), one(2)]);
    const second = written.rows[4]?.[1] as number;
    for (let at = 0; at < written.end; at += 7) {
      const open = await reopen(flip(written.disk, segmentPath(0), positionOf(at)));
      const { damaged } = open.store.log.recovery;
      if (at < second) {
        assert.equal(damaged.length, 1, `flipped at ${at}`);
        assert.equal(open.store.log.end, written.end);
      } else {
        assert.deepEqual(damaged, [], `flipped at ${at}`);
        assert(open.store.log.end <= at, "the torn tail is cut at the frame");
      }
    }
  });

  it("does not hide another one, nor the frames that vouch", async () => {
    const written = await write([one(6), one(1)]);
    const [second, fourth] = [written.rows[1], written.rows[3]] as [UnitRow, UnitRow];
    const once = flip(written.disk, segmentPath(0), positionOf(second[1] + 50));
    const open = await reopen(flip(once, segmentPath(0), positionOf(fourth[1] + 50)));
    assert.deepEqual(open.store.log.recovery.damaged, [
      { from: second[1], to: second[1] + second[2] },
      { from: fourth[1], to: fourth[1] + fourth[2] },
    ]);
    assert.equal(open.store.log.end, written.end);
  });

  it("in a body does not let out the frames that a stranger put there", async () => {
    const disk = new MemoryDisk();
    const open = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES });
    await open.putAll(messages(1));
    // A body that holds a frame which is valid where it comes to lie.
    const at = open.store.log.end;
    const record = KINDS.drop.encode({ entity: "topic", generation: 1, name: "mine" });
    const forged = new Uint8Array(FRAME_HEADER_SIZE + record.length);
    const empty = draft({ queueOffset: 1, body: new Uint8Array(0) });
    const payload = { ...empty.envelope, ...empty.attributes, index: [], properties: [] };
    const bodyAt = KINDS.message.encode({ ...payload, body: empty.body }).length;
    const logOffset = at + FRAME_HEADER_SIZE + bodyAt;
    forged.set(record, FRAME_HEADER_SIZE);
    sealFrame(
      { bytes: forged, view: viewOf(forged), at: 0 },
      {
        ...{ kind: KINDS.drop.id, flags: 0, epoch: 0, prevCrc: 0, storedAt: 0 },
        ...{ logOffset, confirmOffset: logOffset, size: forged.length, crc32 },
      },
    );
    const body = new Uint8Array([...forged, ...BODY]);
    const places = await open.putAll([draft({ queueOffset: 1, body }), ...messages(1, 2)]);
    await open.putAll(messages(1, 3));
    assert.equal(places[0]?.logOffset, at);

    const left = flip(disk, segmentPath(0), positionOf(logOffset + forged.length + 5));
    const again = await reopen(left);
    const to = places[1]?.logOffset ?? 0;
    assert.deepEqual(again.store.log.recovery.damaged, [{ from: at, to }]);
    assert.equal(again.store.queues.find(1, 0)?.end, 4, "the forged drop was obeyed");
  });

  it("in what was never synced is cut", async () => {
    const written = await write([one(6)]);
    for (let at = 0; at < written.end; at += 11) {
      const open = await reopen(flip(written.disk, segmentPath(0), positionOf(at)));
      assert.deepEqual(open.store.log.recovery.damaged, [], `flipped at ${at}`);
      const kept = written.rows.filter(([, from, size]) => from + size <= at);
      assert.deepEqual(await open.unitsOf(1, 0), kept);
    }
  });

  it("is told again by the next start, and the log goes on behind it", async () => {
    const written = await write([one(3)], { checkpoint: true });
    const last = written.rows[2] as UnitRow;
    const range = { from: last[1], to: last[1] + last[2] };
    const disk = flip(written.disk, segmentPath(0), positionOf(last[1] + 60));
    const open = await reopen(disk);
    assert.deepEqual(open.store.log.recovery.damaged, [range]);
    const [place] = await open.putAll(messages(1, 3));
    assert.equal(place?.logOffset, written.end);
    const again = await reopen(disk.crash());
    assert.deepEqual(again.store.log.recovery.damaged, [range]);
    assert.deepEqual(
      (await again.unitsOf(1, 0)).map(([offset, , size]) => [offset, size > 0]),
      [
        [0, true],
        [1, true],
        [2, false],
        [3, true],
      ],
    );
  });
});

describe("a gap", () => {
  it("of zeros before confirmed data is damage, and the data is kept", async () => {
    const written = await write([one(4), one(2)]);
    const [, from, size] = written.rows[2] as UnitRow;
    const disk = written.disk.clone();
    disk.damage(segmentPath(0), (bytes) =>
      bytes.fill(0, positionOf(from), positionOf(from + size)),
    );
    const open = await reopen(disk);
    assert.deepEqual(open.store.log.recovery.damaged, [{ from, to: from + size }]);
    assert.equal(open.store.log.end, written.end);
    assert.equal((await open.unitsOf(1, 0)).length, 6);
  });

  it("of zeros before data that nobody was promised is a torn tail", async () => {
    const written = await write([one(2), one(4)]);
    const [, from, size] = written.rows[3] as UnitRow;
    const disk = written.disk.clone();
    disk.damage(segmentPath(0), (bytes) =>
      bytes.fill(0, positionOf(from), positionOf(from + size)),
    );
    const open = await reopen(disk);
    assert.deepEqual(open.store.log.recovery.damaged, []);
    assert.equal(open.store.log.recovery.torn?.at, from);
    assert.deepEqual(await open.unitsOf(1, 0), written.rows.slice(0, 3));
  });
});
