/**
 * One history of a broker: many calls at once on a disk in memory, time that
 * jumps, clocks that are set, and stops at any moment, by power cut, kill or clean close, also while
 * calls are under way and while it starts. After each stop another is opened on
 * what the disk holds, and the oracle is asked about all it shows.
 *
 * One seed is one history: same seed, same trace.
 *
 * @module
 */

import assert from "node:assert/strict";
import type {
  BrokerApi,
  Published,
  ReadPage,
  SettleRequest,
  Start,
  StoredMessage,
} from "../../src/broker/api.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { stableHash } from "../../storage/base/hash.ts";
import { Prng } from "../../storage/base/prng.ts";
import { segmentBases } from "../../storage/segment.ts";
import { checkToldAlike } from "../broker/fold_dump.ts";
import { GROUP, TOPIC, turn, utf8 } from "../suites/broker_api_kit.ts";
import { openTestBroker, type TestBroker } from "../suites/open_broker.ts";
import { OnceWishes, type Wish } from "./broker_once.ts";
import { Oracle } from "./broker_oracle.ts";
import { CHECK_RULES, SimTransactions } from "./broker_transactions.ts";

export const SIGHTS = [
  "power cut",
  "kill",
  "clean close",
  "stopped with calls under way",
  "stopped again at once",
  "from a snapshot",
  "woken receive",
  "late",
  "lost",
  "given back",
  "replayed",
  "replayed across a stop",
  "replayed to one nobody answered",
  "sequence replayed",
  "in progress",
  "dedupe runs",
  "scheduled",
  "revealed",
  "recalled",
  "recalled too late",
  "clock set",
  "committed",
  "rolled back",
  "decided otherwise",
  "called back",
  "check received",
  "parked",
  "expired",
  "the log's start moved",
  "from a shortened log without a snapshot",
] as const;
export type Sight = (typeof SIGHTS)[number];

export interface History {
  /** Over every answer, in order. */
  readonly trace: number;
  readonly seen: ReadonlySet<Sight>;
}

const STEPS = 250;
const CALLS_MAX = 12;
const LEASE_MS = 5000;
const HOUR_MS = 3_600_000;
const TOPICS = ["orders", "loose"] as const;

export async function simulate(seed: number): Promise<History> {
  const world = new World(seed);
  await world.begin();
  for (let step = 0; step < STEPS; step++) await world.step();
  await world.finish();
  return { trace: world.trace, seen: world.seen };
}

class World {
  readonly seen = new Set<Sight>();
  trace = 0;
  readonly #prng: Prng;
  readonly #chance: Prng;
  /** Infinity: nothing expires in this history. */
  readonly #retentionMs: number;
  readonly #oracle: Oracle;
  readonly #once: OnceWishes;
  readonly #transactions: SimTransactions;
  readonly #segmentBytes: number;
  #broker!: TestBroker;
  /** Answers to an earlier life are not heard. */
  #life = 0;
  #underWay = 0;
  #number = 0;
  /** Versions written into definitions: the last one answered, the last one asked. */
  readonly #version = { answered: 0, asked: 0 };
  /** What long-polls in this life have brought, by topic. */
  readonly #followed = new Map<string, StoredMessage[]>();
  /** Settles under way, by receipt. */
  readonly #settling = new Map<string, number>();

