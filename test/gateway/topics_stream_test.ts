import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { StreamRequest } from "../../routes/ports.ts";
import { RequestHead } from "../../routes/request_head.ts";
import { topicsStream } from "../../routes/stream.ts";
import type { Start } from "../../src/broker/api.ts";
import { SharedFeeds } from "../../src/gateway/feeds.ts";
import { Streams } from "../../src/gateway/streams.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { FakeLogs, numberAt } from "../fakes/log.ts";
import { StreamReader, turn, until } from "../fakes/stream_reader.ts";

const BEAT_MS = 8000;
const latest: Start = { kind: "latest" };
const earliest: Start = { kind: "earliest" };

describe("a stream over several topics", () => {
  it("begins with a retry time and a position in all of them", async () => {
    const world = new World();
    const reader = await world.open({ a: latest, b: latest });
    await until(() => reader.events.length === 1, "the opening arrived");
    assert.equal(reader.retryMs, 2500);
    const [opening] = reader.events;
    assert.equal(opening?.event, "control");
    assert.match(opening?.id ?? "", /^a=g1\.0\.\d+,b=g1\.0\.\d+$/);
    assert.deepEqual(reader.data("control"), [{ cursor: opening?.id, upToDate: true }]);
  });

  it("gives the messages of all, each with a position in all of them", async () => {
    const world = new World();
    const reader = await world.open({ a: latest, b: latest });
    for (const [i, topic] of ["a", "b", "b", "a"].entries()) {
      world.log(topic).publish();
      await until(() => reader.numbers.length === i + 1, "it arrived");
    }
    assert.deepEqual(seen(reader), ["a0", "b0", "b1", "a1"]);
    const ids = reader.events.slice(1).map(({ id = "" }) => numbersIn(id));
    assert.deepEqual(ids, ["a=1,b=0", "a=1,b=1", "a=1,b=2", "a=2,b=2"]);
  });

  it("sends what a stream of one topic sends, but for the ids", async () => {
    const world = new World();
    const [many, one] = [
      await world.answer({ a: latest, b: latest }),
      await world.feeds.open({ topic: "a", start: latest, resumed: false }, request()),
    ];
    world.log("a").publish();
    world.log("a").publish({ body: body(1, 10_000) });
    await until(() => world.idle(), "nothing moves any more");
    world.streams.drain();
    const [first, second] = await Promise.all([many.text(), one.text()]);
    const withoutIds = (text: string) => text.replaceAll(/^id: .*$/gm, "id:");
    const messages = (text: string) => withoutIds(text).split("\n\n").slice(1);
    assert.deepEqual(messages(first), messages(second));
    assert.match(first, /^id: b=g1\.0\.\d+,a=g1\.1\.\d+\nevent: message\ndata: /m);
  });

  it("shares the bytes of a long message with every other stream", async () => {
    const world = new World();
    const responses = [
      await world.answer({ a: latest, b: latest }),
      await world.answer({ c: latest, a: latest }),
      await world.feeds.open({ topic: "a", start: latest, resumed: false }, request()),
    ];
    const readers = responses.flatMap(({ body }) => (body ? [body.getReader()] : []));
    for (const reader of readers) await reader.read();
    world.log("a").publish({ body: body(0, 10_000) });
    const buffers = await Promise.all(
      readers.map(async (reader) => {
        for (;;) {
          const chunk = (await reader.read()).value as Uint8Array;
          if (chunk.length > 10_000) return chunk.buffer;
        }
      }),
    );
    assert.equal(new Set(buffers).size, 1);
    assert.equal(world.feeds.size, 3);
  });

  it("catches up in each topic from where it is, then says that it is up to date", async () => {
    const world = new World();
    for (let n = 0; n < 3; n++) for (const topic of ["a", "b"]) world.log(topic).publish();
    const cursor = world.log("b").cursor(2);
    const reader = await world.open({ a: earliest, b: { kind: "cursor", cursor }, c: latest });
    await until(() => reader.data("control").length === 2, "it caught up");
    assert.match(reader.events[0]?.id ?? "", /^a=earliest,b=g1\.2\.\d+,c=g1\.0\.\d+$/);
    assert.deepEqual(seen(reader).toSorted(), ["a0", "a1", "a2", "b2"]);
    const [opening, caughtUp] = reader.data("control") as { upToDate: boolean; cursor: string }[];
    assert.deepEqual([opening?.upToDate, caughtUp?.upToDate], [false, true]);
    assert.equal(numbersIn(caughtUp?.cursor ?? ""), "a=3,b=3,c=0");
    for (const topic of ["a", "b", "c"]) world.log(topic).publish();
    await until(() => reader.numbers.length === 7, "it went live in all");
  });

  it("from a time says so until it has a cursor", async () => {
    const world = new World();
    world.log("a").publish();
    const reader = await world.open({ a: { kind: "time", time: 1_795_334_400_123 }, b: latest });
    await until(() => reader.numbers.length === 1, "the message arrived");
    assert.match(reader.events[0]?.id ?? "", /^a=time:2026-11-22T08:00:00\.123Z,b=g1/);
  });

  it("catches up one page at a time, at the pace the reader takes them", async () => {
    const world = new World();
    for (const topic of ["a", "b", "c"]) {
      for (let n = 0; n < 40; n++) world.log(topic).publish({ body: body(n, 40_000) });
    }
    const reader = await world.open({ a: earliest, b: earliest, c: earliest });
    reader.pause();
    await until(() => world.idle(), "nothing moves any more");
    // A look at each, six pages of 40 kB that fit, and one page in hand.
    assert.equal(world.reads(), 3 + 6 + 1, "for a reader that takes nothing");
    reader.resume();
    await until(() => reader.numbers.length === 120, "all arrived");
    for (const topic of ["a", "b", "c"]) {
      const numbers = seen(reader).filter((one) => one.startsWith(topic));
      assert.deepEqual(
        numbers,
        Array.from({ length: 40 }, (_, n) => `${topic}${n}`),
      );
    }
  });

  it("ends without a trace when the reader goes", async () => {
    const world = new World();
    world.log("b").publish();
    const reader = await world.open({ a: latest, b: earliest, c: latest });
    await until(() => reader.numbers.length === 1, "it caught up");
    assert.equal(world.feeds.size, 3);
    await reader.cancel();
    assert.equal(world.streams.size, 0);
    await until(() => world.feeds.size === 0, "the feeds ended");
  });

  it("shares the feeds of streams over one topic", async () => {
    const world = new World();
    await world.feeds.open({ topic: "a", start: latest, resumed: false }, request());
    await world.open({ a: latest, b: latest });
    await world.open({ b: latest, a: latest });
    assert.equal(world.feeds.size, 2);
    assert.equal(world.streams.size, 3);
  });
});

