import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Deadlines } from "../../src/gateway/deadlines.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { problem, TestGateway } from "../fakes/gateway.ts";
import { turn } from "../fakes/stream_reader.ts";

const PATH = "/v1/topics/orders/messages";
const KIB = new Uint8Array(1024);

/** A body without a declared length, and how much of it was asked for. */
function streamed(next: (n: number) => Uint8Array | "end" | "fail" | Promise<never>) {
  const seen = { pulled: 0, cancelled: false };
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const chunk = await next(seen.pulled++);
        if (chunk === "end") controller.close();
        else if (chunk === "fail") controller.error(new Error("connection reset"));
        else controller.enqueue(chunk);
      },
      cancel() {
        seen.cancelled = true;
      },
    },
    { highWaterMark: 0 },
  );
  return { body, seen };
}

describe("a body without a declared length", () => {
  it("is put together from its parts", async () => {
    const gateway = new TestGateway();
    const parts = ["one ", "two ", "", "three"].map((part) => new TextEncoder().encode(part));
    const { body } = streamed((n) => parts[n] ?? "end");
    const headers = { "content-type": "text/plain", "message-id": "m" };
    await gateway.json(PATH, { method: "POST", body, headers, status: 201 });
    assert.equal((await gateway.json(`${PATH}/m`))["text"], "one two three");
  });

  it("is refused as soon as it is too long, and no longer asked for", async () => {
    const gateway = new TestGateway();
    const { body, seen } = streamed(() => KIB);
    const response = await gateway.ask(PATH, { method: "POST", body });
    const refusal = await problem(response, { status: 413, code: "message-too-large" });
    assert.equal(refusal["limit"], 4_194_304);
    assert(seen.pulled <= 4096 + 2, `${seen.pulled} KiB were taken`);
    assert.equal(seen.cancelled, true);
    assert.equal(await gateway.stored("orders"), 0);
  });

  it("may be exactly as long as the limit", async () => {
    const gateway = new TestGateway();
    const { body } = streamed((n) => (n < 4096 ? KIB : "end"));
    assert.equal((await gateway.ask(PATH, { method: "POST", body })).status, 201);
  });

  it("that breaks off is refused, and nothing is stored or reported", async () => {
    const gateway = new TestGateway();
    const { body } = streamed((n) => (n === 0 ? KIB : "fail"));
    const response = await gateway.ask(PATH, { method: "POST", body });
    await problem(response, { status: 400, code: "invalid-request" });
    assert.equal(await gateway.stored("orders"), 0);
    assert.deepEqual(gateway.reported, []);
  });
});

describe("a body that takes too long", () => {
  for (const [name, headers] of [
    ["with a declared length", { "content-length": "2048" }],
    ["without one", {}],
  ] as const) {
    it(`${name} is refused with 408 and nothing is stored`, async () => {
      const gateway = new TestGateway();
      const { body, seen } = streamed((n) => (n === 0 ? KIB : new Promise<never>(() => {})));
      let answered = false;
      const asking = gateway.ask(PATH, { method: "POST", body, headers }).then((response) => {
        answered = true;
        return response;
      });
      while (seen.pulled < 2) await turn();
      gateway.clock.advance(29_999);
      await turn();
      assert.equal(answered, false);
      gateway.clock.advance(1);
      const refusal = await problem(await asking, { status: 408, code: "request-timeout" });
      assert.equal(refusal["retryable"], true);
      assert.equal(await gateway.stored("orders"), 0);
    });
  }
});

describe("Deadlines", () => {
  const begin = () => {
    const clock = new ManualClock();
    const expired: string[] = [];
    const deadlines = new Deadlines(100, clock);
    return {
      clock,
      expired,
      begin: (name: string) => deadlines.begin(() => expired.push(name)),
      deadlines,
    };
  };

  it("expire in order, each in its time", () => {
    const { clock, expired, begin: at } = begin();
    at("a");
    clock.advance(60);
    at("b");
    clock.advance(39);
    assert.deepEqual(expired, []);
    clock.advance(1);
    assert.deepEqual(expired, ["a"]);
    clock.advance(59);
    assert.deepEqual(expired, ["a"]);
    clock.advance(1);
    assert.deepEqual(expired, ["a", "b"]);
  });

  it("that were met do not expire, and hold up no other", () => {
    const { clock, expired, begin: at, deadlines } = begin();
    const met = at("met");
    clock.advance(50);
    at("missed");
    deadlines.end(met);
    clock.advance(100);
    assert.deepEqual(expired, ["missed"]);
  });

  it("leave in any order, and twice without harm", () => {
    const { clock, expired, begin: at, deadlines } = begin();
    const [first, second, third] = [at("first"), at("second"), at("third")];
    at("fourth");
    for (const one of [second, second, first, second, third, second]) deadlines.end(one);
    clock.advance(99);
    const late = at("late");
    clock.advance(1);
    assert.deepEqual(expired, ["fourth"]);
    clock.advance(99);
    assert.deepEqual(expired, ["fourth", "late"]);
    deadlines.end(late);
    at("after");
    clock.advance(100);
    assert.deepEqual(expired, ["fourth", "late", "after"]);
  });

  it("may be met by what another one that expires does", () => {
    const clock = new ManualClock();
    const deadlines = new Deadlines(100, clock);
    const expired: string[] = [];
    const met = deadlines.begin(() => {
      expired.push("first");
      deadlines.end(second);
    });
    const second = deadlines.begin(() => expired.push("second"));
    deadlines.begin(() => expired.push("third"));
    clock.advance(100);
    deadlines.end(met);
    assert.deepEqual(expired, ["first", "third"]);
  });

  it("begin anew after a quiet time", () => {
    const { clock, expired, begin: at, deadlines } = begin();
    deadlines.end(at("first"));
    clock.advance(1000);
    at("second");
    clock.advance(99);
    assert.deepEqual(expired, []);
    clock.advance(1);
    assert.deepEqual(expired, ["second"]);
  });
});