  constructor(seed: number) {
    this.#prng = new Prng(seed);
    this.#retentionMs = this.#prng.pick([Infinity, Infinity, 10_000]);
    const moment = () => ({
      life: this.#life,
      elapsed: this.#broker.clock.elapsed(),
      now: this.#now,
    });
    this.#oracle = new Oracle(moment, this.#retentionMs);
    this.#chance = new Prng(seed ^ 0x5eed);
    const world = { oracle: this.#oracle, topics: TOPICS };
    this.#once = new OnceWishes(new Prng(seed ^ 0x0ce), world);
    this.#transactions = new SimTransactions(new Prng(seed ^ 0x7a5), {
      ...world,
      sight: (sight) => this.seen.add(sight),
      life: () => this.#life,
    });
    this.#segmentBytes = this.#prng.pick([1024, 8 * 1024, 64 * 1024]);
  }

  async begin(): Promise<void> {
    const checks = this.#transactions.checks();
    const options = { segmentBytes: this.#segmentBytes, chance: this.#chance, checks };
    this.#broker = await openTestBroker(options);
    const queues = 1 + this.#prng.below(5);
    const { retention: lasting } = TOPIC;
    const short = { timeMs: this.#retentionMs, bytes: null };
    const retention = this.#expires ? short : lasting;
    await this.#api.topics.put("orders", { ...TOPIC, queues, retention });
    await this.#api.topics.put("loose", { ...TOPIC, queues, retention, acks: "leader" });
    const subscriptions = TOPICS.map((topic) => ({ topic }));
    const rules = { maxAttempts: 1000, maxInFlight: 20, leaseMs: LEASE_MS };
    await this.#api.groups.put("g", { ...GROUP, ...rules, subscriptions });
    this.#followAll();
  }

  get #expires(): boolean {
    return this.#retentionMs < Infinity;
  }

  get #api(): BrokerApi {
    return this.#broker.api;
  }

  /** Leader time. */
  get #now(): number {
    return this.#broker.clock.now() + this.#api.status().clockSkewMs;
  }

  async step(): Promise<void> {
    if (this.#failed !== undefined) throw this.#failed;
    const roll = this.#prng.below(100);
    if (roll < 50) this.#call();
    else if (roll < 80) await this.#yield();
    else if (roll < 95) this.#broker.clock.advance(this.#prng.below(LEASE_MS / 2));
    else if (roll < 96) await this.#readAll("visible");
    else if (roll < 97) this.#setClock();
    else await this.#stop();
  }

  #call(): void {
    if (this.#underWay >= CALLS_MAX) return;
    const roll = this.#prng.below(100);
    if (roll < 18) this.#publish();
    else if (roll < 26) this.#publishBatch();
    else if (roll < 35) this.#publishKeyed();
    else if (roll < 40) this.#publishSequenced();
    else if (roll < 52) this.#transact();
    else if (roll < 70) this.#receive();
    else if (roll < 90) this.#settle();
    else if (roll < 94) this.#recall();
    else this.#define();
  }

  /** Somebody, or NTP, sets the wall clock. */
  #setClock(): void {
    const before = this.#now;
    this.#broker.clock.step(this.#prng.pick([HOUR_MS, -HOUR_MS, 5000, -5000]));
    assert.equal(this.#now, before, "leader time does not follow");
    this.seen.add("clock set");
  }

  /** Hears the answer of a call, unless the broker was stopped since. */
  #hear<T>(call: Promise<T>, heard: (answer: T) => void): void {
    const life = this.#life;
    this.#underWay++;
    const answered = (value: T) => {
      if (life !== this.#life) return;
      this.#underWay--;
      heard(value);
    };
    call.then(answered).catch((error: unknown) => {
      if (life === this.#life) this.#failed ??= error;
    });
  }

  /** The first call that failed: none should. */
  #failed: unknown;

  #note(...what: unknown[]): void {
    this.trace = stableHash(`${this.trace} ${JSON.stringify(what)}`);
  }

  // Calls

  #newMessage(topic: string, batch: number) {
    const id = `${topic}-${this.#number++}`;
    const key = this.#prng.chance(50) ? `${topic}-key-${this.#prng.below(4)}` : undefined;
    const body = `${id} `.repeat(1 + this.#prng.below(this.#prng.chance(5) ? 500 : 10));
    const delayMs = this.#prng.chance(25)
      ? 1 + this.#prng.below(this.#prng.pick([10, 1000, 5 * LEASE_MS]))
      : undefined;
    this.#oracle.publishAsked({ id, key, body, batch, delayMs, durable: topic === "orders" });
    return { id, body: utf8.encode(body), key, delayMs };
  }

  #publish(): void {
    const topic = this.#prng.pick(TOPICS);
    const message = this.#newMessage(topic, this.#number);
    this.#hear(this.#api.messages.publish(topic, message), (published) => {
      this.#note("published", published);
      if (published.state) this.seen.add("scheduled");
      this.#oracle.publishAnswered(published);
    });
  }

  #recall(): void {
    const [topic] = TOPICS;
    const scheduled = this.#oracle.scheduled(topic);
    if (scheduled.length === 0) return;
    const id = this.#prng.pick(scheduled);
    this.#oracle.recallAsked(id);
    const outcome = this.#api.messages.recall(topic, id).then(
      () => "recalled" as const,
      (error: unknown) => {
        assert(error instanceof TidegateError, String(error));
        return error.code;
      },
    );
    this.#hear(outcome, (answer) => {
      this.#note("recall", id, answer);
      this.#oracle.recallAnswered(id, answer);
      if (answer === "recalled") this.seen.add("recalled");
      if (answer === "already-delivered") this.seen.add("recalled too late");
    });
  }

  #publishBatch(): void {
    const topic = this.#prng.pick(TOPICS);
    const atomic = this.#prng.chance(50);
    const batch = this.#number;
    const messages = Array.from({ length: 1 + this.#prng.below(6) }, () =>
      this.#newMessage(topic, atomic ? batch : this.#number),
    );
    this.#hear(this.#api.messages.publishBatch(topic, messages, { atomic }), (results) => {
      this.#note("published", results);
      for (const one of results) {
        assert(!(one instanceof TidegateError), "what is not too large is stored");
        this.#oracle.publishAnswered(one);
      }
    });
  }

  #publishKeyed(): void {
    const wish = this.#once.pickKeyed();
    this.#hear(this.#askOnce(wish), (results) => {
      for (const one of results) {
        if (one instanceof TidegateError) {
          assert.equal(one.code, "idempotency-in-progress");
          this.seen.add("in progress");
        } else if (one.replayed) this.#noteReplay(wish);
      }
      wish.answered = true;
    });
  }

  #noteReplay(wish: Wish): void {
    this.seen.add("replayed");
    if (wish.askedBeforeStop) this.seen.add("replayed across a stop");
    if (!wish.answered) this.seen.add("replayed to one nobody answered");
  }

  #publishSequenced(): void {
    const picked = this.#once.pickSequenced();
    if (!picked) return;
    this.#hear(this.#askOnce(picked.wish), (results) => {
      for (const one of results) {
        assert(!(one instanceof TidegateError));
        if (one.replayed) this.seen.add("sequence replayed");
      }
      picked.answered();
    });
  }

  /** One more attempt; the first request being under way is an answer like others. */
  async #askOnce(wish: Wish): Promise<readonly (Published | TidegateError)[]> {
    const { topic, atomic } = wish;
    const messages = this.#once.messages(wish);
    const life = this.#life;
    const asked =
      messages.length > 1
        ? this.#api.messages.publishBatch(topic, messages, { atomic })
        : Promise.all(messages.map((one) => this.#api.messages.publish(topic, one)));
    const results = await asked.catch((error: unknown) => {
      if (error instanceof TidegateError && error.code === "idempotency-in-progress")
        return [error];
      throw error;
    });
    if (life !== this.#life) return [];
    this.#note("published once", results);
    for (const one of results) {
      if (!(one instanceof TidegateError)) this.#oracle.publishAnswered(one);
    }
    return results;
  }

  #receive(): void {
    const waitMs = this.#prng.chance(50) ? this.#prng.below(10_000) : 0;
    const topic = this.#prng.chance(20) ? this.#prng.pick(TOPICS) : undefined;
    const maxBytes = this.#prng.chance(10) ? 1 : 1 << 20;
    const abort = this.#prng.chance(15) ? new AbortController() : undefined;
    const request = { group: "g", max: 1 + this.#prng.below(6), maxBytes, waitMs, topic };
    const asked = this.#now;
    this.#hear(this.#api.groups.receive(request, { signal: abort?.signal }), (deliveries) => {
      this.#note("received", deliveries);
      this.#oracle.received(deliveries, this.#now);
      if (deliveries.length > 0 && this.#now > asked) this.seen.add("woken receive");
    });
    if (!abort) return;
    this.seen.add("given back");
    if (this.#prng.chance(50)) abort.abort();
    else void this.#yield().then(() => abort.abort());
  }

  #settle(): void {
    const known = this.#oracle.receipts;
    if (known.length === 0) return;
    const receipt = known.at(-1 - this.#prng.below(Math.min(12, known.length))) as string;
    const op = this.#prng.pick(["ack", "ack", "ack", "release", "extend", "reject"] as const);
    const leaseMs = 100 + this.#prng.below(2 * LEASE_MS);
    const nothing: SettleRequest = { ack: [], release: [], extend: [], reject: [] };
    const request =
      op === "ack" ? { ...nothing, ack: [receipt] } : { ...nothing, [op]: [{ receipt, leaseMs }] };
    const sure = this.#oracle.isSure(receipt) && !this.#settling.has(receipt);
    const now = this.#now;
    this.#settling.set(receipt, (this.#settling.get(receipt) ?? 0) + 1);
    this.#oracle.settleAsked(receipt);
    this.#hear(this.#api.groups.settle("g", request), ([result]) => {
      assert(result);
      this.#note(op, result);
      const others = (this.#settling.get(receipt) ?? 1) - 1;
      if (others > 0) this.#settling.set(receipt, others);
      else this.#settling.delete(receipt);
      if (result.status === "late" || result.status === "lost") this.seen.add(result.status);
      this.#oracle.settleAnswered(op, result, { now, alone: sure && others === 0 });
    });
  }

  /** Writes a version into a topic's description. */
  #define(): void {
    const version = ++this.#version.asked;
    this.#hear(this.#api.topics.patch("orders", { description: `${version}` }), (topic) => {
      this.#note("defined", topic);
      this.#version.answered = Math.max(this.#version.answered, version);
    });
  }

  #transact(): void {
    const roll = this.#prng.below(100);
    const transactions = this.#transactions;
    const call =
      roll < 40
        ? transactions.begin(this.#api)
        : roll < 80
          ? transactions.decide(this.#api)
          : transactions.receiveChecks(this.#api);
    this.#hear(call, (answer) => this.#note("transaction", answer));
  }

  // Looking

  async #readAll(which: "all" | "visible" | "in the end"): Promise<void> {
    for (const topic of TOPICS) {
      const expected = this.#oracle.acknowledged(topic, which);
      const limit = this.#prng.pick([1, 7, 1000]);
      const request = { topic, limit, maxBytes: 1 << 20, waitMs: 0 };
      let messages: StoredMessage[] = [];
      for (let start: Start = { kind: "earliest" }; ; ) {
        const page = await this.#orExpired(this.#api.messages.read({ ...request, start }));
        if (typeof page === "string")
          messages = []; // it begins where it is told to
        else messages.push(...page.messages);
        if (typeof page !== "string" && page.upToDate) break;
        start = { kind: "cursor", cursor: typeof page === "string" ? page : page.cursor };
      }
      this.#note("saw", messages.length);
      this.#oracle.saw(topic, messages, expected);
      if (this.#oracle.revealed > 0) this.seen.add("revealed");
      if (this.#oracle.expired > 0) this.seen.add("expired");
    }
  }

  /** The page, or the position to go on from when what lay behind the cursor is gone. */
  async #orExpired(read: Promise<ReadPage>): Promise<ReadPage | string> {
    return read.catch((error: unknown) => {
      const expired = error instanceof TidegateError && error.code === "cursor-expired";
      if (!expired || !this.#expires) throw error;
      return String(error.details["earliest"]);
    });
  }

  /** A long-poll after the other, from the beginning to where this life ends. */
  #followAll(): void {
    for (const topic of TOPICS) {
      const seen: StoredMessage[] = [];
      this.#followed.set(topic, seen);
      const life = this.#life;
      this.#follow(topic, seen).catch((error: unknown) => {
        if (life === this.#life) this.#failed ??= error; // one that is closed cannot be read
      });
    }
  }

  async #follow(topic: string, seen: StoredMessage[]): Promise<void> {
    const life = this.#life;
    const request = { topic, limit: 3, maxBytes: 1 << 20, waitMs: 60_000 };
    for (let start: Start = { kind: "earliest" }; ; ) {
      const page = await this.#orExpired(this.#api.messages.read({ ...request, start }));
      if (life !== this.#life) return;
      if (typeof page !== "string") seen.push(...page.messages);
      start = { kind: "cursor", cursor: typeof page === "string" ? page : page.cursor };
    }
  }

  /** No message waited for the next one, or for time, to be noticed. */
  async #checkFollowed(): Promise<void> {
    await turn();
    for (const topic of TOPICS) {
      const seen = this.#followed.get(topic) ?? [];
      if (this.#expires) this.#oracle.followed(topic, seen);
      else this.#oracle.saw(topic, seen, this.#oracle.acknowledged(topic));
    }
  }

  async #checkDefinitions(): Promise<void> {
    const { description } = await this.#api.topics.get("orders");
    const version = Number(description);
    const { answered, asked } = this.#version;
    assert(answered <= version && version <= asked, `${version} is of [${answered}, ${asked}]`);
    this.#version.answered = version;
  }

  /** Lets what is under way get a little further. */
  async #yield(): Promise<void> {
    for (let left = this.#prng.below(20); left > 0; left--) await Promise.resolve();
  }

  // Trouble

  async #stop(): Promise<void> {
    this.#oracle.passed();
    const how = this.#prng.pick(["power cut", "power cut", "kill", "clean close"] as const);
    if (this.#prng.chance(70)) await this.#hurry();
    this.seen.add(how);
    if (this.#underWay > 0) this.seen.add("stopped with calls under way");
    if (how === "clean close") await this.#broker.close();
    if (this.#failed !== undefined) throw this.#failed;
    this.#life++;
    this.#underWay = 0;
    this.#settling.clear();
    this.#once.stopped();
    if (how === "power cut") this.#oracle.powerLost();
    let disk = how === "power cut" ? this.#broker.disk.crash() : this.#broker.disk.clone();
    if (this.#prng.chance(20)) {
      this.seen.add("stopped again at once");
      const deaf = true; // what they ask and do is not part of this history
      void this.#open(disk.clone(), { deaf }).catch(() => {});
      const starting = disk;
      void this.#open(starting, { deaf });
      await this.#yield();
      this.#oracle.powerLost();
      disk = starting.crash();
    }
    if ((await disk.list("snapshots")).length > 0) this.seen.add("from a snapshot");
    if ((await disk.list("dedupe")).length > 0) this.seen.add("dedupe runs");
    await this.#shorten(disk);
    this.#broker = await this.#open(disk);
    this.#note(how, this.#api.status());
    this.#followAll();
    await this.#readAll("all");
    await this.#checkDefinitions();
    this.#note("transactions", await this.#transactions.look(this.#api));
  }

  /** A log that lost its beginning is enough by itself. */
  async #shorten(disk: TestBroker["disk"]): Promise<void> {
    const [start = 0] = segmentBases(await disk.list("log"));
    if (start === 0) return;
    this.seen.add("the log's start moved");
    await checkToldAlike(disk);
    if (!this.#prng.chance(50)) return;
    this.seen.add("from a shortened log without a snapshot");
    for (const name of await disk.list("snapshots")) await disk.remove(`snapshots/${name}`);
  }

  /** Calls whose bytes are on their way to the disk when it stops. */
  async #hurry(): Promise<void> {
    for (let left = 1 + this.#prng.below(4); left > 0; left--) this.#call();
    for (let left = this.#prng.below(8); left > 0; left--) await Promise.resolve();
  }

  #open(disk: TestBroker["disk"], { deaf = false } = {}): Promise<TestBroker> {
    const clock = new ManualClock(this.#broker.clock.now() + this.#prng.below(1000));
    const segmentBytes = this.#segmentBytes;
    const checks = deaf ? undefined : this.#transactions.checks();
    return openTestBroker({
      disk,
      clock,
      segmentBytes,
      chance: this.#chance,
      ...(checks && { checks }),
    });
  }

  /** Long enough for every check there is, and for the last one to be over. */
  async #finishTransactions(): Promise<void> {
    for (let left = CHECK_RULES.maxChecks + 2; left > 0; left--) {
      this.#broker.clock.advance(CHECK_RULES.checkIntervalMs);
      for (let turns = 0; turns < 5; turns++) await turn();
    }
    await this.#transactions.finish(this.#api);
  }

  /** Without another start, which would forgive a queue that was forgotten, all is delivered. */
  async finish(): Promise<void> {
    while (this.#underWay > 0) {
      if (this.#failed !== undefined) throw this.#failed;
      this.#broker.clock.advance(1000);
      await this.#yield();
    }
    await this.#checkFollowed();
    await this.#finishTransactions();
    for (const wish of this.#once.keyed) {
      const results = await this.#askOnce(wish);
      assert(
        results.every((one) => !(one instanceof TidegateError)),
        "each is stored by now",
      );
    }
    for (let idle = 0; idle < 3; ) {
      const request = { group: "g", max: 100, maxBytes: 1 << 24, waitMs: 0 };
      const deliveries = await this.#api.groups.receive(request);
      this.#oracle.received(deliveries, this.#now);
      const ack = deliveries.map(({ receipt }) => receipt);
      const settle = { ack, release: [], extend: [], reject: [] };
      for (const result of await this.#api.groups.settle("g", settle)) {
        this.#oracle.settleAnswered("ack", result, { now: this.#now, alone: true });
      }
      idle = deliveries.length === 0 ? idle + 1 : 0;
      this.#broker.clock.advance(6 * LEASE_MS); // the longest delay as well
    }
    await this.#readAll("in the end");
    this.#oracle.checkBatches();
    const { topics } = await this.#api.groups.lag("g");
    for (const { topic, total } of topics) {
      assert.equal(total, 0, `${topic} is consumed to its end`);
      this.#oracle.checkAllDone(topic);
    }
    this.#life++;
    await this.#broker.close();
  }
}
