/**
 * A log that was stopped at any moment: what nobody was promised is cut without
 * a word, and the log goes on.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { isDamage } from "../../storage/recovery.ts";
import { segmentPath } from "../../storage/segment.ts";
import { KiB, OpenStore } from "./fixture.ts";
import {
  messages,
  one,
  PATIENCE,
  positionOf,
  reopen,
  write,
  SEGMENT_BYTES,
} from "./written_log.ts";

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
    for (let turns = 0; turns < 250; turns++) {
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

describe("a process killed at any moment", () => {
  for (const segmentBytes of [SEGMENT_BYTES, 1 * KiB]) {
    it(
      `leaves nothing to the next that a power cut could take: ${segmentBytes}`,
      PATIENCE,
      async () => {
        for (let turns = 0; turns < 200; turns++) {
          const disk = new MemoryDisk(turns);
          const first = OpenStore.on({ disk, segmentBytes }).then(async (open) => {
            for (let i = 0; i < 6; i++) {
              open.putUnit(messages(1, i));
              open.store.log.flush();
              if (i % 2 === 0) await open.settle();
            }
          });
          for (let left = turns; left > 0; left--) await Promise.resolve();
          const left = disk.clone();
          const second = await OpenStore.on({ disk: left, segmentBytes });
          const next = second.store.queues.find(1, 0)?.end ?? 0;
          await second.putAll(messages(2, next));
          const rows = await second.unitsOf(1, 0);
          for (const cut of [left.crash(), left.crash(), left.crash(), left.crash()]) {
            const third = await OpenStore.on({ disk: cut, segmentBytes });
            assert.deepEqual(third.store.log.recovery.damaged, [], `killed after ${turns} turns`);
            assert.deepEqual(await third.unitsOf(1, 0), rows, `killed after ${turns} turns`);
          }
          await first;
        }
      },
    );
  }
});
