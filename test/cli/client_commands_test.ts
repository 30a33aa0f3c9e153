/**
 * `topic`, `publish` and `tail`: what they ask of a node and what they say.
 *
 * @module
 */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { EXIT } from "../../src/cli/exit.ts";
import { withTempDir } from "../e2e/server.ts";
import { type Answer, withAnswers } from "../fakes/http_answers.ts";
import { runAgainst as against, runCommand } from "../fakes/terminal.ts";

const topic = (name: string) => ({
  name,
  queues: 2,
  messageType: "mixed",
  acks: "durable",
  endOffsets: ["3", "4"],
});

function problem(status: number, code: string): Answer {
  const headers = { "Content-Type": "application/problem+json" };
  return { status, headers, body: { title: "It went wrong", detail: "Because", code } };
}

describe("tidegate topic", () => {
  it("lists all pages", async () => {
    const { printed, asked } = await against(
      [
        { body: { topics: [topic("a")], nextPageToken: "a&b" } },
        { body: { topics: [topic("b")] } },
      ],
      ["topic", "list"],
    );
    assert.deepEqual(printed, [
      "a  2 queues  mixed  durable  7 messages so far",
      "b  2 queues  mixed  durable  7 messages so far",
    ]);
    assert.equal(asked[1]?.path, "/v1/topics?limit=1000&pageToken=a%26b");
  });

  it("lists as JSON lines", async () => {
    const { printed } = await against(
      [{ body: { topics: [topic("a")] } }],
      ["topic", "list", "--json"],
    );
    assert.deepEqual(
      printed.map((line) => JSON.parse(line) as unknown),
      [topic("a")],
    );
  });

  it("gets one as JSON", async () => {
    const { printed, asked } = await against([{ body: topic("a b") }], ["topic", "get", "a b"]);
    assert.deepEqual(JSON.parse(printed[0] ?? ""), topic("a b"));
    assert.equal(asked[0]?.path, "/v1/topics/a%20b");
  });

  it("creates with what was said, and leaves the rest to the node", async () => {
    const args = ["topic", "create", "a", "--queues", "8", "--retention-ms", "5000"];
    const { printed, asked } = await against([{ status: 201, body: topic("a") }], args);
    assert.deepEqual(printed, ["created a"]);
    assert.equal(asked[0]?.method, "PUT");
    assert.deepEqual(JSON.parse(asked[0]?.body ?? ""), { queues: 8, retention: { timeMs: 5000 } });
  });

  it("says when a topic is so already", async () => {
    const { printed } = await against(
      [{ status: 200, body: topic("a") }],
      ["topic", "create", "a"],
    );
    assert.deepEqual(printed, ["a is so already"]);
  });

  it("purges", async () => {
    const { printed, asked } = await against(
      [{ status: 202, body: { purged: 12 } }],
      ["topic", "purge", "a b"],
    );
    assert.deepEqual(printed, ["removed 12"]);
    assert.deepEqual([asked[0]?.method, asked[0]?.path], ["POST", "/v1/topics/a%20b/purge"]);
  });

  it("deletes", async () => {
    const { printed, asked } = await against([{ status: 204 }], ["topic", "delete", "a"]);
    assert.deepEqual([printed, asked[0]?.method], [["deleted a"], "DELETE"]);
  });
});

describe("a client command", () => {
  const refusals: [status: number, exitCode: number][] = [
    [400, EXIT.refused.code],
    [401, EXIT.forbidden.code],
    [403, EXIT.forbidden.code],
    [404, EXIT.negative.code],
    [409, EXIT.refused.code],
    [429, EXIT.unavailable.code],
    [500, EXIT.unavailable.code],
    [503, EXIT.unavailable.code],
  ];
  for (const [status, expected] of refusals) {
    it(`ends with ${expected} after ${status}, and says the problem`, async () => {
      const { exitCode, warned, printed } = await against(
        [problem(status, "some-code")],
        ["topic", "get", "a"],
      );
      assert.equal(exitCode, expected);
      assert.deepEqual(warned, ["tidegate: It went wrong: Because (some-code)"]);
      assert.deepEqual(printed, []);
    });
  }

  it("says the status of an answer that is no problem of ours", async () => {
    const { warned } = await against(
      [{ status: 502, headers: { "Content-Type": "text/html" }, body: "<h1>Bad gateway" }],
      ["topic", "get", "a"],
    );
    assert.deepEqual(warned, ["tidegate: Answer 502"]);
  });

  it("says when nobody listens", async () => {
    const url = await withAnswers([], async (server) => server.url);
    const { exitCode, warned } = await runCommand(["topic", "list", "--url", url]);
    assert.equal(exitCode, EXIT.unavailable.code);
    assert.deepEqual(warned, [`tidegate: Cannot reach ${url}: connection refused`]);
  });

  it("takes address and key from its variables", async () => {
    await withAnswers([{ body: { topics: [] } }], async ({ url, asked }) => {
      const env = { TIDEGATE_URL: `${url}/`, TIDEGATE_API_KEY: "k1" };
      assert.equal((await runCommand(["topic", "list"], { env })).exitCode, 0);
      assert.equal(asked[0]?.headers["authorization"], "Bearer k1");
      assert.equal(asked[0]?.path, "/v1/topics?limit=1000");
    });
  });
});

