/**
 * Delayed messages over HTTP: how a delay is said, how it is answered, showing
 * and recalling what is scheduled.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { readDelay, readDeliverAt } from "../../routes/delay.ts";
import type { ErrorCode } from "../../storage/base/errors.ts";
import { type Ask, NOON, problem, TestGateway } from "../fakes/gateway.ts";

const PATH = "/v1/topics/orders/messages";
const post = (headers: Record<string, string> = {}): Ask => ({
  method: "POST",
  body: "x",
  headers,
});
const at = (ms: number) => new Date(NOON + ms).toISOString();

describe("readDelay()", () => {
  const cases: [text: string, ms: number | undefined][] = [
    ["0", 0],
    ["1.5", 1500],
    ["0.07", 70],
    ["4.35", 4350],
    ["007", 7000],
    ["0.001", 1],
    ["0.0010", 1],
    ["0.0001", 1],
    ["0.0011", 2],
    ["1.000000000001", 1001],
    ["3456000", 3_456_000_000],
    ["999999999999", 999_999_999_999_000],
    ["", undefined],
    [".5", undefined],
    ["5.", undefined],
    ["-1", undefined],
    ["+1", undefined],
    ["1e3", undefined],
    ["1 ", undefined],
    ["0x1", undefined],
    ["Infinity", undefined],
    ["1,5", undefined],
    ["9999999999999", undefined],
  ];
  for (const [text, ms] of cases) {
    it(`reads "${text}" as ${ms}`, () => assert.equal(readDelay(text), ms));
  }

  it("reads back any number of milliseconds", () => {
    fc.assert(
      fc.property(fc.nat(), (ms) => {
        assert.equal(readDelay((ms / 1000).toFixed(3)), ms);
        assert.equal(readDelay((ms / 1000).toFixed(9)), ms);
      }),
    );
  });
});

describe("readDeliverAt()", () => {
  const noon = Date.UTC(2026, 10, 22, 12);
  const cases: [text: string, ms: number | undefined][] = [
    ["2026-11-22T12:00:00Z", noon],
    ["2026-11-22T12:00:00.1Z", noon + 100],
    ["2026-11-22T12:00:00.123Z", noon + 123],
    ["2026-11-22T12:00:00.123000Z", noon + 123],
    ["2026-11-22T12:00:00.1230001Z", noon + 124],
    ["2026-11-22T13:00:00.9999+01:00", noon + 1000],
    ["2026-11-22", undefined],
    ["tomorrow", undefined],
  ];
  for (const [text, ms] of cases) {
    it(`reads "${text}" as ${ms}`, () => assert.equal(readDeliverAt(text), ms));
  }
});

describe("publishing with a delay", () => {
  const ways: [name: string, path: string, ask: Ask, dueMs: number][] = [
    ["Delay", PATH, post({ Delay: "1.5" }), 1500],
    ["Deliver-At", PATH, post({ "Deliver-At": at(2000) }), 2000],
    ["?delay", `${PATH}?delay=0.25`, post(), 250],
    ["?deliverAt", `${PATH}?deliverAt=${at(3000)}`, post(), 3000],
    ["a header before a parameter", `${PATH}?delay=9`, post({ Delay: "1" }), 1000],
  ];
  for (const [name, path, ask, dueMs] of ways) {
    it(`takes ${name} and answers with the time, not a place`, async () => {
      const gateway = new TestGateway();
      const headers = { ...ask.headers, "Message-Id": "m", "Message-Key": "k" };
      const response = await gateway.ask(path, { ...ask, headers });
      assert.equal(response.status, 201);
      assert.equal(response.headers.get("location"), `${PATH}/m`);
      const { queueId, ...answer } = (await response.json()) as Record<string, unknown>;
      assert.equal(typeof queueId, "number");
      assert.deepEqual(answer, {
        id: "m",
        topic: "orders",
        deliverAt: at(dueMs),
        publishedAt: at(0),
        state: "scheduled",
      });
      gateway.clock.advance(dueMs - 1);
      assert.equal((await gateway.ask(PATH)).status, 204);
      gateway.clock.advance(1);
      const [message] = (await gateway.json(PATH))["messages"];
      assert.equal(message.id, "m");
      assert.equal(message.deliverAt, at(dueMs));
      assert.equal(message.publishedAt, at(dueMs));
      assert.equal("state" in message, false);
    });
  }

  it("answers 204 with Location where the answer is to be minimal", async () => {
    const gateway = new TestGateway();
    const response = await gateway.ask(PATH, post({ Delay: "1", Prefer: "return=minimal" }));
    assert.equal(response.status, 204);
    assert.match(response.headers.get("location") ?? "", /\/messages\/.+/);
  });

  it("takes the past as now", async () => {
    const gateway = new TestGateway();
    const answer = await gateway.json(PATH, { ...post({ "Deliver-At": at(-5) }), status: 201 });
    assert.equal(answer["queueOffset"], "0");
    assert.equal("deliverAt" in answer || "state" in answer, false);
  });

  const refused: [
    name: string,
    path: string,
    headers: Record<string, string>,
    code: ErrorCode,
    pointer?: string,
  ][] = [
    ["an odd Delay", PATH, { Delay: "soon" }, "invalid-request", "/header/Delay"],
    ["an odd Deliver-At", PATH, { "Deliver-At": "1" }, "invalid-request", "/header/Deliver-At"],
    ["an odd ?delay", `${PATH}?delay=-1`, {}, "invalid-request", "/query/delay"],
    ["an odd ?deliverAt", `${PATH}?deliverAt=x`, {}, "invalid-request", "/query/deliverAt"],
    ["both headers", PATH, { Delay: "1", "Deliver-At": at(1) }, "invalid-request"],
    ["both parameters", `${PATH}?delay=1&deliverAt=${at(1)}`, {}, "invalid-request"],
    ["a header and a parameter", `${PATH}?deliverAt=${at(1)}`, { Delay: "1" }, "invalid-request"],
    ["too long a delay", PATH, { Delay: "3456000.001" }, "delay-too-long"],
    ["a far time", PATH, { "Deliver-At": "2100-01-01T00:00:00Z" }, "delay-too-long"],
  ];
  for (const [name, path, headers, code, pointer] of refused) {
    it(`refuses ${name} and stores nothing`, async () => {
      const gateway = new TestGateway();
      const status = code === "delay-too-long" ? 422 : 400;
      const body = await problem(await gateway.ask(path, post(headers)), { status, code });
      if (pointer !== undefined) assert.equal(body["errors"][0].pointer, pointer);
      if (code === "delay-too-long") assert.equal(body["limitMs"], 3_456_000_000);
      gateway.clock.advance(10_000);
      assert.equal(await gateway.stored("orders"), 0);
    });
  }

  it("says message-type-mismatch where a topic's type does not fit", async () => {
    const gateway = new TestGateway();
    const made = { method: "PUT", json: { messageType: "delay" }, status: 201 };
    await gateway.json("/v1/topics/orders", made);
    const refusedNow = await gateway.ask(PATH, post());
    await problem(refusedNow, { status: 422, code: "message-type-mismatch" });
    assert.equal((await gateway.ask(PATH, post({ Delay: "1" }))).status, 201);
  });

  it("says id-in-use while one of that id is scheduled", async () => {
    const gateway = new TestGateway();
    const named = { "Message-Id": "m" };
    await gateway.json(PATH, { ...post({ ...named, Delay: "1" }), status: 201 });
    await problem(await gateway.ask(PATH, post(named)), { status: 409, code: "id-in-use" });
  });
});

describe("a batch with delays", () => {
  const batch = (...messages: object[]): Ask => ({ method: "POST", json: { messages } });

  it("answers each as it is", async () => {
    const gateway = new TestGateway();
    const asked = batch(
      { text: "a", id: "a" },
      { text: "b", id: "b", delayMs: 1500 },
      { text: "c", id: "c", deliverAt: at(70) },
      { text: "d", id: "d", deliverAt: at(-70) },
      { text: "e", id: "e", delayMs: 0.5 },
    );
    const { results } = await gateway.json(`${PATH}/batch`, asked);
    const told = results.map(({ id, state, deliverAt }: Record<string, unknown>) => {
      return { id, state, deliverAt };
    });
    assert.deepEqual(told, [
      { id: "a", state: undefined, deliverAt: undefined },
      { id: "b", state: "scheduled", deliverAt: at(1500) },
      { id: "c", state: "scheduled", deliverAt: at(70) },
      { id: "d", state: undefined, deliverAt: undefined },
      { id: "e", state: "scheduled", deliverAt: at(1) },
    ]);
    assert.deepEqual(Object.keys(results[1]).toSorted(), ["deliverAt", "id", "queueId", "state"]);
  });

  it("refuses one by one what is no delay", async () => {
    const gateway = new TestGateway();
    const odd = [
      { delayMs: 5, deliverAt: at(1) },
      { delayMs: -1 },
      { delayMs: "5" },
      { delayMs: null },
      { deliverAt: 5 },
      { deliverAt: "soon" },
      { deliverAt: null },
    ].map((delay) => ({ text: "x", ...delay }));
    const asked = batch({ text: "good" }, ...odd, { text: "far", delayMs: 1e300 });
    const { results } = await gateway.json(`${PATH}/batch`, asked);
    const codes = results.map(
      (one: Record<string, Record<string, string>>) => one["problem"]?.["code"],
    );
    const faults = odd.map(() => "validation-failed");
    assert.deepEqual(codes, [undefined, ...faults, "delay-too-long"]);
    assert.equal(results[1].problem.errors[0].pointer, "/messages/1/delayMs");
  });

  it("takes no delay for all of it: each message has its own", async () => {
    const gateway = new TestGateway();
    const headers = { Delay: "1" };
    const response = await gateway.ask(`${PATH}/batch`, { ...batch({ text: "x" }), headers });
    await problem(response, { status: 400, code: "invalid-request" });
  });
});

describe("a scheduled message", () => {
  it("is shown with its state and time, and recalled once", async () => {
    const gateway = new TestGateway();
    const headers = {
      Delay: "60",
      "Message-Id": "m",
      "Message-Tag": "t",
      "content-type": "text/plain",
    };
    await gateway.json(PATH, { ...post(headers), status: 201 });
    const { queueId, ...shown } = await gateway.json(`${PATH}/m`);
    assert.equal(typeof queueId, "number");
    assert.deepEqual(shown, {
      id: "m",
      topic: "orders",
      state: "scheduled",
      tag: "t",
      contentType: "text/plain",
      text: "x",
      publishedAt: at(0),
      deliverAt: at(60_000),
    });
    const response = await gateway.ask(`${PATH}/m`, { method: "DELETE" });
    assert.equal(response.status, 204);
    assert.equal(await response.text(), "");
    for (const method of ["GET", "DELETE"]) {
      const gone = await gateway.ask(`${PATH}/m`, { method });
      await problem(gone, { status: 404, code: "message-not-found" });
    }
    gateway.clock.advance(100_000);
    assert.equal(await gateway.stored("orders"), 0);
  });

  it("that was delivered is not recalled", async () => {
    const gateway = new TestGateway();
    await gateway.json(PATH, { ...post({ Delay: "1", "Message-Id": "m" }), status: 201 });
    gateway.clock.advance(1000);
    const response = await gateway.ask(`${PATH}/m`, { method: "DELETE" });
    await problem(response, { status: 409, code: "already-delivered" });
    assert.equal((await gateway.json(`${PATH}/m`))["queueOffset"], "0");
  });

  it("is allowed to be deleted from other origins", async () => {
    const gateway = new TestGateway();
    const response = await gateway.ask(`${PATH}/m`, { method: "OPTIONS" });
    assert.equal(response.headers.get("allow"), "GET, DELETE, HEAD, OPTIONS");
  });
});
