import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { LeaseStreamRequest } from "../../routes/ports.ts";
import { ConsumerStreams } from "../../src/gateway/lease_streams.ts";
import { Streams } from "../../src/gateway/streams.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { type ErrorCode, TidegateError } from "../../storage/base/errors.ts";
import { delivery, ScriptedGroups } from "../fakes/scripted_groups.ts";
import { StreamReader, turn, until } from "../fakes/stream_reader.ts";

const BEAT_MS = 8000;

describe("a stream of leases", () => {
  it("begins with who the consumer is, and has no ids", async () => {
    const world = new World();
    const response = await world.answer({ consumerId: "worker-1" });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    assert.equal(response.headers.get("x-accel-buffering"), "no");
    await until(() => world.groups.open === 1, "it asks");
    world.groups.last.answer([delivery(1)]);
    await until(() => world.groups.open === 1, "it asks again");
    world.streams.drain();
    const [opening, lease = "", end] = (await response.text()).split("\n\n");
    assert.equal(opening, 'retry: 2500\nevent: control\ndata: {"consumerId":"worker-1"}');
    assert.match(lease, /^event: lease\ndata: \{"id":"m1",.*\}$/);
    const message = JSON.parse(lease.split("data: ")[1] ?? "") as Record<string, unknown>;
    assert.deepEqual(
      [message["receipt"], message["attempt"], message["leaseUntil"], message["data"]],
      ["r1", 1, "1970-01-01T00:00:30.001Z", { n: 1, pad: "" }],
    );
    assert.equal(end, 'retry: 2500\nevent: reconnect\ndata: {"reason":"draining"}');
  });

  it("asks for what the consumer holds, then for as much as its credit allows", async () => {
    const world = new World();
    const wanted = { consumerId: "w", topic: "orders", leaseMs: 5000, maxInFlight: 7 };
    await world.open(wanted);
    await until(() => world.groups.open === 1, "it asks");
    const [held, first] = world.groups.received.map(({ request }) => request);
    const same = { group: "billing", consumerId: "w", topic: "orders", leaseMs: 5000 };
    const { max, maxBytes, ...rest } = held ?? {};
    assert.deepEqual(rest, { ...same, waitMs: 0, reopen: true, consumerMaxInFlight: 0 });
    assert(max === 1000 && maxBytes === 16 * 1024 * 1024);
    const next = { ...same, waitMs: 30_000, max: 7, maxBytes: 65_536, consumerMaxInFlight: 7 };
    assert.deepEqual(first, next);
  });

  it("gives what the consumer holds first, under the receipts it had", async () => {
    const world = new World();
    world.groups.held = [delivery(3), delivery(5)];
    const reader = await world.open();
    await until(() => reader.data("lease").length === 2, "what it held arrived");
    world.groups.last.answer([delivery(6)]);
    await until(() => reader.data("lease").length === 3, "the new one arrived");
    assert.deepEqual(receipts(reader), ["r3", "r5", "r6"]);
  });

  it("beats with a comment and nothing else", async () => {
    const world = new World();
    const reader = await world.open();
    await until(() => reader.events.length === 1, "it began");
    world.clock.advance(BEAT_MS);
    await until(() => reader.comments.length === 1, "the beat arrived");
    assert.equal(reader.events.length, 1);
  });

  it("does not ask in a circle when waits end at once", async () => {
    const world = new World();
    await world.open();
    await until(() => world.groups.open === 1, "it asks");
    world.groups.last.answer([]);
    for (let i = 0; i < 10; i++) await turn();
    assert.equal(world.groups.open, 0);
    world.clock.advance(10);
    await until(() => world.groups.open === 1, "it asks again");
  });

  it("rejects a message that cannot be read, and gives the others", async () => {
    const world = new World();
    const reader = await world.open();
    await until(() => world.groups.open === 1, "it asks");
    world.groups.last.answer([delivery(1), delivery(2, { damaged: true }), delivery(3)]);
    await until(() => world.groups.settled.length === 1, "it was settled");
    await until(() => world.groups.open === 1, "it asks again");
    world.groups.last.answer([delivery(4, { damaged: true })]);
    await until(() => world.groups.settled.length === 2, "that one too");
    assert.deepEqual(receipts(reader), ["r1", "r3"]);
    const reason = "its stored bytes are damaged";
    assert.deepEqual(
      world.groups.settled.map(({ reject }) => reject),
      [[{ receipt: "r2", reason }], [{ receipt: "r4", reason }]],
    );
    assert.equal(reader.ended, undefined);
  });
});