describe("the position of a stream over several topics", () => {
  it("goes on in each topic where it was", async () => {
    const world = new World();
    const reader = await world.open({ a: latest, b: latest });
    for (const topic of ["a", "b", "a"]) world.log(topic).publish();
    await until(() => reader.numbers.length === 3, "all arrived");
    await reader.cancel();
    for (const topic of ["b", "a", "b"]) world.log(topic).publish();
    const again = await world.resume(reader);
    await until(() => again.numbers.length === 3, "what was missed arrived");
    assert.deepEqual(seen(again).toSorted(), ["a2", "b1", "b2"]);
    await again.cancel();

    const third = await world.resume(again);
    await until(() => third.events.length === 1, "the opening arrived");
    const [opening] = third.data("control") as { upToDate: boolean }[];
    assert.equal(opening?.upToDate, true, "nothing was missed");
  });

  it("of another set: what is new starts as after says, what is missing is ignored", async () => {
    const world = new World();
    for (const topic of ["a", "b", "c"]) world.log(topic).publish();
    const position = `a=${world.log("a").cursor(0)},c=${world.log("c").cursor(0)}`;
    for (const [after, expected] of [
      ["latest", ["a0"]],
      ["earliest", ["a0", "b0"]],
    ] as const) {
      const reader = await world.ask({ topics: "b,a", after, lastEventId: position });
      await until(() => reader.data("control").length === 2, "it caught up");
      assert.deepEqual(seen(reader).toSorted(), expected);
      await reader.cancel();
    }
  });

  it("is told with a heartbeat when it moved without a message", async () => {
    const world = new World();
    const reader = await world.open({ a: latest, b: latest });
    await until(() => reader.events.length === 1, "the opening arrived");
    world.clock.advance(BEAT_MS);
    await until(() => reader.comments.length === 1, "a heartbeat arrived");
    world.log("b").endWaits(); // with a cursor that names the same place anew
    await turn();
    world.clock.advance(BEAT_MS);
    await until(() => reader.events.length === 2, "the control arrived");
    const [opening, moved] = reader.events;
    assert.equal(moved?.event, "control");
    assert.notEqual(moved?.id, opening?.id);
    world.clock.advance(BEAT_MS);
    await until(() => reader.comments.length === 2, "the next beat is a comment again");
  });

  it("is not told before the stream has one", async () => {
    const world = new World();
    world.log("a").auto = false;
    const opening = world.answer({ a: earliest, b: latest });
    await turn();
    world.clock.advance(2 * BEAT_MS);
    await world.log("a").answerAll();
    const reader = new StreamReader(await opening);
    await until(() => reader.events.length === 1, "the opening arrived");
    assert.match(reader.events[0]?.id ?? "", /^a=g1\.0\.\d+,b=g1\.0\.\d+$/);
  });
});