const published = { id: "m1", queueId: 1, queueOffset: "12", cursor: "c" };

describe("tidegate publish", () => {
  it("sends an argument as text", async () => {
    const { printed, asked } = await against(
      [{ status: 201, body: published }],
      ["publish", "a", "héllo"],
    );
    assert.deepEqual(printed, ["published m1 to a, queue 1, offset 12"]);
    assert.deepEqual([asked[0]?.path, asked[0]?.body], ["/v1/topics/a/messages", "héllo"]);
    assert.equal(asked[0]?.headers["content-type"], "text/plain");
  });

  it("sends attributes as headers, percent-encoded", async () => {
    const { asked } = await against(
      [{ status: 201, body: published }],
      ["publish", "a", "{}", "--key", "k 1", "--tag", "tág", "--id", "m:1"].concat(
        ["--index", "i,1", "--index", "i2", "--property", "region=eu=west", "--property", "Empty="],
        ["--content-type", "application/json"],
      ),
    );
    const headers = asked[0]?.headers ?? {};
    assert.equal(headers["message-key"], "k%201");
    assert.equal(headers["message-tag"], "t%C3%A1g");
    assert.equal(headers["message-id"], "m%3A1");
    assert.equal(headers["message-index"], "i%2C1,i2");
    assert.equal(headers["message-property-region"], "eu%3Dwest");
    assert.equal(headers["message-property-empty"], "");
    assert.equal(headers["content-type"], "application/json");
  });

  it("says when a delayed message will be delivered", async () => {
    const deliverAt = "2026-11-22T08:00:00.000Z";
    const scheduled = { id: "m1", queueId: 1, deliverAt, state: "scheduled" };
    const answers = [{ status: 201, body: scheduled }];
    const { asked, printed } = await against(answers, ["publish", "a", "x", "--delay", "1.5"]);
    assert.equal(asked[0]?.headers["delay"], "1.5");
    assert.deepEqual(printed, [`scheduled m1 to a, queue 1, for ${deliverAt}`]);
    const timed = await against(answers, ["publish", "a", "x", "--deliver-at", deliverAt]);
    assert.equal(timed.asked[0]?.headers["deliver-at"], deliverAt);
  });

  it("sends standard input when there is no body, and a file when told", () =>
    withTempDir(async (dir) => {
      const path = join(dir, "body");
      writeFileSync(path, "from a file");
      const answers = [{ status: 201, body: published }];
      const piped = await against(answers, ["publish", "a", "--json"], { input: "from a pipe" });
      const filed = await against(answers, ["publish", "a", "--file", path]);
      assert.deepEqual(
        [piped.asked[0]?.body, filed.asked[0]?.body],
        ["from a pipe", "from a file"],
      );
      assert.equal(piped.asked[0]?.headers["content-type"], "text/plain");
      assert.deepEqual(JSON.parse(piped.printed[0] ?? ""), published);
    }));

  it("sends bytes that are no text as what they are", () =>
    withTempDir(async (dir) => {
      const path = join(dir, "body");
      writeFileSync(path, new Uint8Array([0xff, 0xfe]));
      const answers = [{ status: 201, body: published }];
      const { asked } = await against(answers, ["publish", "a", "--file", path]);
      assert.equal(asked[0]?.headers["content-type"], "application/octet-stream");
    }));

  it("says when the file cannot be read", async () => {
    const { exitCode, warned } = await against([], ["publish", "a", "--file", "/no/such/file"]);
    assert.equal(exitCode, EXIT.noInput.code);
    assert.match(warned.join(), /Cannot read "\/no\/such\/file"/);
  });
});

