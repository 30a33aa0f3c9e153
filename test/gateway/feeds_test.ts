import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { StreamRequest } from "../../routes/ports.ts";
import type { Start } from "../../src/broker/api.ts";
import { SharedFeeds } from "../../src/gateway/feeds.ts";
import { Streams } from "../../src/gateway/streams.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { type ErrorCode, TidegateError } from "../../storage/base/errors.ts";
import { FakeLog } from "../fakes/log.ts";
import { StreamReader, turn, until } from "../fakes/stream_reader.ts";

const BEAT_MS = 8000;
const latest: Start = { kind: "latest" };
const earliest: Start = { kind: "earliest" };

describe("a stream", () => {
  it("is answered with the headers that keep proxies from holding it back", async () => {
    const { status, headers } = await new World().answer({ start: latest });
    assert.equal(status, 200);
    assert.equal(headers.get("content-type"), "text/event-stream");
    assert.equal(headers.get("cache-control"), "no-cache, no-transform");
    assert.equal(headers.get("x-accel-buffering"), "no");
    assert.equal(headers.get("incremental"), "?1");
  });

  it("begins with a retry time and a position, before any message", async () => {
    const world = new World();
    world.log.publish();
    const reader = await world.open({ start: latest });
    await until(() => reader.events.length === 1, "the opening arrived");
    assert.equal(reader.retryMs, 2500); // 2000 and half of half of it, by the World's chance
    assert.equal(reader.events[0]?.event, "control");
    const cursor = reader.events[0]?.id;
    assert.deepEqual(reader.data("control"), [{ cursor, upToDate: true }]);

    await reader.cancel();
    world.log.publish();
    const again = await world.resume(reader);
    await until(() => again.numbers.length === 1, "the message arrived");
    assert.deepEqual(again.numbers, [1]);
  });

  it("from the earliest gives everything, then says that it is up to date", async () => {
    const world = new World();
    for (let n = 0; n < 5; n++) world.log.publish({ queueId: n % 2 });
    const reader = await world.open({ start: earliest });
    await until(() => reader.data("control").length === 2, "it caught up");
    assert.deepEqual(reader.events[0], {
      id: "earliest",
      event: "control",
      data: '{"cursor":"earliest","upToDate":false}',
    });
    assert.deepEqual(reader.numbers, [0, 1, 2, 3, 4]);
    assert.equal((reader.data("control")[1] as { upToDate: boolean }).upToDate, true);
    world.log.publish();
    await until(() => reader.numbers.length === 6, "it went live");
  });

  it("from a time says so until it has a cursor", async () => {
    const world = new World();
    world.log.publish();
    const reader = await world.open({ start: { kind: "time", time: 1_795_334_400_123 } });
    await until(() => reader.numbers.length === 1, "the message arrived");
    assert.equal(reader.events[0]?.id, "time:2026-11-22T08:00:00.123Z");
  });

  it("catches up over many pages at the pace the reader takes them", async () => {
    const world = new World();
    for (let n = 0; n < 60; n++) world.log.publish({ body: body(n, 40_000) });
    const reader = await world.open({ start: earliest });
    reader.pause();
    await until(() => world.idle(), "nothing moves any more");
    assert(world.log.reads < 10, `${world.log.reads} reads for a reader that takes nothing`);
    reader.resume();
    await until(() => reader.numbers.length === 60, "all arrived");
    assert.deepEqual(
      reader.numbers,
      Array.from({ length: 60 }, (_, n) => n),
    );
  });

  it("takes only the messages of its queue or key", async () => {
    const world = new World();
    const queue = await world.open({ start: latest, queueId: 1 });
    const key = await world.open({ start: latest, key: "a" });
    world.log.publish({ queueId: 1 });
    world.log.publish({ queueId: 0, key: "a" });
    world.log.publish({ queueId: 0, key: "b" });
    await until(() => queue.numbers.length === 1 && key.numbers.length === 1, "both arrived");
    assert.deepEqual([queue.numbers, key.numbers], [[0], [1]]);
    assert.equal(world.feeds.size, 2);
  });

  it("takes only the messages its filter wants, and shares with those of the same filter", async () => {
    const world = new World();
    const filters = [{ tag: "a" }, { sql: "TAGS = 'b'" }, { tag: "TAGS = 'b'" }, { tag: "a" }];
    const readers = await Promise.all(
      filters.map((filter) => world.open({ start: latest, filter })),
    );
    for (const tag of ["a", "b", "c"]) world.log.publish({ tag });
    await until(
      () => readers.filter(({ numbers }) => numbers.length === 1).length === 3,
      "arrived",
    );
    assert.deepEqual(
      readers.map(({ numbers }) => numbers),
      [[0], [1], [], [0]],
    );
    assert.equal(world.feeds.size, 3);
  });

  it("with a filter, from the past, takes what it wants of both past and present", async () => {
    const world = new World();
    const tags = ["a", "b", "a", "c"];
    for (const tag of tags) world.log.publish({ tag });
    const reader = await world.open({ start: earliest, filter: { tag: "a || c" } });
    for (const tag of tags) world.log.publish({ tag });
    await until(() => reader.numbers.length === 6, "all arrived");
    assert.deepEqual(reader.numbers, [0, 2, 3, 4, 6, 7]);
  });

  it("ends without a trace when the reader goes, by its stream or by its request", async () => {
    const world = new World();
    const abort = new AbortController();
    const one = await world.open({ start: latest });
    await world.open({ start: latest }, abort.signal);
    assert.equal(world.streams.size, 2);
    await one.cancel();
    assert.equal(world.streams.size, 1);
    abort.abort();
    assert.equal(world.streams.size, 0);
    await until(() => world.log.waiting === 0 && world.feeds.size === 0, "the feed ended");
    assert.equal(world.timers, 0);
  });

  it("is not begun for a request that was given up before", async () => {
    const world = new World();
    await world.answer({ start: latest }, AbortSignal.abort());
    assert.equal(world.streams.size, 0);
  });
});

