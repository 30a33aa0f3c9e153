/**
 * The README is true: its commands work as printed, its tables are current.
 *
 * The blocks of "Publish and receive" run one after the other against one
 * server, and so do those of "Consumer groups" and "Transactions" against others, as a reader would
 * type them; nothing but the port is replaced. A block marked `background` is left
 * running until it ends by itself.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import manifest from "../package.json" with { type: "json" };
import { withSettings } from "../deploy/readme.ts";
import { ROOT, type Server, startServer, withTempDir } from "./e2e/server.ts";
import type { JsonObject } from "./fakes/gateway.ts";
import { needs } from "./fakes/needs.ts";

const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
const readme = read("README.md");

/** The shell blocks below `heading`, each as `[what follows "sh", its text]`. */
function blocksOf(heading: string): readonly [info: string, script: string][] {
  const section = readme.split(/^## /m).find((one) => one.startsWith(heading)) ?? "";
  const blocks = section.matchAll(/^```sh ?(.*)\n([^]*?)^```$/gm);
  return [...blocks].map(([, info = "", script = ""]) => [info, script]);
}

function shell(script: string, port: number): Promise<string> {
  const text = script.replaceAll("127.0.0.1:8080", `127.0.0.1:${port}`);
  const child = spawn("sh", ["-c", text], { timeout: 60_000 });
  child.stdin.end();
  let [printed, complaints] = ["", ""];
  child.stdout.on("data", (chunk: Uint8Array) => (printed += Buffer.from(chunk).toString()));
  child.stderr.on("data", (chunk: Uint8Array) => (complaints += Buffer.from(chunk).toString()));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", () =>
      printed === ""
        ? reject(new Error(`${text}\nsaid nothing but: ${complaints}`))
        : resolve(printed),
    );
  });
}

function afterMs(ms: number): Promise<undefined> {
  return new Promise((resolve) => void setTimeout(resolve, ms, undefined));
}

interface Message {
  readonly id: string;
  readonly data?: unknown;
  readonly text?: string;
  readonly key?: string;
  readonly attempt?: number;
}
const messagesOf = (answer: string) => (JSON.parse(answer) as { messages: Message[] }).messages;

/** The blocks below a heading, one after the other, against a server of their own. */
class Commands {
  readonly blocks: readonly [info: string, script: string][];
  #server: Server | undefined;
  #stop: () => Promise<void> = () => Promise.resolve();
  #next = 0;

  constructor(heading: string) {
    this.blocks = blocksOf(heading);
  }

