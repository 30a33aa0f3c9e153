/**
 * Streams of leases under every order of events: one seed is one history.
 *
 * Goal: every message is settled in the end, whatever becomes of connections; no
 * message is with two consumers at a time; none has more than its credit; who comes
 * back gets what it holds, under the same receipts. Method: publish, connect, cut,
 * pause and resume streams, settle, and let leases end, in seeded order; then let
 * everybody stay and work until nothing is left.
 *
 * Replay one failure: SEED=42 bun test ./test/gateway/lease_stream_property_test.ts
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ConsumerStreams } from "../../src/gateway/lease_streams.ts";
import { Streams } from "../../src/gateway/streams.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { Prng } from "../../storage/base/prng.ts";
import { seeds } from "../effort.ts";
import { FakeBroker } from "../fakes/broker.ts";
import { StreamReader, turn } from "../fakes/stream_reader.ts";

const STEPS = 300;
const LEASE_MS = 20_000;
const GROUP = "billing";

describe("ConsumerStreams, in any order of events", () => {
  for (const seed of seeds(60)) {
    it(`loses no message and gives none to two, seed ${seed}`, () => simulate(seed));
  }
});

async function simulate(seed: number): Promise<void> {
  const world = new World(new Prng(seed));
  await world.open();
  for (let step = 0; step < STEPS; step++) await world.step();
  await world.finish();
  assert(world.published > 0, "the history is not empty");
  assert.equal(world.done.size, world.published);
}

interface Lease {
  readonly n: number;
  readonly receipt: string;
  readonly attempt: number;
  readonly until: number;
}

class World {
  readonly clock = new ManualClock(1_000_000);
  readonly broker = new FakeBroker({ now: () => this.clock.now() });
  readonly leases: ConsumerStreams;
  readonly done = new Set<number>();
  published = 0;
  readonly #prng: Prng;
  readonly #large: number;
  readonly #consumers: readonly Consumer[];

  constructor(prng: Prng) {
    this.#prng = prng;
    this.#large = prng.pick([0, 0, 20]);
    const after = (delayMs: number, run: () => void) => this.clock.after(delayMs, run);
    const report = (error: unknown) => assert.fail(String(error));
    const streams = new Streams({ after, random: () => prng.below(100) / 100 });
    this.leases = new ConsumerStreams({ groups: this.broker.groups, streams, after, report });
    this.#consumers = ["u", "v", "w"].map(
      (id) => new Consumer(this, { id, max: 1 + prng.below(6) }),
    );
  }

  async open(): Promise<void> {
    const backoff = { initialMs: 1000, multiplier: 2, maxMs: 1000 };
    const config = { leaseMs: LEASE_MS, maxAttempts: 1000, maxInFlight: 10_000, backoff };
    const subscriptions = [{ topic: "orders" }];
    const how = { mode: "concurrent", startFrom: "earliest" } as const;
    await this.broker.groups.put(GROUP, { ...config, ...how, subscriptions });
  }

  async step(): Promise<void> {
    const prng = this.#prng;
    const consumer = prng.pick(this.#consumers);
    const roll = prng.below(100);
    if (roll < 30) await this.#publish();
    else if (roll < 50) consumer.connect();
    else if (roll < 60) consumer.disturb(prng);
    else if (roll < 90) await consumer.settle(prng);
    else await this.#advance(prng.below(prng.chance(20) ? 2 * LEASE_MS : 2000));
    if (prng.chance(80)) await turn();
    this.#check();
  }

  /** Everybody stays and works until nothing is left. */
  async finish(): Promise<void> {
    for (let round = 0; round < 2000 && this.done.size < this.published; round++) {
      for (const consumer of this.#consumers) {
        consumer.connect();
        consumer.calm();
        await consumer.ackAll();
      }
      await this.#advance(round % 10 === 0 ? 1000 : 10);
      for (let i = 0; i < 3; i++) await turn();
      this.#check();
    }
    await Promise.all(this.#consumers.map((consumer) => consumer.leave()));
    await this.leases.finished();
  }

  async #publish(): Promise<void> {
    const pad = this.#prng.chance(this.#large) ? "x".repeat(this.#prng.below(80_000)) : "";
    const n = this.published++;
    const body = new TextEncoder().encode(JSON.stringify({ n, pad }));
    const message = { id: `m${n}`, contentType: "application/json", body };
    await this.broker.messages.publish("orders", message);
  }

  /** The broker in memory has no timers: it looks again when it is told to. */
  async #advance(ms: number): Promise<void> {
    this.clock.advance(ms);
    await this.broker.groups.settle(GROUP, { ack: [], release: [], extend: [], reject: [] });
  }

  #check(): void {
    const holder = new Map<number, string>();
    for (const { id, max, live } of this.#consumers) {
      assert(live.length <= max, `${id} has ${live.length} of ${max}`);
      for (const { n } of live) {
        assert.equal(holder.get(n), undefined, `${n} is with ${holder.get(n)} and ${id}`);
        holder.set(n, id);
      }
    }
  }
}

