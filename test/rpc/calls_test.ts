/**
 * Calls over one connection: many at once, each answered once or said to be
 * unknown, none waited for longer than it was given, all of it bounded.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { TidegateError } from "../../storage/base/errors.ts";
import { Prng } from "../../storage/base/prng.ts";
import { type CallContext, Services } from "../../src/rpc/mod.ts";
import { fails, isAnswered, turn } from "../suites/broker_api_kit.ts";
import { ECHO, type Echo, READ, World, type WorldOptions, WRITE } from "./kit.ts";

const QUICK = { ...ECHO, id: 60_020, name: "test.quick" };

/** A world whose echo is answered when told to. */
class Held extends World {
  readonly calls: { request: Echo; context: CallContext; answer: (text: string) => void }[] = [];

  constructor(options: WorldOptions = {}) {
    super(options);
    const hold = (request: Echo, context: CallContext) =>
      new Promise<Echo>((resolve) => {
        this.calls.push({ request, context, answer: (text) => resolve({ text }) });
      });
    this.services.call(ECHO, hold);
    this.services.call(READ, hold);
    this.services.call(WRITE, hold);
  }

  /** Texts of the calls that came to the server, in order. */
  get came(): string[] {
    return this.calls.map(({ request }) => request.text);
  }
}

describe("a call", () => {
  it("connects at the first one, and all go over one connection", async () => {
    const world = new World();
    world.services.call(ECHO, async (request) => request);
    const texts = Array.from({ length: 100 }, (_, i) => `call ${i}`);
    const answers = await Promise.all(texts.map((text) => world.peer.call(ECHO, { text })));
    assert.deepEqual(
      answers.map(({ text }) => text),
      texts,
    );
    assert.equal(world.pipes.length, 1);
  });

  it("is answered by its own answer, in whatever order those come", async () => {
    const world = new Held();
    const calls = ["a", "b", "c"].map((text) => world.peer.call(ECHO, { text }));
    await turn();
    for (const at of [2, 0, 1]) world.calls[at]?.answer(`to ${world.came[at]}`);
    assert.deepEqual(
      (await Promise.all(calls)).map(({ text }) => text),
      ["to a", "to b", "to c"],
    );
  });

  it("is encoded when it is made", async () => {
    const world = new Held();
    const request = { text: "then" };
    const calls = [world.peer.call(ECHO, request)];
    request.text = "later";
    await turn();
    calls.push(world.peer.call(ECHO, request));
    request.text = "too late";
    await turn();
    assert.deepEqual(world.came, ["then", "later"]);
    for (const call of world.calls) call.answer("");
    await Promise.all(calls);
  });

  it("fails as its handler does: code, message and details", async () => {
    const world = new World();
    world.services.call(ECHO, async ({ text }) => {
      throw new TidegateError("key-order", `Cannot ${text}`, { queues: 4, list: [1, { a: null }] });
    });
    const error = await fails("key-order", world.peer.call(ECHO, { text: "do it" }));
    assert.equal(error.message, "Cannot do it");
    assert.deepEqual(error.details, { queues: 4, list: [1, { a: null }] });
  });

  it("of a handler that fails in another way is internal, and says nothing of it", async () => {
    const world = new World();
    world.services.call(ECHO, async () => {
      throw new RangeError("the secret plan");
    });
    const error = await fails("internal", world.peer.call(ECHO, { text: "?" }));
    assert.doesNotMatch(error.message, /secret/);
    assert.match(world.logged.join(), /the secret plan/);
  });

  it("whose failure cannot be told in full still fails with its code", async () => {
    const world = new World();
    world.services.call(ECHO, async () => {
      throw new TidegateError("group-busy", "Cannot do it", { open: 12n });
    });
    await fails("group-busy", world.peer.call(ECHO, { text: "?" }));
  });

  it("of a method that the server does not have is not-implemented", async () => {
    const world = new World({ server: { services: new Services() } });
    await fails("not-implemented", world.peer.call(ECHO, { text: "?" }));
  });

  it("whose request cannot be read is invalid, and runs nothing", async () => {
    const world = new Held();
    const garbled = { ...ECHO, request: { ...ECHO.request, write: garble } };
    await fails("invalid-request", world.peer.call(garbled, { text: "?" }));
    assert.deepEqual(world.came, []);
    const fine = world.peer.call(ECHO, { text: "still here" });
    await turn();
    world.calls[0]?.answer("yes");
    assert.equal((await fine).text, "yes");
  });

  it("whose answer cannot be read is internal, and the connection goes on", async () => {
    const world = new World();
    world.services.call(
      { ...ECHO, response: { ...ECHO.response, write: garble } },
      async (one) => one,
    );
    world.services.call(READ, async (one) => one);
    await fails("internal", world.peer.call(ECHO, { text: "?" }));
    assert.equal((await world.peer.call(READ, { text: "here" })).text, "here");
    assert.equal(world.pipes.length, 1);
  });

  it("that cannot be sent fails, and the connection goes on", async () => {
    const world = new World();
    world.services.call(ECHO, async (one) => one);
    await world.peer.call(ECHO, { text: "open" });
    const text = "x".repeat(25 * 1024 * 1024);
    await fails("body-too-large", world.peer.call(ECHO, { text }));
    assert.equal((await world.peer.call(ECHO, { text: "here" })).text, "here");
  });

  it("whose answer is too large to send fails", async () => {
    const world = new World();
    world.services.call(ECHO, async () => ({ text: "x".repeat(25 * 1024 * 1024) }));
    await fails("body-too-large", world.peer.call(ECHO, { text: "much" }));
  });
});