  async start(): Promise<void> {
    const done = Promise.withResolvers<void>();
    const started = Promise.withResolvers<Server>();
    const gone = withTempDir(async (dataDir) => {
      started.resolve(await startServer({ dataDir }));
      await done.promise;
    });
    gone.catch(started.reject);
    const server = await started.promise;
    this.#server = server;
    this.#stop = async () => {
      await server.kill("SIGKILL");
      done.resolve();
      await gone;
    };
  }

  stop(): Promise<void> {
    return this.#stop();
  }

  /** Runs the block that comes next. */
  run(): Promise<string> {
    return this.shell(this.take());
  }

  /** The block that comes next, for later. */
  take(): string {
    return this.blocks[this.#next++]?.[1] ?? "";
  }

  shell(script: string): Promise<string> {
    return shell(script, this.#server?.port ?? 0);
  }
}

/** Answers of several calls, in one line or many. */
const answers = (printed: string) =>
  printed.split(/(?<=\})\n?(?=\{)/).map((one) => JSON.parse(one) as JsonObject);

describe("the README's commands", { skip: needs("curl", "sh") }, () => {
  const commands = new Commands("Publish and receive");
  const { blocks } = commands;
  const run = () => commands.run();

  before(() => commands.start());
  after(() => commands.stop());

  it("are all known to this test", () => {
    assert.deepEqual(
      blocks.map(([info]) => info),
      ["", "", "", "", "", "background", "", "", "", "", "", "", "", "", ""],
    );
  });

  it("make a group", async () => {
    assert.equal((JSON.parse(await run()) as { name: string }).name, "billing");
  });

  it("publish", async () => {
    const published = JSON.parse(await run()) as Record<string, unknown>;
    assert.equal(published["topic"], "orders");
    assert.equal(published["queueOffset"], "0");
  });

  it("receive with a lease", async () => {
    const [message, ...others] = messagesOf(await run());
    assert.deepEqual(others, []);
    assert.deepEqual([message?.data, message?.attempt], [{ total: 12 }, 1]);
  });

  it("receive again when the lease has ended, as attempt 2, and settle", async () => {
    // The block shows the delivery on stderr and prints what settling it gave.
    const { results } = JSON.parse(await run()) as { results: { status: string }[] };
    assert.deepEqual(
      results.map(({ status }) => status),
      ["ok"],
    );
    const receive = blocks[2]?.[1].replace('"waitMs": 10000', '"waitMs": 2500') ?? "";
    await assert.rejects(commands.shell(receive), /said nothing/, "a settled message came back");
  });

  it("read the log", async () => {
    const [message, ...others] = messagesOf(await run());
    assert.deepEqual(others, []);
    assert.deepEqual([message?.data, message?.key], [{ total: 12 }, "order-17"]);
  });

  it("wait for the next message, and get it when it is published", async () => {
    const waiting = run();
    const publish = commands.take();
    let answer: string | undefined;
    // Nothing tells from outside that the poll has begun to wait, so publish until it answers.
    while (answer === undefined) {
      await commands.shell(publish);
      answer = await Promise.race([waiting, afterMs(100)]);
    }
    const [message] = messagesOf(answer);
    assert.deepEqual([message?.text, message?.key], ["paid", "order-17"]);
  });

  it("resume a stream with neither gap nor repeat", async () => {
    const events = [...(await run()).matchAll(/^event: message\ndata: (.*)$/gm)];
    const seen = events.map(([, json = ""]) => (JSON.parse(json) as Message).id);
    const [first, ...rest] = messagesOf(await commands.shell(blocks[4]?.[1] ?? ""));
    assert.deepEqual(first?.data, { total: 12 });
    assert.deepEqual(
      seen,
      rest.map(({ id }) => id),
    );
    assert(seen.length > 0);
  });

  it("follow several topics, with a position in all of them", async () => {
    const ids = [...(await run()).matchAll(/^id: (.*)\nevent: message$/gm)].map(([, id]) => id);
    assert(ids.length > 1);
    for (const id of ids) assert.match(id ?? "", /^orders=\w+$/);
  });

  it("receive as a stream", async () => {
    const seen = await run();
    assert.match(seen, /^event: control\ndata: \{"consumerId":"worker-1"\}$/m);
    const leases = [...seen.matchAll(/^event: lease\ndata: (.*)$/gm)];
    const [first] = leases.map(([, json = ""]) => JSON.parse(json) as Message);
    assert.deepEqual([first?.text, first?.attempt], ["paid", 1]);
  });

  it("read what a filter wants", async () => {
    const found = messagesOf(await run());
    assert.deepEqual(
      found.map(({ text }) => text),
      ["two parcels"],
    );
  });

  it("search by an index key, and by time", async () => {
    const [published, byKey, byTime] = (await run()).replaceAll("}{", "}\n{").trim().split("\n");
    const { id } = JSON.parse(published ?? "") as { id: string };
    assert.deepEqual(
      messagesOf(byKey ?? "").map((message) => message.id),
      [id],
    );
    assert(messagesOf(byTime ?? "").some((message) => message.id === id));
  });

  it("trace a message", async () => {
    const { id, events } = JSON.parse(await run()) as { id: string; events: { event: string }[] };
    assert.equal(id, "invoice-4711");
    assert.deepEqual(
      events.map(({ event }) => event),
      ["published"],
    );
  });

  it("publish once, however often it is asked", async () => {
    const answers = await run();
    assert.match(answers, /201 Created[^]*HTTP\/1.1 200 OK[^]*idempotency-replayed: true/i);
    const [first, second, ...others] = answers.match(/^\{.*\}/gm) ?? [];
    assert(first !== undefined && others.length === 0);
    assert.equal(second, first);
  });

  it("publish for later, find it, and recall it", async () => {
    const answers = (await run()).replaceAll("}{", "}\n{").trim().split("\n");
    const states = answers.map((answer) => JSON.parse(answer) as { id: string; state: string });
    assert.deepEqual(
      states.map(({ id, state }) => [id, state]),
      [
        ["reminder", "scheduled"],
        ["reminder", "scheduled"],
      ],
    );
    const again = blocks.at(-1)?.[1].split("\n")[2] ?? "";
    const { code } = JSON.parse(await commands.shell(again)) as { code: string };
    assert.equal(code, "message-not-found");
  });
});

describe("the README's commands for groups", { skip: needs("curl", "sh") }, () => {
  const commands = new Commands("Consumer groups");
  before(() => commands.start());
  after(() => commands.stop());

  it("are all known to this test", () => {
    assert.deepEqual(
      commands.blocks.map(([info]) => info),
      ["", "", "", "", "", "", ""],
    );
  });

  it("make an ordered group with a filter, and publish to it", async () => {
    const [group, batch] = answers(await commands.run());
    const subscriptions = [{ topic: "parcels", filter: { tag: "packed || sent" } }];
    assert.deepEqual([group?.["mode"], group?.["subscriptions"]], ["ordered", subscriptions]);
    assert.equal(batch?.["results"].length, 3);
  });

  it("receive one message of the key and reject it", async () => {
    const [settled, ...others] = answers(await commands.run());
    assert.deepEqual([settled?.["results"].length, others], [1, []]);
    assert.equal(settled?.["results"][0].status, "ok");
  });

  it("list it among the dead letters", async () => {
    const [page] = answers(await commands.run());
    const [dead, ...others] = page?.["deadLetters"] ?? [];
    assert.deepEqual([dead.message.text, dead.reason, others], ["in a box", "no address", []]);
  });

  it("send it back", async () => {
    assert.deepEqual(answers(await commands.run()), [{ redriven: 1 }]);
  });

  it("say where the group stands and what comes next", async () => {
    const [lag, peeked] = answers(await commands.run());
    assert(lag?.["topics"][0].total >= 2, "two are wanted; what is looked at again may count");
    const [next] = peeked?.["messages"] ?? [];
    assert.deepEqual([next.text, next.attempt], ["in a box", 1]);
  });

  it("seek to the beginning", async () => {
    const [sought] = answers(await commands.run());
    const queues = [0, 1, 2, 3].map((queueId) => ({ queueId, position: "0" }));
    assert.deepEqual(sought, { queues });
  });

  it("keep for a day, and purge", async () => {
    const [topic, purged] = answers(await commands.run());
    assert.deepEqual(topic?.["retention"], { timeMs: 86_400_000, bytes: null });
    assert.deepEqual(purged, { purged: 3 });
  });
});

describe("the README's commands for transactions", { skip: needs("curl", "sh") }, () => {
  const commands = new Commands("Transactions");

  before(() => commands.start());
  after(() => commands.stop());

  it("are all known to this test", () => {
    assert.deepEqual(
      commands.blocks.map(([info]) => info),
      ["", ""],
    );
  });

  it("begin one, look at it, commit it, and read its message", async () => {
    const [shown, committed, page] = answers(await commands.run());
    assert.deepEqual([shown?.["state"], committed?.["state"]], ["prepared", "committed"]);
    const messages = page?.["messages"] as JsonObject[];
    assert.deepEqual(
      messages.map(({ key, data }) => [key, data]),
      [["order-17", { paid: true }]],
    );
  });

  it("begin another, and are asked what came of it", async () => {
    const [begun, asked] = answers(await commands.run());
    const check = (asked?.["checks"] as JsonObject[] | undefined)?.[0];
    assert.deepEqual([check?.["transactionId"], check?.["checkNumber"]], [begun?.["id"], 1]);
  });
});

describe("the README's way to watch a node", { skip: needs("curl", "sh", "grep") }, () => {
  const commands = new Commands("Watching it");

  before(() => commands.start());
  after(() => commands.stop());

  it("shows figures", async () => {
    assert.match(await commands.run(), /^tidegate_log_records_total\{kind="epoch-start"\} 1$/m);
  });
});

describe("the README's table of settings", () => {
  it("is current (npm run readme writes it)", () => assert.equal(withSettings(readme), readme));
});

describe("docs/dependencies.md", () => {
  const { dependencies, devDependencies, optionalDependencies } = manifest;
  const used = Object.keys({ ...dependencies, ...devDependencies, ...optionalDependencies });
  const told = [...read("docs/dependencies.md").matchAll(/^\| `([^`]+)`/gm)].map(
    ([, name]) => name,
  );

  it("tells of every dependency, and of no other", () => {
    assert.deepEqual(new Set(told), new Set(used));
    assert.equal(told.length, used.length);
  });

  it("may say that versions are exact", () => {
    const versions = Object.values({
      ...dependencies,
      ...devDependencies,
      ...optionalDependencies,
    });
    for (const version of versions) assert.match(version, /^\d+\.\d+\.\d+$/);
  });
});
