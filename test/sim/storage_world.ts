/**
 * The storage under power cuts, kills, failing disks and damage. One seed is one
 * history, on every runtime: see pacer.ts.
 *
 * The world holds the real MessageStore on a disk in memory with a clock that
 * moves when told to, and an oracle (storage_oracle.ts) that remembers what was
 * appended.
 * Steps are drawn by the seed: append, yield, let time pass, stop in one of
 * several ways, open again. After each stop the store is compared with the
 * oracle, cut to where the log ends:
 *
 *   - everything confirmed before the stop is there, at the same places
 *   - nothing is there that was not appended, and no part of a unit
 *   - the consume queues, the ids and the fold are what the oracle recounts
 *   - a stop is never taken for damage, nor damage for a stop: what rotted is told
 *     with its range, the rest is there, in its place (storage_oracle.ts)
 *
 * and in between: what is visible is what is confirmed, no more and no less.
 *
 * @module
 */

import assert from "node:assert/strict";
import { viewOf } from "../../storage/base/bytes.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { Prng } from "../../storage/base/prng.ts";
import { NoRoom } from "../../storage/base/disk.ts";
import { BALLAST_PATH, SEGMENT_HEADER_SIZE, SPARE_PATH } from "../../storage/segment.ts";
import { aboutBody, aboutOffset, aboutQueue } from "../../storage/ops.ts";
import { HEADROOM_DEFAULTS } from "../../storage/headroom.ts";
import { DerivedDamage } from "../../storage/damage.ts";
import type { RecordOf } from "../../storage/records/mod.ts";
import { newestSnapshot } from "../../storage/jobs.ts";
import { type ChainFold, draft, KiB, type NewMessage, OpenStore } from "../storage/fixture.ts";
import { SNAPSHOT_DIR, snapshotOffsets, snapshotPath } from "../../storage/snapshot.ts";
import { Pacer, rest } from "./pacer.ts";
import { rot, type Rot } from "./rot.ts";
import { type Appended, KEYS, QUEUES, StorageOracle } from "./storage_oracle.ts";

const STEPS = 120;

/** What is worth seeing at least once in many seeds; a campaign that never does tests nothing. */
export const SIGHTS = [
  "power cut",
  "kill",
  "clean close",
  "disk failed at a write",
  "disk failed at a sync",
  "a write found no room",
  "disk full",
  "the ballast made room",
  "stuck",
  "went on when there was room",
  "started on a full disk",
  "unconfirmed tail lost",
  "unconfirmed tail kept",
  "stopped while opening",
  "torn tail",
  "unit cut",
  "segment rolled",
  "unit larger than a segment",
  "segment was prepared",
  "stopped with a spare segment",
  "spare segment taken away",
  "opened from a snapshot",
  "opened without a snapshot",
  "derived file lost",
  "derived file damaged",
  "snapshot damaged while in use",
  "topic dropped",
  "revealed",
  "bit flipped",
  "block zeroed",
  "block misdirected",
  "sector unreadable",
  "segment lost",
  "damage found by the start",
  "damage found by a reader",
  "damage found by the scrubber",
  "damage behind the snapshot",
] as const;
export type Sight = (typeof SIGHTS)[number];

export interface History {
  /** Equal for equal histories. */
  readonly trace: number;
  readonly seen: ReadonlySet<Sight>;
}

/** @throws an AssertionError that says what did not hold. */
export async function simulate(seed: number): Promise<History> {
  const world = new StorageWorld(seed);
  await world.run();
  return { trace: world.trace, seen: world.seen };
}