const garble = (writer: { raw(bytes: Uint8Array): void }) =>
  writer.raw(Uint8Array.of(0, 0, 0, 9, 1));

describe("the deadline of a call", () => {
  const late: [method: typeof ECHO, code: "outcome-unknown" | "unavailable"][] = [
    [ECHO, "outcome-unknown"],
    [WRITE, "outcome-unknown"],
    [READ, "unavailable"],
  ];
  for (const [method, code] of late) {
    it(`that passes makes ${method.name} ${code}, at that millisecond`, async () => {
      const world = new Held();
      const call = world.peer.call(method, { text: "slow" }, { timeoutMs: 500 });
      await turn();
      world.clock.advance(499);
      assert.equal(await isAnswered(call), false);
      world.clock.advance(1);
      await fails(code, call);
      world.calls[0]?.answer("too late");
      await turn();
    });
  }

  it("crosses the wire: the handler's signal aborts then, and no sooner", async () => {
    const world = new Held();
    const call = world.peer.call(ECHO, { text: "slow" }, { timeoutMs: 500 });
    await turn();
    const signal = world.calls[0]?.context.signal;
    assert(signal);
    world.pipe.cut(); // so that nothing the client says can be why
    world.clock.advance(499);
    assert.equal(signal.aborted, false);
    world.clock.advance(1);
    assert.equal(signal.aborted, true);
    await fails("outcome-unknown", call);
  });

  it("counts while it waits for a connection, and then nothing was sent", async () => {
    const world = new Held({ limits: { handshakeMs: 60_000 } });
    world.dial({ onBytes() {}, onDrained() {}, onClosed() {} });
    const call = world.peer.call(ECHO, { text: "never" }, { timeoutMs: 500 });
    world.pipe.cut();
    await turn();
    world.clock.advance(500);
    await fails("unavailable", call);
    assert.deepEqual(world.came, []);
  });

  it("is kept among thousands of calls that are over before theirs", async () => {
    const world = new Held();
    world.services.call(QUICK, async (one) => one);
    const early = world.peer.call(ECHO, { text: "early" }, { timeoutMs: 5000 });
    const late = world.peer.call(ECHO, { text: "late" }, { timeoutMs: 20_000 });
    for (let i = 0; i < 5000; i++) await world.peer.call(QUICK, { text: "" }, { timeoutMs: 9000 });
    world.clock.advance(4999);
    assert.equal(await isAnswered(early), false);
    world.clock.advance(1);
    await fails("outcome-unknown", early);
    await turn();
    world.clock.advance(14_999);
    assert.equal(await isAnswered(late), false);
    world.clock.advance(1);
    await fails("outcome-unknown", late);
  });
});

