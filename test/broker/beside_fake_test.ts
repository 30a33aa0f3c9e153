/**
 * The real broker beside the fake one: the same calls to both, and the same
 * answers. They keep one contract in two ways that have nothing in common.
 *
 * What the contract leaves open is not compared: in which order queues and ended
 * leases come (receives take all there is), when it is noticed that an attempt
 * was the last (both are asked right after the clock has moved), and what a lag
 * says of messages a filter has not looked at.
 *
 * Replay one failure: SEED=42 bun test ./test/broker/beside_fake_test.ts
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type {
  BrokerApi,
  DeadLetter,
  Delivery,
  GroupPatch,
  SettleResult,
  Start,
  StoredMessage,
  SubscriptionConfig,
} from "../../src/broker/api.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { Prng } from "../../storage/base/prng.ts";
import { seeds } from "../effort.ts";
import { FakeBroker } from "../fakes/broker.ts";
import { GROUP, ids, message, TOPIC } from "../suites/broker_api_kit.ts";
import { openTestBroker, type TestBroker } from "../suites/open_broker.ts";

const STEPS = 300;
const LEASE_MS = 1000;

describe("the real broker beside the fake", () => {
  for (const seed of seeds(18)) {
    it(`answers as it does, seed ${seed}`, { timeout: 60_000 }, async () => {
      const real = await openTestBroker({ segmentBytes: 4096 });
      const pair = new Pair(seed, real);
      await pair.begin(seed % 2 === 0 ? "ordered" : "concurrent");
      for (let step = 0; step < STEPS; step++) await pair.step();
      await pair.close();
    });
  }
});

/** A delivery, with the receipt that each of the two gave for it. */
interface Given {
  readonly id: string;
  readonly real: string;
  readonly fake: string;
}

const TOPICS = ["orders", "bills"];
const FILTERS = [undefined, { tag: "x" }, { sql: "TAGS = 'y'" }];
const ALL = { limit: 1000, maxBytes: 1 << 24 };

class Pair {
  readonly #prng: Prng;
  readonly #fake: FakeBroker;
  #real: TestBroker;
  readonly #filtered: boolean;
  readonly #orders: SubscriptionConfig;
  #given: Given[] = [];
  #published = 0;
  #paused = false;
  /** What was done last, for the message of a failure. */
  #trace: string[] = [];

  constructor(seed: number, real: TestBroker) {
    this.#prng = new Prng(seed);
    this.#real = real;
    this.#fake = new FakeBroker({ now: () => this.#real.clock.now() });
    const filter = FILTERS[seed % FILTERS.length];
    this.#filtered = filter !== undefined;
    this.#orders = filter ? { topic: "orders", filter } : { topic: "orders" };
  }

