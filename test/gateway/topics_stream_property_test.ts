/**
 * Streams over several topics under every order of events: one seed is one
 * history.
 *
 * Goal: of each topic, each reader gets every message once and in order, from
 * its start on, through any number of reconnects; lost history is told as a gap.
 * And every id is good to go on from: in each topic it stands exactly behind what
 * was sent. Method: as feeds_property_test.ts, over three logs; topics come and go.
 *
 * Replay one failure: SEED=42 bun test ./test/gateway/topics_stream_property_test.ts
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RequestHead } from "../../routes/request_head.ts";
import { topicsStream } from "../../routes/stream.ts";
import { SharedFeeds } from "../../src/gateway/feeds.ts";
import { Streams } from "../../src/gateway/streams.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { Prng } from "../../storage/base/prng.ts";
import { seeds } from "../effort.ts";
import { type FakeLog, FakeLogs, numberAt } from "../fakes/log.ts";
import { type StreamEvent, StreamReader, turn } from "../fakes/stream_reader.ts";

const STEPS = 250;
const TOPICS = ["a", "b", "c"];

describe("SharedFeeds over several topics, in any order of events", () => {
  for (const seed of seeds(60)) {
    it(`gives each reader every message once, seed ${seed}`, () => simulate(seed));
  }
});

async function simulate(seed: number): Promise<void> {
  const prng = new Prng(seed);
  const world = new World(prng);
  for (let step = 0; step < STEPS; step++) await world.step();
  await world.settle();
  for (const session of world.sessions) session.check();
  assert(world.sessions.length > 0, "the history is not empty");
}

class World {
  readonly logs = new FakeLogs(TOPICS);
  readonly clock = new ManualClock();
  readonly sessions: Session[] = [];
  readonly feeds: SharedFeeds;
  readonly #prng: Prng;
  /** Percent of the messages, so that backlogs fill up in some histories. */
  readonly #large: number;
  readonly #loses: boolean;

  constructor(prng: Prng) {
    this.#prng = prng;
    this.#large = prng.pick([0, 0, 10, 50]);
    this.#loses = prng.chance(50);
    for (const log of this.logs.all) log.auto = false;
    const after = (delayMs: number, run: () => void) => this.clock.after(delayMs, run);
    const report = (error: unknown) => assert.fail(String(error));
    const streams = new Streams({ after, random: () => prng.below(100) / 100 });
    this.feeds = new SharedFeeds({ messages: this.logs, streams, after, report });
  }

  async step(): Promise<void> {
    const prng = this.#prng;
    const roll = prng.below(100);
    for (const log of this.logs.all) if (log.deleted && prng.chance(10)) log.recreate();
    if (roll < 3 && this.#loses) this.#lose(prng.pick(this.logs.all));
    else if (roll < 25) this.#publish(prng.pick(this.logs.all));
    else if (roll < 80) prng.pick(this.logs.all).step(prng);
    else if (roll < 86) this.#open();
    else if (roll < 92 && this.sessions.length > 0) prng.pick(this.sessions).disturb(prng);
    else this.clock.advance(prng.below(1500));
    if (prng.chance(70)) await turn();
    for (const session of this.sessions) session.comeBack(this.feeds);
    this.#forgetRefused();
  }

  /** Lets all come back to topics that are there, then gives each one more message to wait for. */
  async settle(): Promise<void> {
    for (const log of this.logs.all) if (log.deleted) log.recreate();
    await this.#drive(() => this.sessions.every((session) => session.reading || session.refused));
    this.#forgetRefused();
    for (const session of this.sessions) session.leave();
    await this.#drive(() => this.sessions.every((session) => session.reading));
    for (const log of this.logs.all) this.#publish(log);
    await this.#drive(() => this.sessions.every((session) => session.hasAll()));
  }

  /** Until it is done, or nothing can be expected any more. */
  async #drive(done: () => boolean): Promise<void> {
    for (let round = 0; round < 3000 && !done(); round++) {
      for (const log of this.logs.all) for (let n = 0; n < 10; n++) log.step(this.#prng);
      await turn();
      if (round % 20 === 0) this.clock.advance(200);
      for (const session of this.sessions) session.comeBack(this.feeds);
    }
  }

  #forgetRefused(): void {
    const kept = this.sessions.filter(({ refused }) => !refused);
    this.sessions.splice(0, this.sessions.length, ...kept);
  }

  /** The first topic stays, so that a reader always has something to come back to. */
  #lose(log: FakeLog): void {
    const roll = this.#prng.below(4);
    if (roll === 0) log.expire(this.#prng.below(log.end + 1));
    else if (roll === 1) log.expire(log.end);
    else if (log.deleted || roll === 2) log.recreate();
    else if (log.topic !== TOPICS[0]) log.delete();
  }

  #publish(log: FakeLog): void {
    const pad = this.#prng.chance(this.#large) ? "x".repeat(this.#prng.below(120_000)) : "";
    const body = JSON.stringify({ n: log.end, pad });
    if (!log.deleted) log.publish({ queueId: this.#prng.below(3), body });
  }

  #open(): void {
    if (this.logs.all.some(({ deleted }) => deleted)) return; // it would be a problem
    const topics = TOPICS.filter((_, i) => i === 0 || this.#prng.chance(70));
    const position = topics
      .filter(() => this.#prng.chance(70))
      .map((topic) => `${topic}=${this.logs.of(topic).cursor(this.logs.of(topic).end)}`);
    const after = this.#prng.pick(["latest", "earliest", position.join(",") || "latest"]);
    this.sessions.push(new Session(this, { topics, after }));
  }
}

/** One reader through all its connections. */
class Session {
  readonly #logs: FakeLogs;
  readonly #query: ReadonlyMap<string, string>;
  readonly #topics: readonly string[];
  readonly #earlier: StreamEvent[] = [];
  refused = false;
  #reader: StreamReader | undefined;
  #lastEventId: string | undefined;
  #abort = new AbortController();
  #opening = true;

  constructor(world: World, { topics, after }: { topics: readonly string[]; after: string }) {
    this.#logs = world.logs;
    this.#topics = topics;
    this.#query = new Map([
      ["topics", topics.join(",")],
      ["after", after],
    ]);
    void this.#open(world.feeds);
  }

  get reading(): boolean {
    return !this.#opening && this.#reader !== undefined && !this.#reader.ended;
  }

  hasAll(): boolean {
    const last = new Map(messagesIn(this.#events()).map(({ topic, n }) => [topic, n]));
    return this.#topics.every((topic) => last.get(topic) === this.#logs.of(topic).end - 1);
  }

  /** Leaves, in one of the ways a client can, or stops taking bytes. */
  disturb(prng: Prng): void {
    const roll = prng.below(5);
    if (roll === 0) this.#abort.abort();
    else if (roll === 1) void this.#reader?.cancel();
    else if (roll <= 3) this.#reader?.pause();
    else this.#reader?.resume();
  }

  leave(): void {
    void this.#reader?.cancel();
  }

  /** An ended stream is opened again where it ended. */
  comeBack(feeds: SharedFeeds): void {
    if (this.#opening || !this.#reader?.ended) return;
    this.#earlier.push(...this.#reader.events);
    this.#lastEventId = this.#reader.lastEventId ?? this.#lastEventId;
    this.#reader = undefined;
    void this.#open(feeds);
  }

  check(): void {
    const next = new Map<string, number>();
    for (const { event, data, id } of this.#events()) {
      if (event === "message") this.#checkMessage(data, next);
      else if (event === "gap") checkGap(data, next);
      if (event !== "reconnect") this.#checkId(id, next);
    }
    for (const topic of this.#topics) assert.equal(next.get(topic), this.#logs.of(topic).end);
  }

  #checkMessage(data: string, next: Map<string, number>): void {
    const { topic, n } = messageOf(data);
    assert(this.#topics.includes(topic));
    assert.equal(n, next.get(topic) ?? n, `of ${topic}`);
    next.set(topic, n + 1);
  }

  /** In each topic it stands behind what was sent, and before all that was not. */
  #checkId(id: string | undefined, next: Map<string, number>): void {
    const entries = (id ?? "").split(",").map((entry) => entry.split("=") as [string, string]);
    assert.deepEqual(entries.map(([topic]) => topic).toSorted(), this.#topics);
    for (const [topic, cursor] of entries) {
      if (cursor === "earliest") continue;
      assert.equal(numberAt(cursor), next.get(topic) ?? numberAt(cursor), `${id} in ${topic}`);
      next.set(topic, numberAt(cursor));
    }
  }

  #events(): StreamEvent[] {
    return [...this.#earlier, ...(this.#reader?.events ?? [])];
  }

  async #open(feeds: SharedFeeds): Promise<void> {
    this.#opening = true;
    this.#abort = new AbortController();
    const head = Object.assign(new RequestHead(), { lastEventId: this.#lastEventId });
    const request = new Request("http://gateway/", { signal: this.#abort.signal });
    try {
      const response = await feeds.openTopics(topicsStream(head, this.#query), request);
      assert.equal(response.status, 200);
      this.#reader = new StreamReader(response);
    } catch (error) {
      // Deleted while it came for the first time: there is no stream.
      const { code } = error as { code?: unknown };
      assert(code === "topic-not-found" && this.#lastEventId === undefined, String(error));
      this.refused = true;
    }
    this.#opening = false;
  }
}

function messageOf(data: string): { topic: string; n: number } {
  const { topic, data: body } = JSON.parse(data) as { topic: string; data: { n: number } };
  return { topic, n: body.n };
}

function messagesIn(events: readonly StreamEvent[]) {
  return events.filter(({ event }) => event === "message").map(({ data }) => messageOf(data));
}

function checkGap(data: string, next: Map<string, number>): void {
  const { topic, earliest } = JSON.parse(data) as { topic: string; earliest: string };
  const n = numberAt(earliest);
  assert(n >= (next.get(topic) ?? 0), `a gap leads back to ${n} of ${topic}`);
  next.set(topic, n);
}
