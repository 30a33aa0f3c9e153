/**
 * A backup of a node that is being written to: what was answered before it began
 * is in it, and a node over what was restored goes on from there.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  currentRuntime,
  type Server,
  spawnScript,
  until,
  withServer,
  withServerOver,
  withTempDir,
} from "./server.ts";
import {
  call,
  client,
  post,
  publish,
  putGroup,
  putTopic,
  readAll,
  type WireDelivery,
} from "./wire.ts";
import { json } from "./http.ts";

const PUBLISHERS = 8;

/** Publishes all the while; knows what was answered. */
class Load {
  readonly answered: string[] = [];
  readonly #running: Promise<unknown>;
  #over = false;

  constructor({ port }: Server) {
    const one = async (name: number) => {
      const sender = client(port);
      for (let i = 0; !this.#over; i++) {
        const body = `${name}-${i}`;
        await publish(sender, "orders", { body });
        this.answered.push(body);
      }
    };
    this.#running = Promise.all(Array.from({ length: PUBLISHERS }, (_, name) => one(name)));
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#running;
  }
}

async function command(...args: string[]): Promise<string> {
  const { exited, output } = spawnScript(currentRuntime, "src/main.ts", { args });
  const { code } = await exited;
  assert.equal(code, 0, output());
  return output();
}

const bodies = async (server: Server) =>
  (await readAll(client(server.port), "orders")).map(({ text }) => text as string);

async function receive(server: Server, max: number): Promise<readonly WireDelivery[]> {
  const wanted = post("/v1/groups/billing/receive", { max, leaseMs: 60_000 });
  const answer = await call(client(server.port), wanted, 200, 204);
  return answer.status === 204 ? [] : (json(answer) as { messages: WireDelivery[] }).messages;
}

describe("a backup under load", () => {
  it(
    "holds all that was answered before, in order, with leases and acks",
    { timeout: 120_000 },
    () =>
      withServer((server, dataDir) =>
        withTempDir((dir) => backUpUnderLoad(server, { dataDir, dir })),
      ),
  );
});

async function backUpUnderLoad(
  server: Server,
  { dataDir, dir }: { readonly dataDir: string; readonly dir: string },
): Promise<void> {
  const [backup, restored] = [join(dir, "backup"), join(dir, "restored")];
  const sender = client(server.port);
  await putTopic(sender, "orders", { queues: 4 });
  await putGroup(sender, "billing", { subscriptions: [{ topic: "orders" }] });
  const load = new Load(server);
  await until(() => load.answered.length > 300, "there is load");
  const [acked, ...leased] = await receive(server, 5);
  assert(acked);
  await call(sender, post("/v1/groups/billing/settle", { ack: [acked.receipt] }), 200);

  const before = [...load.answered];
  await command("backup", dataDir, backup);
  await until(() => load.answered.length > before.length + 100, "the load goes on");
  const second = [...load.answered];
  assert.match(await command("backup", dataDir, backup), /was there/);
  await load.stop();
  const all = await bodies(server);
  await command("restore", backup, restored);

  await withServerOver({ dataDir: restored }, async (other) => {
    const found = await bodies(other);
    const known = new Set(found);
    assert.deepEqual(
      second.filter((body) => !known.has(body)),
      [],
      "answered before it",
    );
    assert(before.length < second.length && found.length <= all.length);
    const written = new Set(all);
    assert(
      found.every((body) => written.has(body)),
      "and nothing that was never published",
    );
    assert.deepEqual(found, all.slice(0, found.length), "in the same order");
    // What was leased then is leased still, what was acknowledged stays so.
    const next = await receive(other, 1000);
    const taken = new Set([acked, ...leased].map(({ id }) => id));
    assert(next.length > 100 && next.every(({ id }) => !taken.has(id)));
    const ack = leased.map(({ receipt }) => receipt);
    const settled = await call(client(other.port), post("/v1/groups/billing/settle", { ack }), 200);
    const { results } = json(settled) as { results: { status: string }[] };
    assert.deepEqual(
      results.map(({ status }) => status),
      ack.map(() => "ok"),
    );
    await publish(client(other.port), "orders", { body: "after" });
    assert.equal((await bodies(other)).at(-1), "after");
  });
}