function message(id: string, more: object = { text: id }) {
  const publishedAt = "2026-11-22T08:00:00.123Z";
  return { id, queueId: 0, queueOffset: "7", publishedAt, contentType: "text/plain", ...more };
}

const page = (cursor: string, messages: object[], upToDate = false): Answer => ({
  body: { messages, cursor, upToDate },
});

const parameters = (path: string) => Object.fromEntries(new URLSearchParams(path.split("?")[1]));

describe("tidegate tail", () => {
  it("prints messages as JSON lines, page after page, to the end of the topic", async () => {
    const { printed, asked, exitCode } = await against(
      [page("c1", [message("m1")]), page("c2", [message("m2")], true)],
      ["tail", "a", "--after", "earliest", "--no-follow"],
    );
    assert.equal(exitCode, 0);
    assert.deepEqual(
      printed.map((line) => JSON.parse(line) as unknown),
      [message("m1"), message("m2")],
    );
    assert.deepEqual(
      asked.map(({ path }) => parameters(path)["after"]),
      ["earliest", "c1"],
    );
  });

  it("prints messages for people", async () => {
    const messages = [
      message("m1", { text: "hello", key: "k" }),
      message("m2", { data: { total: 1 } }),
      message("m3", { dataBase64: "AA==" }),
    ];
    const args = ["tail", "a", "--after", "earliest", "--no-follow", "--format", "text"];
    const { printed } = await against([page("c", messages, true)], args);
    assert.deepEqual(printed, [
      "2026-11-22T08:00:00.123Z  0:7  [k] hello",
      '2026-11-22T08:00:00.123Z  0:7  {"total":1}',
      "2026-11-22T08:00:00.123Z  0:7  base64:AA==",
    ]);
  });

  it("follows from the latest, waiting at the node, until it has as many as wanted", async () => {
    const { printed, asked } = await against(
      [
        { status: 204, headers: { "Next-Cursor": "c0", "Up-To-Date": "?1" } },
        { status: 204, headers: { "Next-Cursor": "c1", "Up-To-Date": "?1" } },
        page("c2", [message("m1"), message("m2")], true),
      ],
      ["tail", "a", "--max", "2", "--queue", "3", "--key", "k&1"],
    );
    assert.equal(printed.length, 2);
    const expected = { limit: "2", queue: "3", key: "k&1" };
    assert.deepEqual(
      asked.map(({ path }) => parameters(path)),
      [
        { ...expected, after: "latest", wait: "0" },
        { ...expected, after: "c0", wait: "30" },
        { ...expected, after: "c1", wait: "30" },
      ],
    );
  });

  it("waits a node out that is away, and goes on where it was", async () => {
    const { printed, warned, asked } = await against(
      [page("c1", [message("m1")]), problem(503, "draining"), page("c2", [message("m2")])],
      ["tail", "a", "--max", "2"],
    );
    assert.equal(printed.length, 2);
    assert.match(warned.join("\n"), /\(draining\); trying again in 0\.5 s/);
    assert.equal(parameters(asked[2]?.path ?? "")["after"], "c1");
  });

  it("says when messages are gone, and goes on with the first one left", async () => {
    const { printed, warned, asked } = await against(
      [page("c1", [message("m1")]), problem(410, "cursor-expired"), page("c9", [message("m9")])],
      ["tail", "a", "--max", "2"],
    );
    assert.equal(printed.length, 2);
    assert.match(warned.join("\n"), /\(cursor-expired\); going on from the earliest message left/);
    assert.equal(parameters(asked[2]?.path ?? "")["after"], "earliest");
  });

  it("ends with 0 when interrupted", async () => {
    const { exitCode, printed } = await against(
      [page("c1", [message("m1")]), problem(503, "overloaded")],
      ["tail", "a"],
      { onWarn: (_line, interrupt) => interrupt() },
    );
    assert.deepEqual([exitCode, printed.length], [0, 1]);
  });

  it("fails at once when the topic is not there", async () => {
    const { exitCode } = await against([problem(404, "topic-not-found")], ["tail", "a"]);
    assert.equal(exitCode, EXIT.negative.code);
  });
});
