/**
 * Which answers leave a node: those it certainly led for.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { BrokerGroupApi } from "../../src/broker/api.ts";
import { BrokerGate } from "../../src/cluster/broker_gate.ts";
import type { Effect } from "../../src/rpc/mod.ts";

const STATUS = {
  nodeId: "a",
  group: "g",
  ready: true,
  epoch: 1,
  durableEnd: 0,
  confirmOffset: 0,
  clockSkewMs: 0,
  damaged: [],
  disk: "ample" as const,
};

/** A life whose facts a test sets, and calls that it answers when it likes. */
class Desk {
  readonly clock = new ManualClock();
  readonly log = { end: 100, confirmOffset: 100 };
  readonly replica = { serves: true, admits: true, log: this.log };
  readonly life = {
    api: { status: () => STATUS } as unknown as BrokerGroupApi,
    replica: this.replica as never,
    readsLatest: true,
  };
  readonly gate: BrokerGate;
  #resolve: (value: string) => void = () => {};
  #reject: (error: unknown) => void = () => {};

  constructor() {
    this.gate = new BrokerGate({
      clock: this.clock,
      leader: () => ({ node: "b", epoch: 7 }),
      status: () => ({ ...STATUS, ready: false }),
    });
    this.gate.open(this.life);
  }

  call(effect: Effect): Promise<string> {
    const told = this.gate.run(
      effect,
      () =>
        new Promise((resolve, reject) => {
          [this.#resolve, this.#reject] = [resolve, reject];
        }),
    );
    return told.then(
      (value) => String(value),
      (error: unknown) => (error instanceof TidegateError ? error.code : String(error)),
    );
  }

  async answer(value = "answer"): Promise<void> {
    this.#resolve(value);
    await turn();
  }

  async refuse(): Promise<void> {
    this.#reject(new TidegateError("topic-not-found", "Cannot find it"));
    await turn();
  }
}

async function turn(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

describe("BrokerGate", () => {
  it("answers where nobody leads with who does", async () => {
    const desk = new Desk();
    desk.gate.close();
    const refused = desk.gate.run("none", () => Promise.resolve(1));
    await assert.rejects(refused, { code: "unavailable", details: { leader: "b", epoch: 7 } });
  });

  it("makes no call before all that was confirmed is here", async () => {
    const desk = new Desk();
    desk.replica.serves = false;
    assert.equal(await desk.call("none"), "unavailable");
  });

  it("refuses what would not be confirmed, and reads on", async () => {
    const desk = new Desk();
    desk.replica.admits = false;
    for (const effect of ["once", "idempotent"] as const) {
      assert.equal(await desk.call(effect), "unavailable");
    }
    const read = desk.call("none");
    await desk.answer();
    assert.equal(await read, "answer");
  });

  const outcomes: [
    name: string,
    effect: Effect,
    then: { lease: boolean; end: number; confirmOffset: number },
    expected: string,
  ][] = [
    ["a read under a lease", "none", { lease: true, end: 100, confirmOffset: 100 }, "answer"],
    ["a write under a lease", "once", { lease: true, end: 150, confirmOffset: 100 }, "answer"],
    ["a read without one", "none", { lease: false, end: 100, confirmOffset: 100 }, "unavailable"],
    [
      "a write that appended nothing",
      "once",
      { lease: false, end: 100, confirmOffset: 100 },
      "unavailable",
    ],
    [
      "a write that was confirmed",
      "once",
      { lease: false, end: 150, confirmOffset: 150 },
      "answer",
    ],
    ["a read beside one", "none", { lease: false, end: 150, confirmOffset: 120 }, "answer"],
  ];
  for (const [name, effect, { lease, ...ends }, expected] of outcomes) {
    it(`gives ${name}: ${expected}`, async () => {
      const desk = new Desk();
      const told = desk.call(effect);
      desk.life.readsLatest = lease;
      Object.assign(desk.log, ends);
      await desk.answer();
      assert.equal(await told, expected);
    });

    it(`refuses ${name} alike`, async () => {
      const desk = new Desk();
      const told = desk.call(effect);
      desk.life.readsLatest = lease;
      Object.assign(desk.log, ends);
      await desk.refuse();
      assert.equal(await told, expected === "answer" ? "topic-not-found" : expected);
    });
  }

  it("waits for a confirm where the answer came before it", async () => {
    const desk = new Desk();
    const told = desk.call("once");
    desk.life.readsLatest = false;
    desk.log.end = 150;
    await desk.answer();
    desk.log.confirmOffset = 120;
    desk.gate.confirmed(); // that is more than there was, and not all it may rest on
    let done = false;
    void told.then(() => {
      done = true;
    });
    await turn();
    assert(!done);
    desk.log.confirmOffset = 150;
    desk.gate.confirmed();
    assert.equal(await told, "answer");
  });

  for (const [effect, expected] of [
    ["none", "unavailable"],
    ["once", "outcome-unknown"],
  ] as const) {
    it(`ends a call of effect "${effect}" that no confirm comes for: ${expected}`, async () => {
      const desk = new Desk();
      const told = desk.call(effect);
      desk.life.readsLatest = false;
      desk.log.end = 150;
      await desk.answer();
      desk.clock.advance(5000);
      assert.equal(await told, expected);
    });

    it(`ends a call of effect "${effect}" when the node leads no more: ${expected}`, async () => {
      const desk = new Desk();
      const told = desk.call(effect);
      desk.gate.close();
      assert.equal(await told, expected);
      await desk.answer(); // too late, and told to nobody
      assert.equal(desk.gate.writesUnderWay, 0);
    });

    it(`does not let an answer of an earlier life out: effect "${effect}"`, async () => {
      const desk = new Desk();
      const told = desk.call(effect);
      void desk.answer();
      await Promise.resolve(); // it is on its way out
      desk.gate.close();
      desk.gate.open({ ...desk.life });
      assert.equal(await told, expected);
    });
  }

  it("takes no more once it drains, and finishes what it has", async () => {
    const desk = new Desk();
    const told = desk.call("once");
    assert.equal(desk.gate.writesUnderWay, 1);
    desk.gate.drain();
    assert.equal(
      await desk.gate.run("none", async () => 1).catch((error: TidegateError) => error.code),
      "draining",
    );
    assert.equal(desk.gate.status().ready, false);
    await desk.answer();
    assert.equal(await told, "answer");
    assert.equal(desk.gate.writesUnderWay, 0);
  });

  it("says that it is ready only while it leads and takes publishes", () => {
    const desk = new Desk();
    assert.equal(desk.gate.status().ready, true);
    desk.replica.admits = false;
    assert.equal(desk.gate.status().ready, false);
    desk.replica.admits = true;
    desk.gate.close();
    assert.equal(desk.gate.status().ready, false);
  });
});
