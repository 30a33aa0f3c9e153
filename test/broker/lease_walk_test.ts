/**
 * A long walk of a consumer group beside its model (lease_model.ts): publishes,
 * receives, settles of fresh and stale receipts, aborts, changes of the rules,
 * time; and in between the broker is killed, loses power or is closed, and goes
 * on as if nothing had been.
 *
 * Replay one: SEED=42 bun test ./test/broker/lease_walk_test.ts
 *
 * @module
 */

import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import type { Backoff, Filter, GroupConfig, NewMessage, Start } from "../../src/broker/api.ts";
import { backoffMs } from "../../src/broker/settle.ts";
import { Prng } from "../../storage/base/prng.ts";
import { isWhole, runs } from "../effort.ts";
import { GROUP, message, TOPIC, turn } from "../suites/broker_api_kit.ts";
import { openTestBroker, type TestBroker } from "../suites/open_broker.ts";
import { type Entry, LeaseModel, type Op } from "./lease_model.ts";

const STEPS = runs(8_000);
const BACKOFF: Backoff = { initialMs: 50, multiplier: 3, maxMs: 2000 };
const LEASE_MS = 1000;
const ALL = 1000;

/** What a group may be, and which of the published messages it wants. */
interface Kind {
  readonly name: string;
  readonly config: Partial<GroupConfig>;
  wants(message: NewMessage): boolean;
}

const orders = (filter: Filter) => ({ subscriptions: [{ topic: "orders", filter }] });
const isTagged = ({ tag }: NewMessage) => tag === "a" || tag === "b";

const KINDS: readonly Kind[] = [
  { name: "concurrent", config: {}, wants: () => true },
  { name: "ordered", config: { mode: "ordered" }, wants: () => true },
  { name: "filtered by tag", config: orders({ tag: "a || b" }), wants: isTagged },
  {
    name: "ordered and filtered by SQL",
    config: { mode: "ordered", ...orders({ sql: "TAGS = 'c' AND n > 3" }) },
    wants: ({ tag, properties }) => tag === "c" && Number(properties?.[0]?.[1]) > 3,
  },
];

const SIGHTS = [
  "kill",
  "crash",
  "close",
  "given back",
  "peeked",
  "sent back",
  "sought",
  "attempts used up",
  "an attempt repeated",
  "a message delivered again",
  "not all that was ready",
  ...["ack", "release", "extend", "reject"].flatMap((op) => [
    `${op} ok`,
    `${op} late`,
    `${op} lost`,
  ]),
];

class Walk {
  readonly #prng: Prng;
  readonly #kind: Kind;
  readonly #model: LeaseModel;
  #broker: TestBroker;
  #queues = 3;
  #published = 0;
  /** Some young positions. */
  readonly #cursors: { text: string; queueId: number; position: number }[] = [];

