/**
 * Two members of a group, and a driver that does what the replication core would: the
 * follower gets what the leader appends, what both have synced is confirmed, and a
 * member that comes back cuts what the leader does not have.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Broker } from "../../src/broker/mod.ts";
import { cutFor, EpochTable } from "../../src/cluster/epoch_table.ts";
import type { Entries } from "../../src/cluster/messages.ts";
import type { ReplicaLog } from "../../src/cluster/replica_log.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import type { Disk } from "../../storage/base/disk.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { Prng } from "../../storage/base/prng.ts";
import { type LentBeginning, ReplacedLog } from "../../storage/mod.ts";
import { openTestStandby, type TestBroker, type TestOptions } from "./open_broker.ts";

/** One life of a member. */
export class Member {
  readonly log: ReplicaLog & { readonly confirmOffset: number };
  readonly disk: MemoryDisk;
  readonly lead: (epoch: number) => Promise<Broker>;
  readonly close: () => Promise<void>;
  readonly trim: (leader: { start: number; confirmOffset: number }) => void;
  readonly beginning: () => Promise<LentBeginning>;
  readonly epochs: EpochTable;
  start: number;
  end: number;
  durableEnd: number;
  lastCrc: number;
  /** Told by the log, of this life. */
  onMoved: () => void = () => {};

  private constructor({ standby, disk }: Awaited<ReturnType<typeof openTestStandby>>) {
    this.log = standby;
    this.disk = disk;
    this.lead = (epoch) => standby.lead(epoch);
    this.close = () => standby.close();
    this.trim = (leader) => standby.trim(leader);
    this.beginning = () => standby.beginning();
    const { start, end, lastCrc, epochs } = standby.restored;
    this.epochs = new EpochTable(epochs);
    this.start = start;
    this.end = end;
    this.durableEnd = end;
    this.lastCrc = lastCrc;
    standby.listen({
      appended: ({ end: to, lastCrc: crc }) => {
        assert(to > this.end, "an append moves the end");
        this.end = to;
        this.lastCrc = crc;
        this.onMoved();
      },
      synced: (to) => {
        assert(to <= this.end, "what is synced was told of");
        this.durableEnd = Math.max(this.durableEnd, to);
        this.onMoved();
      },
      trimmed: (to) => {
        this.start = to;
      },
      damaged: () => assert.fail("nothing is damaged"),
    });
  }

  static async open(options: TestOptions): Promise<Member> {
    return new Member(await openTestStandby(options));
  }

  /** Cuts what `leader` does not have. */
  async matchWith(leader: Member): Promise<void> {
    for (;;) {
      const proof = leader.epochs.floor(this.epochs.last, leader);
      const there = proof.epoch === this.epochs.last && this.end <= proof.end;
      if (this.end === 0 || there) break;
      const to = cutFor(proof, this);
      const { end, lastCrc } = await this.log.truncate(to);
      assert.equal(end, to);
      this.end = end;
      this.durableEnd = Math.min(this.durableEnd, end);
      this.lastCrc = lastCrc;
      this.epochs.cut(to);
    }
    const crc = leader.log.crcAt(this.end);
    if (crc !== undefined) assert.equal(this.lastCrc, crc, "the logs agree up to there");
  }

  /** Takes some of what it lacks from `leader`. @returns whether it lacked anything. */
  async fetchFrom(leader: Member, maxBytes = 1 << 20): Promise<boolean> {
    const { end: from } = this;
    const held = leader.epochs.at(from, leader.end);
    if (from >= leader.end || from < leader.start || !held) return false;
    const wish = { from, until: held.end, epoch: held.epoch, maxBytes };
    const units = await leader.log.transfer(wish);
    assert(units, `the units at ${from} are there`);
    const entries: Entries = {
      kind: "entries",
      epoch: leader.epochs.last,
      boot: "",
      id: 0,
      confirmOffset: 0,
      from,
      frameEpoch: held.epoch,
      ...units,
      bytes: units.bytes.slice(), // as it would come over the wire
    };
    if (from !== this.end) return true; // cut, or stopped
    assert(this.log.sound(entries));
    this.epochs.add(held.epoch, from);
    this.end = entries.to;
    this.lastCrc = entries.lastCrc;
    this.log.append(entries);
    return true;
  }
}

/** What is in `disk` gives way to the beginning of the leader's log. @param size of the pieces. */
export async function takeOver(
  leader: Member,
  { disk, size = 1000 }: { readonly disk: Disk; readonly size?: number },
): Promise<void> {
  const held = await leader.beginning();
  const replaced = await ReplacedLog.begin({ disk, crc32 });
  for (const [index, file] of held.files.entries()) {
    for (let at = 0; at < file.size; ) {
      const piece = await held.read(index, { at, size });
      await replaced.put(file, at, piece);
      at += piece.bytes.length;
    }
  }
  await replaced.finish(held.beginning);
  await held.release();
}