describe("readers of the same messages", () => {
  it("share one read and the very same bytes", async () => {
    const world = new World();
    const responses = await Promise.all(
      Array.from({ length: 50 }, () => world.answer({ start: latest })),
    );
    const bodies = responses.flatMap(({ body }) => (body ? [body.getReader()] : []));
    for (const reader of bodies) await reader.read();
    await until(() => world.log.waiting === 1, "the feed waits");
    world.log.publish();
    const chunks = await Promise.all(bodies.map((reader) => reader.read()));
    const first = chunks[0]?.value;
    assert(first instanceof Uint8Array);
    for (const chunk of chunks) assert.equal(chunk.value, first);
    assert.equal(world.feeds.size, 1);
  });

  it("get what became visible together in one chunk", async () => {
    const world = new World();
    world.log.auto = false;
    const opening = world.answer({ start: latest });
    await world.log.answerAll();
    const reader = (await opening).body?.getReader();
    await reader?.read();
    for (let n = 0; n < 20; n++) world.log.publish();
    await world.log.answerAll();
    const { value } = (await reader?.read()) ?? {};
    assert.equal(new TextDecoder().decode(value).match(/^event: message$/gm)?.length, 20);
  });
});

describe("the heartbeat", () => {
  it("is a comment every eight seconds, by one timer for all", async () => {
    const world = new World();
    const readers = await Promise.all([1, 2, 3].map(() => world.open({ start: latest })));
    await until(() => readers.every(({ events }) => events.length === 1), "all are open");
    assert.equal(world.timers, 1);
    world.clock.advance(BEAT_MS); // tells the first two that the third one moved the position
    const positions = () => new Set(readers.map(({ lastEventId }) => lastEventId));
    await until(() => positions().size === 1, "all stand at the same position");
    const before = readers.map(({ comments }) => comments.length);
    for (let beat = 1; beat <= 3; beat++) {
      world.clock.advance(BEAT_MS);
      await turn();
      const now = readers.map(({ comments }, i) => comments.length - (before[i] ?? 0));
      assert.deepEqual(now, [beat, beat, beat]);
    }
    assert.equal(world.timers, 1);
  });

  for (const wanted of [{ key: "a" }, { filter: { tag: "a" } }, { filter: { sql: "FALSE" } }]) {
    const which = JSON.stringify(wanted);
    it(`tells the position when it moved without a message, for ${which}`, async () => {
      const world = new World();
      const reader = await world.open({ start: latest, ...wanted });
      await until(() => reader.events.length === 1, "the opening arrived");
      world.log.publish({ key: "b", tag: "b" });
      world.log.endWaits();
      await turn();
      world.clock.advance(BEAT_MS);
      await until(() => reader.events.length === 2, "the control arrived");
      assert.deepEqual(reader.comments, []);
      const [opening, moved] = reader.events;
      assert.equal(moved?.event, "control");
      assert.notEqual(moved?.id, opening?.id);
      world.clock.advance(BEAT_MS);
      await until(() => reader.comments.length === 1, "the next beat is a comment again");
    });
  }
});