  async begin(mode: "ordered" | "concurrent"): Promise<void> {
    await this.#both((api) => api.topics.put("orders", { ...TOPIC, queues: 2 }));
    const subscriptions = [this.#orders, { topic: "bills" }];
    const group = { ...GROUP, mode, leaseMs: LEASE_MS, maxAttempts: 3, subscriptions };
    await this.#both((api) => api.groups.put("g", group));
  }

  close(): Promise<void> {
    return this.#real.close();
  }

  async step(): Promise<void> {
    const roll = this.#prng.below(1000);
    if (roll < 220) await this.#publish();
    else if (roll < 430) await this.#receive(this.#prng.pick([undefined, undefined, ...TOPICS]));
    else if (roll < 700) await this.#settle();
    else if (roll < 800) await this.#advance();
    else if (roll < 840) await this.#compare();
    else if (roll < 870) await this.#redrive();
    else if (roll < 890) await this.#purge();
    else if (roll < 920) await this.#seek();
    else if (roll < 960) await this.#patch();
    else if (roll < 975) await this.#pause();
    else if (roll < 980) await this.#both((api) => api.topics.delete("bills"));
    else await this.#restart();
  }

  /** Calls both; undefined when both failed, with the same code. */
  async #both<T>(call: (api: BrokerApi) => Promise<T>): Promise<{ real: T; fake: T } | undefined> {
    const [real, fake] = [await outcome(call(this.#real.api)), await outcome(call(this.#fake))];
    if (!("code" in real) && !("code" in fake)) return { real: real.value, fake: fake.value };
    const [one, other] = [real, fake].map((each) => ("code" in each ? each.code : "no error"));
    assert.equal(one, other, this.#said());
    return undefined;
  }

  async #same<T>(
    call: (api: BrokerApi) => Promise<T>,
    shown: (answer: T) => unknown = (answer) => answer,
  ): Promise<void> {
    const answers = await this.#both(call);
    if (answers) assert.deepEqual(shown(answers.real), shown(answers.fake), this.#said());
  }

  #note(what: string, about: unknown): void {
    this.#trace = [...this.#trace.slice(-40), `${what} ${JSON.stringify(about)}`];
  }

  #said(): string {
    return `after\n${this.#trace.join("\n")}`;
  }

  async #publish(): Promise<void> {
    const topic = this.#prng.chance(70) ? "orders" : "bills";
    const batch = Array.from({ length: 1 + this.#prng.below(4) }, () => {
      const key = this.#prng.pick(["a", "b", "c", "d"]);
      return message(`m${this.#published++}`, { key, tag: this.#prng.pick(["x", "y"]) });
    });
    this.#note("publish", [topic, batch.map(({ id, key, tag }) => `${id} ${key} ${tag}`)]);
    await this.#both((api) => api.messages.publishBatch(topic, batch, { atomic: false }));
  }

  async #receive(topic?: string): Promise<void> {
    const wish = {
      topic,
      leaseMs: this.#prng.pick([200, LEASE_MS, 3000]),
      attemptId: this.#prng.chance(20) ? `attempt-${this.#prng.below(3)}` : undefined,
      consumerId: this.#prng.pick([undefined, "c1", "c2"]),
    };
    const request = { ...wish, group: "g", max: 1000, maxBytes: 1 << 24, waitMs: 0 };
    const answers = await this.#both((api) => api.groups.receive(request));
    this.#note("receive", [wish, answers && ids(answers.real)]);
    if (!answers) return;
    const shown = (all: readonly Delivery[]) =>
      all.map((one) => `${placeOf(one)} ${one.attempt} ${one.leaseUntil}`).toSorted();
    assert.deepEqual(shown(answers.real), shown(answers.fake), this.#said());
    const receipts = new Map(answers.fake.map((one) => [placeOf(one), one.receipt]));
    for (const one of answers.real) {
      const [id = ""] = ids([one]);
      this.#given.push({ id, real: one.receipt, fake: receipts.get(placeOf(one)) ?? "" });
    }
    this.#given = this.#given.slice(-40);
  }

  async #settle(): Promise<void> {
    if (this.#given.length === 0) return;
    const some = Array.from({ length: 1 + this.#prng.below(4) }, () =>
      this.#prng.pick(this.#given),
    );
    const op = this.#prng.pick(["ack", "ack", "ack", "release", "extend", "reject"] as const);
    const delayMs = this.#prng.below(1500);
    const leaseMs = 100 + this.#prng.below(2000);
    const request = (receipts: readonly string[]) => ({
      ack: op === "ack" ? receipts : [],
      release: op === "release" ? receipts.map((receipt) => ({ receipt, delayMs })) : [],
      extend: op === "extend" ? receipts.map((receipt) => ({ receipt, leaseMs })) : [],
      reject: op === "reject" ? receipts.map((receipt) => ({ receipt, reason: "no" })) : [],
    });
    const answers = await this.#both((api) =>
      api.groups.settle("g", request(some.map((one) => one[api === this.#fake ? "fake" : "real"]))),
    );
    this.#note(op, [some.map(({ id }) => id), answers?.real.map(({ status }) => status)]);
    for (const [i, real] of answers?.real.entries() ?? []) {
      const fake = answers?.fake[i] ?? assert.fail("one result per receipt");
      assert(areEqual(op, { real, fake }), `${real.status}, ${fake.status} ${this.#said()}`);
    }
  }

  /** Both notice at once what has ended. */
  async #advance(): Promise<void> {
    if (this.#paused) return;
    const ms = this.#prng.below(LEASE_MS);
    this.#note("advance", ms);
    this.#real.clock.advance(ms);
    await this.#receive();
  }

  async #compare(): Promise<void> {
    const peeked = (all: readonly (StoredMessage & { attempt: number })[]) =>
      all.map((one) => `${placeOf(one)} ${one.attempt}`).toSorted();
    if (!this.#paused) await this.#same((api) => api.groups.peek("g", ALL), peeked);
    await this.#same(
      (api) => api.groups.deadLetters("g", ALL),
      ({ deadLetters, next }) => [next, deadLetters.map(showDead).toSorted()],
    );
    await this.#same((api) => api.groups.consumers("g"));
    await this.#same(
      (api) => api.groups.get("g"),
      ({ paused, mode, maxAttempts }) => [paused, mode, maxAttempts],
    );
    if (this.#filtered) return;
    await this.#same(
      (api) => api.groups.lag("g"),
      ({ topics }) => new Map(topics.map((one) => [one.topic, one])),
    );
  }

  #someIds(percent: number): { ids?: readonly string[] } {
    if (this.#prng.chance(40)) return {};
    return { ids: this.#given.map(({ id }) => id).filter(() => this.#prng.chance(percent)) };
  }

  async #redrive(): Promise<void> {
    const choice = this.#someIds(30);
    this.#note("redrive", choice);
    await this.#same((api) => api.groups.redrive("g", choice));
  }

  async #purge(): Promise<void> {
    const choice = this.#someIds(30);
    this.#note("purge", choice);
    await this.#same((api) => api.groups.purgeDeadLetters("g", choice));
  }

  async #seek(): Promise<void> {
    // What is dead and, by the replay, alive again has cases of its own in the suite.
    await this.#both((api) => api.groups.purgeDeadLetters("g", {}));
    const topic = this.#prng.pick(TOPICS);
    const to: Start = this.#prng.pick([
      { kind: "earliest" },
      { kind: "latest" },
      { kind: "time", time: this.#real.clock.now() - this.#prng.below(3000) },
    ]);
    this.#note("seek", [topic, to]);
    await this.#same((api) => api.groups.seek("g", { topic, to }));
  }

  async #patch(): Promise<void> {
    const changes: GroupPatch[] = [
      { maxAttempts: 1 + this.#prng.below(4) },
      { mode: this.#prng.pick(["ordered", "concurrent"]) },
      { subscriptions: [this.#orders, { topic: "bills" }] },
      { subscriptions: [this.#orders] },
    ];
    const change = this.#prng.pick(changes);
    this.#note("patch", change);
    await this.#both((api) => api.groups.patch("g", change));
    await this.#receive();
  }

  async #pause(): Promise<void> {
    this.#paused = !this.#paused;
    const verb = this.#paused ? "pause" : "resume";
    this.#note(verb, "g");
    await this.#both((api) => api.groups[verb]("g"));
  }

  async #restart(): Promise<void> {
    const { disk } = this.#real;
    this.#note("restart", "");
    this.#real = await this.#real.reopen(this.#prng.chance(50) ? disk.crash() : disk.clone());
    await this.#receive();
  }
}

async function outcome<T>(call: Promise<T>): Promise<{ value: T } | { code: string }> {
  try {
    return { value: await call };
  } catch (error) {
    if (error instanceof TidegateError) return { code: error.code };
    throw error;
  }
}

/** Acking what is done, or rejecting what is dead, does nothing; and `invalid` says no more than `lost`. */
function areEqual(
  op: string,
  { real, fake }: { real: SettleResult; fake?: SettleResult },
): boolean {
  if (real.status === fake?.status && real.leaseUntil === fake.leaseUntil) return true;
  const idle = real.status === "ok" && (op === "ack" || op === "reject");
  return fake?.status === "lost" && (idle || real.status === "invalid");
}

function placeOf(one: StoredMessage): string {
  return `${one.topic} ${one.queueId}:${one.queueOffset} ${ids([one])[0]}`;
}

function showDead({ message: one, cause, reason, attempts }: DeadLetter): string {
  return `${one && placeOf(one)} ${cause} ${reason} ${attempts}`;
}