describe("a reader of leases that is slow", () => {
  it("is leased nothing while half its backlog is full", async () => {
    const world = new World();
    const reader = await world.open();
    reader.pause();
    let n = 0;
    // A chunk lies with the reader; what comes after it fills the backlog.
    while (n < 10) {
      await until(() => world.groups.open === 1, "it asks").catch(() => {});
      if (world.groups.open === 0) break;
      world.groups.last.answer([delivery(n++, { padding: 50_000 })]);
      for (let i = 0; i < 5; i++) await turn();
      if (world.groups.open === 0) break;
    }
    assert(n >= 3 && n <= 5, `${n} messages of 50 kB were leased to it`);
    assert.equal(world.groups.open, 0);
    reader.resume();
    await until(() => world.groups.open === 1, "it asks again");
    assert.equal(receipts(reader).length, n);
  });

  it("is given what it holds at its own pace", async () => {
    const world = new World();
    world.groups.held = Array.from({ length: 20 }, (_, n) => delivery(n, { padding: 50_000 }));
    const reader = await world.open();
    reader.pause();
    for (let i = 0; i < 10; i++) await turn();
    reader.resume();
    await until(() => receipts(reader).length === 20, "all arrived");
    assert.equal(reader.ended, undefined);
    assert.deepEqual(world.groups.settled, []);
  });

  it("that takes nothing for 32 s is cut off, and its receive ends", async () => {
    const world = new World();
    const reader = await world.open();
    reader.pause();
    for (let n = 0; n < 2; n++) {
      await until(() => world.groups.open === 1, "it asks");
      world.groups.last.answer([delivery(n, { padding: 40_000 })]);
    }
    await until(() => world.groups.open === 1, "it asks again");
    for (let beat = 0; beat < 6; beat++) world.clock.advance(BEAT_MS);
    assert.equal(world.streams.size, 0);
    assert.equal(world.groups.last.signal?.aborted, true);
    assert.equal(world.groups.open, 0);
    reader.resume();
    await until(() => reader.ended === "broken", "the connection broke");
  });
});

describe("a lease that was granted to a stream that ended meanwhile", () => {
  it("is the broker's to take back: the signal aborts", async () => {
    const world = new World();
    const reader = await world.open();
    await until(() => world.groups.open === 1, "it asks");
    await reader.cancel();
    assert.equal(world.groups.last.signal?.aborted, true);
    await world.leases.finished();
    assert.deepEqual(world.groups.settled, []);
    assert.equal(world.streams.size, 0);
  });

  it("is released when it was answered already", async () => {
    const world = new World();
    const reader = await world.open();
    await until(() => world.groups.open === 1, "it asks");
    world.groups.last.answer([delivery(1), delivery(2)]);
    await reader.cancel(); // before anybody could look at the answer
    await world.leases.finished();
    const release = [1, 2].map((n) => ({ receipt: `r${n}`, delayMs: 0 }));
    assert.deepEqual(world.groups.settled, [{ ack: [], release, extend: [], reject: [] }]);
  });

  it("is released when there was no room for it, and what was queued is not", async () => {
    const world = new World();
    const reader = await world.open();
    reader.pause();
    await until(() => world.groups.open === 1, "it asks");
    const all = Array.from({ length: 8 }, (_, n) => delivery(n, { padding: 60_000 }));
    world.groups.last.answer(all);
    for (let i = 0; i < 10; i++) await turn();
    world.streams.drain();
    await world.leases.finished();
    reader.resume();
    await until(() => reader.ended === "closed", "it closed");
    const released = world.groups.settled.flatMap(({ release }) => release);
    const queued = receipts(reader);
    assert(queued.length > 0 && released.length > 0);
    assert.deepEqual(
      [...queued, ...released.map(({ receipt }) => receipt)],
      all.map(({ receipt }) => receipt),
    );
  });

  it("is left alone when the consumer held it before", async () => {
    const world = new World();
    world.groups.held = Array.from({ length: 8 }, (_, n) => delivery(n, { padding: 60_000 }));
    const reader = await world.open();
    reader.pause();
    for (let i = 0; i < 10; i++) await turn();
    await reader.cancel();
    await world.leases.finished();
    assert.deepEqual(world.groups.settled, []);
  });

  it("does not keep a failure of the release from being the end", async () => {
    const world = new World();
    const reader = await world.open();
    await until(() => world.groups.open === 1, "it asks");
    world.groups.failing = new TidegateError("group-not-found", "Gone");
    world.groups.last.answer([delivery(1)]);
    await reader.cancel();
    await world.leases.finished();
    assert.deepEqual(world.reported, []);
  });
});

