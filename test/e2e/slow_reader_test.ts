/**
 * A reader that never reads costs a bounded backlog, then its connection, and
 * nobody else anything; it catches up from its cursor when it comes back.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EventStream } from "./event_stream.ts";
import { withServer } from "./server.ts";
import { call, client, post, putTopic, type WireMessage } from "./wire.ts";

const BATCHES = 40;
const BATCH = 16;
const BODY_BYTES = 64 * 1024;

describe("an SSE reader that never reads", () => {
  it("is closed, and catches up when it comes back", { timeout: 60_000 }, () =>
    withServer(async ({ port }) => {
      const sender = client(port);
      await putTopic(sender, "flood", { queues: 1 });
      const path = "/v1/topics/flood/messages";
      const lazy = await EventStream.open(port, path);
      assert.equal((await lazy.next())?.event, "control");
      lazy.pause();
      const keen = await EventStream.open(port, path);

      const filling = "x".repeat(BODY_BYTES);
      for (let batch = 0; batch < BATCHES; batch++) {
        const messages = Array.from({ length: BATCH }, (_, index) => ({
          text: filling,
          id: `m${batch * BATCH + index}`,
        }));
        await call(sender, post(`${path}/batch`, { messages }), 200);
      }
      const count = BATCHES * BATCH;
      await assertSees(keen, { from: 0, to: count });

      // Everything is out, so the server has long decided. Now the lazy one
      // reads what the kernel still holds for it, up to the end.
      lazy.resume();
      const seen = [];
      for (;;) {
        const event = await lazy.next((one) => one.event === "message");
        if (!event) break;
        seen.push((JSON.parse(event.data) as WireMessage).id);
      }
      assert(seen.length < count, "it was closed before it had everything");
      const again = await EventStream.open(port, path, { lastEventId: lazy.lastEventId });
      await assertSees(again, { from: seen.length, to: count });
      keen.close();
      again.close();
    }),
  );
});

async function assertSees(
  stream: EventStream,
  { from, to }: { from: number; to: number },
): Promise<void> {
  for (let index = from; index < to; index++) {
    const event = await stream.next((one) => one.event === "message");
    assert.equal(event && (JSON.parse(event.data) as WireMessage).id, `m${index}`);
  }
}