describe("lost history", () => {
  it("before the start is told as a gap, and the stream goes on behind it", async () => {
    const world = new World();
    for (let n = 0; n < 4; n++) world.log.publish();
    const requested = world.log.cursor(1);
    world.log.expire(3);
    const reader = await world.open({ start: { kind: "cursor", cursor: requested } });
    await until(() => reader.numbers.length === 1, "the message behind the gap arrived");
    assert.deepEqual(reader.numbers, [3]);
    assert.equal(reader.events[0]?.id, requested);
    const [gap] = reader.data("gap") as { requested: string; earliest: string }[];
    assert.equal(gap?.requested, requested);
    assert.equal(reader.events[1]?.event, "gap");
    assert.equal(reader.events[1]?.id, gap?.earliest);
  });

  it("under a live feed is told to everybody", async () => {
    const world = new World();
    const readers = [await world.open({ start: latest }), await world.open({ start: latest })];
    world.log.publish();
    await until(() => readers.every(({ numbers }) => numbers.length === 1), "all are live");
    world.log.recreate();
    world.log.publish();
    await until(() => readers.every(({ numbers }) => numbers.length === 2), "all went on");
    for (const reader of readers) {
      assert.deepEqual(reader.numbers, [0, 1]);
      assert.equal(reader.data("gap").length, 1);
    }
  });

  it("while joining does not hide the new topic's messages", async () => {
    const world = new World();
    world.log.publish();
    world.log.publish();
    const live = await world.open({ start: latest });
    const late = await world.open({ start: earliest });
    world.log.recreate();
    world.log.publish();
    await until(() => live.numbers.length === 1, "the live one went on");
    await until(() => late.numbers.at(-1) === 2, "the late one too");
    assert.equal(late.data("gap").length, 1);
  });

  it("by damage is a gap as wide as the damage", async () => {
    const world = new World();
    for (let n = 0; n < 3; n++) world.log.publish();
    world.log.damaged = 1;
    const reader = await world.open({ start: earliest });
    await until(() => reader.numbers.length === 2, "it stepped over");
    assert.deepEqual(reader.numbers, [0, 2]);
    assert.deepEqual(
      reader.events.map(({ event }) => event),
      ["control", "message", "gap", "message", "control"],
    );
  });

  it("that never ends is reported, not retried for ever", async () => {
    const world = new World();
    world.log.failing = new TidegateError("cursor-expired", "Gone", { earliest: "g1.0.0" });
    const reader = await world.open({ start: earliest });
    await until(() => reader.ended !== undefined, "the stream ended");
    assert.deepEqual(reader.data("reconnect"), [{ reason: "internal" }]);
    assert.equal(world.reported.length, 1);
  });
});

