/**
 * Random histories of a group of two: its members lose power, follow again, lead, fall
 * behind and come back with more than the other has. Whoever leads goes on where the
 * other stopped; and whenever all is confirmed, both hold the same log, and tell of it
 * the same.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TidegateError } from "../../storage/base/errors.ts";
import { Prng } from "../../storage/base/prng.ts";
import { SEGMENT_HEADER_SIZE, segmentBases, segmentPath } from "../../storage/segment.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { sampled, seeds } from "../effort.ts";
import { GROUP, ids, message, readAll, receipts, TOPIC, turn } from "../suites/broker_api_kit.ts";
import { ReplicatedPair } from "../suites/replicated_pair.ts";
import { checkMembersAlike } from "./fold_dump.ts";

const HISTORIES = 10;
const STEPS = 160;
const SECOND_MS = 1000;
const GROUPS = ["g", "h"] as const;
/** Nothing of it expires. */
const KEPT = "kept";
/** All of it does soon, and its idempotency keys are remembered. */
const KEYED = "keyed";

const SIGHTS = [
  "led",
  "cut",
  "followed again",
  "unknown",
  "trimmed",
  "joined late",
  "led having joined late",
  "answered by a key of before",
] as const;
const seen = new Set<(typeof SIGHTS)[number]>();

class Walk {
  readonly #prng: Prng;
  readonly #segmentBytes: number;
  #pair!: ReplicatedPair;
  #number = 0;
  /** Answered, by idempotency key. */
  readonly #answers = new Map<string, unknown>();
  readonly #stored = new Set<string>();
  readonly #maybe = new Set<string>();
  readonly #receipts: { group: string; receipt: string; at: number }[] = [];
  readonly #transactions: string[] = [];
  /** The follower began where the log did, and has not been level with the leader since. */
  #joining = false;
  #joinedLate = new Set<MemoryDisk>();

  constructor(seed: number) {
    this.#prng = new Prng(seed);
    this.#segmentBytes = this.#prng.pick([1024, 4096, 16_384]);
  }

