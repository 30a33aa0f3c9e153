/**
 * Streams under every order of events: one seed is one history.
 *
 * Goal: each reader gets every message once and in order, from its start on,
 * through any number of reconnects; where history was removed under it, or its topic
 * was made again, a gap says so. Method: publish, expire, open, pause, cut and resume streams in
 * seeded order over a log that answers late, out of turn and with cursors that
 * never compare equal; then let it come to rest and compare with the model, the
 * numbers 0, 1, 2, …
 *
 * Replay one failure: SEED=42 bun test ./test/gateway/feeds_property_test.ts
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Start } from "../../src/broker/api.ts";
import { SharedFeeds } from "../../src/gateway/feeds.ts";
import { Streams } from "../../src/gateway/streams.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { Prng } from "../../storage/base/prng.ts";
import { seeds } from "../effort.ts";
import { FakeLog, numberAt } from "../fakes/log.ts";
import { StreamReader, turn } from "../fakes/stream_reader.ts";

const STEPS = 250;
const QUEUES = 3;

describe("SharedFeeds, in any order of events", () => {
  for (const seed of seeds(60)) {
    it(`gives each reader every message once, seed ${seed}`, () => simulate(seed));
  }
});

async function simulate(seed: number): Promise<void> {
  const prng = new Prng(seed);
  const world = new World(prng);
  for (let step = 0; step < STEPS; step++) await world.step();
  await world.settle();
  for (const session of world.sessions) session.check(world.log.end);
  assert(world.log.end > 0 && world.sessions.length > 0, "the history is not empty");
}

class World {
  readonly log = new FakeLog();
  readonly clock = new ManualClock();
  readonly sessions: Session[] = [];
  readonly feeds: SharedFeeds;
  readonly #prng: Prng;
  /** Percent of the messages, so that backlogs fill up in some histories. */
  readonly #large: number;
  readonly #expires: boolean;

  constructor(prng: Prng) {
    this.#prng = prng;
    this.#large = prng.pick([0, 0, 10, 50]);
    this.#expires = prng.chance(50);
    this.log.auto = false;
    const after = (delayMs: number, run: () => void) => this.clock.after(delayMs, run);
    const report = (error: unknown) => assert.fail(String(error));
    const streams = new Streams({ after, random: () => prng.below(100) / 100 });
    this.feeds = new SharedFeeds({ messages: this.log, streams, after, report });
  }

  async step(): Promise<void> {
    const prng = this.#prng;
    const roll = prng.below(100);
    if (roll < 2 && this.#expires) this.#loseHistory();
    else if (roll < 25) this.#publish();
    else if (roll < 80) this.log.step(prng);
    else if (roll < 86) this.#open();
    else if (roll < 92 && this.sessions.length > 0) prng.pick(this.sessions).disturb(prng);
    else this.clock.advance(prng.below(1500));
    if (prng.chance(70)) await turn();
    for (const session of this.sessions) session.comeBack(this.feeds);
  }

  /** Lets all openings finish, then gives each reader one more message to wait for. */
  async settle(): Promise<void> {
    for (const session of this.sessions) session.calm();
    await this.#drive(() => this.sessions.every((session) => session.reading));
    this.#publish();
    await this.#drive(() => this.sessions.every((session) => session.has(this.log.end - 1)));
  }

  /** Until it is done, or nothing can be expected any more. */
  async #drive(done: () => boolean): Promise<void> {
    for (let round = 0; round < 2000 && !done(); round++) {
      for (let call = 0; call < 20; call++) this.log.step(this.#prng);
      await turn();
      if (round % 20 === 0) this.clock.advance(200);
      for (const session of this.sessions) session.comeBack(this.feeds);
    }
  }

  #loseHistory(): void {
    const { log } = this;
    const roll = this.#prng.below(3);
    if (roll === 0) log.expire(this.#prng.below(log.end + 1));
    else if (roll === 1) log.expire(log.end);
    else log.recreate();
  }

  #publish(): void {
    const n = this.log.end;
    const pad = this.#prng.chance(this.#large) ? "x".repeat(this.#prng.below(120_000)) : "";
    const body = JSON.stringify({ n, pad });
    this.log.publish({ queueId: this.#prng.below(QUEUES), body });
  }

  #open(): void {
    const { log } = this;
    const from = this.#prng.below(log.end + 1);
    const starts: [Start, { from: number; to?: number }][] = [
      [{ kind: "latest" }, { from: log.end }],
      [{ kind: "earliest" }, this.#expires ? { from: 0 } : { from: 0, to: 0 }],
      [
        { kind: "cursor", cursor: log.cursor(from) },
        { from, to: from },
      ],
    ];
    const [start, first] = this.#prng.pick(starts);
    this.sessions.push(new Session(this, { start, first }));
  }
}

/** One reader through all its connections. */
class Session {
  readonly #log: FakeLog;
  /** In order: the numbers of messages, and of the first ones behind a gap. */
  readonly #received: Step[] = [];
  /** The first message it must get lies in here. */
  readonly #firstFrom: number;
  #firstTo: number;
  #reader: StreamReader | undefined;
  #lastEventId: string | undefined;
  #abort = new AbortController();
  #opening = true;

  constructor(world: World, begin: { start: Start; first: { from: number; to?: number } }) {
    this.#log = world.log;
    this.#firstFrom = begin.first.from;
    this.#firstTo = begin.first.to ?? Number.POSITIVE_INFINITY;
    void this.#open(world.feeds, begin.start);
  }

  get reading(): boolean {
    return !this.#opening && !this.#reader?.ended;
  }

  has(n: number): boolean {
    const last = this.#steps().findLast(({ kind }) => kind === "message");
    return last?.n === n;
  }

  /** Leaves, in one of the ways a client can, or stops taking bytes. */
  disturb(prng: Prng): void {
    if (!this.#reader) return;
    const roll = prng.below(5);
    if (roll === 0) this.#abort.abort();
    else if (roll === 1) void this.#reader.cancel();
    else if (roll <= 3) this.#reader.pause();
    else this.#reader.resume();
  }

  calm(): void {
    this.#reader?.resume();
  }

  /** An ended stream is opened again where it ended. */
  comeBack(feeds: SharedFeeds): void {
    if (this.#opening || !this.#reader?.ended) return;
    this.#received.push(...stepsOf(this.#reader));
    this.#lastEventId = this.#reader.lastEventId ?? this.#lastEventId;
    this.#reader = undefined;
    assert(this.#lastEventId !== undefined, "a stream gives an id before anything else");
    const at = this.#lastEventId;
    void this.#open(feeds, at === "earliest" ? { kind: at } : { kind: "cursor", cursor: at });
  }

  check(end: number): void {
    const steps = this.#steps();
    const [first] = steps;
    if (first?.kind === "message") {
      assert(first.n >= this.#firstFrom && first.n <= this.#firstTo, `starts at ${first.n}`);
    }
    let next = first?.n ?? -1;
    for (const { kind, n } of steps) {
      if (kind === "gap") assert(n >= next, `a gap leads back to ${n} from ${next}`);
      else assert.equal(n, next);
      next = kind === "gap" ? n : n + 1;
    }
    assert.equal(next, end);
  }

  #steps(): Step[] {
    return [...this.#received, ...(this.#reader ? stepsOf(this.#reader) : [])];
  }

  async #open(feeds: SharedFeeds, start: Start): Promise<void> {
    this.#opening = true;
    this.#abort = new AbortController();
    const request = new Request("http://gateway/", { signal: this.#abort.signal });
    const resumed = this.#lastEventId !== undefined;
    const response = await feeds.open({ topic: this.#log.topic, start, resumed }, request);
    this.#reader = new StreamReader(response);
    this.#firstTo = Math.min(this.#firstTo, this.#log.end);
    this.#opening = false;
  }
}

interface Step {
  readonly kind: "message" | "gap";
  readonly n: number;
}

function stepsOf({ events, numbers }: StreamReader): Step[] {
  let read = 0;
  return events.flatMap(({ event, id = "" }): Step[] => {
    if (event === "message") return [{ kind: "message", n: numbers[read++] ?? -1 }];
    return event === "gap" ? [{ kind: "gap", n: numberAt(id) }] : [];
  });
}