describe("a refusal", () => {
  for (const start of [latest, earliest]) {
    it(`of a filter that is none, from ${start.kind}, is the asker's, and nobody's failure`, async () => {
      const world = new World();
      const asked = world.answer({ start, filter: { sql: "a =" } });
      await assert.rejects(asked, (error) => {
        assert(error instanceof TidegateError);
        assert.deepEqual([error.code, error.details["position"]], ["filter-invalid", 3]);
        return true;
      });
      await until(() => world.feeds.size === 0 && world.streams.size === 0, "all is gone");
      assert.deepEqual(world.reported, []);
    });
  }

  const retryable: [code: ErrorCode, reason: string][] = [
    ["overloaded", "overloaded"],
    ["quota-exceeded", "overloaded"],
    ["draining", "draining"],
  ];
  for (const [code, reason] of retryable) {
    for (const start of [latest, earliest]) {
      it(`${code}, from ${start.kind}, is a stream that says reconnect`, async () => {
        const world = new World();
        world.log.failing = new TidegateError(code, "Not now");
        const response = await world.answer({ start });
        assert.equal(response.status, 200);
        assert.equal(response.headers.get("content-type"), "text/event-stream");
        const reader = new StreamReader(response);
        await until(() => reader.ended === "closed", "it closed");
        assert.deepEqual(reader.data("reconnect"), [{ reason }]);
        assert.equal(reader.retryMs, reason === "overloaded" ? 12_500 : 2500);
        assert.equal(world.streams.size, 0);
      });
    }
  }

  for (const code of ["topic-not-found", "invalid-cursor", "internal"] as const) {
    for (const start of [latest, earliest]) {
      it(`${code}, from ${start.kind}, is a problem`, async () => {
        const world = new World();
        world.log.failing = new TidegateError(code, "No");
        await assert.rejects(world.answer({ start }), { code });
        assert.equal(world.streams.size, 0);
        await until(() => world.feeds.size === 0, "the feed is forgotten");
      });
    }
  }

  it("of a resumed stream whose topic is gone is 204, so that an EventSource stops", async () => {
    const world = new World();
    const cursor = world.log.cursor(0);
    world.log.delete();
    const response = await world.answer({ start: { kind: "cursor", cursor }, resumed: true });
    assert.equal(response.status, 204);
  });

  it("above the node's bound is a stream that says reconnect", async () => {
    const world = new World({ streamsMax: 2 });
    const first = await world.open({ start: latest });
    await world.open({ start: latest });
    const third = await world.open({ start: latest });
    await until(() => third.ended === "closed", "the third closed");
    assert.deepEqual(third.data("reconnect"), [{ reason: "overloaded" }]);
    await first.cancel();
    const fourth = await world.open({ start: latest });
    await until(() => fourth.data("control").length === 1, "the fourth is open");
  });
});

describe("a feed whose topic is deleted", () => {
  it("ends every stream, and 204 stops the reader who comes back", async () => {
    const world = new World();
    const reader = await world.open({ start: latest });
    world.log.delete();
    await until(() => reader.ended === "closed", "it closed");
    assert.deepEqual(reader.data("reconnect"), []);
    const cursor = reader.lastEventId ?? "";
    const again = await world.answer({ start: { kind: "cursor", cursor }, resumed: true });
    assert.equal(again.status, 204);
    assert.deepEqual(world.reported, []);
  });
});

