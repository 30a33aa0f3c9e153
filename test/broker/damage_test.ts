/**
 * A broker over a log that was damaged: what it tells, and that no place is given
 * twice.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ReadPage, ReadRequest, Start } from "../../src/broker/api.ts";
import { TidegateError } from "../../storage/base/errors.ts";
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

type Page = Pick<ReadPage, "messages" | "cursor" | "upToDate">;

/** As a reader that would rather have the rest than nothing: what it got, and how often it was told. */
async function readAcross(
  { api }: TestBroker,
  by: { readonly queueId?: number; readonly limit: number },
): Promise<{ seen: string[]; problems: TidegateError[] }> {
  const seen: string[] = [];
  const problems: TidegateError[] = [];
  let start: Start = { kind: "earliest" };
  for (let pages = 0; pages < 500; pages++) {
    const { limit, queueId } = by;
    const request: ReadRequest = {
      ...{ topic: "orders", limit, maxBytes: 1 << 20, waitMs: 0, start },
      ...(queueId !== undefined && { queueId }),
    };
    const page: Page = await api.messages.read(request).catch((error: unknown) => {
      assert(error instanceof TidegateError && error.code === "data-damaged", String(error));
      problems.push(error);
      return { messages: [], cursor: error.details["next"] as string, upToDate: false };
    });
    seen.push(...ids(page.messages));
    if (page.upToDate) return { seen, problems };
    start = { kind: "cursor", cursor: page.cursor };
  }
  return assert.fail("the reader does not get on");
}

describe("a broker that lost a whole segment", () => {
  for (const queues of [1, 3]) {
    for (const which of ["first", "middle"] as const) {
      const title = `serves the rest, and tells each reader of the gap: the ${which}, ${queues} queues`;
      it(title, async () => {
        const first = await openTestBroker({ segmentBytes: 2048 });
        await first.api.topics.put("orders", { ...TOPIC, queues });
        const all = Array.from({ length: 40 }, (_, i) => `m${i}`);
        await publishEach(first.api, "orders", all);
        await first.close();
        const disk = first.disk.clone();
        const paths = disk.names("log").filter((name) => name.endsWith(".log"));
        const lost = paths.at(which === "first" ? 0 : paths.length >> 1) as string;
        const base = Number(lost.slice(0, 20));
        const end = Number(paths[paths.indexOf(lost) + 1]?.slice(0, 20));
        const before = await readAcross(await first.reopen(first.disk.clone()), { limit: 100 });
        assert.deepEqual(before.seen.toSorted(), all.toSorted());
        disk.lose(`log/${lost}`);
        const broker = await first.reopen(disk);
        const ranges = broker.api.status().damaged;
        assert.deepEqual(ranges, [{ from: base, to: end }]);
        const whole = await readAcross(broker, { limit: 100 });
        assert(whole.seen.length < all.length && whole.seen.length > all.length / 2);
        if (which === "middle") assert(whole.problems.length > 0, "nobody was told");
        for (const limit of [1, 2, 7]) assert.deepEqual(await readAcross(broker, { limit }), whole);
        const byQueue: string[] = [];
        for (let queueId = 0; queueId < queues; queueId++) {
          byQueue.push(...(await readAcross(broker, { queueId, limit: 3 })).seen);
        }
        assert.deepEqual(byQueue.toSorted(), whole.seen.toSorted());
      });
    }
  }
});

describe("a broker that lost a segment and what told of it", () => {
  for (const queues of [1, 3]) {
    it(`tells each reader once a queue, and serves the rest: ${queues} queues`, async () => {
      const first = await openTestBroker({ segmentBytes: 2048 });
      await first.api.topics.put("orders", { ...TOPIC, queues });
      const all = Array.from({ length: 40 }, (_, i) => `m${i}`);
      await publishEach(first.api, "orders", all);
      await first.close();
      const broker = await first.reopen();
      const sidecars = broker.disk.names("log").filter((name) => name.endsWith(".idx"));
      const path = `log/${sidecars.at(sidecars.length >> 1)}`;
      broker.disk.damage(path, (bytes) => void bytes.fill(0xee, 100, 120));
      broker.disk.damage(path.replace("idx", "log"), (bytes) => void bytes.fill(0, 64));
      const whole = await readAcross(broker, { limit: 100 });
      assert(whole.seen.length < all.length && whole.seen.length > all.length / 2);
      const gaps = whole.problems.length;
      assert(gaps >= 1 && gaps <= queues, `${gaps} gaps`);
      for (const limit of [1, 2, 7]) {
        const { seen, problems } = await readAcross(broker, { limit });
        assert.deepEqual([seen, problems.length], [whole.seen, gaps]);
      }
      const byQueue: string[] = [];
      let told = 0;
      for (let queueId = 0; queueId < queues; queueId++) {
        const { seen, problems } = await readAcross(broker, { queueId, limit: 3 });
        byQueue.push(...seen);
        told += problems.length;
      }
      assert.equal(told, gaps);
      assert.deepEqual(byQueue.toSorted(), whole.seen.toSorted());
    });
  }
});

describe("a broker whose last message of a queue is damaged", () => {
  it("lists the range, and counts it", async () => {
    const broker = await reopened(await leased(["a", "b"]), "b");
    const { damaged } = broker.api.status();
    assert.equal(damaged.length, 1);
    const families = await broker.metrics();
    const found = families.find(({ name }) => name === "tidegate_log_damage_found_total");
    assert.deepEqual(
      found?.type === "counter" && found.samples.map(({ labels, value }) => [labels, value]),
      [
        [{ by: "start" }, 1],
        [{ by: "scrub" }, 0],
        [{ by: "read" }, 0],
      ],
    );
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
