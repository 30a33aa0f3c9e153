/**
 * A store with delayed messages beside a plain array of them: whatever is done to
 * the one is done to the other, and what the store says is due, in which order,
 * and what it knows of a timer, is what the array says.
 *
 * @module
 */

import assert from "node:assert/strict";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { DerivedDamage } from "../../storage/damage.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { stableHash } from "../../storage/base/hash.ts";
import { inlineJobs } from "../../storage/jobs.ts";
import { compareKeys, type TimerKey } from "../../storage/timer_entry.ts";
import { draft, KiB, OpenStore } from "./fixture.ts";

export const TOPIC_GEN = 1;

interface Expected extends TimerKey {
  readonly id: string;
  /** Behind the record that says so; Infinity when it was not. */
  revealedBefore: number;
  recalledBefore: number;
}

export type Stop = "kill" | "power" | "close";

export class TimerWorld {
  open!: OpenStore;
  disk = new MemoryDisk();
  clock = new ManualClock();
  expected: Expected[] = [];
  #queueEnd = 0;
  #number = 0;
  readonly #segmentBytes: number;

  constructor(segmentBytes = 2 * KiB) {
    this.#segmentBytes = segmentBytes;
  }

  static async on(segmentBytes?: number): Promise<TimerWorld> {
    const world = new TimerWorld(segmentBytes);
    await world.#start();
    return world;
  }

  async #start(): Promise<void> {
    const { disk, clock } = this;
    const jobs = inlineJobs({ disk, crc32 });
    this.open = await OpenStore.on({ disk, clock, segmentBytes: this.#segmentBytes, jobs });
  }

  get timers() {
    return this.open.store.timers;
  }

  get now(): number {
    return Math.max(this.clock.now(), this.open.store.log.tail.storedAt);
  }

  /** A delayed message; its id is `id`, or one of its own. */
  schedule(delayMs: number, id = `d-${this.#number++}`): Expected {
    const dueAt = this.now + delayMs;
    const plain = draft({ topicGen: TOPIC_GEN, queueId: 0, queueOffset: -1, id });
    const message = { ...plain, envelope: { ...plain.envelope, deliverAt: dueAt } };
    const { logOffset } = this.open.putDeferred(message);
    const one = {
      id,
      dueAt,
      bodyLogOffset: logOffset,
      revealedBefore: Infinity,
      recalledBefore: Infinity,
    };
    this.expected.push(one);
    return one;
  }

  /** A message without delay. */
  publish(): void {
    this.open.putUnit([draft({ topicGen: TOPIC_GEN, queueId: 0, queueOffset: this.#queueEnd++ })]);
  }

  recall(one: Expected): void {
    this.open.append("recall", { topicGen: TOPIC_GEN, bodyLogOffset: one.bodyLogOffset });
    one.recalledBefore = this.open.store.log.end;
  }

  /** What is neither revealed nor recalled, in order. */
  pending(): Expected[] {
    return this.expected
      .filter((one) => one.revealedBefore === Infinity && one.recalledBefore === Infinity)
      .toSorted(compareKeys);
  }

  /** Takes what is due, `max` at a time, reveals it, and compares. */
  async fire(max: number): Promise<number> {
    let count = 0;
    for (let turns = 0; turns < 2000; ) {
      const due = this.pending().filter(({ dueAt }) => dueAt <= this.now);
      const taken = this.timers.take(this.now, max);
      assert.deepEqual(
        taken.map(({ bodyLogOffset }) => bodyLogOffset),
        due.slice(0, taken.length).map(({ bodyLogOffset }) => bodyLogOffset),
        "the first ones that are due, in order",
      );
      if (taken.length > 0) this.#reveal(taken);
      this.timers.pass();
      count += taken.length;
      if (taken.length === due.length && this.timers.wakeAt > this.now) return count;
      if (taken.length > 0) continue;
      turns++;
      await Promise.resolve(); // they are being read
    }
    return assert.fail("what is due does not come");
  }

  #reveal(taken: ReturnType<OpenStore["store"]["timers"]["take"]>): void {
    const items = taken.map(({ bodyLogOffset, size, topicGen, queueId, keyHash, tagHash }) => ({
      bodyLogOffset,
      size,
      topicGen,
      queueId,
      queueOffset: this.#queueEnd++,
      keyHash,
      tagHash,
    }));
    this.open.append("reveal", { cause: "due", txnId: undefined, items });
    for (const { bodyLogOffset } of taken) {
      const one = this.expected.find((other) => other.bodyLogOffset === bodyLogOffset);
      assert(one);
      one.revealedBefore = this.open.store.log.end;
    }
  }

  /** All a store can be asked about each timer. */
  async checkStates(): Promise<void> {
    for (const one of this.expected) {
      const state = await this.timers.withState(one, (found) => found);
      const ids = (await this.timers.findIds(stableHash(one.id))).map((key) => key.bodyLogOffset);
      const recalled = one.recalledBefore !== Infinity;
      if (one.revealedBefore !== Infinity) assert.equal(state, "passed");
      else if (!recalled) assert.equal(state, "scheduled");
      else assert(state === "recalled" || state === "passed");
      if (state !== "scheduled") continue;
      assert(this.timers.mayHoldId(stableHash(one.id)));
      assert(ids.includes(one.bodyLogOffset));
    }
  }

  async quiet(): Promise<void> {
    await this.open.settle();
    for (let turns = 0; turns < 3000; turns++) await Promise.resolve();
  }

  async restart(stop: Stop): Promise<void> {
    if (stop === "close") await this.open.store.close();
    const { disk } = this;
    this.disk = stop === "power" ? disk.crash() : disk.clone();
    await this.reopen();
  }

  async reopen(): Promise<void> {
    await this.#start();
    const unexpected = this.open.reports.filter((error) => !(error instanceof DerivedDamage));
    assert.deepEqual(unexpected, []);
    this.#forget(this.open.store.log.end);
  }

  /** What a crash took from the log, it took from the model. */
  #forget(end: number): void {
    this.expected = this.expected.filter(({ bodyLogOffset }) => bodyLogOffset < end);
    for (const one of this.expected) {
      if (one.revealedBefore > end) one.revealedBefore = Infinity;
      if (one.recalledBefore > end) one.recalledBefore = Infinity;
    }
    this.#queueEnd = this.open.store.queues.find(TOPIC_GEN, 0)?.end ?? 0;
  }
}

/** A path of a timer file, or of anything else the disk holds in a folder. */
export async function pathsIn(disk: MemoryDisk, folder: string): Promise<string[]> {
  return (await disk.list(folder)).map((name) => `${folder}/${name}`);
}
