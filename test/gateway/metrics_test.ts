/**
 * The gateway's figures, and who may read them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RequestFigures } from "../../src/gateway/request_figures.ts";
import { prometheusText } from "../../src/cli/prometheus.ts";
import { type Ask, problem, TestGateway } from "../fakes/gateway.ts";
import { Metrics } from "../fakes/metrics_reader.ts";

const PATH = "/v1/topics/orders/messages";
const publish: Ask = { method: "POST", body: "x" };

function figures({ gateway }: TestGateway): Metrics {
  return new Metrics(gateway.metrics().map(prometheusText).join(""));
}

const count = (route: string, method: string, status: number) =>
  `tidegate_http_request_seconds_count{route="${route}",method="${method}",status="${status}"}`;

describe("the gateway's figures", () => {
  const asks: [path: string, ask: Ask, row: string][] = [
    [PATH, publish, count("/v1/topics/{topic}/messages", "POST", 201)],
    [PATH, {}, count("/v1/topics/{topic}/messages", "GET", 204)],
    [PATH, { method: "HEAD" }, count("/v1/topics/{topic}/messages", "HEAD", 200)],
    [PATH, { method: "OPTIONS" }, count("(none)", "OPTIONS", 204)],
    [
      `${PATH}/batch`,
      { method: "POST", json: { messages: [{ data: 1 }] } },
      count("/v1/topics/{topic}/messages/batch", "POST", 200),
    ],
    ["/v1/topics/orders", {}, count("/v1/topics/{topic}", "GET", 200)],
    ["/v1/topics/missing", {}, count("/v1/topics/{topic}", "GET", 404)],
    ["/docs", {}, count("(page)", "GET", 200)],
    ["/problems/internal", {}, count("(page)", "GET", 200)],
    ["/made/up/by/a/stranger", {}, count("(none)", "GET", 404)],
    [PATH, { method: "DELETE" }, count("/v1/topics/{topic}/messages", "DELETE", 405)],
  ];
  for (const [path, ask, row] of asks) {
    it(`count ${ask.method ?? "GET"} ${path} as ${row}`, async () => {
      const gateway = new TestGateway();
      await gateway.broker.topics.put("orders", {
        queues: 1,
        messageType: "mixed",
        acks: "durable",
        retention: { timeMs: null, bytes: null },
        description: "",
      });
      await gateway.ask(path, ask);
      const rows = figures(gateway).named("tidegate_http_request_seconds_count");
      assert.deepEqual(rows, [row]);
    });
  }

  it("have a bounded number of rows, whatever is asked for", async () => {
    const gateway = new TestGateway();
    for (let i = 0; i < 50; i++) {
      await gateway.ask(`/x${i}`);
      await gateway.ask(`/v1/topics/t${i}/messages`, publish);
    }
    const now = figures(gateway);
    assert.deepEqual(now.named("tidegate_http_request_seconds_count").sort(), [
      count("(none)", "GET", 404),
      count("/v1/topics/{topic}/messages", "POST", 201),
    ]);
    assert.equal(now.value(count("(none)", "GET", 404)), 50);
  });

  it("take all methods nobody knows for one", () => {
    const requests = new RequestFigures();
    for (let i = 0; i < 50; i++) {
      const call = { method: `M${i}`, route: undefined, path: "/x", held: false };
      requests.answered(call, { status: 404, seconds: 0 });
    }
    const now = new Metrics(requests.families().map(prometheusText).join(""));
    assert.deepEqual(now.named("tidegate_http_request_seconds_count"), [
      count("(none)", "(other)", 404),
    ]);
  });

  it("say how long an answer took", async () => {
    let time = 0;
    const gateway = new TestGateway({ elapsed: () => (time += 3) });
    await gateway.ask("/healthz");
    const labels = 'route="/healthz",method="GET",status="200"';
    assert.equal(figures(gateway).value(`tidegate_http_request_seconds_sum{${labels}}`), 0.003);
  });

  it("keep requests that asked to wait apart, and count them while they do", async () => {
    const gateway = new TestGateway();
    await gateway.ask(PATH, publish);
    const waiting = gateway.ask(`${PATH}?after=latest&wait=10`);
    await Promise.resolve();
    const during = figures(gateway);
    assert.equal(during.value("tidegate_http_held_requests"), 1);
    assert.equal(during.value("tidegate_http_requests_in_flight"), 1);
    await gateway.gateway.drain();
    assert.equal((await waiting).status, 204);
    const after = figures(gateway);
    const labels = 'route="/v1/topics/{topic}/messages",method="GET",status="204"';
    assert.equal(after.value(`tidegate_http_held_request_seconds_count{${labels}}`), 1);
    assert.equal(after.value(`tidegate_http_request_seconds_count{${labels}}`), undefined);
    assert.equal(after.value("tidegate_http_held_requests"), 0);
    assert.equal(after.value("tidegate_http_requests_in_flight"), 0);
  });

  it("count problems by their code", async () => {
    const gateway = new TestGateway();
    for (const path of ["/a", "/b", "/v1/topics/missing"]) await gateway.ask(path);
    const now = figures(gateway);
    assert.equal(now.value('tidegate_http_problems_total{code="not-found"}'), 2);
    assert.equal(now.value('tidegate_http_problems_total{code="topic-not-found"}'), 1);
  });

  it("count streams, what they were given, and who was sent away", async () => {
    const gateway = new TestGateway({ limits: { streamsMax: 1 } });
    await gateway.ask(PATH, publish);
    const stream = { headers: { accept: "text/event-stream" } };
    const opened = await gateway.ask(PATH, stream);
    const open = figures(gateway);
    assert.equal(open.value("tidegate_stream_subscribers"), 1);
    assert.equal(open.value("tidegate_stream_feeds"), 1);
    const bytes = open.value("tidegate_stream_bytes_total") ?? 0;
    assert(bytes > 20, `${bytes} bytes were given`);

    await (await gateway.ask(PATH, stream)).text();
    await opened.body?.cancel();
    const closed = figures(gateway);
    assert.equal(closed.value('tidegate_stream_reconnects_total{reason="overloaded"}'), 1);
    assert.equal(closed.value("tidegate_stream_subscribers"), 0);
    assert.equal(closed.value("tidegate_stream_bytes_total"), bytes);
  });
});

describe("GET /metrics", () => {
  const metrics = () => Promise.resolve("a 1\n");
  const bearer = { headers: { authorization: "Bearer secret" } };

  it("gives the node's figures", async () => {
    const response = await new TestGateway({ metrics }).ask("/metrics");
    assert.equal(response.status, 200);
    const type = response.headers.get("content-type");
    assert.equal(type, "text/plain; version=0.0.4; charset=utf-8");
    assert.equal(response.headers.get("cache-control"), "no-store");
    assert.equal(await response.text(), "a 1\n");
  });

  it("asks for a key where the node has keys", async () => {
    const gateway = new TestGateway({ metrics, apiKeys: ["secret"] });
    await problem(await gateway.ask("/metrics"), { status: 401, code: "unauthorized" });
    assert.equal((await gateway.ask("/metrics", bearer)).status, 200);
  });

  it("is answered also while the node shuts down", async () => {
    const gateway = new TestGateway({ metrics, apiKeys: ["secret"] });
    await gateway.gateway.drain();
    assert.equal((await gateway.ask("/metrics", bearer)).status, 200);
    await problem(await gateway.ask("/metrics"), { status: 401, code: "unauthorized" });
  });

  it("is not there where nobody collects any", async () => {
    const response = await new TestGateway().ask("/metrics");
    await problem(response, { status: 501, code: "not-implemented" });
  });
});

describe("GatewayOptions.answered", () => {
  it("is told of every request, with the id it was answered with", async () => {
    const told: object[] = [];
    let time = 0;
    const gateway = new TestGateway({
      answered: (about) => told.push(about),
      elapsed: () => (time += 5),
    });
    await gateway.ask("/v1/topics/none", { headers: { "x-request-id": "mine" } });
    assert.deepEqual(told, [
      {
        requestId: "mine",
        traceId: "mine",
        method: "GET",
        path: "/v1/topics/none",
        route: "/v1/topics/{topic}",
        status: 404,
        durationMs: 5,
      },
    ]);
  });
});