describe("a refusal of a stream of leases", () => {
  for (const [code, reason] of [
    ["overloaded", "overloaded"],
    ["draining", "draining"],
  ] as const) {
    it(`${code} is a stream that says reconnect, at first and later`, async () => {
      const world = new World();
      world.groups.held = new TidegateError(code, "Not now");
      const refused = await world.open();
      await until(() => refused.ended === "closed", "it closed");
      assert.deepEqual(refused.data("reconnect"), [{ reason }]);
      assert.deepEqual(refused.data("control"), []);

      world.groups.held = [];
      const reader = await world.open();
      await until(() => world.groups.open === 1, "it asks");
      world.groups.last.answer(new TidegateError(code, "Not now"));
      await until(() => reader.ended === "closed", "it closed");
      assert.deepEqual(reader.data("reconnect"), [{ reason }]);
      assert.deepEqual(world.reported, []);
    });
  }

  const gone: [code: ErrorCode, named: boolean, status: number][] = [
    ["group-not-found", false, 404],
    ["group-not-found", true, 204],
    ["topic-not-found", false, 404],
    ["topic-not-found", true, 404],
    ["internal", true, 500],
  ];
  for (const [code, named, status] of gone) {
    it(`${code}, of one that is ${named ? "" : "not "}named, is ${status}`, async () => {
      const world = new World();
      world.groups.held = new TidegateError(code, "No");
      if (status === 204) assert.equal((await world.answer({ named })).status, 204);
      else await assert.rejects(world.answer({ named }), { code });
      assert.equal(world.streams.size, 0);
      await world.leases.finished();
    });
  }

  for (const code of ["group-not-found", "topic-not-found"] as const) {
    it(`${code} in the middle ends the stream`, async () => {
      const world = new World();
      const reader = await world.open();
      await until(() => world.groups.open === 1, "it asks");
      world.groups.last.answer(new TidegateError(code, "Gone"));
      await until(() => reader.ended === "closed", "it closed");
      assert.deepEqual(reader.data("reconnect"), []);
      assert.deepEqual(world.reported, []);
    });
  }

  it("nobody foresaw is reported, and the reader told to come back", async () => {
    const world = new World();
    const reader = await world.open();
    await until(() => world.groups.open === 1, "it asks");
    const error = new TidegateError("internal", "Broken");
    world.groups.last.answer(error);
    await until(() => reader.ended === "closed", "it closed");
    assert.deepEqual(reader.data("reconnect"), [{ reason: "internal" }]);
    assert.deepEqual(world.reported, [error]);
  });

  it("above the node's bound is a stream that says reconnect, and nothing is leased", async () => {
    const world = new World({ streamsMax: 1 });
    await world.open();
    await until(() => world.groups.open === 1, "it asks");
    const asked = world.groups.received.length;
    const second = await world.open({ consumerId: "other" });
    await until(() => second.ended === "closed", "the second closed");
    assert.deepEqual(second.data("reconnect"), [{ reason: "overloaded" }]);
    assert.equal(world.groups.received.length, asked);
  });
});