describe("giving up a call", () => {
  it("aborts the handler's signal; the answer that it then gives counts", async () => {
    const world = new Held();
    const abort = new AbortController();
    const call = world.peer.call(ECHO, { text: "wait" }, { signal: abort.signal });
    await turn();
    const [held] = world.calls;
    held?.context.signal.addEventListener("abort", () => held.answer("nothing yet"));
    assert.equal(await isAnswered(call), false);
    abort.abort();
    assert.equal((await call).text, "nothing yet");
  });

  it("before it is sent reaches the handler as well", async () => {
    const world = new Held();
    const call = world.peer.call(ECHO, { text: "wait" }, { signal: AbortSignal.abort() });
    await turn();
    assert.equal(world.calls[0]?.context.signal.aborted, true);
    world.calls[0]?.answer("");
    await call;
  });

  it("leaves nothing behind at the signal", async () => {
    const world = new World();
    world.services.call(ECHO, async (one) => one);
    const { signal } = new AbortController();
    let listeners = 0;
    const counted = new Proxy(signal, {
      get(target, name) {
        if (name === "addEventListener") return () => void listeners++;
        if (name === "removeEventListener") return () => void listeners--;
        return Reflect.get(target, name, target) as unknown;
      },
    });
    await world.peer.call(ECHO, { text: "" }, { signal: counted });
    assert.equal(listeners, 0);
  });

  it("by losing the connection aborts every handler's signal", async () => {
    const world = new Held();
    const calls = [1, 2].map(() => world.peer.call(ECHO, { text: "wait" }));
    await turn();
    const signals = world.calls.map(({ context }) => context.signal);
    world.pipe.break();
    for (const call of calls) await fails("outcome-unknown", call);
    assert.deepEqual(
      signals.map(({ aborted }) => aborted),
      [true, true],
    );
  });
});

describe("the bounds of a connection", () => {
  it("more calls than may be under way are overloaded, at the client", async () => {
    const world = new Held({ peer: { limits: { callsMax: 3 } } });
    const calls = [1, 2, 3].map((n) => world.peer.call(ECHO, { text: `${n}` }));
    const one = world.peer.call(ECHO, { text: "beyond those that wait for the connection" });
    const refused = Promise.race([one, Promise.resolve("is not refused at once")]);
    await fails("overloaded", refused);
    await turn();
    await fails("overloaded", world.peer.call(ECHO, { text: "4" }));
    assert.deepEqual(world.came, ["1", "2", "3"]);
    world.calls[0]?.answer("");
    await calls[0];
    const next = world.peer.call(ECHO, { text: "5" });
    await turn();
    for (const { answer } of world.calls) answer("");
    await Promise.all([...calls, next]);
  });

  it("more bytes of requests than may be under way are overloaded, at the client", async () => {
    const world = new Held({ peer: { limits: { callBytesMax: 1000 } } });
    const text = "x".repeat(600);
    const calls = [1, 2].map(() => world.peer.call(ECHO, { text }));
    await fails("overloaded", world.peer.call(ECHO, { text }));
    await turn();
    await fails("overloaded", world.peer.call(ECHO, { text }));
    for (const { answer } of world.calls) answer("");
    await Promise.all(calls);
    const next = world.peer.call(ECHO, { text });
    await turn();
    world.calls[2]?.answer("");
    await next;
  });

  const bounds: [name: string, limits: object][] = [
    ["calls", { callsMax: 2 }],
    ["bytes", { callBytesMax: 1000 }],
  ];
  for (const [name, limits] of bounds) {
    it(`a server that has as many ${name} as it takes says so, and runs no more`, async () => {
      const world = new Held({ server: { limits } });
      const text = "x".repeat(600);
      const calls = [1, 2].map(() => world.peer.call(ECHO, { text }));
      await fails("overloaded", world.peer.call(ECHO, { text }));
      assert.equal(world.calls.length, 2);
      for (const { answer } of world.calls) answer("");
      await Promise.all(calls);
    });
  }

  it("a server reads nothing further while its answers are not read", async () => {
    const world = new World({
      pipe: { roomBytes: 4096 },
      limits: { sendBytesPause: 4096, sendBytesMax: 1 << 20 },
    });
    let served = 0;
    world.services.call(ECHO, async () => {
      served++;
      return { text: "x".repeat(1000) };
    });
    await world.peer.call(ECHO, { text: "open" });
    world.pipe.client.pause();
    const calls: Promise<Echo>[] = [];
    for (let i = 0; i < 50; i++) {
      calls.push(world.peer.call(ECHO, { text: `${i}` }));
      await turn();
    }
    assert(served < 10, `${served} were served`);
    assert(world.pipe.server.isPaused);
    world.pipe.client.resume();
    assert.equal((await Promise.all(calls)).length, 50);
    assert.equal(world.pipe.server.isPaused, false);
  });

  it("an answer beyond the bound that is taken at once stops nothing", async () => {
    const world = new World({ limits: { sendBytesPause: 4096 } });
    world.services.call(ECHO, async ({ text }) => ({ text: text.repeat(10_000) }));
    for (const text of ["a", "b", "c"]) {
      assert.equal((await world.peer.call(ECHO, { text })).text.length, 10_000);
      assert.equal(world.pipe.server.isPaused, false);
    }
  });

  it("a client that reads nothing at all is given up", async () => {
    const world = new World({ pipe: { roomBytes: 1024 }, limits: { sendBytesMax: 100_000 } });
    world.services.call(ECHO, async () => ({ text: "x".repeat(10_000) }));
    await world.peer.call(ECHO, { text: "open" });
    world.pipe.client.pause();
    const calls = Array.from({ length: 20 }, () => world.peer.call(ECHO, { text: "" }));
    for (const call of calls) await fails("outcome-unknown", call);
    assert.equal(world.server.connectionCount, 0);
  });
});