describe("a feed whose broker fails", () => {
  it("for a while goes on afterwards, and loses nothing", async () => {
    const world = new World();
    const reader = await world.open({ start: latest });
    world.log.failing = new TidegateError("overloaded", "Too many waiters");
    world.log.publish();
    await turn();
    world.log.failing = undefined;
    assert.deepEqual(reader.numbers, []);
    world.clock.advance(1000);
    await until(() => reader.numbers.length === 1, "the message arrived");
    assert.equal(reader.ended, undefined);
  });

  it("to wait at all is not asked in a circle", async () => {
    const world = new World();
    world.log.hasty = true;
    const reader = await world.open({ start: latest });
    await until(() => world.idle(), "nothing moves any more");
    const before = world.log.reads;
    world.clock.advance(10);
    await until(() => world.log.reads > before && world.idle(), "nothing moves again");
    assert.equal(world.log.reads, before + 1);
    world.log.publish();
    world.clock.advance(10);
    await until(() => reader.numbers.length === 1, "the message arrived");
  });

  it("for good tells its readers to reconnect, and reports it once", async () => {
    const world = new World();
    const readers = [await world.open({ start: latest }), await world.open({ start: latest })];
    world.log.failing = new TidegateError("internal", "Broken");
    world.log.publish();
    await until(() => readers.every(({ ended }) => ended === "closed"), "all closed");
    for (const reader of readers) {
      assert.deepEqual(reader.data("reconnect"), [{ reason: "internal" }]);
    }
    assert.equal(world.reported.length, 1);
    assert.equal(world.feeds.size, 0);
  });
});

describe("a slow reader", () => {
  it("is told to reconnect at 256 KiB, comes back, and misses nothing", async () => {
    const world = new World();
    const slow = await world.open({ start: latest });
    const quick = await world.open({ start: latest });
    slow.pause();
    for (let n = 0; n < 20; n++) {
      world.log.publish({ body: body(n, 30_000) });
      await until(() => quick.numbers.length === n + 1, "the quick one has it");
    }
    slow.resume();
    await until(() => slow.ended === "closed", "the slow one is closed");
    assert.deepEqual(slow.data("reconnect"), [{ reason: "slow-reader" }]);
    assert(slow.bytes < 330_000, `${slow.bytes} bytes waited for it`);
    const again = await world.resume(slow);
    await until(() => again.numbers.at(-1) === 19, "it caught up");
    const all = [...slow.numbers, ...again.numbers];
    assert.deepEqual(
      all,
      Array.from({ length: 20 }, (_, n) => n),
    );
  });

  it("is given one message larger than the bound", async () => {
    const world = new World();
    const reader = await world.open({ start: latest });
    await until(() => reader.events.length === 1, "the opening arrived");
    world.log.publish({ body: body(0, 1_000_000) });
    await until(() => reader.numbers.length === 1, "it arrived");
  });

  it("gets a burst larger than the bound while it takes what it can", async () => {
    const world = new World();
    const reader = await world.open({ start: latest });
    world.log.auto = false;
    for (let n = 0; n < 40; n++) world.log.publish({ body: body(n, 30_000) });
    world.log.auto = true;
    world.log.publish({ body: body(40, 30_000) });
    await until(() => {
      world.clock.advance(2);
      return reader.numbers.length === 41;
    }, "all arrived");
    assert.equal(reader.ended, undefined);
  });

  for (const [name, open] of [
    ["live", (world: World) => world.open({ start: latest })],
    ["catching up", (world: World) => world.open({ start: earliest })],
  ] as const) {
    it(`that takes nothing for 32 s while ${name} is cut off`, async () => {
      const world = new World();
      for (let n = 0; n < 20; n++) world.log.publish({ body: body(n, 30_000) });
      const reader = await open(world);
      reader.pause();
      world.log.publish();
      await until(() => world.idle(), "nothing moves any more");
      world.clock.advance(3 * BEAT_MS);
      assert.equal(world.streams.size, 1);
      world.clock.advance(2 * BEAT_MS);
      assert.equal(world.streams.size, 0);
      reader.resume();
      await until(() => reader.ended === "broken", "the connection broke");
      await until(() => world.feeds.size === 0, "the feed ended");
      assert.equal(world.timers, 0);
    });
  }

  it("told to reconnect has as long to take the rest, then is cut off", async () => {
    const world = new World();
    const reader = await world.open({ start: latest });
    await until(() => reader.events.length === 1, "the opening arrived");
    reader.pause();
    await turn();
    world.log.publish({ body: body(0, 200_000) });
    await turn();
    world.streams.drain();
    assert.equal(world.streams.size, 1);
    world.clock.advance(5 * BEAT_MS);
    assert.equal(world.streams.size, 0);
    reader.resume();
    await until(() => reader.ended === "broken", "the connection broke");
  });
});

