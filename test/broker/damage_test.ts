/**
 * A broker over a log that was damaged: what it tells, and that no place is given
 * twice.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { segmentPath } from "../../storage/segment.ts";
import { GROUP, ids, message, publishEach, TOPIC, turn } from "../suites/broker_api_kit.ts";
import { openTestBroker, type TestBroker } from "../suites/open_broker.ts";

const ASK = { group: "g", max: 10, maxBytes: 1 << 20, waitMs: 0 };

/** One queue with these messages, which the group has leased; then killed. */
async function leased(names: readonly string[]): Promise<TestBroker> {
  const broker = await openTestBroker({ segmentBytes: 1 << 20 });
  await broker.api.topics.put("orders", { ...TOPIC, queues: 1 });
  await broker.api.groups.put("g", { ...GROUP });
  await publishEach(broker.api, "orders", names);
  await broker.api.groups.receive(ASK);
  // What lies in the log now is vouched for by what follows.
  await broker.api.topics.patch("orders", { description: "later" });
  return broker;
}

/** Its body changes at rest. */
function spoil({ disk }: TestBroker, id: string): void {
  disk.damage(segmentPath(0), (bytes) => {
    const at = Buffer.from(bytes).indexOf(`body of ${id}`);
    assert(at > 0);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
  });
}

async function reopened(broker: TestBroker, id: string): Promise<TestBroker> {
  const disk = broker.disk.clone();
  spoil({ ...broker, disk }, id);
  return broker.reopen(disk);
}

describe("a broker whose last message of a queue is damaged", () => {
  it("lists the range, and counts it", async () => {
    const broker = await reopened(await leased(["a", "b"]), "b");
    const { damaged } = broker.api.status();
    assert.equal(damaged.length, 1);
    assert.deepEqual(broker.damage().ranges, { start: 1, scrub: 0, read: 0 });
  });

  it("gives its place to no other: the group would take that one for settled", async () => {
    const broker = await reopened(await leased(["a", "b"]), "b");
    const published = await broker.api.messages.publish("orders", message("c"));
    assert.equal(published.state === undefined && published.queueOffset, 2);
    broker.clock.advance(GROUP.leaseMs);
    await turn();
    const received: string[] = [];
    for (let left = 5; left > 0; left--) {
      received.push(...ids(await broker.api.groups.receive(ASK)));
      broker.clock.advance(1000);
    }
    assert.deepEqual(received.toSorted(), ["a", "c"]);
  });
});
