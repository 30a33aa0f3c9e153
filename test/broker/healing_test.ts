/**
 * A member whose files were damaged: what the other members have heals it, and nothing
 * is folded without it meanwhile. And one that has more than the others: it is cut.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DamagedRange } from "../../storage/mod.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { Prng } from "../../storage/base/prng.ts";
import { SEGMENT_HEADER_SIZE, segmentBases, segmentPath } from "../../storage/segment.ts";
import { ids, message, readAll, turn } from "../suites/broker_api_kit.ts";
import { openTestStandby } from "../suites/open_broker.ts";
import { ReplicatedPair } from "../suites/replicated_pair.ts";

const SEGMENT_BYTES = 4096;

async function filledPair(count: number): Promise<ReplicatedPair> {
  const pair = await ReplicatedPair.open({ segmentBytes: SEGMENT_BYTES });
  for (let i = 0; i < count; i++)
    await pair.broker.api.messages.publish("orders", message(`m${i}`));
  await pair.settle();
  return pair;
}

function flip(disk: MemoryDisk, logOffset: number): void {
  const base = segmentBases(disk.names("log")).findLast((one) => one <= logOffset) ?? 0;
  const at = SEGMENT_HEADER_SIZE + logOffset - base;
  disk.damage(segmentPath(base), (bytes) => {
    bytes[at] = (bytes[at] ?? 0) ^ 0x10;
  });
}

async function open(disk: MemoryDisk) {
  const chance = new Prng(99); // a disk is named by chance
  const { standby } = await openTestStandby({ disk, segmentBytes: SEGMENT_BYTES, chance });
  const damaged: DamagedRange[] = [...standby.restored.damaged];
  standby.listen({
    appended() {},
    synced() {},
    trimmed() {},
    damaged: (range) => void damaged.push(range),
  });
  return { standby, damaged };
}

describe("a member with damaged bytes", () => {
  for (const snapshots of [true, false]) {
    it(`is healed by the leader, ${snapshots ? "with" : "without"} snapshots`, async () => {
      const pair = await filledPair(120);
      const { leader, follower } = pair;
      const end = leader.end;
      const whole = follower.disk.clone();
      for (let seed = 1; seed <= 25; seed++) {
        const disk = whole.clone();
        if (!snapshots) {
          for (const name of await disk.list("snapshots")) await disk.remove(`snapshots/${name}`);
        }
        const at = new Prng(seed).below(end - 200);
        flip(disk, at);
        const { standby, damaged } = await open(disk);
        if (damaged.length === 0) continue; // not walked: the scrubber would find it
        const [range] = damaged;
        assert(range && range.from <= at && at < range.to);
        standby.confirm(end);
        for (let turns = 0; turns < 20; turns++) await turn();
        assert(standby.confirmOffset <= range.from, "nothing is folded past damage");
        const bytes = await leader.log.mend(range);
        assert(bytes);
        const wrong = bytes.slice();
        wrong[wrong.length >> 1] = (wrong[wrong.length >> 1] as number) ^ 1;
        assert.equal(await standby.rewrite(range, wrong), false, "what is wrong is not taken");
        assert.equal(await standby.rewrite(range, bytes), true);
        assert.equal(await standby.rewrite(range, bytes), false, "there is no damage any more");
        for (let turns = 0; turns < 50; turns++) await turn();
        assert.equal(standby.confirmOffset, end, "and all is folded");
        const broker = await standby.lead(2);
        standby.confirm(1e9);
        for (let turns = 0; turns < 50; turns++) await turn();
        const found = ids(await readAll(broker.api, { topic: "orders" }));
        assert.equal(found.length, 120);
        await broker.close();
      }
    });
  }

  it("whose last bytes are damaged ends before them, and is another disk", async () => {
    const { leader, follower } = await filledPair(40);
    await follower.close();
    const before = follower.log.confirmOffset;
    const disk = follower.disk.clone();
    for (const name of await disk.list("snapshots")) await disk.remove(`snapshots/${name}`);
    const name = (await openTestStandby({ disk: disk.clone() })).standby.diskId;
    flip(disk, before - 10);
    const { standby, damaged } = await open(disk);
    assert.deepEqual(damaged, []);
    const { end, lastCrc, epochs } = standby.restored;
    assert(end < before);
    assert.notEqual(standby.diskId, name);
    assert.equal(leader.log.crcAt(end), lastCrc, "it can go on from there");
    const wish = { from: end, until: leader.end, epoch: epochs.at(-1)?.epoch ?? 0, maxBytes: 1e6 };
    const units = await leader.log.transfer(wish);
    assert(units);
    const entries = { from: end, frameEpoch: wish.epoch, ...units };
    assert(standby.sound(entries));
    assert(!standby.sound({ ...entries, frameEpoch: 2 }), "of another epoch");
    assert(!standby.sound({ ...entries, prevCrc: 1 }), "behind another frame");
    assert(!standby.sound({ ...entries, from: end + 1 }), "of another place");
    assert(!standby.sound({ ...entries, bytes: units.bytes.subarray(1) }), "not all of it");
    standby.append(entries);
    standby.confirm(units.to);
    for (let turns = 0; turns < 20; turns++) await turn();
    assert.equal(standby.confirmOffset, leader.end);
  });
});

describe("a member with more than what is confirmed", () => {
  it("shows and folds nothing of it after a start, and cuts it, however the power goes", async () => {
    const pair = await filledPair(10);
    const confirmed = pair.leader.end;
    const { leader } = pair;
    await pair.part();
    const lost = Array.from({ length: 150 }, (_, i) =>
      pair.broker.api.messages.publish("orders", message(`lost${i}`)),
    );
    for (const one of lost) one.catch(() => {});
    for (let turns = 0; turns < 20; turns++) await turn();
    assert.equal(leader.durableEnd, leader.end, "all of it is on its disk");
    const longer = leader.disk.clone();
    for (let round = 0; round < 40; round++) {
      const disk = longer.clone();
      const { standby } = await open(disk);
      assert.equal(standby.restored.end, leader.end);
      assert(standby.restored.confirmOffset <= confirmed);
      assert(standby.confirmOffset <= confirmed, "it is there, and not folded");
      standby.confirm(confirmed);
      for (let turns = 0; turns < 5; turns++) await turn();
      const cut = standby.truncate(confirmed);
      for (let left = round; left > 0; left--) await Promise.resolve();
      const { standby: after } = await open(disk.crash());
      const { end, damaged } = after.restored;
      assert.deepEqual(damaged, []);
      assert(end >= confirmed && end <= leader.end);
      await cut;
      assert.equal((await open(disk.crash())).standby.restored.end, confirmed, "once it was told");
    }
  });
});
