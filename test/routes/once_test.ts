/**
 * Publishes that may be repeated, over HTTP: Idempotency-Key and Producer-*.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ErrorCode } from "../../storage/base/errors.ts";
import { type Ask, type JsonObject, problem, TestGateway } from "../fakes/gateway.ts";

const PATH = "/v1/topics/orders/messages";
const BATCH = `${PATH}/batch`;

type Headers = Record<string, string>;

const post = (body: BodyInit, headers: Headers = {}): Ask => ({ method: "POST", body, headers });
const key = (value: string, more: Headers = {}): Headers => ({ "Idempotency-Key": value, ...more });
const producer = (seq: number | string, more: Headers = {}): Headers => ({
  "Producer-Id": "p",
  "Producer-Epoch": "0",
  "Producer-Seq": String(seq),
  ...more,
});
const batch = (headers: Headers, ...messages: object[]): Ask =>
  post(JSON.stringify({ messages }), { "content-type": "application/json", ...headers });

const replayed = (response: Response) => response.headers.get("idempotency-replayed");

describe("POST …/messages with an Idempotency-Key", () => {
  it("answers a repeat 200 with the first answer, to the letter", async () => {
    const gateway = new TestGateway();
    const first = await gateway.ask(PATH, post("hello", key("k")));
    assert.equal(first.status, 201);
    assert.equal(replayed(first), null);
    const body = await first.text();
    for (let i = 0; i < 2; i++) {
      gateway.clock.advance(1000);
      const repeat = await gateway.ask(PATH, post("hello", key("k")));
      assert.equal(repeat.status, 200);
      assert.equal(replayed(repeat), "true");
      assert.equal(repeat.headers.get("location"), first.headers.get("location"));
      assert.equal(await repeat.text(), body);
    }
    assert.equal(await gateway.stored("orders"), 1);
  });

  it("honours Prefer: return=minimal", async () => {
    const gateway = new TestGateway();
    const ask = () => gateway.ask(PATH, post("x", key("k", { Prefer: "return=minimal" })));
    const [first, repeat] = [await ask(), await ask()];
    assert.deepEqual([first.status, replayed(first)], [204, null]);
    assert.deepEqual([repeat.status, replayed(repeat)], [204, "true"]);
    assert.equal(repeat.headers.get("location"), first.headers.get("location"));
    assert.equal(repeat.headers.get("preference-applied"), "return=minimal");
  });

  it("shows the header to pages of other origins", async () => {
    const gateway = new TestGateway({ corsOrigins: ["https://a.example"] });
    const headers = key("k", { origin: "https://a.example" });
    const response = await gateway.ask(PATH, post("x", headers));
    assert.match(
      response.headers.get("access-control-expose-headers") ?? "",
      /Idempotency-Replayed/,
    );
    const preflight = await gateway.ask(PATH, {
      method: "OPTIONS",
      headers: { origin: "https://a.example", "access-control-request-method": "POST" },
    });
    const allowed = preflight.headers.get("access-control-allow-headers") ?? "";
    for (const name of ["Idempotency-Key", "Producer-Id", "Producer-Epoch", "Producer-Seq"]) {
      assert(allowed.split(", ").includes(name), name);
    }
  });

  const changes: [what: string, path: string, ask: Ask][] = [
    ["another body", PATH, post("other", key("k"))],
    ["a tag", PATH, post("x", key("k", { "Message-Tag": "t" }))],
    ["an index key", `${PATH}?index=i`, post("x", key("k"))],
    ["a property", PATH, post("x", key("k", { "Message-Property-a": "1" }))],
    ["a content type", PATH, post("x", key("k", { "content-type": "text/csv" }))],
    ["an id", PATH, post("x", key("k", { "Message-Id": "mine" }))],
    ["an id as a parameter", `${PATH}?id=mine`, post("x", key("k"))],
  ];
  for (const [what, path, ask] of changes) {
    it(`answers 422 to the key used again with ${what}`, async () => {
      const gateway = new TestGateway();
      assert.equal((await gateway.ask(PATH, post("x", key("k")))).status, 201);
      const mismatch = { status: 422, code: "idempotency-mismatch" } as const;
      const body = await problem(await gateway.ask(path, ask), mismatch);
      assert.deepEqual([body["retryable"], body["applied"]], [false, false]);
      assert.equal(await gateway.stored("orders"), 1);
    });
  }

  it("takes the key percent-decoded, and within its Message-Key", async () => {
    const gateway = new TestGateway();
    const statuses = [];
    for (const headers of [
      key("caf%C3%A9"),
      key("caf%c3%a9"),
      key("caf%C3%A9", { "Message-Key": "a" }),
      key("caf%25C3%25A9"),
    ]) {
      statuses.push((await gateway.ask(PATH, post("x", headers))).status);
    }
    assert.deepEqual(statuses, [201, 200, 201, 201]);
  });
});

describe("POST …/messages/batch with an Idempotency-Key", () => {
  const messages = [{ data: 1 }, { data: 2, id: "own" }];

  it("repeats each message by itself, and says which", async () => {
    const gateway = new TestGateway();
    const first = await gateway.json(BATCH, batch(key("k"), ...messages));
    const response = await gateway.ask(BATCH, batch(key("k"), ...messages));
    assert.deepEqual([response.status, replayed(response)], [200, "true"]);
    const expected = first["results"].map((one: object) => ({ ...one, replayed: true }));
    assert.deepEqual(await response.json(), { results: expected });

    const more = await gateway.ask(BATCH, batch(key("k"), { data: 1 }, { data: 3 }, { data: 4 }));
    assert.deepEqual([more.status, replayed(more)], [200, null]);
    const { results } = (await more.json()) as { results: JsonObject[] };
    assert.deepEqual(results[0], expected[0]);
    assert.equal(results[1]?.["problem"].code, "idempotency-mismatch");
    assert.equal(results[2]?.["replayed"], undefined);
    assert.equal(await gateway.stored("orders"), 3);
  });

  it("stands for key#index", async () => {
    const gateway = new TestGateway();
    const headers = { "content-type": "application/json" };
    await gateway.ask(PATH, post("2", key("k%231", headers)));
    const { results } = await gateway.json(BATCH, batch(key("k"), { data: 1 }, { data: 2 }));
    assert.deepEqual(
      results.map((one: Record<string, unknown>) => one["replayed"]),
      [undefined, true],
    );
  });

  it("keeps the index of a message behind one that is refused", async () => {
    const gateway = new TestGateway();
    await gateway.json(BATCH, batch(key("k"), { data: 1, odd: 1 }, { data: 2 }));
    const { results } = await gateway.json(BATCH, batch(key("k"), { data: 1 }, { data: 2 }));
    assert.deepEqual(
      results.map((one: Record<string, unknown>) => one["replayed"]),
      [undefined, true],
    );
  });

  it("repeats an atomic batch as a whole, with 200", async () => {
    const gateway = new TestGateway();
    const path = `${BATCH}?atomic=true`;
    const first = await gateway.json(path, { ...batch(key("k"), ...messages), status: 201 });
    const response = await gateway.ask(path, batch(key("k"), ...messages));
    assert.deepEqual([response.status, replayed(response)], [200, "true"]);
    const { results } = (await response.json()) as { results: object[] };
    assert.deepEqual(
      results,
      first["results"].map((one: object) => ({ ...one, replayed: true })),
    );
    const partly = batch(key("k"), ...messages, { data: 3 });
    const mismatch = { status: 422, code: "idempotency-mismatch" } as const;
    await problem(await gateway.ask(path, partly), mismatch);
    assert.equal(await gateway.stored("orders"), 2);
  });
});

describe("POST …/messages with Producer-Id, Producer-Epoch and Producer-Seq", () => {
  it("answers 201 in sequence, 200 to a repeat, 409 to a gap, 403 to an older epoch", async () => {
    const gateway = new TestGateway();
    const first = await gateway.json(PATH, { ...post("a", producer(0)), status: 201 });
    const repeat = await gateway.ask(PATH, post("a", producer(0)));
    assert.deepEqual([repeat.status, replayed(repeat)], [200, "true"]);
    assert.deepEqual(await repeat.json(), first);
    const gap = await problem(await gateway.ask(PATH, post("c", producer(2))), {
      status: 409,
      code: "producer-sequence-gap",
    });
    assert.equal(gap["expectedSeq"], 1);
    const newer = producer(0, { "Producer-Epoch": "4294967295" });
    assert.equal((await gateway.ask(PATH, post("a", newer))).status, 201);
    const fenced = { status: 403, code: "producer-fenced" } as const;
    await problem(await gateway.ask(PATH, post("b", producer(1))), fenced);
    assert.equal(await gateway.stored("orders"), 2);
  });

  it("answers 409 to a repeat of long ago", async () => {
    const gateway = new TestGateway();
    for (let seq = 0; seq < 6; seq++) await gateway.ask(PATH, post("x", producer(seq)));
    const old = await problem(await gateway.ask(PATH, post("x", producer(0))), {
      status: 409,
      code: "producer-sequence-old",
    });
    assert.equal(old["expectedSeq"], 6);
  });

  it("counts the messages of an atomic batch", async () => {
    const gateway = new TestGateway();
    const path = `${BATCH}?atomic=true`;
    const unit = () => batch(producer(0), { data: 1 }, { data: 2 }, { data: 3 });
    await gateway.json(path, { ...unit(), status: 201 });
    const repeat = await gateway.ask(path, unit());
    assert.deepEqual([repeat.status, replayed(repeat)], [200, "true"]);
    assert.equal((await gateway.ask(PATH, post("x", producer(3)))).status, 201);
    assert.equal(await gateway.stored("orders"), 4);
  });
});

describe("what makes a publish repeatable", () => {
  const long = "x".repeat(257);
  const refused: [what: string, path: string, ask: Ask, code: ErrorCode, pointer: string][] = [
    ...(
      [
        ["an empty key", key("")],
        ["a key of 257 characters", key(long)],
        ["a key of 10 KB", key("k".repeat(10_240))],
        ["a key with a space", key("a b")],
        ["a key with a control character", key("a%0Ab")],
        ["a key that does not decode", key("%E9")],
        ["a key and a producer", key("k", producer(0))],
      ] as [string, Headers][]
    ).map(([what, headers]): (typeof refused)[number] => [
      what,
      PATH,
      post("x", headers),
      "invalid-request",
      "/header/Idempotency-Key",
    ]),
    ...(
      [
        ["Producer-Id", { "Producer-Id": "p" }],
        ["Producer-Id", { "Producer-Epoch": "0", "Producer-Seq": "0" }],
        ["Producer-Id", producer(0, { "Producer-Id": "x".repeat(129) })],
        ["Producer-Id", producer(0, { "Producer-Id": "a b" })],
        ["Producer-Epoch", producer(0, { "Producer-Epoch": "-1" })],
        ["Producer-Epoch", producer(0, { "Producer-Epoch": "4294967296" })],
        ["Producer-Epoch", producer(0, { "Producer-Epoch": "" })],
        ["Producer-Seq", producer("1.5")],
        ["Producer-Seq", producer("1000000000000001")],
        ["Producer-Seq", producer("x")],
      ] as [string, Headers][]
    ).map(([name, headers]): (typeof refused)[number] => [
      JSON.stringify(headers).slice(0, 120),
      PATH,
      post("x", headers),
      "invalid-request",
      `/header/${name}`,
    ]),
    [
      "a sequence in a batch that is not atomic",
      BATCH,
      batch(producer(0), { data: 1 }),
      "invalid-request",
      "/query/atomic",
    ],
  ];
  for (const [what, path, ask, code, pointer] of refused) {
    it(`refuses ${what}`, async () => {
      const gateway = new TestGateway();
      const body = await problem(await gateway.ask(path, ask), { status: 400, code });
      assert.equal(body["errors"][0].pointer, pointer);
      assert.equal(await gateway.stored("orders"), 0);
    });
  }

  it("refuses a sequenced batch of two ordering keys", async () => {
    const gateway = new TestGateway();
    const unit = batch(producer(0), { data: 1, key: "a" }, { data: 2, key: "b" });
    const response = await gateway.ask(`${BATCH}?atomic=true`, unit);
    await problem(response, { status: 400, code: "invalid-request" });
    assert.equal(await gateway.stored("orders"), 0);
  });

  it("takes a key of 256 characters", async () => {
    const gateway = new TestGateway();
    assert.equal((await gateway.ask(PATH, post("x", key("x".repeat(256))))).status, 201);
  });
});
