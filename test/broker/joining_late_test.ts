/**
 * A member that begins where a log does that has lost its beginning, and is stopped on
 * its way, behind any of the units there are: what it folded until then is a part of
 * the state only, and what it folds at the end is all of it, the same as the leader's.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { segmentBases } from "../../storage/segment.ts";
import { GROUP, message, receipts, TOPIC, turn } from "../suites/broker_api_kit.ts";
import { Member, ReplicatedPair, takeOver } from "../suites/replicated_pair.ts";
import { checkMembersAlike } from "./fold_dump.ts";

const SECOND_MS = 1000;
const SEGMENT_BYTES = 1024;
const SHORT = { ...TOPIC, retention: { timeMs: 30 * SECOND_MS, bytes: null } };

/** A leader whose log began with all that it has by now as descriptions only. */
async function leaderOfMuch(): Promise<ReplicatedPair> {
  const pair = await ReplicatedPair.open({ segmentBytes: SEGMENT_BYTES });
  const { clock, broker } = pair;
  const { topics, groups, messages, transactions } = broker.api;
  for (const name of ["orders", "others", "late"]) await topics.put(name, SHORT);
  for (const name of ["g", "h"]) {
    const subscriptions = [{ topic: "orders" }, { topic: "others" }];
    await groups.put(name, { ...GROUP, subscriptions, leaseMs: 3_600_000 });
  }
  const publish = (topic: string, id: string, more = {}) =>
    messages.publish(topic, message(id, { body: new Uint8Array(60), ...more }));
  for (let i = 0; i < 12; i++) await publish(i % 2 ? "orders" : "others", `m${i}`);
  for (let i = 0; i < 4; i++) await publish("late", `l${i}`, { delayMs: 3_600_000 });
  for (const group of ["g", "h"]) {
    const given = await groups.receive({ group, max: 6, maxBytes: 1 << 20, waitMs: 0 });
    const [ack, reject, ...kept] = receipts(given);
    assert(ack && reject && kept.length > 0);
    const rejected = [{ receipt: reject, reason: "bad" }];
    await groups.settle(group, { ack: [ack], release: [], extend: [], reject: rejected });
  }
  const half = { topic: "orders", message: message("t") };
  await transactions.begin({ producerGroup: "p", messages: [half] });
  for (let tries = 0; pair.leader.start === 0; tries++) {
    assert(tries < 100, "the log loses its beginning");
    await publish("others", `n${tries}`);
    clock.advance(60 * SECOND_MS);
    for (let turns = 0; turns < 30; turns++) await turn();
  }
  await settled(pair);
  return pair;
}

/** All is confirmed, and known to be on disk. */
async function settled({ leader, follower, clock }: ReplicatedPair): Promise<void> {
  for (let end = -1; end !== leader.end; ) {
    end = leader.end;
    clock.advance(1001);
    for (let turns = 0; turns < 30; turns++) await turn();
  }
  assert.deepEqual(
    [leader.log.confirmOffset, follower.log.confirmOffset],
    [leader.end, leader.end],
  );
}

/** Takes in `count` units more. @returns whether there were so many. */
async function follow(member: Member, leader: Member, count: number): Promise<boolean> {
  for (let left = count; left > 0; left--) {
    if (!(await member.fetchFrom(leader, 1))) return false;
    while (member.durableEnd < member.end) await turn();
    member.log.confirm(member.end);
  }
  for (let turns = 0; turns < 20; turns++) await turn();
  return true;
}

describe("a member that joins late", { timeout: 60_000 }, () => {
  it("has all of the state in the end, wherever it was stopped", async () => {
    const pair = await leaderOfMuch();
    const { leader, clock } = pair;
    const about = { clock, segmentBytes: SEGMENT_BYTES };
    let [stops, withSnapshot, found] = [0, 0, true];
    for (let count = 0; found; count += 3) {
      const disk = new MemoryDisk(count + 1);
      await takeOver(leader, { disk });
      const first = await Member.open({ ...about, disk });
      found = await follow(first, leader, count);
      await first.close();
      stops++;
      if (disk.names("snapshots").length > 0) withSnapshot++;
      const second = await Member.open({ ...about, disk });
      assert(second.start >= leader.start);
      await second.matchWith(leader);
      await follow(second, leader, Infinity);
      assert.equal(second.log.confirmOffset, leader.end);
      await second.close();
      await checkMembersAlike([leader.disk, disk]);
    }
    assert(stops > 10 && withSnapshot > 5, `${stops} stops, ${withSnapshot} behind a snapshot`);
    assert(segmentBases(leader.disk.names("log")).length > 1);
  });
});