  static async begin(seed: number, kind: Kind): Promise<Walk> {
    const broker = await openTestBroker({ chance: new Prng(seed + 1) });
    const walk = new Walk(seed, { broker, kind });
    await broker.api.topics.put("orders", { ...TOPIC, queues: walk.#queues });
    const { maxAttempts, maxInFlight } = walk.#model.rules;
    const config = { ...GROUP, leaseMs: LEASE_MS, backoff: BACKOFF, maxAttempts, maxInFlight };
    await broker.api.groups.put("g", { ...config, ...kind.config });
    return walk;
  }

  private constructor(seed: number, { broker, kind }: { broker: TestBroker; kind: Kind }) {
    const ordered = kind.config.mode === "ordered";
    const scouted = ordered || kind.config.subscriptions !== undefined;
    this.#prng = new Prng(seed);
    this.#kind = kind;
    this.#model = new LeaseModel({ maxAttempts: 4, maxInFlight: 30, ordered, scouted });
    this.#broker = broker;
  }

  get #now(): number {
    return this.#broker.clock.now();
  }

  async step(): Promise<void> {
    const roll = this.#prng.below(1000);
    if (roll < 180) await this.#publish();
    else if (roll < 480) await this.#receive();
    else if (roll < 800) await this.#settle();
    else if (roll < 930) this.#broker.clock.advance(this.#prng.below(LEASE_MS));
    else if (roll < 950) await this.#abort();
    else if (roll < 965) await this.#receiveLittle();
    else if (roll < 970) await this.#redrive();
    else if (roll < 972) await this.#seek();
    else if (roll < 985) await this.#compareLag();
    else if (roll < 990) await this.#patch();
    else if (roll < 996) await this.#peek();
    else await this.#restart();
  }

  async #publish(): Promise<void> {
    const batch = Array.from({ length: 1 + this.#prng.below(4) }, () =>
      message(`m${this.#published++}`, {
        tag: this.#prng.pick(["a", "b", "c"]),
        properties: [["n", String(this.#prng.below(10))]],
        ...(this.#prng.chance(50) && { key: `k${this.#prng.below(5)}` }),
      }),
    );
    const atomic = this.#prng.chance(50);
    const results = await this.#broker.api.messages.publishBatch("orders", batch, { atomic });
    for (const [i, one] of results.entries()) {
      assert(!(one instanceof Error) && !one.state, "what fits is stored");
      const sent = batch[i] as NewMessage;
      const { queueId, queueOffset, cursor } = one;
      this.#cursors[this.#prng.below(8)] = { text: cursor, queueId, position: queueOffset + 1 };
      this.#model.published({ ...one, key: sent.key, wanted: this.#kind.wants(sent) });
    }
  }

  async #receive(): Promise<void> {
    const attemptId = this.#prng.chance(40) ? `attempt-${this.#prng.below(6)}` : undefined;
    const max = 1 + this.#prng.below(8);
    const leaseMs = this.#prng.chance(50) ? LEASE_MS : 100 + this.#prng.below(2 * LEASE_MS);
    const now = this.#now;
    const wish = { group: "g", maxBytes: 1 << 20, waitMs: 0 };
    const got = await this.#broker.api.groups.receive({ ...wish, max, leaseMs, attemptId });
    this.#model.received(got, { now, max, leaseMs, attemptId });
  }

  /** What the model goes through has no place for it: nothing may change by looking. */
  async #peek(): Promise<void> {
    const wish = { limit: 1 + this.#prng.below(8), maxBytes: 1 << 20 };
    const now = this.#now;
    const peeked = await this.#broker.api.groups.peek("g", wish);
    this.#model.notice(now);
    const ready = new Set<string>();
    for (const { queueId, queueOffset, state, until } of this.#model.open) {
      if (state === "new" || until <= now) ready.add(`${queueId}:${queueOffset}`);
    }
    for (const { queueId, queueOffset } of peeked) {
      assert(ready.has(`${queueId}:${queueOffset}`), `peeked at ${queueId}:${queueOffset}`);
    }
    if (peeked.length > 0) this.#model.seen.add("peeked");
  }

  /** Bodies beyond maxBytes go back. */
  async #receiveLittle(): Promise<void> {
    if (!this.#hasRoomForAll()) return;
    const now = this.#now;
    const wish = { group: "g", max: ALL, maxBytes: 1, waitMs: 0 };
    const got = await this.#broker.api.groups.receive(wish);
    await turn(); // what went back is not waited for
    assert(got.length <= 1);
    const before = this.#model.rules.maxInFlight;
    this.#model.notice(now);
    this.#model.rules.maxInFlight = this.#model.live(now).length + got.length;
    this.#model.received(got, { now, max: ALL, leaseMs: LEASE_MS, attemptId: undefined });
    this.#model.rules.maxInFlight = before;
    this.#model.grantedAndGivenBack(now);
  }

  async #abort(): Promise<void> {
    if (!this.#hasRoomForAll()) return;
    const abort = new AbortController();
    const wish = { group: "g", max: ALL, maxBytes: 1 << 20, waitMs: 0 };
    const gone = this.#broker.api.groups.receive(wish, { signal: abort.signal });
    abort.abort();
    assert.deepEqual(await gone, []);
    await turn();
    this.#model.notice(this.#now);
    this.#model.grantedAndGivenBack(this.#now);
  }

  /** Or it would not be known which ones went back. */
  #hasRoomForAll(): boolean {
    const { rules, open } = this.#model;
    const grantable = this.#model.grantable(this.#now);
    return rules.maxInFlight >= open.size && this.#model.turns(grantable) === grantable.length;
  }

  /** Receipts of all ages, the youngest most often, some of them twice. */
  async #settle(): Promise<void> {
    const known = this.#model.given;
    if (known.length === 0) return;
    const pick = () =>
      this.#prng.chance(80)
        ? (known.at(-1 - this.#prng.below(Math.min(known.length, 20))) as string)
        : this.#prng.pick(known);
    const picks = (most: number) => Array.from({ length: this.#prng.below(most) }, pick);
    const ms = () => this.#prng.below(LEASE_MS);
    const request = {
      ack: picks(4),
      release: picks(3).map((receipt) => {
        return this.#prng.chance(50) ? { receipt } : { receipt, delayMs: ms() };
      }),
      extend: picks(3).map((receipt) => ({ receipt, leaseMs: 100 + ms() })),
      reject: this.#prng.chance(10) ? picks(2).map((receipt) => ({ receipt })) : [],
    };
    const now = this.#now;
    const results = await this.#broker.api.groups.settle("g", request);
    const expected: unknown[] = [];
    const judge = (receipt: string, op: Op, wait: number) => {
      const status = this.#model.settle(receipt, { op, now, ms: wait });
      const extended = op === "extend" && (status === "ok" || status === "late");
      expected.push(extended ? { receipt, status, leaseUntil: now + wait } : { receipt, status });
    };
    for (const receipt of request.ack) judge(receipt, "ack", 0);
    for (const { receipt, delayMs } of request.release) {
      const { attempt, queueOffset } = this.#model.receipts.get(receipt) as Entry;
      judge(receipt, "release", delayMs ?? backoffMs(BACKOFF, { attempt, queueOffset }));
    }
    for (const { receipt, leaseMs } of request.extend) judge(receipt, "extend", leaseMs);
    for (const { receipt } of request.reject) judge(receipt, "reject", 0);
    assert.deepEqual(results, expected);
  }

  async #redrive(): Promise<void> {
    const { groups } = this.#broker.api;
    const page = { limit: 1000, maxBytes: 1 << 24 };
    this.#model.notice(this.#now);
    const { deadLetters, next } = await groups.deadLetters("g", page);
    const place = (one: { queueId: number; queueOffset: number }) =>
      `${one.queueId}:${one.queueOffset}`;
    const letters = this.#model.letters();
    assert.equal(next, undefined);
    assert.deepEqual(deadLetters.map(place).sort(), letters.map(place).sort());
    const some = letters.filter(() => this.#prng.chance(50));
    const ids = some.map(({ id }) => id);
    const roll = this.#prng.below(4);
    if (roll < 2) {
      assert.equal(await groups.redrive("g", { ids }), ids.length);
      this.#model.redriven(some);
    } else if (roll === 2) {
      assert.equal(await groups.redrive("g", {}), letters.length);
      this.#model.redriven(letters);
    } else {
      assert.equal(await groups.purgeDeadLetters("g", { ids }), ids.length);
      for (const letter of some) letter.listed = false;
    }
  }

  /** Mostly a little back or forth, or what is open grows without end. */
  async #seek(): Promise<void> {
    const { groups, topics } = this.#broker.api;
    const { endOffsets } = await topics.get("orders");
    const roll = this.#prng.below(10);
    const kind = roll === 0 && this.#published < 1000 ? "earliest" : "latest";
    const cursor = this.#prng.pick(this.#cursors.filter(Boolean));
    const to: Start = roll < 3 ? { kind } : { kind: "cursor", cursor: cursor.text };
    const queues = await groups.seek("g", { topic: "orders", to });
    const all = endOffsets.map((end, queueId) => ({
      queueId,
      position: kind === "latest" ? end : 0,
    }));
    const { queueId, position } = cursor;
    assert.deepEqual(queues, roll < 3 ? all : [{ queueId, position }]);
    for (const one of queues) this.#model.sought(one.queueId, one.position);
    this.#model.seen.add("sought");
  }

  async #compareLag(): Promise<void> {
    if (this.#kind.config.subscriptions) return; // what a filter passes over is not known before it does
    const { topics } = await this.#broker.api.groups.lag("g");
    for (const { queueId, committedOffset, endOffset, ready, leased } of topics[0]?.queues ?? []) {
      const expected = this.#model.lag(queueId, this.#now);
      assert.deepEqual({ committedOffset, endOffset, ready, leased }, expected, `queue ${queueId}`);
    }
  }

  async #patch(): Promise<void> {
    const { rules } = this.#model;
    if (this.#prng.chance(20) && this.#queues < 8) {
      await this.#broker.api.topics.patch("orders", { queues: ++this.#queues });
    } else if (this.#prng.chance(50)) {
      rules.maxAttempts = 2 + this.#prng.below(5);
    } else {
      rules.maxInFlight = this.#prng.pick([3, 30, 500]);
    }
    const { maxAttempts, maxInFlight } = rules;
    await this.#broker.api.groups.patch("g", { maxAttempts, maxInFlight });
  }

  async #restart(): Promise<void> {
    const how = this.#prng.pick(["kill", "crash", "close"] as const);
    this.#model.seen.add(how);
    if (how === "close") await this.#broker.close();
    const { disk } = this.#broker;
    this.#broker = await this.#broker.reopen(how === "crash" ? disk.crash() : disk.clone());
  }

  /** In the end every message is done or dead. */
  async finish(): Promise<void> {
    await this.#broker.api.groups.patch("g", { maxInFlight: 500 });
    this.#model.rules.maxInFlight = 500;
    while (this.#model.open.size > 0) {
      this.#broker.clock.advance(3 * LEASE_MS);
      const now = this.#now;
      const wish = { group: "g", max: ALL, maxBytes: 1 << 24, waitMs: 0 };
      const got = await this.#broker.api.groups.receive(wish);
      this.#model.received(got, { now, max: ALL, leaseMs: LEASE_MS, attemptId: undefined });
      const ack = got.map(({ receipt }) => receipt);
      for (const receipt of ack) this.#model.settle(receipt, { op: "ack", now, ms: 0 });
      await this.#broker.api.groups.settle("g", { ack, release: [], extend: [], reject: [] });
    }
    await this.#compareLag();
    await this.#broker.close();
    const missed = SIGHTS.filter((sight) => !this.#model.seen.has(sight));
    if (isWhole) assert.deepEqual(missed, [], "the walk went everywhere");
  }
}

describe("a consumer group beside its model", () => {
  const { SEED } = process.env;
  for (const [i, kind] of KINDS.entries()) {
    const seed = SEED === undefined ? i + 1 : Number(SEED);
    const title = `${kind.name}, keeps to it for ${STEPS} steps, SEED=${seed}`;
    it(title, { timeout: 90_000 }, async () => {
      const walk = await Walk.begin(seed, kind);
      for (let step = 0; step < STEPS; step++) {
        await walk.step().catch((error: unknown) => {
          const where = `SEED=${seed}, step ${step}: ${(error as Error).message}`;
          throw new Error(where, { cause: error });
        });
      }
      await walk.finish();
    });
  }
});
