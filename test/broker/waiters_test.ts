/**
 * Waits on keys: every way they end, and the room they leave.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { KeyedWaiters, WaitRoom } from "../../src/broker/waiters.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { fails, isAnswered, turn } from "../suites/broker_api_kit.ts";

function prepare(max = 10) {
  const clock = new ManualClock();
  const room = new WaitRoom(max);
  const waiters = new KeyedWaiters<string>(clock, room);
  const abort = new AbortController();
  const wait = (key: string) => waiters.wait(key, { waitMs: 1000, signal: abort.signal });
  return { clock, room, waiters, abort, wait };
}

describe("KeyedWaiters", () => {
  const ends: [does: string, end: (world: ReturnType<typeof prepare>) => void][] = [
    ["its key is woken", ({ waiters }) => waiters.wake("a")],
    ["all are woken", ({ waiters }) => waiters.wakeAll()],
    ["its time is up", ({ clock }) => clock.advance(1000)],
    ["its caller goes away", ({ abort }) => abort.abort()],
    [
      "all of that happens at once",
      ({ waiters, clock, abort }) => {
        waiters.wake("a");
        abort.abort();
        clock.advance(1000);
        waiters.wakeAll();
      },
    ],
  ];
  for (const [does, end] of ends) {
    it(`ends a wait when ${does}, and leaves the room`, async () => {
      const world = prepare();
      const waits = [world.wait("a"), world.wait("a")];
      assert.equal(await isAnswered(Promise.race(waits)), false);
      assert.equal(world.room.count, 2);
      end(world);
      await Promise.all(waits);
      assert.equal(world.room.count, 0);
      world.clock.advance(10_000); // no timer is left that could end another's wait
      const next = prepare();
      assert.equal(await isAnswered(next.wait("a")), false);
    });
  }

  it("wakes only the waiters of a key", async () => {
    const { waiters, wait, room } = prepare();
    const [a, b] = [wait("a"), wait("b")];
    waiters.wake("a");
    await a;
    assert.equal(await isAnswered(b), false);
    assert.equal(room.count, 1);
    waiters.wake("nobody");
    waiters.wake("b");
    await b;
  });

  it("refuses those beyond the bound, and counts them not", async () => {
    const { waiters, wait, room } = prepare(1);
    const first = wait("a");
    await fails("overloaded", wait("a"));
    assert.equal(room.count, 1);
    waiters.wake("a");
    await first;
    const second = wait("a");
    await turn();
    waiters.wake("a");
    await second;
    assert.equal(room.count, 0);
  });

  it("lets no wait begin while draining, or for who is gone", async () => {
    const { wait, room, abort } = prepare();
    room.draining = true;
    await wait("a");
    room.draining = false;
    abort.abort();
    await wait("a");
    assert.equal(room.count, 0);
  });
});
