/**
 * A member that follows, in the places where its log may begin anew: behind a cut, and
 * behind the last part of what it takes in; and one that leads before it has taken in all
 * that was confirmed.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Standby } from "../../src/broker/mod.ts";
import type { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { segmentBases } from "../../storage/segment.ts";
import { after, ids, message, read, readAll, TOPIC, turn } from "../suites/broker_api_kit.ts";
import { openTestStandby } from "../suites/open_broker.ts";
import { type Member, ReplicatedPair } from "../suites/replicated_pair.ts";

const MESSAGES = Array.from({ length: 60 }, (_, i) => `m${i}`);
const SEGMENT_BYTES = 1024;

/** A leader with all messages; no frame of them tells of another that it is confirmed. */
async function filledLeader(): Promise<Member> {
  const pair = await ReplicatedPair.open({ segmentBytes: SEGMENT_BYTES });
  await pair.broker.api.topics.put("orders", TOPIC);
  await pair.part();
  for (const id of MESSAGES) {
    pair.broker.api.messages.publish("orders", message(id)).catch(() => {}); // it has no answer
  }
  for (let turns = 0; turns < 50; turns++) await turn();
  return pair.leader;
}

/** All that lies behind `from` in the leader's log, synced here. */
async function give(standby: Standby, leader: Member, from: number): Promise<void> {
  const wish = { from, until: leader.end, epoch: 1, maxBytes: 1 << 20 };
  for (let at = from; at < leader.end; ) {
    const units = await leader.log.transfer({ ...wish, from: at });
    assert(units, `the units at ${at} are there`);
    standby.append({ from: at, frameEpoch: 1, ...units });
    at = units.to;
  }
  for (let turns = 0; turns < 50; turns++) await turn();
}

/** The disk of a member that has all of it, and knows nothing to be confirmed. */
async function unconfirmed(leader: Member): Promise<MemoryDisk> {
  const { standby, disk } = await openTestStandby({ segmentBytes: SEGMENT_BYTES });
  await give(standby, leader, 0);
  await standby.close();
  return disk;
}

describe("a member that follows", () => {
  it("adds nothing to a sealed segment that a cut leaves the last one", async () => {
    const leader = await filledLeader();
    const whole = await unconfirmed(leader);
    const [, ...bases] = segmentBases(whole.names("log"));
    for (const base of bases.slice(1)) {
      // With room for more than a segment holds.
      const segmentBytes = 2 * SEGMENT_BYTES;
      const { standby, disk } = await openTestStandby({ disk: whole.clone(), segmentBytes });
      standby.confirm(base);
      for (let turns = 0; turns < 50; turns++) await turn();
      assert.equal(standby.confirmOffset, base);
      const { lastCrc } = await standby.truncate(base);
      assert.equal(lastCrc, leader.log.crcAt(base), "the chain goes on from there");
      await give(standby, leader, base);
      assert(segmentBases(disk.names("log")).includes(base), "the one before ends there");
      const { api, close } = await standby.lead(2);
      standby.confirm(Number.MAX_SAFE_INTEGER);
      for (let turns = 0; turns < 50; turns++) await turn();
      const found = ids(await readAll(api, { topic: "orders" }));
      assert.deepEqual(found.toSorted(), MESSAGES.toSorted(), `cut at ${base}`);
      await close();
    }
  });

  it("goes on from a cut where a segment begins, in the life that appended what is cut", async () => {
    const leader = await filledLeader();
    const { standby, disk } = await openTestStandby({ segmentBytes: SEGMENT_BYTES });
    await give(standby, leader, 0);
    const [, ...bases] = segmentBases(disk.names("log"));
    for (const base of bases.toReversed()) {
      const { end, lastCrc } = await standby.truncate(base);
      assert.deepEqual([end, lastCrc], [base, leader.log.crcAt(base)]);
      await give(standby, leader, base);
      assert.equal(standby.crcAt(leader.end), leader.log.crcAt(leader.end));
    }
    await standby.truncate(0);
    assert.equal(standby.crcAt(0), 0);
  });

  it("takes in all it is told of, however soon one word follows another", async () => {
    const leader = await filledLeader();
    const whole = await unconfirmed(leader);
    const [, , middle = 0] = segmentBases(whole.names("log"));
    for (let between = 0; between < 60; between++) {
      const { standby } = await openTestStandby({ disk: whole.clone() });
      assert(standby.confirmOffset < middle, "what it takes in is on disk");
      standby.confirm(middle);
      for (let left = between; left > 0; left--) await Promise.resolve();
      standby.confirm(leader.end);
      for (let turns = 0; turns < 50; turns++) await turn();
      assert.equal(standby.confirmOffset, leader.end, `${between} turns between`);
    }
  });
});

describe("a member that begins to lead", () => {
  const settle = async () => {
    for (let turns = 0; turns < 50; turns++) await turn();
  };

  it("has started when it shows all that was confirmed, not when it is told of it", async () => {
    const disk = await unconfirmed(await filledLeader());
    const { standby } = await openTestStandby({ disk, segmentBytes: SEGMENT_BYTES });
    const broker = await standby.lead(2);
    let started = false;
    const starting = broker.started().then(() => {
      started = true;
    });
    await settle();
    assert.equal(started, false);
    standby.confirm(Number.MAX_SAFE_INTEGER);
    const shown = ids(await readAll(broker.api, { topic: "orders" }));
    assert(shown.length < MESSAGES.length, "it is taken in part by part");
    assert.equal(started, false);
    await starting;
    const found = ids(await readAll(broker.api, { topic: "orders" }));
    assert.deepEqual(found.toSorted(), MESSAGES.toSorted());
    await broker.close();
  });

  it("takes no reader back who has read further", async () => {
    const disk = await unconfirmed(await filledLeader());
    const open = () => openTestStandby({ disk: disk.clone(), segmentBytes: SEGMENT_BYTES });
    const { standby: whole } = await open();
    const { api: all } = await whole.lead(2);
    whole.confirm(Number.MAX_SAFE_INTEGER);
    await settle();
    const { messages, cursors = [], cursor: last } = await read(all, { cursors: true });
    assert.equal(messages.length, MESSAGES.length);
    const { standby } = await open();
    const { api, close } = await standby.lead(2);
    standby.confirm(segmentBases(disk.names("log"))[3] as number);
    await settle();
    const shown = await readAll(api);
    assert(shown.length > 0 && shown.length < MESSAGES.length);
    const behind = [...cursors.slice(shown.length), last];
    const pages = await Promise.all(behind.map((cursor) => read(api, after(cursor))));
    for (const [i, page] of pages.entries()) {
      assert.deepEqual([page.messages, page.cursor], [[], behind[i]]);
    }
    standby.confirm(Number.MAX_SAFE_INTEGER);
    await settle();
    for (const [i, { cursor }] of pages.entries()) {
      const rest = ids(await readAll(api, after(cursor)));
      assert.deepEqual(rest, ids(messages.slice(shown.length + i + 1)), `from ${cursor}`);
    }
    await close();
  });
});
