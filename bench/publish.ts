/**
 * Publishing: one message a request, and 500 a request.
 *
 * @module
 */

import { client, putTopic } from "../test/e2e/wire.ts";
import { load } from "./load.ts";
import { PAYLOAD, type Scenario, times } from "./scenario.ts";

const CONNECTIONS = 64;
const BATCH_CONNECTIONS = 8;
const BATCH = 500;

export const post: Scenario = {
  id: "post",
  title: `publish, 256 B, ${CONNECTIONS} connections`,
  unit: "msg/s",
  async prepare({ tidegate, empty }, { seconds }) {
    await putTopic(client(tidegate.port), "post");
    const request = {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: Buffer.from(PAYLOAD),
    } as const;
    const options = { connections: CONNECTIONS, seconds };
    return {
      tidegate: () =>
        load({ ...request, port: tidegate.port, path: "/v1/topics/post/messages" }, options),
      empty: () => load({ ...request, port: empty.port, path: "/sink" }, options),
    };
  },
};

/** As `post`, each with an idempotency key of its own: none is a repeat. */
export const postKeyed: Scenario = {
  id: "post-keyed",
  title: `publish with Idempotency-Key, 256 B, ${CONNECTIONS} connections`,
  unit: "msg/s",
  async prepare({ tidegate, empty }, { seconds }) {
    await putTopic(client(tidegate.port), "keyed");
    const request = {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: Buffer.from(PAYLOAD),
      uniqueHeader: "Idempotency-Key",
    } as const;
    const options = { connections: CONNECTIONS, seconds };
    return {
      tidegate: () =>
        load({ ...request, port: tidegate.port, path: "/v1/topics/keyed/messages" }, options),
      empty: () => load({ ...request, port: empty.port, path: "/sink" }, options),
    };
  },
};

export const batch: Scenario = {
  id: "batch",
  title: `publish in batches of ${BATCH}, 256 B, ${BATCH_CONNECTIONS} connections`,
  unit: "msg/s",
  async prepare({ tidegate, empty }, { seconds }) {
    await putTopic(client(tidegate.port), "batch");
    const request = {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: batchBody(BATCH),
    } as const;
    const options = { connections: BATCH_CONNECTIONS, seconds };
    const path = "/v1/topics/batch/messages/batch";
    return {
      tidegate: async () =>
        times(BATCH, await load({ ...request, port: tidegate.port, path }, options)),
      empty: async () =>
        times(BATCH, await load({ ...request, port: empty.port, path: "/sink" }, options)),
    };
  },
};

/** A batch request's body with this many messages. */
export function batchBody(count: number): Uint8Array {
  return Buffer.from(
    JSON.stringify({ messages: Array.from({ length: count }, () => ({ text: PAYLOAD })) }),
  );
}
