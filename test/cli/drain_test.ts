/** @module */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { drain, type Draining } from "../../src/cli/drain.ts";

/** A node that writes down what was asked of it. */
function recorded(stop: () => Promise<void>): { node: Draining; asked: string[] } {
  const asked: string[] = [];
  const note = (what: string) => void asked.push(what);
  const node: Draining = {
    broker: { drain: () => note("broker.drain"), close: async () => note("broker.close") },
    gateway: { drain: async () => note("gateway.drain") },
    server: {
      async stop() {
        note("server.stop");
        await stop();
        note("server.stopped");
      },
      abort: () => note("server.abort"),
    },
  };
  return { node, asked };
}

const log = () => {};

describe("drain()", () => {
  it("refuses new work, ends waits, answers the rest, then closes the log", async () => {
    const { node, asked } = recorded(async () => {});
    await drain(node, { log });
    assert.deepEqual(asked, [
      "broker.drain",
      "gateway.drain",
      "server.stop",
      "server.stopped",
      "broker.close",
    ]);
  });

  it("cuts off requests that take too long, and closes the log all the same", async () => {
    const warned: string[] = [];
    const { node, asked } = recorded(() => new Promise(() => {}));
    await drain(node, { log: (_level, message) => void warned.push(message), requestsMs: 5 });
    assert.deepEqual(asked.slice(-2), ["server.abort", "broker.close"]);
    assert.deepEqual(warned, ["Requests were cut off"]);
  });

  it("does not hide a gateway that fails", async () => {
    const { node } = recorded(async () => {});
    const broken = { ...node, gateway: { drain: () => Promise.reject(new Error("boom")) } };
    await assert.rejects(drain(broken, { log }), /boom/);
  });
});
