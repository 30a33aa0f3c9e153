/**
 * One history of a broker: many calls at once on a disk in memory, time that
 * jumps, clocks that are set, and stops at any moment, by power cut, kill or clean close, also while
 * calls are under way and while it starts. After each stop another is opened on
 * what the disk holds, and the oracle is asked about all it shows.
 *
 * One seed is one history: same seed, same trace, on every runtime. The disk is
 * paced (pacer.ts), and answers that come in one step are heard in the order in
 * which they were asked for.
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
import { crc32 } from "../../storage/base/checksum_node.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { stableHash } from "../../storage/base/hash.ts";
import { decodeMessage } from "../../storage/base/message.ts";
import { Prng } from "../../storage/base/prng.ts";
import { runPath, runRanges } from "../../storage/dedupe_run.ts";
import { readLogStart } from "../../storage/log_start.ts";
import { segmentBases } from "../../storage/segment.ts";
import { checkToldAlike } from "../broker/fold_dump.ts";
import { GROUP, TOPIC, utf8 } from "../suites/broker_api_kit.ts";
import { openTestBroker, type TestBroker } from "../suites/open_broker.ts";
import { OnceWishes, type Wish } from "./broker_once.ts";
import { Oracle } from "./broker_oracle.ts";
import { Pacer, rest } from "./pacer.ts";
import { HEADROOM_DEFAULTS } from "../../storage/headroom.ts";
import {
  CHECK_RULES,
  isRefused,
  type Refusal,
  refusal,
  SimTransactions,
} from "./broker_transactions.ts";

export const SIGHTS = [
  "power cut",
  "kill",
  "clean close",
  "disk failed",
  "disk full",
  "refused for want of room",
  "refused by one that ends",
  "told that nobody knows",
  "went on when there was room",
  "derived file spoilt",
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
  readonly #pacer: Pacer;
  /** Infinity: nothing expires in this history. */
  readonly #retentionMs: number;
  readonly #oracle: Oracle;
  readonly #once: OnceWishes;
  readonly #transactions: SimTransactions;
  readonly #segmentBytes: number;
  readonly #ballastBytes: number;
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
    this.#pacer = new Pacer(new Prng(seed ^ 0x9ace));
    const world = { oracle: this.#oracle, topics: TOPICS };
    this.#once = new OnceWishes(new Prng(seed ^ 0x0ce), world);
    this.#transactions = new SimTransactions(new Prng(seed ^ 0x7a5), {
      ...world,
      sight: (sight) => this.seen.add(sight),
      life: () => this.#life,
    });
    this.#segmentBytes = this.#prng.pick([1024, 8 * 1024, 64 * 1024]);
    this.#ballastBytes = this.#prng.pick([0, 2048, 16 * 1024]);
  }

  async begin(): Promise<void> {
    const checks = this.#transactions.checks();
    const disk = new MemoryDisk(this.#prng.word(), this.#pacer.wait);
    disk.shortWrites = this.#prng.pick([0, 0, 30]);
    const fatal = this.#fatal();
    const sizes = { segmentBytes: this.#segmentBytes, headroom: this.#headroom };
    const options = { disk, ...sizes, chance: this.#chance, checks, fatal };
    this.#broker = await this.#drive(openTestBroker(options));
    const queues = 1 + this.#prng.below(5);
    const { retention: lasting } = TOPIC;
    const short = { timeMs: this.#retentionMs, bytes: null };
    const retention = this.#expires ? short : lasting;
    await this.#drive(this.#api.topics.put("orders", { ...TOPIC, queues, retention }));
    const loose = { ...TOPIC, queues, retention, acks: "leader" } as const;
    await this.#drive(this.#api.topics.put("loose", loose));
    const subscriptions = TOPICS.map((topic) => ({ topic }));
    const rules = { maxAttempts: 1000, maxInFlight: 20, leaseMs: LEASE_MS };
    await this.#drive(this.#api.groups.put("g", { ...GROUP, ...rules, subscriptions }));
    this.#followAll();
  }

  get #headroom() {
    return { ...HEADROOM_DEFAULTS, ballastBytes: this.#ballastBytes };
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
    if (this.#diskFailed) await this.#stop();
    else if (roll < 50) this.#call();
    else if (roll < 80) await this.#pacer.steps(this.#prng.below(6));
    else if (roll < 95) this.#broker.clock.advance(this.#prng.below(LEASE_MS / 2));
    else if (roll < 96) await this.#look();
    else if (roll < 97) this.#setClock();
    else if (roll < 98) this.#failSoon();
    else await this.#stop();
    await rest();
    this.#hearAll();
    this.#watchRoom();
  }

  async #look(): Promise<void> {
    if (!this.#failing) await this.#drive(this.#readAll("visible"));
  }

  /** The disk will say no, to the log or to a job beside it. */
  #failSoon(): void {
    const { disk } = this.#broker;
    const how = this.#prng.pick(["write", "sync", "no room", "full", "full"] as const);
    this.#failing = true;
    if (how === "full") return this.#fillUp();
    this.#failsOnce = true;
    disk[how === "sync" ? "failSync" : "failWrite"] = this.#prng.below(6);
    disk.failWriteBy = how === "no room" ? "no room" : "EIO";
    if (how === "no room") this.#wasShort = true;
  }

  /** Somebody else takes what is left, or nearly. */
  #fillUp(): void {
    const { disk } = this.#broker;
    this.seen.add("disk full");
    this.#full = true;
    this.#wasShort = true;
    disk.capacity = disk.used + this.#prng.below(this.#prng.pick([1, 4, 16]) * 1024);
  }

  /** And gives it back: the broker goes on by itself. */
  #watchRoom(): void {
    const { disk } = this.#broker;
    if (!this.#full) return;
    if (disk.capacity !== undefined && this.#prng.chance(5)) {
      disk.capacity = this.#prng.chance(30) ? disk.capacity + 4096 : undefined;
    }
    if (disk.capacity !== undefined || this.#api.status().disk !== "ample") return;
    this.seen.add("went on when there was room");
    this.#full = false;
    this.#failing = this.#failsOnce;
    for (const goOn of this.#waitingForRoom.splice(0)) goOn();
  }

  /** Since the disk was full the broker has not been seen well. */
  #full = false;
  /** In this life the disk had no room, once at least. */
  #wasShort = false;
  readonly #waitingForRoom: (() => void)[] = [];

  /** Of this life: a process whose log's disk has failed answers nobody, and ends. */
  #fatal(): (error: Error) => void {
    const life = this.#life;
    return (error) => {
      if (life !== this.#life) return;
      if (!this.#failsOnce) this.#failed ??= error;
      this.#diskFailed = true;
      this.seen.add("disk failed");
    };
  }

  #failing = false;
  /** A call to the disk fails in this life, or did; whoever made it may hear of it later. */
  #failsOnce = false;
  #closing = false;
  #diskFailed = false;

  /** Lets the disk go on as far as the call needs it. */
  async #drive<T>(call: Promise<T>): Promise<T> {
    const answer = await this.#pacer.until(call);
    this.#hearAll();
    return answer;
  }

  #call(): void {
    if (this.#prng.chance(30)) this.#aborts.shift()?.abort();
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

  /**
   * Hears the answer of a call, unless the broker was stopped since.
   *
   * @param notApplied hears that nothing came of it, since the disk has no room.
   */
  #hear<T>(call: Promise<T>, heard: (answer: T) => void, notApplied = () => {}): void {
    const life = this.#life;
    const number = this.#calls++;
    this.#underWay++;
    const answer = (hear: () => void) => {
      if (life !== this.#life) return;
      const one = () => {
        this.#underWay--;
        hear();
      };
      this.#answers.push({ number, hear: one });
    };
    call
      .then(
        (value) => answer(() => heard(value)),
        (error: unknown) => {
          const code = this.#refusal(error);
          if (!code) throw error;
          answer(() => {
            this.#note("no room", code);
            if (isRefused(error)) notApplied();
          });
        },
      )
      .catch((error: unknown) => {
        if (life === this.#life) this.#failed ??= error;
      });
  }

  #refusal(error: unknown): Refusal | undefined {
    const code = refusal(error);
    if (!(code === "draining" ? this.#closing : this.#wasShort)) return undefined;
    if (code === "draining") this.seen.add("refused by one that ends");
    if (code === "disk-full") this.seen.add("refused for want of room");
    if (code === "outcome-unknown") this.seen.add("told that nobody knows");
    return code;
  }

  /** What was answered since the last time, in the order of the calls: no runtime's own order. */
  #hearAll(): void {
    const answers = this.#answers.splice(0);
    for (const { hear } of answers.sort((a, b) => a.number - b.number)) hear();
  }

  readonly #answers: { readonly number: number; readonly hear: () => void }[] = [];
  #calls = 0;

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
    const heard = (published: Published) => {
      this.#note("published", published);
      if (published.state) this.seen.add("scheduled");
      this.#oracle.publishAnswered(published);
    };
    const notApplied = () => this.#oracle.publishRefused(message.id);
    this.#hear(this.#api.messages.publish(topic, message), heard, notApplied);
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
        if (refusal(error)) throw error;
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
    const heard = (results: readonly (Published | TidegateError)[]) => {
      this.#note("published", results);
      for (const one of results) {
        assert(!(one instanceof TidegateError), "what is not too large is stored");
        this.#oracle.publishAnswered(one);
      }
    };
    const notApplied = () => messages.forEach(({ id }) => this.#oracle.publishRefused(id));
    this.#hear(this.#api.messages.publishBatch(topic, messages, { atomic }), heard, notApplied);
  }

  #publishKeyed(): void {
    const wish = this.#once.pickKeyed();
    this.#hear(this.#askOnce(wish), (results) => {
      this.#heardOnce(results);
      for (const one of results) {
        if (one instanceof TidegateError) {
          // What is known of older keys cannot be built again by a disk that fails, or a node that ends.
          const isInProgress = one.code === "idempotency-in-progress";
          const isExpected = isInProgress || this.#isOverloaded(one) || this.#isOfSpoiltRun(one);
          assert(isExpected || this.#refusal(one), String(one));
          if (isInProgress) this.seen.add("in progress");
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
      this.#heardOnce(results);
      for (const one of results) {
        if (one instanceof TidegateError) return picked.notAnswered(); // there is no room
        if (one.replayed) this.seen.add("sequence replayed");
      }
      picked.answered();
    });
  }

  /** One more attempt; the first request being under way is an answer like others. */
  async #askOnce(wish: Wish): Promise<readonly (Published | TidegateError)[]> {
    const { topic, atomic } = wish;
    const messages = this.#once.messages(wish);
    const asked =
      messages.length > 1
        ? this.#api.messages.publishBatch(topic, messages, { atomic })
        : Promise.all(messages.map((one) => this.#api.messages.publish(topic, one)));
    return asked.catch((error: unknown) => {
      const known = error instanceof TidegateError ? error : undefined;
      if (known?.code === "idempotency-in-progress") return [known];
      if (known && (this.#isOverloaded(known) || this.#isOfSpoiltRun(known))) return [known];
      if (!known || !this.#refusal(known)) throw error;
      if (isRefused(known)) {
        for (const { id } of messages) this.#oracle.publishRefused(id);
      }
      return [known];
    });
  }

  /** A run that was spoilt while the log had all of it may be all there is when that is noticed. */
  #isOfSpoiltRun({ code }: TidegateError): boolean {
    return code === "data-damaged" && this.#runSpoilt;
  }

  #isOverloaded({ code }: TidegateError): boolean {
    return code === "overloaded" && (this.#failing || this.#closing);
  }

  #heardOnce(results: readonly (Published | TidegateError)[]): void {
    this.#note("published once", results);
    for (const one of results) {
      if (!(one instanceof TidegateError)) this.#oracle.publishAnswered(one);
    }
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
    else this.#aborts.push(abort);
  }

  /** Of those who will go, soon. */
  /** Snapshots a bit was flipped in: the power may bring them back. */
  readonly #spoilt = new Set<string>();
  #runSpoilt = false;
  readonly #aborts: AbortController[] = [];

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
    this.#oracle.settleAsked(receipt, op);
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

  async #deadLetters(): Promise<ReadonlySet<string>> {
    const found = new Set<string>();
    for (let after: string | undefined; ; ) {
      const page = { limit: 100, maxBytes: 1 << 20, after };
      const { deadLetters, next } = await this.#api.groups.deadLetters("g", page);
      for (const { message } of deadLetters) {
        const id = message && decodeMessage(message.payload)?.id;
        assert(id !== undefined, "a dead letter is whole");
        found.add(id);
      }
      if (next === undefined) return found;
      after = next;
    }
  }

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
      const reading = this.#api.messages.read({ ...request, start });
      const page: ReadPage | string | void = await this.#orExpired(reading).catch(
        async (error: unknown) => {
          if (!this.#refusal(error)) throw error;
          await new Promise<void>((goOn) => void this.#waitingForRoom.push(goOn));
        },
      );
      if (life !== this.#life) return;
      if (page === undefined) continue;
      if (typeof page !== "string") seen.push(...page.messages);
      start = { kind: "cursor", cursor: typeof page === "string" ? page : page.cursor };
    }
  }

  /** No message waited for the next one, or for time, to be noticed. */
  async #checkFollowed(): Promise<void> {
    await this.#pacer.settle();
    this.#hearAll();
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

  // Trouble

  async #stop(): Promise<void> {
    this.#oracle.passed();
    const how = this.#failing
      ? this.#prng.pick(["power cut", "kill"] as const)
      : this.#prng.pick(["power cut", "power cut", "kill", "clean close"] as const);
    if (this.#prng.chance(70)) await this.#hurry();
    this.seen.add(how);
    if (this.#underWay > 0) this.seen.add("stopped with calls under way");
    this.#closing = how === "clean close";
    if (this.#closing && this.#wasShort) await this.#retryWrites();
    if (this.#closing) await this.#drive(this.#broker.close());
    await rest();
    this.#hearAll();
    if (this.#failed !== undefined) throw this.#failed;
    this.#life++;
    this.#failing = false;
    this.#failsOnce = false;
    this.#full = false;
    this.#wasShort = false;
    this.#waitingForRoom.length = 0;
    this.#closing = false;
    this.#diskFailed = false;
    this.#underWay = 0;
    this.#settling.clear();
    this.#once.stopped();
    if (how === "power cut") this.#oracle.powerLost();
    let disk = how === "power cut" ? this.#broker.disk.crash() : this.#broker.disk.clone();
    this.#pacer.forget();
    if (this.#prng.chance(20)) {
      this.seen.add("stopped again at once");
      const deaf = true; // what they ask and do is not part of this history
      const starting = disk;
      void this.#open(starting, { deaf }).catch(() => {});
      await this.#pacer.steps(this.#prng.below(25));
      this.#oracle.powerLost();
      disk = starting.crash();
      this.#pacer.forget();
    }
    disk.shortWrites = this.#broker.disk.shortWrites;
    disk.capacity = undefined;
    await this.#shorten(disk);
    if (this.#prng.chance(20)) await this.#spoilDerived(disk);
    this.#aborts.length = 0;
    if ((await disk.list("snapshots")).length > 0) this.seen.add("from a snapshot");
    if ((await disk.list("dedupe")).length > 0) this.seen.add("dedupe runs");
    this.#broker = await this.#drive(this.#open(disk));
    this.#note(how, this.#api.status());
    this.#followAll();
    await this.#drive(this.#readAll("all"));
    await this.#drive(this.#checkDefinitions());
    this.#note("transactions", await this.#drive(this.#transactions.look(this.#api)));
  }

  /**
   * Files derived from the log: one is gone, or has a bit flipped. Keys of segments that
   * went, or will with the next start, are in their run and nowhere else.
   */
  async #spoilDerived(disk: TestBroker["disk"]): Promise<void> {
    const start = await readLogStart(disk.clone({ paced: false }), crc32);
    const lone = runRanges(disk.names("dedupe")).filter(({ from }) => from < start);
    const paths = ["log", "snapshots", "dedupe", "timers"]
      .flatMap((dir) => disk.names(dir).map((name) => `${dir}/${name}`))
      .filter((path) => /\.(idx|snap|run|tmr)$/.test(path) && disk.bytes(path).length > 0)
      .filter((path) => !lone.some((range) => runPath(range) === path));
    if (paths.length === 0) return;
    const path = this.#prng.pick(paths);
    this.seen.add("derived file spoilt");
    if (this.#prng.chance(50)) return disk.lose(path);
    const at = this.#prng.below(disk.bytes(path).length);
    const bit = 1 << this.#prng.below(8);
    if (path.endsWith(".snap")) this.#spoilt.add(path);
    if (path.endsWith(".run")) this.#runSpoilt = true;
    disk.damage(path, (bytes) => {
      bytes[at] = (bytes[at] ?? 0) ^ bit;
    });
  }

  /** A log that lost its beginning is enough by itself. */
  async #shorten(disk: TestBroker["disk"]): Promise<void> {
    const [start = 0] = segmentBases(await disk.list("log"));
    if (start === 0) return;
    this.seen.add("the log's start moved");
    await checkToldAlike(disk.clone({ paced: false }), { spoilt: this.#spoilt });
    if (!this.#prng.chance(50)) return;
    this.seen.add("from a shortened log without a snapshot");
    for (const name of disk.names("snapshots")) disk.lose(`snapshots/${name}`);
  }

  /** Calls whose bytes are on their way to the disk when it stops. */
  async #hurry(): Promise<void> {
    for (let left = 1 + this.#prng.below(4); left > 0; left--) this.#call();
    await this.#pacer.steps(this.#prng.below(3));
    this.#hearAll();
  }

  #open(disk: TestBroker["disk"], { deaf = false } = {}): Promise<TestBroker> {
    const clock = new ManualClock(this.#broker.clock.now() + this.#prng.below(1000));
    const segmentBytes = this.#segmentBytes;
    const checks = deaf ? undefined : this.#transactions.checks();
    return openTestBroker({
      disk,
      clock,
      segmentBytes,
      headroom: this.#headroom,
      chance: this.#chance,
      fatal: deaf ? () => {} : this.#fatal(),
      ...(checks && { checks }),
    });
  }

  /** A write that found no room is tried again when some time has gone by. */
  async #retryWrites(): Promise<void> {
    for (let left = 3; left > 0; left--) {
      await this.#pacer.settle();
      this.#broker.clock.advance(500);
    }
  }

  /** Long enough for every check there is, and for the last one to be over. */
  async #finishTransactions(): Promise<void> {
    for (let left = CHECK_RULES.maxChecks + 2; left > 0; left--) {
      this.#broker.clock.advance(CHECK_RULES.checkIntervalMs);
      await this.#pacer.settle();
      this.#hearAll();
    }
    await this.#drive(this.#transactions.finish(this.#api));
  }

  /** Without another start, which would forgive a queue that was forgotten, all is delivered. */
  async finish(): Promise<void> {
    if (this.#failing) await this.#stop();
    while (this.#underWay > 0) {
      if (this.#failed !== undefined) throw this.#failed;
      this.#broker.clock.advance(1000);
      await this.#pacer.settle();
      this.#hearAll();
    }
    await this.#checkFollowed();
    await this.#finishTransactions();
    for (const wish of this.#once.keyed) {
      const results = await this.#drive(this.#askOnce(wish));
      this.#heardOnce(results);
      assert(
        results.every((one) => !(one instanceof TidegateError) || this.#isOfSpoiltRun(one)),
        "each is stored by now",
      );
    }
    for (let idle = 0; idle < 3; ) {
      const request = { group: "g", max: 100, maxBytes: 1 << 24, waitMs: 0 };
      const deliveries = await this.#drive(this.#api.groups.receive(request));
      this.#oracle.received(deliveries, this.#now);
      const ack = deliveries.map(({ receipt }) => receipt);
      for (const receipt of ack) this.#oracle.settleAsked(receipt, "ack");
      const settle = { ack, release: [], extend: [], reject: [] };
      for (const result of await this.#drive(this.#api.groups.settle("g", settle))) {
        this.#oracle.settleAnswered("ack", result, { now: this.#now, alone: true });
      }
      idle = deliveries.length === 0 ? idle + 1 : 0;
      this.#broker.clock.advance(6 * LEASE_MS); // the longest delay as well
    }
    await this.#drive(this.#readAll("in the end"));
    this.#oracle.checkBatches();
    this.#oracle.checkLetters(await this.#drive(this.#deadLetters()));
    const { topics } = await this.#drive(this.#api.groups.lag("g"));
    for (const { topic, total } of topics) {
      assert.equal(total, 0, `${topic} is consumed to its end`);
      this.#oracle.checkAllDone(topic);
    }
    this.#life++;
    await this.#drive(this.#broker.close());
  }
}