describe("lost history of one of several topics", () => {
  it("is told as a gap of that topic, and the others go on", async () => {
    const world = new World();
    for (let n = 0; n < 4; n++) world.log("a").publish();
    world.log("b").publish();
    const requested = world.log("a").cursor(1);
    world.log("a").expire(3);
    const reader = await world.open({ a: { kind: "cursor", cursor: requested }, b: earliest });
    await until(() => reader.numbers.length === 2, "all that is left arrived");
    assert.deepEqual(seen(reader).toSorted(), ["a3", "b0"]);
    const [gap] = reader.data("gap") as { topic: string; requested: string; earliest: string }[];
    assert.equal(gap?.topic, "a");
    assert.equal(gap?.requested, requested);
    const event = reader.events.find((one) => one.event === "gap");
    assert(event?.id?.split(",").includes(`a=${gap?.earliest}`));
  });

  it("under a live feed is told to streams of both kinds", async () => {
    const world = new World();
    const many = await world.open({ a: latest, b: latest });
    const one = new StreamReader(
      await world.feeds.open({ topic: "a", start: latest, resumed: false }, request()),
    );
    world.log("a").publish();
    await until(() => many.numbers.length === 1 && one.numbers.length === 1, "both are live");
    world.log("a").recreate();
    world.log("a").publish();
    await until(() => many.numbers.length === 2 && one.numbers.length === 2, "both went on");
    assert.equal((many.data("gap")[0] as { topic?: string }).topic, "a");
    assert.equal((one.data("gap")[0] as { topic?: string }).topic, undefined);
  });

  it("by a message that cannot be read is a gap with its topic", async () => {
    const world = new World();
    world.log("a").publish({ body: body(0, 0) });
    world.log("a").damaged = 0;
    const reader = await world.open({ a: earliest, b: latest });
    await until(() => reader.data("gap").length === 1, "the gap arrived");
    assert.equal((reader.data("gap")[0] as { topic?: string }).topic, "a");
  });
});

