/**
 * The gateway over a socket, with a real broker behind it: what only shows
 * when a server has parsed the request.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { JsonObject } from "../fakes/gateway.ts";
import { RawClient } from "../fakes/raw_client.ts";
import { ServedGateway } from "../fakes/served_gateway.ts";
import { until } from "../fakes/stream_reader.ts";

const PATH = "/v1/topics/orders/messages";
const HOST = "Host: gateway.test\r\n";

describe("the gateway on a socket", () => {
  let served: ServedGateway;
  const clients: RawClient[] = [];

  before(async () => {
    served = await ServedGateway.start();
  });
  after(async () => {
    for (const client of clients) client.leave();
    await served.stop();
  });

  const connect = () => {
    const client = new RawClient(served.port);
    clients.push(client);
    return client;
  };

  /** A request that fails rather than hangs when there is no answer. */
  const ask = (path: string, init: RequestInit = {}) =>
    fetch(`${served.url}${path}`, { signal: AbortSignal.timeout(20_000), ...init });

  /** Sends bytes as they are; the answer once `pattern` is in it, or the connection is closed. */
  async function say(bytes: string, pattern = /\r\n\r\n[^]/): Promise<string> {
    const client = connect().send(bytes);
    const answered = () => pattern.test(client.received) || client.closedAt !== undefined;
    await until(answered, "there is an answer");
    return client.received;
  }

  const stored = async (topic: string): Promise<number> => {
    const { topics } = await served.broker.api.topics.list({ limit: 1000 });
    const found = topics.find(({ name }) => name === topic);
    return found?.endOffsets.reduce((sum, end) => sum + end, 0) ?? 0;
  };

  it("publishes what curl sends, and reads it", async () => {
    const posted = await ask(PATH, {
      method: "POST",
      body: "total=12",
      headers: { "content-type": "application/x-www-form-urlencoded", "message-id": "curl" },
    });
    assert.equal(posted.status, 201);
    const page = (await (await ask(PATH)).json()) as JsonObject;
    assert.equal(page["messages"][0].text, "total=12");
    assert.equal(page["messages"][0].id, "curl");
  });

  it("takes a chunked body", async () => {
    const answer = await say(
      `POST /v1/topics/chunked/messages HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n`,
    );
    assert.match(answer, /^HTTP\/1\.1 201/);
    const page = (await (await ask(`/v1/topics/chunked/messages`)).json()) as JsonObject;
    assert.equal(atob(page["messages"][0].dataBase64), "hello world");
  });

  it("refuses a declared 5 MiB before they are sent", async () => {
    const answer = await say(
      `POST /v1/topics/large/messages HTTP/1.1\r\n${HOST}Content-Length: 5242880\r\n\r\n`,
    );
    assert.match(answer, /^HTTP\/1\.1 413/);
    assert.match(answer, /"limit":4194304/);
    assert.equal(await stored("large"), 0);
  });

  it("refuses a chunked body once it is over 4 MiB", async () => {
    const chunk = `100000\r\n${"x".repeat(1 << 20)}\r\n`;
    const answer = await say(
      `POST /v1/topics/large/messages HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n${chunk.repeat(5)}`,
    );
    assert.match(answer, /^HTTP\/1\.1 413/);
    assert.equal(await stored("large"), 0);
  });

  it("refuses raw bytes in an attribute, the same way on every runtime", async () => {
    const answer = await say(
      `POST /v1/topics/raw/messages HTTP/1.1\r\n${HOST}Message-Key: caf\xc3\xa9\r\nContent-Length: 1\r\n\r\nx`,
    );
    assert.match(answer, /^HTTP\/1\.1 400/);
    assert.equal(await stored("raw"), 0);
  });

  it("refuses two Host headers", async () => {
    const answer = await say(`GET /healthz HTTP/1.1\r\n${HOST}Host: other.test\r\n\r\n`);
    assert.match(answer, /^HTTP\/1\.1 400|^$/);
  });

  it("stores nothing of a body that is cut off", async () => {
    const client = connect().send(
      `POST /v1/topics/cut/messages HTTP/1.1\r\n${HOST}Content-Length: 100\r\n\r\nhalf`,
    );
    await ask(`/healthz`);
    client.leave();
    const next = await ask(`/v1/topics/cut/messages`, { method: "POST", body: "x" });
    assert.equal(((await next.json()) as JsonObject)["queueOffset"], "0");
    assert.equal(await stored("cut"), 1);
  });

  it("goes on with the connection after a problem", async () => {
    const bad = `POST /v1/topics/-/messages HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nbad`;
    const good = `POST /v1/topics/after/messages HTTP/1.1\r\n${HOST}Content-Length: 4\r\n\r\ngood`;
    const client = connect().send(bad);
    await until(() => client.received.includes("invalid-request"), "the problem is there");
    client.send(good);
    await until(
      () => client.received.includes('"topic":"after"') || client.closedAt !== undefined,
      "the second answer is there",
    );
    assert.match(client.received, /HTTP\/1\.1 400[^]*HTTP\/1\.1 201/);
  });

  it("wakes a long-poll", async () => {
    const poll = `GET /v1/topics/poll/messages?after=latest&wait=60 HTTP/1.1\r\n${HOST}\r\n`;
    await ask(`/v1/topics/poll/messages`, { method: "POST", body: "0" });
    const waiting = connect().send(poll);
    const body = "woken";
    const headers = { "content-type": "text/plain" };
    // Published until it is seen: nothing tells from outside that the poll has begun to wait.
    await until(() => {
      if (waiting.received !== "") return true;
      void ask(`/v1/topics/poll/messages`, { method: "POST", body, headers });
      return false;
    }, "the poll is answered");
    assert.match(waiting.received, /^HTTP\/1\.1 200/);
    assert.match(waiting.received, /"text":"woken"/);
  });

  it("answers HEAD without a body, and with the tail", async () => {
    const response = await ask(PATH, { method: "HEAD" });
    assert.equal(response.status, 200);
    assert.notEqual(response.headers.get("next-cursor"), null);
    const rest = await ask(`${PATH}?after=${response.headers.get("next-cursor")}`);
    assert.equal(rest.status, 204);
  });

  it("has reported nothing that nobody foresaw", () => {
    assert.deepEqual(served.reported, []);
  });
});