describe("any history of calls", () => {
  it("answers each once, with its own answer, whatever is cut, broken, given up or late", async () => {
    const run = async (seed: number) => {
      const prng = new Prng(seed);
      const world = new Held({ pipe: { chunkBytes: 1 + prng.below(60) } });
      let [answered, failed] = [0, 0];
      const calls: Promise<void>[] = [];
      for (let step = 0; step < 60; step++) {
        const roll = prng.below(100);
        const held = world.calls.length > 0 ? prng.pick(world.calls) : undefined;
        if (roll < 45) {
          const text = `${step}`;
          const abort = new AbortController();
          const method = prng.pick([ECHO, READ, WRITE]);
          const timeoutMs = 1 + prng.below(5000);
          const call = world.peer.call(method, { text }, { signal: abort.signal, timeoutMs });
          if (prng.chance(10)) abort.abort();
          calls.push(
            call.then(
              (answer) => {
                assert.equal(answer.text, `to ${text}`);
                answered++;
              },
              (error: unknown) => {
                assert(error instanceof TidegateError, String(error));
                assert(/^(unavailable|outcome-unknown)$/.test(error.code), error.code);
                failed++;
              },
            ),
          );
        } else if (roll < 75) held?.answer(`to ${held.request.text}`);
        else if (roll < 85) world.clock.advance(prng.below(2000));
        else if (roll < 90) world.pipes.at(-1)?.break();
        else await turn();
      }
      for (let round = 0; round < 10; round++) {
        await turn();
        for (const { request, answer } of world.calls) answer(`to ${request.text}`);
        world.clock.advance(1000);
      }
      await Promise.all(calls);
      assert.equal(answered + failed, calls.length);
      world.peer.close();
      await turn();
      assert.equal(world.server.callCount, 0);
      return answered;
    };
    let answered = 0;
    await fc.assert(
      fc.asyncProperty(fc.nat(), async (seed) => {
        answered += await run(seed);
      }),
      { numRuns: 60 },
    );
    assert(answered > 200, `${answered} answered`);
  });
});