describe("a topic that is deleted", () => {
  it("ends its part, and the others go on", async () => {
    const world = new World();
    const reader = await world.open({ a: latest, b: latest });
    world.log("a").publish();
    await until(() => reader.numbers.length === 1, "the message arrived");
    world.log("a").delete();
    await until(() => reader.data("control").length === 2, "the end was told");
    const told = reader.data("control")[1] as { ended: string[]; cursor: string };
    assert.deepEqual(told.ended, ["a"]);
    world.log("b").publish();
    await until(() => reader.numbers.length === 2, "the other goes on");
    assert.equal(numbersIn(reader.lastEventId ?? ""), "a=1,b=1");
    assert.equal(world.feeds.size, 1);
  });

  it("is told again to a reader who comes back, and when it was made again is a gap", async () => {
    const world = new World();
    const reader = await world.open({ a: latest, b: latest });
    await until(() => reader.events.length === 1, "the opening arrived");
    world.log("a").delete();
    await until(() => reader.data("control").length === 2, "the end was told");
    await reader.cancel();

    const again = await world.resume(reader);
    await until(() => again.events.length === 1, "the opening arrived");
    const [opening] = again.data("control") as { ended: string[] }[];
    assert.deepEqual(opening?.ended, ["a"]);
    await again.cancel();

    world.log("a").recreate();
    world.log("a").publish();
    const third = await world.resume(again);
    await until(() => third.numbers.length === 1, "the new topic's message arrived");
    assert.equal(third.data("gap").length, 1);
  });

  it("as the last one ends the stream, and 204 stops the reader who comes back", async () => {
    const world = new World();
    const reader = await world.open({ a: latest, b: latest });
    await until(() => reader.events.length === 1, "the opening arrived");
    world.log("a").delete();
    world.log("b").delete();
    await until(() => reader.ended === "closed", "it closed");
    assert.deepEqual(reader.data("reconnect"), []);
    const last = reader.data("control").at(-1) as { ended: string[] };
    assert.deepEqual(last.ended, ["a", "b"]);
    world.clock.advance(4 * BEAT_MS);
    assert.equal(world.streams.size, 0);

    const answer = await world.askFor({
      topics: "a,b",
      after: "latest",
      lastEventId: reader.lastEventId ?? "",
    });
    assert.equal(answer.status, 204);
    assert.equal(world.streams.size, 0);
    assert.deepEqual(world.reported, []);
  });

  for (const start of [latest, earliest]) {
    it(`before it was ever followed, from ${start.kind}, is a problem`, async () => {
      const world = new World();
      world.log("b").delete();
      await assert.rejects(world.answer({ a: latest, b: start, c: earliest }), {
        code: "topic-not-found",
      });
      assert.equal(world.streams.size, 0);
      await until(() => world.feeds.size === 0, "no feed is left");
    });
  }

  it("is a problem when it is new to the position of a reader who comes back", async () => {
    const world = new World();
    world.log("b").delete();
    const lastEventId = `a=${world.log("a").cursor(0)}`;
    await assert.rejects(world.askFor({ topics: "a,b", after: "latest", lastEventId }), {
      code: "topic-not-found",
    });
    assert.equal(world.streams.size, 0);
  });
});

describe("a slow reader of several topics", () => {
  it("is told to reconnect at 256 KiB, comes back, and misses nothing", async () => {
    const world = new World();
    const slow = await world.open({ a: latest, b: latest });
    const quick = await world.open({ a: latest, b: latest });
    slow.pause();
    for (let n = 0; n < 20; n++) {
      world.log(n % 2 ? "a" : "b").publish({ body: body(n, 30_000) });
      await until(() => quick.numbers.length === n + 1, "the quick one has it");
    }
    slow.resume();
    await until(() => slow.ended === "closed", "the slow one is closed");
    assert.deepEqual(slow.data("reconnect"), [{ reason: "slow-reader" }]);
    assert(slow.bytes < 330_000, `${slow.bytes} bytes waited for it`);
    const again = await world.resume(slow);
    await until(() => slow.numbers.length + again.numbers.length === 20, "it caught up");
    const all = [...seen(slow), ...seen(again)];
    assert.deepEqual(all.toSorted(), seen(quick).toSorted());
  });

  it("is given one message larger than the bound", async () => {
    const world = new World();
    const reader = await world.open({ a: latest, b: latest });
    await until(() => reader.events.length === 1, "the opening arrived");
    world.log("a").publish({ body: body(0, 1_000_000) });
    await until(() => reader.numbers.length === 1, "it arrived");
  });

  it("that takes nothing for 32 s is cut off", async () => {
    const world = new World();
    for (let n = 0; n < 20; n++) world.log("a").publish({ body: body(n, 30_000) });
    const reader = await world.open({ a: earliest, b: latest });
    reader.pause();
    world.log("b").publish();
    await until(() => world.idle(), "nothing moves any more");
    world.clock.advance(5 * BEAT_MS);
    assert.equal(world.streams.size, 0);
    reader.resume();
    await until(() => reader.ended === "broken", "the connection broke");
    await until(() => world.feeds.size === 0, "the feeds ended");
  });
});

