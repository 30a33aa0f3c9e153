/**
 * Writes that find no room, at every place and in every part: the store holds what
 * it appended, says nothing of it, and goes on by itself when there is room.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { draft, KiB, OpenStore, until } from "./fixture.ts";

const SEGMENT_BYTES = 2 * KiB;
const MESSAGES = 30;
const SECTOR = 512;

async function opened(disk: MemoryDisk): Promise<OpenStore> {
  return OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES });
}

/** What there is to see of a store but the times of its records. */
async function look(open: OpenStore) {
  return { end: open.store.log.end, units: await open.unitsOf(1, 0) };
}

/** A store that begins with what another one left finds all of it, and folds it to the same. */
async function checkAfter(open: OpenStore, disk: MemoryDisk): Promise<void> {
  const before = await look(open);
  const again = await opened(disk);
  assert.deepEqual(again.store.log.recovery.damaged, []);
  assert.deepEqual(await look(again), before);
  assert.deepEqual(again.fold.dump(), open.fold.dump());
  await again.store.close();
}

function put(open: OpenStore, i: number): void {
  if (i % 5 === 4) open.append("seek", { groupGen: 1, topicGen: 1, queueId: 0, to: i });
  else open.putUnit([draft({ queueOffset: i - Math.floor(i / 5) })]);
  open.store.log.flush();
}

/** Lets time pass until all is confirmed, or nothing moves any more. */
async function goOn(open: OpenStore, clockTurns: number): Promise<boolean> {
  const { log } = open.store;
  for (let left = clockTurns; left > 0; left--) {
    for (let turns = 0; turns < 400 && log.confirmOffset < log.end; turns++)
      await Promise.resolve();
    if (log.confirmOffset === log.end || open.fatal.length > 0) break;
    open.clock.advance(250);
  }
  return log.confirmOffset === log.end;
}

/** What the same history comes to where there is room. */
async function withRoom(count: number) {
  const open = await opened(new MemoryDisk());
  for (let i = 0; i < count; i++) {
    put(open, i);
    await open.settle();
  }
  return look(open);
}

describe("a write without room", () => {
  it("is made again, whichever it is, and nothing shows that it failed", async () => {
    const expected = await withRoom(MESSAGES);
    let met = 0;
    for (let n = 0; ; n++) {
      const disk = new MemoryDisk(n + 1);
      const open = await opened(disk);
      disk.failWrite = n;
      disk.failWriteBy = "no room";
      for (let i = 0; i < MESSAGES; i++) {
        put(open, i);
        assert(await goOn(open, 8), `stuck at write ${n}`);
      }
      assert.deepEqual(open.fatal, []);
      assert.deepEqual(await look(open), expected, `write ${n}`);
      const isOver = disk.failWrite !== undefined;
      await open.store.close();
      for (const left of [disk.clone(), disk.crash()]) {
        await checkAfter(open, left);
      }
      if (isOver) break;
      met++;
    }
    assert(met > MESSAGES, `only ${met} writes were met`);
  });

  it("ends the process all the same when it is the medium that says no", async () => {
    const disk = new MemoryDisk();
    const open = await opened(disk);
    put(open, 0);
    await open.settle();
    disk.failWrite = 0;
    put(open, 1);
    await goOn(open, 4);
    assert.equal(open.fatal.length, 1);
  });
});

describe("a disk that is full", () => {
  for (const room of Array.from({ length: 24 }, (_, i) => i * SECTOR)) {
    it(`holds back what there is no room for, with ${room} bytes left`, async () => {
      const disk = new MemoryDisk(room + 1);
      const open = await opened(disk);
      put(open, 0);
      await open.settle();
      disk.capacity = disk.used + room;
      let i = 1;
      while (i < 100) {
        put(open, i++);
        if (!(await goOn(open, 2))) break;
      }
      const { log, headroom } = open.store;
      assert.equal(headroom.level, "stuck");
      for (let left = 20; left > 0; left--) {
        put(open, i++);
        await goOn(open, 1);
      }
      const confirmed = log.confirmOffset;
      assert(confirmed < log.end);
      assert.deepEqual(open.fatal, []);

      for (const left of [disk.clone(), disk.crash(), disk.crash()]) {
        left.capacity = undefined;
        const again = await opened(left);
        const { end, recovery } = again.store.log;
        assert(end >= confirmed, `confirmed up to ${confirmed}, found up to ${end}`);
        assert.deepEqual(recovery.damaged, []);
        await again.store.close();
      }

      disk.capacity = undefined;
      assert(await goOn(open, 8), "it does not go on by itself");
      assert.deepEqual(await look(open), await withRoom(i));
      await checkAfter(open, disk.clone());
      assert.notEqual(headroom.level, "stuck");
      await until(() =>
        open.store.log.segments.every(({ base, end }) => end === undefined || built(disk, base)),
      );
    });
  }
});

/** Its sidecar is there. */
function built(disk: MemoryDisk, base: number): boolean {
  return disk.has(`log/${String(base).padStart(20, "0")}.idx`);
}