describe("a drain of streams of leases", () => {
  it("tells every reader to come back, and waits for what is under way", async () => {
    const world = new World();
    world.groups.late = true;
    const reader = await world.open();
    await until(() => world.groups.open === 1, "it asks");
    world.streams.drain();
    let finished = false;
    const done = world.leases.finished().then(() => (finished = true));
    await until(() => reader.ended === "closed", "it closed");
    assert.deepEqual(reader.data("reconnect"), [{ reason: "draining" }]);
    assert.equal(world.groups.last.signal?.aborted, true);
    assert.equal(finished, false);
    world.groups.last.answer([]);
    await done;
  });
});

describe("a second stream of one consumer", () => {
  it("ends the first, and begins when that one has given back what it had", async () => {
    const world = new World();
    world.groups.late = true;
    const first = await world.open({ consumerId: "w" });
    await until(() => world.groups.open === 1, "the first asks");
    const second = world.open({ consumerId: "w" });
    await until(() => first.ended === "closed", "the first closed");
    assert.deepEqual(first.data("reconnect"), [{ reason: "replaced" }]);
    for (let i = 0; i < 10; i++) await turn();
    assert.equal(world.groups.received.length, 2, "the second has not asked yet");
    world.groups.last.answer([]);
    const reader = await second;
    await until(() => reader.data("control").length === 1, "the second began");
    assert.equal(world.groups.received[2]?.request.reopen, true);

    world.groups.late = false;
    await world.open({ consumerId: "w" });
    await until(() => reader.ended === "closed", "a third ended it as well");
  });

  it("leaves those of other consumers and groups alone", async () => {
    const world = new World();
    const others = [
      await world.open({ consumerId: "v" }),
      await world.open({ consumerId: "w", group: "shipping" }),
    ];
    await world.open({ consumerId: "w" });
    await until(() => world.groups.open === 3, "all ask");
    for (const other of others) assert.equal(other.ended, undefined);
  });

  it("may be followed by a third at once", async () => {
    const world = new World();
    const readers = await Promise.all([1, 2, 3].map(() => world.open({ consumerId: "w" })));
    await until(() => readers[1]?.ended === "closed", "the second closed");
    await until(() => world.groups.open === 1, "one asks");
    assert.equal(readers[2]?.ended, undefined);
    await readers[2]?.cancel();
    await world.leases.finished();
    assert.equal(world.groups.open, 0);
  });
});

class World {
  readonly groups = new ScriptedGroups();
  readonly clock = new ManualClock();
  readonly reported: unknown[] = [];
  readonly streams: Streams;
  readonly leases: ConsumerStreams;

  constructor(bounds: { streamsMax?: number } = {}) {
    const after = (delayMs: number, run: () => void) => this.clock.after(delayMs, run);
    const report = (error: unknown) => void this.reported.push(error);
    this.streams = new Streams({ after, random: () => 0.5, ...bounds });
    const { groups, streams } = this;
    this.leases = new ConsumerStreams({ groups, streams, after, report });
  }

  answer(wanted: Partial<LeaseStreamRequest> = {}): Promise<Response> {
    const usual = { group: "billing", consumerId: "w", named: true, maxInFlight: 100 };
    return this.leases.open({ ...usual, ...wanted }, new Request("http://gateway/"));
  }

  async open(wanted: Partial<LeaseStreamRequest> = {}): Promise<StreamReader> {
    return new StreamReader(await this.answer(wanted));
  }
}

function receipts(reader: StreamReader): string[] {
  return (reader.data("lease") as { receipt: string }[]).map(({ receipt }) => receipt);
}
