/**
 * Searching over HTTP.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SearchPage } from "../../routes/search.ts";
import { type JsonObject, problem, TestGateway } from "../fakes/gateway.ts";

const PATH = "/v1/topics/orders/search";

/** Messages m0 and so on, a second apart; each has the key `all`, the even ones also `even,é`. */
async function published(count: number): Promise<TestGateway> {
  const gateway = new TestGateway();
  await gateway.json("/v1/topics/orders", { method: "PUT", json: { queues: 1 }, status: 201 });
  for (let i = 0; i < count; i++) {
    const headers = {
      "content-type": "application/json",
      "message-id": `m${i}`,
      "message-index": i % 2 === 0 ? "all,even,%C3%A9" : "all",
    };
    const ask = { method: "POST", body: `{"big": 12345678901234567890}`, headers, status: 201 };
    await gateway.json("/v1/topics/orders/messages", ask);
    gateway.clock.advance(1000);
  }
  return gateway;
}

const MALFORMED = { status: 400, code: "invalid-request" } as const;

const idsOf = (page: JsonObject): string[] =>
  page["messages"].map(({ id }: JsonObject) => id as string);

describe("GET /v1/topics/{topic}/search", () => {
  it("finds by index key, the last first, with the bodies as published", async () => {
    const gateway = await published(3);
    const response = await gateway.ask(`${PATH}?index=${encodeURIComponent("é")}`);
    assert.equal(response.headers.get("content-type"), "application/json");
    assert.equal(response.headers.get("cache-control"), "no-store");
    const text = await response.text();
    assert(text.includes('"data":{"big": 12345678901234567890}'), "the bytes as published");
    const page = JSON.parse(text) as JsonObject;
    SearchPage.parse(page);
    assert.deepEqual(Object.keys(page), ["messages"]);
    assert.deepEqual(idsOf(page), ["m2", "m0"]);
    assert.deepEqual(page["messages"][0]["index"], ["all", "even", "é"]);
  });

  it("goes on with the token, and only with the same query", async () => {
    const gateway = await published(5);
    const found: string[] = [];
    for (let query = ""; ; ) {
      const page = await gateway.json(`${PATH}?index=all&limit=2${query}`);
      SearchPage.parse(page);
      found.push(...idsOf(page));
      if (page["nextPageToken"] === undefined) break;
      query = `&pageToken=${page["nextPageToken"]}`;
      const other = await gateway.ask(`${PATH}?index=even${query}`);
      await problem(other, { status: 400, code: "invalid-cursor" });
    }
    assert.deepEqual(found, ["m4", "m3", "m2", "m1", "m0"]);
  });

  it("finds by time, `from` included and `to` not, with any offset", async () => {
    const gateway = await published(4);
    const page = await gateway.json(`${PATH}?index=all`);
    const [, third, second] = page["messages"].map(
      ({ publishedAt }: JsonObject) => publishedAt as string,
    );
    const at = `from=${second}&to=${encodeURIComponent(String(third).replace("Z", "+00:00"))}`;
    assert.deepEqual(idsOf(await gateway.json(`${PATH}?${at}`)), ["m1"]);
    assert.deepEqual(idsOf(await gateway.json(`${PATH}?from=${third}&index=even`)), ["m2"]);
    assert.deepEqual(idsOf(await gateway.json(`${PATH}?to=${second}`)), ["m0"]);
  });

  const wrong: [query: string, pointer: string][] = [
    ["", "/query"],
    ["?limit=5", "/query"],
    ["?index=", "/query/index"],
    [`?index=${"x".repeat(129)}`, "/query/index"],
    [`?index=${"%C3%A9".repeat(65)}`, "/query/index"],
    ["?from=yesterday", "/query/from"],
    ["?to=2026-02-31T00:00:00Z", "/query/to"],
    ["?from=2026-02-03T00:00:00Z&to=2026-02-02T00:00:00Z", "/query/to"],
    ["?index=a&limit=0", "/query/limit"],
    ["?index=a&maxBytes=0", "/query/maxBytes"],
    ["?index=a&pageToken=%20", "/query/pageToken"],
  ];
  for (const [query, pointer] of wrong) {
    it(`refuses "${query.slice(0, 40)}" with 400`, async () => {
      const gateway = await published(0);
      const { errors } = await problem(await gateway.ask(PATH + query), MALFORMED);
      assert.equal((errors as { pointer: string }[])[0]?.pointer, pointer);
    });
  }

  it("of a topic that is not there is 404", async () => {
    const gateway = new TestGateway();
    const answer = await gateway.ask(`${PATH}?index=a`);
    await problem(answer, { status: 404, code: "topic-not-found" });
  });
});