describe("drain()", () => {
  it("tells every stream to reconnect, ends it, and takes no more", async () => {
    const world = new World();
    world.log.publish();
    const readers = [await world.open({ start: latest }), await world.open({ start: earliest })];
    await until(() => readers[1]?.numbers.length === 1, "both are open");
    world.streams.drain();
    await until(() => readers.every(({ ended }) => ended === "closed"), "all closed");
    for (const reader of readers) {
      assert.deepEqual(reader.data("reconnect"), [{ reason: "draining" }]);
      assert.equal(reader.events.at(-1)?.event, "reconnect");
    }
    const late = await world.open({ start: latest });
    await until(() => late.ended === "closed", "the late one closed");
    assert.deepEqual(late.data("reconnect"), [{ reason: "draining" }]);
    await until(() => world.feeds.size === 0, "no feed is left");
  });

  it("ends a stream that is still opening", async () => {
    const world = new World();
    world.log.auto = false;
    const opening = [world.answer({ start: latest }), world.answer({ start: earliest })];
    await turn();
    world.streams.drain();
    await world.log.answerAll();
    for (const response of await Promise.all(opening)) {
      const reader = new StreamReader(response);
      await until(() => reader.ended === "closed", "it closed");
      assert.deepEqual(reader.data("reconnect"), [{ reason: "draining" }]);
    }
  });
});

class World {
  readonly log = new FakeLog();
  readonly clock = new ManualClock();
  readonly reported: unknown[] = [];
  readonly streams: Streams;
  readonly feeds: SharedFeeds;
  /** Timers that are set. */
  timers = 0;
  #readsBefore = 0;

  constructor(bounds: { streamsMax?: number } = {}) {
    const after = (delayMs: number, run: () => void) => this.#after(delayMs, run);
    const report = (error: unknown) => void this.reported.push(error);
    this.streams = new Streams({ after, random: () => 0.5, ...bounds });
    this.feeds = new SharedFeeds({ messages: this.log, streams: this.streams, after, report });
  }

  answer(wanted: Partial<StreamRequest> & { start: Start }, signal?: AbortSignal) {
    const request = new Request("http://gateway/", signal ? { signal } : {});
    return this.feeds.open({ topic: this.log.topic, resumed: false, ...wanted }, request);
  }

  async open(wanted: Partial<StreamRequest> & { start: Start }, signal?: AbortSignal) {
    return new StreamReader(await this.answer(wanted, signal));
  }

  resume(reader: StreamReader): Promise<StreamReader> {
    const cursor = reader.lastEventId ?? "";
    return this.open({ start: { kind: "cursor", cursor }, resumed: true });
  }

  /** Two looks apart by a turn of the event loop saw the same number of reads. */
  idle(): boolean {
    const before = this.#readsBefore;
    this.#readsBefore = this.log.reads;
    return before === this.#readsBefore;
  }

  #after(delayMs: number, run: () => void): () => void {
    this.timers++;
    let set = true;
    const unset = () => {
      if (set) this.timers--;
      set = false;
    };
    const cancel = this.clock.after(delayMs, () => {
      unset();
      run();
    });
    return () => {
      unset();
      cancel();
    };
  }
}

function body(n: number, padding: number): string {
  return JSON.stringify({ n, padding: "x".repeat(padding) });
}
