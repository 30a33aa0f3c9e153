/**
 * Reading: log pages, and leased receive with settle.
 *
 * @module
 */

import { Connection, type HttpRequest } from "../test/e2e/http.ts";
import { call, client, post, putGroup, putTopic } from "../test/e2e/wire.ts";
import { load } from "./load.ts";
import { batchBody } from "./publish.ts";
import { type Measured, type Scenario, times } from "./scenario.ts";

const PAGE = 100;
const READERS = 16;
const BATCH = 32;
const CONSUMERS = 16;
const FILL_BATCH = 500;

export const read: Scenario = {
  id: "read",
  title: `log read, pages of ${PAGE} × 256 B, ${READERS} connections`,
  unit: "msg/s",
  async prepare({ tidegate, empty }, { seconds }) {
    await fill(tidegate.port, { topic: "read", count: 2 * FILL_BATCH });
    const path = `/v1/topics/read/messages?limit=${PAGE}&after=earliest`;
    const page = await call(client(tidegate.port), { path }, 200);
    const options = { connections: READERS, seconds };
    const get = async (port: number, path: string) =>
      times(PAGE, await load({ method: "GET", port, path }, options));
    return {
      tidegate: () => get(tidegate.port, path),
      empty: () => get(empty.port, `/fixed/${page.body.length}`),
    };
  },
};

export const consume: Scenario = {
  id: "consume",
  title: `receive and ack, batches of ${BATCH}, ${CONSUMERS} connections`,
  unit: "msg/s",
  async prepare({ tidegate, empty }, { quick }) {
    const count = quick ? 10_000 : 100_000;
    let round = 0;
    const sizes = { receive: 0, ask: 0, settle: 0 };
    return {
      async refill() {
        const topic = `consume-${++round}`;
        await fill(tidegate.port, { topic, count });
        const config = { subscriptions: [{ topic }], startFrom: "earliest" };
        await putGroup(client(tidegate.port), topic, config);
      },
      tidegate: () => drain(tidegate.port, { group: `consume-${round}`, count, sizes }),
      empty: () => exchange(empty.port, { sizes, exchanges: Math.ceil(count / BATCH) }),
    };
  },
};

async function fill(port: number, wish: { topic: string; count: number }): Promise<void> {
  await putTopic(client(port), wish.topic);
  const connection = await Connection.open(port);
  const request: HttpRequest = {
    ...post(`/v1/topics/${wish.topic}/messages/batch`, undefined),
    body: batchBody(FILL_BATCH),
  };
  for (let filled = 0; filled < wish.count; filled += FILL_BATCH) {
    await call(connection, request, 200);
  }
  connection.close();
}

interface Sizes {
  receive: number;
  ask: number;
  settle: number;
}

/** Receives and acks until the whole topic is settled; notes how large the exchange is. */
async function drain(
  port: number,
  work: { group: string; count: number; sizes: Sizes },
): Promise<Measured> {
  const { group, count, sizes } = work;
  const wish = post(`/v1/groups/${group}/receive`, { max: BATCH, waitMs: 0, leaseMs: 60_000 });
  let settled = 0;
  return timed(count, async () => {
    const connection = await Connection.open(port);
    while (settled < count) {
      const got = await call(connection, wish, 200, 204);
      if (got.status === 204) break;
      const receipts = receiptsIn(Buffer.from(got.body).toString("latin1"));
      const ack = post(`/v1/groups/${group}/settle`, { ack: receipts });
      const done = await call(connection, ack, 200);
      settled += receipts.length;
      if (receipts.length === BATCH) {
        const ask = Buffer.byteLength(ack.body ?? "");
        Object.assign(sizes, { receive: got.body.length, ask, settle: done.body.length });
      }
    }
    connection.close();
  }).finally(() => {
    if (settled < count) throw new Error(`Cannot measure: ${settled} of ${count} were settled`);
  });
}

/** The same bytes both ways, against nothing. */
async function exchange(
  port: number,
  work: { sizes: Sizes; exchanges: number },
): Promise<Measured> {
  const { sizes } = work;
  const wish = post(`/fixed/${sizes.receive}`, { max: BATCH, waitMs: 0, leaseMs: 60_000 });
  const ack = post(`/fixed/${sizes.settle}`, "x".repeat(sizes.ask));
  let left = work.exchanges;
  return timed(work.exchanges * BATCH, async () => {
    const connection = await Connection.open(port);
    while (left-- > 0) {
      await call(connection, wish, 200);
      await call(connection, ack, 200);
    }
    connection.close();
  });
}

async function timed(count: number, consumer: () => Promise<void>): Promise<Measured> {
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: CONSUMERS }, consumer));
  return { count, perSecond: (count / (performance.now() - startedAt)) * 1000 };
}

/** Found without parsing the messages around them: the client must not be what is measured. */
function receiptsIn(body: string): string[] {
  return Array.from(body.matchAll(/"receipt":"([^"]+)"/g), (match) => match[1] as string);
}
