/**
 * Random histories of a broker whose log loses its beginning again and again: after
 * each stretch, the log that is left tells by itself what the snapshot and what
 * follows it tell. And it is stopped in the midst of all that, and goes on from
 * either.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Prng } from "../../storage/base/prng.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { segmentBases } from "../../storage/segment.ts";
import { seeds } from "../effort.ts";
import { GROUP, message, receipts, TOPIC, turn } from "../suites/broker_api_kit.ts";
import { openTestBroker, type TestBroker } from "../suites/open_broker.ts";
import { checkToldAlike } from "./fold_dump.ts";

const HISTORIES = seeds(10);
const STEPS = 350;
const MINUTE_MS = 60_000;
const TOPICS = ["a", "b", "c"] as const;
const GROUPS = ["g", "h"] as const;

class Walk {
  readonly #prng: Prng;
  #broker!: TestBroker;
  #number = 0;
  readonly #receipts: { group: string; receipt: string }[] = [];
  readonly #transactions: string[] = [];
  readonly #scheduled: { topic: string; id: string }[] = [];
  /** How often the log's start was found to have moved. */
  moved = 0;
  #start = 0;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
  }

  get #api() {
    return this.#broker.api;
  }

  async run(): Promise<void> {
    this.#broker = await openTestBroker({ segmentBytes: this.#prng.pick([1024, 4096]) });
    for (let step = 0; step < STEPS; step++) {
      await this.#step().catch((error: unknown) => {
        if (!(error instanceof TidegateError)) throw error; // what is not there is refused
      });
    }
    await this.#check();
    await this.#broker.close();
    await checkToldAlike(this.#broker.disk);
  }

  async #step(): Promise<void> {
    const { groups, topics } = this.#api;
    const topic = this.#prng.pick(TOPICS);
    const group = this.#prng.pick(GROUPS);
    const roll = this.#prng.below(100);
    if (roll < 40) await this.#publish(topic);
    else if (roll < 52) await this.#receive(group);
    else if (roll < 62) await this.#settle();
    else if (roll < 67) await this.#transact(topic);
    else if (roll < 69) await this.#decide();
    else if (roll < 71) await groups.redrive(group, {});
    else if (roll < 72) await groups.purgeDeadLetters(group, {});
    else if (roll < 74) await this.#define(topic, group);
    else if (roll < 75) await topics.delete(topic, { force: true });
    else if (roll < 76) await groups.delete(group);
    else if (roll < 77) await topics.purge(topic);
    else if (roll < 78) await groups.seek(group, { topic, to: { kind: "earliest" } });
    else if (roll < 79) await this.#recall();
    else if (roll < 80) await this.#producerGroup();
    else if (roll < 94) await this.#pass();
    else if (roll < 97) await this.#check();
    else await this.#stop();
  }

  async #publish(topic: string): Promise<void> {
    const id = `${topic}${this.#number++}`;
    const key = this.#prng.chance(40) ? `k${this.#prng.below(3)}` : undefined;
    const delayMs = this.#prng.chance(20) ? this.#prng.below(240 * MINUTE_MS) : undefined;
    if (delayMs !== undefined) this.#scheduled.push({ topic, id });
    const body = new Uint8Array(this.#prng.below(200)).fill(this.#number);
    const producer = this.#prng.chance(10)
      ? { id: `p${this.#prng.below(3)}`, epoch: this.#number, seq: 0 }
      : undefined;
    await this.#api.messages.publish(topic, message(id, { body, key, delayMs, producer }));
  }

  async #receive(group: string): Promise<void> {
    const request = { group, max: 1 + this.#prng.below(8), maxBytes: 1 << 20, waitMs: 0 };
    const leaseMs = this.#prng.pick([MINUTE_MS, 300 * MINUTE_MS]);
    for (const receipt of receipts(await this.#api.groups.receive({ ...request, leaseMs }))) {
      this.#receipts.push({ group, receipt });
    }
  }

  async #settle(): Promise<void> {
    for (let left = this.#prng.below(6); left > 0; left--) {
      const at = this.#prng.below(Math.max(1, this.#receipts.length));
      const [held] = this.#receipts.splice(at, 1);
      if (!held) return;
      const { group, receipt } = held;
      const nothing = { ack: [], release: [], extend: [], reject: [] };
      const delayMs = this.#prng.below(200 * MINUTE_MS);
      const request = this.#prng.pick([
        { ...nothing, ack: [receipt] },
        { ...nothing, release: [{ receipt, delayMs }] },
        { ...nothing, extend: [{ receipt, leaseMs: delayMs + 1 }] },
        { ...nothing, reject: [{ receipt, reason: "bad" }] },
      ]);
      await this.#api.groups.settle(group, request);
    }
  }

  async #transact(topic: string): Promise<void> {
    const messages = Array.from({ length: 1 + this.#prng.below(3) }, () => ({
      topic,
      message: message(`t${this.#number++}`),
    }));
    const { id } = await this.#api.transactions.begin({
      producerGroup: "p",
      messages,
      maxChecks: 0,
    });
    this.#transactions.push(id);
  }

  async #decide(): Promise<void> {
    const at = this.#prng.below(Math.max(1, this.#transactions.length));
    const [id] = this.#transactions.splice(at, 1);
    if (id === undefined) return;
    await this.#api.transactions[this.#prng.pick(["commit", "rollback"] as const)](id);
  }

  async #define(topic: string, group: string): Promise<void> {
    const { groups, topics } = this.#api;
    const queues = 1 + this.#prng.below(3);
    const retention = { timeMs: this.#prng.pick([20, 60]) * MINUTE_MS, bytes: null };
    const filter = this.#prng.chance(20) ? { tag: "x" } : undefined;
    const startFrom = this.#prng.pick(["latest", "earliest"] as const);
    const mode = this.#prng.pick(["concurrent", "ordered"] as const);
    const subscriptions = TOPICS.filter(() => this.#prng.chance(60)).map((one) => ({
      topic: one,
      filter: one === topic ? filter : undefined,
    }));
    const config = { ...GROUP, subscriptions, startFrom, mode, maxAttempts: 3 };
    const action = this.#prng.below(4);
    if (action === 0) await topics.put(topic, { ...TOPIC, queues, retention });
    else if (action === 1) await topics.patch(topic, { retention, description: `${this.#number}` });
    else if (action === 2) await groups.put(group, config);
    else await groups.patch(group, { subscriptions });
  }

  async #producerGroup(): Promise<void> {
    const { producers: producerGroups } = this.#api.transactions;
    const rules = {
      firstCheckMs: 1000 * (1 + this.#number),
      checkIntervalMs: 30_000,
      maxChecks: 1,
    };
    if (this.#prng.chance(30)) await producerGroups.delete("p");
    else if (this.#prng.chance(50)) await producerGroups.put("p", rules);
    else await producerGroups.patch("p", rules);
  }

  async #recall(): Promise<void> {
    const at = this.#prng.below(Math.max(1, this.#scheduled.length));
    const [one] = this.#scheduled.splice(at, 1);
    if (one) await this.#api.messages.recall(one.topic, one.id);
  }

  async #pass(): Promise<void> {
    this.#broker.clock.advance(
      this.#prng.below(this.#prng.pick([1000, MINUTE_MS, 30 * MINUTE_MS])),
    );
    for (let turns = this.#prng.below(40); turns > 0; turns--) await turn();
  }

  async #check(): Promise<void> {
    const [start = 0] = segmentBases(await this.#broker.disk.list("log"));
    if (start > this.#start) this.moved++;
    this.#start = start;
    await checkToldAlike(this.#broker.disk);
  }

  async #stop(): Promise<void> {
    const { disk } = this.#broker;
    const found = this.#prng.chance(50) ? disk.crash() : disk.clone();
    await checkToldAlike(found);
    if (this.#prng.chance(40)) {
      for (const name of await found.list("snapshots")) await found.remove(`snapshots/${name}`);
    }
    this.#broker = await this.#broker.reopen(found);
    assert.deepEqual(this.#api.status().damaged, []);
  }
}

describe("a log that loses its beginning", () => {
  let moved = 0;

  for (const seed of HISTORIES) {
    it(`tells by itself what its snapshot tells, history ${seed}`, {
      timeout: 60_000,
    }, async () => {
      const walk = new Walk(seed);
      await walk.run();
      moved += walk.moved;
    });
  }

  it("did lose its beginning", () => assert(moved > HISTORIES.length, `${moved} times`));
});