class StorageWorld {
  readonly #prng: Prng;
  readonly #pacer: Pacer;
  readonly #clock = new ManualClock();
  readonly #segmentBytes: number;
  readonly #scrubIntervalMs: number;
  readonly #ballastBytes: number;
  readonly seen = new Set<Sight>();
  trace = 0;
  #disk: MemoryDisk;
  #open!: OpenStore;
  readonly #oracle = new StorageOracle();
  /** Confirmed by this process or an earlier one. */
  #confirmed = 0;
  #failing = false;
  /** In this life a write may find no room. */
  #short = false;
  /** The spare segment was ready when last looked at. */
  #spareReady = false;
  #spareTaken = false;
  #ballastThere = false;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
    this.#pacer = new Pacer(new Prng(seed ^ 0x9ace));
    this.#disk = new MemoryDisk(this.#prng.word(), this.#pacer.wait);
    this.#disk.shortWrites = this.#prng.pick([0, 0, 30]);
    this.#scrubIntervalMs = this.#prng.pick([0, 500]);
    this.#segmentBytes = this.#prng.pick([4, 8, 16, 64]) * KiB;
    this.#ballastBytes = this.#prng.pick([0, 2, 16]) * KiB;
  }

  async run(): Promise<void> {
    await this.#pacer.until(this.#boot());
    for (let step = 0; step < STEPS; step++) {
      try {
        await this.#step();
      } catch (error) {
        throw new Error(`step ${step}: ${(error as Error).message}`, { cause: error });
      }
    }
    await this.#stop("clean close");
  }

  async #step(): Promise<void> {
    const roll = this.#prng.below(100);
    if (this.#open.fatal.length > 0) await this.#stop(this.#prng.pick(["power cut", "kill"]));
    else if (roll < 45) this.#putUnit();
    else if (roll < 53) this.#putOther();
    else if (roll < 56) this.#reveal();
    else if (roll < 57) this.#dropTopic();
    else if (roll < 82) await this.#pacer.steps(this.#prng.below(5));
    else if (roll < 88) await this.#settle();
    else if (roll < 91) await this.#pass();
    else if (roll < 92) this.#failSoon();
    else if (roll < 96) await this.#stop("power cut");
    else if (roll < 98) await this.#stop("kill");
    else await this.#stop("clean close");
    this.#oracle.checkVisible(this.#open.store);
    this.#watchSpare();
    this.#watchRoom();
    this.#note(`${roll} ${this.#open.store.log.end} ${this.#open.store.log.confirmOffset}`);
  }

  #note(event: string): void {
    this.trace = crc32(utf8.encode(`${this.trace} ${event}`));
  }

  // Appending

  #putUnit(): void {
    const count = this.#prng.chance(70) ? 1 : 1 + this.#prng.below(8);
    const next = this.#oracle.nextOffsets();
    const messages = Array.from({ length: count }, () => {
      const queueId = this.#prng.below(QUEUES);
      const queueOffset = next.get(queueId) ?? 0;
      next.set(queueId, queueOffset + 1);
      return this.#message({ queueId, queueOffset });
    });
    if (this.#prng.chance(15)) this.#putHidden(messages[0] as NewMessage);
    else this.#putMessages(messages);
    this.#flushPerhaps();
  }

  #message({ queueId, queueOffset }: { queueId: number; queueOffset: number }): NewMessage {
    const size = this.#prng.chance(90)
      ? this.#prng.below(400)
      : this.#prng.below(this.#prng.pick([2000, 2000, 2000, 9000]));
    const body = new Uint8Array(size).fill(this.#prng.word());
    const id = this.#prng.word().toString(36);
    const index = KEYS.filter(() => this.#prng.chance(20));
    return draft({ topicGen: this.#oracle.topicGen, queueId, queueOffset, id, body, index });
  }

  #putMessages(messages: readonly NewMessage[]): void {
    const segments = this.#open.store.log.tail.rolls.length;
    const places = this.#open.putUnit(messages);
    if (this.#open.store.log.tail.rolls.length > segments) this.seen.add("segment rolled");
    const unitEnd = this.#open.store.log.end;
    if (unitEnd - (places[0]?.logOffset ?? 0) > this.#segmentBytes) {
      this.seen.add("unit larger than a segment");
    }
    for (const [i, place] of places.entries()) {
      const { envelope, attributes } = messages[i] as NewMessage;
      const { topicGen, queueId, queueOffset } = envelope;
      const end = places[i + 1]?.logOffset ?? unitEnd;
      const { logOffset: bodyLogOffset } = place;
      const size = end - bodyLogOffset;
      const keys = attributes.index ?? [];
      this.#remember({
        place,
        end,
        unitEnd,
        fold: (into) => into.apply("message", { topicGen, queueId } as RecordOf<"message">, place),
        visible: [{ topicGen, queueId, queueOffset, bodyLogOffset, size, keys }],
        id: attributes.id,
      });
    }
  }

  #putHidden({ envelope, attributes, body }: NewMessage): void {
    const { topicGen, queueId } = envelope;
    const message = { envelope: { ...envelope, queueOffset: -1 }, attributes, body };
    const place = this.#open.putDeferred(message);
    const end = this.#open.store.log.end;
    const hidden = {
      topicGen,
      queueId,
      bodyLogOffset: place.logOffset,
      size: end - place.logOffset,
      keys: attributes.index ?? [],
    };
    const fold = (into: ChainFold) =>
      into.apply("message", { topicGen, queueId } as RecordOf<"message">, place);
    this.#remember({ place, end, unitEnd: end, fold, visible: [], hidden, id: attributes.id });
  }

  /** What is hidden and still of a topic there is becomes visible, all at once. */
  #reveal(): void {
    const next = this.#oracle.nextOffsets();
    const items = this.#oracle.hidden().map((hidden) => {
      const queueOffset = next.get(hidden.queueId) ?? 0;
      next.set(hidden.queueId, queueOffset + 1);
      return { ...hidden, queueOffset, keyHash: 0, tagHash: 0 };
    });
    if (items.length === 0) return;
    this.seen.add("revealed");
    const record: RecordOf<"reveal"> = { cause: "due", txnId: undefined, items };
    const place = this.#open.append("reveal", record);
    const end = this.#open.store.log.end;
    const fold = (into: ChainFold) => into.apply("reveal", record, place);
    const about = items.map(({ bodyLogOffset }) => aboutBody(bodyLogOffset));
    this.#remember({ place, end, unitEnd: end, fold, visible: items, about });
    this.#flushPerhaps();
  }

  #putOther(): void {
    const queueId = this.#prng.below(QUEUES);
    if (this.#prng.chance(60)) return this.#putGrant(queueId);
    const record: RecordOf<"seek"> = {
      groupGen: 9,
      topicGen: this.#oracle.topicGen,
      queueId,
      to: 0,
    };
    const place = this.#open.append("seek", record);
    const end = this.#open.store.log.end;
    const fold = (into: ChainFold) => into.apply("seek", record, place);
    const about = [aboutQueue(record)];
    this.#remember({ place, end, unitEnd: end, fold, visible: [], about });
    this.#flushPerhaps();
  }

  #putGrant(queueId: number): void {
    const { topicGen } = this.#oracle;
    const [first, count] = [250 + this.#prng.below(10), 1 + this.#prng.below(20)];
    const record: RecordOf<"grant"> = {
      groupGen: 9,
      topicGen,
      queueId,
      ranges: [{ first, count }],
      grantSeq: 1,
      attempt: 1,
      until: 0,
      nonce: new Uint8Array(8),
      attemptId: undefined,
      consumerId: undefined,
    };
    const place = this.#open.append("grant", record);
    const end = this.#open.store.log.end;
    const fold = (into: ChainFold) => into.apply("grant", record, place);
    const about = Array.from({ length: count }, (_, i) => aboutOffset(record, first + i));
    this.#remember({ place, end, unitEnd: end, fold, visible: [], about });
    this.#flushPerhaps();
  }

  #dropTopic(): void {
    const generation = this.#oracle.topicGen;
    const record: RecordOf<"drop"> = { entity: "topic", generation, name: `t${generation}` };
    const place = this.#open.append("drop", record);
    const end = this.#open.store.log.end;
    const fold = (into: ChainFold) => into.apply("drop", record, place);
    this.#remember({ place, end, unitEnd: end, fold, visible: [], dropped: generation });
    this.seen.add("topic dropped");
    this.#flushPerhaps();
  }

  #remember(appended: Omit<Appended, "crc">): void {
    const { place, end } = appended;
    const bytes = this.#open.store.log.tail.find(place.logOffset, end - place.logOffset);
    assert(bytes, "what was just appended is at hand");
    this.#oracle.remember({ ...appended, crc: viewOf(bytes).getUint32(4) });
  }

  #flushPerhaps(): void {
    if (this.#prng.chance(80)) this.#open.store.log.flush();
  }

  // Time and trouble

  async #pass(): Promise<void> {
    if (this.#prng.chance(20)) this.#rot({ files: false, settled: false });
    if (this.#prng.chance(20)) this.#spoilSnapshot();
    for (let left = 5; left > 0; left--) {
      this.#clock.advance(this.#prng.below(300));
      await rest();
    }
  }

  async #settle(): Promise<void> {
    if (this.#short) return this.#pacer.settle(); // it may wait for room, until the clock moves
    await this.#pacer.until(this.#open.settle());
    if (this.#open.fatal.length > 0 || !this.#prng.chance(20)) return;
    await this.#pacer.until(this.#oracle.compareIndexes(this.#open));
  }

  #failSoon(): void {
    const how = this.#prng.pick(["write", "sync", "no room", "no room", "full", "full"] as const);
    this.#failing = true;
    if (how === "full" || how === "no room") this.#short = true;
    if (how === "full") return this.#fillUp();
    this.#disk[how === "sync" ? "failSync" : "failWrite"] = this.#prng.below(6);
    this.#disk.failWriteBy = how === "no room" ? "no room" : "EIO";
    if (how === "no room") this.seen.add("a write found no room");
    else this.seen.add(how === "write" ? "disk failed at a write" : "disk failed at a sync");
  }

  /** Somebody else takes what is left, or nearly. */
  #fillUp(): void {
    this.seen.add("disk full");
    this.#disk.capacity = this.#disk.used + this.#prng.below(this.#prng.pick([1, 4, 16]) * KiB);
  }

  /** And gives it back, some or all of it. */
  #makeRoom(): void {
    const some = this.#prng.chance(30);
    this.#disk.capacity = some ? (this.#disk.capacity ?? 0) + 2 * KiB : undefined;
  }

  #watchRoom(): void {
    const { levels } = this.#open;
    if (levels.includes("stuck")) this.seen.add("stuck");
    if (levels.includes("stuck") && levels.at(-1) !== "stuck") {
      this.seen.add("went on when there was room");
    }
    const there = this.#disk.has(BALLAST_PATH);
    if (this.#ballastThere && !there && levels.length > 0) this.seen.add("the ballast made room");
    this.#ballastThere = there;
    if (this.#disk.capacity !== undefined && this.#prng.chance(10)) this.#makeRoom();
  }

  /** A spare segment that was whole and is gone has become a segment, or was taken away. */
  #watchSpare(): void {
    const there = this.#disk.has(SPARE_PATH);
    if (this.#spareReady && !there) this.seen.add("segment was prepared");
    const size = there ? this.#disk.bytes(SPARE_PATH).length : 0;
    this.#spareReady = size === SEGMENT_HEADER_SIZE + this.#segmentBytes;
    if (!there || !this.#prng.chance(2)) return;
    this.#disk.lose(SPARE_PATH);
    this.#spareReady = false;
    this.#spareTaken = true;
    this.seen.add("spare segment taken away");
  }

  async #stop(how: "power cut" | "kill" | "clean close"): Promise<void> {
    this.seen.add(how);
    if (how === "clean close") await this.#ease();
    if (how === "clean close") await this.#pacer.until(this.#open.store.close());
    await rest();
    this.#confirmed = Math.max(this.#confirmed, this.#open.confirms.at(-1) ?? 0);
    if (how === "clean close" && !this.#failing) assert.equal(this.#confirmed, this.#oracle.end);
    const unexpected = this.#open.reports.filter((error) => !(error instanceof DerivedDamage));
    if (this.#disk.has(SPARE_PATH)) this.seen.add("stopped with a spare segment");
    if (!this.#failing && !this.#spareTaken) assert.deepEqual(unexpected, []);
    this.#seeDamage();
    this.#end(how);
    this.#failing = false;
    this.#spareReady = false;
    this.#spareTaken = false;
    this.#clock.advance(this.#prng.below(5000));
    if (this.#prng.chance(20)) await this.#spoilDerived();
    if (this.#prng.chance(15)) this.#rot({ files: true, settled: how === "power cut" });
    while (this.#prng.chance(15)) await this.#stopWhileOpening();
    if (this.#prng.chance(3)) this.#fillUp();
    if (this.#disk.capacity !== undefined) this.seen.add("started on a full disk");
    await this.#pacer.until(this.#bootWithRoom());
    this.#failing = this.#disk.capacity !== undefined;
    this.#short = this.#failing;
    await this.#pacer.until(this.#compare());
  }

  /** What a close has to write finds room. */
  async #ease(): Promise<void> {
    this.#disk.capacity = undefined;
    if (this.#disk.failWriteBy === "no room") this.#disk.failWrite = undefined;
    for (let left = this.#short ? 3 : 0; left > 0; left--) {
      await this.#pacer.settle();
      this.#clock.advance(500);
    }
  }

  /** The process is no more; another gets what the disk holds. */
  #end(how: "power cut" | "kill" | "clean close"): void {
    const { shortWrites } = this.#disk;
    this.#disk = how === "power cut" ? this.#disk.crash() : this.#disk.clone();
    this.#disk.shortWrites = shortWrites;
    this.#pacer.forget();
  }

  /** The medium loses what had been synced; where it cannot be told from a torn tail, nobody could. */
  #rot(options: { readonly files: boolean; readonly settled: boolean }): void {
    const rotten: Rot | undefined = rot(this.#disk, { prng: this.#prng, ...options });
    if (!rotten) return;
    this.seen.add(rotten.what);
    this.#oracle.rot(rotten);
    this.#note(`rot ${rotten.what} ${rotten.from} ${rotten.to}`);
  }

  #seeDamage(): void {
    const { found } = this.#open.store.damage;
    if (found.read > 0) this.seen.add("damage found by a reader");
    if (found.scrub > 0) this.seen.add("damage found by the scrubber");
    this.#oracle.checkDamage(this.#open.store.damage.ranges, this.#confirmed);
  }

  /** The newest one, while the process goes on that wrote it. */
  #spoilSnapshot(): void {
    const newest = snapshotOffsets(this.#disk.names(SNAPSHOT_DIR))[0];
    if (newest === undefined) return;
    this.#flip(snapshotPath(newest));
    this.seen.add("snapshot damaged while in use");
  }

  #flip(name: string): void {
    const at = this.#prng.below(this.#disk.bytes(name).length);
    const bit = 1 << this.#prng.below(8);
    this.#disk.damage(name, (bytes) => {
      bytes[at] = (bytes[at] ?? 0) ^ bit;
    });
  }

  /** Sidecars and snapshots are derived: losing one costs time, never data. */
  async #spoilDerived(): Promise<void> {
    const names = [
      ...(await this.#disk.list("log"))
        .filter((name) => name.endsWith(".idx"))
        .map((n) => `log/${n}`),
      ...(await this.#disk.list("snapshots")).map((name) => `snapshots/${name}`),
    ];
    if (names.length === 0) return;
    const name = this.#prng.pick(names);
    if (this.#prng.chance(50)) {
      this.#disk.lose(name);
      this.seen.add("derived file lost");
    } else {
      this.#flip(name);
      this.seen.add("derived file damaged");
    }
  }

  async #stopWhileOpening(): Promise<void> {
    let opened = false;
    const opening = this.#boot().then(() => {
      opened = true;
    });
    opening.catch(() => {}); // it is of a process that is no more
    await this.#pacer.steps(this.#prng.below(30));
    if (!opened) this.seen.add("stopped while opening");
    this.#end(this.#prng.chance(70) ? "power cut" : "kill");
  }

  /** A start that finds no room ends; somebody makes some, and starts it again. */
  async #bootWithRoom(): Promise<void> {
    try {
      await this.#boot();
    } catch (error) {
      if (!(error instanceof NoRoom)) throw error;
      this.#disk.capacity = undefined;
      await this.#boot();
    }
  }

  async #boot(): Promise<void> {
    const whole = await this.#disk.list("snapshots");
    this.seen.add(whole.length > 0 ? "opened from a snapshot" : "opened without a snapshot");
    const { snapshot } = await newestSnapshot(this.#disk, crc32);
    this.#oracle.opening(snapshot?.logOffset ?? 0);
    this.#open = await OpenStore.on({
      disk: this.#disk,
      clock: this.#clock,
      segmentBytes: this.#segmentBytes,
      scrubIntervalMs: this.#scrubIntervalMs,
      headroom: { ...HEADROOM_DEFAULTS, ballastBytes: this.#ballastBytes },
    });
    this.#ballastThere = this.#disk.has(BALLAST_PATH);
  }

  /** The store, just opened, against the oracle. */
  async #compare(): Promise<void> {
    const { end, recovery } = this.#open.store.log;
    this.#oracle.checkDamage(recovery.damaged, this.#confirmed);
    if (recovery.damaged.length > 0) this.seen.add("damage found by the start");
    if (!this.#oracle.rotten) assert.deepEqual(recovery.damagedHeaders, []);
    assert(end >= this.#confirmed, `confirmed up to ${this.#confirmed}, found up to ${end}`);
    if (recovery.torn) this.seen.add("torn tail");
    if (this.#oracle.end > this.#confirmed) {
      this.seen.add(end > this.#confirmed ? "unconfirmed tail kept" : "unconfirmed tail lost");
    }
    const lost = this.#oracle.cutTo(end, recovery.damaged);
    if (lost && lost.end !== lost.unitEnd && recovery.torn) this.seen.add("unit cut");
    this.#confirmed = end;
    await this.#oracle.compare(this.#open);
    if (this.#oracle.outOfFold) this.seen.add("damage behind the snapshot");
    this.#note(`open ${end} ${recovery.frames}`);
  }
}

const utf8 = new TextEncoder();