export class ReplicatedPair {
  readonly #options: TestOptions;
  readonly clock: ManualClock;
  leader: Member;
  follower: Member;
  broker: Broker;
  /** Asked for at once. */
  maxBytes = 1 << 20;
  /** The network is down: nothing is fetched, nothing confirmed. */
  #parted = false;
  #epoch: number;
  #pumping: Promise<void> | undefined;

  private constructor(options: TestOptions, parts: { a: Member; b: Member; broker: Broker }) {
    this.#options = options;
    this.clock = options.clock as ManualClock;
    this.leader = parts.a;
    this.follower = parts.b;
    this.broker = parts.broker;
    this.#epoch = parts.a.epochs.last;
    this.#drive();
  }

  static async open(given: TestOptions = {}): Promise<ReplicatedPair> {
    const { clock = new ManualClock(), chance = new Prng(7) } = given;
    const options = { ...given, clock, chance };
    const a = await Member.open({ ...options, disk: new MemoryDisk(1) });
    const b = await Member.open({ ...options, disk: new MemoryDisk(2) });
    a.epochs.add(1, 0);
    const broker = await a.lead(1);
    return new ReplicatedPair(options, { a, b, broker });
  }

  #drive(): void {
    const { leader, follower } = this;
    const move = () => {
      if (leader !== this.leader || follower !== this.follower) return;
      this.#pumping ??= this.#pump();
      this.#confirm();
    };
    leader.onMoved = move;
    follower.onMoved = move;
    move();
  }

  async #pump(): Promise<void> {
    const { leader, follower } = this;
    const goesOn = () => leader === this.leader && follower === this.follower && !this.#parted;
    await Promise.resolve();
    try {
      while (goesOn() && (await follower.fetchFrom(leader, this.maxBytes)));
    } finally {
      this.#pumping = undefined; // in the turn of the last look: what moves then begins anew
    }
  }

  #confirm(): void {
    if (this.#parted) return;
    const { leader, follower } = this;
    leader.log.replicated(Math.min(leader.end, follower.end));
    const confirmed = Math.min(leader.durableEnd, follower.durableEnd);
    if (confirmed > leader.log.confirmOffset) leader.log.confirm(confirmed);
    if (confirmed > follower.log.confirmOffset) follower.log.confirm(confirmed);
    follower.trim({ start: leader.start, confirmOffset: leader.log.confirmOffset });
  }

  /** The leader is gone, and the follower leads; what was the leader comes back on `disk`. */
  async fail(disk: MemoryDisk): Promise<void> {
    const before = this.leader;
    const after = this.follower;
    before.onMoved = () => {};
    this.leader = after;
    await this.#pumping;
    this.#epoch++;
    after.epochs.add(this.#epoch, after.end);
    this.broker = await after.lead(this.#epoch);
    this.#parted = false;
    this.follower = await Member.open({ ...this.#options, disk });
    await this.follower.matchWith(after);
    this.#drive();
  }

  async part(): Promise<void> {
    this.#parted = true;
    await this.#pumping;
  }

  join(): void {
    this.#parted = false;
    this.#drive();
  }

  /** The follower is gone, and comes back on `disk`. */
  async restartFollower(disk: MemoryDisk): Promise<void> {
    this.follower.onMoved = () => {};
    await this.part();
    this.follower = await Member.open({ ...this.#options, disk });
    await this.follower.matchWith(this.leader);
    this.join();
  }

  /** The follower is gone; on `disk` another begins where the leader's log does. */
  async replaceFollower(disk: MemoryDisk): Promise<void> {
    this.follower.onMoved = () => {};
    await this.part();
    await takeOver(this.leader, { disk });
    this.follower = await Member.open({ ...this.#options, disk });
    await this.follower.matchWith(this.leader);
    this.join();
  }

  /** The leader's log does not begin before the follower's ends. */
  get isBehind(): boolean {
    return this.follower.end < this.leader.start;
  }

  /** All that was appended is confirmed, on both. */
  async settle(): Promise<void> {
    for (let turns = 0; turns < 10_000; turns++) {
      if (this.isBehind) await this.replaceFollower(this.follower.disk.clone());
      const { leader, follower } = this;
      const all = Math.min(leader.log.confirmOffset, follower.log.confirmOffset);
      if (all === leader.end) return;
      await Promise.resolve();
    }
    assert.fail("what was appended is never confirmed");
  }
}

/** A broker whose every start is an election of the other member, which followed until then. */
export async function openPairBroker(options: TestOptions = {}): Promise<TestBroker> {
  return brokerOf(await ReplicatedPair.open(options));
}

async function brokerOf(pair: ReplicatedPair): Promise<TestBroker> {
  await pair.settle();
  const { broker, clock, leader } = pair;
  return {
    ...broker,
    disk: leader.disk,
    clock,
    async reopen(disk = leader.disk.clone()) {
      await pair.fail(disk);
      return brokerOf(pair);
    },
  };
}
