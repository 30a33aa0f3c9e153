/**
 * Answers that wait for the log: when they are given, once and in order.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Replies } from "../../src/broker/replies.ts";
import { turn } from "../suites/broker_api_kit.ts";

describe("Replies", () => {
  const log = () => ({ end: 100, writtenEnd: 50, replicatedEnd: 30, confirmOffset: 20 });

  it("gives an answer once the log up to the decision is confirmed", async () => {
    const ends = log();
    const replies = new Replies(ends);
    const seen: string[] = [];
    void replies.confirmed("a", "none").then((answer) => seen.push(answer));
    void replies.acknowledged("leader", "written").then((answer) => seen.push(answer));
    void replies.acknowledged("replicated", "everywhere").then((answer) => seen.push(answer));
    void replies.acknowledged("durable", "durable").then((answer) => seen.push(answer));
    ends.end = 200;
    void replies.acknowledged("leader", "later").then((answer) => seen.push(answer));
    const steps: [step: () => void, answers: string[]][] = [
      [() => replies.onWritten(99), []],
      [() => replies.onWritten(100), ["written"]],
      [() => replies.onReplicated(99), []],
      [() => replies.onReplicated(100), ["everywhere"]],
      [() => replies.onConfirm(99), []],
      [() => replies.onConfirm(100), ["a", "durable"]],
      [() => replies.onConfirm(200), []],
      [() => replies.onWritten(200), ["later"]],
    ];
    for (const [step, answers] of steps) {
      step();
      await turn();
      assert.deepEqual(seen.splice(0), answers);
    }
  });

  it("takes what is written here for written everywhere where this node is alone", async () => {
    const ends = log();
    const replies = new Replies(ends);
    let answered = false;
    void replies.acknowledged("replicated", 1).then(() => {
      answered = true;
    });
    ends.replicatedEnd = 100;
    replies.onWritten(100);
    await turn();
    assert(answered);
  });

  it("takes what is confirmed for written everywhere", async () => {
    const replies = new Replies(log());
    const answer = replies.acknowledged("replicated", 1);
    replies.onConfirm(100);
    assert.equal(await answer, 1);
  });

  it("says that it does not know of what is held back when it stops leading", async () => {
    const replies = new Replies(log());
    const held = [
      replies.confirmed(1, "none"),
      replies.acknowledged("leader", 2),
      replies.acknowledged("replicated", 3),
    ];
    replies.abandon();
    for (const one of held) await assert.rejects(one, { code: "outcome-unknown" });
  });

  it("gives it at once when there is nothing to wait for", async () => {
    const replies = new Replies({
      ...log(),
      writtenEnd: 100,
      replicatedEnd: 100,
      confirmOffset: 100,
    });
    assert.equal(await replies.confirmed(1, "none"), 1);
    assert.equal(await replies.acknowledged("leader", 2), 2);
    assert.equal(await replies.decide(() => 3), 3);
  });

  it("holds a refusal back as it does an answer", async () => {
    const ends = log();
    const replies = new Replies(ends);
    let refused = false;
    const decision = replies.decide(() => {
      throw new Error("no");
    });
    decision.catch(() => {
      refused = true;
    });
    await turn();
    assert.equal(refused, false);
    replies.onConfirm(100);
    await assert.rejects(decision, /no/);
  });

  it("waits for what the decision itself appended", async () => {
    const ends = log();
    const replies = new Replies(ends);
    let answered = false;
    const decision = replies.decide(() => {
      ends.end = 150;
      return "made";
    });
    void decision.then(() => {
      answered = true;
    });
    replies.onConfirm(149);
    await turn();
    assert.equal(answered, false);
    replies.onConfirm(150);
    assert.equal(await decision, "made");
  });

  it("gives every answer once, in order, while there is always one more", async () => {
    const steps = fc.array(fc.tuple(fc.nat(5), fc.nat(8)), { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(steps, async (all) => {
        const ends = { end: 0, writtenEnd: 0, replicatedEnd: 0, confirmOffset: 0 };
        const replies = new Replies(ends);
        const asked: number[] = [];
        const answered: number[] = [];
        for (const [appends, confirms] of all) {
          for (let i = 0; i < appends; i++) {
            const end = ++ends.end;
            asked.push(end);
            void replies.confirmed(end, "some").then((one) => answered.push(one));
          }
          ends.confirmOffset = Math.min(ends.end, ends.confirmOffset + confirms);
          replies.onConfirm(ends.confirmOffset);
          await Promise.resolve();
          await Promise.resolve();
          assert.deepEqual(
            answered,
            asked.filter((end) => end <= ends.confirmOffset),
          );
        }
      }),
    );
  });
});
