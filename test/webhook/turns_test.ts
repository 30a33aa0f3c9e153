/**
 * Turns: never more at once than allowed, in order, and nobody is forgotten.
 *
 * @module
 */

import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Turns } from "../../src/webhook/turns.ts";

const never = new AbortController().signal;

describe("Turns", () => {
  it("lets the next one in when a turn is given back, in order", async () => {
    const turns = new Turns(1);
    const order: string[] = [];
    const first = await turns.take("a", never);
    const others = ["second", "third"].map(async (name) => {
      const release = await turns.take("a", never);
      order.push(name);
      release();
    });
    await setImmediate();
    assert.deepEqual(order, []);
    first();
    await Promise.all(others);
    assert.deepEqual(order, ["second", "third"]);
  });

  it("does not let one key wait for another", async () => {
    const turns = new Turns(1);
    await turns.take("a", never);
    await turns.take("b", never);
  });

  it("takes a turn back once, however often it is given", async () => {
    const turns = new Turns(1);
    const release = await turns.take("a", never);
    release();
    const second = await turns.take("a", never);
    release();
    const controller = new AbortController();
    const third = turns.take("a", controller.signal);
    controller.abort(new Error("waited in vain"));
    await assert.rejects(third, /waited in vain/);
    second();
  });

  it("does not wait with a signal that is aborted already", async () => {
    await assert.rejects(new Turns(1).take("a", AbortSignal.abort(new Error("over"))), /over/);
  });

  it("keeps its bound and loses no turn, whoever comes and goes", async () => {
    const step = fc.record({
      action: fc.constantFrom("take", "take", "release", "abort"),
      key: fc.constantFrom("a", "b"),
      which: fc.nat(20),
    });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 3 }), fc.array(step, { maxLength: 40 }), runs),
    );
  });
});

interface Taker {
  readonly controller: AbortController;
  readonly order: number;
  release?: () => void;
  done?: true;
}

type Step = { action: string; key: string; which: number };

async function runs(max: number, steps: readonly Step[]): Promise<void> {
  const turns = new Turns(max);
  const takers = { a: [] as Taker[], b: [] as Taker[] };
  for (const { action, key, which } of steps) {
    const mine = takers[key as "a" | "b"];
    const holding = mine.filter((taker) => taker.release && !taker.done);
    const waiting = mine.filter((taker) => !taker.release && !taker.done);
    if (action === "take") mine.push(taking(turns, { key, order: mine.length }));
    if (action === "release") finish(holding[which % holding.length]);
    if (action === "abort") finish(waiting[which % waiting.length]);
    await setImmediate();
    check(mine, max);
  }
}

function taking(turns: Turns, { key, order }: { key: string; order: number }): Taker {
  const taker: Taker = { controller: new AbortController(), order };
  turns.take(key, taker.controller.signal).then(
    (release) => {
      taker.release = release;
    },
    () => {},
  );
  return taker;
}

function finish(taker: Taker | undefined): void {
  if (!taker) return;
  taker.done = true;
  if (taker.release) taker.release();
  else taker.controller.abort();
}

/** As many hold as can, and nobody holds who came after one that waits. */
function check(takers: readonly Taker[], max: number): void {
  const alive = takers.filter((taker) => !taker.done);
  const holding = alive.filter((taker) => taker.release);
  assert.equal(holding.length, Math.min(max, alive.length));
  const waiting = alive.filter((taker) => !taker.release);
  const lastIn = Math.max(...holding.map((taker) => taker.order));
  assert(waiting.every((taker) => taker.order > lastIn));
}