describe("the end of a stream over several topics", () => {
  it("by a drain is told, also while it opens", async () => {
    const world = new World();
    const reader = await world.open({ a: latest, b: latest });
    world.log("c").auto = false;
    const opening = [world.answer({ a: latest, c: latest }), world.answer({ c: earliest })];
    await turn();
    world.streams.drain();
    await world.log("c").answerAll();
    const others = (await Promise.all(opening)).map((response) => new StreamReader(response));
    for (const one of [reader, ...others]) {
      await until(() => one.ended === "closed", "it closed");
      assert.deepEqual(one.data("reconnect"), [{ reason: "draining" }]);
    }
    const late = await world.open({ a: latest });
    await until(() => late.ended === "closed", "the late one closed");
    assert.deepEqual(late.data("reconnect"), [{ reason: "draining" }]);
    await until(() => world.feeds.size === 0, "no feed is left");
  });

  it("before its beginning is a stream that says reconnect, when a retry may help", async () => {
    const world = new World();
    world.log("b").failing = new TidegateError("overloaded", "Not now");
    for (const start of [latest, earliest]) {
      const reader = await world.open({ a: latest, b: start });
      await until(() => reader.ended === "closed", "it closed");
      assert.deepEqual(reader.data("reconnect"), [{ reason: "overloaded" }]);
      assert.deepEqual(reader.data("control"), []);
    }
    assert.equal(world.streams.size, 0);
  });

  it("by a failure of one feed ends all of it, and is reported", async () => {
    const world = new World();
    const reader = await world.open({ a: latest, b: latest });
    await until(() => reader.events.length === 1, "the opening arrived");
    world.log("a").failing = new TidegateError("internal", "Broken");
    world.log("a").publish();
    await until(() => reader.ended === "closed", "it closed");
    assert.deepEqual(reader.data("reconnect"), [{ reason: "internal" }]);
    assert.equal(world.reported.length, 1);
    await until(() => world.feeds.size === 0, "no feed is left");
  });
});

class World {
  readonly logs = new FakeLogs(["a", "b", "c"]);
  readonly clock = new ManualClock();
  readonly reported: unknown[] = [];
  readonly streams: Streams;
  readonly feeds: SharedFeeds;
  #readsBefore = 0;

  constructor() {
    const after = (delayMs: number, run: () => void) => this.clock.after(delayMs, run);
    const report = (error: unknown) => void this.reported.push(error);
    this.streams = new Streams({ after, random: () => 0.5 });
    this.feeds = new SharedFeeds({ messages: this.logs, streams: this.streams, after, report });
  }

  log(topic: string) {
    return this.logs.of(topic);
  }

  /** What the gateway answers a first request for these topics, from there. */
  answer(starts: Readonly<Record<string, Start>>): Promise<Response> {
    const wanted = Object.entries(starts).map(
      ([topic, start]): StreamRequest => ({ topic, start, resumed: false }),
    );
    return this.feeds.openTopics(wanted, request());
  }

  async open(starts: Readonly<Record<string, Start>>): Promise<StreamReader> {
    return new StreamReader(await this.answer(starts));
  }

  /** What it answers a request as it comes from the wire. */
  askFor(asked: { topics: string; after: string; lastEventId: string }): Promise<Response> {
    const { topics, after, lastEventId } = asked;
    const head = Object.assign(new RequestHead(), { lastEventId });
    const query = new Map(Object.entries({ topics, after }));
    return this.feeds.openTopics(topicsStream(head, query), request());
  }

  async ask(asked: { topics: string; after: string; lastEventId: string }): Promise<StreamReader> {
    return new StreamReader(await this.askFor(asked));
  }

  resume({ lastEventId = "" }: StreamReader): Promise<StreamReader> {
    const topics = lastEventId.replaceAll(/=[^,]*/g, "");
    return this.ask({ topics, after: "latest", lastEventId });
  }

  reads(): number {
    return this.logs.all.reduce((sum, { reads }) => sum + reads, 0);
  }

  /** Two looks apart by a turn of the event loop saw the same number of reads. */
  idle(): boolean {
    const before = this.#readsBefore;
    this.#readsBefore = this.reads();
    return before === this.#readsBefore;
  }
}

function request(): Request {
  return new Request("http://gateway/");
}

/** Topic and number of the messages, in order. */
function seen(reader: StreamReader): string[] {
  const messages = reader.data("message") as { topic: string; data: { n: number } }[];
  return messages.map(({ topic, data }) => `${topic}${data.n}`);
}

/** A position, with the numbers of the messages it stands before. */
function numbersIn(id: string): string {
  const entries = id
    .split(",")
    .toSorted()
    .map((entry) => entry.split("="));
  return entries.map(([topic, cursor = ""]) => `${topic}=${numberAt(cursor)}`).join(",");
}

function body(n: number, padding: number): string {
  return JSON.stringify({ n, padding: "x".repeat(padding) });
}
