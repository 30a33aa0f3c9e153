/**
 * Subscriptions: every item once and in order, never more on the way than the
 * reader has room for, and an end that both sides learn of.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { TidegateError } from "../../storage/base/errors.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { ByteWriter } from "../../src/rpc/byte_writer.ts";
import { FRAME, writeFrame } from "../../src/rpc/frame.ts";
import { fails, isAnswered, turn } from "../suites/broker_api_kit.ts";
import { COUNT, ECHO, World, type WorldOptions } from "./kit.ts";

/** A world whose stream counts, and tells how far it has come. */
class Counting extends World {
  sent = 0;
  ended: "" | "aborted" | "done" = "";

  constructor(options: WorldOptions = {}) {
    super(options);
    this.services.stream(COUNT, async ({ to, bytes }, sink) => {
      try {
        for (let n = 0; n < to; n++) {
          await sink.send({ n, text: "x".repeat(bytes) });
          this.sent++;
        }
        this.ended = "done";
      } catch (error) {
        this.ended = "aborted";
        throw error;
      }
    });
    this.services.call(ECHO, async (one) => one);
  }

  count(request: { to: number; bytes: number }, options: object = {}) {
    return this.peer.subscribe(COUNT, request, options);
  }
}

async function read(stream: AsyncIterable<{ n: number }>, most = Infinity): Promise<number[]> {
  const numbers: number[] = [];
  for await (const { n } of stream) {
    numbers.push(n);
    if (numbers.length === most) break;
  }
  return numbers;
}

const FIRST_CALL_ID = 2;

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);

describe("a stream", () => {
  it("brings every item, in order, and ends", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          to: fc.nat({ max: 60 }),
          bytes: fc.nat({ max: 300 }),
          creditBytes: fc.integer({ min: 1, max: 2000 }),
          chunkBytes: fc.integer({ min: 1, max: 500 }),
        }),
        async ({ to, bytes, creditBytes, chunkBytes }) => {
          const world = new Counting({ pipe: { chunkBytes } });
          assert.deepEqual(await read(world.count({ to, bytes }, { creditBytes })), upTo(to));
          assert.equal(world.server.callCount, 0);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("whose reader reads nothing brings its credit and one item, and no more", async () => {
    const world = new Counting();
    const stream = world.count({ to: 1000, bytes: 100 }, { creditBytes: 1000 });
    for (let i = 0; i < 20; i++) await turn();
    assert(world.sent >= 6 && world.sent <= 9, `${world.sent} of some 140 bytes were sent`);
    const before = world.sent;
    await stream.next();
    await turn();
    assert.equal(world.sent, before, "half of the credit is not read yet");
    assert.equal((await read(stream)).length, 999);
  });

  it("of items larger than the credit brings them one by one", async () => {
    const world = new Counting();
    const stream = world.count({ to: 5, bytes: 5000 }, { creditBytes: 10 });
    for (let i = 0; i < 5; i++) await turn();
    assert.equal(world.sent, 1);
    assert.deepEqual(await read(stream), upTo(5));
  });

  it("waits while the connection has no room, whatever its credit", async () => {
    const world = new Counting({
      pipe: { roomBytes: 4096 },
      limits: { sendBytesPause: 4096 },
    });
    await world.peer.call(ECHO, { text: "open" });
    world.pipe.client.pause();
    const stream = world.count({ to: 1000, bytes: 100 }, { creditBytes: 1e9 });
    for (let i = 0; i < 20; i++) await turn();
    assert(world.sent < 60, `${world.sent} were sent`);
    world.pipe.client.resume();
    assert.equal((await read(stream)).length, 1000);
  });

  it("beside which calls go on, however slow its reader is", async () => {
    const world = new Counting();
    const stream = world.count({ to: 1000, bytes: 1000 }, { creditBytes: 100 });
    for (let i = 0; i < 20; i++) {
      await stream.next();
      assert.equal((await world.peer.call(ECHO, { text: `${i}` })).text, `${i}`);
    }
  });

  it("that is left ends at the server", async () => {
    const world = new Counting();
    const stream = world.count({ to: 1000, bytes: 100 }, { creditBytes: 500 });
    assert.deepEqual(await read(stream, 3), [0, 1, 2]);
    await turn();
    assert.equal(world.ended, "aborted");
    assert.equal(world.server.callCount, 0);
    assert.deepEqual(await stream.next(), { done: true, value: undefined });
  });

  it("ends for a reader that waits when its signal aborts", async () => {
    const world = new Counting();
    world.services.stream({ ...COUNT, id: COUNT.id + 1 }, async (_, { signal }) => {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      world.ended = "aborted";
    });
    const abort = new AbortController();
    const method = { ...COUNT, id: COUNT.id + 1 };
    const stream = world.peer.subscribe(method, { to: 1, bytes: 1 }, { signal: abort.signal });
    const waiting = stream.next();
    assert.equal(await isAnswered(waiting), false);
    abort.abort();
    assert.deepEqual(await waiting, { done: true, value: undefined });
    await turn();
    assert.equal(world.ended, "aborted");
  });

  it("whose signal has aborted already is over, and nothing is sent", async () => {
    const world = new Counting();
    const stream = world.count({ to: 5, bytes: 1 }, { signal: AbortSignal.abort() });
    assert.deepEqual(await read(stream), []);
    assert.equal(world.pipes.length, 0);
  });

  it("that fails gives what came before, then fails once", async () => {
    const world = new World();
    world.services.stream(COUNT, async (_, sink) => {
      await sink.send({ n: 0, text: "" });
      throw new TidegateError("topic-not-found", "Cannot go on");
    });
    const stream = world.peer.subscribe(COUNT, { to: 1, bytes: 1 });
    assert.equal((await stream.next()).value?.n, 0);
    await fails("topic-not-found", stream.next());
    assert.deepEqual(await stream.next(), { done: true, value: undefined });
  });

  it("that brings more than its reader has room for ends the connection", async () => {
    const world = new Counting();
    const stream = world.count({ to: 2, bytes: 500 }, { creditBytes: 100 });
    await turn();
    assert.equal(world.sent, 1);
    const writer = new ByteWriter();
    const head = { kind: FRAME.item, callId: FIRST_CALL_ID };
    writeFrame(writer, head, { crc32, write: (to) => COUNT.item.write(to, { n: 9, text: "" }) });
    world.pipe.server.write(writer.take());
    await turn();
    assert.equal(world.server.connectionCount, 0);
    await fails("unavailable", read(stream));
  });

  it("whose connection breaks is unavailable, after what had come", async () => {
    const world = new Counting();
    const stream = world.count({ to: 1000, bytes: 100 }, { creditBytes: 300 });
    await stream.next();
    await turn();
    world.pipe.break();
    await turn();
    await fails("unavailable", read(stream));
    assert.equal(world.ended, "aborted");
  });

  it("of a method the server does not have fails", async () => {
    const world = new World();
    await fails("not-implemented", read(world.peer.subscribe(COUNT, { to: 1, bytes: 1 })));
    world.services.call({ ...ECHO, id: COUNT.id }, async (one) => one);
    await fails("not-implemented", read(world.peer.subscribe(COUNT, { to: 1, bytes: 1 })));
  });
});
