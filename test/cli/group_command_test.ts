/**
 * `tidegate group`: what it asks of a node and what it says.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EXIT } from "../../src/cli/exit.ts";
import { runAgainst as against } from "../fakes/terminal.ts";

const group = (name: string, more: object = {}) => ({
  name,
  subscriptions: [{ topic: "orders" }, { topic: "bills", filter: { tag: "paid" } }],
  mode: "ordered",
  paused: false,
  ...more,
});

const sent = (body: string | undefined) => JSON.parse(body ?? "") as unknown;

describe("tidegate group", () => {
  it("lists all pages", async () => {
    const { printed, asked } = await against(
      [
        { body: { groups: [group("a")], nextPageToken: "a" } },
        { body: { groups: [group("b", { paused: true })] } },
      ],
      ["group", "list"],
    );
    assert.deepEqual(printed, [
      "a  ordered  orders, bills (filtered)",
      "b  ordered  orders, bills (filtered)  paused",
    ]);
    assert.deepEqual(
      asked.map(({ path }) => path),
      ["/v1/groups?limit=1000", "/v1/groups?limit=1000&pageToken=a"],
    );
  });

  it("lists as JSON lines, and shows one as JSON", async () => {
    const list = await against([{ body: { groups: [group("a")] } }], ["group", "list", "--json"]);
    assert.deepEqual(list.printed.map(sent), [group("a")]);
    const shown = await against([{ body: group("a b") }], ["group", "show", "a b"]);
    assert.deepEqual(sent(shown.printed[0]), group("a b"));
    assert.equal(shown.asked[0]?.path, "/v1/groups/a%20b");
  });

  it("puts what was said, and leaves the rest to the node", async () => {
    const args = [
      "group",
      "put",
      "a",
      "--subscribe",
      "orders",
      "--tag",
      "bills=paid || late",
    ].concat(
      ["--sql", "stock=amount >= 5", "--subscribe", "news", "--mode", "ordered"],
      ["--lease-ms", "5000", "--max-attempts", "3", "--start-from", "earliest"],
      ["--max-in-flight", "10"],
    );
    const { printed, asked } = await against([{ status: 201, body: group("a") }], args);
    assert.deepEqual(printed, ["created a"]);
    assert.deepEqual([asked[0]?.method, asked[0]?.path], ["PUT", "/v1/groups/a"]);
    assert.deepEqual(sent(asked[0]?.body), {
      subscriptions: [
        { topic: "orders" },
        { topic: "news" },
        { topic: "bills", filter: { tag: "paid || late" } },
        { topic: "stock", filter: { sql: "amount >= 5" } },
      ],
      mode: "ordered",
      leaseMs: 5000,
      maxAttempts: 3,
      startFrom: "earliest",
      maxInFlight: 10,
    });
  });

  it("says when a group is so already", async () => {
    const args = ["group", "put", "a", "--subscribe", "orders"];
    const { printed, asked } = await against([{ body: group("a") }], args);
    assert.deepEqual(printed, ["a is so already"]);
    assert.deepEqual(sent(asked[0]?.body), { subscriptions: [{ topic: "orders" }] });
  });

  const plain: [args: string[], said: string, method: string, path: string][] = [
    [["delete", "a"], "deleted a", "DELETE", "/v1/groups/a"],
    [["pause", "a"], "paused a", "POST", "/v1/groups/a/pause"],
    [["resume", "a"], "resumed a", "POST", "/v1/groups/a/resume"],
  ];
  for (const [args, said, method, path] of plain) {
    it(`${args[0]}s`, async () => {
      const answer = method === "DELETE" ? { status: 204 } : { body: group("a") };
      const { printed, asked } = await against([answer], ["group", ...args]);
      assert.deepEqual([printed, asked[0]?.method, asked[0]?.path], [[said], method, path]);
    });
  }

  const places: [position: string, to: unknown][] = [
    ["earliest", "earliest"],
    ["latest", "latest"],
    ["time:2026-11-22T08:00:00Z", { time: "2026-11-22T08:00:00Z" }],
    ["AAAAAAAAAAEAAwAAAAAAAATS", { cursor: "AAAAAAAAAAEAAwAAAAAAAATS" }],
  ];
  for (const [position, to] of places) {
    it(`seeks to ${position}`, async () => {
      const queues = [
        { queueId: 0, position: "12" },
        { queueId: 1, position: "9007199254740993" },
      ];
      const args = ["group", "seek", "a", "orders", position];
      const { printed, asked } = await against([{ body: { queues } }], args);
      assert.deepEqual(printed, ["queue 0 at 12", "queue 1 at 9007199254740993"]);
      assert.deepEqual([asked[0]?.method, asked[0]?.path], ["POST", "/v1/groups/a/seek"]);
      assert.deepEqual(sent(asked[0]?.body), { topic: "orders", to });
    });
  }

  it("tells the lag by queue", async () => {
    const queue = { queueId: 0, committedOffset: "5", endOffset: "9", ready: 3, leased: 1 };
    const body = {
      group: "a",
      topics: [
        {
          topic: "orders",
          queues: [{ ...queue, oldestAgeMs: 12_340, expiredUnread: 7 }],
          total: 4,
        },
        { topic: "bills", queues: [{ ...queue, ready: 0, leased: 0, oldestAgeMs: 0 }], total: 0 },
      ],
    };
    const { printed, asked } = await against([{ body }], ["group", "lag", "a"]);
    assert.deepEqual(printed, [
      "orders  queue 0  5 of 9  3 ready  1 leased  oldest 12.3 s  7 expired unread",
      "bills  queue 0  5 of 9  0 ready  0 leased",
    ]);
    assert.equal(asked[0]?.path, "/v1/groups/a/lag");
    const json = await against([{ body }], ["group", "lag", "a", "--json"]);
    assert.deepEqual(json.printed.map(sent), [body]);
  });

  const letter = (more: object = {}) => ({
    message: { id: "m1", topic: "orders", queueId: 0, queueOffset: "7", data: {} },
    cause: "rejected",
    reason: "too heavy",
    attempts: 2,
    deadAt: "2026-11-22T08:00:00.123Z",
    ...more,
  });

  it("lists all pages of dead letters", async () => {
    const damaged = { topic: "orders", queueId: 1, queueOffset: "9" };
    const { printed, asked } = await against(
      [
        { body: { deadLetters: [letter()], nextPageToken: "t=1" } },
        { body: { deadLetters: [letter({ cause: "attempts", reason: "", message: damaged })] } },
      ],
      ["group", "dead-letters", "a"],
    );
    assert.deepEqual(printed, [
      "2026-11-22T08:00:00.123Z  orders 0:7  m1  rejected at attempt 2: too heavy",
      "2026-11-22T08:00:00.123Z  orders 1:9  (damaged)  given up at attempt 2",
    ]);
    assert.equal(asked[1]?.path, "/v1/groups/a/dead-letters?limit=1000&pageToken=t%3D1");
    const args = ["group", "dead-letters", "a", "--json"];
    const json = await against([{ body: { deadLetters: [letter()] } }], args);
    assert.deepEqual(json.printed.map(sent), [letter()]);
  });

  it("sends dead letters back, all or by id", async () => {
    const answer = { status: 202, body: { redriven: 3 } };
    const all = await against([answer], ["group", "redrive", "a"]);
    assert.deepEqual(all.printed, ["sent back 3"]);
    assert.deepEqual(
      [all.asked[0]?.path, sent(all.asked[0]?.body)],
      ["/v1/groups/a/dead-letters/redrive", {}],
    );
    const args = ["group", "redrive", "a", "--id", "m1", "--id", "m2", "--to-topic", "mended"];
    const some = await against([answer], args);
    assert.deepEqual(sent(some.asked[0]?.body), { ids: ["m1", "m2"], toTopic: "mended" });
  });

  it("ends as other commands do when the node refuses", async () => {
    const headers = { "Content-Type": "application/problem+json" };
    const body = { title: "Consumer group not found", detail: "No group", code: "group-not-found" };
    const answer = { status: 404, headers, body };
    const { exitCode, warned, printed } = await against([answer], ["group", "pause", "a"]);
    assert.equal(exitCode, EXIT.negative.code);
    assert.deepEqual(warned, ["tidegate: Consumer group not found: No group (group-not-found)"]);
    assert.deepEqual(printed, []);
  });
});
