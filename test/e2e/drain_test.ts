/**
 * SIGTERM under load: nothing is cut off in the middle, nobody is told a lie,
 * and the process ends by itself in time.
 *
 * @module
 */

import assert from "node:assert/strict";
import { connect } from "node:net";
import { describe, it } from "node:test";
import { EventStream } from "./event_stream.ts";
import { Connection, ConnectionLost, encodeRequest, type HttpAnswer, json, text } from "./http.ts";
import { type Server, until, withServer, withServerOver, withTempDir } from "./server.ts";
import { client, post, publish, putGroup, putTopic, readAll, type WireProblem } from "./wire.ts";

const EXIT_MS_MAX = 10_000;
const PUBLISHERS = 16;
const HOLDS = 5;

type Outcome = "acked" | "refused" | "unanswered";

describe("SIGTERM under load", () => {
  it("ends holds, finishes or refuses publishes, and exits with 0", { timeout: 60_000 }, () =>
    withTempDir(async (dataDir) => {
      const outcomes = new Map<string, Outcome>();
      await withServerOver({ dataDir }, async (server) => {
        await prepare(server);
        const streams = await Promise.all(
          range(HOLDS).map(() => EventStream.open(server.port, "/v1/topics/quiet/messages")),
        );
        const holds = await park(server);
        const publishing = Promise.all(
          range(PUBLISHERS).map((index) => publishOn(server, index, outcomes)),
        );
        publishing.catch(() => {}); // Told below, unless something fails before.
        const slow = await startUpload(server, "slow");
        await until(() => count(outcomes, "acked") > 200, "there is load");

        const startedAt = performance.now();
        const exited = server.kill("SIGTERM");
        assert.deepEqual(
          await statuses(holds),
          range(2 * HOLDS).map(() => 204),
        );
        outcomes.set("slow", await slow.finish());
        for (const stream of streams) {
          assert(await stream.next((one) => one.event === "reconnect"), "a stream says goodbye");
          assert.equal(await stream.next(), undefined, "and ends");
        }
        assert.deepEqual(await exited, { code: 0, signal: null }, server.output());
        assert(performance.now() - startedAt < EXIT_MS_MAX, "in time");
        await publishing;
      });
      await checkStored(dataDir, outcomes);
    }),
  );

  it("exits with 0 at once when nothing is going on", () =>
    withServer(async (server) => {
      assert.deepEqual(await server.kill("SIGTERM"), { code: 0, signal: null });
    }));
});

const range = (count: number) => Array.from({ length: count }, (_, index) => index);
const count = (outcomes: ReadonlyMap<string, Outcome>, wanted: Outcome) =>
  [...outcomes.values()].filter((one) => one === wanted).length;
const statuses = async (holds: readonly Promise<HttpAnswer>[]) =>
  (await Promise.all(holds)).map((answer) => answer.status);

async function prepare({ port }: Server): Promise<void> {
  const sender = client(port);
  await putTopic(sender, "orders");
  await putTopic(sender, "quiet");
  await putGroup(sender, "idle", { subscriptions: [{ topic: "quiet" }] });
}

/** Long-polls and receives that nothing will ever wake. */
async function park({ port }: Server): Promise<Promise<HttpAnswer>[]> {
  const wait = { waitMs: 30_000 };
  const requests = [
    ...range(HOLDS).map(() => ({ path: "/v1/topics/quiet/messages?after=latest&wait=30" })),
    ...range(HOLDS).map(() => post("/v1/groups/idle/receive", wait)),
  ];
  const connections = await Promise.all(requests.map(() => Connection.open(port)));
  return requests.map((request, index) => (connections[index] as Connection).request(request));
}

/** Publishes one after another until the server will not have it. */
async function publishOn(
  server: Server,
  index: number,
  outcomes: Map<string, Outcome>,
): Promise<void> {
  const connection = await Connection.open(server.port);
  for (let n = 0; ; n++) {
    const id = `p${index}-${n}`;
    const headers = { "Content-Type": "text/plain", "Message-Id": id };
    const path = "/v1/topics/orders/messages";
    try {
      outcomes.set(id, "unanswered");
      const answer = await connection.request({ method: "POST", path, headers, body: id });
      outcomes.set(id, outcomeOf(answer));
      if (answer.status !== 201) break;
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
      break;
    }
  }
  connection.close();
}

function outcomeOf(answer: HttpAnswer): Outcome {
  if (answer.status === 201) return "acked";
  assert.equal(answer.status, 503, text(answer));
  const problem = json(answer) as WireProblem;
  assert.equal(problem.applied, false, "a refusal says that nothing was stored");
  assert.equal(problem.retryable, true);
  assert(answer.headers.has("retry-after"), "and when to try again");
  return "refused";
}

/** A publish whose body is half sent; the rest follows with `finish`. */
async function startUpload({ port }: Server, id: string): Promise<{ finish(): Promise<Outcome> }> {
  const socket = connect({ host: "127.0.0.1", port });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  const bytes = encodeRequest({
    method: "POST",
    path: "/v1/topics/orders/messages",
    headers: { "Content-Type": "text/plain", "Message-Id": id },
    body: "x".repeat(1000),
  });
  let answer = "";
  const closed = new Promise<void>((resolve) => {
    socket.on("close", resolve);
  });
  socket.on("error", () => {}); // "close" follows.
  socket.on("data", (chunk) => {
    answer += String(chunk);
  });
  socket.write(bytes.subarray(0, bytes.length - 500));
  return {
    async finish() {
      socket.write(bytes.subarray(bytes.length - 500));
      const answered = () => answer.includes("\r\n\r\n") || socket.destroyed;
      await until(answered, "the upload is answered");
      socket.destroy();
      await closed;
      if (answer.startsWith("HTTP/1.1 201")) return "acked";
      assert.match(answer, /^(HTTP\/1\.1 503 |$)/);
      return answer === "" ? "unanswered" : "refused";
    },
  };
}

/** What was acknowledged is there once; what was refused, or closed unanswered, is not. */
async function checkStored(dataDir: string, outcomes: ReadonlyMap<string, Outcome>): Promise<void> {
  await withServerOver({ dataDir }, async (server) => {
    const sender = client(server.port);
    const ids = (await readAll(sender, "orders")).map((message) => message.id);
    const acked = [...outcomes].flatMap(([id, outcome]) => (outcome === "acked" ? [id] : []));
    assert.deepEqual(ids.toSorted(), acked.toSorted());
    await publish(sender, "orders", { body: "afterwards" });
  });
}
