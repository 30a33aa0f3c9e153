/**
 * Transactions whose producer went away, over real HTTP: the node asks the
 * producer's URL, signed, and does what it says; before, through and after a kill.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";
import { Connection, json } from "./http.ts";
import { until, withServerOver, withTempDir } from "./server.ts";
import { call, post, put, putTopic, type Sender, type WirePage, type WireProblem } from "./wire.ts";

const SECRET = "check-backs-are-signed-with-this";
const ENV = { TIDEGATE_WEBHOOK_ALLOW_PRIVATE: "true" };

interface Asked {
  readonly transactionId: string;
  readonly checkNumber: number;
}

/** A producer that answers check-backs; it believes only what is signed. */
class Producer {
  readonly asked: Asked[] = [];
  decision: "commit" | "rollback" | "unknown" = "unknown";
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    server.on("request", (request, response) => {
      void this.#answer(request).then((body) => {
        response.writeHead(200, { "content-type": "application/json" }).end(body);
      });
    });
  }

  static async open(): Promise<Producer> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new Producer(server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/check`;
  }

  async #answer(request: IncomingMessage): Promise<string> {
    let body = "";
    for await (const part of request) body += String(part);
    const { headers } = request;
    const signed = [headers["webhook-id"], headers["webhook-timestamp"], body].join(".");
    const signature = createHmac("sha256", SECRET).update(signed).digest("base64");
    assert.equal(headers["webhook-signature"], `v1,${signature}`);
    this.asked.push((JSON.parse(body) as { data: Asked }).data);
    return JSON.stringify({ decision: this.decision });
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

/** Begins a transaction of one message, which nobody decides. */
async function begin(sender: Sender, id: string): Promise<string> {
  const messages = [{ topic: "orders", id, text: id }];
  const checks = { firstCheckMs: 1000, checkIntervalMs: 1000 };
  const wish = post("/v1/transactions", { producerGroup: "pay", messages, ...checks });
  return (json(await call(sender, wish, 201)) as { id: string }).id;
}

async function stateOf(connection: Sender, id: string): Promise<unknown> {
  const path = `/v1/transactions/${id}`;
  return (json(await call(connection, { path }, 200)) as Record<string, unknown>)["state"];
}

async function visible(sender: Sender): Promise<string[]> {
  const answer = await call(sender, { path: "/v1/topics/orders/messages?limit=100" }, 200, 204);
  const messages = answer.status === 204 ? [] : (json(answer) as WirePage).messages;
  return messages.map(({ id }) => id);
}

describe("a transaction that nobody decides", () => {
  it("is asked about, and decided as the producer says, also after a kill", () =>
    withTempDir(async (dataDir) => {
      const producer = await Producer.open();
      const options = { dataDir, env: ENV };
      const transactions = new Map<string, string>();
      try {
        await withServerOver(options, async ({ port }) => {
          const connection = await Connection.open(port);
          await putTopic(connection, "orders");
          const config = { checkUrl: producer.url, checkSecret: SECRET };
          await call(connection, put("/v1/producers/pay", config), 201);
          for (const id of ["a", "b"]) transactions.set(id, await begin(connection, id));
          await until(() => producer.asked.length >= 2, "both were asked about");
          assert.deepEqual(await visible(connection), []);
        });
        producer.decision = "commit";
        await withServerOver(options, async ({ port }) => {
          const connection = await Connection.open(port);
          transactions.set("c", await begin(connection, "c"));
          await until(async () => (await visible(connection)).length === 3, "all are there");
          assert.deepEqual((await visible(connection)).sort(), ["a", "b", "c"]);
          for (const id of transactions.values()) {
            assert.equal(await stateOf(connection, id), "committed");
          }
          producer.decision = "rollback";
          const last = await begin(connection, "d");
          const isOver = async () => (await stateOf(connection, last)) === "rolledBack";
          await until(isOver, "it was rolled back");
          assert.equal((await visible(connection)).length, 3);
        });
      } finally {
        producer.close();
      }
      const numbers = Map.groupBy(producer.asked, (one) => one.transactionId);
      for (const asked of numbers.values()) {
        const counted = asked.map(({ checkNumber }) => checkNumber);
        assert.deepEqual(
          counted,
          [...new Set(counted)].sort((a, b) => a - b),
          "each check once",
        );
      }
    }));

  it("may not be asked about at a private address, unless the node is told so", () =>
    withTempDir((dataDir) =>
      withServerOver({ dataDir }, async ({ port }) => {
        const connection = await Connection.open(port);
        const wish = put("/v1/producers/pay", { checkUrl: "http://127.0.0.1:9/" });
        const problem = json(await call(connection, wish, 422)) as WireProblem;
        assert.equal(problem.code, "check-url-refused");
        await call(connection, { path: "/v1/producers/pay" }, 404);
      }),
    ));
});