  get #api() {
    return this.#pair.broker.api;
  }

  async run(): Promise<void> {
    const chance = this.#prng;
    this.#pair = await ReplicatedPair.open({ segmentBytes: this.#segmentBytes, chance });
    const config = { ...TOPIC, retention: { timeMs: null, bytes: null } };
    await this.#api.topics.put(KEPT, config);
    for (const name of ["a", "b", KEYED]) await this.#api.topics.put(name, SHORT);
    for (const name of GROUPS) {
      const subscriptions = [{ topic: KEPT }, { topic: "a" }];
      await this.#api.groups.put(name, { ...GROUP, subscriptions, leaseMs: 20_000 });
    }
    for (let step = 0; step < STEPS; step++) {
      await this.#step().catch((error: unknown) => {
        if (!(error instanceof TidegateError)) throw error;
      });
    }
    await this.#check();
    await this.#readBack();
    await this.#pair.broker.close();
    await this.#pair.follower.close();
  }

  async #step(): Promise<void> {
    const roll = this.#prng.below(100);
    if (roll < 40) await this.#publish();
    else if (roll < 50) await this.#receive();
    else if (roll < 60) await this.#settle();
    else if (roll < 66) await this.#transact();
    else if (roll < 68) await this.#decide();
    else if (roll < 78) await this.#pass();
    else if (roll < 80) this.#pair.maxBytes = this.#prng.pick([1, 500, 5000, 1 << 20]);
    else if (roll < 84) await this.#check();
    else if (roll < 87) await this.#restartFollower();
    else if (roll < 89) await this.#joinAgain();
    else if (roll < 92) await this.#fail();
    else await this.#partAndFail();
  }

  async #publish(): Promise<void> {
    const key = this.#prng.chance(50) ? `i${this.#prng.below(40)}` : undefined;
    const id = key ?? `m${this.#number++}`;
    const keyed = Number(key?.slice(1)) < 30 ? KEYED : KEPT;
    const topic = key === undefined && this.#prng.chance(40) ? "a" : key ? keyed : KEPT;
    const delayMs =
      key === undefined && this.#prng.chance(25) ? this.#prng.below(60_000) : undefined;
    const body = new Uint8Array(key === undefined ? this.#prng.below(300) : 20).fill(7);
    const wish = message(id, { body, delayMs, ...(key !== undefined && { idempotencyKey: key }) });
    this.#maybe.add(id);
    const published = await this.#api.messages.publish(topic, wish);
    const answer = { ...published, replayed: undefined };
    if (topic === KEPT) this.#stored.add(id);
    if (key === undefined) return;
    const first = this.#answers.get(key);
    if (first && topic === KEYED && this.#pair.leader.start > 0) {
      if (this.#joinedLate.has(this.#pair.leader.disk)) seen.add("answered by a key of before");
    }
    if (first) assert.deepEqual(answer, first, `the first answer of ${key}`);
    this.#answers.set(key, answer);
  }

  async #receive(): Promise<void> {
    const group = this.#prng.pick(GROUPS);
    const request = { group, max: 1 + this.#prng.below(6), maxBytes: 1 << 20, waitMs: 0 };
    const at = this.#pair.clock.now();
    for (const receipt of receipts(await this.#api.groups.receive(request))) {
      this.#receipts.push({ group, receipt, at });
    }
  }

  async #settle(): Promise<void> {
    const held = this.#receipts.splice(this.#prng.below(Math.max(1, this.#receipts.length)), 1)[0];
    if (!held) return;
    const { group, receipt, at } = held;
    const nothing = { ack: [], release: [], extend: [], reject: [] };
    const request = this.#prng.pick([
      { ...nothing, ack: [receipt] },
      { ...nothing, release: [{ receipt, delayMs: 1000 }] },
      { ...nothing, reject: [{ receipt, reason: "bad" }] },
    ]);
    const [result] = await this.#api.groups.settle(group, request);
    const lives = this.#pair.clock.now() - at < 15_000;
    if (lives) assert.equal(result?.status, "ok", "a lease outlives whoever gave it");
  }

  async #transact(): Promise<void> {
    const messages = Array.from({ length: 1 + this.#prng.below(3) }, () => ({
      topic: "b",
      message: message(`t${this.#number++}`),
    }));
    const { id } = await this.#api.transactions.begin({ producerGroup: "p", messages });
    this.#transactions.push(id);
  }

  async #decide(): Promise<void> {
    const [id] = this.#transactions.splice(0, 1);
    if (id !== undefined)
      await this.#api.transactions[this.#prng.pick(["commit", "rollback"] as const)](id);
  }

  async #pass(): Promise<void> {
    this.#pair.clock.advance(this.#prng.below(this.#prng.pick([100, SECOND_MS, 60 * SECOND_MS])));
    for (let turns = this.#prng.below(30); turns > 0; turns--) await turn();
  }

  #left({ disk }: { readonly disk: MemoryDisk }): MemoryDisk {
    return this.#prng.chance(50) ? disk.crash() : disk.clone();
  }

  async #restartFollower(): Promise<void> {
    const { follower } = this.#pair;
    if (this.#prng.chance(50)) {
      await this.#pair.part();
      await follower.close();
    }
    await this.#pair.restartFollower(this.#left(follower));
    seen.add("followed again");
  }

  /** The follower's disk is another, or what it has is of no use. */
  async #joinAgain(): Promise<void> {
    const { leader, follower } = this.#pair;
    if (leader.start === 0) return;
    const disk = this.#prng.chance(50) ? new MemoryDisk(this.#prng.word()) : this.#left(follower);
    await this.#pair.replaceFollower(disk);
    this.#joinedLate.add(disk);
    this.#joining = true;
    seen.add("joined late");
  }

  async #fail(): Promise<void> {
    await this.#pair.settle();
    this.#joining = false;
    const { disk } = this.#pair.follower;
    if (this.#joinedLate.has(disk)) seen.add("led having joined late");
    await this.#pair.fail(this.#left(this.#pair.leader));
    seen.add("led");
  }

  /** The leader goes on by itself for a while, and what it appends then is nobody's. */
  async #partAndFail(): Promise<void> {
    if (this.#joining) return this.#fail(); // it counts once it has all that is confirmed
    const { leader } = this.#pair;
    await this.#pair.part();
    const unanswered: Promise<unknown>[] = [];
    for (let left = this.#prng.below(6); left > 0; left--) {
      const id = `u${this.#number++}`;
      this.#maybe.add(id);
      unanswered.push(this.#api.messages.publish(KEPT, message(id)));
    }
    for (let turns = this.#prng.below(3); turns > 0; turns--) await turn();
    let answered = 0;
    for (const one of unanswered)
      void one.then(
        () => answered++,
        () => {},
      );
    if (this.#prng.chance(50)) {
      this.#pair.join();
      await Promise.allSettled(unanswered);
      return;
    }
    const before = leader.log.confirmOffset;
    const isLonger = leader.durableEnd > this.#pair.follower.end;
    const disk = this.#left(leader);
    if (this.#prng.chance(50)) {
      await this.#pair.broker.close();
      for (const one of unanswered) await assert.rejects(one, { code: "outcome-unknown" });
      if (unanswered.length > 0) seen.add("unknown");
    }
    await this.#pair.fail(disk);
    assert.equal(answered, 0, "nothing is answered that is not confirmed");
    assert(this.#pair.leader.end >= before, "what was confirmed is there");
    if (isLonger) seen.add("cut");
  }

  /** With all confirmed, for long enough to be known on disk. */
  async #check(): Promise<void> {
    const { leader, follower, clock } = this.#pair;
    let end = -1;
    await this.#pair.settle();
    for (let tries = 0; tries < 50 && end !== leader.end; tries++) {
      end = leader.end;
      clock.advance(1001);
      for (let turns = 0; turns < 20; turns++) await turn();
      await this.#pair.settle();
    }
    if (end !== leader.end) return;
    checkSameBytes(leader.disk, follower.disk);
    await checkMembersAlike([leader.disk, follower.disk]);
    if (follower.start > 0) seen.add("trimmed");
  }

  async #readBack(): Promise<void> {
    this.#pair.clock.advance(120 * SECOND_MS); // all that is delayed is due
    for (let turns = 0; turns < 100; turns++) await turn();
    await this.#pair.settle();
    const all = ids(await readAll(this.#api, { topic: KEPT }));
    assert.equal(new Set(all).size, all.length, "each is stored once");
    for (const id of this.#stored) assert(all.includes(id), `${id} was answered`);
    for (const id of all) assert(this.#maybe.has(id), `${id} was published`);
  }
}

const SHORT = { ...TOPIC, retention: { timeMs: 30 * SECOND_MS, bytes: null } };

/** Where both have it. */
function checkSameBytes(a: MemoryDisk, b: MemoryDisk): void {
  const [one, other] = [bytesOf(a), bytesOf(b)];
  const start = Math.max(one.start, other.start);
  const end = Math.min(one.end, other.end);
  assert(end > start, "there is something to compare");
  const sameOf = ({ start: from, bytes }: ReturnType<typeof bytesOf>) =>
    Buffer.from(bytes.subarray(start - from, end - from));
  assert(sameOf(one).equals(sameOf(other)), "the logs are the same, byte for byte");
}

function bytesOf(disk: MemoryDisk): { start: number; end: number; bytes: Uint8Array } {
  const bases = segmentBases(disk.names("log"));
  const [start = 0] = bases;
  const parts = bases.map((base, i) => {
    const file = disk.bytes(segmentPath(base)).subarray(SEGMENT_HEADER_SIZE);
    return file.subarray(0, (bases[i + 1] ?? Infinity) - base);
  });
  const bytes = Buffer.concat(parts);
  return { start, end: start + bytes.length, bytes };
}

describe("a group of two", () => {
  for (const seed of seeds(HISTORIES)) {
    it(`goes on where the other stopped, history ${seed}`, { timeout: 60_000 }, () =>
      new Walk(seed).run(),
    );
  }

  it("went through all of it", { skip: sampled }, () => {
    assert.deepEqual(
      SIGHTS.filter((sight) => !seen.has(sight)),
      [],
    );
  });
});
