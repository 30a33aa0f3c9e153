/**
 * A consumer on a stream of leases, through kill -9 and a drain of the server: it
 * comes back under its name, finds what it holds, and nothing is lost or given to
 * two.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EventStream } from "./event_stream.ts";
import { startServer, withTempDir } from "./server.ts";
import { client, lagOf, publishTexts, putGroup, settle, type WireDelivery } from "./wire.ts";

const GROUP = "billing";
const STREAM = `/v1/groups/${GROUP}/stream?maxInFlight=4&consumerId=worker-1`;
const TEXTS = Array.from({ length: 10 }, (_, n) => `m${n}`);

describe("a stream of leases through the end of its server", () => {
  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    it(`by ${signal} goes on under the receipts it had`, { timeout: 60_000 }, () =>
      withTempDir(async (dataDir) => {
        let server = await startServer({ dataDir });
        const { port } = server;
        const sender = client(port);
        const done: string[] = [];
        const finish = async (leases: readonly WireDelivery[]) => {
          const results = await settle(sender, GROUP, {
            ack: leases.map(({ receipt }) => receipt),
          });
          assert(
            results.every(({ status }) => status === "ok"),
            JSON.stringify(results),
          );
          done.push(...leases.map(({ text = "" }) => text));
        };
        try {
          const subscriptions = [{ topic: "orders" }];
          await putGroup(sender, GROUP, { subscriptions, leaseMs: 60_000 });
          await publishTexts(sender, "orders", TEXTS);
          const first = await EventStream.open(port, STREAM);
          const held = await leasesOf(first, 4);
          await finish(held.slice(0, 1));
          const more = await leasesOf(first, 1);
          await server.kill(signal);
          while (await first.next()); // what it still says, and the end

          server = await startServer({ dataDir, port });
          const second = await EventStream.open(port, STREAM);
          const again = await leasesOf(second, 4);
          const receipts = (leases: readonly WireDelivery[]) =>
            new Set(leases.map(({ receipt, attempt }) => `${attempt} ${receipt}`));
          assert.deepEqual(receipts(again), receipts([...held.slice(1), ...more]));
          await finish([...held.slice(1), ...more]); // by what it was given before
          while (done.length < TEXTS.length) await finish(await leasesOf(second, 1));
          second.close();
          assert.deepEqual(done.toSorted(), TEXTS);
          assert.equal(await lagOf(sender, GROUP), 0);
        } finally {
          await server.kill("SIGKILL");
        }
      }),
    );
  }
});

async function leasesOf(stream: EventStream, count: number): Promise<WireDelivery[]> {
  const leases: WireDelivery[] = [];
  while (leases.length < count) {
    const event = await stream.next((one) => one.event === "lease");
    assert(event, "the stream goes on");
    leases.push(JSON.parse(event.data) as WireDelivery);
  }
  return leases;
}