interface Connection {
  readonly abort: AbortController;
  reader?: StreamReader;
  /** How many of its events were looked at. */
  read: number;
}

class Consumer {
  readonly id: string;
  readonly max: number;
  readonly #world: World;
  /** By message: what it was given last. */
  readonly #given = new Map<number, Lease>();
  readonly #settled = new Set<string>();
  #stream: Connection | undefined;

  constructor(world: World, { id, max }: { id: string; max: number }) {
    this.#world = world;
    this.id = id;
    this.max = max;
  }

  /** What it believes to hold: given, not settled, and the time not over. */
  get live(): readonly Lease[] {
    this.#read();
    const now = this.#world.clock.now();
    return [...this.#given.values()].filter(
      ({ receipt, until }) => until > now && !this.#settled.has(receipt),
    );
  }

  connect(): void {
    if (this.#stream && !this.#stream.reader?.ended) return;
    this.#read();
    const stream: Connection = { abort: new AbortController(), read: 0 };
    this.#stream = stream;
    const { signal } = stream.abort;
    const wanted = { group: GROUP, consumerId: this.id, named: true, maxInFlight: this.max };
    const opening = this.#world.leases.open(wanted, new Request("http://gateway/", { signal }));
    void opening.then((response) => {
      stream.reader = new StreamReader(response);
    });
  }

  disturb(prng: Prng): void {
    const { abort, reader } = this.#stream ?? {};
    const roll = prng.below(4);
    if (roll === 0) abort?.abort();
    else if (roll === 1) void reader?.cancel();
    else if (roll === 2) reader?.pause();
    else reader?.resume();
  }

  calm(): void {
    this.#stream?.reader?.resume();
  }

  async leave(): Promise<void> {
    await this.#stream?.reader?.cancel();
  }

  async settle(prng: Prng): Promise<void> {
    const { live } = this;
    if (live.length === 0) return;
    const lease = prng.pick(live);
    if (prng.chance(75)) return this.#ack([lease]);
    this.#settled.add(lease.receipt);
    const release = [{ receipt: lease.receipt, delayMs: prng.below(2000) }];
    await this.#world.broker.groups.settle(GROUP, { ack: [], release, extend: [], reject: [] });
  }

  ackAll(): Promise<void> {
    return this.#ack(this.live);
  }

  async #ack(leases: readonly Lease[]): Promise<void> {
    const ack = leases.map(({ receipt }) => receipt);
    const rest = { release: [], extend: [], reject: [] };
    const results = await this.#world.broker.groups.settle(GROUP, { ack, ...rest });
    for (const [i, { n, receipt }] of leases.entries()) {
      assert.equal(results[i]?.status, "ok", `${receipt} of ${this.id} is live`);
      assert(!this.#world.done.has(n), `${n} came again after it was done`);
      this.#settled.add(receipt);
      this.#world.done.add(n);
    }
  }

  #read(): void {
    const stream = this.#stream;
    for (const { event, data } of stream?.reader?.events.slice(stream.read) ?? []) {
      if (event === "lease") this.#take(data);
    }
    if (stream?.reader) stream.read = stream.reader.events.length;
  }

  #take(data: string): void {
    const {
      receipt,
      attempt,
      leaseUntil,
      data: body,
    } = JSON.parse(data) as {
      receipt: string;
      attempt: number;
      leaseUntil: string;
      data: { n: number };
    };
    const before = this.#given.get(body.n);
    const until = Date.parse(leaseUntil);
    if (before?.receipt === receipt)
      assert.deepEqual([attempt, until], [before.attempt, before.until]);
    else assert(attempt > (before?.attempt ?? 0), `${receipt} after ${before?.receipt}`);
    this.#given.set(body.n, { n: body.n, receipt, attempt, until });
  }
}
