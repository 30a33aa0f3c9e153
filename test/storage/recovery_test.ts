/**
 * What a log is after a stop: a torn tail is cut without a word, damage is told
 * with its range, and nothing around it is lost or numbered anew.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { viewOf } from "../../storage/base/bytes.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { isDamage } from "../../storage/recovery.ts";
import { SEGMENT_HEADER_SIZE, segmentPath } from "../../storage/segment.ts";
import { draft, KiB, OpenStore, type UnitRow } from "./fixture.ts";

const BODY = new Uint8Array(20).fill(0xa5);
const messages = (count: number, from = 0) =>
  Array.from({ length: count }, (_, i) => draft({ queueOffset: from + i, body: BODY }));

/** Every byte of a log is tried, one start each. */
const PATIENCE = { timeout: 60_000 };
/** Small, for every start writes a segment of its full size. */
const SEGMENT_BYTES = 4 * KiB;

/** A log with what is known of it. */
interface Written {
  readonly disk: MemoryDisk;
  readonly rows: readonly UnitRow[];
  readonly end: number;
  readonly bases: readonly number[];
}

/** Each inner list is a unit; each outer one a batch, confirmed before the next begins. */
async function write(
  batches: readonly (readonly number[])[],
  { segmentBytes = SEGMENT_BYTES, checkpoint = false, closed = false } = {},
): Promise<Written> {
  const disk = new MemoryDisk();
  const open = await OpenStore.on({ disk, segmentBytes });
  let next = 0;
  for (const units of batches) {
    for (const count of units) {
      open.putUnit(messages(count, next));
      next += count;
    }
    await open.settle();
  }
  if (checkpoint) {
    open.clock.advance(1000);
    const written = disk.syncs;
    while (disk.syncs === written) await Promise.resolve();
  }
  if (closed) await open.store.close();
  const bases = open.store.log.segments.map(({ base }) => base);
  return { disk: disk.clone(), rows: await open.unitsOf(1, 0), end: open.store.log.end, bases };
}

const one = (count: number) => Array.from({ length: count }, () => 1);
const reopen = (disk: MemoryDisk, segmentBytes = SEGMENT_BYTES) =>
  OpenStore.on({ disk, segmentBytes });
const positionOf = (logOffset: number, base = 0) => SEGMENT_HEADER_SIZE + logOffset - base;

function flip(disk: MemoryDisk, path: string, at: number): MemoryDisk {
  const copy = disk.clone();
  const bytes = copy.bytes(path);
  bytes[at] = (bytes[at] as number) ^ (1 << (at % 8));
  return copy;
}

describe("isDamage()", () => {
  const cases: [name: string, facts: Parameters<typeof isDamage>[0], damage: boolean][] = [
    ["below the checkpoint", facts({ durableEnd: 101 }), true],
    ["at the checkpoint", facts({ durableEnd: 100 }), false],
    ["with a segment behind", facts({ segmentFollows: true }), true],
    ["seen confirmed by a frame behind", facts({ confirmedBehind: 101 }), true],
    ["with frames behind that had not seen it", facts({ confirmedBehind: 100 }), false],
    ["with nothing that vouches for it", facts({}), false],
  ];
  for (const [name, given, damage] of cases) {
    it(`a bad frame ${name} is ${damage ? "damage" : "a torn tail"}`, () =>
      assert.equal(isDamage(given), damage));
  }

  function facts(some: Partial<Parameters<typeof isDamage>[0]>) {
    return { at: 100, durableEnd: 0, segmentFollows: false, confirmedBehind: 0, ...some };
  }
});

describe("a log whose last unit is cut", () => {
  const ways: [name: string, cut: (disk: MemoryDisk, at: number) => Promise<void>][] = [
    [
      "off",
      async (disk, at) => {
        const file = await disk.open(segmentPath(0), { create: false });
        await file.truncate(at);
      },
    ],
    ["to zeros", async (disk, at) => disk.damage(segmentPath(0), (bytes) => bytes.fill(0, at))],
    [
      "to nonsense",
      async (disk, at) => {
        disk.damage(segmentPath(0), (bytes) => {
          for (let i = at; i < bytes.length; i++) bytes[i] = (i * 31 + 7) % 256;
        });
      },
    ],
  ];

  for (const last of [1, 4]) {
    for (const [how, cut] of ways) {
      it(`${how}, opens clean wherever it is cut: ${last} frames`, PATIENCE, async () => {
        const written = await write([one(3), [last]]);
        const unitAt = written.rows[3]?.[1] as number;
        for (let at = unitAt; at < written.end; at++) {
          const disk = written.disk.clone();
          await cut(disk, positionOf(at));
          const open = await reopen(disk);
          const { log } = open.store;
          assert.deepEqual(log.recovery.damaged, [], `cut at ${at}`);
          assert.equal(log.end, unitAt, `cut at ${at}`);
          assert.deepEqual(await open.unitsOf(1, 0), written.rows.slice(0, 3));
          const held = how === "to nonsense" || at >= unitAt + 4; // a size begins with zeros
          assert.equal(log.recovery.torn !== undefined, held, `cut at ${at}`);
        }
      });
    }
  }

  it("goes on where it was cut, as if the rest had never been", async () => {
    const written = await write([one(3), [2]]);
    const disk = written.disk.clone();
    disk.damage(segmentPath(0), (bytes) => bytes.fill(0, positionOf(written.end - 1)));
    const open = await reopen(disk);
    await open.putAll(messages(2, 3));
    const again = await reopen(disk.crash());
    assert.deepEqual(await again.unitsOf(1, 0), await open.unitsOf(1, 0));
    assert.equal(again.store.queues.find(1, 0)?.end, 5);
  });

  it("is recovered once: a second time finds the same", async () => {
    const written = await write([one(3), [3]]);
    const disk = written.disk.clone();
    disk.damage(segmentPath(0), (bytes) => bytes.fill(0, positionOf(written.end - 150)));
    const first = await reopen(disk);
    const image = disk.clone();
    const second = await reopen(disk);
    assert.equal(second.store.log.end, first.store.log.end);
    assert.equal(second.store.log.recovery.torn, undefined);
    assert.deepEqual(image.bytes(segmentPath(0)), disk.bytes(segmentPath(0)));
  });

  it("is recovered though the power goes during recovery, at any moment", PATIENCE, async () => {
    const written = await write([one(3), [3]]);
    const unitAt = written.rows[3]?.[1];
    for (let turns = 0; turns < 120; turns++) {
      const disk = written.disk.clone();
      disk.damage(segmentPath(0), (bytes) => bytes.fill(0x55, positionOf(written.end - 150)));
      const opening = reopen(disk);
      for (let left = turns; left > 0; left--) await Promise.resolve();
      const after = await reopen(disk.crash());
      assert.equal(after.store.log.end, unitAt);
      assert.deepEqual(after.store.log.recovery.damaged, []);
      assert.deepEqual(await after.unitsOf(1, 0), written.rows.slice(0, 3));
      await opening;
    }
  });
});

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
    await assert.rejects(reopen(disk), { code: "not-implemented" });
    assert.deepEqual(disk.bytes(segmentPath(0)), before);
  });

  it("with a record kind nobody knows is not opened, and not cut", async () => {
    const disk = await change(9, 200);
    const before = disk.bytes(segmentPath(0)).slice();
    await assert.rejects(reopen(disk), { code: "not-implemented" });
    assert.deepEqual(disk.bytes(segmentPath(0)), before);
  });
});
