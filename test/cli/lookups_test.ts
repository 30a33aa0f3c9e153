/**
 * `tidegate search` and `tidegate trace`: what they ask of a node and what they say.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EXIT } from "../../src/cli/exit.ts";
import { runAgainst as against } from "../fakes/terminal.ts";

const message = (id: string, more: object = {}) => ({
  id,
  queueId: 3,
  queueOffset: "7",
  publishedAt: "2026-11-22T08:00:00.123Z",
  text: `body of ${id}`,
  ...more,
});

describe("tidegate search", () => {
  it("prints what is found, page by page", async () => {
    const { printed, asked } = await against(
      [
        { body: { messages: [message("c")], nextPageToken: "t+1" } },
        { body: { messages: [], nextPageToken: "t2" } },
        { body: { messages: [message("b"), message("a")] } },
      ],
      ["search", "or ders", "--index", "cust 9"],
    );
    assert.deepEqual(
      printed.map((line) => JSON.parse(line) as unknown),
      [message("c"), message("b"), message("a")],
    );
    const path = "/v1/topics/or%20ders/search?limit=1000&index=cust+9";
    assert.deepEqual(
      asked.map((one) => one.path),
      [path, `${path}&pageToken=t%2B1`, `${path}&pageToken=t2`],
    );
  });

  it("ends after as many as wanted, in a line for people", async () => {
    const pages = [
      { body: { messages: [message("b"), message("a", { key: "k" })], nextPageToken: "t" } },
    ];
    const [from, to] = ["2026-11-22T08:00:00Z", "2026-11-22T09:00:00Z"];
    const args = ["search", "orders", "--from", from, "--to", to, "--max", "2", "--format", "text"];
    const { printed, asked } = await against(pages, args);
    assert.deepEqual(printed, [
      "2026-11-22T08:00:00.123Z  3:7  body of b",
      "2026-11-22T08:00:00.123Z  3:7  [k] body of a",
    ]);
    const [asking] = asked;
    const query = new URLSearchParams({ limit: "2", from, to });
    assert.equal(asking?.path, `/v1/topics/orders/search?${query}`);
    assert.equal(asked.length, 1);
  });

  it("wants to know what for", async () => {
    const { exitCode, warned, asked } = await against([], ["search", "orders"]);
    assert.equal(exitCode, EXIT.usage.code);
    assert.match(warned.join(), /--index, --from or --to/);
    assert.deepEqual(asked, []);
  });
});

describe("tidegate trace", () => {
  const delivered = {
    event: "delivered",
    at: "2026-11-22T08:00:01.000Z",
    group: "billing",
    attempt: 1,
  };
  const dead = {
    event: "deadLettered",
    at: "2026-11-22T08:00:02.000Z",
    group: "billing",
    reason: "no address",
  };

  it("prints an event a line, page by page", async () => {
    const { printed, asked } = await against(
      [
        {
          body: {
            events: [{ event: "recalled", at: "2026-11-22T08:00:00.000Z" }],
            nextPageToken: "t",
          },
        },
        { body: { events: [delivered, dead] } },
      ],
      ["trace", "orders", "a:1"],
    );
    assert.deepEqual(printed, [
      "2026-11-22T08:00:00.000Z  recalled",
      "2026-11-22T08:00:01.000Z  delivered  group=billing attempt=1",
      '2026-11-22T08:00:02.000Z  deadLettered  group=billing reason="no address"',
    ]);
    const path = "/v1/topics/orders/messages/a%3A1/trace?limit=1000";
    assert.deepEqual(
      asked.map((one) => one.path),
      [path, `${path}&pageToken=t`],
    );
  });

  it("prints JSON lines, and says when there is no such message", async () => {
    const args = ["trace", "orders", "a", "--json"];
    const { printed } = await against([{ body: { events: [delivered] } }], args);
    assert.deepEqual(printed, [JSON.stringify(delivered)]);
    const problem = { title: "Message not found", code: "message-not-found" };
    const missing = await against([{ status: 404, body: problem }], args);
    assert.equal(missing.exitCode, EXIT.negative.code);
  });
});
