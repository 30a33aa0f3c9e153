/**
 * Group commit, and what happens when the disk says no.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { draft, KiB, MiB, OpenStore, until } from "./fixture.ts";

const messages = (count: number, from = 0) =>
  Array.from({ length: count }, (_, i) => draft({ queueOffset: from + i }));

describe("the flusher", () => {
  it("syncs once for all that one turn appended", async () => {
    const disk = new MemoryDisk();
    const open = await OpenStore.on({ disk, segmentBytes: 16 * MiB });
    await open.putAll(messages(1)); // makes the first segment
    const before = disk.syncs;
    await open.putAll(messages(100, 1));
    assert.equal(disk.syncs - before, 1);
    assert.deepEqual(open.confirms.at(-1), open.store.log.end);
  });

  it("collects what is appended during a sync for the next one", async () => {
    const disk = new MemoryDisk();
    const open = await OpenStore.on({ disk, segmentBytes: 16 * MiB });
    await open.putAll(messages(1));
    const before = disk.syncs;
    open.putUnit(messages(1, 1));
    open.store.log.flush();
    await until(() => disk.syncs > before); // the first sync is on its way
    const second = open.putUnit(messages(1, 2))[0];
    open.putUnit(messages(1, 3));
    await open.settle();
    assert.equal(disk.syncs - before, 2);
    assert.equal(open.confirms.at(-2), second?.logOffset);
  });

  for (const [where, segmentBytes] of [
    ["in its segment", 64 * KiB],
    ["in a new one", 256],
  ] as const) {
    it(`is woken by an append at any moment, ${where}`, async () => {
      for (let later = 0; later < 40; later++) {
        const open = await OpenStore.on({ disk: new MemoryDisk(later), segmentBytes });
        open.putUnit(messages(1));
        open.store.log.flush();
        for (let turns = 0; turns < later; turns++) await Promise.resolve();
        open.putUnit(messages(1, 1));
        open.store.log.flush();
        await until(() => open.store.log.confirmOffset === open.store.log.end);
      }
    });
  }

  it("writes the next batch before it tells of the last", async () => {
    const disk = new MemoryDisk();
    const open = await OpenStore.on({ disk, segmentBytes: 16 * MiB });
    await open.putAll(messages(1));
    const told: [end: number, written: number, syncs: number][] = [];
    const { log } = open.store;
    const before = disk.syncs;
    open.store.listen({
      onWritten() {},
      onConfirm: (end) => void told.push([end, log.writtenEnd, disk.syncs - before]),
    });
    open.putUnit(messages(1, 1));
    log.flush();
    await until(() => disk.syncs > before);
    const next = open.putUnit(messages(1, 2))[0]?.logOffset;
    await open.settle();
    assert.deepEqual(told, [
      [next, log.end, 2],
      [log.end, log.end, 2],
    ]);
  });

  it("confirms in order, and nothing before it is synced", async () => {
    const disk = new MemoryDisk();
    const open = await OpenStore.on({ disk, segmentBytes: 4 * KiB });
    for (let i = 0; i < 100; i++) {
      open.putUnit(messages(1, i));
      open.store.log.flush();
      if (i % 3 === 0) await Promise.resolve();
      assert(open.store.log.confirmOffset <= open.store.log.writtenEnd);
      assert(open.store.log.writtenEnd <= open.store.log.end);
    }
    await open.settle();
    assert.deepEqual(
      open.confirms,
      open.confirms.toSorted((a, b) => a - b),
    );
    assert.equal(open.confirms.at(-1), open.store.log.end);
  });

  it("lets a batch of many chunks reach the queues whole", async () => {
    const open = await OpenStore.on({ disk: new MemoryDisk(), segmentBytes: 64 * MiB });
    const body = new Uint8Array(MiB);
    const batch = Array.from({ length: 15 }, (_, queueOffset) => draft({ queueOffset, body }));
    const places = open.putUnit(batch);
    await open.settle();
    const units = await open.unitsOf(1, 0);
    assert.deepEqual(
      units.map(([, bodyLogOffset]) => bodyLogOffset),
      places.map(({ logOffset }) => logOffset),
    );
    assert(units.every(([, , size]) => size > MiB));
  });
});

describe("a batch", () => {
  it("is 4 MiB at most, whole units, however much was appended", async () => {
    const disk = new MemoryDisk();
    const open = await OpenStore.on({ disk, segmentBytes: 64 * MiB });
    await open.putAll(messages(1));
    const body = new Uint8Array(100 * KiB);
    const unitEnds = new Set<number>();
    for (let queueOffset = 1; queueOffset < 200; queueOffset += 3) {
      open.putUnit([0, 1, 2].map((i) => draft({ queueOffset: queueOffset + i, body })));
      unitEnds.add(open.store.log.end);
    }
    const before = open.store.log.confirmOffset;
    open.confirms.length = 0;
    await open.settle();
    const sizes = open.confirms.map((end, i) => end - (open.confirms[i - 1] ?? before));
    assert(sizes.length >= 5 && sizes.length <= 6, `${sizes.length} batches`);
    assert(Math.max(...sizes) <= 4 * MiB, "a batch is larger");
    assert(
      open.confirms.every((end) => unitEnds.has(end)),
      "a batch ends within a unit",
    );
    assert.equal((await open.unitsOf(1, 0)).length, 1 + 67 * 3);
  });
});

describe("a disk that fails", () => {
  const failures = [
    ["a write", "failWrite"],
    ["a sync", "failSync"],
  ] as const;

  for (const [what, which] of failures) {
    it(`ends it all at ${what}, once, and confirms nothing more`, async () => {
      const disk = new MemoryDisk();
      const open = await OpenStore.on({ disk });
      await open.putAll(messages(3));
      const confirmed = open.store.log.confirmOffset;
      disk[which] = 0;
      await open.putAll(messages(3, 3));
      assert.equal(open.fatal.length, 1);
      const syncs = disk.syncs;
      await open.putAll(messages(3, 6)); // the disk would say yes again
      open.clock.advance(10_000); // and so would the checkpoint
      await open.store.close();
      assert.equal(open.fatal.length, 1, "fatal was called again");
      assert.equal(disk.syncs, syncs, "something was synced after the failure");
      assert.equal(open.store.log.confirmOffset, confirmed);
      assert.equal(open.confirms.at(-1), confirmed);
    });

    it(`is as final for the checkpoint: ${what}`, async () => {
      const disk = new MemoryDisk();
      const open = await OpenStore.on({ disk });
      await open.putAll(messages(3));
      const confirmed = open.store.log.confirmOffset;
      disk[which] = 0;
      open.clock.advance(1000);
      await until(() => open.fatal.length > 0);
      await open.putAll(messages(3, 3));
      assert.equal(open.store.log.confirmOffset, confirmed);
      assert.equal(open.fatal.length, 1);
    });
  }

  for (let syncs = 0; syncs < 8; syncs++) {
    it(`leaves a log that opens with all that was confirmed, failing at sync ${syncs}`, async () => {
      const disk = new MemoryDisk(syncs + 1);
      const open = await OpenStore.on({ disk, segmentBytes: 2 * KiB });
      disk.failSync = syncs;
      for (let i = 0; i < 50 && open.fatal.length === 0; i++) {
        await open.putAll(messages(1, i));
        if (open.fatal.length === 0) disk.failSync ??= 0; // it met a job, which is no failure of the log
      }
      assert.equal(open.fatal.length, 1);
      await open.store.close();
      for (const left of [disk.clone(), disk.crash()]) {
        const again = await OpenStore.on({ disk: left, segmentBytes: 2 * KiB });
        assert.deepEqual(again.store.log.recovery.damaged, []);
        assert(again.store.log.end >= (open.confirms.at(-1) ?? 0), "a confirmed message is gone");
        await again.putAll(messages(2, again.store.queues.find(1, 0)?.end ?? 0));
        await again.store.close();
        for (const cut of [left.crash(), left.crash(), left.crash()]) {
          const third = await OpenStore.on({ disk: cut, segmentBytes: 2 * KiB });
          assert.equal(third.store.log.end, again.store.log.end);
          assert.deepEqual(third.store.log.recovery.damaged, []);
          assert.deepEqual(third.store.log.recovery.damagedHeaders, []);
        }
      }
    });
  }
});
