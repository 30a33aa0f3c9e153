/**
 * A peer through the life of its connections: found, lost, silent, drained,
 * found again; and what becomes of the calls meanwhile.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CallMethod } from "../../src/rpc/mod.ts";
import { fails, isAnswered, turn } from "../suites/broker_api_kit.ts";
import { COUNT, ECHO, type Echo, READ, World, type WorldOptions, WRITE } from "./kit.ts";

/** A world whose handlers are answered by the turn, unless they are held. */
class Lively extends World {
  held = false;
  runs: string[] = [];
  #release: (() => void)[] = [];

  constructor(options: WorldOptions = {}) {
    super(options);
    for (const method of [ECHO, READ, WRITE]) {
      this.services.call(method, async (request) => {
        this.runs.push(request.text);
        if (this.held) await new Promise<void>((resolve) => this.#release.push(resolve));
        return request;
      });
    }
  }

  release(): void {
    this.held = false;
    for (const release of this.#release.splice(0)) release();
  }

  call(text: string, method: CallMethod<Echo, Echo> = ECHO) {
    return this.peer.call(method, { text }).then((answer) => answer.text);
  }
}

/** Lets time pass as it does: in steps, each with everything that happens in it. */
async function pass(world: World, ms: number, step = 100): Promise<void> {
  for (let left = ms; left > 0; left -= step) {
    world.clock.advance(Math.min(step, left));
    await turn();
  }
}

describe("a peer that is not there", () => {
  it("fails calls at once, while it is tried again in the background", async () => {
    const world = new Lively();
    world.listening = false;
    await fails("unavailable", world.call("first"));
    const error = await fails("unavailable", world.call("resting"));
    assert.match(error.message, /connection reset/);
    assert.equal(world.pipes.length, 1);
    await pass(world, 60_000);
    const tries = world.pipes.length;
    assert(tries > 8 && tries < 60, `${tries} tries in a minute`);
    world.listening = true;
    await pass(world, 5000);
    assert(world.peer.isOpen);
    assert.equal(await world.call("there"), "there");
  });

  it("is connected to before the first call when told to", async () => {
    const world = new Lively();
    world.peer.open();
    await turn();
    assert(world.peer.isOpen);
    await world.call("one");
    assert.equal(world.pipes.length, 1);
  });

  it("that does not shake hands in time is given up, and so are those who wait", async () => {
    const world = new Lively();
    const call = world.call("waits");
    world.pipe.cut();
    await turn();
    world.clock.advance(4999);
    assert.equal(await isAnswered(call), false);
    world.clock.advance(1);
    await fails("unavailable", call);
  });
});

describe("a connection that breaks under a call", () => {
  for (const method of [READ, WRITE]) {
    it(`of ${method.name}: it is sent again, and answered`, async () => {
      const world = new Lively();
      await world.call("open");
      world.held = true;
      const call = world.call("again", method);
      await turn();
      world.clock.advance(1000);
      world.release();
      world.pipe.break();
      assert.equal(await call, "again");
      assert.deepEqual(world.runs, ["open", "again", "again"]);
      assert.equal(world.pipes.length, 2);
    });
  }

  it("that may run once: it is unknown, and not sent again", async () => {
    const world = new Lively();
    await world.call("open");
    world.held = true;
    const call = world.call("once");
    await turn();
    world.clock.advance(1000);
    world.pipe.break();
    await fails("outcome-unknown", call);
    await turn();
    assert.deepEqual(world.runs, ["open", "once"]);
  });

  const lost = [
    [READ, "unavailable"],
    [WRITE, "outcome-unknown"],
  ] as const;
  for (const [method, code] of lost) {
    it(`again and again: ${method.name} has three tries, then it is ${code}`, async () => {
      const world = new Lively();
      await world.call("open");
      world.held = true;
      const call = world.call("doomed", method);
      for (let i = 0; i < 3; i++) {
        await turn();
        world.clock.advance(1000);
        world.pipe.break();
      }
      await fails(code, call);
      assert.deepEqual(world.runs, ["open", "doomed", "doomed", "doomed"]);
    });

    it(`and the peer is gone: ${method.name} is ${code}`, async () => {
      const world = new Lively();
      await world.call("open");
      world.held = true;
      const call = world.call("it ran", method);
      await turn();
      world.clock.advance(1000);
      world.listening = false;
      world.pipe.break();
      await fails(code, call);
    });
  }

  it("whose caller has given up is not sent again", async () => {
    const world = new Lively();
    await world.call("open");
    world.held = true;
    const abort = new AbortController();
    const call = world.peer.call(READ, { text: "given up" }, { signal: abort.signal });
    await turn();
    abort.abort();
    world.clock.advance(1000);
    world.pipe.break();
    await fails("unavailable", call);
    assert.equal(world.runs.length, 2);
  });

  it("by garbage: both ends end it", async () => {
    const world = new Lively();
    await world.call("open");
    world.pipe.client.write(new Uint8Array(64).fill(0xa5));
    await turn();
    assert.equal(world.server.connectionCount, 0);
    assert.equal(world.peer.isOpen, false);
  });
});

describe("silence", () => {
  it("on a connection that works is asked about, and nothing happens", async () => {
    const world = new Lively();
    await world.call("open");
    const before = world.pipe.client.sentBytes;
    await pass(world, 120_000);
    assert(world.peer.isOpen);
    assert.equal(world.pipes.length, 1);
    assert(world.pipe.client.sentBytes > before, "there were pings");
  });

  it("of a peer that was cut off is noticed within 20 seconds, at both ends", async () => {
    const world = new Lively();
    await world.call("open");
    world.held = true;
    const call = world.call("lost");
    await turn();
    world.pipe.cut();
    world.listening = false;
    await pass(world, 14_900);
    assert.equal(await isAnswered(call), false);
    await pass(world, 5100);
    await fails("outcome-unknown", call);
    assert.equal(world.server.connectionCount, 0);
  });

  it("is not what a slow carrier is: while bytes leave, the connection stays", async () => {
    const world = new Lively({ pipe: { roomBytes: 4096, chunkBytes: 500 } });
    await world.call("open");
    const { server, client } = world.pipe;
    for (const slow of [server, client]) {
      slow.rationBytes = 0;
      const text = "x".repeat(20_000);
      const call = world.peer.call(ECHO, { text }, { timeoutMs: 1e9 });
      for (let second = 0; second < 45; second++) {
        await pass(world, 1000, 1000);
        slow.feed(500);
      }
      slow.feed(Infinity);
      assert.equal((await call).text, text);
    }
    assert.equal(world.pipes.length, 1);
  });

  it("of a carrier that takes nothing ends the connection", async () => {
    const world = new Lively({ pipe: { roomBytes: 100 } });
    await world.call("open");
    world.pipe.server.pause();
    const call = world.peer.call(ECHO, { text: "x".repeat(500) }, { timeoutMs: 60_000 });
    const failed = fails("outcome-unknown", call);
    for (let i = 0; i < 250 && world.pipes.length === 1; i++) {
      await pass(world, 100);
      world.pipe.client.events?.onBytes(new Uint8Array(0)); // it is heard, and does not listen
    }
    assert.match((await failed).message, /takes nothing/);
  });
});

describe("a server that drains", () => {
  it("answers what is under way, while new calls go over a new connection", async () => {
    const world = new Lively();
    await world.call("open");
    world.held = true;
    const call = world.call("under way");
    await turn();
    const drained = world.server.drain();
    await turn();
    assert.equal(await isAnswered(drained), false);
    const refused = await fails("unavailable", world.call("new"));
    assert.match(refused.message, /busy/);
    world.release();
    assert.equal(await call, "under way");
    await drained;
    assert.equal(world.server.connectionCount, 0);
    assert.deepEqual(world.runs, ["open", "under way"]);
  });

  it("refuses a call that crosses its goaway: nothing was done", async () => {
    const world = new Lively();
    await world.call("open");
    world.held = true;
    void world.call("under way");
    await turn();
    const drained = world.server.drain();
    await fails("draining", world.call("crosses"));
    world.release();
    await drained;
    assert.deepEqual(world.runs, ["open", "under way"]);
  });

  it("refuses one that crosses it when nothing else is under way, too", async () => {
    const world = new Lively();
    await world.call("open");
    const drained = world.server.drain();
    await fails("draining", world.call("crosses"));
    await drained;
    assert.deepEqual(world.runs, ["open"]);
  });

  it("waits for a client to leave, but not for ever", async () => {
    const world = new Lively();
    await world.call("open");
    world.pipe.client.pause();
    const drained = world.server.drain();
    await turn();
    assert.equal(await isAnswered(drained), false);
    await pass(world, 600);
    await drained;
  });

  it("with nothing under way is done at once", async () => {
    const world = new Lively();
    await world.call("open");
    await world.server.drain();
    await new Lively().server.drain();
  });

  it("ends a stream only when its handler does", async () => {
    const world = new Lively();
    let stop = () => {};
    world.services.stream(COUNT, async (_, sink) => {
      await sink.send({ n: 1, text: "" });
      await new Promise<void>((resolve) => {
        stop = resolve;
      });
    });
    const stream = world.peer.subscribe(COUNT, { to: 1, bytes: 1 });
    assert.equal((await stream.next()).value?.n, 1);
    const drained = world.server.drain();
    await turn();
    assert.equal(await isAnswered(drained), false);
    stop();
    assert.deepEqual(await stream.next(), { done: true, value: undefined });
    await drained;
  });
});

describe("closing", () => {
  it("a peer fails what is under way, what waits, and what comes", async () => {
    const world = new Lively();
    await world.call("open");
    world.held = true;
    const call = world.call("under way");
    await turn();
    world.peer.close();
    await fails("outcome-unknown", call);
    await fails("unavailable", world.call("late"));
    const other = new Lively();
    const waiting = other.call("waits");
    other.peer.close();
    await fails("unavailable", waiting);
    await pass(world, 60_000, 10_000);
    assert.equal(world.pipes.length, 1);
  });

  it("a server ends all connections, and those come back when it does", async () => {
    const world = new Lively();
    await world.call("open");
    world.clock.advance(1000);
    world.server.close();
    await turn();
    assert.equal(world.server.connectionCount, 0);
  });
});
