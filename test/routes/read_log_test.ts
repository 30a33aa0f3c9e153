import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ErrorCode } from "../../storage/base/errors.ts";
import { type Ask, type JsonObject, NOON, problem, TestGateway } from "../fakes/gateway.ts";
import { until } from "../fakes/stream_reader.ts";

const PATH = "/v1/topics/orders/messages";
const VARY = "Accept, Authorization, Tidegate-Namespace";

async function filled(count: number, gateway = new TestGateway()): Promise<TestGateway> {
  for (let i = 0; i < count; i++) {
    const headers = { "content-type": "application/json", "message-key": `k${i % 3}` };
    await gateway.json(PATH, { method: "POST", body: String(i), headers, status: 201 });
    gateway.clock.advance(1000);
  }
  return gateway;
}

const dataOf = (page: JsonObject) => (page["messages"] as JsonObject[]).map(({ data }) => data);

describe("GET /v1/topics/{topic}/messages", () => {
  it("reads from the earliest message by default and says where to go on", async () => {
    const gateway = await filled(3);
    const response = await gateway.ask(PATH);
    const page = (await response.json()) as JsonObject;
    assert.deepEqual(dataOf(page), [0, 1, 2]);
    assert.equal(page["upToDate"], true);
    assert.equal(response.headers.get("next-cursor"), page["cursor"]);
    assert.equal(response.headers.get("up-to-date"), "?1");
    assert.equal(response.headers.get("cache-control"), "no-cache");
    assert.equal(response.headers.get("vary"), VARY);
  });

  it("goes page by page through everything, once", async () => {
    const gateway = await filled(10);
    const seen: unknown[] = [];
    let after = "earliest";
    for (;;) {
      const page = await gateway.json(`${PATH}?limit=3&after=${after}`);
      seen.push(...dataOf(page));
      after = page["cursor"];
      if (page["upToDate"]) break;
    }
    assert.deepEqual(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it("begins at a time, at a message's own cursor, or at one key", async () => {
    const gateway = await filled(6);
    const time = new Date(NOON + 3000).toISOString();
    assert.deepEqual(dataOf(await gateway.json(`${PATH}?after=time:${time}`)), [3, 4, 5]);
    const local = "2026-11-22T13:00:03%2B01:00";
    assert.deepEqual(dataOf(await gateway.json(`${PATH}?after=time:${local}`)), [3, 4, 5]);
    const [first] = (await gateway.json(PATH))["messages"];
    const { queueId, cursor } = first as JsonObject;
    const rest = await gateway.json(`${PATH}?after=${cursor}`);
    assert.deepEqual(
      new Set((rest["messages"] as JsonObject[]).map((one) => one["queueId"])),
      new Set([queueId]),
    );
    assert.deepEqual(dataOf(await gateway.json(`${PATH}?key=k1`)), [1, 4]);
  });

  it("reads what a tag expression or SQL wants", async () => {
    const gateway = new TestGateway();
    for (const [n, tag] of ["created", "paid", "shipped", "paid"].entries()) {
      const headers = { "message-tag": tag, "message-property-total": `${n * 10}` };
      const ask = { method: "POST", body: `${n}`, status: 201 };
      const json = { "content-type": "application/json" };
      await gateway.json(PATH, { ...ask, headers: { ...headers, ...json } });
    }
    const seen = async (name: string, text: string) =>
      dataOf(await gateway.json(`${PATH}?${new URLSearchParams({ [name]: text })}`));
    assert.deepEqual(await seen("filter", "*"), [0, 1, 2, 3]);
    assert.deepEqual(await seen("filter", "paid"), [1, 3]);
    assert.deepEqual(await seen("filter", "created || shipped"), [0, 2]);
    assert.deepEqual(await seen("sql", "total > 9 AND total < 30"), [1, 2]);
    assert.deepEqual(await seen("sql", "TAGS LIKE '%ed' AND NOT total IS NULL"), [0, 2]);
  });

  it("says where a filter is wrong", async () => {
    const gateway = await filled(1);
    const response = await gateway.ask(`${PATH}?sql=${encodeURIComponent("a = 1 AND b >")}`);
    const body = await problem(response, { status: 422, code: "filter-invalid" });
    assert.equal(body["position"], 13);
    assert.equal(body["applied"], false);
  });

  it("is empty and goes on where a filter found nothing", async () => {
    const gateway = await filled(3);
    const response = await gateway.ask(`${PATH}?filter=nobody`);
    assert.equal(response.status, 204);
    assert.equal(response.headers.get("next-cursor"), "s-1-3");
  });

  it("reads one queue", async () => {
    const gateway = await filled(6);
    const [first] = (await gateway.json(PATH))["messages"] as [JsonObject];
    const page = await gateway.json(`${PATH}?queue=${first["queueId"]}`);
    assert(dataOf(page).length > 0);
    for (const one of page["messages"]) assert.equal(one.queueId, first["queueId"]);
  });

  it("ends a page at maxBytes, but gives one message at least", async () => {
    const gateway = await filled(3);
    const page = await gateway.json(`${PATH}?maxBytes=1`);
    assert.deepEqual(dataOf(page), [0]);
    assert.equal(page["upToDate"], false);
  });

  it("answers 204 at the tail, with where to go on", async () => {
    const gateway = await filled(2);
    const response = await gateway.ask(`${PATH}?after=latest`);
    assert.equal(response.status, 204);
    assert.equal(response.headers.get("next-cursor"), "s-1-2");
    assert.equal(response.headers.get("up-to-date"), "?1");
    assert.equal(gateway.held, 0);
  });

  it("gives a line to each message as NDJSON", async () => {
    const gateway = await filled(3);
    for (const ask of [
      { headers: { accept: "application/x-ndjson" } },
      { headers: { accept: "application/json;q=0.5, application/x-ndjson" } },
    ]) {
      const response = await gateway.ask(PATH, ask);
      assert.equal(response.headers.get("content-type"), "application/x-ndjson");
      assert.equal(response.headers.get("next-cursor"), "s-1-3");
      const text = await response.text();
      assert(text.endsWith("}\n"));
      const lines = text
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as JsonObject);
      assert.deepEqual(
        lines.map(({ data }) => data),
        [0, 1, 2],
      );
    }
  });

  it("answers HEAD with the tail, at once", async () => {
    const gateway = await filled(3);
    const response = await gateway.ask(`${PATH}?wait=60&after=latest`, { method: "HEAD" });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("next-cursor"), "s-1-3");
    assert.equal(response.headers.get("up-to-date"), "?1");
    assert.equal(response.headers.get("cache-control"), "no-cache");
    assert.equal(await response.text(), "");
    assert.equal(gateway.held, 0);
  });

  it("does not open a stream for HEAD", async () => {
    const gateway = await filled(1);
    const ask = { method: "HEAD", headers: { accept: "text/event-stream" } };
    assert.equal((await gateway.ask(PATH, ask)).headers.get("next-cursor"), "s-1-1");
    assert.equal(gateway.held, 0);
  });

  const refused: [name: string, path: string, status: number, code: ErrorCode, ask?: Ask][] = [
    ["limit 0", "?limit=0", 400, "invalid-request"],
    ["limit 1001", "?limit=1001", 400, "invalid-request"],
    ["a limit that is no number", "?limit=ten", 400, "invalid-request"],
    ["a limit in hex", "?limit=0x10", 400, "invalid-request"],
    ["an empty limit", "?limit=", 400, "invalid-request"],
    ["half a limit", "?limit=1.5", 400, "invalid-request"],
    ["a limit beyond all", `?limit=${"9".repeat(400)}`, 400, "invalid-request"],
    ["wait 61", "?wait=61", 400, "invalid-request"],
    ["a negative wait", "?wait=-1", 400, "invalid-request"],
    ["a queue below 0", "?queue=-1", 400, "invalid-request"],
    ["queue 1024", "?queue=1024", 400, "invalid-request"],
    ["17 MiB", "?maxBytes=17825792", 400, "invalid-request"],
    ["an odd format", "?format=xml", 400, "invalid-request"],
    ["an empty key", "?key=", 400, "invalid-request"],
    ["an empty position", "?after=", 400, "invalid-request"],
    ["a position with a line end", "?after=a%0Ab", 400, "invalid-request"],
    ["a time that is none", "?after=time:yesterday", 400, "invalid-request"],
    ["31 February", "?after=time:2026-02-31T00:00:00Z", 400, "invalid-request"],
    [
      "a time whose + became a space",
      "?after=time:2026-11-22T13:00:00+01:00",
      400,
      "invalid-request",
    ],
    ["a cursor that is none", "?after=nonsense", 400, "invalid-cursor"],
    ["a cursor of an earlier life", "?after=s-99-0", 410, "cursor-generation"],
    ["filter and sql together", "?filter=a&sql=a%3D1", 400, "invalid-request"],
    ["an empty filter", "?filter=", 422, "filter-invalid"],
    ["an empty sql", "?sql=", 422, "filter-invalid"],
    ["a tag expression that is none", "?filter=a%20%7C%20b", 422, "filter-invalid"],
    ["SQL that is none", "?sql=a%20%3D", 422, "filter-invalid"],
    ["another namespace", "?namespace=other", 501, "not-implemented"],
    [
      "an odd Last-Event-ID",
      "?format=sse",
      400,
      "invalid-request",
      { headers: { "Last-Event-ID": "a b" } },
    ],
    ["an odd lastEventId", "?format=sse&lastEventId=a%20b", 400, "invalid-request"],
  ];
  for (const [name, query, status, code, ask] of refused) {
    it(`refuses ${name}`, async () => {
      const gateway = await filled(1);
      const body = await problem(await gateway.ask(PATH + query, ask), { status, code });
      if (code === "invalid-request") assert.equal(typeof body["errors"][0].pointer, "string");
    });
  }

  it("says topic-not-found, also to HEAD", async () => {
    const gateway = new TestGateway();
    await problem(await gateway.ask(PATH), { status: 404, code: "topic-not-found" });
    assert.equal((await gateway.ask(PATH, { method: "HEAD" })).status, 404);
    const stream = await gateway.ask(PATH, { headers: { accept: "text/event-stream" } });
    await problem(stream, { status: 404, code: "topic-not-found" });
  });

  it("says cursor-expired with the earliest position there is", async () => {
    const gateway = await filled(3);
    gateway.broker.topics.expire("orders", 2);
    const response = await gateway.ask(`${PATH}?after=s-1-0`);
    const body = await problem(response, { status: 410, code: "cursor-expired" });
    assert.deepEqual(dataOf(await gateway.json(`${PATH}?after=${body["earliest"]}`)), [2]);
  });
});

describe("a long-poll", () => {
  it("is answered by the message it waited for", async () => {
    const gateway = await filled(1);
    const waiting = gateway.ask(`${PATH}?after=latest&wait=20`);
    await until(() => gateway.broker.waiting === 1, "it waits");
    await filled(1, gateway);
    const response = await waiting;
    assert.equal(response.status, 200);
    assert.deepEqual(dataOf((await response.json()) as JsonObject), [0]);
    assert.equal(gateway.held, 1);
    assert.equal(gateway.broker.waiting, 0);
  });

  it("ends with 204 when its time is up", async () => {
    const gateway = await filled(1);
    const response = await gateway.ask(`${PATH}?after=latest&wait=0.01`);
    assert.equal(response.status, 204);
    assert.equal(response.headers.get("next-cursor"), "s-1-1");
  });

  it("can be asked for with Prefer, where the query wins", async () => {
    const gateway = await filled(1);
    const waits = (query: string, prefer: string) =>
      gateway.ask(`${PATH}?after=latest${query}`, { headers: { prefer } });
    const applied = async (query: string, prefer: string) =>
      (await waits(query, prefer)).headers.get("preference-applied");
    assert.equal(await applied("", "wait=0"), "wait=0");
    assert.equal(await applied("", 'respond-async, wait="0.01"; x=1'), "wait=0.01");
    assert.equal(await applied("&wait=0", "wait=20"), null);
    assert.equal(await applied("", "wait=soon"), null);
    assert.equal(gateway.held, 1);
  });

  it("stops waiting when its client goes", async () => {
    const gateway = await filled(1);
    const client = new AbortController();
    const waiting = gateway.ask(`${PATH}?after=latest&wait=20`, { signal: client.signal });
    await until(() => gateway.broker.waiting === 1, "it waits");
    client.abort();
    assert.equal((await waiting).status, 204);
    assert.equal(gateway.broker.waiting, 0);
  });

  it("ends with 204 and where to go on when the node drains", async () => {
    const gateway = await filled(1);
    const waiting = gateway.ask(`${PATH}?after=latest&wait=20`);
    await until(() => gateway.broker.waiting === 1, "it waits");
    await gateway.gateway.drain();
    const response = await waiting;
    assert.equal(response.status, 204);
    assert.equal(response.headers.get("next-cursor"), "s-1-1");
  });

  it("is refused with 429 beyond what its key may hold", async () => {
    const gateway = await filled(
      0,
      new TestGateway({ apiKeys: ["a", "b"], limits: { waitersPerKey: 1 } }),
    );
    const as = (key: string): Ask => ({ headers: { authorization: `Bearer ${key}` } });
    await gateway.json(PATH, { method: "POST", body: "1", ...as("a"), status: 201 });
    const url = `${PATH}?after=latest&wait=20`;
    const first = gateway.ask(url, as("a"));
    await until(() => gateway.broker.waiting === 1, "it waits");
    const refused = await gateway.ask(url, as("a"));
    assert.match(refused.headers.get("retry-after") ?? "", /^[1-5]$/);
    await problem(refused, { status: 429, code: "quota-exceeded" });
    const other = gateway.ask(url, as("b"));
    await until(() => gateway.broker.waiting === 2, "it waits");
    await gateway.json(PATH, { method: "POST", body: "2", ...as("a"), status: 201 });
    assert.deepEqual([(await first).status, (await other).status], [200, 200]);
    assert.equal((await gateway.ask(`${PATH}?after=latest&wait=0.01`, as("a"))).status, 204);
  });
});

describe("a full page away from the tail", () => {
  const page = `${PATH}?after=s-1-0&limit=2`;

  it("is immutable until its oldest message expires, a day at most", async () => {
    const gateway = await filled(5);
    const response = await gateway.ask(page);
    assert.equal(response.headers.get("cache-control"), "public, max-age=86400, immutable");
    assert.match(response.headers.get("etag") ?? "", /^"[\w-]+"$/);
    assert.equal(response.headers.get("vary"), VARY);

    await gateway.broker.topics.patch("orders", { retention: { timeMs: 3_600_000 } });
    const sooner = await gateway.ask(page);
    assert.equal(sooner.headers.get("cache-control"), "public, max-age=3595, immutable");
    gateway.clock.advance(3_600_000);
    assert.equal((await gateway.ask(page)).headers.get("cache-control"), "no-cache");
  });

  it("is immutable with a filter as well, under its own URL", async () => {
    const gateway = await filled(9);
    const filtered = `${PATH}?after=s-1-0&limit=2&sql=${encodeURIComponent("KEY = 'k1'")}`;
    const response = await gateway.ask(filtered);
    assert.deepEqual(dataOf((await response.json()) as JsonObject), [1, 4]);
    assert.equal(response.headers.get("cache-control"), "public, max-age=86400, immutable");
    assert.equal(response.headers.get("vary"), VARY);
    const etag = response.headers.get("etag") ?? "";
    const again = await gateway.ask(filtered, { headers: { "if-none-match": etag } });
    assert.equal(again.status, 304);
  });

  it("is private where a credential is needed", async () => {
    const gateway = await filled(0, new TestGateway({ apiKeys: ["a"] }));
    const headers = { authorization: "Bearer a" };
    for (let i = 0; i < 3; i++) await gateway.ask(PATH, { method: "POST", body: "1", headers });
    const response = await gateway.ask(page, { headers });
    assert.equal(response.headers.get("cache-control"), "private, max-age=86400, immutable");
  });

  it("is asked for again where its start or its expiry may move", async () => {
    const gateway = await filled(5);
    const start = new Date(NOON).toISOString();
    for (const query of ["after=earliest&limit=2", `after=time:${start}&limit=2`]) {
      const response = await gateway.ask(`${PATH}?${query}`);
      assert.equal(response.headers.get("cache-control"), "no-cache", query);
      assert.notEqual(response.headers.get("etag"), null, query);
    }
    await gateway.broker.topics.patch("orders", { retention: { bytes: 4_194_304 } });
    assert.equal((await gateway.ask(page)).headers.get("cache-control"), "no-cache");
  });

  it("answers 304 to its own ETag, strong or weak, in a list, or *", async () => {
    const gateway = await filled(5);
    const etag = (await gateway.ask(page)).headers.get("etag") ?? "";
    for (const given of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
      const response = await gateway.ask(page, { headers: { "if-none-match": given } });
      assert.equal(response.status, 304, given);
      assert.equal(response.headers.get("etag"), etag);
      assert.equal(response.headers.get("next-cursor"), "s-1-2");
      assert.equal(await response.text(), "");
    }
    const other = await gateway.ask(page, { headers: { "if-none-match": '"other"' } });
    assert.equal(other.status, 200);
  });

  it("has another ETag in another form, another size and another life of the topic", async () => {
    const gateway = await filled(5);
    const etag = async (ask: Ask = {}, path = page) =>
      (await gateway.ask(path, ask)).headers.get("etag");
    const json = await etag();
    const others = [
      await etag({ headers: { accept: "application/x-ndjson" } }),
      await etag({}, `${PATH}?after=s-1-0&limit=3`),
    ];
    await gateway.ask("/v1/topics/orders", { method: "DELETE" });
    await filled(5, gateway);
    others.push(await etag({}, `${PATH}?after=s-2-0&limit=2`));
    assert.equal(new Set([json, ...others]).size, 4);
  });

  it("is no page that reaches the tail", async () => {
    const gateway = await filled(2);
    const response = await gateway.ask(page);
    assert.equal(response.headers.get("etag"), null);
    assert.equal(response.headers.get("cache-control"), "no-cache");
  });
});

describe("GET /v1/topics/{topic}/messages/{id}", () => {
  it("shows one message, as the log does", async () => {
    const gateway = await filled(2);
    const [first] = (await gateway.json(PATH))["messages"] as [JsonObject];
    assert.deepEqual(await gateway.json(`${PATH}/${first["id"]}`), first);
  });

  it("says which of the two is not there", async () => {
    const gateway = await filled(1);
    await problem(await gateway.ask(`${PATH}/nobody`), { status: 404, code: "message-not-found" });
    const elsewhere = await gateway.ask("/v1/topics/other/messages/nobody");
    await problem(elsewhere, { status: 404, code: "topic-not-found" });
    await problem(await gateway.ask(`${PATH}/a%20b`), { status: 400, code: "invalid-request" });
  });
});
